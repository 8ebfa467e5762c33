"""An artefact folder is whole or absent, and knows what it was made from."""

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
