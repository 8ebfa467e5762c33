"""A table of runs as the laws see it: sizes, mixtures, seeds and losses.

The table is what `hephaestus sweep` leaves, or any Parquet file with its
columns: a row per run, `parameters`, `tokens`, `seed`, `status`, `share/KIND`
for each kind of text and `evaluation/NAME/nll_per_token` for each loss.
"""

import dataclasses
import math
import pathlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from hephaestus_jax import errors
from hephaestus_jax.scaling import laws

TABLE = 'table.parquet'
SHARE = 'share/'
# The kinds that the paper calls agent data.
AGENT_KINDS = ('documentation', 'trajectory')
ALL_AGENT = 'share/agent'  # a sum of other columns
DONE = 'done'


@dataclasses.dataclass(frozen=True)
class Study:
  """The runs of a table that laws can be fitted to.

  Attributes:
    points: what was run.
    seeds_R: the seed of each run.
    losses: by benchmark, in nats.
    agent_losses: those of them that are an agent benchmark's.
    left_out: runs of the table that are not in it, counted by their reason.
  """

  points: laws.Points
  seeds_R: np.ndarray
  losses: dict[str, np.ndarray]
  agent_losses: tuple[str, ...]
  left_out: dict[str, int]

  def at(self, rows_R: np.ndarray) -> 'Study':
    """Some of the runs: by number, or where a mask is true."""
    return dataclasses.replace(
      self,
      points=self.points.at(rows_R),
      seeds_R=self.seeds_R[rows_R],
      losses={name: loss_R[rows_R] for name, loss_R in self.losses.items()},
    )

  def sizes(self) -> list[tuple[float, float]]:
    """(parameters, tokens) of each size that was run, the smallest first."""
    pairs = np.stack([self.points.parameters_R, self.points.tokens_R], axis=1)
    return [(float(n), float(d)) for n, d in np.unique(pairs, axis=0)]

  def of_size(self, parameters: float, tokens: float) -> 'Study':
    """The runs of one size."""
    points = self.points
    return self.at(
      (points.parameters_R == parameters) & (points.tokens_R == tokens)
    )


def read(
  path: str,
  *,
  agent_losses: Sequence[str],
  general_losses: Sequence[str],
  unit: str,
  size_column: str,
) -> Study:
  """The runs of a table that are done and have every loss that is asked for.

  Args:
    path: of a Parquet file, or of the folder with table.parquet.
    agent_losses: evaluations of agent abilities, such as 'function_calls'.
    general_losses: evaluations of general text.
    unit: what follows the name of an evaluation: 'nll_per_token'.
    size_column: what N is: 'parameters' or 'parameters_without_embedding'.

  Raises:
    errors.UserError: there is no table, a column is missing, or no run is left.
  """
  file = pathlib.Path(path)
  if file.is_dir():
    file = file / TABLE
  if not file.exists():
    raise errors.UserError(
      f'TABLE = {path}: there is no {file}. Run the sweep that writes it, or '
      'give --gin.TABLE=FILE.'
    )
  try:
    rows = pyarrow.parquet.read_table(file).to_pylist()
  except pyarrow.ArrowInvalid as error:
    raise errors.UserError(f'{file} is no Parquet file: {error}.') from error
  names = [*agent_losses, *general_losses]
  columns = {name: f'evaluation/{name}/{unit}' for name in names}
  known = sorted({name for row in rows for name in row})
  kinds = [
    name.removeprefix(SHARE)
    for name in known
    if name.startswith(SHARE) and name != ALL_AGENT
  ]
  needed = [size_column, 'tokens', 'seed', *columns.values()]
  missing = [name for name in needed if name not in known]
  if missing or not set(kinds) & set(AGENT_KINDS):
    raise errors.UserError(
      f'{file} lacks {", ".join(missing) or f"{SHARE}{AGENT_KINDS[0]}"}; it '
      f'has {", ".join(known)}. AGENT_LOSSES, GENERAL_LOSSES and LOSS_UNIT say '
      'which losses are read.'
    )
  left_out: Counter[str] = Counter()
  kept = []
  for row in rows:
    reason = _unusable(row, needed)
    if reason:
      left_out[reason] += 1
    else:
      kept.append(row)
  if not kept:
    raise errors.UserError(
      f'{file} has no run that can be used: {dict(left_out)}.'
    )
  return _study(kept, kinds, columns, agent_losses, size_column, left_out)


def _unusable(row: Mapping[str, Any], needed: Sequence[str]) -> str | None:
  """Why a run tells the laws nothing, or None."""
  status = row.get('status') or DONE
  if status != DONE:
    return str(status)
  for name in needed:
    value = row[name]
    if value is None:
      return f'no {name}'
    if not math.isfinite(value):
      return f'{name} is no number'
  return None


def _study(
  rows: Sequence[Mapping[str, Any]],
  kinds: Sequence[str],
  columns: Mapping[str, str],
  agent_losses: Sequence[str],
  size_column: str,
  left_out: Mapping[str, int],
) -> Study:
  def column(name: str) -> np.ndarray:
    return np.array([row[name] or 0 for row in rows], float)

  points = laws.Points(
    parameters_R=column(size_column),
    tokens_R=column('tokens'),
    shares_RK=np.stack([column(SHARE + kind) for kind in kinds], axis=1),
    kinds=tuple(kinds),
    agent_kinds=tuple(kind for kind in AGENT_KINDS if kind in kinds),
  )
  return Study(
    points=points,
    seeds_R=column('seed').astype(int),
    losses={name: column(place) for name, place in columns.items()},
    agent_losses=tuple(agent_losses),
    left_out=dict(left_out),
  )
