"""The whole road: each step is a `hephaestus` command in its own process.

A process per step keeps what one loads (TensorFlow, Beam, a sandbox) out of the
next. Every command reuses what it finds finished, so a road that was cut off
anywhere is walked again from its start at the price of the imports.
"""

import contextlib
import ctypes
import functools
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from hephaestus_jax import artefacts, errors

RECORD = 'road.json'
PR_SET_PDEATHSIG = 1  # of prctl(2)
STOPPED = 128 + signal.SIGTERM


def run(
  *,
  road: Sequence[str],
  run_dir: str,
  overrides: Sequence[str] = (),
  dry_run: bool = False,
) -> dict[str, Any]:
  """Walks a road and keeps the time of each step.

  Args:
    road: command lines without the program's name, such as
      'train gin/runs/demo.gin'.
    run_dir: where road.json goes, and where the steps' artefacts are.
    overrides: '--gin.NAME=VALUE' each, handed to every step that reads it.
    dry_run: resolve and check every step, build nothing.

  Returns:
    What road.json holds: {'steps': [{'name', 'command', 'seconds', 'reused'}]}.
    The seconds are those of the walk that built the step's artefacts; a walk
    that found them finished says `reused` and leaves the time as it was.

  Raises:
    errors.UserError: a step ended with an error, which it printed itself.
    SystemExit: SIGTERM came; the step that ran got it too, and ended in its
      own way (training saves first).
  """
  folder = pathlib.Path(run_dir)
  folder.mkdir(parents=True, exist_ok=True)
  record = folder / RECORD
  before = json.loads(record.read_text())['steps'] if record.exists() else []
  seconds_before = {step['command']: step['seconds'] for step in before}
  steps: list[dict[str, Any]] = []
  for position, line in enumerate(road, start=1):
    print(f'\n[{position}/{len(road)}] hephaestus {line}', flush=True)
    start = time.monotonic()
    result = step(line, overrides, dry_run=dry_run)
    seconds = time.monotonic() - start
    reused = bool(result.get('reused', False))
    if dry_run:
      continue
    if reused:
      seconds = seconds_before.get(line, seconds)
    steps.append(
      {
        'name': step_name(line),
        'command': line,
        'seconds': round(seconds, 1),
        'reused': reused,
      }
    )
    artefacts.write_json(record, {'steps': steps})
  _print_times(steps)
  return {'steps': steps}


def step_name(line: str) -> str:
  """A short name for a road's line.

  >>> step_name('train gin/runs/demo_control.gin')
  'train demo_control'
  """
  words = shlex.split(line)
  return ' '.join([words[0], *(pathlib.Path(w).stem for w in words[1:2])])


def step(
  line: str,
  overrides: Sequence[str],
  *,
  dry_run: bool = False,
  log: pathlib.Path | None = None,
) -> dict[str, Any]:
  """Runs one command in a process of its own.

  Args:
    line: the command line without the program's name.
    overrides: as in `run`.
    dry_run: as in `run`.
    log: a file that its tables and bars are added to; None: this terminal.

  Returns:
    What the command returned.

  Raises:
    errors.UserError, SystemExit: as in `run`.
  """
  command = [
    *(sys.executable, '-m', 'hephaestus_jax', *shlex.split(line)),
    *('--json', '--shared_overrides', *overrides),
    *(['--dry_run'] if dry_run else []),
  ]
  # With --json a command's tables go to its standard error: ours, or the log.
  with contextlib.ExitStack() as stack:
    there = None if log is None else stack.enter_context(log.open('ab'))
    process = stack.enter_context(
      subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=there,
        text=True,
        preexec_fn=functools.partial(_die_with, os.getpid()),
      )
    )
    # Else this process would end, and the kernel its step with it, unsaved.
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
      printed, _ = process.communicate()
    finally:
      signal.signal(signal.SIGTERM, before)
  if process.returncode in (STOPPED, -signal.SIGTERM):
    print(
      f'stopped by SIGTERM in `hephaestus {line}`: the same command goes on '
      'from there',
      file=sys.stderr,
    )
    raise SystemExit(STOPPED)
  if process.returncode:
    raise errors.UserError(
      f'the step `hephaestus {line}` ended with exit code '
      f'{process.returncode}; its own message is above. Mend that, and run '
      'the same command again: finished steps are reused.'
    )
  result = json.loads(printed)
  return result if isinstance(result, dict) else {}  # a plan is a list


def _die_with(parent: int) -> None:
  """In a new step: end when the walk is killed, or two would write at once."""
  if sys.platform == 'linux':
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was killed before it could say so
      os._exit(1)


def _print_times(steps: Sequence[dict[str, Any]]) -> None:
  for step in steps:
    mark = 'reused' if step['reused'] else ''
    print(f'{step["name"]:<28} {step["seconds"]:>8.1f} s  {mark}')
