"""How the report draws: bars, curves, small multiples, shares.

A kind of text and a run keep their colours in every figure (Okabe and Ito's
palette, which colour-blind readers can tell apart), and labels stand beside
what they name. The same numbers give the same bytes.
"""

import dataclasses
import html
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import matplotlib.axes
import matplotlib.figure
import matplotlib.ticker

INK = '#1f2328'
FAINT = '#8a9099'
KIND_COLOURS = {
  'documentation': '#0072b2',
  'trajectory': '#e69f00',
  'code': '#009e73',
  'text': '#8a9099',
  'instruction': '#cc79a7',
}
# In the order in which the report was given its runs: ours is the first.
RUN_COLOURS = ('#d55e00', '#3d5a80', '#009e73', '#cc79a7', '#e69f00')
RUN_MARKERS = ('o', 's', '^', 'D', 'v')
# Of model sizes, from the smallest: light to dark, told apart in grey as well.
SIZE_COLOURS = ('#8cc8ee', '#3a9ad9', '#0a6aa8', '#3d3580', '#1f2328')

# Keys are Any: matplotlib types its parameters as one long Literal.
STYLE: Mapping[Any, Any] = {
  'font.size': 9.5,
  'axes.titlesize': 9.5,
  'axes.titleweight': 'bold',
  'axes.titlelocation': 'left',
  'axes.labelcolor': INK,
  'axes.edgecolor': FAINT,
  'axes.linewidth': 0.8,
  'axes.spines.top': False,
  'axes.spines.right': False,
  'axes.grid': True,
  'axes.axisbelow': True,
  'grid.color': '#e6e8eb',
  'grid.linewidth': 0.8,
  'xtick.color': FAINT,
  'ytick.color': FAINT,
  'xtick.labelcolor': INK,
  'ytick.labelcolor': INK,
  'xtick.major.size': 0,
  'ytick.major.size': 0,
  'text.color': INK,
  'lines.linewidth': 1.6,
  'lines.markersize': 4.5,
  'figure.constrained_layout.use': True,
  'savefig.dpi': 160,
  # Text stays text: the page's font, found by a search, read aloud.
  'svg.fonttype': 'none',
}

LABEL_HEIGHT = 17  # pixels, of a line of small text
WIDTH = 5.6  # inches; the page sets two such figures side by side


@dataclasses.dataclass(frozen=True)
class Bar:
  """A horizontal bar: its name, length, colour, and the text at its end."""

  name: str
  value: float
  colour: str
  text: str


@dataclasses.dataclass(frozen=True)
class Line:
  """A curve, in pieces: one per stage, so that stages are not joined.

  Attributes:
    name: what the label at its end says.
    order: the place of its run among the report's runs: gives the colour.
    pieces: per stage its (x, y) points.
  """

  name: str
  order: int
  pieces: tuple[tuple[tuple[float, float], ...], ...]


@dataclasses.dataclass(frozen=True)
class Share:
  """How many of `n` were right, by run: {'forge': 3, 'control': 1}."""

  name: str
  n: int
  correct: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Dot:
  """A value on a row of dots; `order` is its run's place, None: no run's."""

  name: str
  order: int | None
  value: float


@dataclasses.dataclass(frozen=True)
class Drawing:
  """A figure as the page and the folder hold it."""

  svg: str
  png: bytes


def render(
  name: str,
  description: str,
  draw: Callable[[], matplotlib.figure.Figure | None],
) -> Drawing | None:
  """Draws a figure in the report's style; None if `draw` has none.

  Args:
    name: what makes the ids inside the SVG differ from another figure's.
    description: what a reader who can't see it is told.
    draw: makes the figure.
  """
  with matplotlib.rc_context():
    matplotlib.rcdefaults()
    matplotlib.rcParams.update({**STYLE, 'svg.hashsalt': name})
    figure = draw()
    if figure is None:
      return None
    svg, png = io.StringIO(), io.BytesIO()
    nothing = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
    figure.savefig(svg, format='svg', metadata=nothing)
    figure.savefig(png, format='png', metadata={'Software': None})
  return Drawing(_inline(svg.getvalue(), description), png.getvalue())


def _inline(svg: str, description: str) -> str:
  """An SVG file as a part of an HTML page: no prologue, sized by the page."""
  svg = svg[svg.index('<svg') :]
  head, rest = svg.split('>', 1)
  box = re.search(r'viewBox="[^"]*"', head)
  assert box, head
  # Names of groups would be ids used twice on a page with several figures.
  rest = re.sub(r'<g id="[^"]*"', '<g', rest)
  rest = re.sub(r' *\n', '\n', rest).strip()
  return (
    f'<svg {box[0]} role="img" aria-label="{html.escape(description)}">{rest}'
  )


