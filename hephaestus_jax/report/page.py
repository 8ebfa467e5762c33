"""The report: one HTML page that holds all it shows, from a run's artefacts.

Nothing is computed here that a file of the run doesn't say, and what was not
run is called so. The page needs no network, no script and no other file; the
PNGs and `summary.json` beside it are for those who want a part of it.
"""

import html
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from hephaestus_jax import artefacts, errors
from hephaestus_jax.report import (
  ablations,
  corpus_sections,
  figures,
  markup,
  paper,
  plots,
  results,
  scaling,
  tables,
  versions,
)

INDEX = 'index.html'
PAPER = 'paper.html'
SUMMARY = 'summary.json'

STYLE = """
:root { --ink: #1f2328; --faint: #656d76; --line: #d8dce0; --wash: #f6f7f8;
  --ours: OURS; --other: OTHER; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 72rem;
  font: 16px/1.55 system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans',
    'Liberation Sans', sans-serif;
  color: var(--ink); background: #fff; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 3rem 0 .6rem; padding-top: .8rem;
  border-top: 1px solid var(--line); }
p { max-width: 46rem; margin: .5rem 0 1rem; }
a { color: var(--other); }
code, pre { font-family: ui-monospace, 'SF Mono', Menlo, Consolas,
  'Liberation Mono', monospace; font-size: .86em; }
pre { background: var(--wash); border-radius: 6px; padding: .8rem 1rem;
  overflow-x: auto; line-height: 1.45; }
p code { overflow-wrap: anywhere; }
pre.example { white-space: pre-wrap; overflow-wrap: anywhere; }
pre.example b { color: var(--faint); font-weight: 500; font-style: italic; }
.faint, figcaption, .lead { color: var(--faint); }
nav { margin: 1rem 0 0; font-size: .92rem; }
nav a { margin-right: 1.1rem; white-space: nowrap; }
.tiles { display: grid; gap: 1rem; margin: 1.5rem 0;
  grid-template-columns: repeat(auto-fit, minmax(11.5rem, 1fr)); }
.tile { background: var(--wash); border-radius: 8px; padding: .9rem 1.1rem; }
.tile b { display: block; font-size: 1.4rem; line-height: 1.35;
  white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.tile.ours b { color: var(--ours); }
.tile.other b { color: var(--other); }
.tile span { color: var(--faint); font-size: .88rem; }
.pair { display: grid; gap: 1rem 2.5rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); }
.pair > * { min-width: 0; }
figure { margin: .8rem 0 1.2rem; }
figure svg { display: block; width: 100%; height: auto; }
figure svg text { font-family: inherit !important; }
figure.wide { overflow-x: auto; }
figure.wide svg { min-width: 46rem; }
figcaption { font-size: .88rem; margin-top: .3rem; max-width: 46rem; }
.scroll { overflow-x: auto; margin: .8rem 0 1.2rem; }
table { border-collapse: collapse; font-size: .9rem; line-height: 1.4; }
th, td { padding: .32rem .9rem .32rem 0; text-align: left;
  vertical-align: baseline; border-bottom: 1px solid var(--line); }
th { color: var(--faint); font-weight: 500; }
thead th { border-bottom-color: var(--faint); }
tfoot td { border-bottom: 0; font-weight: 600; }
.number { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.reason { white-space: nowrap; }
.tight th, .tight td { padding-right: .55rem; }
.long { display: inline-block; min-width: 15rem; }
.good { color: #00694c; }
.bad { color: #b42318; }
.ours { color: var(--ours); }
.not-run { color: var(--faint); background: var(--wash); border-radius: 6px;
  padding: .6rem 1rem; font-style: italic; }
details { margin: .5rem 0; }
summary { cursor: pointer; }
@media print {
  @page { margin: 16mm 14mm; }
  body { padding: 0; max-width: none; font-size: 10pt; }
  nav { display: none; }
  h2, h3 { break-after: avoid; }
  h2 { margin-top: 1.6rem; }
  figure, tr, .tile { break-inside: avoid; }
  .tiles { grid-template-columns: repeat(5, 1fr); gap: .5rem; }
  .tile { padding: .6rem .7rem; }
  .tile b { font-size: 1.15rem; }
  .tile, pre, .not-run { border: 1px solid var(--line); }
  .scroll, figure.wide { overflow: visible; }
  figure.wide svg { min-width: 0; }
  .pair { grid-template-columns: 1fr 1fr; gap: .5rem 1.2rem; }
  table { font-size: 8.5pt; }
}
""".replace('OURS', plots.RUN_COLOURS[0]).replace('OTHER', plots.RUN_COLOURS[1])


