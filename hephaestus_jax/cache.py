"""SeqIO Tasks and Mixtures -> rows of tokens that training reads.

SeqIO says what is in the mix and how a document becomes tokens; here its Tasks
are read once, in their stored order, and packed into rows of one length. A Task
is one folder, keyed by what made it, so that mixtures share it and a cut-off
command loses one Task's work.
"""

import collections
import dataclasses
import functools
import hashlib
import importlib
import itertools
import json
import math
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import seqio
import tensorflow as tf
import tensorflow_datasets as tfds
import tqdm
from array_record.python import array_record_module

from hephaestus_jax import artefacts, chat, data, errors, packing, tokenizer
from hephaestus_jax.corpus import catalogue, document

# Raised when the stored format changes: then every Task is cached anew.
FORMAT = 3
BYTES_PER_FILE = 1 << 28
# What is done with a document that is longer than a row but must share one.
TooLong = Literal['drop', 'split', 'turns']
# What the cache reads of a Task's records.
FEATURES = ('targets', 'roles', 'characters', 'kind', 'refused')
# Records that leave TensorFlow together: one by one, handing them over costs
# more than tokenising them.
DOCUMENTS_PER_READ = 256


@runtime_checkable
class TakesTokenizer(Protocol):
  """A SeqIO vocabulary that the cache gives its tokenizer to."""

  def use(self, tokens: tokenizer.Tokenizer, chat_format: str) -> None:
    """Chooses the tokenizer, and how conversations are written."""


@runtime_checkable
class TakesCorpus(Protocol):
  """A SeqIO data source that reads from the corpus' folder."""

  def read_from(self, corpus_dir: str) -> None:
    """Chooses the folder."""


@dataclasses.dataclass(frozen=True)
class NewTokenizer:
  """What to train where there is no tokenizer yet.

  Attributes:
    vocab_size: tokens, bytes and special tokens included.
    megabytes: text to train on, the same from every kind of document.
  """

  vocab_size: int = 8192
  megabytes: float = 12.0


@dataclasses.dataclass(frozen=True)
class Job:
  """One split of one Task, to be cached."""

  task: seqio.Task
  split: str
  packing: str
  too_long: TooLong


