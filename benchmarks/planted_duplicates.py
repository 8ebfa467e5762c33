"""Recall and false merges of duplicates planted among 100,000 documents.

    .venv/bin/python benchmarks/planted_duplicates.py

A few of the 30,000 words are frequent and most are rare, so strangers share
words, and whole passages like real pages: every tenth document has a notice of
25 words that a thousand others have. Planted are exact copies (in other case,
with other space), copies with a passage of a tenth of the words rewritten, and
copies with words rewritten here and there. A pair's true Jaccard similarity is
counted from its runs of five words, and recall is told by it.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

import measured
import numpy as np
import pyarrow as pa

from hephaestus_jax.corpus import document, facts
from hephaestus_jax.corpus.filters import deduplicate, shingles

VOCABULARY = 30_000
NOTICES = 10  # passages that many documents share
Words = np.ndarray


def drawn(draw: np.random.Generator, count: int) -> Words:
  """Words, the first ones often."""
  ranks = draw.random(count) ** 3 * VOCABULARY
  return ranks.astype(np.int64)


def passage_rewritten(words: Words, draw: np.random.Generator) -> Words:
  """A tenth of the words, in one place."""
  length = len(words) // 10
  start = int(draw.integers(0, len(words) - length))
  edited = words.copy()
  edited[start : start + length] = drawn(draw, length)
  return edited


def words_rewritten(share: float) -> Callable[..., Words]:
  """A share of the words, here and there."""

  def rewrite(words: Words, draw: np.random.Generator) -> Words:
    edited = words.copy()
    places = draw.random(len(words)) < share
    edited[places] = drawn(draw, int(places.sum()))
    return edited

  return rewrite


KINDS: dict[str, Callable[..., Words]] = {
  'exact copy': lambda words, _: words,
  'passage of 10 % rewritten': passage_rewritten,
  '1 word of 100 rewritten': words_rewritten(0.01),
  '2 words of 100 rewritten': words_rewritten(0.02),
  '10 words of 100 rewritten': words_rewritten(0.1),
}


def jaccard(one: Words, other: Words) -> float:
  """Of the sets of runs of five words."""
  runs = [
    np.unique(shingles.ngram_hashes(words.astype(np.uint64), 5))
    for words in (one, other)
  ]
  shared = len(np.intersect1d(runs[0], runs[1], assume_unique=True))
  return shared / (len(runs[0]) + len(runs[1]) - shared)


def written(words: Words, spelling: Sequence[str]) -> str:
  """The words as text."""
  return ' '.join([spelling[word] for word in words.tolist()])


def plant(
  documents: int, pairs: int, seed: int
) -> tuple[dict[str, Words], dict[str, str]]:
  """Documents by name, and what kind of copy some of them are."""
  draw = np.random.default_rng(seed)
  notices = [drawn(draw, 25) for _ in range(NOTICES)]
  found: dict[str, Words] = {}
  kinds: dict[str, str] = {}
  for number in range(documents - pairs * len(KINDS)):
    words = drawn(draw, int(draw.integers(60, 400)))
    if number % 10 == 0:
      words = np.concatenate([words, notices[int(draw.integers(NOTICES))]])
    found[f'o{number}'] = words
  number = 0
  for kind, edit in KINDS.items():
    for _ in range(pairs):
      name = f'c{number}'
      found[name] = edit(found[f'o{number}'], draw)
      kinds[name] = kind
      number += 1
  return found, kinds


def facts_of(
  texts: dict[str, Words],
  kinds: dict[str, str],
  near: deduplicate.NearDuplicates,
) -> tuple[facts.Facts, float]:
  """The facts of all documents, and how many megabytes they have."""
  spelling = [f'{number:x}w' for number in range(VOCABULARY)]
  characters, rows = 0, []
  for name, words in texts.items():
    text = written(words, spelling)
    if kinds.get(name) == 'exact copy':
      text = text.upper().replace(' ', ' \n')
    source = 'first' if name[0] == 'o' else 'second'
    segments = (document.Segment('text', text),)
    planted = document.Document(
      f'{source}/g/{name}', source, 'text', 'MIT', '', segments
    )
    characters += len(text)
    rows.append(deduplicate.fact(planted, 'train', near))
  schema = facts.schema(near.bands * near.rows)
  return facts.gather(pa.Table.from_pylist(rows, schema)), characters / 1e6


def merges(
  known: facts.Facts, near: deduplicate.NearDuplicates
) -> list[tuple[str, str]]:
  """Which documents go, and for which: names."""
  every = np.arange(len(known))
  exact = deduplicate.exact_duplicates(known, every, ['first', 'second'])
  left = np.setdiff1d(every, exact.losers_M)
  similar = deduplicate.near_duplicates(known, left, near)

  def name(row: int) -> str:
    return known.id(row).rpartition('/')[2]

  return [
    (name(loser), name(found.winner(loser)))
    for found in (exact, similar)
    for loser in found.losers_M.tolist()
  ]


def judge(
  texts: dict[str, Words],
  kinds: dict[str, str],
  merged: Sequence[tuple[str, str]],
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
  """Recall by kind and by similarity; and how many merges are false."""
  found = {frozenset(pair) for pair in merged}
  pairs = {frozenset((f'o{name[1:]}', name)): name for name in kinds}
  similarity = {
    pair: jaccard(texts[name], texts[f'o{name[1:]}'])
    for pair, name in pairs.items()
  }
  groups = {
    kind: [p for p, name in pairs.items() if kinds[name] == kind]
    for kind in KINDS
  }
  edges = (0, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 1.01)
  for low, high in zip(edges, edges[1:], strict=False):
    groups[f'Jaccard {low} to {min(high, 1)}'] = [
      p for p, value in similarity.items() if low <= value < high
    ]
  groups['Jaccard 0.8 and more'] = [p for p in pairs if similarity[p] >= 0.8]
  recalls = [
    {
      'pairs': name,
      'count': len(group),
      'mean_jaccard': round(float(np.mean([similarity[p] for p in group])), 3),
      'recall': round(sum(p in found for p in group) / len(group), 4),
    }
    for name, group in groups.items()
    if group
  ]
  strangers = [pair for pair in found if pair not in pairs]
  unlike = [p for p in found if p in pairs and similarity[p] < 0.5]
  return recalls, {
    'documents': len(texts),
    'merged': len(found),
    'of_strangers': len(strangers),
    'of_pairs_below_0.5': len(unlike),
    'false_merges': round((len(strangers) + len(unlike)) / len(found), 6),
  }


def main() -> None:
  """The command line."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--documents', type=int, default=100_000)
  parser.add_argument('--pairs', type=int, default=4_000, help='of each kind')
  parser.add_argument('--seed', type=int, default=0)
  options = parser.parse_args()
  near = deduplicate.NearDuplicates()
  texts, kinds = plant(options.documents, options.pairs, options.seed)
  with measured.measured() as sketching:
    known, size = facts_of(texts, kinds, near)
  measured.tell('sketch, one process', sketching, size)
  with measured.measured() as searching:
    merged = merges(known, near)
  measured.tell('find duplicates', searching, size)
  recalls, false = judge(texts, kinds, merged)
  for record in (*recalls, false):
    print(json.dumps(record))


if __name__ == '__main__':
  main()
