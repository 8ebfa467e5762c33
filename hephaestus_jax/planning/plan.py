"""`hephaestus plan`: does a run fit on a TPU slice, and how long will it take?

Every stage's step is compiled for a topology that is not here. Stages whose
step is the same are compiled once, and what was compiled is kept.
"""

import dataclasses
import json
import math
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

from jax.sharding import Mesh

from hephaestus_jax import artefacts, description, errors, partitioning, update
from hephaestus_jax import model as transformer
from hephaestus_jax.planning import estimate, topology

# The files that say what a step is: another text is another plan.
SOURCES = (
  *('attention', 'losses', 'model', 'optimizer'),
  *('partitioning', 'rotary', 'update'),
  *('planning/estimate', 'planning/hlo', 'planning/topology'),
)
# From the fastest to the one that takes the least memory: model.REMAT's order.
REMAT = tuple(transformer.REMAT)
GIB = topology.GIB


def plan(
  *,
  model: transformer.Config,
  stages: Sequence[update.Stage],
  mesh: Callable[..., Mesh],
  sequence_length: int,
  plan_dir: str,
  topology_name: str | None = None,
  compiler_options: Mapping[str, str] | None = None,
  suggest: bool = False,
) -> list[dict[str, Any]]:
  """Compiles every stage's step for a topology and prints one table.

  Args:
    model: the network.
    stages: of the run.
    mesh: `partitioning.make_mesh`, whose devices are the topology's.
    sequence_length: tokens of a row.
    plan_dir: keeps what was compiled, a JSON file each.
    topology_name: such as 'v5p:4x4x4' or '2xv5p:4x4x4'.
    compiler_options: XLA's, as training compiles its step with.
    suggest: also compile what a stage that doesn't fit could be changed to, and
      of one that does, what recomputes less.

  Returns:
    A row per stage: `topology`, `chips` and what the table shows, unrounded,
    per chip and step. A stage that does not fit has no FLOPs and no seconds.

  Raises:
    errors.UserError: no such topology; the mesh or the rows don't fit its
      chips; the TPU compiler is not installed.
  """
  if topology_name is None:
    raise errors.UserError(
      'hephaestus plan needs --topology, such as v5p:4x4x4 or 2xv5p:4x4x4.'
    )
  place = topology.parse(topology_name)
  run_mesh = mesh(devices=topology.devices(place))
  rows = []
  for stage in stages:
    layout = partitioning.reshaped(run_mesh, stage.axes)
    _check(stage, layout, sequence_length)
    options = compiler_options or {}
    case = Case(model, stage, layout, place, sequence_length, options)
    kept = pathlib.Path(plan_dir)
    row = {
      'stage': stage.name,
      'topology': place.name,
      'chips': layout.size,
      'mesh': {axis: n for axis, n in layout.shape.items() if n > 1},
      'remat': model.remat,
      'microbatches': stage.microbatches,
      'rows': stage.batch_size,
      'capacity_bytes': place.chip.capacity,
      **case.figures(kept),
    }
    if not row['fits']:
      row['advice'] = advice(case, row['missing_bytes'])
    if suggest:
      row['suggestions'] = list(suggestions(case, kept, row['fits']))
    rows.append(row)
  print(table(rows))
  return rows


def _check(stage: update.Stage, mesh: Mesh, sequence_length: int) -> None:
  """Refuses rows that can't be cut into equal parts over the mesh."""
  rows = stage.batch_size // stage.microbatches
  for axis, size in (('batch', rows), ('length', sequence_length)):
    over = partitioning.RULES[axis]
    parts = math.prod(mesh.shape[part] for part in over)
    if size % parts:
      raise errors.UserError(
        f"Stage {stage.name!r} has {size} along {axis!r}, which can't be cut "
        f'into {" x ".join(over)} = {parts} equal parts. With fewer rows than '
        "chips, give it axes of its own: STAGE3_AXES = {'fsdp': 16, "
        "'sequence': -1}."
      )


