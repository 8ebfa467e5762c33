"""The report's tables as HTML: one function per table, from `Results`.

Each gives None where nothing was run, so that the page can say so.
"""

import dataclasses
import html
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hephaestus_jax.report import published, results

NOT_RUN = 'not run'


@dataclasses.dataclass(frozen=True)
class Markup:
  """Text that is HTML already; every other cell is escaped."""

  html: str


def table(
  head: Sequence[str | Markup],
  rows: Sequence[Sequence[Any]],
  foot: Sequence[Any] | None = None,
) -> str:
  """An HTML table; numbers to the right, words to the left, None as a dash.

  >>> table(['source', 'tokens'], [['docs', 1200]])
  '<div class="scroll"><table><thead><tr><th>source</th><th class="number">...
  """
  numeric = [
    any(text(row[i])[:1].isdigit() for row in rows) for i in range(len(head))
  ]

  def line(cells: Sequence[Any], tag: str) -> str:
    return (
      '<tr>'
      + ''.join(
        f'<{tag} class="number">{text(cell)}</{tag}>'
        if right
        else f'<{tag}>{text(cell)}</{tag}>'
        for cell, right in zip(cells, numeric, strict=True)
      )
      + '</tr>'
    )

  body = '\n'.join(line(row, 'td') for row in rows)
  end = '' if foot is None else f'\n<tfoot>{line(foot, "td")}</tfoot>'
  return (
    f'<div class="scroll"><table><thead>{line(head, "th")}</thead>\n'
    f'<tbody>\n{body}\n</tbody>{end}</table></div>'
  )


def text(cell: Any) -> str:
  """A cell's HTML: 1234567 as '1,234,567', 0.51234 as '0.512'."""
  if cell is None:
    return '–'
  if isinstance(cell, Markup):
    return cell.html
  if isinstance(cell, bool) or not isinstance(cell, int | float):
    return html.escape(str(cell))
  return f'{cell:,}' if isinstance(cell, int) else f'{cell:,.3f}'


def corpus(found: results.Results) -> str | None:
  """Cached tokens by task and split, and the documents they come from."""
  if not found.caches:
    return None
  splits = list(dict.fromkeys(cache['split'] for cache in found.caches))
  splits.sort(key=lambda split: split != results.TRAIN_SPLIT)
  tasks = results.kind_of_tasks(found)
  by_place = {(c['task'], c['split']): c for c in found.caches}
  rows = []
  for task, kind in tasks.items():
    places = [by_place.get((task, split)) for split in splits]
    documents = sum(place['documents'] for place in places if place)
    tokens = [place and place['tokens'] for place in places]
    dropped: Counter[str] = Counter()
    for place in filter(None, places):
      dropped.update(place['dropped'])
    rows.append([task, kind, documents, *tokens, _reasons(dropped)])
  totals = [sum(row[i] or 0 for row in rows) for i in range(2, 3 + len(splits))]
  head = ['task', 'kind', 'documents', *(f'{s} tokens' for s in splits)]
  return table([*head, 'not cached'], rows, ['all', '', *totals, ''])


def drops(found: results.Results) -> str | None:
  """What each step took in, dropped and why; the balance closes the row."""
  if found.drops is None:
    return None
  return table(
    ['step', 'in', 'dropped', 'out', 'reasons', 'balance'],
    [
      [
        row['step'],
        row['in'],
        sum(row['drops'].values()),
        row['out'],
        _reasons(row['drops']),
        _balance(row['unaccounted']),
      ]
      for row in results.drops_by_step(found.drops['steps'])
    ],
  )


def drops_by_source(found: results.Results) -> str | None:
  """The same by source, where a step dropped something."""
  if found.drops is None:
    return None
  return table(
    ['step', 'source', 'in', 'dropped', 'out', 'reasons'],
    [
      [
        row['step'],
        row['source'],
        row['in'],
        sum(row['drops'].values()),
        row['out'],
        _reasons(row['drops']),
      ]
      for row in results.by_source(found.drops['steps'])
      if row['drops']
    ],
  )


def drop_examples(found: results.Results) -> str | None:
  """A few dropped documents per step and reason, for a person to judge."""
  rows = [
    [step, reason, identity, _beginning(text)]
    for step, reasons in (found.drops or {'examples': {}})['examples'].items()
    for reason, examples in reasons.items()
    for identity, text in examples
  ]
  head = ['step', 'reason', 'document', 'how it begins, or what it matched']
  return table(head, rows) if rows else None


