"""What a run left behind, read from its files into plain numbers.

The report draws from `Results` alone. A part that was not run is None or
empty; a file that is there and can't be read is the user's to mend.
"""

import dataclasses
import json
import pathlib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hephaestus_jax import artefacts, errors

TRAIN_SPLIT = 'train'
# What drops.json calls its rows over all sources.
ALL_SOURCES = 'all'


@dataclasses.dataclass(frozen=True)
class Stage:
  """One stage of one training run.

  Attributes:
    lines: those of metrics.jsonl, in order of steps.
    inputs: what it was made from; None where its folder doesn't say.
  """

  lines: tuple[dict[str, Any], ...]
  inputs: dict[str, Any] | None

  @property
  def training(self) -> tuple[dict[str, Any], ...]:
    """The lines that hold a training loss, and not an evaluation alone."""
    return tuple(line for line in self.lines if 'loss' in line)

  @property
  def steps(self) -> int:
    """The last step that was logged."""
    return max((line['step'] for line in self.lines), default=0)

  @property
  def tokens(self) -> int:
    """Tokens trained on in this stage up to its last logged step."""
    return max((line['tokens'] for line in self.lines), default=0)


@dataclasses.dataclass(frozen=True)
class Run:
  """One training run: its stages in order, None for one not run.

  `bfcl` is {'categories': {name: {'n', 'correct', 'accuracy', 'size',
  'errors'}}, 'summary': {column: accuracy}}.
  """

  name: str
  stages: dict[str, Stage | None]
  bfcl: dict[str, Any] | None

  def offsets(self) -> dict[str, int]:
    """Tokens trained on before each stage that was run.

    >>> run.offsets()
    {'stage1': 0, 'stage2': 4096}
    """
    offsets, tokens = {}, 0
    for name, stage in self.stages.items():
      if stage is not None:
        offsets[name] = tokens
        tokens += stage.tokens
    return offsets


@dataclasses.dataclass(frozen=True)
class Results:
  """All that the report shows of a run folder, as the files hold it."""

  run_dir: pathlib.Path
  runs: tuple[Run, ...]
  drops: dict[str, Any] | None
  composition: list[dict[str, Any]] | None
  classifier: dict[str, Any] | None
  decontamination: dict[str, Any] | None
  examples: dict[str, dict[str, Any]] | None
  embedding_map: dict[str, Any] | None
  ablations: dict[str, Any] | None
  caches: tuple[dict[str, Any], ...]
  fits: dict[str, Any] | None
  road: list[dict[str, Any]] | None
  configs: dict[str, str]


def read(
  run_dir: str,
  runs: Sequence[str],
  stages: Sequence[str],
  fits_dir: str | None = None,
  corpus_dir: str | None = None,
) -> Results:
  """Reads the artefacts of a run.

  Args:
    run_dir: its folder.
    runs: of training, by their folders in it.
    stages: of each, by their folders.
    fits_dir: what `hephaestus fit` wrote; None: `fits` in run_dir.
    corpus_dir: the corpus that it read; None: `corpus` in run_dir.

  Raises:
    errors.UserError: the run or its corpus doesn't exist, or a file in it is
      not what its command writes.
  """
  root = pathlib.Path(run_dir)
  corpus = pathlib.Path(corpus_dir or root / 'corpus')
  for folder in (root, corpus):
    if not folder.is_dir():
      raise errors.UserError(
        f'{folder} does not exist, so there is nothing to report. '
        'Give run_dir the folder of a run whose corpus was built, or '
        'corpus_dir the corpus that it read.'
      )
  road = _json(root / 'road.json')
  return Results(
    run_dir=root,
    runs=tuple(_run(root / name, stages) for name in runs),
    drops=_json(corpus / 'drops.json'),
    composition=_json(corpus / 'composition.json'),
    # Written empty where the build was told to leave the classifier out.
    classifier=_json(corpus / 'classifier.json') or None,
    decontamination=_json(corpus / 'decontamination.json'),
    examples=_json(corpus / 'examples.json'),
    embedding_map=_json(root / 'retrieve' / 'embedding_map.json'),
    ablations=_json(root / 'ablations' / 'summary.json'),
    caches=tuple(
      _json(path) for path in sorted(root.glob('cache/tasks/*/*/cache.json'))
    ),
    fits=_json(pathlib.Path(fits_dir or root / 'fits') / 'fits.json'),
    road=None if road is None else road['steps'],
    configs=_configs(
      [corpus, *(root / name for name in ('tokenizer', 'cache', *runs))]
    ),
  )


