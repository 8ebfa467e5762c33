"""Documents that commands left in folders: what other commands start from.

A folder is a built corpus (TFDS datasets, of which the split 'train' is read)
or holds documents*.jsonl (see lines.py). `read` takes one as it is; a
`Selection` of several leaves out what is held out for evaluation, since what is
like it must not be looked for.
"""

import dataclasses
import hashlib
import heapq
import json
import logging
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds

from hephaestus_jax import artefacts, errors
from hephaestus_jax.corpus import document, lines, splits

COMPOSITION = 'composition.json'


@dataclasses.dataclass(frozen=True)
class Selection:
  """Which Documents of which folders.

  Attributes:
    folders: of built corpora or of lines.
    kinds: of document.KINDS.
    per_source: at most so many of a source, those whose ids have the smallest
      hashes; None takes all.
  """

  folders: Sequence[str]
  kinds: Sequence[str]
  per_source: int | None = None

  def __post_init__(self) -> None:
    for kind in self.kinds:
      if kind not in document.KINDS:
        raise errors.UserError(
          f'stored.Selection.kinds names {kind!r}; the kinds are '
          f'{document.KINDS}.'
        )
    if self.per_source is not None and self.per_source < 1:
      raise errors.UserError(
        f'stored.Selection.per_source = {self.per_source} is below 1.'
      )

  def identity(self) -> dict[str, Any]:
    """JSON that says which Documents they are.

    Raises:
      errors.UserError: a folder isn't there or holds no Documents.
    """
    return dataclasses.asdict(self) | {
      'folders': [_fingerprint(pathlib.Path(name)) for name in self.folders]
    }

  def __iter__(self) -> Iterator[document.Document]:
    """The Documents, always in the same order.

    Raises:
      errors.UserError: a folder isn't there, holds no Documents, or holds a
        line that is none.
    """
    if self.per_source is None:
      yield from self._all()
      return
    smallest: dict[str, list[tuple[int, str]]] = {}
    for found in self._all():
      heap = smallest.setdefault(found.source, [])
      item = (-_order(found.id), found.id)
      if len(heap) < self.per_source:
        heapq.heappush(heap, item)
      else:
        heapq.heappushpop(heap, item)
    chosen = {name for heap in smallest.values() for _, name in heap}
    yield from (found for found in self._all() if found.id in chosen)

  def _all(self) -> Iterator[document.Document]:
    for name in self.folders:
      folder = pathlib.Path(name)
      is_built = (folder / COMPOSITION).exists()
      yield from (_datasets if is_built else _lines)(folder, self.kinds)


def read(
  folder: pathlib.Path, kinds: Sequence[str]
) -> Iterable[document.Document | document.Drop]:
  """The folder's Documents, and a Drop for each line that is none.

  Args:
    folder: of lines, or a corpus.
    kinds: the datasets of a corpus that are opened. Lines come as they are.

  Raises:
    errors.UserError: it holds neither a corpus nor documents*.jsonl.
  """
  if (folder / COMPOSITION).exists():
    return Selection([str(folder)], kinds)
  return lines.read(folder)


def identity(folder: pathlib.Path, kinds: Sequence[str]) -> Mapping[str, Any]:
  """JSON that says which Documents `read` gives.

  Raises:
    errors.UserError: as `read`.
  """
  if (folder / COMPOSITION).exists():
    return Selection([str(folder)], kinds).identity()
  return lines.fingerprint(folder)


def _order(name: str) -> int:
  return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])


def _fingerprint(folder: pathlib.Path) -> str:
  if (folder / COMPOSITION).exists():
    return artefacts.fingerprint(artefacts.read_inputs(folder))
  if not folder.is_dir():
    raise errors.UserError(
      f'{folder} does not exist. Build the corpus first, or name a folder of '
      'documents*.jsonl.'
    )
  return artefacts.fingerprint(lines.fingerprint(folder))


def _datasets(
  folder: pathlib.Path, kinds: Sequence[str]
) -> Iterator[document.Document]:
  """The train split of a built corpus' sources of these kinds."""
  logging.getLogger('absl').setLevel(logging.ERROR)  # a line per dataset
  for row in json.loads((folder / COMPOSITION).read_text()):
    if row['split'] != 'train' or row['kind'] not in kinds:
      continue
    if not row['documents']:
      continue  # TFDS knows no empty split
    (dataset,) = (folder / 'forge' / row['source']).iterdir()
    builder = tfds.builder_from_directory(dataset)
    # One file after the other, or the order would be that of the readers.
    one_by_one = tfds.ReadConfig(interleave_cycle_length=1)
    split = builder.as_dataset(split='train', read_config=one_by_one)
    for record in tfds.as_numpy(split):
      yield document.from_record(record)


def _lines(
  folder: pathlib.Path, kinds: Sequence[str]
) -> Iterator[document.Document]:
  """The Documents of these kinds in a folder of lines, but for held-out ones.

  Raises:
    errors.UserError: a line is no Document. A command of ours wrote it, so that
      it was damaged since.
  """
  for found in lines.read(folder):
    if isinstance(found, document.Drop):
      raise errors.UserError(
        f'{folder}: {found.document_id} is no Document ({found.reason}). '
        'Write the folder again.'
      )
    if found.kind in kinds and found.group != splits.PUBLISHED:
      yield found
