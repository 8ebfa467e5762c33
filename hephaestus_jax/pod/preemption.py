"""Being told that the machine goes away, in time to save."""

import contextlib
import signal
from collections.abc import Callable, Iterator

import jax
from jax.experimental import multihost_utils


@contextlib.contextmanager
def termination() -> Iterator[Callable[[int], bool]]:
  """Yields a function of the step that tells whether to save now and stop.

  A machine that is taken away sends SIGTERM some seconds ahead. Within this the
  signal no longer ends the process. Several processes that one signal reaches
  at different steps must save the same one, or none could be restored: JAX
  passes the news round and names a step that none has passed yet. So each asks
  at every step, in order.
  """
  if jax.process_count() > 1:
    # jax.distributed listens for the signal; a handler here would take it away.
    yield multihost_utils.reached_preemption_sync_point
    return
  arrived: list[bool] = []
  before = signal.signal(signal.SIGTERM, lambda *_: arrived.append(True))
  try:
    yield lambda step: bool(arrived)
  finally:
    signal.signal(signal.SIGTERM, before)
