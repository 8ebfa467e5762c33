"""Finds exact and near duplicates from a few hundred bytes per document.

Exact: the SHA-256 of the text without case and space. Near: MinHash over runs
of five words (Broder, 1997), one byte kept of each of the hash values (b-bit
MinHash, Li and Koenig, 2010). Documents whose sketches agree in a band of
neighbouring bytes are compared, and count as the same when the share of equal
bytes says that their Jaccard similarity reaches the threshold.

Documents are visited from the best to the worst: held-out ones first, so that a
benchmark never loses an example to the training data; then train before
validation, because one validation document can stand for hundreds of training
documents that follow the same template; then those of the preferred licences;
then the longer. A document goes only if one that stays is its duplicate; a
chain of ever less similar pages doesn't collapse into one, as it would in a
union of all pairs.

Documents of different kinds are compared only with held-out ones: a manual page
and a session that tell the same example teach different things, but neither
may tell what a benchmark asks.

The search runs in one process over the columns of facts.py, on disk, and takes
about 250 bytes of memory per document beside them. Axes: D documents that are
compared, M duplicates or candidates, P permutations, R rows of a band.
"""

import dataclasses
import functools
import hashlib
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import rensa

from hephaestus_jax.corpus import document, facts
from hephaestus_jax.corpus.filters import shingles

# From the one whose documents always stay to the one whose never do.
SPLITS = ('heldout', 'train', 'validation')
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio, odd


@dataclasses.dataclass(frozen=True, eq=False)
class Duplicates:
  """Rows of Facts that go, in order, and the one that each is a copy of."""

  losers_M: np.ndarray
  winners_M: np.ndarray

  def winner(self, loser: int) -> int:
    """The row that stays in place of one that goes."""
    return int(self.winners_M[np.searchsorted(self.losers_M, loser)])


@dataclasses.dataclass(frozen=True)
class NearDuplicates:
  """How similar is too similar.

  An estimate from 140 permutations is off by 0.034 (one standard deviation at
  0.8). With a threshold of 0.7, of pairs with a Jaccard similarity of 0.8 to
  0.85 99.7 % are found, of 0.7 to 0.8 95 %, of 0.6 to 0.7 14 %, below none
  (benchmarks/planted_duplicates.py). A threshold of 0.9 needs no more than 16
  bands of 8.

  Attributes:
    shingle: words per shingle.
    bands: how many bands a sketch has.
    rows: permutations per band.
    threshold: estimated Jaccard similarity from which two documents count as
      the same.
    seed: of the permutations.
  """

  shingle: int = 5
  bands: int = 20
  rows: int = 7
  threshold: float = 0.7
  seed: int = 1


def fact(
  printed: document.Document, split: str, near: NearDuplicates
) -> dict[str, Any]:
  """The row of `facts.schema` of a document that belongs to `split`."""
  text = printed.own_text
  sketched = sketch(text, near)
  return {
    'id': printed.id,
    'source': printed.source,
    'kind': printed.kind,
    'licence': printed.licence,
    'split': split,
    'characters': len(printed.text),
    'digest': digest(text),
    'words': bool(sketched),
    'sketch': sketched or bytes(near.bands * near.rows),
  }


def digest(text: str) -> bytes:
  """Sixteen bytes that texts share if only case and space tell them apart.

  >>> digest('To be,\\n or not') == digest('to be, or NOT')
  True
  """
  plain = ''.join(text.casefold().split())
  return hashlib.sha256(plain.encode()).digest()[:16]


def sketch(text: str, near: NearDuplicates) -> bytes:
  """The low byte of each MinHash value; b'' if the text has no words."""
  hashes_W = shingles.word_hashes(shingles.words(text))
  if not len(hashes_W):
    return b''
  shingles_N = shingles.ngram_hashes(hashes_W, min(near.shingle, len(hashes_W)))
  rows = rensa.RMinHash.digest_matrix_from_flat_token_hashes(
    shingles_N,
    np.array([0, len(shingles_N)], np.uint64),
    near.bands * near.rows,
    near.seed,
  ).to_rows()
  return (np.array(rows[0], np.uint32) & 0xFF).astype(np.uint8).tobytes()


