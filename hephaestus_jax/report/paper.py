"""The paper regenerated: each of its figures and tables, from our artefacts.

The paper's values (paper.yaml) stand beside ours. A number that we lack is
called 'not run', one that the paper doesn't print 'not printed': neither is
guessed. Which of our runs stands in for which of the paper's models is the
caller's to say; ours may be thousands of times smaller.
"""

import html
from collections.abc import Mapping
from typing import Any

from hephaestus_jax.report import (
  corpus_sections,
  markup,
  plots,
  published,
  results,
  scaling,
  sources,
  tables,
)

NOT_PRINTED = 'not printed'
NOT_KEPT = 'not kept'
NO_DATA = 'no data known'
# The paper's columns, by their names in bfcl.json: what they are means of, and
# why its L-AST is more than AST, says bfcl_scores.summarise. What the paper
# scores by BFCL-v2 and v3, ours by the version of requirements/bfcl.txt: the
# same questions for these columns.
BFCL_COLUMNS = {
  'BFCL-v3 OA': 'v3_overall',
  'v3 NL-AST': 'non_live_ast',
  'v3 Exec': 'v3_exec',
  'v3 L-AST': 'v3_live',
  'v3 MT': 'multi_turn',
  'BFCL-v2 OA': 'v2_overall',
  'v2 AST OA': 'v2_ast',
  'v2 Exec OA': 'v2_exec',
}
DRAWN, PART = 'drawn', 'in part'


def sections(
  found: results.Results,
  drawings: dict[str, plots.Drawing],
  stand_ins: Mapping[str, str],
) -> dict[str, str]:
  """Titles and contents, in the paper's order.

  Args:
    found: what our run left.
    drawings: its figures.
    stand_ins: rows of the paper's tables -> our run that stands in for it.
  """
  parts = {
    'Figure 1': (NO_DATA, _without_data()),
    'Figure 2': _figure_2(found, drawings),
    'Table 1': _table_1(found),
    'Figure 3': _figure_3(found, drawings),
    'Figure 4': (NO_DATA, _without_data()),
    'Appendix E': _recipe(found),
    'Figure 5': _figure_5(drawings),
    **{
      name.capitalize(): _table_6(found)
      if name == 'table 6'
      else _scores(found, name, stand_ins)
      for name in sorted(['table 6', *published.paper()['tables']])
    },
    'Tables 9 and 10': (
      PART if found.composition else tables.NOT_RUN,
      sources.table(found),
    ),
    'Figure 6': (
      DRAWN if found.examples else tables.NOT_RUN,
      corpus_sections.examples(found),
    ),
  }
  overview = tables.table(
    ['the paper', 'this run'],
    [
      [tables.Markup(f'<a href="#{anchor(name)}">{name}</a>'), status]
      for name, (status, _) in parts.items()
    ],
  )
  return {
    'What is here': _lead(stand_ins) + overview,
    **{name: content for name, (_, content) in parts.items()},
  }


def anchor(title: str) -> str:
  """The id of a section: 'figure-2'."""
  return title.lower().replace(' ', '-')


def _lead(stand_ins: Mapping[str, str]) -> str:
  said = '; '.join(
    f'<code>{html.escape(ours)}</code> for {html.escape(theirs)}'
    for theirs, ours in stand_ins.items()
  )
  return (
    '<p>The values of the paper (arXiv 2502.06589v1) beside those of this run. '
    f'<i>{tables.NOT_RUN}</i>: we have no such number. <i>{NOT_PRINTED}</i>: '
    'the paper gives none, or only as a picture. Our runs stand in for the '
    f"paper's models by their part in the comparison, not by their size: "
    f'{said or "none was named"}. <i>{NOT_KEPT}</i>: a run of ours does not '
    'write it down.</p>'
  )


def _without_data() -> str:
  return (
    '<p class="not-run">No numbers of it are known to us: nothing to draw.</p>'
  )


