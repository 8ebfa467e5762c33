"""What a run reads: each stage's mixture as planned and so far, and its rows.

Rows are counted, not sampled: the order of a mixture is a formula. Tokens are
those of a source's rows on average, which is exact after every whole epoch.
"""

import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hephaestus_jax import checkpoints, data, tokenizer, train, update
from hephaestus_jax.corpus import document

# A role's colour among the 256 of a terminal, in the order of document.ROLES.
COLOURS = (245, 33, 99, 208, 170, 46, 51, 226, 39, 252)


def report(
  *,
  stages: Sequence[update.Stage],
  cache_dir: str,
  model_dir: str,
  tokenizer_path: str,
  seed: int = 0,
  rows: int | None = None,
  show: int = 0,
  verify: bool = False,
) -> dict[str, Any]:
  """Prints what each stage reads.

  Args:
    stages: as `train.train` has them.
    cache_dir: what `cache.cache` wrote.
    model_dir: where training writes; it need not be there.
    tokenizer_path: of the vocabulary that made the tokens; read for `show`.
    seed: of the order of the rows.
    rows: a step, from 0, whose rows are told instead.
    show: so many rows of that step are printed as text.
    verify: first compare every file with its checksum.

  Returns:
    {stage: {'mixture', 'steps', 'steps_done', 'phases': {first step: {task:
    rate}}, 'sources': {task: {'planned', 'realised': {'rows', 'share',
    'tokens', 'trainable_tokens', 'epochs'}, and of its cache 'documents',
    'dropped', 'cut_documents', 'untrained_parts', 'repeated_tokens',
    'fill'}}}}; with `rows`
    {stage: {'step', 'rows': [[task, row], ...], 'shown': [[span, ...], ...]}}
    for the stages that have the step, a span as `spans` gives it.

  Raises:
    errors.UserError: a mixture can't be read, or a file is damaged.
  """
  told: dict[str, Any] = {}
  for stage in stages:
    mixture = train.open_mixture(stage, cache_dir, seed)
    if verify:
      for task in mixture.sources:
        mixture.of(task).verify()
    if rows is None:
      folder = pathlib.Path(model_dir) / stage.name / checkpoints.FOLDER
      done = max(checkpoints.steps(folder), default=0)
      told[stage.name] = _mixture(stage, mixture, done)
      _print_mixture(stage.name, told[stage.name])
    elif rows < stage.steps:
      told[stage.name] = _rows(stage, mixture, rows, show, tokenizer_path)
      _print_rows(stage.name, told[stage.name])
  if verify:
    print('every file has the checksum that it was written with')
  return told


def spans(
  row: np.ndarray, weights_R: Sequence[float], tokens: tokenizer.Tokenizer
) -> list[dict[str, Any]]:
  """A row as stretches of one document, role and use.

  >>> spans(row, stage.weights_R, tokens)
  [{'document': 1, 'role': 'user', 'use': 'context', 'text': 'Hi.'}, ...]

  Args:
    row: one of `data.row_dtype`.
    weights_R: of the stage.
    tokens: the vocabulary.

  Returns:
    In the row's order, without its padding. `use` is 'trained' for tokens that
    are targets with a weight, 'context' for others, 'repeated' for those that
    an earlier row has too.
  """
  segment_L = row['segment_ids'].astype(np.int64)
  role_L = row['roles'] % document.REPEATED
  repeated_L = row['roles'] >= document.REPEATED
  target_L = np.append(False, segment_L[1:] == segment_L[:-1])
  trained_L = target_L & (np.array(weights_R)[role_L] > 0) & ~repeated_L
  use_L = np.where(repeated_L, 2, trained_L.astype(int))
  key_LX = np.stack([segment_L, role_L, use_L], axis=1)
  used = int((segment_L > 0).sum())
  borders = np.flatnonzero((key_LX[1:used] != key_LX[: used - 1]).any(axis=1))
  found = []
  for start, stop in zip(
    [0, *(borders + 1).tolist()], [*(borders + 1).tolist(), used], strict=True
  ):
    segment, role, use = key_LX[start].tolist()
    found.append(
      {
        'document': segment,
        'role': document.ROLES[role],
        'use': ('context', 'trained', 'repeated')[use],
        'text': tokens.decode(row['tokens'][start:stop].tolist()),
      }
    )
  return found


def coloured(row: Sequence[Mapping[str, Any]]) -> str:
  """Spans for a terminal: a colour per role, what is not trained on faint.

  What is repeated is struck through besides, and a line parts documents.
  """
  lines, last = [], 0
  for span in row:
    if span['document'] != last:
      last = span['document']
      lines.append(f'\n── document {last} ──\n')
    colour = COLOURS[document.role_id(span['role'])]
    style = {'trained': '1', 'context': '2', 'repeated': '2;9'}[span['use']]
    lines.append(f'\x1b[{style};38;5;{colour}m{span["text"]}\x1b[0m')
  return ''.join(lines)


