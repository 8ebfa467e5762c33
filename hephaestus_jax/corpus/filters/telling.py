"""What a person needs to judge the learned filter: words, mistakes, the edge.

The paper found by its n-grams that names of apps and devices pull general text
over the line (section 4.3 and appendix F.1). Here: which n-grams tell the
labels apart on documents that the classifier never saw, and what it says of
each alone; the documents that it is most wrong about; and those that are
nearest the threshold.
"""

import collections
import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hephaestus_jax.corpus.filters import classify

LONGEST = 3  # words of an n-gram, as in the paper's classifier
SHOWN = 200  # characters of a document


def account(model: Any, test: Sequence[classify.Example]) -> dict[str, Any]:
  """What classifier.json says of the test documents, beside the measures.

  Returns:
    {'ngrams': see `ngrams`, 'mistakes': see `mistakes`}.
  """
  return {'ngrams': ngrams(model, test), 'mistakes': mistakes(model, test)}


def ngrams(
  model: Any, test: Sequence[classify.Example], count: int = 20
) -> dict[str, list[dict[str, Any]]]:
  """The n-grams of one to three words that tell the labels apart.

  An n-gram's weight is the log of the odds that a document of the label has it
  to those that one of the other label has it, of which chance may account for
  1.96 standard errors (after Monroe et al. 2008, half a document added to each
  count): a rare n-gram needs a large difference. Of two that contain each other
  the first stays.

  Args:
    model: a trained classifier.
    test: documents that it has not seen.
    count: how many per label.

  Returns:
    {'agent': [{'ngram': 'aws cli', 'agent': 112, 'general': 3, 'weight': 9.1,
    'score': 0.99}, ...], 'general': [...]}: in how many documents of each label
    it is, its weight, and the score of the n-gram as a text of its own.
  """
  documents: dict[str, collections.Counter[str]] = {}
  for label in classify.LABELS:
    documents[label] = collections.Counter()
    for e in test:
      if e.label == label:
        documents[label].update(_ngrams(e.text))
  totals = {
    label: sum(e.label == label for e in test) for label in classify.LABELS
  }
  found = {}
  for label, other in zip(classify.LABELS, classify.LABELS[::-1], strict=True):
    weights = {
      ngram: _weight(
        *(n, totals[label], documents[other][ngram], totals[other])
      )
      for ngram, n in documents[label].items()
    }
    found[label] = [
      {
        'ngram': ngram,
        **{name: documents[name][ngram] for name in classify.LABELS},
        'weight': round(weights[ngram], 2),
        'score': round(classify.score(model, ngram), 4),
      }
      for ngram in _most(weights, count)
    ]
  return found


def _ngrams(line: str) -> set[str]:
  """The n-grams of a line's words, as fastText splits it: at white space."""
  words = line.split()
  return {
    ' '.join(words[i : i + n])
    for n in range(1, LONGEST + 1)
    for i in range(len(words) - n + 1)
  }


def _weight(here: int, all_here: int, there: int, all_there: int) -> float:
  """The log of the odds' ratio without what chance accounts for.

  >>> round(_weight(50, 100, 5, 100), 2)
  1.91
  """
  counts = (here, all_here - here, there, all_there - there)
  a, b, c, d = (n + 0.5 for n in counts)
  error = math.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
  return math.log(a * d / (b * c)) - 1.96 * error


def _most(weights: Mapping[str, float], count: int) -> list[str]:
  """The n-grams of the largest weights, none a part of another."""
  chosen: list[str] = []
  # Of equal ones the shortest comes first.
  for ngram in sorted(weights, key=lambda n: (-weights[n], len(n.split()), n)):
    if len(chosen) == count or weights[ngram] <= 0:
      break
    if not any(_within(ngram, c) or _within(c, ngram) for c in chosen):
      chosen.append(ngram)
  return chosen


def _within(part: str, whole: str) -> bool:
  return f' {part} ' in f' {whole} '


def mistakes(
  model: Any, test: Sequence[classify.Example], count: int = 10
) -> list[dict[str, Any]]:
  """The test documents that the classifier is most wrong about.

  Returns:
    [{'id': 'web/example.com/3', 'label': 'general', 'score': 0.98,
    'text': its beginning}, ...], at most `count` of each label, the most wrong
    first.
  """
  found = []
  for label in classify.LABELS:
    wrong = []
    for e in test:
      if e.label != label:
        continue
      score = classify.score(model, e.text)
      if (score >= 0.5) != (label == 'agent'):
        wrong.append((-abs(score - 0.5), e.id, score, e.text))
    found += [
      {
        'id': identity,
        'label': label,
        'score': round(score, 4),
        'text': text[:SHOWN],
      }
      for _, identity, score, text in heapq.nsmallest(count, wrong)
    ]
  return found


def nearest(
  scores: Iterable[Mapping[str, Any]], lowest: int, count: int = 20
) -> list[Mapping[str, Any]]:
  """The scored documents nearest the threshold, from the best to the worst.

  >>> nearest([{'id': 'a', 'bin': 9}, {'id': 'b', 'bin': 4},
  ...          {'id': 'c', 'bin': 5}], 5, 2)
  [{'id': 'c', 'bin': 5}, {'id': 'b', 'bin': 4}]

  Args:
    scores: any number of {'id', 'bin', ...}.
    lowest: the lowest bin that is kept.
    count: how many at most.
  """
  near = heapq.nsmallest(
    # The threshold lies between two bins.
    *(count, scores, lambda s: (abs(2 * (s['bin'] - lowest) + 1), s['id']))
  )
  return sorted(near, key=lambda s: (-s['bin'], s['id']))
