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


def test_sigterm_reaches_the_step_and_waits_for_what_it_saves(tmp_path):
  step = tmp_path / 'step'
  step.write_text(
    '#!/bin/sh\n'
    f'trap "sleep 0.3; echo saved > {tmp_path}/saved; exit 143" TERM\n'
    f'echo > {tmp_path}/started\n'
    'while :; do sleep 0.05; done\n'
  )
  step.chmod(0o755)
  walk = subprocess.Popen(
    [
      *(sys.executable, '-c'),
      'import sys\n'
      'from hephaestus_jax import run\n'
      f'sys.executable = {str(step)!r}\n'
      f'run.run(road=["train x.gin"], run_dir={str(tmp_path)!r})',
    ],
    stderr=subprocess.PIPE,
    text=True,
  )
  while not (tmp_path / 'started').exists():
    time.sleep(0.05)
  walk.terminate()
  _, said = walk.communicate(timeout=30)
  assert (tmp_path / 'saved').exists()
  assert walk.returncode == 143
  assert 'stopped by SIGTERM in `hephaestus train x.gin`' in said