def _run(folder: pathlib.Path, stages: Sequence[str]) -> Run:
  return Run(
    name=folder.name,
    stages={name: _stage(folder / name) for name in stages},
    bfcl=_json(folder / 'evaluation' / 'bfcl.json'),
  )


def _stage(folder: pathlib.Path) -> Stage | None:
  """What a stage left; None if it was not run.

  A last line that was cut off in the middle is not a line: training that is
  resumed cuts it away.
  """
  path = folder / 'metrics.jsonl'
  if not path.exists():
    return None
  lines = []
  for number, text in enumerate(path.read_text().splitlines(True), start=1):
    if not text.endswith('\n'):
      break
    try:
      lines.append(json.loads(text))
    except json.JSONDecodeError as error:
      raise errors.UserError(
        f'{path}, line {number}, is no JSON: {error}. Delete the folder of '
        'this stage, and train it again.'
      ) from error
  return Stage(tuple(lines), _json(folder / artefacts.INPUTS))


def _configs(folders: Sequence[pathlib.Path]) -> dict[str, str]:
  """Resolved configurations by path, each text once: stages share theirs."""
  configs: dict[str, str] = {}
  for folder in folders:
    for depth in ('', '*/', '*/*/', '*/*/*/'):
      for path in sorted(folder.glob(depth + artefacts.CONFIG)):
        text = path.read_text()
        if text not in configs.values():
          configs[str(path.relative_to(folder.parent))] = text
  return configs


def _json(path: pathlib.Path) -> Any:
  """What a JSON file holds; None if there is no such file."""
  if not path.exists():
    return None
  try:
    return json.loads(path.read_text())
  except json.JSONDecodeError as error:
    raise errors.UserError(
      f'{path} is no JSON: {error}. Delete it, and run the command again.'
    ) from error


def summary(results: Results, benchmark: str) -> dict[str, Any]:
  """The report's numbers as JSON; null stands for what was not run.

  Args:
    results: a run's artefacts.
    benchmark: the evaluation whose loss counts, as named in metrics.jsonl.
  """
  runs = results.runs
  return {
    'corpus_tokens': tokens_by_kind(results),
    'drops': None
    if results.drops is None
    else {
      row['step']: row['drops'] for row in drops_by_step(results.drops['steps'])
    },
    'benchmark_loss': {
      run.name: benchmark_loss(run, benchmark, 'token') for run in runs
    },
    'benchmark_loss_per_character': {
      run.name: benchmark_loss(run, benchmark, 'character') for run in runs
    },
    'bfcl': {
      run.name: None
      if run.bfcl is None
      else {
        category: {'n': score['n'], 'accuracy': score['accuracy']}
        for category, score in run.bfcl['categories'].items()
      }
      for run in runs
    },
    'seconds': None
    if results.road is None
    else {step['name']: step['seconds'] for step in results.road},
    'steps': {
      run.name: {
        name: None if stage is None else stage.steps
        for name, stage in run.stages.items()
      }
      for run in runs
    },
    'training_tokens': {
      run.name: {
        name: None if stage is None else stage.tokens
        for name, stage in run.stages.items()
      }
      for run in runs
    },
  }


def tokens_by_kind(results: Results) -> dict[str, int] | None:
  """Cached training tokens, the most first: {'code': 900, 'text': 400}."""
  tokens: Counter[str] = Counter()
  for cache in results.caches:
    if cache['split'] == TRAIN_SPLIT:
      tokens.update(cache['tokens_by_kind'])
  return dict(tokens.most_common()) or None


def tokens_by_task(results: Results) -> dict[str, int] | None:
  """Cached training tokens, the most first: {'tldr_v1': 900, 'books_v1': 4}."""
  tokens = Counter(
    {
      cache['task']: cache['tokens']
      for cache in results.caches
      if cache['split'] == TRAIN_SPLIT
    }
  )
  return dict(tokens.most_common()) or None


def tokens_by_source(results: Results) -> dict[str, int] | None:
  """Cached training tokens by source, the most first: {'books': 900}."""
  tokens = tokens_by_task(results)
  if tokens is None:
    return None
  sums: Counter[str] = Counter()
  for task, n in tokens.items():
    sums[source_of(task)] += n
  return dict(sums.most_common())


def source_of(task: str) -> str:
  """The source that a Task is named after, without the Task's version.

  >>> source_of('books_v1')
  'books'
  """
  return re.sub(r'_v\d+$', '', task)


