"""Runs that a table asks for: what is missing is run, one after the other.

A run is a run file with a seed and overrides, and the commands that it takes.
Each command is a process of its own, so that one that fails, or is killed for
its memory, takes no other run with it. What several runs share (the corpus,
the cache) is made once; compiled steps are found in the run folder's
`xla_cache`.

A table keeps the row of every run that ended, with the configuration that it
had. Killed at any moment and started again, only the run that was under way is
taken up again, from its newest checkpoint. Started twice, two processes share
the work: each takes runs that the other has not begun.
"""

import contextlib
import dataclasses
import fcntl
import pathlib
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hephaestus_jax import configuration, errors, run
from hephaestus_jax.experiments import measure, table

TRAIN = 'train'
LOCKS = 'locks'
LOGS = 'logs'


@dataclasses.dataclass(frozen=True)
class Run:
  """A run as it was asked for.

  Attributes:
    row: the columns that are known before it runs; see table.py.
    run_dir: the folder that its own is in.
    cache_dir: the cache that it reads.
    overrides: '--gin.NAME=VALUE' each.
    hashes: the configuration's, of each command that it takes, in order.
    refused: why its configuration can't be run; None if it can.
  """

  row: Mapping[str, Any]
  run_dir: pathlib.Path
  cache_dir: pathlib.Path
  overrides: tuple[str, ...]
  hashes: Mapping[str, str]
  refused: str | None = None

  @property
  def folder(self) -> pathlib.Path:
    """Where it writes."""
    return self.run_dir / self.row['run']


def plan(
  run_file: str,
  seed: int,
  overrides: Sequence[str],
  *,
  commands: Sequence[str],
  stage_files: Mapping[str, str],
  grid: Mapping[str, Any] | None = None,
) -> Run:
  """The run of a file with a seed.

  A run with the seed that its file has is NAME, another NAME_seed1; so what
  `hephaestus train RUN_FILE` made is found and not made again.

  Args:
    run_file: as `hephaestus train` takes it.
    seed: what SEED is.
    overrides: '--gin.NAME=VALUE' each, for all of the commands.
    commands: what a run takes, in order, such as ['cache', 'train']; all but
      'train' may have overrides of their own, 'evaluate --gin.RESULTS=base'.
    stage_files: of every command there is, for the macros that it reads.
    grid: further columns.

  Raises:
    errors.UserError: there is no such file, or it is no gin, or it has no
      RUN_DIR. What else is wrong with it is the run's failure.
  """
  if TRAIN not in commands:
    raise errors.UserError(
      f'COMMANDS = {list(commands)} lacks {TRAIN!r}, which makes what a table '
      'is about.'
    )
  given = [override.removeprefix('--gin.') for override in overrides]
  own = [word for command in commands for word in shlex.split(command)[1:]]
  for override in [*given, *(word.removeprefix('--gin.') for word in own)]:
    if override.partition('=')[0] in ('NAME', 'SEED'):
      raise errors.UserError(
        f'--gin.{override}: the name and the seed of each run are set here. '
        'Bind NAME in the run file, and give --seeds.'
      )
  text = configuration.read(
    [stage_files[TRAIN], run_file], given, configuration.ROOT
  )
  macros = text.macros
  name = str(configuration.fill(macros['NAME'].value, macros))
  folder = name if seed == macros['SEED'].value else f'{name}_seed{seed}'
  if macros['RUN_DIR'].value == configuration.Macro(configuration.REQUIRED):
    raise errors.UserError(
      f'{run_file} sets no RUN_DIR, the folder of everything that a run makes. '
      'Include a run of gin/runs/, or give --gin.RUN_DIR=FOLDER.'
    )
  row = {
    'run': folder,
    'name': name,
    'seed': seed,
    'run_file': run_file,
    **(grid or {}),
  }
  given = [*given, f'NAME={folder}', f'SEED={seed}']
  hashes: dict[str, str] = {}
  refused = None
  try:
    for command in commands:
      hashes[command] = _hash(run_file, command, given, stage_files)
  except errors.UserError as error:
    refused = str(error)
  cache_dir = text.final['train.train.cache_dir'].value
  return Run(
    row | {'config_hash': hashes.get(TRAIN, '')},
    pathlib.Path(configuration.fill(macros['RUN_DIR'].value, macros)),
    pathlib.Path(configuration.fill(cache_dir, macros)),
    tuple(f'--gin.{override}' for override in given),
    hashes,
    refused,
  )


