"""Web text that lies near the seed data (paper, section 4.2).

For each seed Document the nearest web Documents by cosine; then, of those that
say nearly the same, the best-scoring. The web is a stream and is searched in
shards (search.py): memory depends on the seeds and on a shard, not on the web,
and a command that is killed goes on behind the last finished shard.

    documents-00000-of-00001.jsonl    what was retrieved, as 'retrieved_web'
    drops.json, summary.json          what became of the other records
    neighbours.jsonl                  {"seed": id, "web": id, "score": cosine}
    redundant.jsonl                   {"web": id, "like": id, "score": cosine}
    vectors/{seeds,retrieved,general}.{npy,jsonl}
                                      a vector a row, its id a line (vectors.py)
    embedding_map.json                all three in the plane (embedding_map.py)

The paper names neither K nor index, chunks or thresholds: all are bound by gin,
and what stands there is ours.
"""

import dataclasses
import itertools
import json
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hephaestus_jax import artefacts
from hephaestus_jax.corpus import document, lines, stored
from hephaestus_jax.corpus.retrieve import (
  embedding_map,
  neighbours,
  search,
  vectors,
)
from hephaestus_jax.corpus.retrieve import web as web_text

SOURCE = 'retrieved_web'
# Why a web Document that was looked at isn't in the output.
NOT_RETRIEVED, REDUNDANT = 'not_retrieved', 'redundant'
SUMMARY = 'summary.json'


def retrieve(
  *,
  seeds: stored.Selection,
  general: stored.Selection | None,
  web: web_text.Web,
  encode: search.Encoder,
  near: search.Search,
  redundant: float,
  output_dir: str,
  draw: embedding_map.EmbeddingMap | None = None,
) -> dict[str, Any]:
  """Writes the folder that the module's docstring lists.

  Args:
    seeds: what web text shall be like.
    general: text that both are compared with in the map; None: with nothing.
    web: where is looked.
    encode: makes vectors of all of them.
    near: how neighbours are looked for.
    redundant: the cosine from which a retrieved Document says the same as a
      better-scoring one, and is left out.
    output_dir: the folder to write.
    draw: how the vectors are laid out in the plane; None leaves that out.

  Returns:
    {'reused': whether it was there, 'records', 'documents', 'drops': as in
    drops.json, 'seeds': how many, 'neighbours': how many pairs, 'mean_score':
    of the pairs}.

  Raises:
    errors.UserError: a folder, a file or the encoder's checkpoint isn't there,
      there are no seeds, or `output_dir` was made from other inputs.
  """
  stream = web_text.Stream(web)
  inputs = {
    'seeds': seeds.identity(),
    'general': general and general.identity(),
    'web': stream.identity(),
    'encode': dict(encode.identity()),
    'near': dataclasses.asdict(near),
    'redundant': redundant,
    'draw': draw and dataclasses.asdict(draw),
  }
  folder = pathlib.Path(output_dir)
  work = folder.with_name(f'{folder.name}.work-{artefacts.fingerprint(inputs)}')
  reused = artefacts.reusable(folder, inputs)
  if reused:
    print(f'reused {folder}')
  else:
    search.encode_stored(work / 'seeds', inputs, seeds, encode)
    if general:
      search.encode_stored(work / 'general', inputs, general, encode)
    seeds_QD = np.load(work / 'seeds' / search.VECTORS, mmap_mode='r')
    shards = search.search_web(work, inputs, stream, seeds_QD, encode, near)
    with artefacts.written(folder, inputs) as partial:
      summary = _write(partial, work, shards, redundant)
      artefacts.write_json(partial / SUMMARY, summary)
      if draw:
        draw(partial)
  # A run that was killed between its last two lines left it, too.
  shutil.rmtree(work, ignore_errors=True)
  summary = json.loads((folder / SUMMARY).read_text())
  print(
    '{records} web records, {seeds} seeds: {documents} documents from '
    '{neighbours} neighbours'.format_map(summary)
  )
  return {'reused': reused, **summary}


def best_scores(nearest: neighbours.Nearest) -> tuple[np.ndarray, np.ndarray]:
  """(numbers of all neighbours, rising; the best score of each).

  For two queries whose neighbours are [[4, 2], [2, -1]] with the scores
  [[0.9, 0.6], [0.7, -inf]]: ([2, 4], [0.7, 0.9]).
  """
  is_there = nearest.numbers_QK != neighbours.NOBODY
  numbers = nearest.numbers_QK[is_there]
  scores = nearest.scores_QK[is_there]
  order = np.lexsort((-scores, numbers))
  numbers_M, first = np.unique(numbers[order], return_index=True)
  return numbers_M, scores[order][first]


