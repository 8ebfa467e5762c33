"""The scaling study on the page: Figure 3, the laws, the best mixture.

All from fits.json, which `hephaestus fit` writes.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.axes
import matplotlib.figure
import matplotlib.ticker

from hephaestus_jax.report import markup, plots, tables

Fits = Mapping[str, Any]
AGENT_LABEL = 'share of agent data, %'
LEGEND_COLUMNS = 3  # sizes in a line above the figure


def figure(fits: Fits | None) -> matplotlib.figure.Figure | None:
  """Figure 3: each loss against the share of agent data, a curve per size.

  The last panel is the trade-off of the losses, by the law that predicts best.
  """
  if fits is None:
    return None
  losses = [*fits['agent_losses'], *fits['general_losses']]
  sizes = sorted({(run['parameters'], run['tokens']) for run in fits['runs']})
  panels = len(losses) + (fits['recommended'] is not None)
  # Two rows of two rather than three and one.
  columns = 2 if panels in (2, 4) else min(3, panels)
  rows = -(-panels // columns)
  picture = matplotlib.figure.Figure(
    figsize=(2 * plots.WIDTH, 0.9 + 2.7 * rows)
  )
  grid = picture.subplots(rows, columns, squeeze=False)
  for axes in grid.flat[panels:]:
    axes.set_visible(False)
  for axes, loss in zip(grid.flat, losses, strict=False):
    side = 'agent' if loss in fits['agent_losses'] else 'general'
    axes.set_title(f'{loss.replace("_", " ")} ({side})')
    axes.set_ylabel(f'nats per {fits["unit"].rpartition("_")[2]}')
    _loss(axes, fits, loss, sizes)
  if fits['recommended'] is not None:
    _trade_off(grid.flat[panels - 1], fits)
  handles, labels = grid.flat[0].get_legend_handles_labels()
  picture.legend(
    *(handles, labels),
    loc='outside upper left',
    ncols=min(LEGEND_COLUMNS, len(sizes)),
    frameon=False,
  )
  return picture


def _loss(
  axes: matplotlib.axes.Axes,
  fits: Fits,
  loss: str,
  sizes: Sequence[tuple[float, float]],
) -> None:
  """The runs as points, the law as a line, its interval as a band."""
  for order, size in enumerate(sizes):
    colour = plots.SIZE_COLOURS[order % len(plots.SIZE_COLOURS)]
    own = [
      run for run in fits['runs'] if (run['parameters'], run['tokens']) == size
    ]
    axes.plot(
      [100 * run['agent'] for run in own],
      [run['losses'][loss] for run in own],
      color=colour,
      linestyle='',
      marker=plots.RUN_MARKERS[order % len(plots.RUN_MARKERS)],
      alpha=0.8,
      label=f'{plots.short(size[0])} parameters, {plots.short(size[1])} tokens',
    )
    for curve in fits['curves']:
      if (curve['parameters'], curve['tokens'], curve['loss']) == (*size, loss):
        x_G = [100 * x for x in curve['x']]
        axes.plot(x_G, curve['fitted'], color=colour)
        axes.fill_between(
          x_G, curve['low'], curve['high'], color=colour, alpha=0.18, lw=0
        )
  axes.set_xlabel(AGENT_LABEL)


def _trade_off(axes: matplotlib.axes.Axes, fits: Fits) -> None:
  """How much worse than the best every share is, at the largest size."""
  chosen = fits['recommended']
  curve = next(
    one
    for one in fits['optima'][chosen['law']]
    if (one['parameters'], one['tokens'])
    == (chosen['parameters'], chosen['tokens'])
  )
  x_G = [100 * x for x in curve['x_G']]
  axes.plot(x_G, [100 * y for y in curve['trade_off_G']], color=plots.INK)
  axes.fill_between(
    x_G,
    [100 * y for y in curve['low_G']],
    [100 * y for y in curve['high_G']],
    color=plots.INK,
    alpha=0.15,
    lw=0,
  )
  axes.set_ylim(bottom=0)
  axes.set_xlabel(AGENT_LABEL)
  axes.set_title(f'trade-off at {plots.short(chosen["parameters"])} parameters')
  axes.set_ylabel('% above the best')
  if not chosen['inside']:
    axes.annotate(
      chosen['verdict'], (0.05, 0.9), xycoords='axes fraction', fontsize='small'
    )
    return
  axes.axvspan(
    100 * chosen['low'],
    100 * chosen['high'],
    color=plots.RUN_COLOURS[0],
    alpha=0.15,
    lw=0,
  )
  axes.axvline(100 * chosen['share'], color=plots.RUN_COLOURS[0])
  axes.annotate(
    f'{100 * chosen["share"]:.0f} % '
    f'({100 * chosen["low"]:.0f} to {100 * chosen["high"]:.0f})',
    (100 * chosen['low' if chosen['share'] > 0.5 else 'high'], 0.93),
    xycoords=('data', 'axes fraction'),
    # Beside the interval, on the side where there is more room.
    xytext=(-8, 0) if chosen['share'] > 0.5 else (8, 0),
    textcoords='offset points',
    ha='right' if chosen['share'] > 0.5 else 'left',
    fontsize='small',
    color=plots.RUN_COLOURS[0],
  )


def section(fits: Fits | None, drawings: Mapping[str, plots.Drawing]) -> str:
  """What a reader is told of the study."""
  if fits is None:
    return markup.not_run('Scaling study')
  level = f'{100 * fits["method"]["level"]:.0f} %'
  return (
    _recommended(fits)
    + markup.figure(
      dict(drawings),
      'mixture',
      'A point is a run. Lines: L(x) = c + k x^alpha, fitted to the runs of a '
      f'size (paper, section 5 and figure 3); bands: {level} intervals.',
      'wide',
    )
    + '<h3>The best share, by law and size</h3>'
    + (optima(fits) or markup.not_run('A law that explains every loss'))
    + '<p class="faint">Share times tokens is infinite at both ends, so that '
    'its optimum lies inside whatever the runs say: it is shown, and not '
    'heard.</p>'
    + '<h3>A larger size, predicted from the smaller ones</h3>'
    + (held_out(fits) or markup.not_run('Runs of a second size'))
    + markup.details('Every parameter of every law', parameters(fits))
  )


def _recommended(fits: Fits) -> str:
  chosen = fits['recommended']
  weight = fits['method']['agent_weight']
  rule = (
    f'The trade-off weighs the log of the agent losses '
    f'({html.escape(", ".join(fits["agent_losses"]))}) by {weight:g} and that '
    f'of the general ones '
    f'({html.escape(", ".join(fits["general_losses"]) or "none")}) by '
    f'{1 - weight:g}; the paper does not state its rule.'
  )
  if chosen is None:
    return f'<p>No law explains every loss, so no share is named. {rule}</p>'
  seeds = [
    f'{100 * share:.0f} % (seed {seed})'
    for seed, share in chosen['by_seed'].items()
    if share is not None
  ]
  alone = f' The runs of one seed alone give {", ".join(seeds)}.'
  return (
    f'<p><b>{100 * chosen["share"]:.0f} % agent data</b>, '
    f'{100 * fits["method"]["level"]:.0f} % interval '
    f'{100 * chosen["low"]:.0f} to {100 * chosen["high"]:.0f} %: '
    f'{html.escape(chosen["verdict"])}. It is '
    f'{100 * chosen["gain"]:.2f} % better than the better end of what was run. '
    f'From {len(fits["runs"])} runs, at {plots.short(chosen["parameters"])} '
    f'parameters, by {_name(chosen["law"])} '
    f'({100 * chosen["left_out_error"]:.2f} % off on mixtures that it was not '
    f'fitted to); the interval spans '
    f'{", ".join(_name(law) for law in chosen["laws"])}.'
    f'{alone if seeds else ""}</p><p class="faint">{rule}</p>'
  )


def optima(fits: Fits) -> str | None:
  """A row per law and size."""
  rows = [
    [
      _name(law),
      plots.short(one['parameters']),
      plots.short(one['tokens']),
      f'{100 * one["share"]:.0f} %',
      f'{100 * one["low"]:.0f} to {100 * one["high"]:.0f} %',
      f'{100 * one["gain"]:.2f} %',
      one['verdict'],
    ]
    for law, ones in fits['optima'].items()
    for one in ones
  ]
  head = ['law', 'parameters', 'tokens', 'best share', 'interval']
  return tables.table([*head, 'gain', ''], rows) if rows else None


def held_out(fits: Fits) -> str | None:
  """A row per law and loss: how far off, and how many within the interval.

  The interval takes in the error one size earlier, where there is one.
  """
  held = fits['held_out']
  if held is None:
    return None
  rows: list[list[Any]] = []
  for law, losses in held['laws'].items():
    for loss, told in losses.items():
      if 'reason' in told:
        rows.append([_name(law), loss, None, None, None, told['reason']])
        continue
      rows.append(
        [
          _name(law),
          loss,
          f'{100 * told["error"]:.1f} %',
          None
          if told['error_before'] is None
          else f'{100 * told["error_before"]:.1f} %',
          f'{100 * abs(told["bias"]):.1f} % too '
          f'{"high" if told["bias"] > 0 else "low"}',
          f'{told["inside"]} of {told["runs"]} within the interval',
        ]
      )
  size = f'{plots.short(held["parameters"])} parameters'
  return tables.table(
    [
      'law',
      f'loss at {size}',
      'off by',
      'one size earlier',
      'on the whole',
      '',
    ],
    rows,
  )


def parameters(fits: Fits) -> str:
  """A row per law, size and loss."""
  rows: list[list[Any]] = []
  for law, groups in fits['laws'].items():
    for group in groups:
      size = group['parameters']
      for loss, told in group['losses'].items():
        where = [_name(law), 'all' if size is None else plots.short(size), loss]
        if 'reason' in told:
          rows.append([*where, told['reason'], None])
          continue
        values = ', '.join(
          f'{name} {one["value"]:.3g} ({one["low"]:.3g} to {one["high"]:.3g})'
          for name, one in told['parameters'].items()
        )
        off = told['left_out_error']
        rows.append(
          [*where, values, None if off is None else f'{100 * off:.2f} %']
        )
  head = ['law', 'size', 'loss', 'parameters and intervals', 'off, left out']
  return tables.table(head, rows)


def _name(law: str) -> str:
  """'power_of_share' as 'power of share'."""
  return law.replace('_', ' ')
