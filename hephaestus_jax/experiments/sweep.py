"""A scaling study's runs: sizes x shares of agent data x tokens x seeds.

Each point of the grid becomes a run file that `hephaestus train` takes as it
is, and a row of the table that laws are fitted to (table.py says its columns).
All runs read one corpus and one cache, and those of one size one compiled step.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from hephaestus_jax import configuration, errors, model
from hephaestus_jax.experiments import ablate, runs, shares, spread, table

RUN_FILES = 'run_files'
COLUMNS = {
  'function calls': 'evaluation/function_calls/nll_per_token',
  'text': 'evaluation/general_text/nll_per_token',
  'code': 'evaluation/general_code/nll_per_token',
}


@dataclasses.dataclass(frozen=True)
class Point:
  """A point of the grid: its columns of the table."""

  model: str
  agent_share: float
  token_multiple: float

  @property
  def name(self) -> str:
    """What its runs are called.

    >>> Point('1m', 0.36, 20.0).name
    '1m_agent36_x20'
    """
    share = f'{100 * self.agent_share:.4g}'
    return f'{self.model}_agent{share}_x{self.token_multiple:g}'


def sweep(
  *,
  run_file: str,
  models: Sequence[str],
  agent_shares: Sequence[float],
  token_multiples: Sequence[float],
  seeds: Sequence[int],
  commands: Sequence[str],
  mixtures: shares.Shares,
  sequence_length: int,
  batch_size: int,
  warmup_share: float = 0.05,
  table_dir: str,
  stage_files: Mapping[str, str],
  overrides: Sequence[str] = (),
  dry_run: bool = False,
) -> dict[str, Any]:
  """Runs what is missing of a grid.

  A run is stage I of `run_file` with its model, mixture and steps replaced. The
  smallest sizes are run first, all shares and seeds of one before the next.

  Args:
    run_file: what the points have in common, such as gin/scaling/demo.gin.
    models: names of files in gin/models/.
    agent_shares: of the rows, each from 0 to 1; see shares.py.
    token_multiples: tokens that a run reads, for each parameter of its model.
    seeds: each becomes SEED.
    commands: what a run takes, in order; all but 'train' are taken once, with
      `run_file`, before the mixtures are written.
    mixtures: how a share becomes a mixture.
    sequence_length: tokens of a row.
    batch_size: rows of an update.
    warmup_share: of the updates, with a growing learning rate.
    table_dir: where the table, the run files and the logs go.
    stage_files: of every command there is.
    overrides: '--gin.NAME=VALUE' each, handed to every command that reads it.
    dry_run: only tell which runs there are, and which are done.

  Returns:
    {'table': path, 'runs': {run: status}}.

  Raises:
    errors.UserError: an axis of the grid is empty; the corpus or the cache
      could not be built; or runs failed: the table, which is written by then,
      and the message say which and why.
    SystemExit: SIGTERM came, and the run that was under way is saved.
  """
  axes = (models, agent_shares, token_multiples, seeds)
  if not all(axes) or any(len({*axis}) != len(axis) for axis in axes):
    raise errors.UserError(
      f'The grid has models {list(models)}, shares {list(agent_shares)}, token '
      f'multiples {list(token_multiples)} and seeds {list(seeds)}: each needs '
      'one at least, and none twice.'
    )
  given = [override.removeprefix('--gin.') for override in overrides]
  sizes = {
    name: model.num_parameters(network(run_file, name, given))
    for name in models
  }
  folder = pathlib.Path(table_dir)
  if not dry_run:
    for command in commands:
      if command != runs.TRAIN:
        runs.share(runs.line_of(command, run_file), overrides, folder)
  asked = []
  for point in (
    Point(*values)
    for values in itertools.product(
      sorted(models, key=sizes.__getitem__), agent_shares, token_multiples
    )
  ):
    tokens = sizes[point.model] * point.token_multiple
    steps = max(round(tokens / (batch_size * sequence_length)), 1)
    if not dry_run:
      mixtures.write(
        point.name, point.agent_share, steps * batch_size * sequence_length
      )
    path = folder / RUN_FILES / f'{point.name}.gin'
    write_run_file(path, run_file, point, steps, warmup_share)
    asked += [
      runs.plan(
        str(path),
        seed,
        overrides,
        commands=[runs.TRAIN],
        stage_files=stage_files,
        grid=dataclasses.asdict(point),
      )
      for seed in seeds
    ]
  rows = runs.known(asked, folder) if dry_run else runs.complete(asked, folder)
  # What a share changes is told by the runs of one size.
  summary = [
    entry
    for name in dict.fromkeys(row['model'] for row in rows)
    for entry in spread.summarise(
      [row for row in rows if row['model'] == name], list(COLUMNS.values())
    )
  ]
  print('\n'.join(ablate.lines(summary, COLUMNS)))
  if not dry_run:
    table.write(folder, rows)
    runs.raise_failures(rows, folder)
  return {
    'table': str(folder / table.PARQUET),
    'runs': {row['run']: row['status'] for row in rows},
  }


def network(run_file: str, name: str, overrides: Sequence[str]) -> model.Config:
  """What a run trains with the model of gin/models/NAME.gin."""
  text = configuration.read(
    [run_file, f'gin/models/{name}.gin'], overrides, configuration.ROOT
  )
  prefix = 'model.Config.'
  bound = {
    name.removeprefix(prefix): configuration.fill(binding.value, text.macros)
    for name, binding in text.final.items()
    if name.startswith(prefix)
  }
  return model.Config(**bound)


def write_run_file(
  path: pathlib.Path,
  run_file: str,
  point: Point,
  steps: int,
  warmup_share: float,
) -> None:
  """Writes a point as a run that any command takes."""
  base = configuration.find(run_file, configuration.ROOT).resolve()
  text = (
    f'# A point of the grid of {run_file}.\n'
    f"include '{configuration.shown(base, configuration.ROOT)}'\n"
    f"include 'gin/models/{point.model}.gin'\n"
    f"NAME = '{point.name}'\n"
    'STAGES = [@stage1/update.Stage()]\n'
    f"STAGE1_MIXTURE = '{point.name}'\n"
    f'TRAIN_STEPS = {steps}\n'
    f'STAGE1_WARMUP = {max(round(warmup_share * steps), 1)}\n'
  )
  path.parent.mkdir(parents=True, exist_ok=True)
  # A run of another process may be reading it.
  if not path.exists() or path.read_text() != text:
    path.write_text(text)