def retrieved(found: document.Document) -> document.Document:
  """A web Document under its new name, with the licence of where it is from.

  'fineweb/train/000_00000.parquet-17' becomes
  'retrieved_web/train/fineweb/000_00000.parquet-17'.
  """
  origin, group, name = found.id.split('/', 2)
  return dataclasses.replace(
    found, id=f'{SOURCE}/{group}/{origin}/{name}', source=SOURCE
  )


def _write(
  folder: pathlib.Path,
  work: pathlib.Path,
  shards: Sequence[pathlib.Path],
  redundant: float,
) -> dict[str, Any]:
  """Writes all but the map; returns what summary.json holds."""
  nearest = search.nearest_of(shards[-1])
  numbers_M, scores_M = best_scores(nearest)
  output = folder / 'vectors'
  output.mkdir()
  for name in ('seeds', 'general'):
    source = work / name / search.VECTORS
    if source.exists():
      for path in (source, source.with_suffix('.jsonl')):
        shutil.copy(path, output / f'{name}{path.suffix}')
  # In the order of the numbers first: in that of the ids when those are known.
  gathered = folder / 'gathered.npy'
  _gather(gathered, shards, numbers_M)
  vectors_MD = np.load(gathered, mmap_mode='r')
  copy_of_M = neighbours.copies(
    vectors_MD, np.lexsort((numbers_M, -scores_M)), redundant
  )
  is_kept_M = copy_of_M == neighbours.NOBODY
  ids: list[str] = []

  def documents() -> Iterator[document.Document]:
    found = _documents(shards, numbers_M)
    for is_kept, one in zip(is_kept_M, found, strict=True):
      ids.append(one.id)
      if is_kept:
        yield one

  lines.write(folder, documents())
  kept = sorted(np.flatnonzero(is_kept_M), key=ids.__getitem__)
  dim = vectors_MD.shape[1]
  path = output / 'retrieved.npy'
  vectors.write(path, (vectors_MD[row : row + 1] for row in kept), dim)
  vectors.write_ids(path, (ids[row] for row in kept))
  pairs = _write_neighbours(
    folder / 'neighbours.jsonl',
    vectors.read_ids(output / 'seeds.npy'),
    nearest,
    dict(zip(numbers_M.tolist(), ids, strict=True)),
  )
  with (folder / 'redundant.jsonl').open('w', encoding='utf-8') as file:
    for row in np.flatnonzero(~is_kept_M):
      like = copy_of_M[row]
      score = float(vectors_MD[row] @ vectors_MD[like])
      file.write(_line(web=ids[row], like=ids[like], score=score))
  gathered.unlink()
  progress = search.progress_of(shards[-1])
  account = {
    'records': progress.records,
    'documents': len(kept),
    'drops': {
      **progress.drops,
      NOT_RETRIEVED: progress.documents - len(ids),
      REDUNDANT: len(ids) - len(kept),
    },
  }
  artefacts.write_json(folder / lines.DROPS, account)
  scores = nearest.scores_QK[nearest.numbers_QK != neighbours.NOBODY]
  return account | {
    'seeds': len(nearest.scores_QK),
    'neighbours': pairs,
    'mean_score': round(float(scores.mean()), 4) if pairs else None,
  }


def _gather(
  path: pathlib.Path, shards: Sequence[pathlib.Path], numbers_M: np.ndarray
) -> None:
  """Writes the vectors of these numbers, in their order."""

  def blocks() -> Iterator[np.ndarray]:
    for shard in shards:
      is_wanted = np.isin(np.load(shard / search.FOUND), numbers_M)
      yield np.load(shard / search.VECTORS)[is_wanted]

  dim = np.load(shards[0] / search.VECTORS, mmap_mode='r').shape[1]
  vectors.write(path, blocks(), dim)


def _documents(
  shards: Sequence[pathlib.Path], numbers_M: np.ndarray
) -> Iterator[document.Document]:
  """The Documents of these numbers, in their order, as they will be called."""
  for shard in shards:
    is_wanted = np.isin(np.load(shard / search.FOUND), numbers_M)
    with (shard / search.DOCUMENTS).open('rb') as file:
      for line in itertools.compress(file, is_wanted):
        yield retrieved(document.from_line(line))


def _write_neighbours(
  path: pathlib.Path,
  seeds: Sequence[str],
  nearest: neighbours.Nearest,
  ids: Mapping[int, str],
) -> int:
  """Writes a line per pair, in the order of the seeds; returns how many."""
  pairs = 0
  with path.open('w', encoding='utf-8') as file:
    for seed, numbers_K, scores_K in zip(
      seeds, nearest.numbers_QK, nearest.scores_QK, strict=True
    ):
      for number, score in zip(numbers_K, scores_K, strict=True):
        if number != neighbours.NOBODY:
          file.write(_line(seed=seed, web=ids[int(number)], score=float(score)))
          pairs += 1
  return pairs


def _line(*, score: float, **names: str) -> str:
  record = names | {'score': round(score, 6)}
  return json.dumps(record, ensure_ascii=False) + '\n'
