"""The report's figures: one function each, from a run's results.

Each gives None where the run has no numbers for it.
"""

import functools
import math

import matplotlib.figure

from hephaestus_jax.report import (
  ablations,
  plots,
  results,
  rings,
  scaling,
  sources,
)

NATS = 'nats per token'
TIME_COLOUR = '#3d5a80'


def draw(found: results.Results, benchmark: str) -> dict[str, plots.Drawing]:
  """Every figure that the run has numbers for, by name."""
  figures = {
    'benchmark_loss': (
      'Benchmark loss against tokens trained on, a curve per run',
      functools.partial(benchmark_loss, found, benchmark),
    ),
    'bfcl': (
      'Accuracy of function calls by category, a bar per run',
      functools.partial(bfcl, found),
    ),
    'training_loss': (
      'Training loss against tokens trained on, a curve per run',
      functools.partial(training_loss, found),
    ),
    'loss_by_role': (
      'Training loss against tokens trained on, a panel per role',
      functools.partial(loss_by, found, 'role'),
    ),
    'loss_by_source': (
      'Training loss against tokens trained on, a panel per source',
      functools.partial(loss_by, found, 'source'),
    ),
    ablations.FIGURE: (
      'Benchmark loss of runs that differ in one thing, a dot per seed',
      functools.partial(ablations.figure, found),
    ),
    'base_models': (
      'Losses of the base models on every benchmark, a dot per run',
      functools.partial(base_models, found),
    ),
    'mixture': (
      'Benchmark losses against the share of agent data, a curve per size',
      functools.partial(scaling.figure, found.fits),
    ),
    'kinds_and_sources': (
      'The corpus by kind and source, two rings',
      functools.partial(kinds_and_sources, found),
    ),
    'agent_formats': (
      'The agent data by format, a pie per kind',
      functools.partial(agent_formats, found),
    ),
    'embedding_map': (
      'Seed, retrieved and general text in the plane, a point per document',
      functools.partial(embedding_map, found),
    ),
    'tokens_by_kind': (
      'Training tokens of the corpus, a bar per kind of text',
      functools.partial(tokens_by_kind, found),
    ),
    'tokens_by_source': (
      'Training tokens of the corpus, a bar per source',
      functools.partial(tokens_by_source, found),
    ),
    'seconds': (
      'Seconds, a bar per step of the road',
      functools.partial(seconds, found),
    ),
  }
  drawings = {
    name: plots.render(name, description, make)
    for name, (description, make) in figures.items()
  }
  return {name: drawing for name, drawing in drawings.items() if drawing}


def kinds_and_sources(
  found: results.Results,
) -> matplotlib.figure.Figure | None:
  """The training split by kind and source (the paper's Figure 2a)."""
  sizes, unit = sources.sizes(found)
  if not sizes:
    return None
  kinds = sources.kinds(found)
  return rings.rings(
    [rings.Slice(kinds[name], name, size) for name, size in sizes.items()],
    plots.KIND_COLOURS,
    unit,
  )


def agent_formats(found: results.Results) -> matplotlib.figure.Figure | None:
  """The agent data by format (Figures 2b and 2c)."""
  by_kind = sources.sizes_by_format(found)
  if all(len(formats) == 1 for formats in by_kind.values()):
    return None  # a whole pie says nothing
  return rings.pies(by_kind, sources.sizes(found)[1])


def embedding_map(found: results.Results) -> matplotlib.figure.Figure | None:
  """Seed, retrieved and general text by their vectors (Figure 2d)."""
  if found.embedding_map is None:
    return None
  return rings.scatter([tuple(p) for p in found.embedding_map['points']])


def tokens_by_kind(found: results.Results) -> matplotlib.figure.Figure | None:
  """Cached training tokens by kind of text."""
  tokens = results.tokens_by_kind(found)
  if tokens is None:
    return None
  return _token_bars(tokens, {kind: kind for kind in tokens})


def tokens_by_source(found: results.Results) -> matplotlib.figure.Figure | None:
  """Cached training tokens by source, in the colour of its kind."""
  tokens = results.tokens_by_task(found)
  if tokens is None:
    return None
  return _token_bars(tokens, results.kind_of_tasks(found))