def composition(found: results.Results) -> str | None:
  """Documents and characters by source and split."""
  if found.composition is None:
    return None
  sources: dict[str, dict[str, dict[str, Any]]] = {}
  for row in found.composition:
    sources.setdefault(row['source'], {})[row['split']] = row
  splits = list(dict.fromkeys(row['split'] for row in found.composition))
  rows: list[list[Any]] = []
  for source, places in sources.items():
    one = next(iter(places.values()))
    rows.append(
      [
        *(source, one['kind'], one['licence']),
        *(places[split]['documents'] for split in splits),
        sum(place['characters'] for place in places.values()),
      ]
    )
  totals = [sum(row[i] for row in rows) for i in range(3, 4 + len(splits))]
  head = ['source', 'kind', 'licence', *splits, 'characters']
  return table(head, rows, ['all', '', '', *totals])


def decontamination(found: results.Results) -> str | None:
  """What was looked for in the corpus, and what was found."""
  if found.decontamination is None:
    return None
  keys = ('strings', 'short_strings', 'form_ngrams', 'ngrams', 'documents')
  rows = [
    [name, *(account.get(key) for key in keys)]
    for name, account in found.decontamination['benchmarks'].items()
  ]
  return table(
    [
      *('benchmark', 'strings', 'too short', 'n-grams of its form'),
      *('n-grams looked for', 'documents dropped'),
    ],
    rows,
  )


def cuts(hits: Sequence[Mapping[str, str]]) -> str | None:
  """Which document shares what with which benchmark."""
  rows = [
    [hit['id'], hit['benchmark'], _beginning(hit['ngram'])] for hit in hits
  ]
  return (
    table(['document', 'benchmark', 'what they share'], rows) if rows else None
  )


def ngrams(rows: Sequence[Mapping[str, Any]]) -> str:
  """N-grams with their counts by label, their weights and scores."""
  return table(
    ['n-gram', 'agent', 'general', 'weight', 'score'],
    [
      [
        Markup(f'<code>{html.escape(row["ngram"])}</code>'),
        *(row[key] for key in ('agent', 'general', 'weight', 'score')),
      ]
      for row in rows
    ],
  )


def documents(rows: Sequence[Mapping[str, Any]]) -> str | None:
  """Documents with the classifier's score and how they begin."""
  if not rows:
    return None
  said = [
    row['label'] if 'label' in row else ('kept' if row['kept'] else 'dropped')
    for row in rows
  ]
  return table(
    ['score', 'label or fate', 'document', 'how it begins'],
    [
      [row['score'], word, row['id'], _beginning(row['text'])]
      for word, row in zip(said, rows, strict=True)
    ],
  )


def classifier(found: results.Results) -> str | None:
  """The agent/general classifier's scores beside the paper's."""
  if found.classifier is None:
    return None
  return table(
    ['measure', 'ours', 'paper, table 6'],
    [
      [name, float(found.classifier['test'][name]), paper]
      for name, paper in published.paper()['classifier']['values'].items()
    ],
  )


def benchmark(found: results.Results, name: str) -> str | None:
  """Benchmark loss before the first stage and after each, runs side by side.

  A stage starts from the parameters of the one before. Where its first
  measurement differs all the same, it has a row of its own.
  """
  columns = [
    (run, unit) for unit in ('token', 'character') for run in found.runs
  ]
  losses = [results.benchmark_loss(run, name, unit) for run, unit in columns]
  rows: list[list[Any]] = []
  for stage in losses[0]:
    for moment in ('before', 'after'):
      cells = [(loss[stage] or {}).get(moment) for loss in losses]
      known = any(cell is not None for cell in cells)
      if known and (not rows or cells != rows[-1][1:]):
        rows.append([f'{moment} {stage}', *cells])
  if not rows:
    return None
  head = [
    Markup(f'{html.escape(run.name)}<br>per {unit}') for run, unit in columns
  ]
  return table(['', *head], rows)


def training(found: results.Results) -> str:
  """A row per run and stage: how long it was and where it ended."""
  rows: list[list[Any]] = []
  for run in found.runs:
    for name, stage in run.stages.items():
      if stage is None or not stage.training:
        rows.append([run.name, name, None, None, None, NOT_RUN])
        continue
      first, last = stage.training[0], stage.training[-1]
      loss = [float(first['loss']), float(last['loss'])]
      rows.append([run.name, name, stage.steps, stage.tokens, *loss])
  head = ['run', 'stage', 'steps', 'tokens', 'first loss', 'last loss']
  return table(head, rows)


