"""Memory that a process has freed, kept for the next time it asks.

XLA gives a step's temporaries back when the step ends, on CPU through the C
library. glibc hands pieces of more than 128 KiB straight to the system, which
clears them anew, page by page, for the next step: at the demo's size 80,000
page faults and a quarter of a step's CPU time.
"""

import ctypes

# <malloc.h>: options of mallopt, and what they are set to here.
_OPTIONS = {
  'M_MMAP_MAX': (-4, 0),  # large pieces too come from the heap
  'M_TRIM_THRESHOLD': (-1, -1),  # which never shrinks
  'M_ARENA_MAX': (-8, 1),  # and is one: those of threads hold 64 MiB at most
}


def keep() -> bool:
  """Makes this process keep what it frees; False where it isn't glibc's.

  It is for CPU, and best called before threads start. What a process holds is
  then the most that it ever needed, which for training is each step's.
  """
  mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
  if mallopt is None:
    return False
  return all(mallopt(option, value) for option, value in _OPTIONS.values())