def cache(
  *,
  modules: Sequence[str],
  concat: Sequence[str],
  best_fit: Sequence[str],
  corpus_dir: str,
  cache_dir: str,
  tokenizer_path: str,
  sequence_length: int,
  new_tokenizer: NewTokenizer | None = None,
  chat_format: str = 'chatml',
  trained_roles: Sequence[str] | None = None,
  too_long: TooLong = 'drop',
) -> dict[str, Any]:
  """Freezes Tasks and Mixtures into rows.

  Every split of every Task becomes cache_dir/tasks/<task>/<split>/, and every
  name cache_dir/mixtures/<name>.json with the rates of its Tasks; the mixtures
  that it is made of have one too. What is there already is not made again: a
  new source costs its own rows, and nobody else's.

  Args:
    modules: Python modules whose import registers Tasks and Mixtures.
    concat: Mixtures and Tasks whose documents are joined and cut every
      `sequence_length` tokens: pre-training. Nothing is lost, nothing padded.
    best_fit: Mixtures and Tasks whose documents stay whole and share rows:
      conversations and benchmarks.
    corpus_dir: the corpus that `hephaestus corpus` built.
    cache_dir: where to write.
    tokenizer_path: what `tokenizer.load` opens.
    sequence_length: tokens in a row.
    new_tokenizer: what to train if `tokenizer_path` doesn't exist; None to
      train nothing.
    chat_format: one of chat.FORMATS. A conversation that it has no words for is
      dropped, counted.
    trained_roles: a `best_fit` document without a token of these roles is
      dropped, counted; None: any role will do.
    too_long: what is done with a `best_fit` document that is longer than a row
      and to be trained on. 'drop' leaves it out, 'split' cuts it at any token,
      'turns' where its turns begin, with its opening repeated (see packing.py).
      Each is counted. Splits other than 'train' always drop it.

  Returns:
    {'reused': whether there was nothing to do, 'tokenizer': its fingerprint,
    'tokens': tokens of all Tasks, 'tokens_by_kind', 'tasks': {'task/split':
    what its cache.json says}}.

  Raises:
    errors.UserError: a name nobody registered, a damaged or missing input, or a
      cached Task that was made from something else.
  """
  if sequence_length < 2:
    raise errors.UserError(
      f'sequence_length {sequence_length} leaves no next token to predict: '
      'rows need at least 2 tokens.'
    )
  chat.of_name(chat_format)
  for role in trained_roles or ():
    if role not in document.ROLES:
      raise errors.UserError(
        f'cache.cache.trained_roles names {role!r}; the roles are '
        f'{", ".join(document.ROLES)}.'
      )
  _import(modules)
  mixtures = {name: _mixture_or_task(name) for name in (*concat, *best_fit)}
  jobs = _jobs(mixtures, concat, best_fit, too_long)
  corpus = artefacts.fingerprint(
    artefacts.read_inputs(pathlib.Path(corpus_dir))
  )
  trained = _train_tokenizer(new_tokenizer, tokenizer_path, corpus_dir, corpus)
  tokens = tokenizer.load(tokenizer_path)
  for job in jobs:
    _prepare(job.task, tokens, chat_format, corpus_dir)
  keys = [
    _key(job, tokens, sequence_length)
    | _spans_key(job, chat_format, trained_roles)
    for job in jobs
  ]
  todo = [
    (job, key)
    for job, key in zip(jobs, keys, strict=True)
    if not artefacts.reusable(_folder(cache_dir, job), key)
  ]
  written = [
    _write_mixture(pathlib.Path(cache_dir, 'mixtures', f'{name}.json'), one)
    for name, one in _with_parts(mixtures).items()
  ]
  if len(todo) < len(jobs):
    print(f'reused {len(jobs) - len(todo)} of {len(jobs)} cached splits')
  total = sum(job.task.num_input_examples(job.split) or 0 for job, _ in todo)
  with tqdm.tqdm(
    total=total, unit=' documents', disable=not todo, mininterval=1.0
  ) as bar:
    for job, key in todo:
      bar.set_description(f'{job.task.name}/{job.split}')
      _cache_split(job, key, _folder(cache_dir, job), sequence_length, bar)
  infos = {
    f'{job.task.name}/{job.split}': dict(
      data.Rows(cache_dir, job.task.name, job.split).info
    )
    for job in jobs
  }
  by_kind: collections.Counter[str] = collections.Counter()
  for info in infos.values():
    by_kind.update(info['tokens_by_kind'])
  _print_table(infos)
  return {
    'reused': not (trained or todo or any(written)),
    'tokenizer': tokens.fingerprint,
    'tokens': sum(by_kind.values()),
    'tokens_by_kind': dict(by_kind),
    'tasks': infos,
  }


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


def _cache_split(
  job: Job,
  key: Mapping[str, Any],
  folder: pathlib.Path,
  sequence_length: int,
  bar: tqdm.tqdm,
) -> None:
  """Reads one split of one Task and writes its folder."""
  tally = _Tally()
  examples = _examples(job, bar)
  if job.packing == 'concat':
    kept = _kept(examples, tally, None, None, 'drop')
    rows = packing.concat_rows(kept, sequence_length)
  else:
    trained_roles = key['trained_roles']
    kept = _kept(examples, tally, sequence_length, trained_roles, job.too_long)
    rows = packing.best_fit_rows(kept, sequence_length)
  with artefacts.written(folder, key) as partial:
    files = _write_rows(partial, rows, sequence_length)
    count = sum(file['rows'] for file in files)
    tokens = sum(tally.tokens_by_kind.values())
    artefacts.write_json(
      partial / 'cache.json',
      {
        'task': job.task.name,
        'split': job.split,
        'packing': job.packing,
        'sequence_length': sequence_length,
        'tokenizer': key['tokenizer'],
        'vocab_size': job.task.output_features['targets'].vocabulary.vocab_size,
        'role_names': document.ROLES,
        'rows': count,
        'documents': tally.documents,
        'longest_document': tally.longest,
        'dropped': dict(tally.dropped),
        'cut_documents': tally.cut,
        'parts': tally.parts,
        'untrained_parts': tally.untrained_parts,
        'repeated_tokens': tally.repeated,
        'tokens': tokens,
        'tokens_by_kind': dict(tally.tokens_by_kind),
        'tokens_by_role': _by_role(tally.tokens_R),
        'characters_by_role': _by_role(tally.characters_R),
        'fill': (tokens + tally.repeated) / max(count * sequence_length, 1),
        'files': files,
      },
    )


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


