"""One shard of one split of a SeqIO Task -> rows of tokens in ArrayRecord.

A shard is a folder that is whole or absent, made by nothing but its Task, its
key and its place among the others: any process may make any of them, in any
order.
"""

import collections
import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf
from array_record.python import array_record_module

from hephaestus_jax import artefacts, data, errors, packing
from hephaestus_jax.cache_key import TooLong
from hephaestus_jax.corpus import document

BYTES_PER_FILE = 1 << 28
# What the cache reads of a Task's records.
FEATURES = ('targets', 'roles', 'characters', 'kind', 'refused')
# Records that leave TensorFlow together: one by one, handing them over costs
# more than tokenising them.
DOCUMENTS_PER_READ = 256
# Of a source's files. A shard costs a row that is not full, and what a command
# that is cut off loses is the shards that were under way.
BYTES_PER_SHARD = 1 << 28
COUNTS = 'counts.json'


@dataclasses.dataclass(frozen=True)
class Shard:
  """What to make.

  Attributes:
    folder: where.
    key: of the split, see `cache_key.of_split`.
    index, count: which of how many shards of the split.
  """

  folder: pathlib.Path
  key: Mapping[str, Any]
  index: int
  count: int

  @property
  def inputs(self) -> dict[str, Any]:
    """All that its rows depend on."""
    return {'key': dict(self.key), 'index': self.index, 'count': self.count}


