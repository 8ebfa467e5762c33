"""What a training step will take on a TPU, as its compiler sees it.

Measured by the compiler: memory, FLOPs, bytes, collectives. Modelled here: the
attention kernel's FLOPs, which XLA can't see into, and the seconds.

XLA counts the body of a loop once, so that the network whose layers are scanned
tells only the memory. What a layer costs is the difference between two networks
of two layers and of one, unrolled, with the logits in one piece.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from hephaestus_jax import attention, errors, update
from hephaestus_jax import model as transformer
from hephaestus_jax.observability import metrics
from hephaestus_jax.planning import hlo, topology

# Matrix products in each of splash attention's kernels; a backward pass
# computes the logits again in both.
KERNELS = {'splash_mha_fwd': 2, 'splash_mha_dq': 3, 'splash_mha_dkv': 4}
# Of the one_hot that losses are summed by; no data need be there to plan.
NUM_SOURCES = 64
_UNITS = {'K': 2**10, 'M': 2**20, 'G': 2**30, 'T': 2**40}
# The second: temporaries alone are more than there is.
_REFUSALS = (
  r'Used ([\d.]+)([KMGT]) of ([\d.]+)([KMGT]) hbm',
  r'temporaries \(([\d.]+)([KMGT])\) exceeds available HBM '
  r'\(([\d.]+)([KMGT])\)',
)
Figures = dict[str, Any]
Options = Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Work:
  """What a chip does in a step; two can be added up and scaled.

  Attributes:
    flops: outside of kernels.
    kernel_flops: in attention.
    bytes: read from and written to HBM.
    seconds: XLA's estimate of what isn't a kernel, on nobody's network.
    received: bytes by (kind, whether across slices, whether the chip waits).
  """

  flops: float
  kernel_flops: float
  bytes: float
  seconds: float
  received: Mapping[tuple[str, bool, bool], float]

  def plus(self, other: 'Work', times: float) -> 'Work':
    """This work and `times` the other."""
    keys = {*self.received, *other.received}
    return Work(
      self.flops + times * other.flops,
      self.kernel_flops + times * other.kernel_flops,
      self.bytes + times * other.bytes,
      self.seconds + times * other.seconds,
      {
        key: self.received.get(key, 0) + times * other.received.get(key, 0)
        for key in keys
      },
    )


class TooLarge(NamedTuple):
  """A step that the compiler refused: bytes it would use, and may use."""

  used: float
  usable: float


def over_layers(one: Work, two: Work, layers: int) -> Work:
  """The work of `layers` layers, from those of one and of two."""
  layer = two.plus(one, -1.0)
  return one.plus(layer, layers - 1.0)


def memory(
  config: transformer.Config,
  stage: update.Stage,
  mesh: Mesh,
  sequence_length: int,
  options: Options,
) -> Figures:
  """Bytes on a chip: arguments, temporaries, peak, host; and whether all fits.

  Where it doesn't the compiler says by how much, and no more: arguments and
  temporaries are None.
  """
  compiled = _compiled(config, stage, mesh, sequence_length, options)
  if isinstance(compiled, TooLarge):
    return {
      'fits': False,
      'argument_bytes': None,
      'temp_bytes': None,
      'host_bytes': None,
      'peak_bytes': compiled.used,
      'missing_bytes': compiled.used - compiled.usable,
    }
  found: Any = compiled.memory_analysis()
  return {
    'fits': True,
    'argument_bytes': found.argument_size_in_bytes,
    'temp_bytes': found.temp_size_in_bytes,
    'host_bytes': found.host_temp_size_in_bytes,
    'peak_bytes': found.peak_memory_in_bytes,
    'missing_bytes': 0,
  }


def work(
  config: transformer.Config,
  stage: update.Stage,
  mesh: Mesh,
  sequence_length: int,
  slice_devices: int,
  options: Options,
) -> Work:
  """What a chip does in a step of all layers, without microbatches."""
  # Where the logits don't fit in one piece, fewer rows: work is proportional to
  # them, but for the parameters' part, which is then counted too often.
  parts = 1
  while True:
    rows = dataclasses.replace(
      stage, batch_size=stage.batch_size // parts, microbatches=1, loss_chunks=1
    )
    of = []
    for layers in (1, 2):
      shallow = dataclasses.replace(config, num_layers=layers, scan=False)
      compiled = _compiled(shallow, rows, mesh, sequence_length, options)
      if isinstance(compiled, TooLarge):
        break
      of.append(
        _work(compiled, shallow, rows, mesh, slice_devices, sequence_length)
      )
    if len(of) == 2:
      one, two = of
      whole = over_layers(one, two, config.num_layers)
      return whole.plus(whole, parts - 1.0)
    parts *= 2
    if stage.batch_size % parts:
      raise errors.UserError(
        f'Not even one layer of stage {stage.name!r} fits on a chip with '
        f'{rows.batch_size} rows a step: cut the model over more chips.'
      )


def _compiled(
  config: transformer.Config,
  stage: update.Stage,
  mesh: Mesh,
  sequence_length: int,
  options: Options,
) -> jax.stages.Compiled | TooLarge:
  """The compiled step; or what it would take, where that isn't there."""
  lowered = update.lower_step(
    config,
    stage,
    mesh,
    sequence_length=sequence_length,
    num_sources=NUM_SOURCES,
  )
  try:
    return lowered.compile(compiler_options=dict(options))
  except jax.errors.JaxRuntimeError as error:
    too_large = refusal(str(error))
    if too_large is None:
      raise
    return too_large


