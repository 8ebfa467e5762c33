"""Everything that the cached rows of a split depend on.

The key is content: files, tokens, preprocessors, never a date or a path. Rows
with another key are refused, and the difference is named.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence
from typing import Any, Literal

import seqio

from hephaestus_jax import artefacts, seqio_tasks, tokenizer

# Raised when the stored format changes: then every Task is cached anew.
FORMAT = 3
# What is done with a document that is longer than a row but must share one.
TooLong = Literal['drop', 'split', 'turns']


@dataclasses.dataclass(frozen=True)
class Job:
  """One split of one Task, to be cached."""

  task: seqio.Task
  split: str
  packing: str
  too_long: TooLong


def of_split(
  job: Job,
  tokens: tokenizer.Tokenizer,
  sequence_length: int,
  chat_format: str,
  trained_roles: Sequence[str] | None,
) -> dict[str, Any]:
  """The key of one split of one Task, plain JSON."""
  source = job.task.source
  vocabulary = job.task.output_features['targets'].vocabulary
  conversations = job.packing == 'best_fit'
  ours = isinstance(vocabulary, seqio_tasks.TakesTokenizer)
  return {
    'format': FORMAT,
    'task': job.task.name,
    'split': job.split,
    'packing': job.packing,
    # Of conversations alone: nothing else is too long, or has a role to train.
    'too_long': job.too_long if conversations else None,
    'trained_roles': (
      sorted(trained_roles)
      if conversations and trained_roles is not None
      else None
    ),
    'sequence_length': sequence_length,
    'tokenizer': seqio_tasks.vocabulary_fingerprint(job.task, tokens),
    'chat_format': chat_format if ours else None,
    'preprocessors': [_describe(step) for step in job.task.preprocessors],
    'source': {
      'class': type(source).__name__,
      'shards': [_shard(shard) for shard in source.list_shards(job.split)],
    },
  }


def _describe(step: Any) -> Any:
  """A preprocessor's name and its bound arguments, the same in every run."""
  if isinstance(step, functools.partial):
    return [
      _describe(step.func),
      [_describe(value) for value in step.args],
      {name: _describe(value) for name, value in step.keywords.items()},
    ]
  if hasattr(step, '__qualname__'):
    return f'{step.__module__}.{step.__qualname__}'
  if isinstance(step, (str, int, float, bool, type(None), list, tuple, dict)):
    return repr(step)
  return type(step).__name__


def _shard(name: str) -> str:
  """A source's file with its content's fingerprint, or what is no file."""
  path = pathlib.Path(name)
  if not path.is_file():
    return name
  return f'{path.name} {artefacts.file_fingerprint(path)}'
