import pytest

from hephaestus_jax import errors
from hephaestus_jax.corpus import members, source


def _data_set(name: str, pattern: str) -> source.DataSet:
  return source.DataSet(
    name,
    name,
    'text',
    'Plain Text',
    'MIT',
    source.Location(),
    files=(source.Files(pattern, lambda record: ()),),
  )


def test_the_files_of_every_data_set_are_found(tmp_path):
  for name in ('tea', 'ale'):
    (tmp_path / name).mkdir()
    (tmp_path / name / 'b.txt').write_text('b')
    (tmp_path / name / 'a.txt').write_text('a')
  chosen = [_data_set('tea', '*.txt'), _data_set('ale', 'b.txt')]
  folders = {of.name: tmp_path / of.name for of in chosen}
  tea, ale = str(tmp_path / 'tea'), str(tmp_path / 'ale')
  assert members.of_data_sets(chosen, folders) == [
    ('tea', tea, 'a.txt'),
    ('tea', tea, 'b.txt'),
    ('ale', ale, 'b.txt'),
  ]


def test_a_folder_without_a_sources_files_is_named(tmp_path):
  (tmp_path / 'notes.md').write_text('Tea.')
  chosen = [_data_set('tea', '*.txt')]
  with pytest.raises(errors.UserError, match=r'tea finds none .* \*\.txt'):
    members.of_data_sets(chosen, {'tea': tmp_path})


def test_a_folders_fingerprint_is_of_names_and_sizes(tmp_path):
  path = tmp_path / 'a.txt'
  path.write_text('one')
  before = members.fingerprint(tmp_path)
  path.write_text('two')
  assert members.fingerprint(tmp_path) == before
  path.write_text('three')
  assert members.fingerprint(tmp_path) != before