def _token_bars(
  tokens: dict[str, int], kinds: dict[str, str]
) -> matplotlib.figure.Figure:
  """A bar per name, with its count and its share of them all."""
  total = sum(tokens.values()) or 1
  return plots.bars(
    [
      plots.Bar(
        name,
        n,
        plots.KIND_COLOURS.get(kinds[name], plots.FAINT),
        f'{plots.short(n)} ({100 * n / total:.0f} %)',
      )
      for name, n in tokens.items()
    ],
    'tokens',
  )


def training_loss(found: results.Results) -> matplotlib.figure.Figure | None:
  """The loss that is trained on; each stage weighs its own roles."""
  lines = _lines(found, 'loss')
  if not lines:
    return None
  return plots.curves(lines, y_label=NATS, stages=_stage_starts(found))


def benchmark_loss(
  found: results.Results, benchmark: str
) -> matplotlib.figure.Figure | None:
  """The benchmark's loss wherever it was measured."""
  lines = _lines(found, f'evaluation/{benchmark}/nll_per_token')
  if not lines:
    return None
  return plots.curves(
    lines, y_label=NATS, stages=_stage_starts(found), points=True
  )


def base_models(found: results.Results) -> matplotlib.figure.Figure | None:
  """Every benchmark's loss before the first stage and after pre-training.

  A base model is what the last stage, on instructions, would start from.
  """
  items: dict[str, list[plots.Dot]] = {}
  for order, run in enumerate(found.runs):
    base = [*run.stages][:-1] or [*run.stages]
    for name in results.benchmarks(run):
      losses = results.benchmark_loss(run, name, 'token')
      first = (losses[base[0]] or {}).get('before')
      last = (losses[base[-1]] or {}).get('after')
      if order == 0 and first is not None:
        items.setdefault(name, []).append(plots.Dot('start', None, first))
      if last is not None:
        items.setdefault(name, []).append(plots.Dot(run.name, order, last))
  return plots.dots(items, NATS) if items else None


def loss_by(
  found: results.Results, part: str
) -> matplotlib.figure.Figure | None:
  """The training loss by 'role' or by 'source', on the same axes."""
  prefix = f'loss/{part}/'
  keys = {
    key
    for run in found.runs
    for stage in run.stages.values()
    for line in (stage.training if stage else ())
    for key in line
    if key.startswith(prefix)
  }
  panels = {key.removeprefix(prefix): _lines(found, key) for key in keys}
  drawn = {name: panels[name] for name in sorted(panels) if panels[name]}
  return plots.small_multiples(drawn, y_label=NATS) if drawn else None


def bfcl(found: results.Results) -> matplotlib.figure.Figure | None:
  """Function calls judged right, in the order of the files' categories."""
  items: dict[str, plots.Share] = {}
  for run in found.runs:
    for category, score in (run.bfcl or {'categories': {}})[
      'categories'
    ].items():
      item = items.setdefault(category, plots.Share(category, score['n'], {}))
      item.correct[run.name] = score['correct']
  if not items:
    return None
  return plots.shares(list(items.values()), [run.name for run in found.runs])


def seconds(found: results.Results) -> matplotlib.figure.Figure | None:
  """How long each step of the road took."""
  if not found.road:
    return None
  return plots.bars(
    [
      plots.Bar(
        step['name'],
        step['seconds'],
        TIME_COLOUR,
        plots.duration(step['seconds']),
      )
      for step in found.road
    ],
    'seconds',
  )


def _lines(found: results.Results, key: str) -> list[plots.Line]:
  """One line per run that logged `key`, a piece per stage."""
  lines = []
  for order, run in enumerate(found.runs):
    offsets = run.offsets()
    pieces = [
      _points(stage, key, offsets[name])
      for name, stage in run.stages.items()
      if stage is not None
    ]
    if any(pieces):
      lines.append(plots.Line(run.name, order, tuple(filter(None, pieces))))
  return lines


def _points(
  stage: results.Stage, key: str, offset: int
) -> tuple[tuple[float, float], ...]:
  """A stage's measurements of `key`, without those that are no number."""
  return tuple(
    (offset + line['tokens'], line[key])
    for line in stage.lines
    if key in line and math.isfinite(line[key])
  )


def _stage_starts(found: results.Results) -> dict[str, int]:
  """Where the stages start, in tokens, in the run that has most of them."""
  return max((run.offsets() for run in found.runs), key=len)
