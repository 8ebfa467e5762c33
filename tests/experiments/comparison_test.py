"""Two runs: what differs, and where it was set."""

import json

import pytest

from hephaestus_jax import artefacts, configuration, errors, main
from hephaestus_jax.experiments import comparison

STAGE_FILES = [command.stage for command in main.COMMANDS.values()]
DEMO, CONTROL = 'gin/runs/demo.gin', 'gin/runs/demo_control.gin'


def diff(a, b):
  return comparison.diff(str(a), str(b), stage_files=STAGE_FILES)


def test_two_run_files_differ_where_they_were_written_differently():
  found = diff(DEMO, CONTROL)
  assert found['inputs'] == {}
  assert set(found['bindings']) == {'NAME', 'STAGE1_MIXTURE', 'STAGE2_MIXTURE'}
  assert found['bindings']['STAGE1_MIXTURE'] == {
    'a': {'value': "'forge_stage1_v1'", 'origin': 'gin/stages/stage1.gin:7'},
    'b': {'value': "'control_stage1_v1'", 'origin': f'{CONTROL}:6'},
    'reaches': ['stage1/update.Stage.mixture'],
  }


def test_a_run_is_the_same_as_itself(capsys):
  assert diff(DEMO, DEMO) == {'bindings': {}, 'inputs': {}}
  assert capsys.readouterr().out == 'no difference\n'


def train(folder, name, *overrides, rate=0.5):
  """A stage's folder as training leaves it."""
  text = configuration.read(
    [STAGE_FILES[0], main.COMMANDS['train'].stage, DEMO],
    [f'NAME={name}', *overrides],
    main.ROOT,
  )
  inputs = {'seed': 0, 'data': {'rates': {'books_v1': rate}}}
  with (
    artefacts.configured_by(configuration.as_gin(text)),
    artefacts.written(folder / name / 'stage1', inputs),
  ):
    pass
  return folder / name


def test_two_folders_differ_as_their_runs_did_and_in_what_they_read(tmp_path):
  one = train(tmp_path, 'one')
  other = train(tmp_path, 'two', 'TRAIN_STEPS=70', rate=0.25)
  found = diff(one, other)
  assert set(found['bindings']) == {'NAME', 'TRAIN_STEPS'}
  assert found['bindings']['TRAIN_STEPS'] == {
    'a': {'value': '250', 'origin': 'gin/runs/demo.gin:25'},
    'b': {'value': '70', 'origin': '--gin.TRAIN_STEPS=70'},
    'reaches': ['stage1/optimizer.cosine.steps', 'stage1/update.Stage.steps'],
  }
  assert found['inputs'] == {'stage1.data.rates.books_v1': [0.5, 0.25]}


def test_a_value_that_one_side_lacks_is_told(tmp_path):
  one = tmp_path / 'one.gin'
  one.write_text(f"include '{DEMO}'\nOWN = 3\n")
  assert diff(one, DEMO)['bindings'] == {
    'OWN': {
      'a': {'value': '3', 'origin': f'{one}:2'},
      'b': None,
      'reaches': [],
    }
  }


@pytest.mark.parametrize(
  ('names', 'message'),
  [
    (('made', DEMO), 'one is a folder and the other is not'),
    (('made', 'made'), 'holds no config.gin'),
    (('absent.gin', 'absent.gin'), 'no file'),
  ],
)
def test_what_is_no_run_is_refused(names, message, tmp_path):
  (tmp_path / 'made').mkdir()
  sides = [n if n == DEMO else tmp_path / n for n in names]
  with pytest.raises(errors.UserError, match=message):
    diff(*sides)


def test_the_command_prints_json(capsys):
  main.execute(['diff', DEMO, CONTROL, '--json'])
  assert 'NAME' in json.loads(capsys.readouterr().out)['bindings']