def _figure_2(
  found: results.Results, drawings: dict[str, plots.Drawing]
) -> tuple[str, str]:
  """Composition by kind, formats of agent data, the map of vectors."""
  formats = sources.sizes_by_format(found)
  names = {
    'kinds_and_sources': '(a) Training split by kind and source.',
    'agent_formats': '(b, c) Tool documentation and trajectories by format.',
    'embedding_map': '(d) t-SNE of seed, retrieved and general text.',
  }
  return _status(names, drawings), (
    f"<p>The paper's shares are {NOT_PRINTED} but in its picture.</p>"
    + ''.join(
      _one_format(formats)
      if name == 'agent_formats' and formats and name not in drawings
      else markup.figure(drawings, name, caption, 'wide')
      for name, caption in names.items()
    )
  )


def _one_format(formats: Mapping[str, Mapping[str, int]]) -> str:
  """In the place of pies that would have one slice each."""
  said = ', '.join(f'{kind}: {[*each][0]}' for kind, each in formats.items())
  return (
    f'<p class="faint">(b, c) Each kind has one format, so there is no pie: '
    f'{html.escape(said)}.</p>'
  )


def _status(
  names: Mapping[str, str], drawings: Mapping[str, plots.Drawing]
) -> str:
  there = [name for name in names if name in drawings]
  if not there:
    return tables.NOT_RUN
  return DRAWN if len(there) == len(names) else PART


def _table_1(found: results.Results) -> tuple[str, str]:
  part = sources.beside_paper(found)
  return DRAWN if part else tables.NOT_RUN, markup.or_not_run(
    part, 'Composition'
  )


def _table_6(found: results.Results) -> tuple[str, str]:
  part = tables.classifier(found)
  return DRAWN if part else tables.NOT_RUN, markup.or_not_run(
    part, 'Classifier'
  )


def _figure_3(
  found: results.Results, drawings: dict[str, plots.Drawing]
) -> tuple[str, str]:
  """The share of agent data: their values, our study."""
  values = published.paper()['scaling']['values']
  ours = _ours_of_scaling(found.fits)
  beside = tables.table(
    ['', f'paper, {published.paper()["scaling"]["place"]}', 'this run'],
    [
      [name, _theirs(value), ours.get(name, _missing())]
      for name, value in values.items()
    ],
  )
  status = DRAWN if found.fits else tables.NOT_RUN
  return status, beside + scaling.section(found.fits, drawings)


def _ours_of_scaling(fits: Mapping[str, Any] | None) -> dict[str, Any]:
  """Our cells, in the words of paper.yaml."""
  if fits is None:
    return {}
  sizes = sorted({run['parameters'] for run in fits['runs']})
  multiples = sorted(
    {round(run['tokens'] / run['parameters']) for run in fits['runs']}
  )
  shares = sorted({round(100 * run['agent']) for run in fits['runs']})
  chosen = fits['recommended']
  cells: dict[str, Any] = {
    'law': 'the same, and four others',
    'fitted c, k, alpha': 'in the table of parameters below',
    'sizes': ', '.join(map(plots.short, sizes)),
    'tokens per parameter': ', '.join(map(str, multiples)),
    'shares that were tried': ', '.join(f'{share} %' for share in shares),
  }
  if chosen is not None:
    cells['best share of agent data'] = (
      f'{100 * chosen["share"]:.0f} % ({100 * chosen["low"]:.0f} to '
      f'{100 * chosen["high"]:.0f} %): {chosen["verdict"]}'
    )
  return cells


def _recipe(found: results.Results) -> tuple[str, str]:
  """Steps, batches and rates of the three stages; ours of the first run."""
  recipe = published.paper()['recipe']
  run = found.runs[0]
  stages = [*run.stages.values()]
  ours = [_stage_recipe(stage) for stage in stages]
  rows: list[list[Any]] = []
  for name, values in recipe['rows'].items():
    cells = [_theirs(value) for value in values]
    mine = [
      stage.get(name, NOT_KEPT) if stage else _missing() for stage in ours
    ]
    rows.append([name, *cells, *mine])
  head = ['', *(f'paper, {stage}' for stage in recipe['columns'])]
  head += [f'{run.name}, {stage}' for stage in run.stages]
  status = DRAWN if all(ours) else PART if any(ours) else tables.NOT_RUN
  return status, tables.table(head, rows)


