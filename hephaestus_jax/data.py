"""Cached rows -> batches: a pure function of (mixture, seed, step).

The contract. A mixture is the cached rows of its tasks, its rates and its caps.
For a mixture, a seed, a step and a batch size, the global batch is the same
rows in the same order

- for every number of processes and devices: each process reads its share of one
  global batch, and which share that is decides nothing else;
- for every restart: there is no state to save, and any step is as near as the
  first;
- on every machine: integers alone decide, never a clock, a thread or a float
  that some library may round otherwise.

Any 1,000 rows in a row hold of each task its share of them, rounded down or up,
while its rate stays as it is (see mixing.py). A task's own rows come in a new
permutation per epoch, each row once. How the batches are cut changes nothing:
step s of size B has rows s B to (s + 1) B - 1 of one endless order.

Array axes: B rows, L tokens, R roles, T steps or rounds, D documents. No
TensorFlow, no SeqIO.
"""

import functools
import hashlib
import json
import math
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grain
import numpy as np
from array_record.python import array_record_module

from hephaestus_jax import artefacts, errors, mixing
from hephaestus_jax.corpus import document

Batch = dict[str, np.ndarray]

# Rounds of the permutation of a task's rows: enough that no order is left.
ROUNDS = 6
# Rows whose order is found together: numpy takes as long for one as for 100.
ROWS_AHEAD = 4096

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
  starts_BL = np.ones(segment_ids_BL.shape, bool)
  starts_BL[:, 1:] = segment_ids_BL[:, 1:] != segment_ids_BL[:, :-1]
  size = segment_ids_BL.size
  start_D = np.flatnonzero(starts_BL).astype(np.int32)
  place = np.arange(size, dtype=np.int32)
  place -= np.repeat(start_D, np.diff(start_D, append=size))
  place_BL = place.reshape(segment_ids_BL.shape)
  place_BL[segment_ids_BL == 0] = 0
  return place_BL


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
    return np.frombuffer(b''.join(self.records(indices_B)), self._dtype)

  def records(self, indices_B: Sequence[int] | np.ndarray) -> list[bytes]:
    """The rows of these numbers as they are stored.

    Raises:
      errors.UserError: a record is damaged.
    """
    indices_B = np.asarray(indices_B, np.int64)
    found_B = [b''] * len(indices_B)
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
      for place, record in zip(here_B.tolist(), records, strict=True):
        found_B[place] = record
    return found_B

  def verify(self) -> None:
    """Compares every file with the checksum that was taken when it was written.

    Raises:
      errors.UserError: one differs.
    """
    for path, file in zip(self._paths, self.info['files'], strict=True):
      found = artefacts.file_fingerprint(path)
      if found != file['sha256']:
        raise errors.UserError(
          f'{path} is damaged: its checksum is {found}, and was '
          f'{file["sha256"]}. ' + self._way_out()
        )

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
  """Rows of several tasks at given rates, in a fixed order.

  Attributes:
    sources: task names; `source_B` of a batch counts in them.
    rates: task name -> share of the rows, as served: multiples of
      1 / mixing.PERIOD. Where they change, those of the first row. A task
      without rows in a split other than 'train' has rate 0.
    end: how many rows there are until every task's cap is reached; None:
      endless.
    sequence_length: tokens in a row.
    tokenizer_fingerprint: of the vocabulary that made the tokens.
  """

  def __init__(
    self,
    *,
    cache_dir: str,
    mixture: str,
    split: str = 'train',
    seed: int = 0,
    rates: Mapping[int, Mapping[str, float]] | None = None,
    max_epochs: float | Mapping[str, float] | None = None,
    max_tokens: Mapping[str, float] | None = None,
  ):
    """Opens a mixture that `hephaestus cache` froze.

    A name below is that of a task or of a mixture in the cache; a mixture
    stands for its tasks, with the shares that they have in it.

    Args:
      cache_dir: the cache.
      mixture: name of the SeqIO Mixture or Task.
      split: 'train', 'validation' or 'heldout'.
      seed: chooses the order of each task's rows.
      rates: from which row on, name -> rate, for as long as no later row has
        others; who is not named has 0. Before the first the mixture's own hold.
      max_epochs: how often a task's rows may come: one number for all tasks, or
        by name. A task that has come so often has rate 0 from then on.
      max_tokens: name -> the tokens that may come of it.

    Raises:
      errors.UserError: the mixture or the split was not cached, is damaged, or
        its tasks don't fit together; a name is unknown, or a value below 0.
    """
    self.mixture = mixture
    own = _mixture_info(cache_dir, mixture)['rates']
    changes = {
      row: _by_task(cache_dir, mixture, named)
      for row, named in sorted((rates or {}).items())
    }
    wanted = {0: own, **changes}
    used = {task for named in wanted.values() for task in named}
    self.sources: tuple[str, ...] = (*own, *sorted(used - {*own}))
    _check_split(cache_dir, mixture, self.sources, split)
    self._rows = [Rows(cache_dir, task, split) for task in self.sources]
    self.sequence_length: int = _only(
      self._rows, 'sequence_length', mixture, cache_dir
    )
    self.tokenizer_fingerprint: str = _only(
      self._rows, 'tokenizer_fingerprint', mixture, cache_dir
    )
    self._sizes = np.array([len(rows) for rows in self._rows])
    self._order = mixing.Order(
      {row: self._served(named, split) for row, named in wanted.items()},
      self._most(cache_dir, max_epochs, max_tokens),
    )
    if not self._order.phases:
      raise errors.UserError(
        f'max_epochs = {max_epochs} and max_tokens = {max_tokens} leave no row '
        f'of mixture {mixture!r} to read. Raise them.'
      )
    self.end = self._order.end
    self.rates: dict[str, float] = self.phases[0]
    self._keys = np.array(
      [_key(f'{seed}/{task}') for task in self.sources], np.uint64
    )

  @property
  def phases(self) -> dict[int, dict[str, float]]:
    """From which row on each task has which rate, as served, caps included."""
    return {
      phase.first_row: {
        task: weight / mixing.PERIOD
        for task, weight in zip(
          self.sources, phase.rhythm.weights_S.tolist(), strict=True
        )
      }
      for phase in self._order.phases
    }

  def _served(self, wanted: Mapping[str, float], split: str) -> list[float]:
    """Rates in the order of `sources`; tasks without rows have none."""
    rates = [wanted.get(task, 0.0) for task in self.sources]
    served = [
      rate if size else 0.0
      for rate, size in zip(rates, self._sizes, strict=True)
    ]
    empty = [
      task
      for task, rate, size in zip(self.sources, rates, self._sizes, strict=True)
      if rate and not size
    ]
    if not any(served) or (split == 'train' and empty):
      raise errors.UserError(
        f'{empty or list(wanted)} of mixture {self.mixture!r} have no rows in '
        f'split {split!r}, or rate 0. Take them out of the mixture, or give '
        'them documents.'
      )
    return served

  def _most(
    self,
    cache_dir: str,
    max_epochs: float | Mapping[str, float] | None,
    max_tokens: Mapping[str, float] | None,
  ) -> list[int | None]:
    """How many rows of each source may come."""
    if isinstance(max_epochs, Mapping):
      epochs = {
        task: limit
        for name, limit in max_epochs.items()
        for task in _by_task(cache_dir, self.mixture, {name: limit})
      }
    else:
      limit = math.inf if max_epochs is None else max_epochs
      epochs = dict.fromkeys(self.sources, limit)
    tokens = _by_task(cache_dir, self.mixture, max_tokens or {})
    for name in (*epochs, *tokens):
      if name not in self.sources:
        raise errors.UserError(
          f'max_epochs or max_tokens names {name!r}, which mixture '
          f'{self.mixture!r} does not read. It reads {list(self.sources)}.'
        )
    most = []
    for rows in self._rows:
      limit = epochs.get(rows.task, math.inf) * max(len(rows), 1)
      if rows.task in tokens:
        # Its rows have that many tokens on average: padding is none.
        mean = rows.info['tokens'] / max(len(rows), 1)
        limit = min(limit, tokens[rows.task] / max(mean, 1.0))
      most.append(None if limit == math.inf else math.floor(limit))
    return most

  def rows_at(self, number_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(source, row in it) of the mixture's rows of these numbers.

    Args:
      number_B: int64, from 0, below `end` where there is one.

    Returns:
      source_B int32 and row_B int64.
    """
    source_B, turn_B = self._order.rows_at(number_B)
    size_B = self._sizes[source_B]
    epoch_B, index_B = np.divmod(turn_B, size_B)
    key_B = _mix(self._keys[source_B] + epoch_B.astype(np.uint64))
    return source_B, permuted(index_B, size_B, key_B)

  def read(self, number_B: np.ndarray) -> Batch:
    """The mixture's rows of these numbers as a batch."""
    return self.of_rows(*self.rows_at(number_B))

  def of_rows(self, source_B: np.ndarray, row_B: np.ndarray) -> Batch:
    """Rows of sources as a batch: what `rows_at` says."""
    record_B = [b''] * len(row_B)
    for source in np.unique(source_B):
      here_B = np.flatnonzero(source_B == source)
      records = self._rows[source].records(row_B[here_B])
      for place, record in zip(here_B.tolist(), records, strict=True):
        record_B[place] = record
    # Joined once: each copy of a row costs.
    rows_B = np.frombuffer(b''.join(record_B), row_dtype(self.sequence_length))
    return _batch(rows_B, source_B, row_B)

  def batch(self, step: int, batch_size: int) -> Batch:
    """The whole global batch of a step.

    Returns:
      tokens_BL, segment_ids_BL, positions_BL, roles_BL int32; characters_BR
      int32; source_B int32, index into `sources`; row_B int64, the row's number
      in its source.
    """
    return self.read(step * batch_size + np.arange(batch_size))

  def of(self, task: str) -> Rows:
    """The rows of one of `sources`."""
    return self._rows[self.sources.index(task)]

  def rows_of(self, rows: int) -> dict[str, int]:
    """How many of the first `rows` rows are of each task."""
    turns_S = self._order.turns(rows)
    return dict(zip(self.sources, turns_S.tolist(), strict=True))

  def epochs(self, rows: int) -> dict[str, float]:
    """How often each task's rows came in the first `rows` rows."""
    return {
      rows_of.task: count / max(len(rows_of), 1)
      for rows_of, count in zip(
        self._rows, self.rows_of(rows).values(), strict=True
      )
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
  ahead = max(ROWS_AHEAD // max(len(place_B), 1), 1)

  @functools.lru_cache(maxsize=2)
  def rows_of(block: int) -> tuple[np.ndarray, np.ndarray]:
    step_T = block * ahead + np.arange(ahead)
    if mixture.end is not None:
      step_T = step_T[(step_T + 1) * batch_size <= mixture.end]
    source_B, row_B = mixture.rows_at(
      (step_T[:, None] * batch_size + place_B).ravel()
    )
    shape = (len(step_T), len(place_B))
    return source_B.reshape(shape), row_B.reshape(shape)

  def read(step: int) -> Batch:
    block, place = divmod(step, ahead)
    source_TB, row_TB = rows_of(block)
    return mixture.of_rows(source_TB[place], row_TB[place])

  steps = grain.MapDataset.range(start_step, sys.maxsize).map(read)
  return iter(
    steps.to_iter_dataset(
      grain.ReadOptions(num_threads=prefetch, prefetch_buffer_size=prefetch)
    )
  )


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
  key_TB = _mix(key_B + np.arange(ROUNDS, dtype=np.uint64)[:, None])
  todo_B = np.arange(len(result_B))
  while len(todo_B):
    result_B[todo_B] = _feistel(
      result_B[todo_B], half_B[todo_B], key_TB[:, todo_B]
    )
    todo_B = todo_B[result_B[todo_B] >= size_B[todo_B]]
  return result_B.astype(np.int64)


def _feistel(
  value_B: np.ndarray, half_B: np.ndarray, key_TB: np.ndarray
) -> np.ndarray:
  """ROUNDS rounds on 2 * half bits, each with a key of its own."""
  mask_B = (np.uint64(1) << half_B) - np.uint64(1)
  left_B, right_B = value_B >> half_B, value_B & mask_B
  for key_B in key_TB:
    mixed_B = _mix(right_B ^ key_B)
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
    raise errors.UserError(
      f'There is no mixture {mixture!r} in {cache_dir}.'
      + (errors.nearest(mixture, names) or f' There are {names}.')
      + ' Name it to `hephaestus cache` first.'
    )
  return _read_json(folder / f'{mixture}.json')


def _by_task(
  cache_dir: str, mixture: str, named: Mapping[str, float]
) -> dict[str, float]:
  """What is said of tasks and mixtures, by task; a mixture's is shared out.

  Raises:
    errors.UserError: a name is neither's in the cache, or a value below 0.
  """
  found: dict[str, float] = {}
  for name, value in named.items():
    if not 0 <= value < math.inf:
      raise errors.UserError(
        f'{name!r} has {value} where a rate or a cap of mixture {mixture!r} '
        'stands. Give it a number that is not below 0.'
      )
    folder = pathlib.Path(cache_dir)
    if (folder / 'mixtures' / f'{name}.json').exists():
      shares = _mixture_info(cache_dir, name)['rates']
    elif (folder / 'tasks' / name).is_dir():
      shares = {name: 1.0}
    else:
      known = [path.stem for path in folder.glob('mixtures/*.json')]
      known += [path.name for path in folder.glob('tasks/*')]
      raise errors.UserError(
        f'A rate or a cap of mixture {mixture!r} names {name!r}, which is no '
        f'task or mixture of {cache_dir}.' + errors.nearest(name, known)
      )
    for task, share in shares.items():
      found[task] = found.get(task, 0.0) + value * share
  return found


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
