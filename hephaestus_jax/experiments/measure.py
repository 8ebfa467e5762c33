"""What a finished run left in its folder, as the columns of its row."""

import json
import pathlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from hephaestus_jax import artefacts
from hephaestus_jax.observability import step_lines

# The kinds that the paper calls agent data.
AGENT_KINDS = ('documentation', 'trajectory')
METRICS = 'metrics.jsonl'
EVALUATION = 'evaluation/'
# The stage of instructions (gin/stages/stage3.gin): the paper's tables call
# what was trained before it Base, and what comes of it IFT.
INSTRUCTION_STAGE = 'stage3'


def measure(
  folder: pathlib.Path, cache_dir: pathlib.Path, trained: Mapping[str, Any]
) -> dict[str, Any]:
  """The columns of a run that is done; table.py says what they are.

  Args:
    folder: the run's.
    cache_dir: the cache that it read.
    trained: what `train.train` returned: its parameters, and its stages in
      their order.
  """
  stages: Mapping[str, Mapping[str, int]] = trained['stages']
  row: dict[str, Any] = {'parameters': trained['parameters']}
  rates: dict[str, float] = defaultdict(float)  # tokens by task
  last: dict[str, float] = {}
  for stage, known in stages.items():
    inputs = artefacts.read_inputs(folder / stage)
    vocabulary = _vocabulary_matrices(inputs['model'])
    row['parameters_without_embedding'] = trained['parameters'] - vocabulary
    for task, rate in _rates(inputs['data'], known['tokens']).items():
      rates[task] += rate * known['tokens']
    lines = step_lines.read(folder / stage / METRICS)
    last = _last_values(lines)
    own = {
      'tokens': known['tokens'],
      'seconds': max((line.get('seconds', 0.0) for line in lines), default=0.0),
    }
    row |= {f'{stage}/{name}': value for name, value in (own | last).items()}
    if stage != INSTRUCTION_STAGE:
      base = {name: last[name] for name in last if name.startswith(EVALUATION)}
      row |= {f'base/{name}': value for name, value in base.items()}
  row |= last
  row['tokens'] = sum(known['tokens'] for known in stages.values())
  row['seconds'] = sum(row[f'{stage}/seconds'] for stage in stages)
  row |= _shares(rates, row['tokens'], cache_dir)
  row |= _bfcl(folder, '')
  return row | _bfcl(folder / 'base', 'base/')


def _rates(data: Mapping[str, Any], tokens: int) -> dict[str, float]:
  """Each Task's share of a stage's rows, over all of its phases.

  >>> _rates({'phases': {'0': {'a': 1.0}, '3': {'a': 0.5, 'b': 0.5}},
  ...         'sequence_length': 16}, 64)
  {'a': 0.875, 'b': 0.125}
  """
  rows = tokens // data['sequence_length']
  phases = {int(row): rates for row, rates in data['phases'].items()}
  starts = sorted(phases)
  shares: dict[str, float] = defaultdict(float)
  for start, end in zip(starts, [*starts[1:], rows], strict=True):
    for task, rate in phases[start].items():
      shares[task] += rate * (end - start) / rows
  return dict(shares)


def _vocabulary_matrices(model: Mapping[str, Any]) -> int:
  """Parameters of the embedding, and of an output matrix of its own."""
  matrices = 1 if model['tied_output'] else 2
  return matrices * model['vocab_size'] * model['emb_dim']


def _last_values(lines: Sequence[Mapping[str, float]]) -> dict[str, float]:
  """The training loss and each evaluation, as they were measured last."""
  values: dict[str, float] = {}
  for line in lines:
    for name, value in line.items():
      if name == 'loss' or name.startswith(EVALUATION):
        values[name] = value
  return values


def _shares(
  rates: Mapping[str, float], tokens: int, cache_dir: pathlib.Path
) -> dict[str, float]:
  """Each Task's and each kind's share of the tokens."""
  kinds: dict[str, float] = defaultdict(float, agent=0.0)
  for task, of_task in rates.items():
    kind = kind_of(cache_dir, task)
    kinds[kind] += of_task / tokens
    if kind in AGENT_KINDS:
      kinds['agent'] += of_task / tokens
  return {
    **{f'rate/{task}': of_task / tokens for task, of_task in rates.items()},
    **{f'share/{kind}': share for kind, share in kinds.items()},
  }


def kind_of(cache_dir: pathlib.Path, task: str) -> str:
  """The kind that most of a cached Task's tokens have; 'unknown' of none."""
  path = cache_dir / 'tasks' / task / 'train' / 'cache.json'
  sizes = json.loads(path.read_text()).get('tokens_by_kind', {})
  return max(sorted(sizes), key=sizes.__getitem__, default='unknown')


def _bfcl(folder: pathlib.Path, prefix: str) -> dict[str, float]:
  """The columns of the function-calling leaderboard that were measured."""
  path = folder / 'evaluation' / 'bfcl.json'
  if not path.exists():
    return {}
  summary = json.loads(path.read_text())['summary']
  return {
    f'{prefix}bfcl/{column}': accuracy
    for column, accuracy in summary.items()
    if accuracy is not None
  }
