"""Says where a run is stuck, while it is.

A collective that one host never reaches, or a disk that doesn't answer, leaves
a run silent. When a step takes much longer than steps do, every thread's stack
goes to standard error. Nothing is ever killed: it may be a slow disk.
"""

import contextlib
import faulthandler
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator

REMEMBERED = 100  # steps that the median is of
LEARNED = 5  # steps before which nothing is known; the first ones compile
SHORTEST = 10.0  # seconds; below, whatever the median, nobody is waiting


class Watchdog:
  """Watches steps, from a thread of its own."""

  def __init__(self, times: float, *, shortest: float = SHORTEST):
    """Learns from the first few steps how long they take.

    Args:
      times: so many times the median is too long.
      shortest: seconds that are never too long.
    """
    self._times = times
    self._shortest = shortest
    self._seconds: deque[float] = deque(maxlen=REMEMBERED)
    self._changed = threading.Condition()
    self._closed = False
    self._step: str | None = None
    self._start = 0.0
    self._thread = threading.Thread(target=self._watch, daemon=True)
    self._thread.start()

  @contextlib.contextmanager
  def step(self, name: str) -> Iterator[None]:
    """Within it, the step of this name is under way."""
    start = time.monotonic()
    with self._changed:
      self._step, self._start = name, start
      self._changed.notify()
    try:
      yield
    finally:
      with self._changed:
        self._step = None
        self._changed.notify()
    self._seconds.append(time.monotonic() - start)

  def close(self) -> None:
    """Ends the thread."""
    with self._changed:
      self._closed = True
      self._changed.notify()
    self._thread.join()

  def _limit(self) -> float | None:
    """Seconds that are too long; None while that is not known."""
    if len(self._seconds) < LEARNED:
      return None
    median = statistics.median(self._seconds)
    return max(self._times * median, self._shortest)

  def _watch(self) -> None:
    with self._changed:
      while not self._closed:
        limit = self._limit()
        if self._step is None or limit is None:
          self._changed.wait()
          continue
        left = self._start + limit - time.monotonic()
        if left > 0:
          self._changed.wait(left)
          continue
        _dump(self._step, time.monotonic() - self._start, limit)
        self._step = None  # once is enough


def _dump(step: str, seconds: float, limit: float) -> None:
  print(
    f'\nwatchdog: {step} is under way for {seconds:.0f} s; steps take less '
    f'than {limit:.0f} s. What every thread is doing, the newest call first '
    '(the run goes on):',
    file=sys.stderr,
    flush=True,
  )
  faulthandler.dump_traceback(file=sys.__stderr__ or sys.stderr)