@dataclasses.dataclass(frozen=True)
class Case:
  """A step on a topology: what is compiled."""

  model: transformer.Config
  stage: update.Stage
  mesh: Mesh
  place: topology.Topology
  sequence_length: int
  options: Mapping[str, str]

  def key(self) -> str:
    """Sixteen digits of all that the compiler's figures depend on."""
    stage = {
      field.name: getattr(self.stage, field.name)
      for field in dataclasses.fields(self.stage)
      if field.name not in ('name', 'mixture', 'steps', 'optimizer', 'axes')
    }
    code = pathlib.Path(__file__).parents[1]
    return artefacts.fingerprint(
      {
        'model': description.describe(self.model),
        'stage': description.describe(stage),
        'optimizer': _form(description.describe(self.stage.optimizer.update)),
        'mesh': {str(axis): n for axis, n in self.mesh.shape.items()},
        'topology': self.place.name,
        'sequence_length': self.sequence_length,
        'options': dict(self.options),
        'code': {
          name: artefacts.file_fingerprint(code / f'{name}.py')
          for name in SOURCES
        },
        'compiler': [metadata.version('jax'), _libtpu()],
      }
    )

  def memory(self, kept: pathlib.Path) -> estimate.Figures:
    """`estimate.memory`, compiled once."""
    return _once(
      kept / f'{self.key()}.memory.json',
      lambda: estimate.memory(
        *(self.model, self.stage, self.mesh, self.sequence_length),
        self.options,
      ),
      f'{self.stage.name} on {self.place.name}: memory',
    )

  def work(self, kept: pathlib.Path) -> estimate.Work:
    """`estimate.work` of a microbatch, compiled once, times their number."""
    parts = self.stage.microbatches
    part = dataclasses.replace(
      self.stage,
      batch_size=self.stage.batch_size // parts,
      microbatches=1,
      loss_chunks=1,
    )

    def compiled() -> dict[str, Any]:
      done = estimate.work(
        *(self.model, part, self.mesh, self.sequence_length),
        self.place.slice_chips,
        self.options,
      )
      received = [[*key, n] for key, n in sorted(done.received.items())]
      return {**dataclasses.asdict(done), 'received': received}

    key = dataclasses.replace(self, stage=part).key()
    found = _once(
      kept / f'{key}.work.json',
      compiled,
      f'{self.stage.name} on {self.place.name}: work of a layer',
    )
    received = {tuple(key): n for *key, n in found['received']}
    done = estimate.Work(**{**found, 'received': received})
    return done.plus(done, parts - 1.0)

  def figures(self, kept: pathlib.Path) -> estimate.Figures:
    """All figures; of a step that does not fit, its memory alone."""
    memory = self.memory(kept)
    if not memory['fits']:
      return memory
    found = estimate.figures(
      self.work(kept), self.model, self.stage, self.place, self.sequence_length
    )
    return memory | found


def _libtpu() -> str:
  try:
    return metadata.version('libtpu')
  except metadata.PackageNotFoundError:  # named by TPU_LIBRARY_PATH alone
    return 'unknown'


def _form(described: Any) -> Any:
  """A description without its numbers: they change no step's cost.

  >>> _form({'function': 'adamw', 'beta1': 0.9})
  {'function': 'adamw', 'beta1': None}
  """
  if isinstance(described, Mapping):
    return {name: _form(item) for name, item in described.items()}
  return described if isinstance(described, str) else None


def _once(
  path: pathlib.Path, compute: Callable[[], dict[str, Any]], what: str
) -> dict[str, Any]:
  """What is in the file; where there is none, what is computed, kept there."""
  if path.exists():
    return dict(json.loads(path.read_text()))
  print(f'compiling {what} ...', file=sys.stderr, flush=True)
  start = time.monotonic()
  found = compute()
  took = time.monotonic() - start
  print(f'compiled {what} in {took:.0f} s', file=sys.stderr, flush=True)
  path.parent.mkdir(parents=True, exist_ok=True)
  artefacts.write_json(path, found)
  return found


def advice(case: Case, missing: float) -> str:
  """In a sentence: by how much a step does not fit, and what would help."""
  ways = []
  cheaper = REMAT[REMAT.index(case.model.remat) + 1 :]
  if cheaper:
    ways.append(
      f'model.Config.remat = {" or ".join(map(repr, cheaper))} (now '
      f'{case.model.remat!r})'
    )
  ways += [how for how, _ in _microbatches(case)]
  if case.stage.loss_chunks == 1:
    ways.append('LOSS_CHUNKS = 8')
  ways += [how for how, _ in _axes(case)]
  return f'does not fit by {missing / GIB:.1f} GiB; what takes less: ' + (
    '; '.join(ways) or 'more chips'
  )


def suggestions(
  case: Case, kept: pathlib.Path, fits: bool
) -> Iterator[dict[str, Any]]:
  """Changes that were compiled, and the memory that each takes.

  To a step that fits: other remat that computes less again, down to the first
  that fits too. To one that doesn't: more remat, more microbatches, other axes,
  each up to the first that fits.
  """
  here = REMAT.index(case.model.remat)
  if fits:
    ladders = [[_remat(case, name) for name in REMAT[:here]]]
  else:
    ladders = [
      [_remat(case, name) for name in REMAT[here + 1 :]],
      _microbatches(case),
      _axes(case),
    ]
  for ladder in ladders:
    for how, changed in ladder:
      found = changed.memory(kept)
      yield {
        'change': how,
        'peak_bytes': found['peak_bytes'],
        'fits': found['fits'],
      }
      if found['fits']:
        break


