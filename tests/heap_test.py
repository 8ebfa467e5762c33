"""A step after the first asks the system for no memory."""

import pathlib
import subprocess
import sys

import pytest

from hephaestus_jax import heap

# Two 64 MiB pieces, written to and freed, over and over: the faults of all
# rounds but the first. It needs a process of its own: the setting stays.
FAULTS = """
import resource, sys
from hephaestus_jax import heap
if sys.argv[1] == 'keep' and not heap.keep():
  sys.exit(3)
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for round in range(5):
  if round == 1:
    before = faults()
  pieces = [bytearray(b'x') * 2**26 for _ in range(2)]
  del pieces
print(faults() - before)
"""


def said(program: str, *arguments: str) -> int:
  """The number that a program prints, in a process of its own."""
  ran = subprocess.run(
    [sys.executable, '-c', program, *arguments],
    capture_output=True,
    text=True,
    check=False,
  )
  if ran.returncode == 3:
    pytest.skip('the C library is not glibc')
  return int(ran.stdout)


def test_what_is_freed_is_not_asked_for_again():
  assert said(FAULTS, 'keep') < 100 < said(FAULTS, 'as it is')


# What stays resident of a hole of 256 MiB below a piece that is still in use.
HOLE = """
import sys
from hephaestus_jax import heap
if not heap.keep():
  sys.exit(3)
def resident():
  with open('/proc/self/statm') as file:
    return int(file.read().split()[1]) * 4096
hole, piece = bytearray(b'x') * 2**28, bytearray(b'x') * 2**20
del hole
before = resident()
heap.give_back()
print(before - resident())
"""


def test_what_nothing_is_on_can_be_given_back():
  assert said(HOLE) > 2**27


# What the system says of the part of the heap that is still to be used.
FLAGS = """
import sys
from hephaestus_jax import heap
if not heap.keep():
  sys.exit(3)
if sys.argv[1] == 'given back':
  heap.give_back()
with open('/proc/self/smaps') as file:
  regions = file.read().split('VmFlags:')
print(sum('[heap]' in name and ' hg' in flags.partition(chr(10))[0]
          for name, flags in zip(regions, regions[1:])))
"""


@pytest.mark.skipif(
  not pathlib.Path('/sys/kernel/mm/transparent_hugepage').exists(),
  reason='the system has no large pages',
)
@pytest.mark.parametrize('when', ['at first', 'given back'])
def test_the_heap_asks_for_large_pages(when):
  assert said(FLAGS, when) >= 1


def test_another_c_library_is_left_alone(monkeypatch):
  monkeypatch.setattr(heap.ctypes, 'CDLL', lambda name: object())
  assert not heap.keep()
