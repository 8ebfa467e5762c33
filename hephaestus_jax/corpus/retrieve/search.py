"""Which web Documents are nearest to each seed, in steps that survive a kill.

Each step is a folder of `work`, whole or absent: the vectors of what is stored,
then the web, shard by shard. A shard's folder has what some seed had among its
nearest when the shard was done; most of an early shard's is displaced later.
With S seeds, K neighbours and T shards of a web in no order, all folders have
about S * K * (1 + ln T) Documents at most.
"""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import tqdm

from hephaestus_jax import artefacts, errors
from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.retrieve import neighbours, vectors
from hephaestus_jax.corpus.retrieve import web as web_text

# Documents and characters that are encoded at once, at most.
BLOCK_DOCUMENTS, BLOCK_CHARACTERS = 4096, 1 << 25
VECTORS = 'vectors.npy'
DOCUMENTS = 'documents.jsonl'
FOUND = 'found.npy'  # the numbers of those Documents
SCORES, NUMBERS = 'scores.npy', 'numbers.npy'  # a neighbours.Nearest
PROGRESS = 'progress.json'

Numbered = tuple[int, document.Document]


class Encoder(Protocol):
  """Texts -> unit vectors; see encoder.Encoder."""

  @property
  def dim(self) -> int:
    """How many numbers a vector has."""

  def identity(self) -> Mapping[str, Any]:
    """JSON that the vectors depend on."""

  def __call__(self, texts: Sequence[str]) -> np.ndarray:
    """Unit vectors, float32 [len(texts), dim]."""


@dataclasses.dataclass(frozen=True)
class Search:
  """How neighbours are looked for.

  Attributes:
    index: how a shard is searched.
    top_k: how many neighbours a seed has at most. The paper doesn't say.
    least_score: the cosine from which a web Document can be one of them.
  """

  index: neighbours.Index
  top_k: int = 10
  least_score: float = 0.5

  def __post_init__(self) -> None:
    if self.top_k < 1:
      raise errors.UserError(f'search.Search.top_k = {self.top_k} is below 1.')


def encode_stored(
  folder: pathlib.Path,
  inputs: Mapping[str, Any],
  documents: Iterable[document.Document],
  encode: Encoder,
) -> None:
  """Writes vectors.npy with its ids (vectors.py), unless they are there.

  Raises:
    errors.UserError: there is no Document.
  """
  if artefacts.reusable(folder, inputs):
    return
  ids: list[str] = []
  with (
    artefacts.written(folder, inputs) as partial,
    tqdm.tqdm(desc=f'encoding {folder.name}', unit=' documents') as bar,
  ):

    def blocks() -> Iterator[np.ndarray]:
      for block in _blocks(enumerate(documents)):
        ids.extend(one.id for _, one in block)
        yield encode([one.own_text for _, one in block])
        bar.update(len(block))

    if not vectors.write(partial / VECTORS, blocks(), encode.dim):
      raise errors.UserError(
        f'There are no documents to encode as {folder.name}: the folders that '
        'are named hold none of the kinds that are asked for.'
      )
    vectors.write_ids(partial / VECTORS, ids)


def search_web(
  work: pathlib.Path,
  inputs: Mapping[str, Any],
  stream: web_text.Stream,
  seeds_QD: np.ndarray,
  encode: Encoder,
  search: Search,
) -> list[pathlib.Path]:
  """Searches the shards that weren't yet; returns the folders of all.

  The last one has the nearest of all seeds.
  """
  shards = sorted(work.glob('shard-' + 6 * '[0-9]'))
  with tqdm.tqdm(desc='searching the web', unit=' records') as bar:
    while not (shards and progress_of(shards[-1]).finished):
      before = shards[-1] if shards else None
      shard = work / f'shard-{len(shards):06d}'
      with artefacts.written(shard, inputs) as partial:
        _search_shard(partial, before, stream, seeds_QD, encode, search, bar)
      if before:
        for name in (SCORES, NUMBERS):
          (before / name).unlink()
      shards.append(shard)
  return shards


def progress_of(shard: pathlib.Path) -> web_text.Progress:
  """How far the web was read when a shard was done."""
  return web_text.Progress(**json.loads((shard / PROGRESS).read_text()))


def nearest_of(shard: pathlib.Path) -> neighbours.Nearest:
  """What was nearest to each seed when a shard was done."""
  return neighbours.Nearest(np.load(shard / SCORES), np.load(shard / NUMBERS))


def _search_shard(
  folder: pathlib.Path,
  before: pathlib.Path | None,
  stream: web_text.Stream,
  seeds_QD: np.ndarray,
  encode: Encoder,
  search: Search,
  bar: tqdm.tqdm,
) -> None:
  """Searches one shard, and writes what search.py says its folder has."""
  if before:
    progress, nearest = progress_of(before), nearest_of(before)
  else:
    progress = web_text.Progress()
    nearest = neighbours.Nearest.none(len(seeds_QD), search.top_k)
  numbers: list[int] = []
  # Texts wait in a file until it is known which of them are near to a seed.
  everything = folder / 'everything.jsonl'
  blocks_BD = []
  with everything.open('wb') as file:
    for block in _blocks(stream.shard(progress)):
      numbers += [number for number, _ in block]
      blocks_BD.append(encode([one.own_text for _, one in block]))
      file.writelines(f'{document.to_line(one)}\n'.encode() for _, one in block)
      bar.update(progress.records - bar.n)
  vectors_ND = np.concatenate(
    [np.zeros((0, encode.dim), np.float32), *blocks_BD]
  )
  del blocks_BD
  numbers_N = np.asarray(numbers, np.int64)
  if numbers:
    nearest.search(
      search.index.of(vectors_ND), numbers_N, seeds_QD, search.least_score
    )
  is_near_N = np.isin(numbers_N, nearest.numbers_QK)
  with everything.open('rb') as read, (folder / DOCUMENTS).open('wb') as file:
    file.writelines(itertools.compress(read, is_near_N))
  everything.unlink()
  vectors.write(folder / VECTORS, [vectors_ND[is_near_N]], encode.dim)
  np.save(folder / FOUND, numbers_N[is_near_N])
  np.save(folder / SCORES, nearest.scores_QK)
  np.save(folder / NUMBERS, nearest.numbers_QK)
  artefacts.write_json(folder / PROGRESS, dataclasses.asdict(progress))


def _blocks(documents: Iterable[Numbered]) -> Iterator[list[Numbered]]:
  block, characters = [], 0
  for number, one in documents:
    block.append((number, one))
    characters += len(one.text)
    if len(block) == BLOCK_DOCUMENTS or characters >= BLOCK_CHARACTERS:
      yield block
      block, characters = [], 0
  if block:
    yield block
