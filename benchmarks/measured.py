"""What a stretch of work took: wall and CPU seconds, and the peak of memory.

Memory is the sum of the proportional set sizes (PSS) of this process and all
its descendants: pages that several share count once. Standard library alone,
because the neighbours' environments import it too.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import threading
import time
from collections.abc import Iterator
from typing import Any

PERIOD = 0.25  # seconds between looks at the memory


@dataclasses.dataclass
class Measurement:
  """Filled when the stretch ends.

  Attributes:
    wall: seconds.
    cpu: seconds of this process and all its descendants, those that are started
      by a server of processes among them; of each, the last PERIOD may miss.
    peak: bytes.
  """

  wall: float = 0.0
  cpu: float = 0.0
  peak: int = 0


@contextlib.contextmanager
def measured() -> Iterator[Measurement]:
  """Measures what runs inside it."""
  found = Measurement()
  before = {process: look.cpu for process, look in _look().items()}
  last: dict[int, float] = {}
  ended = threading.Event()

  def watch() -> None:
    while not ended.wait(PERIOD):
      looks = _look()
      last.update({process: look.cpu for process, look in looks.items()})
      found.peak = max(found.peak, sum(look.pss for look in looks.values()))

  watcher = threading.Thread(target=watch, daemon=True)
  start = time.monotonic()
  watcher.start()
  try:
    yield found
  finally:
    found.wall = time.monotonic() - start
    ended.set()
    watcher.join()
    looks = _look()
    last.update({process: look.cpu for process, look in looks.items()})
    found.peak = max(found.peak, sum(look.pss for look in looks.values()))
    found.cpu = sum(cpu - before.get(p, 0) for p, cpu in last.items())


def memory() -> int:
  """Bytes of this process and its descendants now."""
  return sum(look.pss for look in _look().values())


def tell(name: str, found: Measurement, megabytes: float, **more: Any) -> None:
  """Prints a measurement as a line of JSON."""
  record = {
    'step': name,
    'MB': round(megabytes, 1),
    'wall_s': round(found.wall, 1),
    'cpu_s': round(found.cpu, 1),
    'MB_per_cpu_s': round(megabytes / max(found.cpu, 1e-9), 2),
    'peak_MB': round(found.peak / 1e6),
    **more,
  }
  print(json.dumps(record), flush=True)


@dataclasses.dataclass(frozen=True)
class _Look:
  """What a process had used when it was looked at: seconds and bytes."""

  cpu: float
  pss: int


def _look() -> dict[int, _Look]:
  """This process and its descendants, by id."""
  children: dict[int, list[int]] = {}
  cpu: dict[int, float] = {}
  for folder in pathlib.Path('/proc').iterdir():
    # A process may end while it is looked at.
    with contextlib.suppress(OSError):
      if folder.name.isdecimal():
        # After the name, which may hold anything: state, parent, ...
        fields = (folder / 'stat').read_text().rpartition(')')[2].split()
        children.setdefault(int(fields[1]), []).append(int(folder.name))
        ticks = int(fields[11]) + int(fields[12])
        cpu[int(folder.name)] = ticks / os.sysconf('SC_CLK_TCK')
  found: dict[int, _Look] = {}
  waiting = [os.getpid()]
  while waiting:
    process = waiting.pop()
    waiting += children.get(process, [])
    with contextlib.suppress(OSError):
      text = pathlib.Path(f'/proc/{process}/smaps_rollup').read_text()
      pss = next(
        (x for x in text.splitlines() if x.startswith('Pss:')), 'Pss: 0'
      )
      found[process] = _Look(cpu[process], int(pss.split()[1]) * 1024)
  return found