def _examples(job: Job, bar: tqdm.tqdm) -> Iterator[packing.Example]:
  """The documents of a split, as the Task's preprocessors make them."""
  dataset = job.task.get_dataset(
    sequence_length=None,  # nothing is trimmed
    split=job.split,
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
  vocabulary = job.task.output_features['targets'].vocabulary
  where = f'Task {job.task.name!r}, split {job.split!r}'
  try:
    for batch in batches.as_numpy_iterator():
      columns = [_unbatched(batch[name]) for name in names]
      for record in zip(*columns, strict=True):
        yield _example(dict(zip(names, record, strict=True)), vocabulary, where)
      bar.update(len(columns[0]))
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


def _write_mixture(
  path: pathlib.Path, mixture: seqio.Mixture | seqio.Task
) -> bool:
  """Writes the Tasks of a mixture with their shares; nested mixtures are flat.

  Returns:
    Whether anything was written.

  Raises:
    errors.UserError: the mixture was cached with other rates.
  """
  rates = {
    task.name: 1.0 if task is mixture else mixture.get_rate(task)
    for task in _tasks(mixture)
  }
  total = sum(rates.values())
  if total <= 0:
    raise errors.UserError(
      f'The rates of mixture {mixture.name!r} sum to {total}: {rates}.'
    )
  wanted = {'rates': {name: rate / total for name, rate in rates.items()}}
  if path.exists():
    found = json.loads(path.read_text())
    if found == wanted:
      return False
    raise errors.UserError(
      f'{path} was written for another mixture: '
      f'{artefacts.difference(found, wanted)}. Delete the file, or give the '
      'changed mixture a new name.'
    )
  path.parent.mkdir(parents=True, exist_ok=True)
  artefacts.write_json(path, wanted)
  return True


def _import(modules: Sequence[str]) -> None:
  """Imports what registers Tasks and Mixtures."""
  for module in modules:
    try:
      importlib.import_module(module)
    except ModuleNotFoundError as error:
      if error.name is None or not f'{module}.'.startswith(f'{error.name}.'):
        raise
      raise errors.UserError(
        f'There is no Python module {module!r} to take mixtures from '
        f'(no {error.name!r}). Install it, or name its folder in PYTHONPATH.'
      ) from error


def _mixture_or_task(name: str) -> seqio.Mixture | seqio.Task:
  """What is registered under a name.

  Raises:
    errors.UserError: nothing is; the message names what is near.
  """
  known = [*seqio.MixtureRegistry.names(), *seqio.TaskRegistry.names()]
  if name not in known:
    raise errors.UserError(
      f'No Mixture or Task {name!r} is registered.'
      + errors.nearest(name, known)
      + ' The modules that register them are those of cache.cache.modules.'
    )
  return seqio.get_mixture_or_task(name)


def _tasks(mixture: seqio.Mixture | seqio.Task) -> list[seqio.Task]:
  """The Tasks of a Mixture, nested ones' too; a Task is its own."""
  return [mixture] if isinstance(mixture, seqio.Task) else mixture.tasks


def _with_parts(
  mixtures: Mapping[str, seqio.Mixture | seqio.Task],
) -> dict[str, seqio.Mixture | seqio.Task]:
  """Mixtures and the mixtures that they are made of."""
  found = dict(mixtures)
  for mixture in mixtures.values():
    if isinstance(mixture, seqio.Mixture):
      inside = {
        name: seqio.MixtureRegistry.get(name)
        for name in mixture.rate_per_task_name
        if name in seqio.MixtureRegistry.names()
      }
      found = _with_parts(inside) | found
  return found


def _jobs(
  mixtures: Mapping[str, seqio.Mixture | seqio.Task],
  concat: Sequence[str],
  best_fit: Sequence[str],
  too_long: TooLong,
) -> list[Job]:
  """Every split of every Task, once, by name.

  Raises:
    errors.UserError: a Task is to be packed in two ways.
  """
  jobs: dict[tuple[str, str], Job] = {}
  asked_by: dict[str, str] = {}
  for how, names in (('concat', concat), ('best_fit', best_fit)):
    for name in names:
      for task in _tasks(mixtures[name]):
        for split in task.splits:
          # What is measured on stays whole.
          here = too_long if split == 'train' else 'drop'
          job = Job(task, split, how, here)
          other = jobs.setdefault((task.name, split), job)
          if other.packing != how:
            raise errors.UserError(
              f'Task {task.name!r} would be packed in two ways: '
              f'{other.packing} for {asked_by[task.name]!r} and {how} for '
              f'{name!r}. Register it under a second name for one of them.'
            )
        asked_by.setdefault(task.name, name)
  return [jobs[key] for key in sorted(jobs)]


def _prepare(
  task: seqio.Task,
  tokens: tokenizer.Tokenizer,
  chat_format: str,
  corpus_dir: str,
) -> None:
  """Tells a Task what it could not know when it was registered."""
  for feature in task.output_features.values():
    if isinstance(feature.vocabulary, TakesTokenizer):
      feature.vocabulary.use(tokens, chat_format)
  if isinstance(task.source, TakesCorpus):
    task.source.read_from(corpus_dir)


def _key(
  job: Job, tokens: tokenizer.Tokenizer, sequence_length: int
) -> dict[str, Any]:
  """Everything that the rows of a split depend on."""
  source = job.task.source
  return {
    'format': FORMAT,
    'task': job.task.name,
    'split': job.split,
    'packing': job.packing,
    'sequence_length': sequence_length,
    'tokenizer': vocabulary_fingerprint(job.task, tokens),
    'preprocessors': [_describe(step) for step in job.task.preprocessors],
    'source': {
      'class': type(source).__name__,
      'shards': [_shard(shard) for shard in source.list_shards(job.split)],
    },
    # Of conversations alone: nothing else is too long.
    **({'too_long': job.too_long} if job.packing == 'best_fit' else {}),
  }


def _spans_key(
  job: Job, chat_format: str, trained_roles: Sequence[str] | None
) -> dict[str, Any]:
  """What the roles of tokens decide, where they decide anything."""
  vocabulary = job.task.output_features['targets'].vocabulary
  roles = None if trained_roles is None else sorted(trained_roles)
  return {
    'chat_format': (
      chat_format if isinstance(vocabulary, TakesTokenizer) else None
    ),
    'trained_roles': roles if job.packing == 'best_fit' else None,
  }


def vocabulary_fingerprint(
  task: seqio.Task, tokens: tokenizer.Tokenizer
) -> str:
  """Says which vocabulary a Task's tokens belong to.

  A SeqIO vocabulary over the same SentencePiece file has the fingerprint of
  that file, so its Tasks mix with those of the corpus.

  Raises:
    errors.UserError: the Task has no 'targets'.
  """
  if 'targets' not in task.output_features:
    raise errors.UserError(
      f"Task {task.name!r} has no output feature 'targets', but "
      f'{list(task.output_features)}.'
    )
  vocabulary = task.output_features['targets'].vocabulary
  if isinstance(vocabulary, TakesTokenizer):
    return tokens.fingerprint
  if isinstance(vocabulary, seqio.SentencePieceVocabulary):
    return hashlib.sha256(vocabulary.sp_model).hexdigest()[:16]
  return f'{type(vocabulary).__name__}-{vocabulary.vocab_size}'


def _describe(step: Any) -> Any:
  """A preprocessor's name and its bound arguments, the same in every run."""
  if isinstance(step, functools.partial):
    return [
      _describe(step.func),
      [_describe(value) for value in step.args],
      {name: _describe(value) for name, value in step.keywords.items()},
    ]
  if hasattr(step, '__qualname__'):
    return f'{step.__module__}.{step.__qualname__}'
  if isinstance(step, (str, int, float, bool, type(None), list, tuple, dict)):
    return repr(step)
  return type(step).__name__


def _shard(name: str) -> str:
  """A source's file with its content's fingerprint, or what is no file."""
  path = pathlib.Path(name)
  if not path.is_file():
    return name
  return f'{path.name} {artefacts.file_fingerprint(path)}'


def _folder(cache_dir: str, job: Job) -> pathlib.Path:
  return pathlib.Path(cache_dir, 'tasks', job.task.name, job.split)


def _train_tokenizer(
  new: NewTokenizer | None, path: str, corpus_dir: str, corpus: str
) -> bool:
  """Trains the tokenizer of a run if it has none yet.

  Only a *.model is trained. One in a folder that no command made is somebody's
  own, and is used as it is.

  Returns:
    Whether it was trained now.

  Raises:
    errors.UserError: `path` was trained on something else, or its folder is
      not one for it.
  """
  file = pathlib.Path(path)
  if new is None or file.suffix != '.model':
    return False
  if file.parent.is_dir() and not (file.parent / artefacts.INPUTS).exists():
    if file.is_file():
      return False
    raise errors.UserError(
      f'There is no tokenizer at {path}. A new one needs a folder of its own, '
      'which must not exist yet: name a file in such a folder, or one that is '
      'there.'
    )
  inputs = {'corpus': corpus, **dataclasses.asdict(new)}
  if artefacts.reusable(file.parent, inputs):
    print(f'reused {path}')
    return False
  texts = sample_texts(corpus_dir, int(new.megabytes * 1e6))
  with artefacts.written(file.parent, inputs) as partial:
    tokenizer.train(texts, partial / file.name, new.vocab_size)
  return True


def sample_texts(corpus_dir: str, size: int) -> Iterator[str]:
  """About `size` bytes of the corpus' train split, as much of every kind.

  Within a kind every source gives as much, as far as it has it. The records of
  a split are stored in the order of a hash of their ids, so the first of them
  are a fair sample, the same every time.

  Yields:
    The text of segments.
  """
  sources: dict[str, list[tuple[int, str, tfds.core.DatasetBuilder]]] = {}
  for path in sorted(
    pathlib.Path(corpus_dir, 'forge').glob('*/*/features.json')
  ):
    builder = tfds.builder_from_directory(path.parent)
    name = path.parent.parent.name
    train = builder.info.splits.get('train')
    if train and train.num_examples:
      sources.setdefault(catalogue.by_name(name).kind, []).append(
        (train.num_bytes, name, builder)
      )
  for kind in sorted(sources):
    left = size / len(sources)
    # The smallest first: what they lack goes to the others.
    for position, (size_here, _, builder) in enumerate(sorted(sources[kind])):
      share = min(left / (len(sources[kind]) - position), size_here)
      left -= share
      count = math.ceil(
        share / size_here * builder.info.splits['train'].num_examples
      )
      records = builder.as_dataset(
        split='train', read_config=tfds.ReadConfig(try_autocache=False)
      )
      for record in records.take(count).as_numpy_iterator():
        for text in record['texts']:
          yield text.decode()


def _by_role(values_R: np.ndarray) -> dict[str, int]:
  return {
    role: int(value)
    for role, value in zip(document.ROLES, values_R, strict=True)
    if value
  }


def _print_table(infos: Mapping[str, Mapping[str, Any]]) -> None:
  """A line per cached split."""
  width = max(map(len, infos), default=10)
  print(f'{"task/split":<{width}} {"documents":>9} {"tokens":>11} {"fill":>5}')
  for name, info in infos.items():
    dropped = ', '.join(f'{n} {why}' for why, n in info['dropped'].items())
    cut = f'{info["cut_documents"]} cut into {info["parts"]}'
    if info['untrained_parts']:
      cut += f' and {info["untrained_parts"]} that teach nothing'
    print(
      f'{name:<{width}} {info["documents"]:>9,} {info["tokens"]:>11,} '
      f'{info["fill"]:>5.3f}'
      + (f'  dropped: {dropped}' if dropped else '')
      + (f'  {cut}' if info['cut_documents'] else '')
    )
