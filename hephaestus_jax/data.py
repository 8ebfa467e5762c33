"""Cached rows -> batches: a pure function of (mixture, seed, step).

Every row is a fixed-size record of one task. A mixture's rows come in a fixed
rhythm that keeps each task within one row of its rate; a task's rows come in a
new permutation per epoch. Both are formulas of the row's number, so a run
starts anywhere at no cost, and any number of hosts reads the same batches.

Array axes: B rows, L tokens, R roles. No TensorFlow, no SeqIO.
"""

import difflib
import hashlib
import heapq
import json
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grain
import numpy as np
from array_record.python import array_record_module

from hephaestus_jax import artefacts, errors
from hephaestus_jax.corpus import document

Batch = dict[str, np.ndarray]

# Rates are served as multiples of 1 / PERIOD.
PERIOD = 1 << 16
AGAIN = 'Delete {folder} and run `hephaestus cache` again.'


def row_dtype(sequence_length: int) -> np.dtype:
  """One row as it is stored, little-endian and without gaps.

  tokens (L,) int32; segment_ids (L,) uint16: 1, 2, ... by document, 0 padding;
  roles (L,) uint8: document.role_id; characters (R,) int32: how many characters
  of text of each role the row's tokens stand for.
  """
  length = (sequence_length,)
  return np.dtype(
    [
      ('tokens', '<i4', length),
      ('segment_ids', '<u2', length),
      ('roles', 'u1', length),
      ('characters', '<i4', (len(document.ROLES),)),
    ]
  )


def positions(segment_ids_BL: np.ndarray) -> np.ndarray:
  """Each token's place in its document's part of the row, from 0; int32.

  >>> positions(np.array([[1, 1, 1, 2, 2, 0, 0]]))
  array([[0, 1, 2, 0, 1, 0, 0]])
  """
  index_L = np.arange(segment_ids_BL.shape[1])
  starts_BL = np.ones(segment_ids_BL.shape, bool)
  starts_BL[:, 1:] = segment_ids_BL[:, 1:] != segment_ids_BL[:, :-1]
  start_BL = np.maximum.accumulate(np.where(starts_BL, index_L, 0), axis=1)
  return np.where(segment_ids_BL == 0, 0, index_L - start_BL).astype(np.int32)


class Rows:
  """The rows of one split of one task.

  Attributes:
    task: its name.
    split: 'train', 'validation' or 'heldout'.
    info: what cache.json says: tokens, documents, fill, dropped, ...
    sequence_length: tokens in a row.
    tokenizer_fingerprint: of the vocabulary that made the tokens.
  """

  def __init__(self, cache_dir: str, task: str, split: str):
    """Opens the rows.

    Raises:
      errors.UserError: they were never cached, or a file is missing, cut short
        or damaged. Damage inside a record is found when the record is read.
    """
    self._folder = pathlib.Path(cache_dir) / 'tasks' / task / split
    self.task, self.split = task, split
    artefacts.read_inputs(self._folder)
    self.info: Mapping[str, Any] = _read_json(self._folder / 'cache.json')
    if self.info['role_names'] != list(document.ROLES):
      raise errors.UserError(
        f'{self._folder} was cached with the roles {self.info["role_names"]}, '
        f'and this version has {list(document.ROLES)}. ' + self._way_out()
      )
    self.sequence_length: int = self.info['sequence_length']
    self.tokenizer_fingerprint: str = self.info['tokenizer']
    self._dtype = row_dtype(self.sequence_length)
    self._paths = [self._folder / file['name'] for file in self.info['files']]
    self._readers = [
      self._open(path, file['rows'], file['bytes'])
      for path, file in zip(self._paths, self.info['files'], strict=True)
    ]
    self._first_row = np.cumsum(
      [0] + [file['rows'] for file in self.info['files']]
    )

  def __len__(self) -> int:
    return self.info['rows']

  def read(self, indices_B: Sequence[int] | np.ndarray) -> np.ndarray:
    """The rows of these numbers, in this order, as a `row_dtype` array.

    Raises:
      errors.UserError: a record is damaged.
    """
    indices_B = np.asarray(indices_B, np.int64)
    rows_B = np.empty(len(indices_B), self._dtype)
    file_B = np.searchsorted(self._first_row, indices_B, side='right') - 1
    for file in np.unique(file_B):
      here_B = np.flatnonzero(file_B == file)
      local = (indices_B[here_B] - self._first_row[file]).tolist()
      try:
        records = self._readers[file].read(local)
      except RuntimeError as error:
        raise errors.UserError(
          f'{self._paths[file]} is damaged: {error}. ' + self._way_out()
        ) from error
      rows_B[here_B] = np.frombuffer(b''.join(records), self._dtype)
    return rows_B

  def _open(self, path: pathlib.Path, rows: int, size: int) -> Any:
    if not path.exists():
      raise errors.UserError(f'{path} is missing. ' + self._way_out())
    if path.stat().st_size != size:
      raise errors.UserError(
        f'{path} has {path.stat().st_size} bytes, and {size} were written. '
        + self._way_out()
      )
    try:
      reader = array_record_module.ArrayRecordReader(
        str(path),
        # Rows are read in random order: reading ahead would be wasted.
        options='readahead_buffer_size:0',
        file_reader_buffer_size=1 << 15,
      )
      found = reader.num_records()
    except RuntimeError as error:
      raise errors.UserError(
        f'{path} is damaged: {error}. ' + self._way_out()
      ) from error
    if found != rows:
      raise errors.UserError(
        f'{path} is damaged: {found} rows of {rows} can be found. '
        + self._way_out()
      )
    return reader

  def _way_out(self) -> str:
    return AGAIN.format(folder=self._folder)


