"""Vectors in a .npy file, and beside it the id that each belongs to.

Both are written as they come, their number needn't be known:
`numpy.load('seeds.npy', mmap_mode='r')` opens the vectors without reading them,
and seeds.jsonl has an id, a JSON string, a line.
"""

import json
import pathlib
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np

DTYPE = np.dtype('<f4')


def write(path: pathlib.Path, blocks_BD: Iterable[np.ndarray], dim: int) -> int:
  """Writes blocks of float32 vectors one after the other; returns how many."""
  count = 0
  with path.open('wb') as file:
    _write_header(file, count, dim)
    for block_BD in blocks_BD:
      count += len(block_BD)
      file.write(np.ascontiguousarray(block_BD, DTYPE).data)
    file.seek(0)
    # As long as the first one: numpy leaves room for more digits.
    _write_header(file, count, dim)
  return count


def write_ids(path: pathlib.Path, ids: Iterable[str]) -> None:
  """Writes the ids of the vectors at `path`, in their order."""
  with path.with_suffix('.jsonl').open('w', encoding='utf-8') as file:
    # Not one id a line as it is: a file's name may hold a line break.
    file.writelines(f'{json.dumps(name)}\n' for name in ids)


def read_ids(path: pathlib.Path) -> list[str]:
  """The ids of the vectors at `path`, in their order."""
  with path.with_suffix('.jsonl').open(encoding='utf-8') as file:
    return [json.loads(line) for line in file]


def _write_header(file: BinaryIO, count: int, dim: int) -> None:
  np.lib.format.write_array_header_1_0(
    file,
    {'descr': DTYPE.str, 'fortran_order': False, 'shape': (count, dim)},
  )