def report(
  *,
  run_dir: str,
  runs: Sequence[str] = ('forge', 'control'),
  stages: Sequence[str] = ('stage1', 'stage2', 'stage3'),
  benchmark: str = 'function_calls',
  fits_dir: str | None = None,
  corpus_dir: str | None = None,
  paper_runs: Mapping[str, str] | None = None,
  regenerate_paper: bool = False,
  output_dir: str,
) -> dict[str, Any]:
  """Writes the report of a run: index.html, summary.json, a PNG per figure.

  It is drawn anew each time, in seconds, so it is never older than the run.

  Args:
    run_dir: the run's folder; what is missing in it is called 'not run'.
    runs: names of the training runs' folders; the first is ours, the others
      are compared with it.
    stages: names of the stages' folders, in the order of training.
    benchmark: the evaluation in metrics.jsonl whose loss is the headline.
    fits_dir: what `hephaestus fit` wrote; None: `fits` in run_dir.
    corpus_dir: the corpus that it read, which must be there; None: `corpus` in
      run_dir.
    paper_runs: models in the paper's tables -> the run in `runs` that stands in
      for each; None: none does.
    regenerate_paper: writes paper.html, too: the paper's figures and tables.
    output_dir: where the report goes; an older report there is replaced.

  Returns:
    {'page': path, 'summary': path, 'paper': path or None, 'not_run':
    ['control/stage3', ...], 'reused': False}.

  Raises:
    errors.UserError: the run or its corpus doesn't exist, a file in it can't be
      read, or `output_dir` holds something that is no report.
  """
  if not runs or not stages:
    raise errors.UserError(
      f'runs {list(runs)} and stages {list(stages)} must each name one or more.'
    )
  stand_ins = dict(paper_runs or {})
  unknown = sorted({*stand_ins.values()} - {*runs})
  if unknown and regenerate_paper:
    raise errors.UserError(
      f'paper_runs names {unknown}, and runs = {list(runs)}. Add them there.'
    )
  folder = pathlib.Path(output_dir)
  _refuse_to_replace(folder)
  found = results.read(run_dir, runs, stages, fits_dir, corpus_dir)
  drawings = figures.draw(found, benchmark)
  software = versions.versions()
  missing = results.not_run(found)
  inputs = {
    'command': 'report',
    'run_dir': run_dir,
    'runs': list(runs),
    'stages': list(stages),
    'benchmark': benchmark,
    'fits_dir': fits_dir,
    'corpus_dir': corpus_dir,
    'paper_runs': stand_ins,
  }
  with artefacts.written(folder, inputs) as partial:
    for name, drawing in drawings.items():
      (partial / f'{name}.png').write_bytes(drawing.png)
    artefacts.write_json(
      partial / SUMMARY,
      {**results.summary(found, benchmark), 'versions': software},
    )
    page = html_page(found, benchmark, drawings, software)
    (partial / INDEX).write_text(page)
    if regenerate_paper:
      page = paper_page(found, drawings, stand_ins)
      (partial / PAPER).write_text(page)
    if folder.exists():
      shutil.rmtree(folder)
  print(f'wrote {folder / INDEX}')
  if regenerate_paper:
    print(f'wrote {folder / PAPER}')
  if missing:
    print(f'not run: {", ".join(missing)}')
  return {
    'page': str(folder / INDEX),
    'summary': str(folder / SUMMARY),
    'paper': str(folder / PAPER) if regenerate_paper else None,
    'not_run': missing,
    'reused': False,
  }


def _refuse_to_replace(folder: pathlib.Path) -> None:
  """Stops unless there is nothing at `folder`, or a report."""
  if not folder.exists():
    return
  if (folder / artefacts.INPUTS).exists():
    inputs = artefacts.read_inputs(folder)
    if inputs.get('command') == 'report':
      return
  raise errors.UserError(
    f'output_dir {folder} holds something that is no report, and a report '
    'replaces its folder. Give another output_dir, or delete the folder.'
  )


