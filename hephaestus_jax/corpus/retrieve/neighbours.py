"""Nearest neighbours among unit vectors, a shard at a time (FAISS).

What is searched comes in shards of any number: each gets an index of its own,
is asked for every query's nearest, and is forgotten; `Nearest` keeps the best
of all so far. Memory is that of one shard and of the answers.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import faiss
import numpy as np

from hephaestus_jax import errors

QUERIES = 8192  # that are asked for at once
BLOCK = 4096  # vectors that are compared at once when copies are looked for
NOBODY = -1  # the number of a neighbour that isn't there


@dataclasses.dataclass(frozen=True)
class Index:
  """How a shard is searched. The paper names neither library nor kind.

  Attributes:
    factory: FAISS's description of an index: 'Flat' compares with everything,
      'IVF256,Flat' with what lies in the cells of 256 that are searched,
      'HNSW32' walks a graph.
    search: FAISS's search parameters: 'nprobe=48' searches 48 cells,
      'efSearch=128' walks further; '' keeps FAISS's own.
    exact_below: a smaller shard is compared with entirely: cells and graphs
      need many vectors (FAISS asks for 39 a cell) and save little there.
  """

  factory: str = 'IVF256,Flat'
  search: str = 'nprobe=48'
  exact_below: int = 10_000

  def __post_init__(self) -> None:
    self._made(8)

  def of(self, vectors_ND: np.ndarray) -> faiss.Index:
    """An index of unit vectors (float32) that finds the largest cosines.

    The same vectors give the same index.
    """
    count, dim = vectors_ND.shape
    if count < self.exact_below:
      exact = faiss.IndexFlatIP(dim)
      exact.add(vectors_ND)
      return exact
    index = self._made(dim)
    with _as_user_error(self), _one_thread():
      index.train(vectors_ND)
      index.add(vectors_ND)
    return index

  def _made(self, dim: int) -> faiss.Index:
    """An empty index."""
    settings: Any = faiss.ParameterSpace()  # its stub knows no strings
    with _as_user_error(self):
      index = faiss.index_factory(dim, self.factory, faiss.METRIC_INNER_PRODUCT)
      settings.set_index_parameters(index, self.search)
    return index


@contextlib.contextmanager
def _as_user_error(index: Index) -> Iterator[None]:
  """FAISS's complaint about what `index` says, as the user's to mend."""
  try:
    yield
  except RuntimeError as error:
    reason = str(error).splitlines()[0].rpartition(': ')[2]
    raise errors.UserError(
      f'FAISS does not take neighbours.Index({index.factory!r}, '
      f'{index.search!r}): {reason}. Try IVF256,Flat with nprobe=48.'
    ) from None


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
  """Several threads would link a graph in the order in which they get there."""
  threads = faiss.omp_get_max_threads()
  faiss.omp_set_num_threads(1)
  try:
    yield
  finally:
    faiss.omp_set_num_threads(threads)


@dataclasses.dataclass
class Nearest:
  """The best neighbours that queries have among all shards so far.

  Attributes:
    scores_QK: their cosines, falling; -inf where there is none.
    numbers_QK: their numbers, of all shards together; NOBODY there.
  """

  scores_QK: np.ndarray
  numbers_QK: np.ndarray

  @classmethod
  def none(cls, queries: int, k: int) -> 'Nearest':
    """Before the first shard."""
    return cls(
      np.full((queries, k), -np.inf, np.float32),
      np.full((queries, k), NOBODY, np.int64),
    )

  def search(
    self,
    index: faiss.Index,
    numbers_N: np.ndarray,
    queries_QD: np.ndarray,
    least: float,
  ) -> None:
    """Takes in what is near in another shard.

    Of equally near neighbours that of the smaller number counts as nearer.

    Args:
      index: of the shard's vectors.
      numbers_N: the numbers of the shard's vectors.
      queries_QD: the queries, always the same; read in blocks, so that they
        may lie in a file (np.memmap).
      least: a neighbour with a smaller cosine is none.
    """
    k = self.scores_QK.shape[1]
    for start in range(0, len(queries_QD), QUERIES):
      block = slice(start, start + QUERIES)
      scores, rows = index.search(np.ascontiguousarray(queries_QD[block]), k)
      found = (rows >= 0) & (scores >= least)
      scores = np.where(found, scores, -np.inf).astype(np.float32)
      numbers = np.where(found, numbers_N[rows], NOBODY)
      scores = np.concatenate([self.scores_QK[block], scores], axis=1)
      numbers = np.concatenate([self.numbers_QK[block], numbers], axis=1)
      best = np.lexsort((numbers, -scores), axis=1)[:, :k]
      self.scores_QK[block] = np.take_along_axis(scores, best, axis=1)
      self.numbers_QK[block] = np.take_along_axis(numbers, best, axis=1)


def copies(
  vectors_ND: np.ndarray, order: np.ndarray, threshold: float
) -> np.ndarray:
  """For each vector the row of the one that it is a copy of, else NOBODY.

  In the given order, a vector is a copy if its cosine with an earlier one that
  is no copy itself reaches the threshold.

  >>> copies(np.float32([[1, 0], [0, 1], [0.6, 0.8]]), np.array([0, 2, 1]), 0.7)
  array([-1,  2, -1])

  Everything is compared, so nothing is missed: at most N * N * D / 2 products
  of numbers. For a million texts of 256 tokens that is a fourteenth of what
  MiniLM took to encode them.

  Args:
    vectors_ND: unit vectors, float32; read in blocks, so that they may lie in a
      file (np.memmap).
    order: all rows, the best first.
    threshold: of the cosine.
  """
  copy_of_N = np.full(len(order), NOBODY, np.int64)
  kept: list[np.ndarray] = []  # rows that are no copies, block by block
  for start in range(0, len(order), BLOCK):
    rows = order[start : start + BLOCK]
    block_BD = np.asarray(vectors_ND[rows])
    for earlier in kept:
      cosines = block_BD @ np.asarray(vectors_ND[earlier]).T
      nearest = np.argmax(cosines, axis=1)
      is_copy = cosines[np.arange(len(rows)), nearest] >= threshold
      copy_of_N[rows[is_copy]] = earlier[nearest[is_copy]]
      rows, block_BD = rows[~is_copy], block_BD[~is_copy]
    cosines = block_BD @ block_BD.T
    is_kept = np.zeros(len(rows), bool)
    for place in range(len(rows)):
      before = np.where(is_kept[:place], cosines[place, :place], -np.inf)
      if place and before.max() >= threshold:
        copy_of_N[rows[place]] = rows[np.argmax(before)]
      else:
        is_kept[place] = True
    if is_kept.any():
      kept.append(rows[is_kept])
  return copy_of_N