class Mixture:
  """Rows of several tasks at given rates, endless and in a fixed order.

  Attributes:
    sources: task names; `source_B` of a batch counts in them.
    rates: task name -> share of the rows, as served: multiples of 1 / PERIOD.
      A task without rows in a split other than 'train' has rate 0.
    sequence_length: tokens in a row.
    tokenizer_fingerprint: of the vocabulary that made the tokens.
  """

  def __init__(
    self, *, cache_dir: str, mixture: str, split: str = 'train', seed: int = 0
  ):
    """Opens a mixture that `hephaestus cache` froze.

    Args:
      cache_dir: the cache.
      mixture: name of the SeqIO Mixture or Task.
      split: 'train', 'validation' or 'heldout'.
      seed: chooses the order of each task's rows.

    Raises:
      errors.UserError: the mixture or the split was not cached, is damaged, or
        its tasks don't fit together.
    """
    info = _mixture_info(cache_dir, mixture)
    self.sources: tuple[str, ...] = tuple(info['rates'])
    _check_split(cache_dir, mixture, self.sources, split)
    self._rows = [Rows(cache_dir, task, split) for task in self.sources]
    self.sequence_length: int = _only(
      self._rows, 'sequence_length', mixture, cache_dir
    )
    self.tokenizer_fingerprint: str = _only(
      self._rows, 'tokenizer_fingerprint', mixture, cache_dir
    )
    wanted = [
      rate if len(rows) else 0.0
      for rate, rows in zip(info['rates'].values(), self._rows, strict=True)
    ]
    empty = [
      rows.task
      for rows, rate in zip(self._rows, info['rates'].values(), strict=True)
      if rate and not len(rows)
    ]
    if not any(wanted) or (split == 'train' and empty):
      raise errors.UserError(
        f'{empty} of mixture {mixture!r} have no rows in split {split!r} of '
        f'{cache_dir}. Take them out of the mixture, or give them documents.'
      )
    weights = integer_weights(wanted)
    self.rates: dict[str, float] = {
      task: weight / PERIOD
      for task, weight in zip(self.sources, weights, strict=True)
    }
    self._weights = np.array(weights)
    self._source_at = rhythm(weights)
    self._turn_at = _occurrence(self._source_at)
    self._sizes = np.array([len(rows) for rows in self._rows])
    self._keys = np.array(
      [_key(f'{seed}/{task}') for task in self.sources], np.uint64
    )

  def rows_at(self, number_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(source, row in it) of the mixture's rows of these numbers.

    Args:
      number_B: int64, from 0; the mixture has no end.

    Returns:
      source_B int32 and row_B int64.
    """
    number_B = np.asarray(number_B, np.int64)
    period_B, place_B = np.divmod(number_B, PERIOD)
    source_B = self._source_at[place_B]
    turn_B = period_B * self._weights[source_B] + self._turn_at[place_B]
    size_B = self._sizes[source_B]
    epoch_B, index_B = np.divmod(turn_B, size_B)
    key_B = _mix(self._keys[source_B] + epoch_B.astype(np.uint64))
    return source_B.astype(np.int32), permuted(index_B, size_B, key_B)

  def read(self, number_B: np.ndarray) -> Batch:
    """The mixture's rows of these numbers as a batch."""
    source_B, row_B = self.rows_at(number_B)
    rows_B = np.empty(len(row_B), row_dtype(self.sequence_length))
    for source in np.unique(source_B):
      here_B = source_B == source
      rows_B[here_B] = self._rows[source].read(row_B[here_B])
    return _batch(rows_B, source_B, row_B)

  def batch(self, step: int, batch_size: int) -> Batch:
    """The whole global batch of a step.

    Returns:
      tokens_BL, segment_ids_BL, positions_BL, roles_BL int32; characters_BR
      int32; source_B int32, index into `sources`; row_B int64, the row's number
      in its source.
    """
    return self.read(step * batch_size + np.arange(batch_size))

  def epochs(self, step: int, batch_size: int) -> dict[str, float]:
    """How often each task's rows were seen before `step`."""
    numbers = step * batch_size
    return {
      rows.task: numbers * self.rates[rows.task] / max(len(rows), 1)
      for rows in self._rows
    }


def loader(
  mixture: Mixture,
  *,
  batch_size: int,
  start_step: int = 0,
  rows_B: np.ndarray | None = None,
  prefetch: int = 2,
) -> Iterator[Batch]:
  """This host's rows of every global batch from `start_step` on.

  Whichever hosts have which rows, together they are `mixture.batch(step, B)`.

  Args:
    mixture: where the rows come from.
    batch_size: rows of the global batch.
    start_step: where to start; as cheap as 0.
    rows_B: which rows of the batch, of 0 to B - 1, as
      `partitioning.host_rows` tells; None: all.
    prefetch: batches that are read ahead, in threads.
  """
  place_B = np.arange(batch_size) if rows_B is None else rows_B

  def read(step: int) -> Batch:
    return mixture.read(step * batch_size + place_B)

  steps = grain.MapDataset.range(start_step, sys.maxsize).map(read)
  return iter(
    steps.to_iter_dataset(
      grain.ReadOptions(num_threads=prefetch, prefetch_buffer_size=prefetch)
    )
  )


def integer_weights(rates: Sequence[float]) -> list[int]:
  """Rates as integers that sum to PERIOD; a positive rate gets at least 1.

  >>> integer_weights([1.0, 1.0, 2.0])
  [16384, 16384, 32768]
  """
  total = sum(rates)
  exact = [rate / total * PERIOD for rate in rates]
  weights = [max(int(x), 1) if x > 0 else 0 for x in exact]
  # What rounding down left over goes to those that lost the most by it.
  while missing := PERIOD - sum(weights):
    step = 1 if missing > 0 else -1
    order = sorted(
      (i for i, weight in enumerate(weights) if weight + step > 0),
      key=lambda i: (step * (weights[i] - exact[i]), i),
    )
    for i in order[: abs(missing)]:
      weights[i] += step
  return weights


def rhythm(weights: Sequence[int]) -> np.ndarray:
  """Which source each row of a period comes from.

  After n rows a source of weight w has had floor(n w / W) or ceil(n w / W):
  the order in which the turn with the nearest deadline goes first among those
  whose time has come (the quota method of apportionment).

  >>> rhythm([1, 1, 2])
  array([2, 0, 1, 2])

  Returns:
    (W,) int32, W the sum of the weights.
  """
  total = sum(weights)
  # Turn i of a source (from 0) may not come before row ceil-quota allows it,
  # at i * W // w, nor after its floor-quota asks for it, at ceil((i+1) * W/w).
  waiting = [(0, source, 0) for source, w in enumerate(weights) if w]
  ready: list[tuple[int, int, int]] = []
  order = np.empty(total, np.int32)
  for row in range(total):
    while waiting and waiting[0][0] <= row:
      _, source, turn = heapq.heappop(waiting)
      deadline = -(-(turn + 1) * total // weights[source])
      heapq.heappush(ready, (deadline, source, turn))
    _, source, turn = heapq.heappop(ready)
    order[row] = source
    if turn + 1 < weights[source]:
      release = (turn + 1) * total // weights[source]
      heapq.heappush(waiting, (release, source, turn + 1))
  return order


def permuted(
  index_B: np.ndarray, size_B: np.ndarray, key_B: np.ndarray
) -> np.ndarray:
  """Where a permutation of range(size) sends `index`; O(1) each.

  A Feistel network permutes the next larger power of four; what falls outside
  goes through it again until it is inside, which keeps it a permutation.

  Args:
    index_B: int64, 0 <= index < size.
    size_B: int64.
    key_B: uint64, chooses the permutation.

  Returns:
    int64 in range(size).
  """
  result_B = index_B.astype(np.uint64)
  size_B = size_B.astype(np.uint64)
  # Half the bits of the domain: the smallest h with 4 ** h >= size.
  half_B = np.ceil(np.log2(np.maximum(size_B, 2)) / 2).astype(np.uint64)
  todo_B = np.arange(len(result_B))
  while len(todo_B):
    result_B[todo_B] = _feistel(result_B[todo_B], half_B[todo_B], key_B[todo_B])
    todo_B = todo_B[result_B[todo_B] >= size_B[todo_B]]
  return result_B.astype(np.int64)


def _feistel(
  value_B: np.ndarray, half_B: np.ndarray, key_B: np.ndarray
) -> np.ndarray:
  """Six rounds on 2 * half bits: enough that no order is left to see."""
  mask_B = (np.uint64(1) << half_B) - np.uint64(1)
  left_B, right_B = value_B >> half_B, value_B & mask_B
  for turn in range(6):
    mixed_B = _mix(right_B ^ _mix(key_B + np.uint64(turn)))
    left_B, right_B = right_B, left_B ^ (mixed_B & mask_B)
  return (left_B << half_B) | right_B


def _mix(value_B: np.ndarray) -> np.ndarray:
  """The finaliser of splitmix64: 64 bits in, 64 well-stirred bits out."""
  value_B = value_B + np.uint64(0x9E3779B97F4A7C15)
  value_B = (value_B ^ (value_B >> np.uint64(30))) * np.uint64(
    0xBF58476D1CE4E5B9
  )
  value_B = (value_B ^ (value_B >> np.uint64(27))) * np.uint64(
    0x94D049BB133111EB
  )
  return value_B ^ (value_B >> np.uint64(31))


def _key(text: str) -> int:
  return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], 'little')


