import copy
import io
import os
import pathlib
import tarfile
import zipfile

import pytest

from hephaestus_jax import errors
from hephaestus_jax.corpus.files import archive


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


@pytest.fixture
def folder(tmp_path):
  inside = tmp_path / 'tea'
  (inside / 'data').mkdir(parents=True)
  (inside / 'data' / 'b.txt').write_text('black')
  (inside / 'a.txt').write_text('ash')
  return inside


def test_a_folder_lists_its_files_in_order_and_reads_them(folder):
  opened = archive.opened(folder)
  assert opened.names() == ['a.txt', 'data/b.txt']
  assert opened.sizes() == {'a.txt': 3, 'data/b.txt': 5}
  assert opened.read('data/b.txt') == b'black'
  assert opened.package == 'tea'
  with opened.open('a.txt') as stream:
    assert stream.read(2) == b'as'


def test_a_zip_file_in_a_folder_counts_as_a_folder(folder):
  with zipfile.ZipFile(folder / 'data' / 'more.zip', 'w') as file:
    file.writestr('x/c.txt', 'chai')
  opened = archive.opened(folder)
  assert opened.names() == ['a.txt', 'data/b.txt', 'data/more.zip/x/c.txt']
  assert opened.read('data/more.zip/x/c.txt') == b'chai'
  assert opened.sizes()['data/more.zip'] > 0


def test_no_link_leads_out_of_a_folder(folder, tmp_path):
  (tmp_path / 'secret.txt').write_text('secret')
  (tmp_path / 'others').mkdir()
  (tmp_path / 'others' / 'd.txt').write_text('secret')
  (folder / 'out.txt').symlink_to(tmp_path / 'secret.txt')
  (folder / 'others').symlink_to(tmp_path / 'others')
  (folder / 'loop').symlink_to(folder / 'loop')
  (folder / 'inside.txt').symlink_to(folder / 'a.txt')
  os.mkfifo(folder / 'waits.txt')
  (folder / '.git').mkdir()
  (folder / '.git' / 'config.txt').write_text('x')
  assert archive.opened(folder).names() == [
    'a.txt',
    'data/b.txt',
    'inside.txt',
  ]


def test_a_file_that_is_gone_is_named(folder):
  with pytest.raises(errors.UserError, match='c.txt can not be read'):
    archive.opened(folder).open('c.txt')