def similarity(one_P: np.ndarray, others_MP: np.ndarray) -> np.ndarray:
  """Estimated Jaccard similarity of a sketch with others: float64 [M].

  Unrelated bytes agree one time in 256, which is taken off.
  """
  equal_M = (others_MP == one_P).mean(axis=1)
  return np.maximum(equal_M - 1 / 256, 0) / (1 - 1 / 256)


def exact_duplicates(
  known: facts.Facts,
  rows_D: np.ndarray,
  sources: Sequence[str],
  licences: Sequence[str] = (),
) -> Duplicates:
  """The copies among some rows, each with the row that stays.

  Of equal documents stays the one of the first split in SPLITS, then of the
  earliest of `licences` (`licence_ranks`), then of the earliest of `sources`,
  then the one with the smallest id.

  Args:
    known: the columns.
    rows_D: the rows that are compared.
    sources: names of sources, the preferred ones first.
    licences: SPDX identifiers, the preferred ones first; () has no preference.
  """
  place = {source: i for i, source in enumerate(sources)}
  digests_D = known['digest'][rows_D]
  keys = (
    rows_D,
    known.ranks('source', place, len(place))[rows_D],
    licence_ranks(known, licences)[rows_D],
    _split_ranks(known)[rows_D],
    digests_D[:, 1],
    digests_D[:, 0],
  )
  order_D = np.lexsort(keys)
  rows_D, digests_D = rows_D[order_D], digests_D[order_D]
  same_D = (digests_D[1:] == digests_D[:-1]).all(axis=1)
  losers, winners = array('q'), array('q')
  for start, end in _runs(same_D):
    kept: list[int] = []
    for row in rows_D[start:end].tolist():
      winner = next((other for other in kept if _beats(known, other, row)), -1)
      if winner >= 0:
        losers.append(row)
        winners.append(winner)
      else:
        kept.append(row)
  return _by_loser(losers, winners)


def near_duplicates(
  known: facts.Facts,
  rows_D: np.ndarray,
  near: NearDuplicates,
  licences: Sequence[str] = (),
) -> Duplicates:
  """The rows that nearly repeat a better one, each with that one.

  Of similar documents stays the one of the first split in SPLITS, then of the
  earliest of `licences` (`licence_ranks`), then the longest, then the one with
  the smallest id.

  Args:
    known: the columns; their sketches were made with `near`.
    rows_D: the rows that are compared.
    near: what counts as similar.
    licences: SPDX identifiers, the preferred ones first; () has no preference.
  """
  rows_D = rows_D[known['words'][rows_D]]
  keys = (
    rows_D,
    -known['characters'][rows_D],
    licence_ranks(known, licences)[rows_D],
    _split_ranks(known)[rows_D],
  )
  rows_D = rows_D[np.lexsort(keys)]
  sketches_DP = known['sketch']
  kept_D = np.ones(len(rows_D), bool)
  losers, winners = array('q'), array('q')
  buckets = _Buckets(sketches_DP, rows_D, near.rows)
  for place in buckets.shared().tolist():
    if not kept_D[place]:
      continue
    candidates = np.unique(np.concatenate(list(buckets.of(place))))
    candidates = candidates[(candidates > place) & kept_D[candidates]]
    row = int(rows_D[place])
    similarity_M = similarity(sketches_DP[row], sketches_DP[rows_D[candidates]])
    for loser in candidates[similarity_M >= near.threshold].tolist():
      if _beats(known, row, int(rows_D[loser])):
        kept_D[loser] = False
        losers.append(int(rows_D[loser]))
        winners.append(row)
  return _by_loser(losers, winners)


