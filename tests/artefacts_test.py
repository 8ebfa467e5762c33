"""An artefact folder is whole or absent, and knows what it was made from."""

import json

import pytest

from hephaestus_jax import artefacts, errors


def test_a_folder_is_reused_for_the_same_inputs_only(tmp_path):
  folder = tmp_path / 'made'
  assert not artefacts.reusable(folder, {'a': {'b': 1}})
  with artefacts.written(folder, {'a': {'b': 1}}) as partial:
    (partial / 'x').write_text('y')
  assert artefacts.reusable(folder, {'a': {'b': 1}})
  with pytest.raises(errors.UserError, match=r'a\.b was 1, now 2'):
    artefacts.reusable(folder, {'a': {'b': 2}})


def test_all_that_differs_is_told_up_to_a_few():
  found = {'a': {'b': 1}, 'c': 2}
  assert artefacts.difference(found, {'a': {'b': 2}}) == (
    'a.b was 1, now 2; c was 2, now null'
  )
  many = artefacts.difference(
    dict.fromkeys('abcdefgh', 1), dict.fromkeys('abcdefgh', 2)
  )
  assert many.endswith('f was 1, now 2; and 2 more')


def test_a_change_that_is_allowed_is_on_record(tmp_path):
  folder = tmp_path / 'made'
  with artefacts.configured_by('A = 1\n'):
    with artefacts.written(folder, {'rate': 1, 'seed': 0}):
      pass
    artefacts.amend(folder, {'rate': 1, 'seed': 0}, step=3)
    assert not (folder / artefacts.CHANGES).exists()
  with artefacts.configured_by('A = 2\n'):
    artefacts.amend(folder, {'rate': 2, 'seed': 0}, step=7)
  line = json.loads((folder / artefacts.CHANGES).read_text())
  assert line == {'step': 7, 'differences': [['rate', 1, 2]]}
  assert artefacts.reusable(folder, {'rate': 2, 'seed': 0})
  assert (folder / artefacts.CONFIG).read_text() == 'A = 2\n'


def test_a_failed_attempt_leaves_nothing_that_looks_finished(tmp_path):
  folder = tmp_path / 'made'
  with pytest.raises(RuntimeError), artefacts.written(folder, {}) as partial:
    (partial / 'half').write_text('')
    raise RuntimeError
  assert not folder.exists()
  with artefacts.written(folder, {}) as partial:
    assert list(partial.iterdir()) == []


def test_a_folder_without_inputs_is_refused(tmp_path):
  (tmp_path / 'made').mkdir()
  with pytest.raises(errors.UserError, match='no finished command'):
    artefacts.reusable(tmp_path / 'made', {})
  with pytest.raises(errors.UserError, match='does not exist'):
    artefacts.read_inputs(tmp_path / 'absent')


def test_the_configuration_is_written_beside_the_artefact(tmp_path):
  made = tmp_path / 'made'
  with artefacts.configured_by('A = 1\n'), artefacts.written(made, {}):
    pass
  assert (tmp_path / 'made' / 'config.gin').read_text() == 'A = 1\n'
