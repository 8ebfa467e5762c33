"""How the report draws shares of a whole, and points in the plane.

In the manner of plots.py: the colours of the kinds, labels beside what they
name, none where there is no room for it (the tables have them all).
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import matplotlib.axes
import matplotlib.colors
import matplotlib.figure

from hephaestus_jax.report import plots

LABELLED = 0.015  # of the whole: a smaller slice has no label
ON_SLICE = 0.07  # of the whole: a smaller group's name doesn't fit onto it
MERGED = 0.004  # a smaller slice is nothing but its white edge
# Between two labels, in units of the circle's radius: what a line of small text
# takes in the two sizes of figures.
RINGS_GAP, PIES_GAP = 0.115, 0.165
# Okabe and Ito's again, for parts that are no kinds.
PART_COLOURS = (
  *('#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00'),
  *('#8a9099', '#b8a800'),
)
POINT_COLOURS = {
  'general': '#b9bec5',
  'retrieved': '#1f2328',
  'seed': '#d55e00',
}


@dataclasses.dataclass(frozen=True)
class Slice:
  """A part of the whole: its group (the inner ring), its name, its size."""

  group: str
  name: str
  value: float


def rings(
  slices: Sequence[Slice], colours: Mapping[str, str], unit: str
) -> matplotlib.figure.Figure:
  """Two rings: groups inside, their parts outside, both the largest first.

  Args:
    slices: what to draw.
    colours: of each group.
    unit: what is counted: 'tokens'.
  """
  sums: dict[str, float] = {}
  for part in slices:
    sums[part.group] = sums.get(part.group, 0) + part.value
  groups = sorted(sums, key=lambda group: (-sums[group], group))
  total = sum(sums.values()) or 1
  ordered = [
    part for group in groups for part in _parts(slices, group, MERGED * total)
  ]
  figure = matplotlib.figure.Figure(figsize=(2 * plots.WIDTH, 5.2))
  axes = figure.subplots()
  edge = {'edgecolor': 'white', 'linewidth': 0.8}
  axes.pie(
    [sums[group] for group in groups],
    radius=0.74,
    startangle=90,
    counterclock=False,
    colors=[colours.get(group, plots.FAINT) for group in groups],
    wedgeprops={**edge, 'width': 0.48},
  )
  axes.pie(
    [part.value for part in ordered],
    radius=1,
    startangle=90,
    counterclock=False,
    colors=_shades(ordered, colours),
    wedgeprops={**edge, 'width': 0.26},
  )
  axes.annotate(
    f'{plots.short(total)}\n{unit}',
    (0, 0),
    ha='center',
    va='center',
    fontweight='bold',
  )
  _label_inside(axes, [sums[group] for group in groups], groups, total)
  _label_outside(
    axes,
    [part.value for part in ordered],
    [f'{part.name}  {_percent(part.value / total)}' for part in ordered],
    total,
    RINGS_GAP,
  )
  axes.set_xlim(-2.3, 2.3)
  axes.set_ylim(-1.2, 1.2)
  return figure


def pies(
  wholes: Mapping[str, Mapping[str, float]], unit: str
) -> matplotlib.figure.Figure:
  """A pie per title, side by side; a part has one colour in all of them."""
  parts = sorted({part for whole in wholes.values() for part in whole})
  colour_of = {
    part: PART_COLOURS[i % len(PART_COLOURS)] for i, part in enumerate(parts)
  }
  figure = matplotlib.figure.Figure(figsize=(2 * plots.WIDTH, 3.4))
  grid = figure.subplots(1, len(wholes), squeeze=False)
  for axes, (title, whole) in zip(grid.flat, wholes.items(), strict=True):
    names = sorted(whole, key=lambda part: (-whole[part], part))
    total = sum(whole.values()) or 1
    axes.pie(
      [whole[name] for name in names],
      radius=1,
      startangle=90,
      counterclock=False,
      colors=[colour_of[name] for name in names],
      wedgeprops={'edgecolor': 'white', 'linewidth': 0.8, 'width': 0.55},
    )
    axes.annotate(
      f'{plots.short(total)}\n{unit}', (0, 0), ha='center', va='center'
    )
    _label_outside(
      axes,
      [whole[name] for name in names],
      [f'{name}  {_percent(whole[name] / total)}' for name in names],
      total,
      PIES_GAP,
    )
    axes.set_title(title, loc='center')
    axes.set_xlim(-2.3, 2.3)
    axes.set_ylim(-1.2, 1.2)
  return figure


def scatter(
  points: Sequence[tuple[float, float, str]],
) -> matplotlib.figure.Figure:
  """Points in the plane by group, with the groups' names and sizes beside."""
  figure = matplotlib.figure.Figure(figsize=(1.4 * plots.WIDTH, 4.6))
  axes = figure.subplots()
  # The gray ones first: they would hide what is to be compared with them.
  for group, colour in POINT_COLOURS.items():
    of_group = [(x, y) for x, y, name in points if name == group]
    if of_group:
      axes.scatter(
        [x for x, _ in of_group],
        [y for _, y in of_group],
        s=5,
        color=colour,
        linewidths=0,
        alpha=0.75,
        label=f'{group} ({len(of_group):,})',
      )
  # Distances count, places don't.
  axes.set_xticks([])
  axes.set_yticks([])
  axes.spines[:].set_visible(False)
  axes.set_aspect('equal')
  axes.legend(
    loc='center left',
    bbox_to_anchor=(1.02, 0.5),
    frameon=False,
    markerscale=2.5,
    handletextpad=0.2,
  )
  return figure


