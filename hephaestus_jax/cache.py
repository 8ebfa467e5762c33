"""SeqIO Tasks and Mixtures -> rows of tokens that training reads.

SeqIO says what is in the mix and how a document becomes tokens; here its Tasks
are read once, in their stored order, and packed into rows of one length. A
split of a Task is one folder, keyed by what made it (`cache_key.py`), so that
mixtures share it. It is made in shards (`cache_shard.py`), by as many processes
as one likes; a command that is cut off loses those that were under way.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import math
import multiprocessing
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import seqio
import tensorflow_datasets as tfds
import tqdm

from hephaestus_jax import (
  artefacts,
  cache_key,
  cache_shard,
  chat,
  data,
  errors,
  seqio_tasks,
  tokenizer,
)
from hephaestus_jax.cache_key import Job, TooLong
from hephaestus_jax.corpus import catalogue, document


@dataclasses.dataclass(frozen=True)
class NewTokenizer:
  """What to train where there is no tokenizer yet.

  Attributes:
    vocab_size: tokens, bytes and special tokens included.
    megabytes: text to train on, the same from every kind of document.
  """

  vocab_size: int = 8192
  megabytes: float = 12.0


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
  workers: int = 1,
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
    workers: processes that make rows; the rows are the same for any number.
      More than one register the Tasks by importing `modules` anew.

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
  if workers < 1:
    raise errors.UserError(f'cache.cache.workers = {workers} is below 1.')
  chat.of_name(chat_format)
  for role in trained_roles or ():
    if role not in document.ROLES:
      raise errors.UserError(
        f'cache.cache.trained_roles names {role!r}; the roles are '
        f'{", ".join(document.ROLES)}.'
      )
  seqio_tasks.register(modules)
  mixtures = {name: _mixture_or_task(name) for name in (*concat, *best_fit)}
  jobs = _jobs(mixtures, concat, best_fit, too_long)
  corpus = artefacts.fingerprint(
    artefacts.read_inputs(pathlib.Path(corpus_dir))
  )
  trained = _train_tokenizer(new_tokenizer, tokenizer_path, corpus_dir, corpus)
  setting = _Setting(tuple(modules), tokenizer_path, chat_format, corpus_dir)
  tokens = tokenizer.load(tokenizer_path)
  for job in jobs:
    setting.prepare(job.task, tokens)
  todo: list[tuple[Job, list[cache_shard.Shard]]] = []
  for job in jobs:
    key = cache_key.of_split(
      job, tokens, sequence_length, chat_format, trained_roles
    )
    if not artefacts.reusable(_folder(cache_dir, job), key):
      todo.append((job, _shards(job, key, cache_dir)))
  written = [
    _write_mixture(pathlib.Path(cache_dir, 'mixtures', f'{name}.json'), one)
    for name, one in _with_parts(mixtures).items()
  ]
  if len(todo) < len(jobs):
    print(f'reused {len(jobs) - len(todo)} of {len(jobs)} cached splits')
  _write_shards(todo, setting, workers)
  for job, shards in todo:
    _join(job, shards, _folder(cache_dir, job))
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


@dataclasses.dataclass(frozen=True)
class _Setting:
  """What a process needs to know to make any shard."""

  modules: tuple[str, ...]
  tokenizer_path: str
  chat_format: str
  corpus_dir: str

  def prepare(self, task: seqio.Task, tokens: tokenizer.Tokenizer) -> None:
    """Tells a Task of it."""
    seqio_tasks.prepare(task, tokens, self.chat_format, self.corpus_dir)


def _shards(
  job: Job, key: Mapping[str, Any], cache_dir: str
) -> list[cache_shard.Shard]:
  """The shards of a split, each beside where the split will be."""
  folder = _folder(cache_dir, job)
  count = cache_shard.number(job.task, job.split)
  return [
    cache_shard.Shard(
      folder.with_name(f'{folder.name}.shard-{index:05d}'), key, index, count
    )
    for index in range(count)
  ]


def _write_shards(
  todo: Sequence[tuple[Job, Sequence[cache_shard.Shard]]],
  setting: _Setting,
  workers: int,
) -> None:
  """Makes the shards that are not there yet."""
  missing: list[tuple[int, Job, cache_shard.Shard]] = []
  for job, shards in todo:
    documents = (job.task.num_input_examples(job.split) or 0) // len(shards)
    missing += [
      (documents, job, shard) for shard in shards if not _left_over(shard)
    ]
  with tqdm.tqdm(
    total=sum(documents for documents, _, _ in missing),
    unit=' documents',
    disable=not missing,
    mininterval=1.0,
  ) as bar:
    if workers > 1 and len(missing) > 1:
      # The largest first, so that none is waited for alone.
      missing.sort(key=lambda one: -one[0])
      shards = [shard for _, _, shard in missing]
      _write_elsewhere(shards, setting, min(workers, len(shards)), bar)
      return
    for _, job, shard in missing:
      bar.set_description(f'{job.task.name}/{job.split}')
      cache_shard.write(shard, job.task, bar.update)


def _left_over(shard: cache_shard.Shard) -> bool:
  """Whether a command that was cut off made this shard; another's goes."""
  with contextlib.suppress(errors.UserError):
    return artefacts.reusable(shard.folder, shard.inputs)
  shutil.rmtree(shard.folder)
  return False


