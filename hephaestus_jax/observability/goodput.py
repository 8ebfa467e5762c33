"""Goodput: which share of a run's life went into steps that count.

The rest are imports, compilation, restores, evaluations, saves, steps that a
kill threw away, and the time between a kill and the next start. The library
ml-goodput-measurement keeps such records in Google Cloud Logging, and nowhere
else; here they are a line per start in `starts.jsonl` in the model's folder:

    {"host": "worker-0", "time": 1764262800.25}
"""

import contextlib
import json
import pathlib
import socket
import time
from collections.abc import Iterator
from typing import Any

import jax
import psutil

from hephaestus_jax.pod import hosts

FILE = 'starts.jsonl'


def first_start(folder: pathlib.Path) -> float:
  """When the run's first process started, in seconds since 1970.

  The first process of this start writes its own time down.
  """
  path = folder / FILE
  text = path.read_text() if path.exists() else ''
  # A line that a kill cut off is none.
  whole = [line for line in text.splitlines() if line.endswith('}')]
  times = [json.loads(line)['time'] for line in whole]
  now = _process_start()
  if hosts.is_first() and now not in times:
    folder.mkdir(parents=True, exist_ok=True)
    line = {'host': socket.gethostname(), 'time': now}
    with path.open('a') as file:
      file.write('\n' if text and not text.endswith('\n') else '')
      file.write(json.dumps(line) + '\n')
  return min([*times, now])


def share(seconds: float, first: float) -> float:
  """Goodput, where so many seconds since `first` were steps that count."""
  return seconds / (time.time() - first)


class Launch:
  """Takes the time from the process's start to its first step, by its parts."""

  def __init__(self) -> None:
    """All until now is `imports`: Python, libraries, waiting for the hosts."""
    self._seconds = {'imports': time.time() - _process_start()}
    self._done = self._told = False

  @contextlib.contextmanager
  def part(self, name: str) -> Iterator[None]:
    """Takes the time of what is done within it."""
    start = time.time()
    yield
    if not self._done:
      self._seconds[name] = time.time() - start

  def step(self, result: Any) -> None:
    """Ends with the process's first step, once its `result` is there."""
    if not self._done:
      jax.block_until_ready(result)
      self._done = True
      self._seconds['total'] = time.time() - _process_start()

  def values(self) -> dict[str, float]:
    """The parts and their total for a line of metrics, once."""
    if self._told:
      return {}
    self._told = True
    return {f'start_up/{name}': x for name, x in self._seconds.items()}


def _process_start() -> float:
  return psutil.Process().create_time()
