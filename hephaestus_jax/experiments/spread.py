"""Runs that differ in their seed alone, as one: the mean and its spread."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from hephaestus_jax.experiments import table


def summarise(
  rows: Sequence[table.Row], columns: Sequence[str]
) -> list[dict[str, Any]]:
  """One entry per name, in the order of the rows; the first is the reference.

  >>> summarise([{'name': 'all', 'seed': 0, 'status': 'done', 'loss': 2.0},
  ...            {'name': 'all', 'seed': 1, 'status': 'done', 'loss': 3.0},
  ...            {'name': 'no_code', 'seed': 0, 'status': 'failed',
  ...             'error': 'No rows.'}], ['loss'])
  [{'name': 'all', 'done': 2, 'errors': [], 'values': {'loss': {'mean': 2.5,
    'deviation': 0.707..., 'low': 2.0, 'high': 3.0, 'difference': None,
    'seeds': [(0, 2.0), (1, 3.0)]}}},
   {'name': 'no_code', 'done': 0, 'errors': ['No rows.'],
    'values': {'loss': None}}]

  `deviation` is that of a sample, None for one run. `difference` is the mean of
  the differences from the reference's run with the same seed, with a deviation
  of its own: what a seed adds to both is not in it.
  """
  names = list(dict.fromkeys(row['name'] for row in rows))
  done = [row for row in rows if row['status'] == table.DONE]
  summary = []
  for name in names:
    ours = [row for row in done if row['name'] == name]
    reference = [row for row in done if row['name'] == names[0]]
    failed = [
      row
      for row in rows
      if row['name'] == name and row['status'] == table.FAILED
    ]
    summary.append(
      {
        'name': name,
        'done': len(ours),
        'errors': [row['error'] for row in failed],
        'values': {
          column: _values(
            _by_seed(ours, column),
            None if name == names[0] else _by_seed(reference, column),
          )
          for column in columns
        },
      }
    )
  return summary


def _by_seed(rows: Sequence[table.Row], column: str) -> dict[int, float]:
  return {row['seed']: row[column] for row in rows if column in row}


def _values(
  ours: Mapping[int, float], reference: Mapping[int, float] | None
) -> dict[str, Any] | None:
  if not ours:
    return None
  both = [seed for seed in ours if seed in (reference or {})]
  return {
    **_mean(list(ours.values())),
    'low': min(ours.values()),
    'high': max(ours.values()),
    'difference': _mean([ours[seed] - reference[seed] for seed in both])
    if reference and both
    else None,
    'seeds': sorted(ours.items()),
  }


def _mean(values: Sequence[float]) -> dict[str, float | None]:
  return {
    'mean': statistics.fmean(values),
    'deviation': statistics.stdev(values) if len(values) > 1 else None,
  }
