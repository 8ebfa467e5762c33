"""The learned filter (paper, section 4.3): is a text about tools, or general?

A fastText classifier with the paper's settings learns from documents whose
label is known: by the source that they come from, or one by one, from a file
that a model or a person wrote. It is measured on documents that it never saw
(Table 6), and ranks the sources that nobody labelled; the best-scoring share of
their text is kept.

The labels of sources make an easy task: an API reference and a novel differ in
more than what the filter is for. `benchmarks/filter_quality.py` measures it on
hard negatives, with whole packages held out: F1 is 0.94 over all (the paper's
0.872 is on the labels of a model), and 0.75 where guides, release notes and
code stand against reference pages and docstrings of the same unseen packages.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import fasttext

from hephaestus_jax import errors
from hephaestus_jax.corpus import document

LABELS = ('agent', 'general')
HELD_OUT_BY = ('document', 'group')
# Scores are counted in bins of this width, so that the threshold of a corpus of
# any size takes a table of 10,001 rows.
BINS = 10_000
# fastText trains here. With one thread it fills a tenth of its table and leaves
# the rest as malloc gave it; the values of a busy heap, NaN among them, would
# decide what the model learns. In a process of its own the heap is ours to
# choose: the C library's, which this setting makes hand out zeros.
_TRAINING = """
import json, sys, fasttext
arguments, model = sys.argv[1:]
fasttext.train_supervised(**json.loads(arguments)).save_model(model)
"""
_ZEROED = {'MALLOC_PERTURB_': '255', 'LD_PRELOAD': ''}
_LABELLED = ('id', 'text', 'label')


@dataclasses.dataclass(frozen=True)
class Classifier:
  """What to learn from, what to filter, and how much to keep.

  Attributes:
    labels: source name -> 'agent' or 'general'.
    labels_file: more to learn from: {"id", "text", "label"} a line. None: no
      such file.
    held_out_by: what the test documents share with no training document: their
      'group' (a service, a package, a book), or only the 'document' itself.
    filtered: names of the sources that the filter is applied to.
    keep_share: the share of the filtered sources' text that is kept, the
      highest-scoring documents first. The paper keeps about 40 % of the tokens.
    vocabulary: whose tokens the text is counted in, as `tokenizer.load` names
      it. None counts characters: the share is that of a budget of tokens, but a
      run that trains its vocabulary on this corpus has none yet, and on the
      demo the two differ by less than a hundredth of the text.
    training_documents: at most so many are learned from, equally many of each
      label as far as there are.
    test_documents: at most so many others are measured on.
    characters: only the beginning of a text is looked at.
    dim, lr, word_ngrams, min_count, epoch: fastText's, with the paper's values.
    bucket: rows of the n-gram table, 4 * dim bytes each. fastText's default of
      two million makes a model of 2 GB.
  """

  labels: Mapping[str, str]
  labels_file: str | None = None
  held_out_by: str = 'document'
  filtered: Sequence[str] = ()
  keep_share: float = 0.4
  vocabulary: str | None = None
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
  id: str

  @property
  def group(self) -> str:
    """As Document.group; an id of another form is a group of its own."""
    parts = self.id.split('/', 2)
    return parts[1] if len(parts) == 3 else self.id


def example(
  labelled: document.Document, classifier: Classifier
) -> Example | None:
  """A document of a labelled source as an Example; None for other sources."""
  label = classifier.labels.get(labelled.source)
  if label is None:
    return None
  return example_of(labelled.id, label, labelled.text, classifier)


def example_of(
  identity: str, label: str, text: str, classifier: Classifier
) -> Example:
  """A labelled text as an Example."""
  order = hashlib.sha256(identity.encode()).hexdigest()
  return Example(order, label, one_line(text, classifier.characters), identity)


def read_labels(classifier: Classifier) -> list[Example]:
  """The Examples of `labels_file`; none where there is no such file.

  {"id": "web/example.com/17", "text": "Call GET /users ...", "label": "agent"}
  is the Example of the group 'example.com'.

  Raises:
    errors.UserError: the file is missing, or a line is no such object.
  """
  if classifier.labels_file is None:
    return []
  path = pathlib.Path(classifier.labels_file)
  if not path.is_file():
    raise errors.UserError(
      f'labels_file {path} does not exist. Name a file of labelled documents, '
      'or None.'
    )
  examples = []
  with path.open(encoding='utf-8', newline='\n') as lines:
    for number, line in enumerate(lines, start=1):
      try:
        record = json.loads(line)
        identity, text, label = (record[key] for key in _LABELLED)
      except (ValueError, KeyError, TypeError, RecursionError):
        record = identity = text = label = None
      if not isinstance(identity, str) or not isinstance(text, str):
        raise errors.UserError(
          f'{path}, line {number}, is not {{"id": ..., "text": ..., "label": '
          '...}}: mend it, or take it out.'
        )
      if label not in LABELS:
        raise errors.UserError(
          f'{path}, line {number}, has the label {label!r}; '
          f'the labels are {LABELS}.'
        )
      examples.append(example_of(identity, label, text, classifier))
  return examples


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

  Ordered by hash: which documents are drawn depends on their ids alone, and
  which groups are held out on their names.
  """
  everything = list(examples)
  training: list[Example] = []
  test: list[Example] = []
  wanted = classifier.test_documents + classifier.training_documents
  for label in LABELS:
    ranked = sorted(
      (e for e in everything if e.label == label), key=lambda e: e.order
    )
    if classifier.held_out_by == 'group':
      share = classifier.test_documents / wanted
      held = [e for e in ranked if _fraction(e.group) < share]
      others = [e for e in ranked if _fraction(e.group) >= share]
      test += held[: classifier.test_documents // 2]
    else:
      test_count = min(classifier.test_documents // 2, len(ranked) // 5)
      test += ranked[:test_count]
      others = ranked[test_count:]
    training += others[: classifier.training_documents // 2]
  return (
    sorted(training, key=lambda e: e.order),
    sorted(test, key=lambda e: e.order),
  )


def _fraction(group: str) -> float:
  """A number from 0 to 1 that only depends on the group's name."""
  head = hashlib.sha256(f'classifier:{group}'.encode()).digest()[:8]
  return int.from_bytes(head) / 2**64


def train(training: Sequence[Example], classifier: Classifier) -> Any:
  """Trains fastText. One thread: with more, the result depends on their timing.

  Raises:
    errors.UserError: a label has no example, what `held_out_by` asks for is
      unknown, or fastText says that it can't learn with these settings.
  """
  if classifier.held_out_by not in HELD_OUT_BY:
    raise errors.UserError(
      f'held_out_by = {classifier.held_out_by!r}; it can be {HELD_OUT_BY}.'
    )
  for label in LABELS:
    if not any(e.label == label for e in training):
      raise errors.UserError(
        f'No document is labelled {label!r}: the classifier has nothing to '
        'learn from. Label a source that has training documents.'
      )
  settings = {
    'dim': classifier.dim,
    'lr': classifier.lr,
    'wordNgrams': classifier.word_ngrams,
    'minCount': classifier.min_count,
    'epoch': classifier.epoch,
    'bucket': classifier.bucket,
  }
  with tempfile.TemporaryDirectory() as folder:
    examples = pathlib.Path(folder, 'examples.txt')
    model = pathlib.Path(folder, 'model.bin')
    with examples.open('w', encoding='utf-8') as file:
      file.writelines(f'__label__{e.label} {e.text}\n' for e in training)
    fixed = {'loss': 'softmax', 'thread': 1, 'seed': 1, 'verbose': 0}
    arguments = json.dumps({'input': str(examples), **settings, **fixed})
    trained = subprocess.run(
      [sys.executable, '-c', _TRAINING, arguments, str(model)],
      env={**os.environ, **_ZEROED},
      stderr=subprocess.PIPE,
      text=True,
      check=False,
    )
    if trained.returncode:
      said = trained.stderr.strip().splitlines()
      raise errors.UserError(
        f'fastText failed on {len(training)} examples with {settings}: '
        f'{said[-1] if said else f"exit code {trained.returncode}"} Change '
        'these settings of Classifier; a lower lr if it met NaN.'
      )
    return load(model)


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


def threshold(size_of_bin: Mapping[int, int], keep_share: float) -> int:
  """The lowest bin that is kept, so that `keep_share` of the text stays.

  Args:
    size_of_bin: bin -> characters or tokens of the documents in it.
    keep_share: 0.0 to 1.0.

  >>> threshold({9000: 50, 5000: 30, 100: 20}, 0.5)
  9000
  >>> threshold({9000: 50, 5000: 30, 100: 20}, 0.6)
  5000
  """
  wanted = keep_share * sum(size_of_bin.values())
  kept = 0
  for score_bin in sorted(size_of_bin, reverse=True):
    if kept >= wanted:
      break
    kept += size_of_bin[score_bin]
    lowest = score_bin
  return lowest if kept else BINS + 1


def _ratio(part: int, whole: int) -> float:
  return part / whole if whole else 0.0