def bars(items: Sequence[Bar], unit: str) -> matplotlib.figure.Figure:
  """Horizontal bars in the given order, from the top."""
  figure = matplotlib.figure.Figure(figsize=(WIDTH, 0.55 + 0.27 * len(items)))
  axes = figure.subplots()
  places = range(len(items))
  axes.barh(
    places,
    [item.value for item in items],
    color=[item.colour for item in items],
    height=0.72,
  )
  axes.set_yticks(places, [item.name for item in items])
  axes.set_ylim(len(items) - 0.4, -0.6)
  axes.grid(visible=False, axis='y')
  axes.set_xlabel(unit)
  axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(short))
  longest = max((item.value for item in items), default=0) or 1
  axes.set_xlim(0, longest * 1.24)
  axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5))
  for place, item in zip(places, items, strict=True):
    axes.annotate(
      item.text,
      (item.value, place),
      xytext=(4, 0),
      textcoords='offset points',
      va='center',
      fontsize='small',
    )
  return figure


def curves(
  lines: Sequence[Line],
  *,
  y_label: str,
  stages: Mapping[str, float],
  points: bool = False,
) -> matplotlib.figure.Figure:
  """Curves against tokens trained on, their last values at their ends.

  Args:
    lines: what to draw; x in tokens.
    y_label: what y is, with its unit.
    stages: where each stage starts, in tokens.
    points: marks each measured point; for curves of few.
  """
  figure = matplotlib.figure.Figure(figsize=(WIDTH, 3.3))
  axes = figure.subplots()
  for line in lines:
    _draw(axes, line, points)
  axes.set_xlabel('tokens trained on')
  axes.set_ylabel(y_label)
  axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(short))
  _room_at_the_right(axes, lines, 1.25)
  for name, start in stages.items():
    axes.axvline(start, color=FAINT, linewidth=0.8, linestyle=(0, (1, 2)))
    axes.annotate(
      name,
      (start, 1),
      xycoords=('data', 'axes fraction'),
      xytext=(3, 2),
      textcoords='offset points',
      fontsize='small',
      color=FAINT,
    )
  _label_ends(axes, lines, x=_last(lines), named=True)
  return figure


def small_multiples(
  panels: Mapping[str, Sequence[Line]], *, y_label: str, columns: int = 4
) -> matplotlib.figure.Figure:
  """A panel of curves per name, all on the same axes.

  The runs' names stand in the first panel that has most of them; the colours
  carry on from there.
  """
  rows = math.ceil(len(panels) / columns)
  figure = matplotlib.figure.Figure(figsize=(2 * WIDTH, 0.5 + 1.55 * rows))
  grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
  for axes in grid.flat[len(panels) :]:
    axes.set_visible(False)
  named = max(panels, key=lambda name: len(panels[name]))
  everything = [line for lines in panels.values() for line in lines]
  for i, (axes, (name, lines)) in enumerate(
    zip(grid.flat, panels.items(), strict=False)
  ):
    for line in lines:
      _draw(axes, line, points=False)
    axes.set_title(name)
    axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(short))
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(3))
    _room_at_the_right(axes, everything, 1.5)
    _label_ends(axes, lines, x=_last(everything), named=name == named)
    # The last panel of a column carries the numbers, also of a short column.
    axes.tick_params(labelbottom=i + columns >= len(panels))
  figure.supxlabel('tokens trained on', fontsize='medium')
  figure.supylabel(y_label, fontsize='medium')
  return figure


def shares(
  items: Sequence[Share], runs: Sequence[str]
) -> matplotlib.figure.Figure:
  """Accuracy by category and run, with 95 % intervals (Wilson)."""
  height = 0.7 + (0.22 * len(runs) + 0.12) * len(items)
  figure = matplotlib.figure.Figure(figsize=(WIDTH, height))
  axes = figure.subplots()
  step = 0.8 / len(runs)
  for order, run in enumerate(runs):
    for place, item in enumerate(items):
      if run not in item.correct:
        continue
      y = place + (order - (len(runs) - 1) / 2) * step
      low, high = wilson(item.correct[run], item.n)
      share = item.correct[run] / item.n if item.n else 0.0
      colour = RUN_COLOURS[order % len(RUN_COLOURS)]
      axes.barh(y, 100 * share, height=0.85 * step, color=colour, alpha=0.85)
      axes.plot([100 * low, 100 * high], [y, y], color=INK, linewidth=0.9)
      axes.annotate(
        f'{run}  {item.correct[run]} of {item.n}',
        (100 * high, y),
        xytext=(4, 0),
        textcoords='offset points',
        va='center',
        fontsize='small',
        color=colour,
      )
  axes.set_yticks(range(len(items)), [item.name for item in items])
  axes.set_ylim(len(items) - 0.4, -0.6)
  axes.grid(visible=False, axis='y')
  axes.set_xlim(0, 128)
  axes.set_xticks(range(0, 101, 20))
  axes.set_xlabel('accuracy, % (line: 95 % interval)')
  return figure


