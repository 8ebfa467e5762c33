"""Steps whose update was not taken: what they read, and when they are too many.

A step with a loss or a gradient that is no number leaves the model as it was
(see update.py). Now and then that is a row that nobody should train on; step
after step it is a run that is lost. `skipped.jsonl` in the stage's folder keeps
the rows of each for the post-mortem:

    {"step": 7, "gradient_norm": "nan", "rows": {"awscli_docs_v1": [31, 4]}}
"""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from hephaestus_jax import data, errors
from hephaestus_jax.observability import step_lines
from hephaestus_jax.pod import hosts

FILE = 'skipped.jsonl'


class Skipped:
  """Writes such steps down, and stops a run of them.

  Every process knows of them; the first writes.
  """

  def __init__(
    self,
    folder: pathlib.Path,
    mixture: data.Mixture,
    *,
    batch_size: int,
    most: int,
    resumed_step: int,
  ):
    """Forgets what was written after the step that training resumes from.

    Args:
      folder: the stage's.
      mixture: what its batches are of.
      batch_size: rows of a batch.
      most: so many steps one after the other are too many.
      resumed_step: the checkpoint's; 0 for none.

    Raises:
      errors.UserError: `most` is below 1.
    """
    if most < 1:
      raise errors.UserError(f'train.train.max_skipped = {most} is below 1.')
    self._path = folder / FILE
    self._mixture = mixture
    self._batch_size = batch_size
    self._most = most
    # A run that is preempted every few steps counts on where it stopped.
    before = [line['step'] for line in step_lines.read(self._path)]
    self._in_a_row = _ending(sorted({*before}), resumed_step)
    if hosts.is_first() and before:
      step_lines.rewind(self._path, resumed_step)

  def add(self, steps: Sequence[tuple[int, float]]) -> None:
    """Takes in steps, (number, norm of the gradient) each, in their order.

    Raises:
      errors.UserError: they are too many.
    """
    for step, norm in steps:
      if hosts.is_first():
        self._write(step, norm)
      follows = self._in_a_row[-1:] == [step - 1]
      self._in_a_row = [*self._in_a_row, step] if follows else [step]
      if len(self._in_a_row) >= self._most:
        raise errors.UserError(
          f'{self._most} updates in a row were not taken, to step {step} of '
          f"{self._path.parent}: the gradient's norm is {norm}. Their rows "
          f'are in {self._path}. The checkpoints are from before; lower the '
          'peak of the learning rate or lengthen its warm-up, or raise '
          'update.Stage.max_gradient_norm if that is what refused them.'
        )

  def _write(self, step: int, norm: float) -> None:
    line = {'step': step, 'gradient_norm': str(norm), 'rows': self.rows(step)}
    with self._path.open('a') as file:
      file.write(json.dumps(line) + '\n')

  def rows(self, step: int) -> dict[str, list[int]]:
    """The numbers of the rows that a step read, by their source."""
    numbers_B = (step - 1) * self._batch_size + np.arange(self._batch_size)
    source_B, row_B = self._mixture.rows_at(numbers_B)
    found: dict[str, list[Any]] = {}
    for source, row in zip(source_B.tolist(), row_B.tolist(), strict=True):
      found.setdefault(self._mixture.sources[source], []).append(row)
    return found


def _ending(steps: Sequence[int], last: int) -> list[int]:
  """Those of ascending steps that lead to `last` without a gap.

  Of 1, 3, 4, 5 and 7 to the last step 5 it is [3, 4, 5]; to 6 it is [].
  """
  found: list[int] = []
  for step in reversed([step for step in steps if step <= last]):
    if step != last - len(found):
      break
    found.insert(0, step)
  return found