def kind_of_tasks(results: Results) -> dict[str, str]:
  """The kind that most tokens of each cached Task have; '' if it has none."""
  tokens: dict[str, Counter[str]] = {}
  for cache in results.caches:
    sums = tokens.setdefault(cache['task'], Counter())
    sums.update(cache['tokens_by_kind'])
  return {
    task: max(sorted(sums), key=sums.__getitem__, default='')
    for task, sums in tokens.items()
  }


def drops_by_step(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
  """The drop table summed over sources, steps in their order.

  `unaccounted` is what came from the step before, without what left and what
  was dropped for a reason. Nought, or documents were lost.

  >>> drops_by_step([
  ...   {'step': 'length', 'source': 'a', 'in': 9, 'out': 7,
  ...    'drops': {'too_short': 2}},
  ...   {'step': 'length', 'source': 'b', 'in': 5, 'out': 4,
  ...    'drops': {'too_long': 1}}])
  [{'step': 'length', 'in': 14, 'out': 11,
    'drops': {'too_long': 1, 'too_short': 2}, 'unaccounted': 0}]
  """
  sums: dict[str, dict[str, Any]] = {}
  for row in by_source(rows):
    total = sums.setdefault(
      row['step'],
      {'step': row['step'], 'in': 0, 'out': 0, 'drops': Counter()},
    )
    total['in'] += row['in']
    total['out'] += row['out']
    total['drops'].update(row['drops'])
  steps, came = [], None
  for total in sums.values():
    came = total['in'] if came is None else came
    steps.append(
      {
        **total,
        'drops': dict(sorted(total['drops'].items())),
        'unaccounted': came - total['out'] - total['drops'].total(),
      }
    )
    came = total['out']
  return steps


def by_source(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
  """The drop table's rows without those that sum up all sources."""
  return [row for row in rows if row['source'] != ALL_SOURCES]


def benchmark_loss(
  run: Run, benchmark: str, unit: str
) -> dict[str, dict[str, float | None] | None]:
  """The benchmark's loss before and after each stage, in nats per `unit`.

  >>> benchmark_loss(run, 'function_calls', 'token')
  {'stage1': {'before': 9.01, 'after': 4.2}, 'stage2': None}
  """
  key = f'evaluation/{benchmark}/nll_per_{unit}'
  losses: dict[str, dict[str, float | None] | None] = {}
  for name, stage in run.stages.items():
    measured = {
      line['step']: line[key]
      for line in (stage.lines if stage else ())
      if key in line
    }
    later = [step for step in measured if step > 0]
    losses[name] = {
      'before': measured.get(0),
      'after': measured[max(later)] if later else None,
    }
    if not measured:
      losses[name] = None
  return losses


def benchmarks(run: Run) -> list[str]:
  """Names of the evaluations whose loss a run logged.

  >>> benchmarks(run)
  ['function_calls']
  """
  return sorted(
    {
      key.split('/')[1]
      for stage in run.stages.values()
      for line in (stage.lines if stage else ())
      for key in line
      if key.startswith('evaluation/') and key.endswith('/nll_per_token')
    }
  )


def final_loss(run: Run, benchmark: str, unit: str) -> float | None:
  """The benchmark's loss after the last stage that was measured."""
  after = [
    loss['after']
    for loss in benchmark_loss(run, benchmark, unit).values()
    if loss is not None and loss['after'] is not None
  ]
  return after[-1] if after else None


def benchmark_size(results: Results, benchmark: str) -> dict[str, int]:
  """How much the benchmark measures: {'examples': 812, 'tokens': 20311}.

  Empty where it was not run.
  """
  prefix = f'evaluation/{benchmark}/'
  for run in results.runs:
    for stage in run.stages.values():
      for line in stage.lines if stage else ():
        if f'{prefix}examples' in line:
          return {
            name: int(line[f'{prefix}{name}'])
            for name in ('examples', 'tokens')
          }
  return {}


def not_run(results: Results) -> list[str]:
  """The parts of the road that left nothing: ['control/stage3', ...]."""
  missing = [
    f'corpus/{name}'
    for name in ('drops', 'composition', 'classifier', 'decontamination')
    if getattr(results, name) is None
  ]
  if not results.caches:
    missing.append('cache')
  for run in results.runs:
    missing += [
      f'{run.name}/{name}' for name, stage in run.stages.items() if not stage
    ]
    if run.bfcl is None:
      missing.append(f'{run.name}/evaluation')
  return missing
