"""Finds exact and near duplicates from a few hundred bytes per document.

Exact: the SHA-256 of the text without case and space. Near: MinHash over runs
of five words (Broder, 1997), one byte kept of each of the hash values (b-bit
MinHash, Li and Koenig, 2010). Documents whose sketches agree in a band of
neighbouring bytes are compared, and count as the same when the share of equal
bytes says that their Jaccard similarity reaches the threshold.

Documents are visited from the best to the worst: held-out ones first, so that a
benchmark never loses an example to the training data; then train before
validation, because one validation document can stand for hundreds of training
documents that follow the same template; then the longer. A document goes only
if one that stays is its duplicate; a chain of ever less similar pages doesn't
collapse into one, as it would in a union of all pairs.

Documents of different kinds are compared only with held-out ones: a manual page
and a session that tell the same example teach different things, but neither
may tell what a benchmark asks.

A Fingerprint takes about 300 bytes: the search runs in one process and holds
three million documents in a gigabyte.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import rensa

from hephaestus_jax.corpus import document, shingles

# From the one whose documents always stay to the one whose never do.
SPLITS = ('heldout', 'train', 'validation')


@dataclasses.dataclass(frozen=True)
class Fingerprint:
  """What comparing a document takes.

  Attributes:
    document_id: Document.id.
    source: Document.source.
    kind: Document.kind.
    split: one of SPLITS.
    characters: length of Document.text.
    digest: hex digits that exact copies share.
    sketch: one byte per permutation, or b'' for a text without words.
  """

  document_id: str
  source: str
  kind: str
  split: str
  characters: int
  digest: str
  sketch: bytes


@dataclasses.dataclass(frozen=True)
class Duplicate:
  """A document that goes, and the one that stays in its place."""

  loser: Fingerprint
  winner: Fingerprint


@dataclasses.dataclass(frozen=True)
class NearDuplicates:
  """How similar is too similar.

  With 16 bands of 8, a pair with Jaccard similarity 0.8 is compared with a
  probability of 0.95, one with 0.9 always, one with 0.5 in 6 of 100 cases.

  Attributes:
    shingle: words per shingle.
    bands: how many bands a sketch has.
    rows: permutations per band.
    threshold: estimated Jaccard similarity from which two documents count as
      the same.
    seed: of the permutations.
  """

  shingle: int = 5
  bands: int = 16
  rows: int = 8
  threshold: float = 0.8
  seed: int = 1


def fingerprint(
  printed: document.Document, split: str, near: NearDuplicates
) -> Fingerprint:
  """The Fingerprint of a document that belongs to `split`."""
  text = compared_text(printed)
  return Fingerprint(
    printed.id,
    printed.source,
    printed.kind,
    split,
    len(printed.text),
    digest(text),
    sketch(text, near),
  )


def compared_text(printed: document.Document) -> str:
  """What makes a document itself: all but its system segments.

  The tools on offer are the same in hundreds of conversations.
  """
  said = [s.text for s in printed.segments if s.role != 'system']
  return '\n\n'.join(said) or printed.text


def to_row(printed: Fingerprint) -> dict[str, str | int]:
  """A Fingerprint as plain JSON; `from_row` reads it."""
  return {**dataclasses.asdict(printed), 'sketch': printed.sketch.hex()}


def from_row(row: dict[str, Any]) -> Fingerprint:
  """The inverse of `to_row`."""
  return Fingerprint(**{**row, 'sketch': bytes.fromhex(row['sketch'])})


def digest(text: str) -> str:
  """Hex digits that texts share if only case and space tell them apart.

  >>> digest('To be,\\n or not') == digest('to be, or NOT')
  True
  """
  plain = ''.join(text.casefold().split())
  return hashlib.sha256(plain.encode()).hexdigest()[:32]


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
  fingerprints: Sequence[Fingerprint], sources: Sequence[str]
) -> list[Duplicate]:
  """The copies, each with the document that stays.

  Of equal documents stays the one of the first split in SPLITS, then of the
  earliest of `sources`, then the one with the smallest id.
  """
  place = {source: i for i, source in enumerate(sources)}

  def rank(printed: Fingerprint) -> tuple[int, int, str]:
    split = SPLITS.index(printed.split)
    return (split, place[printed.source], printed.document_id)

  kept_of: dict[str, list[Fingerprint]] = {}
  duplicates = []
  for printed in sorted(fingerprints, key=rank):
    kept = kept_of.setdefault(printed.digest, [])
    winner = next((other for other in kept if _beats(other, printed)), None)
    if winner:
      duplicates.append(Duplicate(printed, winner))
    else:
      kept.append(printed)
  return duplicates


def near_duplicates(
  fingerprints: Sequence[Fingerprint], near: NearDuplicates
) -> list[Duplicate]:
  """The documents that nearly repeat a better one, each with that one.

  Of similar documents stays the one of the first split in SPLITS, then the
  longest, then the one with the smallest id.
  """

  def rank(printed: Fingerprint) -> tuple[int, int, str]:
    split = SPLITS.index(printed.split)
    return (split, -printed.characters, printed.document_id)

  ranked = sorted((f for f in fingerprints if f.sketch), key=rank)
  if not ranked:
    return []
  sketches_DP = np.frombuffer(
    b''.join(printed.sketch for printed in ranked), np.uint8
  ).reshape(len(ranked), -1)
  kept_D = np.ones(len(ranked), bool)
  duplicates = []
  buckets_of = _buckets(sketches_DP, near.rows)
  for place in sorted(buckets_of):
    if not kept_D[place]:
      continue
    candidates = np.unique(np.concatenate(buckets_of[place]))
    candidates = candidates[(candidates > place) & kept_D[candidates]]
    similarity_M = similarity(sketches_DP[place], sketches_DP[candidates])
    for loser in candidates[similarity_M >= near.threshold].tolist():
      if _beats(ranked[place], ranked[loser]):
        kept_D[loser] = False
        duplicates.append(Duplicate(ranked[loser], ranked[place]))
  return duplicates


def _beats(better: Fingerprint, worse: Fingerprint) -> bool:
  """Whether of two that are alike, one by rank the better, the worse goes."""
  return better.kind == worse.kind or (
    better.split == 'heldout' and worse.split != 'heldout'
  )


def _buckets(
  sketches_DP: np.ndarray, rows: int
) -> Mapping[int, list[np.ndarray]]:
  """For each document: who shares a band with it, an array per band.

  Documents that share no band with another are left out.
  """
  buckets_of: dict[int, list[np.ndarray]] = {}
  for start in range(0, sketches_DP.shape[1], rows):
    bands_DR = np.ascontiguousarray(sketches_DP[:, start : start + rows])
    keys_D = bands_DR.view(f'V{rows}').ravel()
    # Stable: within a bucket, the places stay in the order of the ranking.
    _, inverse_D = np.unique(keys_D, return_inverse=True)
    order_D = np.argsort(inverse_D, kind='stable')
    ends = np.append(
      np.flatnonzero(np.diff(inverse_D[order_D])) + 1, len(keys_D)
    )
    starts = np.append(0, ends[:-1])
    shared = ends - starts > 1
    for first, end in zip(starts[shared], ends[shared], strict=True):
      bucket = order_D[first:end]
      for place in bucket.tolist():
        buckets_of.setdefault(place, []).append(bucket)
  return buckets_of
