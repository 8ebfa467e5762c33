"""Runs that differ in one thing, beside the run that they were made from.

Drawn from `ablations/summary.json`, which `hephaestus ablate` writes into the
run's folder.
"""

import html
from collections.abc import Mapping
from typing import Any

import matplotlib.figure

from hephaestus_jax.report import markup, plots, results, tables

FIGURE = 'ablations'
CAPTION = (
  'A dot per seed, a bar at their mean. The band is where the seeds of the '
  'first run lie.'
)
WORDS = (
  '<p>Each row changes one thing of the first, and was trained with the same '
  'seeds. A difference is from the run of the first row with the same seed, in '
  'the mean over seeds; after \N{PLUS-MINUS SIGN} stands the standard '
  'deviation over seeds.</p>'
)


def section(
  summary: Mapping[str, Any], drawings: dict[str, plots.Drawing]
) -> str:
  """The figure and the table; what failed says why."""
  return (
    WORDS
    + markup.figure(drawings, FIGURE, CAPTION, 'wide')
    + _table(summary)
    + markup.details('Why runs failed', _failures(summary))
  )


def figure(found: results.Results) -> matplotlib.figure.Figure | None:
  """A panel per column, a row per run with a dot per seed."""
  if found.ablations is None:
    return None
  columns = found.ablations['columns']
  # From the top; None where no run of that name is done.
  rows = [
    (row['name'], [row['values'][column] for column in columns.values()])
    for row in found.ablations['rows']
  ]
  if not any(values for _, panels in rows for values in panels):
    return None
  drawn = matplotlib.figure.Figure(
    figsize=(2 * plots.WIDTH, 0.8 + 0.27 * len(rows))
  )
  grid = drawn.subplots(1, len(columns), sharey=True, squeeze=False)[0]
  for panel, (axes, title) in enumerate(zip(grid, columns, strict=True)):
    first = rows[0][1][panel]
    if first:
      axes.axvspan(first['low'], first['high'], color='#e6e8eb', zorder=0)
    for place, (_, panels) in enumerate(rows):
      values = panels[panel]
      if values is None:
        continue
      colour = plots.RUN_COLOURS[0 if place == 0 else 1]
      dots = [value for _, value in values['seeds']]
      axes.plot(dots, [place] * len(dots), 'o', color=colour, alpha=0.55)
      axes.plot([values['mean']] * 2, [place - 0.3, place + 0.3], color=colour)
    axes.set_title(title)
    axes.set_xlabel('nats per token' if _is_loss(columns[title]) else '')
  grid[0].set_yticks(range(len(rows)), [name for name, _ in rows])
  grid[0].set_ylim(len(rows) - 0.4, -0.6)
  return drawn


def _is_loss(column: str) -> bool:
  return column.endswith('nll_per_token')


def _table(summary: Mapping[str, Any]) -> str:
  titles = list(summary['columns'])
  head = ['', 'runs']
  for title in titles:
    head += [title, 'difference']
  return tables.table(
    head,
    [
      [row['name'], _runs(row), *_cells(row, summary['columns'])]
      for row in summary['rows']
    ],
  )


def _runs(row: Mapping[str, Any]) -> Any:
  if not row['errors']:
    return row['done']
  return tables.Markup(
    f'{row["done"]}, <span class="bad">{len(row["errors"])} failed</span>'
  )


def _cells(
  row: Mapping[str, Any], columns: Mapping[str, str]
) -> list[str | None]:
  cells: list[str | None] = []
  for column in columns.values():
    values = row['values'][column]
    cells.append(values and _mean(values, ''))
    cells.append(
      _mean(values['difference'], '+')
      if values and values['difference']
      else None
    )
  return cells


def _mean(values: Mapping[str, Any], sign: str) -> str:
  mean = f'{values["mean"]:{sign}.3f}'.replace('-', '\N{MINUS SIGN}')
  deviation = values['deviation']
  if deviation is None:
    return mean
  return f'{mean} \N{PLUS-MINUS SIGN} {deviation:.3f}'


def _failures(summary: Mapping[str, Any]) -> str | None:
  items = [
    f'<li>{html.escape(row["name"])}: {html.escape(error)}</li>'
    for row in summary['rows']
    for error in row['errors']
  ]
  return f'<ul>{"".join(items)}</ul>' if items else None