def _remat(case: Case, name: str) -> tuple[str, Case]:
  changed = dataclasses.replace(case.model, remat=name)
  return f'model.Config.remat = {name!r}', dataclasses.replace(
    case, model=changed
  )


def _microbatches(case: Case) -> list[tuple[str, Case]]:
  """Twice and more microbatches, while each chip has a row of each."""
  shape = case.mesh.shape
  shards = shape['slice'] * shape['data'] * shape['fsdp']
  found = []
  parts = 2 * case.stage.microbatches
  while case.stage.batch_size % (parts * shards) == 0:
    stage = dataclasses.replace(case.stage, microbatches=parts)
    found.append(
      (f'MICROBATCHES = {parts}', dataclasses.replace(case, stage=stage))
    )
    parts *= 2
  return found


def _axes(case: Case) -> list[tuple[str, Case]]:
  """Copies of the parameters given up; then rows cut in two and in four."""
  shape = case.mesh.shape
  found = []
  if shape['data'] > 1:
    found.append({'data': 1, 'fsdp': shape['data'] * shape['fsdp']})
  found += [
    {'fsdp': shape['fsdp'] // n, 'sequence': n * shape['sequence']}
    for n in (2, 4)
    if shape['fsdp'] % n == 0
  ]
  return [
    (
      'axes ' + ', '.join(f'{axis} = {n}' for axis, n in axes.items()),
      dataclasses.replace(case, mesh=partitioning.reshaped(case.mesh, axes)),
    )
    for axes in found
  ]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
  """The rows as a person reads them: a line per figure, a column per stage."""

  def gib(value: float | None) -> str:
    return '-' if value is None else f'{value / GIB:.2f} GiB'

  def of(name: str, form: str, scale: float = 1.0) -> list[str]:
    return [
      '-' if row.get(name) is None else form.format(row[name] / scale)
      for row in rows
    ]

  def per_model(row: Mapping[str, Any]) -> str:
    if 'executed_flops' not in row:
      return '-'
    return f'{row["executed_flops"] / row["model_flops"]:.3f}'

  kinds = sorted({k for row in rows for k in row.get('collectives', ())})
  lines = [
    ('stage', [row['stage'] for row in rows]),
    ('topology', [f'{row["topology"]} ({row["chips"]} chips)' for row in rows]),
    (
      'mesh',
      [' '.join(f'{a} {n}' for a, n in row['mesh'].items()) for row in rows],
    ),
    ('rows a step', of('rows', '{:.0f}')),
    (
      'remat, microbatches',
      [f'{row["remat"]}, {row["microbatches"]}' for row in rows],
    ),
    ('arguments', [gib(row['argument_bytes']) for row in rows]),
    ('temporaries', [gib(row['temp_bytes']) for row in rows]),
    ('peak', [gib(row['peak_bytes']) for row in rows]),
    ('capacity', [gib(row['capacity_bytes']) for row in rows]),
    (
      'headroom',
      [gib(row['capacity_bytes'] - row['peak_bytes']) for row in rows],
    ),
    ('fits', ['yes' if row['fits'] else 'NO' for row in rows]),
    ('FLOPs executed', of('executed_flops', '{:.1f} T', 1e12)),
    ('FLOPs of the model', of('model_flops', '{:.1f} T', 1e12)),
    ('executed / model', [per_model(row) for row in rows]),
    ('bytes of HBM', of('bytes_accessed', '{:.0f} GB', 1e9)),
    *(
      (
        kind,
        [
          f'{row["collectives"].get(kind, 0) / 1e9:.2f} GB'
          if 'collectives' in row
          else '-'
          for row in rows
        ],
      )
      for kind in kinds
    ),
    ('computing', of('compute_seconds', '{:.3f} s')),
    ('collectives', of('collective_seconds', '{:.3f} s')),
    ('step', of('step_seconds', '{:.3f} s')),
    ('MFU at most', of('mfu_bound', '{:.1%}')),
    ('wall clock', of('wall_hours', '{:,.1f} h')),
    ('chip-hours', of('chip_hours', '{:,.0f}')),
  ]
  wide = [max(len(line[1][i]) for line in lines) for i in range(len(rows))]
  text = [
    f'{name:<22}'
    + '  '.join(f'{v:>{w}}' for v, w in zip(values, wide, strict=True))
    for name, values in lines
  ]
  for row in rows:
    if 'advice' in row:
      text.append(f'{row["stage"]} {row["advice"]}')
    for tried in row.get('suggestions', ()):
      fits = 'fits' if tried['fits'] else 'does not fit'
      text.append(
        f'{row["stage"]} with {tried["change"]}: peak '
        f'{gib(tried["peak_bytes"])}, {fits}'
      )
  return '\n'.join(text)