def html_page(
  found: results.Results,
  benchmark: str,
  drawings: dict[str, plots.Drawing],
  software: dict[str, str | None],
) -> str:
  """The whole page, from the first tag to the last."""
  sections = {
    'Benchmark loss': _benchmark(found, benchmark, drawings),
    'Function calls': _function_calls(found, drawings),
    # Studies of many runs are no part of a run: they stand here once done.
    **(
      {'Ablations': ablations.section(found.ablations, drawings)}
      if found.ablations
      else {}
    ),
    'Training': _training(found, drawings),
    **(
      {'Scaling': scaling.section(found.fits, drawings)} if found.fits else {}
    ),
    'Corpus': corpus_sections.corpus(found, drawings),
    'Sources': corpus_sections.source_table(found),
    'Formats': corpus_sections.examples(found),
    'What was dropped': corpus_sections.drops(found),
    'Classifier': corpus_sections.classifier(found),
    'Decontamination': corpus_sections.decontamination(found),
    'Time': _time(found, drawings),
    'How to run this again': _again(found, software),
  }
  name = html.escape(found.run_dir.resolve().name)
  return _page(f'Hephaestus: {name}', _summary(found, benchmark), sections)


def paper_page(
  found: results.Results,
  drawings: dict[str, plots.Drawing],
  stand_ins: Mapping[str, str],
) -> str:
  """The paper's figures and tables, ours beside them."""
  name = html.escape(found.run_dir.resolve().name)
  return _page(
    f'Hephaestus: the paper, from {name}',
    '',
    paper.sections(found, drawings, stand_ins),
  )


def _page(title: str, lead: str, sections: Mapping[str, str]) -> str:
  """A page of sections, with a link to each."""
  links = ''.join(
    f'<a href="#{paper.anchor(title)}">{title}</a>\n' for title in sections
  )
  body = '\n'.join(
    f'<section>\n<h2 id="{paper.anchor(title)}">{title}</h2>\n{content}\n'
    '</section>'
    for title, content in sections.items()
  )
  return (
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    f'<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n'
    f'<body>\n<header>\n<h1>{title}</h1>\n'
    f'{lead}\n<nav>{links}</nav>\n</header>\n'
    f'<main>\n{body}\n</main>\n</body>\n</html>\n'
  )


def _summary(found: results.Results, benchmark: str) -> str:
  """What this run is, in a paragraph, and its headline numbers."""
  tokens = results.tokens_by_task(found)
  corpus = (
    'a corpus that is not cached yet'
    if tokens is None
    else f'a corpus of {sum(tokens.values()):,} training tokens '
    f'from {len(tokens)} sources'
  )
  trained = [
    f'<b>{html.escape(run.name)}</b>' for run in found.runs if run.offsets()
  ]
  training = (
    f'Trained on it: {" and ".join(trained)}, each stage from the last.'
    if trained
    else 'No model was trained on it yet.'
  )
  lead = (
    f'<p class="lead">This run built {corpus}. {training} The headline is the '
    f'loss on <code>{html.escape(benchmark)}</code>: the mean negative log '
    'likelihood of the reference answers, in nats per token; '
    'lower is better.</p>'
  )
  return (
    lead
    + '<div class="tiles">'
    + ''.join(_tiles(found, benchmark))
    + ('</div>')
  )


def _tiles(found: results.Results, benchmark: str) -> list[str]:
  """Headline numbers: ours, each other run and the difference; tokens; time."""
  ours, *others = found.runs
  loss = results.final_loss(ours, benchmark, 'token')
  tiles = [_tile(_loss(loss), f'{ours.name}, benchmark loss', 'ours')]
  for other in others:
    theirs = results.final_loss(other, benchmark, 'token')
    tiles.append(_tile(_loss(theirs), f'{other.name}, benchmark loss', 'other'))
    if loss is not None and theirs is not None:
      tiles.append(
        _tile(
          f'{loss - theirs:+.3f}'.replace('-', '\N{MINUS SIGN}'),
          f'{ours.name} against {other.name} '
          f'({100 * (loss / theirs - 1):+.1f}\N{NO-BREAK SPACE}%)'.replace(
            '-', '\N{MINUS SIGN}'
          ),
        )
      )
  tokens = results.tokens_by_kind(found)
  if tokens:
    total = sum(tokens.values())
    tiles.append(_tile(plots.short(total), 'training tokens in the corpus'))
  if found.road:
    total_seconds = sum(step['seconds'] for step in found.road)
    tiles.append(_tile(plots.duration(total_seconds), 'wall-clock, all steps'))
  return tiles


