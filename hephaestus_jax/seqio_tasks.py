"""SeqIO's Tasks and Mixtures: found by name, and told where things are.

A Task is registered before there is a tokenizer or a corpus. What of it has to
know them says so by having a method for it.
"""

import hashlib
import importlib
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import seqio

from hephaestus_jax import errors, tokenizer


@runtime_checkable
class TakesTokenizer(Protocol):
  """A SeqIO vocabulary that the cache gives its tokenizer to."""

  def use(self, tokens: tokenizer.Tokenizer, chat_format: str) -> None:
    """Chooses the tokenizer, and how conversations are written."""


@runtime_checkable
class TakesCorpus(Protocol):
  """A SeqIO data source that reads from the corpus' folder."""

  def read_from(self, corpus_dir: str) -> None:
    """Chooses the folder."""


def register(modules: Sequence[str]) -> None:
  """Imports what registers Tasks and Mixtures.

  Raises:
    errors.UserError: there is no such module.
  """
  for module in modules:
    try:
      importlib.import_module(module)
    except ModuleNotFoundError as error:
      if error.name is None or not f'{module}.'.startswith(f'{error.name}.'):
        raise
      raise errors.UserError(
        f'There is no Python module {module!r} to take mixtures from '
        f'(no {error.name!r}). Install it, or name its folder in PYTHONPATH.'
      ) from error


def prepare(
  task: seqio.Task,
  tokens: tokenizer.Tokenizer,
  chat_format: str,
  corpus_dir: str | None,
) -> None:
  """Tells a Task what it could not know when it was registered."""
  for feature in task.output_features.values():
    if isinstance(feature.vocabulary, TakesTokenizer):
      feature.vocabulary.use(tokens, chat_format)
  if isinstance(task.source, TakesCorpus) and corpus_dir is not None:
    task.source.read_from(corpus_dir)


def vocabulary_fingerprint(
  task: seqio.Task, tokens: tokenizer.Tokenizer
) -> str:
  """Says which vocabulary a Task's tokens belong to.

  A SeqIO vocabulary over the same SentencePiece file has the fingerprint of
  that file, so its Tasks mix with those of the corpus.

  Raises:
    errors.UserError: the Task has no 'targets'.
  """
  if 'targets' not in task.output_features:
    raise errors.UserError(
      f"Task {task.name!r} has no output feature 'targets', but "
      f'{list(task.output_features)}.'
    )
  vocabulary = task.output_features['targets'].vocabulary
  if isinstance(vocabulary, TakesTokenizer):
    return tokens.fingerprint
  if isinstance(vocabulary, seqio.SentencePieceVocabulary):
    return hashlib.sha256(vocabulary.sp_model).hexdigest()[:16]
  return f'{type(vocabulary).__name__}-{vocabulary.vocab_size}'
