"""Keeps what a benchmark asks out of the training text.

A document goes when it shares a run of 13 words, in lower case and without
punctuation, with a benchmark string (the rule of GPT-3 and its successors; the
paper, section 4.3, says 'string matching' and gives no length). A benchmark
string of 8 to 12 words has to occur whole; shorter ones occur by chance, are
not looked for, and are counted. So are runs that a tenth of a benchmark's
records share: they are its form, not its questions.

Axes: W words and N runs of words of a text, G runs of the benchmarks.
"""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from hephaestus_jax.corpus import document, splits
from hephaestus_jax.corpus.filters import shingles

# What counts of a published held-out split (group splits.PUBLISHED).
PUBLISHED_ROLES = ('user', 'thought', 'action', 'answer', 'code')
# The benchmark that is made of the corpus' own held-out instructions.
HELDOUT = 'heldout_requests'
HELDOUT_ROLES = ('user', 'action')
FORM_RECORDS = 10
TABLE_BITS = 24  # 16 MB: with 700,000 starts, 1 run in 24 passes it


@dataclasses.dataclass(frozen=True)
class Decontaminate:
  """What counts as an overlap, and which benchmark files are looked at.

  Attributes:
    ngram: words per run.
    min_words: benchmark strings shorter than this are not looked for.
    form: a run that more than this share of a benchmark's records repeat, and
      more than FORM_RECORDS of them, is no question but the form that all are
      put in ('You are in a household. Your task is to ...').
    package: the distribution, in the benchmark requirements, that holds files.
    files: patterns of archive members with a JSON object a line.
    fields: the keys of those objects whose text must not be trained on.
    folder: the user's own benchmark files (see benchmarks.py); None: none.
    required: names of benchmarks that must be in that folder.
  """

  ngram: int = 13
  min_words: int = 8
  form: float = 0.1
  package: str = 'bfcl-eval'
  files: Sequence[str] = (
    # [!f]: BFCL_v4_format_sensitivity.json is a list of the others' ids.
    'bfcl_eval/data/BFCL_v4_[!f]*.json',
    'bfcl_eval/data/possible_answer/BFCL_v4_*.json',
  )
  fields: Sequence[str] = ('question', 'ground_truth')
  folder: str | None = None
  required: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Benchmark:
  """What no training document may repeat.

  Attributes:
    name: what accounts and reasons of drops call it.
    records: the strings of each of its questions.
  """

  name: str
  records: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True)
class Hit:
  """A run of words that a document shares with a benchmark."""

  benchmark: str
  ngram: str


class Index:
  """Looks benchmark n-grams up in documents.

  Attributes:
    counts: {benchmark: {'strings': 3, 'ngrams': 50, 'short_strings': 1,
      'form_ngrams': 0}}.
  """

  def __init__(
    self, benchmarks: Sequence[Benchmark], rule: Decontaminate
  ) -> None:
    """Hashes the n-grams of all benchmarks."""
    self.counts: dict[str, dict[str, int]] = {}
    self._names = tuple(benchmark.name for benchmark in benchmarks)
    self._min_words = rule.min_words
    found: dict[int, list[tuple[int, int]]] = {}
    starts: set[int] = set()
    for number, benchmark in enumerate(benchmarks):
      ngrams, self.counts[benchmark.name] = _ngrams(benchmark, rule)
      for n, value, start in ngrams:
        found.setdefault(n, []).append((value, number))
        starts.add(start)
    # Every n-gram begins with one of these runs of `min_words` words: a text
    # without them, as nearly all are, needs no further look.
    self._starts_G = np.array(sorted(starts), np.uint64)
    # Per length: the sorted hashes and whose each is. Two benchmarks can ask
    # the same, and then both are told.
    self._ngrams = {
      n: (
        np.array([value for value, _ in sorted(pairs)], np.uint64),
        [number for _, number in sorted(pairs)],
      )
      for n, pairs in sorted(found.items())
    }
    self._table = _table(self._starts_G)

  def __getstate__(self) -> dict[str, Any]:
    return {**self.__dict__, '_table': None}

  def __setstate__(self, state: dict[str, Any]) -> None:
    self.__dict__.update(state)
    self._table = _table(self._starts_G)

  def hits(self, text: str) -> list[Hit]:
    """The benchmarks that a text overlaps with, each with its first n-gram."""
    text_words = _words(text)
    hashes_W = shingles.word_hashes(text_words)
    places = self._places(hashes_W)
    found: dict[str, Hit] = {}
    for n, (values_G, owners) in self._ngrams.items() if len(places) else ():
      hashes_N = shingles.ngram_hashes(hashes_W, n)
      places = places[places < len(hashes_N)]
      first = np.searchsorted(values_G, hashes_N[places], 'left')
      end = np.searchsorted(values_G, hashes_N[places], 'right')
      for i in np.flatnonzero(end > first).tolist():
        place = int(places[i])
        ngram = ' '.join(text_words[place : place + n])
        for number in owners[first[i] : end[i]]:
          name = self._names[number]
          found.setdefault(name, Hit(name, ngram))
    return [found[name] for name in sorted(found)]

  def _places(self, hashes_W: np.ndarray) -> np.ndarray:
    """Where in a text a run of words begins as some n-gram does."""
    hashes_N = shingles.ngram_hashes(hashes_W, self._min_words)
    places = np.flatnonzero(self._table[_slots(hashes_N)])
    if not len(places):
      return places
    near = np.searchsorted(self._starts_G, hashes_N[places])
    near = np.minimum(near, len(self._starts_G) - 1)
    return places[self._starts_G[near] == hashes_N[places]]