def _occurrence(values: np.ndarray) -> np.ndarray:
  """How often each value came before: [2, 0, 2, 2] -> [0, 0, 1, 2]."""
  order = np.argsort(values, kind='stable')
  ranks = np.arange(len(values))
  _, first, counts = np.unique(
    values[order], return_index=True, return_counts=True
  )
  result = np.empty(len(values), np.int64)
  result[order] = ranks - np.repeat(first, counts)
  return result


def _batch(
  rows_B: np.ndarray, source_B: np.ndarray, row_B: np.ndarray
) -> Batch:
  return {
    'tokens_BL': rows_B['tokens'].astype(np.int32),
    'segment_ids_BL': rows_B['segment_ids'].astype(np.int32),
    'positions_BL': positions(rows_B['segment_ids']),
    'roles_BL': rows_B['roles'].astype(np.int32),
    'characters_BR': rows_B['characters'].astype(np.int32),
    'source_B': source_B,
    'row_B': row_B,
  }


def _mixture_info(cache_dir: str, mixture: str) -> dict[str, Any]:
  folder = pathlib.Path(cache_dir) / 'mixtures'
  if not folder.is_dir():
    raise errors.UserError(
      f'There is no cache in {cache_dir!r}. Build it with `hephaestus cache`, '
      'or name the folder that has one.'
    )
  names = sorted(path.stem for path in folder.glob('*.json'))
  if mixture not in names:
    near = difflib.get_close_matches(mixture, names, n=2)
    raise errors.UserError(
      f'There is no mixture {mixture!r} in {cache_dir}'
      + (f'; did you mean {" or ".join(near)}?' if near else f': {names}.')
      + ' Name it to `hephaestus cache` first.'
    )
  return _read_json(folder / f'{mixture}.json')