def _tile(number: str, label: str, role: str = '') -> str:
  return (
    f'<div class="tile {role}"><b>{number}</b>'
    f'<span>{html.escape(label)}</span></div>'
  )


def _loss(loss: float | None) -> str:
  return tables.NOT_RUN if loss is None else f'{loss:.3f}'


def _benchmark(
  found: results.Results,
  benchmark: str,
  drawings: dict[str, plots.Drawing],
) -> str:
  size = results.benchmark_size(found, benchmark)
  measured = ', '.join(f'{n:,} {name}' for name, n in size.items())
  return markup.pair(
    markup.figure(
      drawings,
      'benchmark_loss',
      'Measured at checkpoints; dotted lines mark where a stage starts.',
    )
    + markup.figure(
      drawings,
      'base_models',
      'Base models: the loss before training, and before the last stage.',
    ),
    markup.or_not_run(tables.benchmark(found, benchmark), 'Table of losses')
    + (f'<p class="faint">Over {measured}.</p>' if measured else '')
    + '<p class="faint">In nats. Per character, models with different '
    'vocabularies can be compared; per token, they cannot.</p>',
  )


def _function_calls(
  found: results.Results, drawings: dict[str, plots.Drawing]
) -> str:
  return (
    '<p>Greedy completions, judged by the checker of the Berkeley '
    'Function-Calling Leaderboard. Small categories have wide intervals: '
    'read them before the bars.</p>'
    + markup.pair(
      markup.figure(drawings, 'bfcl', 'Share of calls judged right.'),
      markup.or_not_run(tables.bfcl(found), 'Table of categories')
      + markup.details('The columns of its table', tables.bfcl_columns(found))
      + markup.details('Why calls were wrong', tables.bfcl_errors(found)),
    )
  )


def _training(
  found: results.Results, drawings: dict[str, plots.Drawing]
) -> str:
  return (
    markup.pair(
      markup.figure(
        drawings,
        'training_loss',
        'The loss that is minimised, against the tokens of all stages. Stages '
        'weigh different roles, so a jump between two is no gain or loss.',
      ),
      tables.training(found),
    )
    + markup.details('Speed and memory', tables.speed(found))
    + '<h3>By source</h3>'
    + markup.figure(
      drawings,
      'loss_by_source',
      'Every row of tokens comes from one source, so the loss of a source '
      'is exact. No line: the run does not train on it.',
      'wide',
    )
    + '<h3>By role</h3>'
    + markup.figure(
      drawings,
      'loss_by_role',
      'The role of the token to predict.',
      'wide',
    )
  )


def _time(found: results.Results, drawings: dict[str, plots.Drawing]) -> str:
  return markup.pair(
    markup.figure(
      drawings,
      'seconds',
      'Wall-clock seconds of the walk that built each artefact.',
    ),
    markup.or_not_run(tables.road(found), 'Times'),
  )


def _again(found: results.Results, software: dict[str, str | None]) -> str:
  commands = [
    *(
      [f'git checkout {software["commit"]}'.replace(' + ', '  # + ')]
      if software['commit']
      else []
    ),
    *(f'hephaestus {step["command"]}' for step in found.road or ()),
  ]
  return (
    (
      f'<pre>{html.escape(chr(10).join(commands))}</pre>'
      if found.road
      else markup.not_run('`hephaestus run`, which keeps the commands')
    )
    + '<h3>Software that drew this page</h3>'
    + tables.table(['', 'version'], list(software.items()))
    + '<h3>Configuration, every value resolved</h3>'
    + (
      ''.join(
        markup.details(name, f'<pre>{html.escape(config)}</pre>')
        for name, config in found.configs.items()
      )
      or markup.not_run('Commands that keep their configuration')
    )
  )