def _hash(
  run_file: str,
  command: str,
  overrides: Sequence[str],
  stage_files: Mapping[str, str],
) -> str:
  """The hash of the configuration that a command of the run will have."""
  command, *own = shlex.split(command)
  if command not in stage_files:
    raise errors.UserError(
      f'COMMANDS names {command!r}, which is no command.'
      f'{errors.nearest(command, stage_files)}'
    )
  elsewhere = {
    macro: other
    for other, stage in stage_files.items()
    if other != command
    for macro, _, _ in configuration.macro_help(
      configuration.ROOT / stage, configuration.ROOT
    )
  }
  own = [override.removeprefix('--gin.') for override in own]
  text = configuration.prepare(
    [stage_files[command], run_file],
    [*own, *overrides],
    elsewhere,
    shared=True,
  )
  return configuration.config_hash(text)


def line_of(command: str, run_file: str) -> str:
  """A command of a run, as `run.step` takes it.

  >>> line_of('evaluate --gin.RESULTS=base', 'demo.gin')
  'evaluate demo.gin --gin.RESULTS=base'
  """
  word, *own = command.split(maxsplit=1)
  return ' '.join([word, run_file, *own])


def complete(runs: Sequence[Run], folder: pathlib.Path) -> list[dict[str, Any]]:
  """Runs what is missing, and writes the table after each run.

  Args:
    runs: in the order in which they are run, and stand in the table.
    folder: the table's.

  Returns:
    The table's rows.

  Raises:
    errors.UserError: two runs would write to one folder.
    SystemExit: SIGTERM came; the run that was under way has saved its state.
  """
  folders: dict[pathlib.Path, Run] = {}
  for one in runs:
    other = folders.setdefault(one.folder, one)
    if other is not one:
      raise errors.UserError(
        f'{other.row["run_file"]} and {one.row["run_file"]} would both write '
        f'to {one.folder}. Give each a NAME of its own.'
      )
  (folder / LOCKS).mkdir(parents=True, exist_ok=True)
  (folder / LOGS).mkdir(exist_ok=True)
  ended: dict[tuple[str, str], str | None] = {}
  passed: set[str] = set()
  while waiting := [
    one
    for one in runs
    if one.row['run'] not in passed
    and _known(one, folder)['status'] != table.DONE
  ]:
    one = waiting[0]
    passed.add(one.row['run'])
    with _locked(folder, one.row['run'], wait=False) as ours:
      # Between the look and the lock another process may have made it.
      if ours and _known(one, folder)['status'] != table.DONE:
        done = len(runs) - len(waiting)
        print(f'[{done + 1}/{len(runs)}] {one.row["run"]}', flush=True)
        _keep(folder, one, _make(one, folder, ended))
    table.write(folder, known(runs, folder))
  return known(runs, folder)


def share(line: str, overrides: Sequence[str], folder: pathlib.Path) -> None:
  """Takes a command that all runs share, while no other process does.

  Args:
    line: the command and its run file, such as 'cache gin/runs/demo.gin'.
    overrides: '--gin.NAME=VALUE' each.
    folder: the table's.

  Raises:
    errors.UserError: it failed.
  """
  (folder / LOCKS).mkdir(parents=True, exist_ok=True)
  with _locked(folder, line.split()[0], wait=True):
    run.step(line, overrides)


def raise_failures(rows: Sequence[table.Row], folder: pathlib.Path) -> None:
  """Ends a command whose table has runs that failed.

  Raises:
    errors.UserError: there are some; it names the first.
  """
  failed = [row for row in rows if row['status'] == table.FAILED]
  if failed:
    raise errors.UserError(
      f'{len(failed)} of {len(rows)} runs failed, and {folder / table.JSON} '
      f'says why. The first: {failed[0]["run"]}: {failed[0]["error"]} Mend '
      'that, and run the same command again: runs that are done are kept.'
    )


