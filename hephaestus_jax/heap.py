"""Memory that a process has freed, kept for the next time it asks.

XLA gives a step's temporaries back when the step ends, on CPU through the C
library. glibc hands pieces of more than 128 KiB straight to the system, which
clears them anew, page by page, for the next step: at the demo's size 80,000
page faults and a quarter of a step's CPU time.
"""

import ctypes
import os
from typing import Any

# <malloc.h>: options of mallopt, and what they are set to here.
_OPTIONS = {
  'M_MMAP_MAX': (-4, 0),  # large pieces too come from the heap
  'M_TRIM_THRESHOLD': (-1, -1),  # which never shrinks
  'M_ARENA_MAX': (-8, 1),  # and is one: those of threads hold 64 MiB at most
}
MADV_HUGEPAGE = 14  # <sys/mman.h>
HUGE = 2 << 20  # bytes of such a page

_kept = False  # whether `keep` was called, and worked


def keep() -> bool:
  """Makes this process keep what it frees; False where it isn't glibc's.

  It is for CPU, and best called before threads start. What a process holds is
  then the most that it ever needed, which for training is each step's.
  """
  library = ctypes.CDLL(None)
  mallopt = getattr(library, 'mallopt', None)
  if mallopt is None:
    return False
  if not all(mallopt(option, value) for option, value in _OPTIONS.values()):
    return False
  _large_pages(library)
  global _kept  # of the process, as what mallopt sets is
  _kept = True
  return True


def give_back() -> None:
  """Gives the pages to the system that nothing is on; with or without `keep`.

  For after what allocates between steps. Compiling leaves gigabytes behind; the
  snapshot of a checkpoint, and an evaluation, lie where a step's temporaries
  lay, which are one block, so that the next step needs a new one beside them.
  """
  library = ctypes.CDLL(None)
  trim = getattr(library, 'malloc_trim', None)
  if trim is not None:
    trim.argtypes = [ctypes.c_size_t]
    trim(0)
    if _kept:
      _large_pages(library)  # what grows anew had none else


def _large_pages(library: Any) -> None:
  """Asks for pages of 2 MiB where the heap will grow: fewer to look up.

  Three quarters of the machine's memory are taken and given back untouched.
  Where the system has no such pages, or takes no such loan, all stays as it is.
  """
  library.malloc.restype = ctypes.c_void_p
  library.malloc.argtypes = [ctypes.c_size_t]
  library.free.argtypes = [ctypes.c_void_p]
  size = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 4 * 3
  start = library.malloc(size)
  if start is None:
    return
  library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
  first = -(-start // HUGE) * HUGE
  library.madvise(first, size - 2 * HUGE, MADV_HUGEPAGE)
  library.free(start)