def tagged(row: Sequence[Mapping[str, Any]]) -> str:
  """Spans where there are no colours: '[user]Hi.[answer+]Hello.'

  + is what is trained on, = what is repeated.
  """
  signs = {'trained': '+', 'context': '', 'repeated': '='}
  lines, last = [], 0
  for span in row:
    if span['document'] != last:
      last = span['document']
      lines.append(f'\n── document {last} ──\n')
    lines.append(f'[{span["role"]}{signs[span["use"]]}]{span["text"]}')
  return ''.join(lines)


def _mixture(
  stage: update.Stage, mixture: data.Mixture, done: int
) -> dict[str, Any]:
  planned = _counted(stage, mixture, stage.steps)
  realised = _counted(stage, mixture, done)
  sources = {}
  for task in mixture.sources:
    info = mixture.of(task).info
    sources[task] = {
      'planned': planned[task],
      'realised': realised[task],
      **{name: info[name] for name in ('documents', 'dropped', 'fill')},
      # Caches from before documents were cut have none that were.
      **{
        name: info.get(name, 0)
        for name in ('cut_documents', 'untrained_parts', 'repeated_tokens')
      },
    }
  return {
    'mixture': stage.mixture,
    'steps': stage.steps,
    'steps_done': done,
    'phases': {
      row // stage.batch_size: rates for row, rates in mixture.phases.items()
    },
    'sources': sources,
  }


def _counted(
  stage: update.Stage, mixture: data.Mixture, steps: int
) -> dict[str, dict[str, float]]:
  """What so many steps read of each source."""
  total = steps * stage.batch_size
  epochs = mixture.epochs(total)
  found = {}
  for task, rows in mixture.rows_of(total).items():
    info = mixture.of(task).info
    weights = dict(zip(document.ROLES, stage.weights_R, strict=True))
    trainable = sum(
      count for role, count in info['tokens_by_role'].items() if weights[role]
    )
    found[task] = {
      'rows': rows,
      'share': rows / max(total, 1),
      'tokens': round(epochs[task] * info['tokens']),
      'trainable_tokens': round(epochs[task] * trainable),
      'epochs': epochs[task],
    }
  return found


def _print_mixture(name: str, told: Mapping[str, Any]) -> None:
  sources = told['sources']
  width = max(map(len, sources))
  print(
    f'{name}: {told["mixture"]}, {told["steps_done"]:,} of {told["steps"]:,} '
    'steps done; planned | so far'
  )
  if len(told['phases']) > 1:
    print(f'  rates change at steps {[*told["phases"]][1:]}')
  part = f'{"share":>7} {"tokens":>14} {"trainable":>14} {"epochs":>7}'
  print(f'  {"source":<{width}} {part} | {part}  cut or dropped')
  for task, source in sources.items():
    parts = [
      f'{one["share"]:>7.4f} {one["tokens"]:>14,} '
      f'{one["trainable_tokens"]:>14,} {one["epochs"]:>7.2f}'
      for one in (source['planned'], source['realised'])
    ]
    lost = [f'{count} {why}' for why, count in source['dropped'].items()]
    if source['cut_documents']:
      lost.append(f'{source["cut_documents"]} cut')
    if source['untrained_parts']:
      lost.append(f'{source["untrained_parts"]} parts without a target')
    print(f'  {task:<{width}} {" | ".join(parts)}  {", ".join(lost)}')
  print('  tokens: those of a row on average; exact after whole epochs')


def _rows(
  stage: update.Stage,
  mixture: data.Mixture,
  step: int,
  show: int,
  tokenizer_path: str,
) -> dict[str, Any]:
  numbers_B = step * stage.batch_size + np.arange(stage.batch_size)
  source_B, row_B = mixture.rows_at(numbers_B)
  ids = [
    [mixture.sources[source], row]
    for source, row in zip(source_B.tolist(), row_B.tolist(), strict=True)
  ]
  told = {'step': step, 'rows': ids, 'shown': []}
  if show:
    tokens = tokenizer.load(tokenizer_path)
    told['shown'] = [
      spans(mixture.of(task).read([row])[0], stage.weights_R, tokens)
      for task, row in ids[:show]
    ]
  return told


def _print_rows(name: str, told: Mapping[str, Any]) -> None:
  print(f'{name}, step {told["step"]}:')
  for task, row in told['rows']:
    print(f'  {task} {row}')
  # https://no-color.org
  colours = sys.stdout.isatty() and 'NO_COLOR' not in os.environ
  for (task, row), of_row in zip(told['rows'], told['shown'], strict=False):
    print(f'\n{task} {row}')
    print(coloured(of_row) if colours else tagged(of_row))