def _stage_recipe(stage: results.Stage | None) -> dict[str, Any]:
  """Our cells of a stage, in the words of paper.yaml."""
  if stage is None:
    return {}
  cells: dict[str, Any] = {'updates': stage.steps}
  rates = [line['learning_rate'] for line in stage.training]
  if rates:
    cells['learning rate'] = f'{max(rates):.0e}'.replace('e-0', 'e-')
    cells['time'] = plots.duration(stage.training[-1]['seconds'])
  if stage.inputs is not None:
    cells['sequences of an update'] = stage.inputs['stage']['batch_size']
    cells['tokens of a sequence'] = stage.inputs['data']['sequence_length']
    decay = _within(stage.inputs['stage']['optimizer'], 'weight_decay')
    if decay is not None:
      cells['weight decay'] = f'{decay:g}'
  return cells


def _within(value: Any, key: str) -> Any:
  """The first value of a key, however deep; None if there is none.

  >>> _within([{'a': {'b': 2}}], 'b')
  2
  """
  if isinstance(value, Mapping):
    if key in value:
      return value[key]
    value = list(value.values())
  if isinstance(value, list):
    for one in value:
      found = _within(one, key)
      if found is not None:
        return found
  return None


def _figure_5(drawings: dict[str, plots.Drawing]) -> tuple[str, str]:
  """Training loss, benchmark loss, base models beside each other."""
  names = {
    'training_loss': '(a) Training loss.',
    'benchmark_loss': '(b) Benchmark loss at checkpoints.',
    'base_models': '(c) Base models: before training, and before the stage '
    'of instructions.',
  }
  return _status(names, drawings), (
    f"<p>The paper's curves are {NOT_PRINTED} but in its picture.</p>"
    + markup.pair(
      *(
        markup.figure(drawings, name, caption)
        for name, caption in names.items()
      )
    )
  )


def _scores(
  found: results.Results, name: str, stand_ins: Mapping[str, str]
) -> tuple[str, str]:
  """A table of scores: the paper's rows, ours below those it stands in for."""
  content = published.paper()['tables'][name]
  runs = {run.name: run for run in found.runs}
  decimals = [
    max(len(f'{value:g}'.partition('.')[2]) for value in column)
    for column in zip(*content['rows'].values(), strict=True)
  ]
  rows: list[list[Any]] = []
  measured: list[bool] = []
  for model, values in content['rows'].items():
    ours = stand_ins.get(model)
    rows.append(
      [
        tables.Markup(f'<span class="reason">{html.escape(model)}</span>'),
        _missing() if ours is None else tables.Markup('below'),
        *(
          f'{value:.{digits}f}'
          for value, digits in zip(values, decimals, strict=True)
        ),
      ]
    )
    if ours is not None:
      cells = [_score(runs.get(ours), column) for column in content['columns']]
      measured += [cell is not None for cell in cells]
      rows.append(
        [
          tables.Markup(f'<span class="ours">{html.escape(ours)}</span>'),
          tables.Markup('<span class="ours reason">this run</span>'),
          *(_missing() if cell is None else _mark(cell) for cell in cells),
        ]
      )
  status = PART if any(measured) else tables.NOT_RUN
  return status, (
    f'<p>{html.escape(content["title"])}.</p>'
    + '<div class="tight">'
    + tables.table(['', 'ours', *map(_broken, content['columns'])], rows)
    + '</div>'
    + (
      f'<p class="faint">{html.escape(content["note"])}</p>'
      if 'note' in content
      else ''
    )
  )


def _score(run: results.Run | None, column: str) -> float | None:
  """Our score of a run in the paper's column, in percent."""
  if run is None or run.bfcl is None or column not in BFCL_COLUMNS:
    return None
  share = run.bfcl['summary'].get(BFCL_COLUMNS[column])
  return None if share is None else 100 * share


def _broken(column: str) -> tables.Markup:
  """A heading over several lines: fourteen columns must fit a screen."""
  return tables.Markup(html.escape(column).replace(' ', '<br>'))


def _mark(score: float) -> tables.Markup:
  return tables.Markup(f'<span class="ours">{score:.1f}</span>')


def _missing() -> tables.Markup:
  return tables.Markup(f'<span class="faint reason">{tables.NOT_RUN}</span>')


def _theirs(value: Any) -> Any:
  """A value of the paper's as it prints it."""
  if value is None:
    return tables.Markup(f'<span class="faint">{NOT_PRINTED}</span>')
  return f'{value:g}' if isinstance(value, float) else value