def _check_split(
  cache_dir: str, mixture: str, tasks: Sequence[str], split: str
) -> None:
  """Says it once for all tasks if the whole cache lacks a split."""
  for task in tasks:
    folder = pathlib.Path(cache_dir) / 'tasks' / task
    found = sorted(
      path.name for path in folder.glob('*') if not path.name.count('.')
    )
    if split not in found:
      raise errors.UserError(
        f'Task {task!r} of mixture {mixture!r} has no split {split!r} in '
        f'{cache_dir}; it has {found}. Run `hephaestus cache` again if it was '
        'cut off, or choose another split.'
      )


def _only(
  rows: Sequence[Rows], attribute: str, mixture: str, cache_dir: str
) -> Any:
  """The value that all tasks share."""
  values = {one.task: getattr(one, attribute) for one in rows}
  if len(set(values.values())) != 1:
    raise errors.UserError(
      f'The tasks of mixture {mixture!r} in {cache_dir} differ in '
      f'{attribute}: {values}. Cache them again with the same settings.'
    )
  return next(iter(values.values()))


def _read_json(path: pathlib.Path) -> dict[str, Any]:
  try:
    return json.loads(path.read_text())
  except (OSError, ValueError) as error:
    raise errors.UserError(
      f'{path} can not be read: {error}. ' + AGAIN.format(folder=path.parent)
    ) from error
