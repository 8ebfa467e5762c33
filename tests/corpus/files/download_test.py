import hashlib
import pathlib
import zipfile

import pytest

from hephaestus_jax import errors
from hephaestus_jax.corpus.files import download

ROOT = pathlib.Path(__file__).resolve().parents[3]
WHEEL = 'tea_pot-1.0-py3-none-any.whl'


@pytest.fixture
def index(tmp_path, monkeypatch) -> pathlib.Path:
  """A folder that pip takes packages from instead of the network."""
  folder = tmp_path / 'index'
  folder.mkdir()
  with zipfile.ZipFile(folder / WHEEL, 'w') as file:
    file.writestr('tea_pot.py', 'hot = True')
    file.writestr(
      'tea_pot-1.0.dist-info/METADATA',
      'Metadata-Version: 2.1\nName: tea-pot\nVersion: 1.0\n',
    )
    file.writestr(
      'tea_pot-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\nTag: py3-none-any\n'
    )
    file.writestr('tea_pot-1.0.dist-info/RECORD', '')
  monkeypatch.setenv('PIP_CONFIG_FILE', '/dev/null')
  monkeypatch.setenv('PIP_NO_INDEX', '1')
  monkeypatch.setenv('PIP_FIND_LINKS', str(folder))
  return folder


def _requirements(tmp_path: pathlib.Path, hashed: str) -> str:
  path = tmp_path / 'corpus.txt'
  path.write_text(
    f'# Tea.\ntea.pot==1.0 \\\n    --hash=sha256:{hashed}\n'
    '--no-binary another\n'
  )
  return str(path)


def _sha256(path: pathlib.Path) -> str:
  return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_missing_is_downloaded_and_then_reused(tmp_path, index, capsys):
  requirements = _requirements(tmp_path, _sha256(index / WHEEL))
  folder = tmp_path / 'downloads'
  expected = {'tea-pot': folder / WHEEL}
  assert download.fetch(requirements, str(folder)) == expected
  assert 'downloading 1 packages' in capsys.readouterr().out
  index.rename(tmp_path / 'gone')
  assert download.fetch(requirements, str(folder)) == expected
  assert capsys.readouterr().out == f'reused 1 packages in {folder}\n'


def test_the_benchmarks_that_a_build_looks_for_are_to_be_had(tmp_path):
  requirements = str(ROOT / 'requirements' / 'bfcl.txt')
  found = download.fetch(requirements, str(tmp_path))
  assert set(found) == set(download.read_pins(requirements))


def test_a_file_with_other_content_is_replaced(tmp_path, index):
  requirements = _requirements(tmp_path, _sha256(index / WHEEL))
  folder = tmp_path / 'downloads'
  folder.mkdir()
  (folder / WHEEL).write_bytes(b'half of it')
  download.fetch(requirements, str(folder))
  assert _sha256(folder / WHEEL) == _sha256(index / WHEEL)


def test_a_package_whose_hash_is_not_pinned_is_refused(tmp_path, index):
  requirements = _requirements(tmp_path, '0' * 64)
  with pytest.raises(errors.UserError, match='pip could not download'):
    download.fetch(requirements, str(tmp_path / 'downloads'))
  assert not list((tmp_path / 'downloads').glob('*'))


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('tea\n', "does not pin 'tea'"),
    ('tea==1.0\n', "does not pin 'tea==1.0'"),
    ('tea>=1.0 --hash=sha256:ab\n', 'does not pin'),
    ('# nothing\n', 'names no package'),
  ],
)
def test_a_requirements_file_must_pin_version_and_hash(tmp_path, text, message):
  path = tmp_path / 'corpus.txt'
  path.write_text(text)
  with pytest.raises(errors.UserError, match=message):
    download.read_pins(str(path))


def test_a_missing_requirements_file_is_named(tmp_path):
  with pytest.raises(errors.UserError, match='none.txt does not exist'):
    download.read_pins(str(tmp_path / 'none.txt'))
