"""The learned filter (paper, section 4.3): is a text about tools, or general?

A fastText classifier with the paper's settings learns from sources whose label
is known by what they are, is measured on documents that it never saw (Table 6),
and ranks the sources that nobody labelled; the best-scoring share of their text
is kept. The paper's labels come from an annotating model; here the source gives
them, so the task is easier than the paper's and its accuracy no comparison.
"""

import dataclasses
import hashlib
import pathlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import fasttext

from hephaestus_jax import errors
from hephaestus_jax.corpus import document

LABELS = ('agent', 'general')
# Scores are counted in bins of this width, so that the threshold of a corpus of
# any size takes a table of 10,001 rows.
BINS = 10_000
# fastText fills a tenth of its table per thread and leaves the rest as it was
# allocated. That is zero for what malloc gets straight from the kernel, which
# is certain above 32 MiB; smaller tables can hold anything, NaN too.
SMALLEST_TABLE = 32 << 20


@dataclasses.dataclass(frozen=True)
class Classifier:
  """What to learn from, what to filter, and how much to keep.

  Attributes:
    labels: source name -> 'agent' or 'general'.
    filtered: names of the sources that the filter is applied to.
    keep_share: the share of the filtered sources' characters that is kept, the
      highest-scoring documents first. The paper keeps about 40 %.
    training_documents: at most so many are learned from, equally many of each
      label as far as there are.
    test_documents: at most so many others are measured on.
    characters: only the beginning of a text is looked at.
    dim, lr, word_ngrams, min_count, epoch: fastText's, with the paper's values.
    bucket: rows of the n-gram table, 4 * dim bytes each: at least 32,768 rows
      with dim 256. fastText's default of two million makes a model of 2 GB.
  """

  labels: Mapping[str, str]
  filtered: Sequence[str] = ()
  keep_share: float = 0.4
  training_documents: int = 8_000
  test_documents: int = 2_000
  characters: int = 1_000
  dim: int = 256
  lr: float = 0.1
  word_ngrams: int = 3
  min_count: int = 3
  epoch: int = 3
  bucket: int = 200_000


@dataclasses.dataclass(frozen=True)
class Example:
  """A labelled text. `order`, a hash of the id, decides which are drawn."""

  order: str
  label: str
  text: str


def example(
  labelled: document.Document, classifier: Classifier
) -> Example | None:
  """A document of a labelled source as an Example; None for other sources."""
  label = classifier.labels.get(labelled.source)
  if label is None:
    return None
  order = hashlib.sha256(labelled.id.encode()).hexdigest()
  return Example(order, label, one_line(labelled.text, classifier.characters))


def one_line(text: str, characters: int) -> str:
  r"""What fastText sees of a text: its beginning, on one line, in lower case.

  >>> one_line('Lists\n the Buckets.', 12)
  'lists the bu'
  """
  # Cut before and after: the spaces of a long text needn't be joined.
  return ' '.join(text[: 2 * characters].lower().split())[:characters]


def split_examples(
  examples: Iterable[Example], classifier: Classifier
) -> tuple[list[Example], list[Example]]:
  """(training, test): half of each from either label as far as there are.

  Ordered by hash: which documents are drawn depends on their ids alone.
  """
  training, test = [], []
  for label in LABELS:
    ranked = sorted(
      (e for e in examples if e.label == label), key=lambda e: e.order
    )
    test_count = min(classifier.test_documents // 2, len(ranked) // 5)
    test += ranked[:test_count]
    training += ranked[test_count:][: classifier.training_documents // 2]
  return (
    sorted(training, key=lambda e: e.order),
    sorted(test, key=lambda e: e.order),
  )


def train(training: Sequence[Example], classifier: Classifier) -> Any:
  """Trains fastText. One thread: with more, the result depends on their timing.

  Raises:
    errors.UserError: a label has no example, or the table is too small.
  """
  if classifier.bucket * classifier.dim * 4 < SMALLEST_TABLE:
    raise errors.UserError(
      f'bucket = {classifier.bucket} and dim = {classifier.dim} make a table '
      f'of less than {SMALLEST_TABLE:,} bytes, which fastText leaves partly '
      'uninitialised. Make the product of the two at least '
      f'{SMALLEST_TABLE // 4:,}.'
    )
  for label in LABELS:
    if not any(e.label == label for e in training):
      raise errors.UserError(
        f'No document is labelled {label!r}: the classifier has nothing to '
        'learn from. Label a source that has training documents.'
      )
  with tempfile.NamedTemporaryFile('w', suffix='.txt') as file:
    file.writelines(f'__label__{e.label} {e.text}\n' for e in training)
    file.flush()
    return fasttext.train_supervised(
      file.name,
      dim=classifier.dim,
      lr=classifier.lr,
      wordNgrams=classifier.word_ngrams,
      minCount=classifier.min_count,
      epoch=classifier.epoch,
      bucket=classifier.bucket,
      loss='softmax',
      thread=1,
      seed=1,
      verbose=0,
    )


def load(path: pathlib.Path) -> Any:
  """Loads a model that `train` made and `save_model` wrote."""
  return fasttext.FastText._FastText(str(path))


def score(model: Any, line: str) -> float:
  """The probability that a line (`one_line`) is 'agent': 0.0 to 1.0."""
  labels, probabilities = model.predict(line, k=len(LABELS))
  found = dict(zip(labels, probabilities, strict=True))
  return min(float(found.get('__label__agent', 0.0)), 1.0)


def measure(model: Any, test: Sequence[Example]) -> dict[str, float | int]:
  """Table 6 of the paper on the test examples: 'agent' is the positive class.

  Returns:
    {'accuracy': 0.98, 'f1': 0.98, 'precision': 0.97, 'recall': 0.99,
     'documents': 2000}; a ratio without cases is 0.0.
  """
  outcomes = [(e.label == 'agent', score(model, e.text) >= 0.5) for e in test]
  true_positives = outcomes.count((True, True))
  wrong = outcomes.count((True, False)) + outcomes.count((False, True))
  precision = _ratio(true_positives, sum(said for _, said in outcomes))
  recall = _ratio(true_positives, sum(truth for truth, _ in outcomes))
  return {
    'accuracy': _ratio(len(outcomes) - wrong, len(outcomes)),
    'f1': _ratio(2 * true_positives, 2 * true_positives + wrong),
    'precision': precision,
    'recall': recall,
    'documents': len(outcomes),
  }


def bin_of(document_score: float) -> int:
  """The bin that a score is counted in: 0 to BINS."""
  return round(document_score * BINS)


def threshold(characters_of_bin: Mapping[int, int], keep_share: float) -> int:
  """The lowest bin that is kept, so that `keep_share` of the text stays.

  >>> threshold({9000: 50, 5000: 30, 100: 20}, 0.5)
  9000
  >>> threshold({9000: 50, 5000: 30, 100: 20}, 0.6)
  5000
  """
  wanted = keep_share * sum(characters_of_bin.values())
  kept = 0
  for score_bin in sorted(characters_of_bin, reverse=True):
    if kept >= wanted:
      break
    kept += characters_of_bin[score_bin]
    lowest = score_bin
  return lowest if kept else BINS + 1


def _ratio(part: int, whole: int) -> float:
  return part / whole if whole else 0.0
