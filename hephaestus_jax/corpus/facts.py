"""What a build knows of every document besides its text, in columns.

A row is a document and rows are sorted by id, so that nothing depends on who
read which document first. As numpy arrays on disk, mapped into memory, a row
takes about 200 bytes: 128 of its sketch, 50 of its id. Axes: D documents, P
permutations of a sketch, S names of a column.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

# Columns of words that many rows share, stored as numbers.
NAMED = ('source', 'kind', 'licence', 'split')


def schema(permutations: int) -> pa.Schema:
  """The columns of a row, as Beam writes them to Parquet.

  A text without words has no sketch: `words` is false and the bytes are zero.
  """
  return pa.schema(
    [
      ('id', pa.string()),
      *((name, pa.string()) for name in NAMED),
      ('characters', pa.int64()),
      ('digest', pa.binary(16)),
      ('words', pa.bool_()),
      ('sketch', pa.binary(permutations)),
    ]
  )


@dataclasses.dataclass(frozen=True, eq=False)
class Facts:
  """The columns.

  Attributes:
    names: for each column in NAMED, the words that its numbers stand for.
    arrays: ids (uint8, one after another), starts (int64 [D + 1], where each id
      begins), source, kind, licence, split (int16 [D]), characters (int64 [D]),
      digest (uint64 [D, 2]), words (bool [D]), sketch (uint8 [D, P]).
  """

  names: Mapping[str, tuple[str, ...]]
  arrays: Mapping[str, np.ndarray]

  def __len__(self) -> int:
    return len(self.arrays['characters'])

  def __getitem__(self, column: str) -> np.ndarray:
    return self.arrays[column]

  def id(self, row: int) -> str:
    """The id of the document in a row."""
    start, end = self['starts'][row : row + 2]
    return bytes(self['ids'][start:end]).decode()

  def name(self, column: str, row: int) -> str:
    """The word in a column of NAMED."""
    return self.names[column][self[column][row]]

  def ranks(self, column: str, order: Mapping[str, int], last: int) -> Any:
    """Each row's place in `order` by its word in a column; int64 [D]."""
    rank_S = [order.get(name, last) for name in self.names[column]]
    return np.array(rank_S, np.int64)[self[column]]

  def is_named(self, column: str, names: Iterable[str]) -> Any:
    """Which rows have one of the words in a column: bool [D]."""
    wanted = dict.fromkeys(names, 1)
    return self.ranks(column, wanted, 0).astype(bool)

  def row(self, document_id: str) -> int:
    """The row of a document.

    Raises:
      KeyError: there is no such document.
    """
    low, high = 0, len(self)
    while low < high:
      middle = (low + high) // 2
      if self.id(middle) < document_id:
        low = middle + 1
      else:
        high = middle
    if low == len(self) or self.id(low) != document_id:
      raise KeyError(document_id)
    return low

  def save(self, folder: pathlib.Path) -> None:
    """Writes the columns into a new folder, for `load`."""
    folder.mkdir()
    for name, array in self.arrays.items():
      np.save(folder / f'{name}.npy', array)
    (folder / 'names.json').write_text(json.dumps(self.names))


def load(folder: pathlib.Path) -> Facts:
  """The columns that `Facts.save` wrote, mapped into memory."""
  names = json.loads((folder / 'names.json').read_text())
  return Facts(
    {name: tuple(words) for name, words in names.items()},
    {p.stem: np.load(p, mmap_mode='r') for p in folder.glob('*.npy')},
  )


def gather(table: pa.Table) -> Facts:
  """Rows of `schema` in any order -> Facts.

  Raises:
    RuntimeError: two rows have the same id.
  """
  order = pa.compute.sort_indices(table['id'])
  ids = _taken(table['id'].cast(pa.large_string()), order)
  starts = np.frombuffer(ids.buffers()[1], np.int64, len(ids) + 1)
  _check_distinct(ids)
  arrays = {
    'ids': np.frombuffer(ids.buffers()[2] or b'', np.uint8)[: starts[-1]],
    'starts': starts,
    'characters': _taken(table['characters'], order).to_numpy(),
    'words': _taken(table['words'], order).to_numpy(zero_copy_only=False),
    'digest': _bytes(_taken(table['digest'], order)).view(np.uint64),
    'sketch': _bytes(_taken(table['sketch'], order)),
  }
  names = {}
  for column in NAMED:
    encoded = _taken(table[column], order).dictionary_encode()
    words = encoded.dictionary.to_pylist()
    names[column] = tuple(sorted(words))
    code_of = {word: code for code, word in enumerate(names[column])}
    codes_S = np.array([code_of[word] for word in words], np.int16)
    arrays[column] = codes_S[encoded.indices.to_numpy()]
  return Facts(names, arrays)


def key(document_id: str) -> int:
  """64 bits that stand for an id where workers look many ids up.

  >>> key('docs/s3/ListBuckets')
  12171856842778757142
  """
  digest = hashlib.blake2b(document_id.encode(), digest_size=8).digest()
  return int.from_bytes(digest)


class Keys:
  """A set of ids, eight bytes each: what workers are told of others' choices.

  Two ids of a million share a key with a probability of 3 in 100 million; a
  build finds that out, since its counts don't agree then.
  """

  def __init__(self, path: pathlib.Path) -> None:
    """The set that `write_keys` wrote."""
    self._keys_K = np.load(path)

  def __contains__(self, document_id: str) -> bool:
    wanted = np.uint64(key(document_id))
    place = int(np.searchsorted(self._keys_K, wanted))
    return place < len(self._keys_K) and self._keys_K[place] == wanted


def write_keys(path: pathlib.Path, ids: Iterable[str]) -> None:
  """Writes a set of ids for `Keys`."""
  keys_K = np.fromiter(map(key, ids), np.uint64)
  keys_K.sort()
  np.save(path, keys_K)


def _taken(column: pa.ChunkedArray, order: pa.Array) -> pa.Array:
  """A column in another order, in one piece."""
  taken = column.take(order)
  return taken.combine_chunks() if taken.num_chunks != 1 else taken.chunk(0)


def _bytes(column: pa.Array) -> np.ndarray:
  """A column of so many bytes each: uint8 [D, bytes]."""
  width = column.type.byte_width
  flat = np.frombuffer(column.buffers()[1] or b'', np.uint8)
  return flat[: len(column) * width].reshape(len(column), width)


def _check_distinct(ids: pa.Array) -> None:
  same = pa.compute.equal(ids[1:], ids[:-1])
  if (place := same.index(True).as_py()) >= 0:
    raise RuntimeError(f'Two documents have the id {ids[place].as_py()}.')