def _ngrams(
  benchmark: Benchmark, rule: Decontaminate
) -> tuple[list[tuple[int, int, int]], dict[str, int]]:
  """(length, hash, hash of its start) of what to look for, and the counts."""
  records = sorted(set(benchmark.records))
  distinct: set[str] = set()
  short: set[str] = set()
  shared: collections.Counter[tuple[int, int, int]] = collections.Counter()
  for record in records:
    ngrams: set[tuple[int, int, int]] = set()
    for string in record:
      string_words = _words(string)
      n = min(len(string_words), rule.ngram)
      distinct.add(string)
      if n < rule.min_words:
        short.add(string)
        continue
      hashes_W = shingles.word_hashes(string_words)
      values = shingles.ngram_hashes(hashes_W, n).tolist()
      starts = shingles.ngram_hashes(hashes_W, rule.min_words).tolist()
      ngrams.update(
        (n, value, starts[place])
        for place, value in enumerate(values)
        # Numbers alone (13 14 15 ...) say nothing about where they are from.
        if not ''.join(string_words[place : place + n]).isdecimal()
      )
    shared.update(ngrams)
  most = max(FORM_RECORDS, rule.form * len(records))
  kept = [ngram for ngram, count in shared.items() if count <= most]
  return kept, {
    'strings': len(distinct),
    'short_strings': len(short),
    'ngrams': len(kept),
    'form_ngrams': len(shared) - len(kept),
  }


def _words(text: str) -> list[str]:
  """The words of a text, the same in small and in capital letters.

  >>> _words('100\N{MICRO SIGN}F') == _words('100\N{MICRO SIGN}F'.upper())
  True
  """
  return shingles.words(text.casefold())


def _slots(hashes_N: np.ndarray) -> np.ndarray:
  return hashes_N >> np.uint64(64 - TABLE_BITS)


def _table(hashes_G: np.ndarray) -> np.ndarray:
  """A table that says of most hashes at once that they aren't in `hashes_G`."""
  table = np.zeros(1 << TABLE_BITS, bool)
  table[_slots(hashes_G)] = True
  return table


def heldout_record(
  tested: document.Document,
) -> tuple[str, tuple[str, ...]] | None:
  """(benchmark, what a held-out document asks and what it answers), or None.

  Of a published held-out split all kinds count, of our own the instructions,
  which are what is evaluated. Not the documentation and the system's message:
  the tools on offer are for all. Not what an environment said: it says the
  same to everyone who opens the same drawer.
  """
  if tested.group == splits.PUBLISHED:
    name = f'{tested.source}/{splits.PUBLISHED}'
    roles: tuple[str, ...] = PUBLISHED_ROLES
  elif tested.kind == 'instruction':
    name, roles = HELDOUT, HELDOUT_ROLES
  else:
    return None
  said = tuple(s.text for s in tested.segments if s.role in roles)
  # A test set of plain texts is its texts.
  return name, said or (tested.text,)