def number(task: seqio.Task, split: str) -> int:
  """How many shards a split has: by its files, whoever works on them."""
  files = [
    path
    for path in map(pathlib.Path, task.source.list_shards(split))
    if path.is_file()
  ]
  size = sum(path.stat().st_size for path in files)
  return max(1, min(len(files), size // BYTES_PER_SHARD))


def write(
  shard: Shard, task: seqio.Task, progress: Callable[[int], object]
) -> None:
  """Reads a shard's documents, and writes its rows and what was counted.

  Args:
    shard: what to make.
    task: its Task, with tokenizer and corpus.
    progress: told how many documents were read since it was told before.

  Raises:
    errors.UserError: the source is damaged, or the Task breaks its contract.
  """
  key, tally = shard.key, _Tally()
  length = key['sequence_length']
  examples = _examples(shard, task, progress)
  if key['packing'] == 'concat':
    kept = _kept(examples, tally, None, None, 'drop')
    rows = packing.concat_rows(kept, length)
  else:
    kept = _kept(examples, tally, length, key['trained_roles'], key['too_long'])
    rows = packing.best_fit_rows(kept, length)
  with artefacts.written(shard.folder, shard.inputs) as partial:
    files = _write_rows(partial, rows, length)
    artefacts.write_json(
      partial / COUNTS,
      {
        'documents': tally.documents,
        'longest_document': tally.longest,
        'dropped': dict(tally.dropped),
        'cut_documents': tally.cut,
        'parts': tally.parts,
        'untrained_parts': tally.untrained_parts,
        'repeated_tokens': tally.repeated,
        'tokens_by_kind': dict(tally.tokens_by_kind),
        'tokens_by_role': _by_role(tally.tokens_R),
        'characters_by_role': _by_role(tally.characters_R),
        'rows': sum(file['rows'] for file in files),
        'files': files,
      },
    )


def summed(counts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """The counts of shards as one: numbers added, the longest the longest.

  >>> summed([{'rows': 2, 'longest_document': 7, 'dropped': {'empty': 1}},
  ...         {'rows': 3, 'longest_document': 9, 'dropped': {}}])
  {'rows': 5, 'longest_document': 9, 'dropped': {'empty': 1}}
  """
  whole: dict[str, Any] = {}
  zero: collections.Counter[str] = collections.Counter()
  for name, first in counts[0].items():
    values = [each[name] for each in counts]
    if name == 'longest_document':
      whole[name] = max(values)
    elif isinstance(first, Mapping):
      whole[name] = dict(sum(map(collections.Counter, values), zero))
    else:
      whole[name] = sum(values[1:], start=first)
  return whole


class _Tally:
  """What is counted while a split is read."""

  def __init__(self) -> None:
    self.documents = 0
    self.longest = 0
    self.dropped: collections.Counter[str] = collections.Counter()
    self.cut = 0  # documents that became parts
    self.parts = 0
    self.untrained_parts = 0  # left out
    self.repeated = 0  # tokens of parts that are context only
    self.tokens_by_kind: collections.Counter[str] = collections.Counter()
    self.tokens_R = np.zeros(len(document.ROLES), np.int64)
    self.characters_R = np.zeros(len(document.ROLES), np.int64)

  def keep(self, example: packing.Example) -> None:
    """Counts a document that goes into rows, as a whole."""
    self.documents += 1
    self.longest = max(self.longest, len(example.tokens))
    self._add(example)

  def keep_parts(
    self,
    example: packing.Example,
    parts: Sequence[packing.Example],
    untrained: int,
  ) -> None:
    """Counts a document that goes into rows in parts, but for some."""
    self.documents += 1
    self.longest = max(self.longest, len(example.tokens))
    self.cut += 1
    self.parts += len(parts)
    self.untrained_parts += untrained
    for part in parts:
      self._add(part)

  def _add(self, example: packing.Example) -> None:
    """Counts tokens; those that an earlier part has too, apart."""
    size = len(document.ROLES)
    own_L = example.roles < document.REPEATED
    roles, characters = example.roles[own_L], example.characters[own_L]
    self.repeated += len(example.tokens) - len(roles)
    self.tokens_by_kind[example.kind] += len(roles)
    self.tokens_R += np.bincount(roles, minlength=size)
    self.characters_R += np.bincount(
      roles, weights=characters, minlength=size
    ).astype(np.int64)


def _kept(
  examples: Iterable[packing.Example],
  tally: _Tally,
  longest: int | None,
  trained_roles: Sequence[str] | None,
  too_long: TooLong,
) -> Iterator[packing.Example]:
  """The documents that go into rows, or their parts; counts all."""
  roles = document.ROLES if trained_roles is None else trained_roles
  trained = [document.role_id(role) for role in roles]
  for example in examples:
    if example.refused:
      tally.dropped[example.refused] += 1
    elif not len(example.tokens):
      tally.dropped['empty'] += 1
    elif not np.isin(example.roles, trained).any():
      tally.dropped['no_trained_token'] += 1
    elif longest is None or len(example.tokens) <= longest:
      tally.keep(example)
      yield example
    elif too_long == 'drop':
      tally.dropped['longer_than_row'] += 1
    else:
      cut = packing.split if too_long == 'split' else packing.split_at_turns
      if parts := cut(example, longest):
        kept = [part for part in parts if np.isin(part.roles, trained).any()]
        tally.keep_parts(example, kept, len(parts) - len(kept))
        yield from kept
      else:
        tally.dropped['opening_too_long'] += 1


def _examples(
  shard: Shard, task: seqio.Task, progress: Callable[[int], object]
) -> Iterator[packing.Example]:
  """The documents of a shard, as the Task's preprocessors make them."""
  split = shard.key['split']
  whole = shard.count == 1
  dataset = task.get_dataset(
    sequence_length=None,  # nothing is trimmed
    split=split,
    shard_info=None if whole else seqio.ShardInfo(shard.index, shard.count),
    shuffle=False,
    seed=0,
    num_epochs=1,
    trim_output_features=False,
    try_in_mem_cache=False,
  )
  names = [name for name in FEATURES if name in dataset.element_spec]
  batches = dataset.map(
    lambda record: {name: record[name] for name in names}
  ).ragged_batch(DOCUMENTS_PER_READ)
  vocabulary = task.output_features['targets'].vocabulary
  where = f'Task {task.name!r}, split {split!r}'
  try:
    for batch in batches.as_numpy_iterator():
      columns = [_unbatched(batch[name]) for name in names]
      for record in zip(*columns, strict=True):
        yield _example(dict(zip(names, record, strict=True)), vocabulary, where)
      progress(len(columns[0]))
  except tf.errors.DataLossError as error:
    raise errors.UserError(
      f'{where}: its source is damaged ({error.message}). Build the source '
      'again, then run this command again.'
    ) from error


def _unbatched(column: Any) -> Sequence[Any]:
  """A column of a batch as one value per document; it is ragged or an array."""
  if isinstance(column, np.ndarray):
    return list(column)
  return np.split(column.values, column.row_splits[1:-1])


def _example(
  record: Mapping[str, Any], vocabulary: seqio.Vocabulary, where: str
) -> packing.Example:
  """Checks what a Task made, and fills in what a plain Task leaves out.

  A Task that has only targets is all role 'text', and its characters are those
  of the decoded targets, spread evenly.

  Raises:
    errors.UserError: targets are no tokens of the vocabulary, or roles or
      characters don't belong to them.
  """
  tokens = record['targets']
  if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer):
    raise errors.UserError(
      f"{where}: 'targets' must be a vector of integers, and is "
      f'{tokens.dtype} of shape {tokens.shape}.'
    )
  size = len(tokens)
  if size and not 0 <= tokens.min() <= tokens.max() < vocabulary.vocab_size:
    raise errors.UserError(
      f"{where}: 'targets' hold {tokens.min()} to {tokens.max()}, and the "
      f'vocabulary has {vocabulary.vocab_size} tokens.'
    )
  roles = record.get('roles')
  if roles is None:
    roles = np.full(size, document.role_id('text'))
  characters = record.get('characters')
  if characters is None:
    total = len(vocabulary.decode(tokens.tolist()))
    edges = np.arange(size + 1) * total // max(size, 1)
    characters = np.diff(edges)
  if not len(roles) == len(characters) == size:
    raise errors.UserError(
      f"{where}: a document has {size} 'targets', {len(roles)} 'roles' and "
      f"{len(characters)} 'characters'; there must be one for each token."
    )
  if size and not 0 <= roles.min() <= roles.max() < len(document.ROLES):
    raise errors.UserError(
      f"{where}: 'roles' hold {roles.min()} to {roles.max()}; they are "
      f'document.role_id numbers, 0 to {len(document.ROLES) - 1}.'
    )
  kind = record.get('kind', b'unknown')
  refused = record.get('refused', b'')
  return packing.Example(
    tokens=tokens.astype(np.int32),
    roles=roles.astype(np.uint8),
    characters=characters.astype(np.int32),
    kind=kind.decode(),
    refused=refused.decode(),
  )


def _write_rows(
  folder: pathlib.Path, rows: Iterator[np.ndarray], sequence_length: int
) -> list[dict[str, Any]]:
  """Writes rows to as many files as they need.

  Returns:
    {'name', 'rows', 'bytes', 'sha256'} of each.
  """
  rows_per_file = BYTES_PER_FILE // data.row_dtype(sequence_length).itemsize
  files: list[dict[str, Any]] = []
  while block := list(itertools.islice(rows, 1)):
    path = folder / f'rows-{len(files):05d}.array_record'
    # One row a group, uncompressed: rows are read one by one in random order.
    writer = array_record_module.ArrayRecordWriter(
      str(path), 'group_size:1,uncompressed'
    )
    count = 0
    for row in itertools.chain(
      block, itertools.islice(rows, rows_per_file - 1)
    ):
      writer.write(row.tobytes())
      count += 1
    writer.close()
    files.append(
      {
        'name': path.name,
        'rows': count,
        'bytes': path.stat().st_size,
        'sha256': artefacts.file_fingerprint(path),
      }
    )
  return files


def _by_role(values_R: np.ndarray) -> dict[str, int]:
  return {
    role: int(value)
    for role, value in zip(document.ROLES, values_R, strict=True)
    if value
  }
