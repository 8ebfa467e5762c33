"""Heuristics that need no model: what is too short, broken, or not language.

The signals are those of Gopher (Rae et al., 2021) and of the code filters since
Codex: length, letters, repetition, lines. Their published thresholds are for
web pages; API documentation repeats itself by nature and JSON is a third
punctuation, so ours are far looser. A page lost here is knowledge lost, a bad
page let through costs a few tokens.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.filters import shingles


@dataclasses.dataclass(frozen=True)
class Limits:
  """What a document of one kind must keep to.

  Attributes:
    min_words: fewest words.
    max_characters: longest text; longer ones are data files, not writing.
    min_letters: smallest share of letters and digits among the characters that
      are no space. Tables drawn with lines come down to 0.4.
    max_repeated: largest share of 10-word runs that occurred before. Pages of
      operations with nested parameters reach 0.7.
    max_unbroken: largest share of characters in runs of 1,000 and more without
      a space: encoded data, minified code.
  """

  min_words: int = 4
  max_characters: int = 1_000_000
  min_letters: float = 0.3
  max_repeated: float = 0.8
  max_unbroken: float = 0.5


@dataclasses.dataclass(frozen=True)
class Quality:
  """The filter: calling it gives the document back, or a Drop with a reason.

  Attributes:
    limits: the Limits of each kind; a kind that isn't named has the default.
  """

  limits: Mapping[str, Limits] = dataclasses.field(default_factory=dict)

  def __call__(
    self, checked: document.Document
  ) -> document.Document | document.Drop:
    """Checks one document against the limits of its kind."""
    reason = fault(checked.text, self.limits.get(checked.kind, Limits()))
    if reason:
      return document.Drop(checked.id, checked.source, reason)
    return checked


def fault(text: str, limits: Limits) -> str:
  """Why a text should go: the first limit that it breaks, or ''.

  >>> fault('Deletes a bucket.', Limits())
  'too_short'
  """
  if len(text) > limits.max_characters:
    return 'too_long'
  runs = text.split()
  characters = sum(map(len, runs))
  text_words = shingles.words(text)
  if len(text_words) < limits.min_words:
    return 'too_short'
  if sum(map(len, text_words)) < limits.min_letters * characters:
    return 'few_letters'
  unbroken = sum(len(run) for run in runs if len(run) >= 1000)
  if unbroken > limits.max_unbroken * characters:
    return 'unbroken'
  if repeated_share(text_words) > limits.max_repeated:
    return 'repetitive'
  return ''


def repeated_share(text_words: list[str], n: int = 10) -> float:
  """The share of n-word runs that are copies of an earlier run.

  >>> repeated_share(['to', 'be', 'or', 'not', 'to', 'be'], n=2)
  0.2
  """
  hashes_N = shingles.ngram_hashes(shingles.word_hashes(text_words), n)
  if not len(hashes_N):
    return 0.0
  return 1 - len(np.unique(hashes_N)) / len(hashes_N)