def _parts(slices: Sequence[Slice], group: str, smallest: float) -> list[Slice]:
  """A group's parts, the largest first, the smallest ones as one."""
  parts = sorted(
    (part for part in slices if part.group == group),
    key=lambda part: (-part.value, part.name),
  )
  large = [part for part in parts if part.value >= smallest]
  small = parts[len(large) :]
  if small:
    rest = sum(part.value for part in small)
    large.append(Slice(group, f'{len(small)} smaller', rest))
  return large


def _shades(
  slices: Sequence[Slice], colours: Mapping[str, str]
) -> list[tuple[float, float, float]]:
  """The colour of each slice: its group's, lighter from part to part."""
  shades, place = [], 0
  for i, part in enumerate(slices):
    place = place + 1 if i and slices[i - 1].group == part.group else 0
    towards_white = 0.2 + 0.12 * (place % 5)
    red, green, blue = matplotlib.colors.to_rgb(
      colours.get(part.group, plots.FAINT)
    )
    shades.append(
      (
        red + (1 - red) * towards_white,
        green + (1 - green) * towards_white,
        blue + (1 - blue) * towards_white,
      )
    )
  return shades


def _label_inside(
  axes: matplotlib.axes.Axes,
  values: Sequence[float],
  names: Sequence[str],
  total: float,
) -> None:
  """Writes the names of large parts onto the inner ring."""
  for value, name, angle in zip(
    values, names, _middles(values, total), strict=True
  ):
    # A narrow slice is widest at its outer edge.
    radius = 0.5 if value / total > 0.12 else 0.58
    if value / total >= ON_SLICE:
      axes.annotate(
        f'{name}\n{_percent(value / total)}',
        (radius * math.cos(angle), radius * math.sin(angle)),
        ha='center',
        va='center',
        fontsize='small',
        color='white',
        fontweight='bold',
      )


def _label_outside(
  axes: matplotlib.axes.Axes,
  values: Sequence[float],
  labels: Sequence[str],
  total: float,
  gap: float,
) -> None:
  """Writes labels left and right of a circle, moved apart, with lines."""
  sides: dict[int, list[tuple[float, float, str]]] = {-1: [], 1: []}
  for value, label, angle in zip(
    values, labels, _middles(values, total), strict=True
  ):
    if value / total >= LABELLED:
      x, y = math.cos(angle), math.sin(angle)
      sides[1 if x >= 0 else -1].append((y, x, label))
  for side, found in sides.items():
    found.sort(reverse=True)
    places = apart([y for y, _, _ in found], gap)
    for (y, x, label), place in zip(found, places, strict=True):
      axes.annotate(
        label,
        (x, y),
        xytext=(side * 1.22, place),
        ha='left' if side > 0 else 'right',
        va='center',
        fontsize='small',
        arrowprops={
          'arrowstyle': '-',
          'color': plots.FAINT,
          'linewidth': 0.6,
          'shrinkA': 2,
          'shrinkB': 0,
        },
      )


def apart(heights: Sequence[float], gap: float) -> list[float]:
  """Falling heights, moved so that no two are nearer than `gap`.

  All are moved back by half of the push, so that no end runs out of the
  picture.

  >>> apart([0.5, 0.5], 0.1)
  [0.55, 0.45]
  """
  moved: list[float] = []
  for height in heights:
    highest = moved[-1] - gap if moved else math.inf
    moved.append(min(height, highest))
  push = sum(h - m for h, m in zip(heights, moved, strict=True))
  up = push / len(moved) if moved else 0.0
  return [round(m + up, 4) for m in moved]


def _middles(values: Sequence[float], total: float) -> list[float]:
  """The angle of each part's middle, clockwise from the top, in radians."""
  if len(values) == 1:
    return [0.0]  # a whole circle is named at its right
  angles, before = [], 0.0
  for value in values:
    angles.append(math.pi / 2 - 2 * math.pi * (before + value / 2) / total)
    before += value
  return angles


def _percent(share: float) -> str:
  """'36 %', and '2.4 %' where there are few."""
  return f'{100 * share:.0f} %' if share >= 0.1 else f'{100 * share:.1f} %'