def _write_elsewhere(
  shards: Sequence[cache_shard.Shard],
  setting: _Setting,
  workers: int,
  bar: tqdm.tqdm,
) -> None:
  """Makes shards in processes of their own."""
  # TensorFlow has threads, which a fork would leave behind.
  spawn = multiprocessing.get_context('spawn')
  with (
    spawn.Manager() as manager,
    concurrent.futures.ProcessPoolExecutor(workers, spawn) as pool,
  ):
    ticks = manager.Queue()
    waiting = {
      pool.submit(_write_here, shard, setting, ticks) for shard in shards
    }
    try:
      while waiting:
        done, waiting = concurrent.futures.wait(
          waiting, 1, concurrent.futures.FIRST_COMPLETED
        )
        while not ticks.empty():
          bar.update(ticks.get())
        for future in done:
          future.result()
    except BaseException:
      pool.shutdown(cancel_futures=True)
      raise


def _write_here(
  shard: cache_shard.Shard, setting: _Setting, ticks: Any
) -> None:
  """Makes a shard in a process that knows nothing yet."""
  seqio_tasks.register(setting.modules)
  task = seqio.TaskRegistry.get(shard.key['task'])
  setting.prepare(task, _loaded(setting.tokenizer_path))
  cache_shard.write(shard, task, ticks.put)


# A process makes many shards with one tokenizer.
_loaded = functools.cache(tokenizer.load)


def _join(
  job: Job, shards: Sequence[cache_shard.Shard], folder: pathlib.Path
) -> None:
  """Makes the shards of a split one folder."""
  key = shards[0].key
  with artefacts.written(folder, key) as partial:
    counts = []
    for shard in shards:
      place = shard.folder.replace(partial / f'{shard.index:05d}')
      for name in (artefacts.INPUTS, artefacts.CONFIG):
        (place / name).unlink(missing_ok=True)
      here = json.loads((place / cache_shard.COUNTS).read_text())
      for file in here['files']:
        file['name'] = f'{place.name}/{file["name"]}'
      counts.append(here)
    whole = cache_shard.summed(counts)
    tokens = sum(whole['tokens_by_kind'].values())
    length = key['sequence_length']
    room = max(whole['rows'] * length, 1)
    artefacts.write_json(
      partial / 'cache.json',
      {
        'task': job.task.name,
        'split': job.split,
        'packing': job.packing,
        'sequence_length': length,
        'tokenizer': key['tokenizer'],
        'vocab_size': job.task.output_features['targets'].vocabulary.vocab_size,
        'role_names': document.ROLES,
        'tokens': tokens,
        'fill': (tokens + whole['repeated_tokens']) / room,
        **whole,
      },
    )
  # Of a command that was cut off and cut the split in more.
  for old in folder.parent.glob(f'{folder.name}.shard-*'):
    shutil.rmtree(old)


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