def speed(found: results.Results) -> str | None:
  """A row per run and stage: what a training step cost.

  Medians of the logged lines, the largest of `memory`.
  """
  rows = []
  for run in found.runs:
    for name, stage in run.stages.items():
      if stage is None or not stage.training:
        continue
      lines = stage.training
      rows.append(
        [
          run.name,
          name,
          round(_median(lines, 'tokens_per_second') or 0),
          _percent(_median(lines, 'mfu')),
          _percent(_median(lines, 'input_wait')),
          f'{max(line["memory_bytes"] for line in lines) / 2**30:.1f} GiB',
          f'{lines[-1]["seconds"]:,.0f} s',
        ]
      )
  head = ['run', 'stage', 'tokens/s', 'MFU', 'input wait', 'memory', 'time']
  return table(head, rows) if rows else None


def bfcl(found: results.Results) -> str | None:
  """Function calls judged right, by category and run."""
  scored = {run.name: run.bfcl for run in found.runs if run.bfcl is not None}
  if not scored:
    return None
  categories = dict.fromkeys(
    name for score in scored.values() for name in score['categories']
  )
  rows = [
    [
      name,
      *(_score(score['categories'].get(name)) for score in scored.values()),
    ]
    for name in categories
  ]
  return table(['category', *(f'{run}, correct' for run in scored)], rows)


def bfcl_columns(found: results.Results) -> str | None:
  """The columns of BFCL's own table, in percent, where all of one was run."""
  scored = {run.name: run.bfcl for run in found.runs if run.bfcl is not None}
  names = dict.fromkeys(
    name
    for score in scored.values()
    for name, value in score['summary'].items()
    if value is not None
  )
  if not names:
    return None
  rows = [
    [name, *(_percent(score['summary'].get(name)) for score in scored.values())]
    for name in names
  ]
  return table(['column', *scored], rows)


def bfcl_errors(found: results.Results) -> str | None:
  """Why calls were judged wrong, over all categories."""
  rows: list[list[Any]] = []
  for run in found.runs:
    if run.bfcl is not None:
      reasons: Counter[str] = Counter()
      for score in run.bfcl['categories'].values():
        reasons.update(score['errors'])
      rows.append([run.name, reasons.total(), _reasons(reasons)])
  return table(['run', 'wrong', 'reasons'], rows) if rows else None


def road(found: results.Results) -> str | None:
  """The seconds of each step."""
  if found.road is None:
    return None
  return table(
    ['step', 'seconds', ''],
    [
      [
        step['name'],
        f'{step["seconds"]:,.1f}',
        'reused' if step['reused'] else '',
      ]
      for step in found.road
    ],
    ['all', f'{sum(step["seconds"] for step in found.road):,.1f}', ''],
  )


def _reasons(dropped: Mapping[str, int]) -> Markup:
  """Reasons in order of weight: 'too_short 12, symbols 3'."""
  ordered = sorted(dropped.items(), key=lambda item: (-item[1], item[0]))
  return Markup(
    ', '.join(
      f'<span class="reason">{html.escape(name)}&nbsp;{n:,}</span>'
      for name, n in ordered
      if n
    )
  )


def _beginning(words: str) -> Markup:
  """At most so much of a text that a row of a table stays a row."""
  line = ' '.join(words.split())
  shown = line if len(line) <= 120 else line[:119] + '…'
  return Markup(f'<span class="long">{html.escape(shown)}</span>')


def _balance(unaccounted: int) -> Markup:
  if unaccounted:
    return Markup(f'<strong class="bad">{unaccounted:+,} unaccounted</strong>')
  return Markup('<span class="good">in = out + drops</span>')


def _score(score: dict[str, Any] | None) -> Markup | None:
  """'3 of 12 (25 %)', with how many of the rest could not be read."""
  if score is None:
    return None
  share = f'{100 * score["accuracy"]:.0f}&nbsp;%'
  return Markup(
    f'{score["correct"]:,} of {score["n"]:,} '
    f'<span class="faint">({share})</span>'
  )


def _median(lines: Sequence[dict[str, Any]], key: str) -> float | None:
  """Over the lines that have `key`: not every device has a known peak."""
  values = [line[key] for line in lines if key in line]
  return statistics.median(values) if values else None


def _percent(share: float | None) -> str | None:
  return None if share is None else f'{100 * share:.1f} %'