def refusal(words: str) -> TooLarge | None:
  """What a program would have used, of what there is, by the compiler's words.

  'Ran out of memory ... Used 20.50G of 15.75G hbm.' gives 20.5 and 15.75 GiB;
  words about anything else give None.
  """
  for form in _REFUSALS:
    if found := re.search(form, words):
      return TooLarge(
        float(found[1]) * _UNITS[found[2]], float(found[3]) * _UNITS[found[4]]
      )
  return None


def _work(
  compiled: jax.stages.Compiled,
  config: transformer.Config,
  stage: update.Stage,
  mesh: Mesh,
  slice_devices: int,
  sequence_length: int,
) -> Work:
  costs: Mapping[str, float] = compiled.cost_analysis()  # type: ignore[assignment]
  text = compiled.as_text() or ''
  received: dict[tuple[str, bool, bool], float] = {}
  for each in hlo.collectives(
    text, devices=mesh.size, slice_devices=slice_devices
  ):
    key = (each.kind, each.across, each.waits)
    received[key] = received.get(key, 0) + each.bytes
  product = (
    2.0
    * stage.batch_size
    * config.num_heads
    * config.head_dim
    * attention.splash_pairs(
      sequence_length, config.sliding_window, config.attention_block
    )
    / mesh.size
  )
  counts = hlo.kernels(text, KERNELS)
  return Work(
    flops=costs['flops'],
    kernel_flops=product * sum(n * counts[name] for name, n in KERNELS.items()),
    bytes=costs['bytes accessed'],
    seconds=costs.get('optimal_seconds', -1.0),
    received=received,
  )


def seconds(done: Work, chip: topology.Chip) -> dict[str, float]:
  """What a step takes: computing, waiting for other chips, and both.

  Computing is XLA's estimate where it is possible at all (it isn't for several
  slices and some large ones): between the longer of the products' and the
  memory's time and the sum of both. Else it is their sum. Attention is added at
  XLA's peak. What the chip waits for is added; what is asynchronous may hide
  behind computing.
  """
  products = done.flops / chip.compiler_peak
  reads = done.bytes / chip.compiler_bandwidth
  possible = max(products, reads) <= done.seconds <= products + reads
  computing = done.seconds if possible else products + reads
  computing += done.kernel_flops / chip.compiler_peak
  waiting, hidden = 0.0, 0.0
  for (_, across, waits), received in done.received.items():
    took = received / (chip.network if across else chip.interconnect)
    waiting += took if waits else 0.0
    hidden += 0.0 if waits else took
  return {
    'compute_seconds': computing,
    'collective_seconds': waiting + hidden,
    'step_seconds': max(computing, hidden) + waiting,
  }


def figures(
  done: Work,
  config: transformer.Config,
  stage: update.Stage,
  place: topology.Topology,
  sequence_length: int,
) -> Figures:
  """All that a stage's row says, but for its memory; per chip and step."""
  chip, chips = place.chip, place.slices * place.slice_chips
  took = seconds(done, chip)
  tokens = stage.batch_size * sequence_length
  model_flops = (
    tokens * metrics.flops_per_token(config, sequence_length) / chips
  )
  by_kind: dict[str, float] = {}
  for (kind, across, _), received in done.received.items():
    name = f'{kind} across slices' if across else kind
    by_kind[name] = by_kind.get(name, 0) + received
  hours = took['step_seconds'] * stage.steps / 3600
  return {
    'executed_flops': done.flops + done.kernel_flops,
    'model_flops': model_flops,
    'bytes_accessed': done.bytes,
    'collectives': {kind: by_kind[kind] for kind in sorted(by_kind)},
    **took,
    'mfu_bound': model_flops / took['step_seconds'] / chip.peak,
    'compute_mfu': model_flops / took['compute_seconds'] / chip.compiler_peak,
    'wall_hours': hours,
    'chip_hours': hours * chips,
  }
