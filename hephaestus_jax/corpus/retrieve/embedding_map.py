"""Seed, retrieved and general text in the plane (paper, Figure 2d).

t-SNE of the vectors that retrieval left, by openTSNE. The paper names neither
its encoder, nor how many points it drew, nor the perplexity.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Sequence

import numpy as np
import openTSNE

from hephaestus_jax import artefacts, errors
from hephaestus_jax.corpus.retrieve import vectors as vectors_of

# The three groups, and the names of their files in <folder>/vectors/.
GROUPS = {'seed': 'seeds', 'retrieved': 'retrieved', 'general': 'general'}
FILE = 'embedding_map.json'
DECIMALS = 3
FEWEST = 4  # points that have neighbours to lie near; fewer lie at 0, 0


@dataclasses.dataclass(frozen=True)
class EmbeddingMap:
  """How the map is made: the same vectors give the same map.

  Attributes:
    points: of each group, at most: those whose ids have the smallest hashes.
    perplexity: how many neighbours a point has, roughly; smaller maps have a
      smaller one, a third of the points at most.
    seed: of t-SNE.
  """

  points: int = 1000
  perplexity: float = 30.0
  seed: int = 0

  def __post_init__(self) -> None:
    for name in ('points', 'perplexity'):
      if getattr(self, name) < 1:
        raise errors.UserError(
          f'embedding_map.EmbeddingMap.{name} = {getattr(self, name)} is '
          'below 1.'
        )

  def __call__(self, folder: pathlib.Path) -> None:
    """Writes embedding_map.json of <folder>/vectors/.

    {'points': [[1.5, -0.25, 'seed'], ...], 'sources': ['botocore_docs', ...],
     'perplexity': 30.0, 'seed': 0}

    A point's source is the first part of its Document's id.
    """
    vectors, groups, sources = [], [], []
    for group, name in GROUPS.items():
      path = folder / 'vectors' / f'{name}.npy'
      if not path.exists():
        continue  # nothing to compare with was asked for
      ids = vectors_of.read_ids(path)
      rows = sample(ids, self.points)
      vectors.append(np.load(path, mmap_mode='r')[rows])
      groups += [group] * len(rows)
      sources += [ids[row].partition('/')[0] for row in rows]
    places_N2, perplexity = self._place(np.concatenate(vectors))
    artefacts.write_json(
      folder / FILE,
      {
        'points': [
          [round(float(x), DECIMALS), round(float(y), DECIMALS), group]
          for (x, y), group in zip(places_N2, groups, strict=True)
        ],
        'sources': sources,
        'perplexity': perplexity,
        'seed': self.seed,
      },
    )

  def _place(self, vectors_ND: np.ndarray) -> tuple[np.ndarray, float]:
    """(places in the plane, the perplexity that was used)."""
    count = len(vectors_ND)
    if count < FEWEST:
      return np.zeros((count, 2)), self.perplexity
    perplexity = min(self.perplexity, (count - 1) / 3)
    embedding = openTSNE.TSNE(
      perplexity=perplexity,
      # Of unit vectors the nearest by Euclid are the nearest by cosine.
      metric='euclidean',
      neighbors='exact',
      negative_gradient_method='bh',
      initialization='pca',
      random_state=self.seed,
      n_jobs=1,  # sums of several threads would differ from run to run
    ).fit(vectors_ND)
    return np.asarray(embedding), perplexity


def sample(ids: Sequence[str], size: int) -> list[int]:
  """The places, rising, of the `size` ids with the smallest hashes.

  >>> sample(['a', 'b', 'c'], 2)
  [1, 2]
  """
  order = sorted(
    range(len(ids)), key=lambda i: hashlib.sha256(ids[i].encode()).digest()
  )
  return sorted(order[:size])