def licence_ranks(known: facts.Facts, licences: Sequence[str]) -> np.ndarray:
  """Each row's place in an order of SPDX identifiers: int64 [D].

  An expression ('MIT AND CC-BY-4.0') ranks as the last of its identifiers, and
  what is not in the order ranks behind all that is.
  """
  place = {licence: i for i, licence in enumerate(licences)}
  ranks = {
    expression: max(
      place.get(part, len(place)) for part in expression.split(' AND ')
    )
    for expression in known.names['licence']
  }
  return known.ranks('licence', ranks, len(place))


def _by_loser(losers: array, winners: array) -> Duplicates:
  losers_M, winners_M = np.array(losers), np.array(winners)
  order_M = np.argsort(losers_M)
  return Duplicates(losers_M[order_M], winners_M[order_M])


def _split_ranks(known: facts.Facts) -> np.ndarray:
  place = {split: i for i, split in enumerate(SPLITS)}
  return known.ranks('split', place, len(place))


def _beats(known: facts.Facts, better: int, worse: int) -> bool:
  """Whether of two that are alike, one by rank the better, the worse goes."""
  return known['kind'][better] == known['kind'][worse] or (
    known.name('split', better) == 'heldout'
    and known.name('split', worse) != 'heldout'
  )


def _runs(same_D: np.ndarray) -> Iterator[tuple[int, int]]:
  """Where (start, end) neighbours are the same: [0, 1, 1, 0] gives (1, 4)."""
  edges = np.flatnonzero(np.diff(np.concatenate([[0], same_D, [0]])))
  for start, last in zip(
    edges[::2].tolist(), edges[1::2].tolist(), strict=True
  ):
    yield start, last + 1


class _Buckets:
  """Who shares a band with whom, as flat arrays: eight bytes a document and
  band. Documents are called by their places in the ranking."""

  def __init__(
    self, sketches_DP: np.ndarray, rows_D: np.ndarray, band_rows: int
  ) -> None:
    self._members: list[np.ndarray] = []  # a band's buckets, one after another
    self._ends: list[np.ndarray] = []  # where each of them ends
    self._bucket_D: list[np.ndarray] = []  # which one a document is in, or -1
    for start in range(0, sketches_DP.shape[1], band_rows):
      keys_D = _band_keys(sketches_DP[rows_D, start : start + band_rows])
      # Stable: within a bucket, the places stay in the order of the ranking.
      order_D = np.argsort(keys_D, kind='stable').astype(np.int32)
      keys_D = keys_D[order_D]
      begins_D = np.ones(len(keys_D), bool)
      begins_D[1:] = keys_D[1:] != keys_D[:-1]
      group_D = np.cumsum(begins_D) - 1
      sizes = np.bincount(group_D)
      shared_D = sizes[group_D] > 1 if len(sizes) else begins_D
      members = order_D[shared_D]
      bucket_D = np.full(len(keys_D), -1, np.int32)
      bucket_D[members] = np.cumsum(begins_D[shared_D]) - 1
      self._members.append(members)
      self._ends.append(np.cumsum(sizes[sizes > 1]))
      self._bucket_D.append(bucket_D)

  def shared(self) -> np.ndarray:
    """The documents that share any band with another, in order."""
    if not self._bucket_D:
      return np.zeros(0, np.int64)
    most_D = functools.reduce(np.maximum, self._bucket_D)
    return np.flatnonzero(most_D >= 0)

  def of(self, place: int) -> Iterator[np.ndarray]:
    """The buckets that a document is in, itself among them."""
    for members, ends, bucket_D in zip(
      self._members, self._ends, self._bucket_D, strict=True
    ):
      bucket = bucket_D[place]
      if bucket >= 0:
        yield members[ends[bucket - 1] if bucket else 0 : ends[bucket]]


def _band_keys(bands_DR: np.ndarray) -> np.ndarray:
  """A number for each band, equal for equal bands: uint64 [D].

  Different bands that fall together, one pair in 2**64, are compared in vain.
  """
  keys_D = np.zeros(len(bands_DR), np.uint64)
  for column_D in bands_DR.T:
    keys_D = keys_D * _MULTIPLIER + column_D
  return keys_D
