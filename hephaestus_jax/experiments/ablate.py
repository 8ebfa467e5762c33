"""Ablations: runs that differ in one thing each, with several seeds; a table.

The paper's Table 3 has one run of each kind and no spread; here every run file
is run with every seed, and the table tells the mean, the spread, and the
difference from the first file's run of the same seed.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from hephaestus_jax import artefacts, errors
from hephaestus_jax.experiments import runs, spread, table

SUMMARY = 'summary.json'
NOT_MEASURED = '-'


def ablate(
  *,
  run_files: Sequence[str],
  seeds: Sequence[int],
  commands: Sequence[str],
  columns: Mapping[str, str],
  table_dir: str,
  stage_files: Mapping[str, str],
  overrides: Sequence[str] = (),
  dry_run: bool = False,
) -> dict[str, Any]:
  """Runs what is missing of every run file with every seed.

  `table_dir` gets table.parquet and table.json (see table.py), summary.json and
  the runs' logs. A seed is finished for all files before the next is begun, so
  a table that is not finished yet compares like with like.

  Args:
    run_files: the first is what the others are compared with.
    seeds: each becomes SEED.
    commands: what a run takes, in order. What runs share is made once.
    columns: what the summary shows: {'title': 'column of the table'}.
    table_dir: where the table goes.
    stage_files: of every command there is.
    overrides: '--gin.NAME=VALUE' each, handed to every command that reads it.
    dry_run: only tell which runs there are, and which are done.

  Returns:
    {'table': path, 'runs': {run: status}, 'summary': as `spread.summarise`}.

  Raises:
    errors.UserError: there is no run file or no seed; run files don't fit
      together; or runs failed: the table, which is written by then, and the
      message say which and why.
    SystemExit: SIGTERM came, and the run that was under way is saved.
  """
  if not run_files or not seeds or len({*seeds}) != len(seeds):
    raise errors.UserError(
      f'{len(run_files)} run files and the seeds {list(seeds)}: there must be '
      'one of each, and no seed twice.'
    )
  asked = [
    runs.plan(file, seed, overrides, commands=commands, stage_files=stage_files)
    for seed in seeds
    for file in run_files
  ]
  folder = pathlib.Path(table_dir)
  rows = runs.known(asked, folder) if dry_run else runs.complete(asked, folder)
  order = {one.row['name']: None for one in asked}
  names = list(order)
  rows.sort(key=lambda row: (names.index(row['name']), row['seed']))
  summary = spread.summarise(rows, list(columns.values()))
  print('\n'.join(lines(summary, columns)))
  if not dry_run:
    table.write(folder, rows)
    artefacts.write_json(
      folder / SUMMARY, {'columns': dict(columns), 'rows': summary}
    )
    runs.raise_failures(rows, folder)
  return {
    'table': str(folder / table.PARQUET),
    'runs': {row['run']: row['status'] for row in rows},
    'summary': summary,
  }


def lines(
  summary: Sequence[Mapping[str, Any]], columns: Mapping[str, str]
) -> list[str]:
  """The summary as a table for a person.

  >>> lines(summary, {'base': 'base/loss'})
  ['                  runs  base',
   'all                  3  4.566 ±0.041',
   'no_code      2, 1 failed  4.601 ±0.030  (+0.035 ±0.012)']
  """
  cells = [['', 'runs', *columns]]
  for row in summary:
    failed = f', {len(row["errors"])} failed' if row['errors'] else ''
    cells.append(
      [
        row['name'],
        f'{row["done"]}{failed}',
        *(cell(row['values'][column]) for column in columns.values()),
      ]
    )
  widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
  return [
    '  '.join(
      text.ljust(width) for text, width in zip(line, widths, strict=True)
    ).rstrip()
    for line in cells
  ]


def cell(values: Mapping[str, Any] | None) -> str:
  """Mean and deviation, and those of the difference from the reference."""
  if values is None:
    return NOT_MEASURED
  text = _mean(values, '')
  if values['difference'] is not None:
    text += f'  ({_mean(values["difference"], "+")})'
  return text


def _mean(values: Mapping[str, Any], sign: str) -> str:
  deviation = values['deviation']
  spread_of = '' if deviation is None else f' ±{deviation:.3f}'
  return f'{values["mean"]:{sign}.3f}{spread_of}'
