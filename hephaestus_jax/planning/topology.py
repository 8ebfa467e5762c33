"""TPU slices that are not here: their devices for the compiler, their figures.

A name is a generation and its chips: 'v5p:4x4x4'. Several slices, joined by the
data-centre network, have their number in front: '2xv5p:4x4x4'.
"""

import dataclasses
import importlib.util
import math
import os
import re
from collections.abc import Mapping
from typing import Any

import jax
from jax.experimental import topologies

from hephaestus_jax import errors, quiet

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
  """What one chip of a generation can do.

  Attributes:
    capacity: bytes of HBM.
    peak: published bf16 FLOP/s.
    bandwidth: published bytes/s of HBM.
    interconnect: published bytes/s of all links to other chips of the slice.
    network: bytes/s to other slices: a host's card, shared by its chips.
    compiler_peak: FLOP/s that XLA's `optimal_seconds` assumes, where it was
      measured (a large matmul's FLOPs over its seconds).
    compiler_bandwidth: bytes/s of HBM that it assumes.
    shapes: slices that are sold, chips along each direction.
    options: what JAX must be told beside the name to get a device per chip.
  """

  capacity: int
  peak: float
  bandwidth: float
  interconnect: float
  network: float
  compiler_peak: float
  compiler_bandwidth: float
  shapes: tuple[str, ...]
  options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


_CUBES = (
  *('2x2x1', '2x2x2', '2x2x4', '2x4x4', '4x4x4', '4x4x8', '4x8x8', '8x8x8'),
  *('8x8x16', '8x16x16', '16x16x16'),
)
_SQUARES = (*('1x1', '2x2', '2x4', '4x4', '4x8', '8x8', '8x16', '16x16'),)
# Google Cloud's pages of each generation; the network: 200 Gbit/s for the four
# chips of a v4 or v5p host, 25 and 100 Gbit/s for a chip of v5e and v6e.
CHIPS: Mapping[str, Chip] = {
  'v4': Chip(
    *(32 * GIB, 275e12, 1.2e12, 300e9, 6.25e9, 275e12, 1.2e12, _CUBES),
    # Two cores that share the chip's memory count as one device.
    {'chip_config_name': 'megacore'},
  ),
  'v5e': Chip(
    *(16 * GIB, 197e12, 0.82e12, 200e9, 3.125e9, 197e12, 0.74e12, _SQUARES),
  ),
  'v5p': Chip(
    *(95 * GIB, 459e12, 2.765e12, 600e9, 6.25e9, 394e12, 2.35e12, _CUBES),
  ),
  'v6e': Chip(
    *(32 * GIB, 918e12, 1.64e12, 448e9, 12.5e9, 918e12, 1.64e12, _SQUARES),
  ),
}


@dataclasses.dataclass(frozen=True)
class Topology:
  """Slices of one shape.

  Attributes:
    name: as it was asked for.
    chip: the generation's figures.
    slices: how many.
    shape: the chips of one along each direction, as in '4x4x4'.
    generation: a name in CHIPS.
  """

  name: str
  chip: Chip
  slices: int
  shape: str
  generation: str

  @property
  def slice_chips(self) -> int:
    """Chips of one slice."""
    return math.prod(int(size) for size in self.shape.split('x'))


def parse(name: str) -> Topology:
  """The topology of a name.

  Raises:
    errors.UserError: no such generation or shape; the message lists those there
      are.
  """
  match = re.fullmatch(r'(?:(\d+)x)?(v\w+):(\d+(?:x\d+)*)', name)
  generation = match[2] if match else name.partition(':')[0]
  chip = CHIPS.get(generation)
  if match is None or chip is None or match[3] not in chip.shapes:
    known = {generation: chip} if chip else CHIPS
    lists = '; '.join(
      f'{each}: {", ".join(f"{each}:{shape}" for shape in its.shapes)}'
      for each, its in known.items()
    )
    raise errors.UserError(
      f'--topology {name!r} is none that is known. There are {lists}; several '
      'slices are named with their number in front, such as '
      f'2x{generation if chip else "v5p"}:{(chip or CHIPS["v5p"]).shapes[4]}.'
    )
  slices = int(match[1] or 1)
  if slices < 1:
    raise errors.UserError(f'--topology {name!r} has no slice.')
  return Topology(name, chip, slices, match[3], generation)


def devices(topology: Topology) -> list[jax.Device]:
  """The topology's devices as the compiler knows them; none needs to be here.

  JAX computes on the CPU from here on.

  Raises:
    errors.UserError: the TPU compiler (libtpu) is not installed.
  """
  if not (
    importlib.util.find_spec('libtpu') or os.environ.get('TPU_LIBRARY_PATH')
  ):
    raise errors.UserError(
      'The TPU compiler is not installed here: '
      "pip install 'hephaestus-jax[tpu]' (it needs no TPU)."
    )
  jax.config.update('jax_platforms', 'cpu')
  # libtpu would ask the machine's metadata server which TPU it is on, and would
  # let only one process load it.
  os.environ.setdefault('TPU_SKIP_MDS_QUERY', '1')
  os.environ.setdefault('ALLOW_MULTIPLE_LIBTPU_LOAD', '1')
  os.environ.setdefault('TPU_WORKER_HOSTNAMES', 'localhost')
  options = dict(topology.chip.options)
  if topology.slices > 1:
    options['num_slices'] = topology.slices
  with quiet.start_up():
    found = topologies.get_topology_desc(
      platform='tpu',
      topology_name=f'{topology.generation}:{topology.shape}',
      **options,
    )
  return list(found.devices)
