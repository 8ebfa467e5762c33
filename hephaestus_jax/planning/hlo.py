"""What a compiled program's text says that its cost analysis does not.

How often each computation runs, what its collectives move, how many attention
kernels it calls. The text is XLA's HLO of one device, as
`jax.stages.Compiled.as_text` gives it.
"""

import collections
import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

_BITS = {'pred': 8, 's4': 4, 'u4': 4, 's8': 8, 'u8': 8, 'f8e4m3fn': 8}
_BITS |= {'f8e5m2': 8, 's16': 16, 'u16': 16, 'f16': 16, 'bf16': 16}
_BITS |= {'s32': 32, 'u32': 32, 'f32': 32, 's64': 64, 'u64': 64, 'f64': 64}
_SHAPE = re.compile(rf'\b({"|".join(_BITS)})\[([\d,]*)\]')
KINDS = (
  *('all-gather', 'all-reduce', 'reduce-scatter', 'all-to-all'),
  'collective-permute',
)
_COLLECTIVE = re.compile(rf' = (.+?) ({"|".join(KINDS)})(-start)?\(')
_CALLED = re.compile(r'(?:calls|body|to_apply|condition)=%?([\w.\-]+)')
_TRIPS = re.compile(r'known_trip_count":\{"n":"(\d+)"')
# A name may hold brackets and braces, but ' {' ends a computation's head.
_HEAD = re.compile(r'^(ENTRY )?%?([\w.\-]+) .*\{$')


class Collective(NamedTuple):
  """A collective operation of a program.

  Attributes:
    kind: a name in KINDS.
    bytes: what a chip receives in one run of the program, all calls together.
    across: whether a group spans slices.
    waits: whether the chip waits for it, because it is not asynchronous.
  """

  kind: str
  bytes: float
  across: bool
  waits: bool


def size(shape: str) -> int:
  """Bytes of all arrays in a shape's text.

  >>> size('(bf16[4,8]{1,0:T(8,128)(2,1)}, f32[2])')
  72
  """
  total = 0
  for kind, sizes in _SHAPE.findall(shape):
    numbers = math.prod(int(n) for n in sizes.split(',') if n)
    total += numbers * _BITS[kind] // 8
  return total


def _computations(text: str) -> dict[str, list[str]]:
  """The lines of each computation by its name; the entry's name is ''."""
  found: dict[str, list[str]] = {}
  lines: list[str] = []
  for line in text.splitlines():
    if head := _HEAD.match(line):
      lines = found.setdefault('' if head[1] else head[2], [])
    elif line == '}':
      lines = []
    else:
      lines.append(line)
  return found


def runs(text: str) -> Iterator[tuple[str, int]]:
  """Each instruction's line, and how often it runs in a run of the program."""
  computations = _computations(text)
  waiting = collections.deque([('', 1)])
  while waiting:
    name, times = waiting.popleft()
    for line in computations.get(name, ()):
      yield line, times
      trips = _TRIPS.search(line)
      often = times * (int(trips[1]) if trips else 1)
      # A reduction's `to_apply` holds scalars alone: nothing is counted there.
      waiting.extend((called, often) for called in _CALLED.findall(line))


def groups(line: str, devices: int) -> np.ndarray:
  """The devices that a collective joins, [groups, members].

  >>> groups('replica_groups=[2,2]<=[4]', 4)
  array([[0, 1],
         [2, 3]])
  """
  if match := re.search(
    r'replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?', line
  ):
    shape, sizes, order = (
      [int(n) for n in part.split(',')] if part else None
      for part in match.groups()
    )
    assert shape is not None and sizes is not None
    ids = np.arange(math.prod(sizes)).reshape(sizes)
    return ids.transpose(order).reshape(shape)
  if match := re.search(r'replica_groups=mesh\[(.+?)\] ?\{(.*?)\}', line):
    axes = re.findall(r"'(\w+)'=(\d+)", match[1])
    joined = re.findall(r"'(\w+)'", match[2])
    names = [name for name, _ in axes]
    ids = np.arange(devices).reshape([int(n) for _, n in axes])
    inside = [names.index(name) for name in joined]
    outside = [i for i in range(len(names)) if i not in inside]
    members = math.prod(ids.shape[i] for i in inside)
    return ids.transpose([*outside, *inside]).reshape(-1, members)
  if match := re.search(r'replica_groups=\{(\{.+?\})\}', line):
    rows = re.findall(r'\{([\d,]+)\}', match[1])
    return np.array([[int(n) for n in row.split(',')] for row in rows])
  return np.arange(devices)[None]


def collectives(
  text: str, *, devices: int, slice_devices: int
) -> list[Collective]:
  """The collectives of a program.

  Args:
    text: the program.
    devices: it runs on.
    slice_devices: of one slice: with more, what crosses is told apart.
  """
  found = []
  for line, times in runs(text):
    match = _COLLECTIVE.search(line)
    if match is None:
      continue
    shape, kind, started = match.groups()
    if kind == 'collective-permute':
      pairs = re.findall(r'\{(\d+),(\d+)\}', line)
      members = np.array([[int(a), int(b)] for a, b in pairs])
      members = members if pairs else np.zeros((1, 1), int)
      received = 1.0
    else:
      members = groups(line, devices)
      share = 1 - 1 / members.shape[1]
      # The result of a gather is whole, that of a scatter a member's part.
      received = {
        'all-reduce': 2 * share,
        'reduce-scatter': members.shape[1] * share,
      }.get(kind, share)
    whole = size(shape)
    if started:  # the result stands beside the operand (and two counters)
      parts = _top(shape)
      whole = size(parts[1]) if len(parts) > 1 else whole
    across = bool(np.ptp(members // slice_devices, axis=1).any())
    bytes_ = whole * received * times
    found.append(Collective(kind, bytes_, across, not started))
  return found


def _top(shape: str) -> list[str]:
  """The parts of a tuple's text.

  >>> _top('((f32[2], f32[3]), bf16[2,3]{1,0})')
  ['(f32[2], f32[3])', 'bf16[2,3]{1,0}']
  """
  if not shape.startswith('('):
    return [shape]
  parts, depth, start = [], 0, 1
  for i, letter in enumerate(shape[1:-1], start=1):
    depth += (letter in '([{') - (letter in ')]}')
    if letter == ',' and depth == 0:
      parts.append(shape[start:i].strip())
      start = i + 1
  return [*parts, shape[start:-1].strip()]


def kernels(text: str, names: Mapping[str, int]) -> dict[str, int]:
  """How often each kernel runs, by a word of its instruction's name.

  >>> kernels('ENTRY %m () -> f32[] {\\n %a_fwd.1 = f32[] custom-call()\\n}',
  ...         {'a_fwd': 2})
  {'a_fwd': 1}
  """
  counts = dict.fromkeys(names, 0)
  for line, times in runs(text):
    if ' custom-call(' in line:
      head = line.partition(' = ')[0]
      for name in names:
        counts[name] += times * (name in head)
  return counts
