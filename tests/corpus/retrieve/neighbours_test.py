"""Shards together give what one index would; copies are all found."""

import faiss
import numpy as np
import pytest

from hephaestus_jax import errors
from hephaestus_jax.corpus.retrieve import neighbours


def unit(count: int, dim: int, seed: int) -> np.ndarray:
  vectors = np.random.default_rng(seed).normal(size=(count, dim))
  vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
  return vectors.astype(np.float32)


def clustered(count: int, seed: int) -> np.ndarray:
  """Like texts, vectors come in groups."""
  rng = np.random.default_rng(seed)
  centres = unit(50, 32, 7)[rng.integers(0, 50, count)]
  vectors = centres + 0.1 * rng.normal(size=(count, 32))
  vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
  return vectors.astype(np.float32)


def in_shards(index, vectors, queries, sizes, k, least=-1.0):
  nearest = neighbours.Nearest.none(len(queries), k)
  start = 0
  for size in sizes:
    shard = vectors[start : start + size]
    numbers = np.arange(start, start + size)
    nearest.search(index.of(shard), numbers, queries, least)
    start += size
  assert start == len(vectors)
  return nearest


def test_shards_give_the_neighbours_that_one_comparison_with_all_gives():
  vectors, queries = unit(300, 16, 0), unit(20, 16, 1)
  cosines = queries @ vectors.T
  expected = np.argsort(-cosines, axis=1)[:, :10]
  for sizes in ([300], [100, 100, 100], [3, 297]):
    found = in_shards(neighbours.Index(), vectors, queries, sizes, 10)
    np.testing.assert_array_equal(found.numbers_QK, expected)
    np.testing.assert_allclose(
      found.scores_QK, np.take_along_axis(cosines, expected, 1), atol=1e-6
    )


def test_too_few_neighbours_leave_places_empty():
  vectors, queries = unit(3, 8, 0), unit(2, 8, 1)
  found = in_shards(neighbours.Index(), vectors, queries, [1, 2], 5)
  assert (found.numbers_QK[:, 3:] == neighbours.NOBODY).all()
  assert np.isneginf(found.scores_QK[:, 3:]).all()


def test_a_neighbour_below_the_least_cosine_is_none():
  vectors = np.float32([[1, 0], [0, 1], [0.6, 0.8]])
  queries = np.float32([[1, 0]])
  found = in_shards(neighbours.Index(), vectors, queries, [3], 3, least=0.5)
  assert found.numbers_QK.tolist() == [[0, 2, neighbours.NOBODY]]


def test_of_equal_neighbours_the_first_stays():
  vectors = np.float32([[1, 0]] * 6)
  queries = np.float32([[1, 0]])
  found = in_shards(neighbours.Index(), vectors, queries, [2, 2, 2], 2)
  assert found.numbers_QK.tolist() == [[0, 1]]


@pytest.mark.parametrize(
  'index',
  [
    neighbours.Index('IVF32,Flat', 'nprobe=8', exact_below=1248),
    neighbours.Index('HNSW16', 'efSearch=128', exact_below=1248),
  ],
)
def test_approximate_shards_recall_their_neighbours_and_repeat_themselves(
  index,
):
  vectors, queries = clustered(4000, 0), clustered(100, 1)
  made = [index.of(vectors[:2000]) for _ in range(2)]
  assert made[0].ntotal == 2000
  assert not isinstance(made[0], faiss.IndexFlat)
  np.testing.assert_array_equal(*map(faiss.serialize_index, made))
  # The last shard is small, and so compared with entirely.
  found = in_shards(index, vectors, queries, [2000, 1500, 500], 10)
  exact = in_shards(
    neighbours.Index('Flat', ''), vectors, queries, [4000], 10
  ).numbers_QK
  recall = np.mean(
    [
      len(set(ours) & set(all_)) / 10
      for ours, all_ in zip(found.numbers_QK, exact, strict=True)
    ]
  )
  assert recall >= 0.95
  again = in_shards(index, vectors, queries, [2000, 1500, 500], 10)
  np.testing.assert_array_equal(again.numbers_QK, found.numbers_QK)
  np.testing.assert_array_equal(again.scores_QK, found.scores_QK)


@pytest.mark.parametrize(
  ('factory', 'search'),
  [('IVF32,Falt', ''), ('IVF32,Flat', 'nprob=8'), ('Flat', 'nprobe=8')],
)
def test_an_index_that_faiss_does_not_know_is_refused(factory, search):
  with pytest.raises(errors.UserError, match='FAISS does not take'):
    neighbours.Index(factory, search)


def copies_one_by_one(vectors, order, threshold):
  kept, copy_of = [], np.full(len(vectors), neighbours.NOBODY)
  for row in order:
    like = [k for k in kept if vectors[k] @ vectors[row] >= threshold]
    if like:
      copy_of[row] = like[0]
    else:
      kept.append(row)
  return copy_of


def test_copies_are_those_that_a_comparison_one_by_one_finds(monkeypatch):
  vectors = clustered(500, 0)
  order = np.random.default_rng(1).permutation(500)
  expected = copies_one_by_one(vectors, order, 0.85)
  assert 50 < np.sum(expected == neighbours.NOBODY) < 450
  for block in (4096, 64, 1):
    monkeypatch.setattr(neighbours, 'BLOCK', block)
    found = neighbours.copies(vectors, order, 0.85)
    np.testing.assert_array_equal(
      found == neighbours.NOBODY, expected == neighbours.NOBODY
    )
    copied = np.flatnonzero(found != neighbours.NOBODY)
    assert (found[found[copied]] == neighbours.NOBODY).all()
    cosines = np.sum(vectors[copied] * vectors[found[copied]], axis=1)
    assert (cosines >= 0.85 - 1e-6).all()


def test_the_best_of_like_vectors_stays():
  vectors = np.float32([[1, 0], [0, 1], [0.6, 0.8]])
  found = neighbours.copies(vectors, np.array([0, 2, 1]), 0.7)
  assert found.tolist() == [-1, 2, -1]
