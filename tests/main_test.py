"""The door: one message and exit code 2 for what is the user's to mend."""

import errno
import json
import os
import subprocess
import sys

import gin
import pytest

from hephaestus_jax import main

DEMO = 'gin/runs/demo.gin'


@pytest.fixture(autouse=True)
def forget():
  yield
  gin.clear_config()


def hephaestus(*arguments: str) -> subprocess.CompletedProcess[str]:
  """A command in its own process, as a person starts it."""
  ours = ('XLA_FLAGS', 'JAX_NUM_CPU_DEVICES')  # of the tests' devices
  environment = {k: v for k, v in os.environ.items() if k not in ours}
  return subprocess.run(
    [sys.executable, '-m', 'hephaestus_jax', *arguments],
    capture_output=True,
    text=True,
    check=False,
    cwd=main.ROOT,
    env=environment,
  )


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


def test_a_full_disk_is_one_message_through_gin_too(monkeypatch, capsys):
  @gin.configurable(module='full_disk_test')
  def write():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'metrics.jsonl')

  monkeypatch.setattr(main, 'execute', lambda arguments: write())
  said = refusal(monkeypatch, capsys, 'train', DEMO)
  assert "No space left on device: 'metrics.jsonl'. Make room" in said


@pytest.mark.parametrize(
  ('command', 'missing'),
  [
    ('cache', 'corpus'),
    ('train', 'cache'),
    ('evaluate', 'cache/tasks/function_calls_v1'),
    ('report', ''),
  ],
)
def test_a_folder_that_is_not_there_is_named_and_not_made(
  command, missing, tmp_path
):
  folder = tmp_path / 'absent'
  done = hephaestus(command, DEMO, f'--gin.RUN_DIR={folder}')
  assert done.returncode == 2
  said = done.stderr.strip()
  assert said.startswith('hephaestus: ')
  assert str(folder / missing) in said
  assert len(said.splitlines()) == 1
  assert not folder.exists()


def test_a_dry_run_says_where_every_value_comes_from(tmp_path):
  done = hephaestus(
    *('train', DEMO, '--gin.TRAIN_STEPS=70'),
    *(f'--gin.RUN_DIR={tmp_path}/absent', '--dry_run', '--json'),
  )
  assert done.returncode == 0, done.stderr
  printed = json.loads(done.stdout)
  assert printed['parameters'] == 1_787_008
  assert printed['configuration']['stage1/update.Stage.steps'] == {
    'value': '70',
    'origin': '--gin.TRAIN_STEPS=70',
  }


def test_overrides_come_apart_from_other_arguments():
  assert main._split_overrides(
    ['train', '--gin.A=1', 'x.gin', '--gin.B', '2', '--json']
  ) == (['A=1', 'B=2'], ['train', 'x.gin', '--json'])