def dots(
  rows: Mapping[str, Sequence[Dot]], unit: str
) -> matplotlib.figure.Figure:
  """A row of named dots for each name, from the top; lower is to the left."""
  lines = sum(len(row) for row in rows.values())
  figure = matplotlib.figure.Figure(
    figsize=(WIDTH, 0.8 + 0.24 * lines + 0.2 * len(rows))
  )
  axes = figure.subplots()
  y, places = 0.0, {}
  for name, row in rows.items():
    places[name] = y + (len(row) - 1) / 2
    for dot in row:
      colour = FAINT
      if dot.order is not None:
        colour = RUN_COLOURS[dot.order % len(RUN_COLOURS)]
      axes.plot(
        dot.value,
        y,
        color=colour,
        marker=RUN_MARKERS[(dot.order or 0) % len(RUN_MARKERS)],
        fillstyle='none' if dot.order is None else 'full',
        markersize=6,
      )
      axes.annotate(
        f'{dot.name} {dot.value:.3f}',
        (dot.value, y),
        xytext=(7, 0),
        textcoords='offset points',
        va='center',
        fontsize='small',
        color=colour,
      )
      y += 1
    y += 0.8
  axes.set_yticks(list(places.values()), list(places))
  axes.set_ylim(y - 1.2, -0.6)
  axes.grid(visible=False, axis='y')
  low, high = axes.get_xlim()
  axes.set_xlim(low, high + 0.3 * (high - low))
  axes.set_xlabel(unit)
  return figure


def wilson(correct: int, n: int) -> tuple[float, float]:
  """The 95 % interval of a share of `n` (Wilson's, right for small `n`).

  >>> wilson(5, 10)
  (0.2366, 0.7634)
  """
  if n == 0:
    return 0.0, 1.0
  z = 1.959964
  middle = (correct + z * z / 2) / (n + z * z)
  half = z / (n + z * z) * math.sqrt(correct * (n - correct) / n + z * z / 4)
  return max(0.0, middle - half), min(1.0, middle + half)


def short(value: float, _: int | None = None) -> str:
  """A count for an axis or a bar: '950', '12.3 k', '4.56 M', '1.2 G'.

  >>> short(12_345)
  '12.3 k'
  """
  for size, unit in ((1e9, ' G'), (1e6, ' M'), (1e3, ' k')):
    if abs(value) >= size:
      return f'{value / size:.3g}{unit}'
  return f'{value:.3g}'


def duration(seconds: float) -> str:
  """Seconds as a person says them: '41 s', '2 min 05 s', '1 h 02 min'.

  >>> duration(125.4)
  '2 min 05 s'
  """
  whole = round(seconds)
  if whole < 60:
    return f'{whole} s'
  if whole < 3600:
    return f'{whole // 60} min {whole % 60:02d} s'
  return f'{whole // 3600} h {whole % 3600 // 60:02d} min'


def _draw(axes: matplotlib.axes.Axes, line: Line, points: bool) -> None:
  for piece in line.pieces:
    axes.plot(
      [x for x, _ in piece],
      [y for _, y in piece],
      color=RUN_COLOURS[line.order % len(RUN_COLOURS)],
      # The first run in full, the others dashed: told apart in grey as well.
      linestyle='-' if line.order == 0 else (0, (4, 1.5)),
      marker=RUN_MARKERS[line.order % len(RUN_MARKERS)] if points else '',
      # The first run is drawn over the others.
      zorder=10 - line.order,
    )


def _room_at_the_right(
  axes: matplotlib.axes.Axes, lines: Sequence[Line], factor: float
) -> None:
  """Widens the x axis beyond the last point, for the labels there."""
  last = _last(lines)
  axes.set_xlim(0, factor * last)
  # No grid and no number where there is no data.
  axes.xaxis.set_major_locator(
    matplotlib.ticker.FixedLocator(_ticks(last, factor))
  )


def _ticks(last: float, factor: float) -> list[float]:
  """Round numbers from 0 to `last`, fewer where the panel is narrow."""
  locator = matplotlib.ticker.MaxNLocator(5 if factor < 1.4 else 2)
  return [tick for tick in locator.tick_values(0, last) if 0 <= tick <= last]


def _label_ends(
  axes: matplotlib.axes.Axes, lines: Sequence[Line], *, x: float, named: bool
) -> None:
  """Writes each line's last value at `x`, moved apart where they meet.

  `x` is beyond all points, so that no line crosses a label.
  """
  low, high = axes.get_ylim()
  gap = (high - low) * LABEL_HEIGHT / axes.bbox.height
  above = -math.inf
  for line in sorted(lines, key=lambda line: _end(line)[1]):
    value = _end(line)[1]
    above = max(value, above + gap)
    axes.annotate(
      f'{line.name} {value:.3f}' if named else f'{value:.3f}',
      (x, above),
      xytext=(6, 0),
      textcoords='offset points',
      va='center',
      fontsize='small',
      color=RUN_COLOURS[line.order % len(RUN_COLOURS)],
    )


def _end(line: Line) -> tuple[float, float]:
  return line.pieces[-1][-1]


def _last(lines: Sequence[Line]) -> float:
  """The largest x of all lines, above nought."""
  return max((_end(line)[0] for line in lines), default=0) or 1
