"""A road is walked step by step, each in its own process."""

import pathlib
import subprocess
import sys
import time

import pytest

from hephaestus_jax import errors, run


def test_a_steps_name_is_its_command_and_run_file():
  assert run.step_name('train gin/runs/demo_control.gin') == (
    'train demo_control'
  )


def test_the_walk_stops_at_the_step_that_fails(tmp_path, capfd):
  with pytest.raises(errors.UserError, match='`hephaestus run none.gin`'):
    run.run(road=['run none.gin', 'run never.gin'], run_dir=str(tmp_path))
  said = capfd.readouterr()
  assert "no file 'none.gin'" in said.err
  assert 'never.gin' not in said.out + said.err


def test_a_step_ends_with_the_walk(tmp_path):
  # Otherwise a killed walk's step would write beside its successor's.
  walk = subprocess.Popen(
    [
      *(sys.executable, '-c'),
      'import os, subprocess, sys, functools\n'
      'from hephaestus_jax import run\n'
      'subprocess.run(["sleep", "60"], preexec_fn='
      'functools.partial(run._die_with, os.getpid()))',
    ]
  )
  children = pathlib.Path(f'/proc/{walk.pid}/task/{walk.pid}/children')
  while not (started := children.read_text().split()):
    time.sleep(0.05)
  walk.kill()
  walk.wait()
  for _ in range(100):
    status = pathlib.Path(f'/proc/{started[0]}/stat')
    if not status.exists() or status.read_text().split()[2] == 'Z':
      return
    time.sleep(0.05)
  raise AssertionError(f'step {started[0]} outlived its walk')
