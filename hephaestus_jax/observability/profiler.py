"""A trace of some steps, for TensorBoard's and XProf's profile pages."""

import pathlib

import jax

from hephaestus_jax import errors
from hephaestus_jax.pod import hosts

FOLDER = 'profile'


class Window:
  """Traces steps `first` to `first + steps - 1`, on the first host."""

  def __init__(self, folder: pathlib.Path, *, first: int | None, steps: int):
    """Waits for its first step.

    Args:
      folder: the stage's; the trace goes into its FOLDER.
      first: None for no trace.
      steps: how many.

    Raises:
      errors.UserError: it is no window.
    """
    if first is not None and (first < 1 or steps < 1):
      raise errors.UserError(
        f'train.train.profile_at = {first} and profile_steps = {steps}: both '
        'must be 1 or more.'
      )
    self._path = folder / FOLDER
    self._first = first if hosts.is_first() else None
    self._steps = steps
    self._open = False

  def before(self, step: int) -> None:
    """Begins the trace if this is its first step."""
    if step == self._first:
      jax.profiler.start_trace(str(self._path))
      self._open = True

  def after(self, step: int, result: object) -> None:
    """Ends the trace if this was its last step, once `result` is there."""
    if self._open and self._first is not None:
      if step < self._first + self._steps - 1:
        return
      jax.block_until_ready(result)
      self.close()

  def close(self) -> None:
    """Ends the trace if it is under way."""
    if self._open:
      self._open = False
      jax.profiler.stop_trace()
      print(f'profile: tensorboard --logdir {self._path}')
