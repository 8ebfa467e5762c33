import copy
import io
import pathlib
import tarfile
import zipfile

import pytest

from hephaestus_jax import errors
from hephaestus_jax.corpus import archive


def _wheel(path: pathlib.Path) -> pathlib.Path:
  with zipfile.ZipFile(path, 'w') as file:
    file.writestr('tea/pour.py', 'pour = 1')
    file.writestr('tea/brew.py', 'brew = 1')
    file.writestr('tea/', '')
  return path


def _sdist(path: pathlib.Path) -> pathlib.Path:
  with tarfile.open(path, 'w:gz') as file:
    for name, content in (('tea-1/b.txt', b'black'), ('tea-1/a.txt', b'ash')):
      info = tarfile.TarInfo(name)
      info.size = len(content)
      file.addfile(info, io.BytesIO(content))
  return path


def test_a_wheel_lists_its_files_in_order_and_reads_them(tmp_path):
  opened = archive.Archive(_wheel(tmp_path / 'tea_pot-1-py3-none-any.whl'))
  assert opened.package == 'tea-pot'
  assert opened.names() == ['tea/brew.py', 'tea/pour.py']
  assert opened.read('tea/brew.py') == b'brew = 1'


def test_a_source_distribution_lists_its_files_in_order_and_reads_them(
  tmp_path,
):
  opened = archive.Archive(_sdist(tmp_path / 'tea-1.tar.gz'))
  assert opened.package == 'tea'
  assert opened.names() == ['tea-1/a.txt', 'tea-1/b.txt']
  assert opened.read('tea-1/a.txt') == b'ash'


@pytest.mark.parametrize('name', ['tea-1-py3-none-any.whl', 'tea-1.tar.gz'])
def test_a_copy_of_an_archive_opens_the_file_again(tmp_path, name):
  make = _wheel if name.endswith('.whl') else _sdist
  opened = archive.Archive(make(tmp_path / name))
  copied = copy.deepcopy(opened)
  del opened
  assert copied.package == 'tea'
  assert len(copied.read(copied.names()[0])) > 0


@pytest.mark.parametrize('name', ['tea-1-py3-none-any.whl', 'tea-1.tar.gz'])
def test_a_damaged_archive_is_the_users_to_delete(tmp_path, name):
  make = _wheel if name.endswith('.whl') else _sdist
  path = make(tmp_path / name)
  path.write_bytes(path.read_bytes()[:60])
  with pytest.raises(errors.UserError, match='damaged.*Delete it'):
    archive.Archive(path)


def test_a_member_whose_bytes_changed_is_noticed(tmp_path):
  path = _wheel(tmp_path / 'tea-1-py3-none-any.whl')
  path.write_bytes(path.read_bytes().replace(b'brew = 1', b'brew = 2'))
  with pytest.raises(errors.UserError, match='damaged'):
    archive.Archive(path).read('tea/brew.py')


def test_a_missing_archive_is_named(tmp_path):
  with pytest.raises(errors.UserError, match='tea-1.tar.gz does not exist'):
    archive.Archive(tmp_path / 'tea-1.tar.gz')
