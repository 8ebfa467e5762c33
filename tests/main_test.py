"""The door: one message and exit code 2 for what is the user's to mend."""

import json
import sys

import gin
import pytest

from hephaestus_jax import main

DEMO = 'gin/runs/demo.gin'


@pytest.fixture(autouse=True)
def forget():
  yield
  gin.clear_config()


def refusal(monkeypatch, capsys, *arguments: str) -> str:
  monkeypatch.setattr(sys, 'argv', ['hephaestus', *arguments])
  with pytest.raises(SystemExit) as end:
    main.main()
  assert end.value.code == 2
  said = capsys.readouterr().err.strip()
  assert said.startswith('hephaestus: ')
  assert 'Traceback' not in said
  assert len(said.splitlines()) == 1
  return said


@pytest.mark.parametrize(
  ('arguments', 'parts'),
  [
    (['train', DEMO, '--gin.TRAIN_STEPS=abc'], ['TRAIN_STEPS=abc', 'int']),
    (['train', DEMO, '--gin.TRAIN_STEPZ=3'], ['Did you mean TRAIN_STEPS']),
    (['train', DEMO, '--gin.LICENCES=MIT'], ['`hephaestus corpus` does']),
    (['train', 'gin/runs/dmo.gin'], ['Did you mean gin/runs/demo.gin']),
    (['train'], ['needs a run file']),
    (
      ['train', DEMO, '--gin.RUN_DIR=/nowhere'],
      ["'/nowhere/cache'", 'hephaestus cache'],
    ),
    (
      ['evaluate', DEMO, '--gin.RUN_DIR=/nowhere'],
      ['/nowhere/cache/tasks/function_calls_v1'],
    ),
    (['report', DEMO, '--gin.RUN_DIR=/nowhere'], ['/nowhere does not exist']),
    (
      ['run', DEMO, '--gin.ROAD=corpus gin/runs/demo.gin'],
      ["'corpus gin/runs/demo.gin'", 'Sequence[str]'],
    ),
  ],
)
def test_a_mistake_is_one_message_with_the_value_and_the_way_out(
  arguments, parts, monkeypatch, capsys
):
  said = refusal(monkeypatch, capsys, *arguments)
  assert [part for part in parts if part not in said] == [], said


def test_a_dry_run_says_where_every_value_comes_from(capsys):
  arguments = [
    *('train', DEMO, '--gin.TRAIN_STEPS=70'),
    *('--gin.RUN_DIR=/nowhere', '--dry_run', '--json'),
  ]
  returned = main.execute(arguments)
  printed = json.loads(capsys.readouterr().out)
  assert printed == json.loads(json.dumps(returned))
  assert printed['parameters'] == 1_787_008
  assert printed['configuration']['stage1/train.Stage.steps'] == {
    'value': '70',
    'origin': '--gin.TRAIN_STEPS=70',
  }


def test_overrides_come_apart_from_other_arguments():
  assert main._split_overrides(
    ['train', '--gin.A=1', 'x.gin', '--gin.B', '2', '--json']
  ) == (['A=1', 'B=2'], ['train', 'x.gin', '--json'])