def known(runs: Sequence[Run], folder: pathlib.Path) -> list[dict[str, Any]]:
  """The runs' rows as far as they are known, in their order."""
  rows = []
  for one in runs:
    row = _known(one, folder)
    if row['status'] != table.DONE and (folder / LOCKS).is_dir():
      with _locked(folder, one.row['run'], wait=False) as ours:
        row = row if ours else {**one.row, 'status': table.RUNNING}
    rows.append(row)
  return rows


def _known(one: Run, folder: pathlib.Path) -> dict[str, Any]:
  """The row of a run as far as it is known: 'missing' if it never ended.

  One that ended with other values, or whose folder is gone, is missing.
  """
  kept = table.read_row(folder, one.row['run'])
  if kept is None or kept['made_by'] != dict(one.hashes):
    return {**one.row, 'status': table.MISSING}
  row = kept['row']
  if row['status'] == table.DONE and not one.folder.is_dir():
    return {**one.row, 'status': table.MISSING}
  return row


def _keep(folder: pathlib.Path, one: Run, row: Mapping[str, Any]) -> None:
  table.write_row(folder, one.row['run'], row, one.hashes)


def _make(
  one: Run,
  folder: pathlib.Path,
  ended: dict[tuple[str, str], str | None],
) -> dict[str, Any]:
  """Takes the run's commands; a command that another run took is not repeated.

  Args:
    one: the run.
    folder: the table's.
    ended: commands that ended before, by configuration, and why they failed.
  """
  start = time.monotonic()
  trained: Mapping[str, Any] = {}
  failure = one.refused
  for command, config_hash in one.hashes.items():
    if failure:
      break
    if (command, config_hash) not in ended:
      name = f'{command.split()[0]}-{config_hash}'
      with _locked(folder, name, wait=True):
        failure, result = _command(one, command, folder)
      ended[command, config_hash] = failure
      trained = result if command == TRAIN else trained
    failure = ended[command, config_hash]
  print(f'  {failure or "done"} ({time.monotonic() - start:.0f} s)', flush=True)
  if failure:
    return {**one.row, 'status': table.FAILED, 'error': failure}
  measured = measure.measure(one.folder, one.cache_dir, trained)
  return {**one.row, 'status': table.DONE, **measured}


def _command(
  one: Run, command: str, folder: pathlib.Path
) -> tuple[str | None, dict[str, Any]]:
  """(why it failed or None, what it returned)."""
  log = folder / LOGS / f'{one.row["run"]}.log'
  before = log.stat().st_size if log.exists() else 0
  line = line_of(command, one.row['run_file'])
  print(f'  hephaestus {line}', flush=True)
  try:
    return None, run.step(line, one.overrides, log=log)
  except errors.UserError as error:
    with log.open('rb') as file:
      file.seek(before)
      said = file.read().decode(errors='replace')
    return f'{command}: {_reason(said, str(error))} (see {log})', {}


def _reason(said: str, otherwise: str) -> str:
  """What a command that failed gave as its reason.

  >>> _reason('stage1: 3%\\rstage1: 4%\\nhephaestus: No rows.\\n', 'It failed.')
  'No rows.'
  """
  lines = [line.strip() for line in said.replace('\r', '\n').splitlines()]
  # Gin adds to every error which call was under way.
  lines = [
    one for one in lines if not one.startswith('In call to configurable')
  ]
  ours = [line for line in lines if line.startswith('hephaestus: ')]
  if ours:
    return ours[-1].removeprefix('hephaestus: ')
  raised = [line for line in lines if line][-1:] if 'Traceback' in said else []
  return raised[0] if raised else otherwise


@contextlib.contextmanager
def _locked(folder: pathlib.Path, name: str, *, wait: bool) -> Iterator[bool]:
  """Holds a lock that ends with this process; yields whether it is ours."""
  with (folder / LOCKS / name).open('w') as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
      ours = True
    except BlockingIOError:
      ours = False
    yield ours
