"""Counts what went into each step of a build and what became of it.

For every step and source, in = out + dropped, and out is the next one's in:
`check` stops a build where that isn't so. Each step saves its own part beside
what it made; the parts added up are `drops.json`.
"""

import collections
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hephaestus_jax import artefacts
from hephaestus_jax.corpus import facts

STEPS = (
  'read',
  'licence',
  'normalise',
  'quality',
  'classifier',
  'exact_duplicates',
  'near_duplicates',
  'decontaminate',
)
# Outcomes of a step are counted under the drop's reason or one of these.
IN, OUT = '(in)', '(out)'
EXAMPLES_KEPT = 3


class Ledger:
  """Counts by step, source and outcome, and a few examples of each drop."""

  def __init__(self) -> None:
    self._counts: collections.Counter[tuple[str, str, str]] = (
      collections.Counter()
    )
    self._examples: dict[str, dict[str, list[list[str]]]] = {}

  def add(self, step: str, source: str, outcome: str, count: int = 1) -> None:
    """Counts an outcome: a reason, IN or OUT."""
    self._counts[step, source, outcome] += count

  def show(self, step: str, reason: str, *example: str) -> None:
    """Keeps an example of a drop, if there are few yet."""
    kept = self._examples.setdefault(step, {}).setdefault(reason, [])
    if len(kept) < EXAMPLES_KEPT:
      kept.append(list(example))

  def drop(
    self,
    step: str,
    known: facts.Facts,
    left_D: np.ndarray,
    dropped: Mapping[str, np.ndarray],
    detail: Callable[[int], str],
  ) -> np.ndarray:
    """Counts a step that drops rows of `known`.

    Args:
      step: one of STEPS.
      known: the documents.
      left_D: which of them came to the step, bool.
      dropped: reason -> rows that it drops.
      detail: a row -> what a person should see beside its id.

    Returns:
      Which rows are left after it, bool [D].
    """
    after_D = left_D.copy()
    self._count(step, known, IN, np.flatnonzero(left_D))
    for reason, rows_M in sorted(dropped.items()):
      after_D[rows_M] = False
      self._count(step, known, reason, rows_M)
      for row in np.sort(rows_M)[:EXAMPLES_KEPT].tolist():
        self.show(step, reason, known.id(row), detail(row))
    self._count(step, known, OUT, np.flatnonzero(after_D))
    return after_D

  def _count(
    self, step: str, known: facts.Facts, outcome: str, rows_M: np.ndarray
  ) -> None:
    names = known.names['source']
    counts = np.bincount(known['source'][rows_M], minlength=len(names))
    for name, count in zip(names, counts.tolist(), strict=True):
      if count:
        self.add(step, name, outcome, count)

  def save(self, path: pathlib.Path) -> None:
    """Writes the counts and examples, for `load`."""
    counts = sorted([*place, count] for place, count in self._counts.items())
    artefacts.write_json(path, {'counts': counts, 'examples': self._examples})

  def load(self, path: pathlib.Path) -> None:
    """Adds what another Ledger saved."""
    saved = json.loads(path.read_text())
    for step, source, outcome, count in saved['counts']:
      self.add(step, source, outcome, count)
    for step, reasons in saved['examples'].items():
      for reason, examples in reasons.items():
        for example in examples:
          self.show(step, reason, *example)

  def rows(self) -> list[dict[str, Any]]:
    """A row per step and source, and one per step for source 'all'.

    {'step': 'quality', 'source': 'news', 'in': 9, 'out': 7,
     'drops': {'too_short': 2}}
    """
    sources = sorted({source for _, source, _ in self._counts})
    return [
      self._row(step, source) for step in STEPS for source in [*sources, 'all']
    ]

  def _row(self, step: str, source: str) -> dict[str, Any]:
    outcomes: collections.Counter[str] = collections.Counter()
    for (other, name, outcome), count in self._counts.items():
      if other == step and source in (name, 'all'):
        outcomes[outcome] += count
    came = outcomes.pop(IN, 0)
    went = outcomes.pop(OUT, 0)
    return {
      'step': step,
      'source': source,
      'in': came,
      'out': went,
      'drops': dict(sorted(outcomes.items())),
    }

  def check(self) -> None:
    """Raises RuntimeError if a step lost or invented a document."""
    before: dict[str, int] = {}
    for row in self.rows():
      dropped = sum(row['drops'].values())
      expected = before.get(row['source'], row['in'])
      if row['in'] != row['out'] + dropped or row['in'] != expected:
        raise RuntimeError(f'{expected} documents came to the step {row}.')
      before[row['source']] = row['out']

  def to_json(self) -> dict[str, Any]:
    """What drops.json holds: {'steps': [row, ...], 'examples': {...}}."""
    return {'steps': self.rows(), 'examples': self._examples}

  def table(self) -> str:
    """The rows of all sources together, for people."""
    lines = [f'{"step":17}{"in":>9}{"out":>9}  dropped']
    for row in self.rows():
      if row['source'] == 'all':
        drops = ', '.join(f'{n:,} {why}' for why, n in row['drops'].items())
        lines.append(
          f'{row["step"]:17}{row["in"]:>9,}{row["out"]:>9,}  {drops or "-"}'
        )
    return '\n'.join(lines)
