"""Where records come from, and a Task per source of the corpus: '<source>_v1'.

The Tasks have the splits 'train' and 'validation'. What the corpus held out is
reached through `benchmarks` alone, so no mixture can train on it.
"""

import functools
import pathlib
from collections.abc import Mapping, Sequence

import seqio
import tensorflow as tf
import tensorflow_datasets as tfds

from data_tasks import preprocessors, vocabularies
from hephaestus_jax import errors
from hephaestus_jax.corpus import catalogue, source
from hephaestus_jax.corpus.catalogue import packages

SPLITS = ('train', 'validation')


class CorpusSource(seqio.DataSource):
  """One source of the corpus, or several one after the other.

  Each is the TFDS dataset 'forge/<name>:1.0.0' in the corpus' folder, which
  `hephaestus cache` puts in with `read_from`; in a notebook call
  `source.read_from('runs/demo/corpus')`. What TfdsDataSource can't do is wait
  for its folder, read several datasets, and give nothing for a split that no
  document fell into.
  """

  def __init__(self, names: Sequence[str], splits: Sequence[str]):
    super().__init__(splits=splits)
    self.names = tuple(names)
    self._corpus_dir: str | None = None

  def read_from(self, corpus_dir: str) -> None:
    """Chooses the corpus' folder."""
    self._corpus_dir = corpus_dir

  @property
  def supports_arbitrary_sharding(self) -> bool:
    """False: a shard has whole files."""
    return False

  def get_dataset(
    self,
    split: str = 'train',
    shuffle: bool = False,
    seed: int | None = None,
    shard_info: seqio.ShardInfo | None = None,
    *,
    sequence_length: Mapping[str, int] | None = None,
    use_cached: bool = False,
    num_epochs: int | None = 1,
  ) -> tf.data.Dataset:
    """Records in stored order, with the features of `document.to_record`.

    Raises:
      errors.UserError: the corpus' folder is not known, or lacks a source.
      ValueError: a shuffled dataset is asked for. The order in which a model
        sees rows is made later, by `data.Mixture`.
    """
    del seed, sequence_length, use_cached, num_epochs  # of no meaning here
    if shuffle:
      raise ValueError('A CorpusSource is read in its stored order.')
    if len(self.names) == 1:
      return self._records(self.names[0], split, shard_info)
    parts = [self._records(name, split) for name in self.names]
    whole = functools.reduce(lambda a, b: a.concatenate(b), parts)
    if shard_info is None:
      return whole
    return whole.shard(shard_info.num_shards, shard_info.index)

  def list_shards(self, split: str) -> Sequence[str]:
    """The files of a split."""
    return [
      str(path)
      for name in self.names
      for path in sorted(
        pathlib.Path(self._builder(name).data_dir).glob(f'*-{split}.*')
      )
    ]

  def num_input_examples(self, split: str) -> int:
    """Documents in a split."""
    return sum(self._sizes(split, 'num_examples'))

  def num_bytes(self, split: str) -> int:
    """Bytes of the records of a split."""
    return sum(self._sizes(split, 'num_bytes'))

  def _records(
    self, name: str, split: str, shard_info: seqio.ShardInfo | None = None
  ) -> tf.data.Dataset:
    builder = self._builder(name)
    known = builder.info.splits
    here = split in known and known[split].num_examples
    dataset = builder.as_dataset(
      split=split if here else next(iter(known)),
      shuffle_files=False,
      # Read once: keeping it in memory would be of no use.
      read_config=tfds.ReadConfig(
        try_autocache=False, input_context=_files_of(shard_info)
      ),
    )
    return dataset if here else dataset.take(0)

  def _sizes(self, split: str, attribute: str) -> list[int]:
    known = [self._builder(name).info.splits for name in self.names]
    return [
      getattr(splits[split], attribute) for splits in known if split in splits
    ]

  def _builder(self, name: str) -> tfds.core.DatasetBuilder:
    if self._corpus_dir is None:
      raise errors.UserError(
        f'Nobody has said where the corpus with {name!r} is. `hephaestus cache`'
        ' does; in a notebook call task.source.read_from(CORPUS_DIR).'
      )
    folder = pathlib.Path(self._corpus_dir, 'forge', name, '1.0.0')
    if not folder.is_dir():
      raise errors.UserError(
        f'The corpus has no source {name!r}: {folder} does not exist. Build '
        'the corpus with it, or choose a mixture without it.'
      )
    return tfds.builder_from_directory(folder)


def _files_of(
  shard_info: seqio.ShardInfo | None,
) -> tf.distribute.InputContext | None:
  """A shard as TFDS takes it."""
  return shard_info and tf.distribute.InputContext(
    num_input_pipelines=shard_info.num_shards,
    input_pipeline_id=shard_info.index,
  )


def task_name(source: str) -> str:
  """Name of a source's Task; a changed Task is a new version."""
  return f'{source}_v1'


def add_task(of: source.Source) -> None:
  """Registers the Task of one source."""
  seqio.TaskRegistry.add(
    task_name(of.name),
    source=CorpusSource([of.name], SPLITS),
    preprocessors=[preprocessors.tokenize_documents],
    output_features=vocabularies.OUTPUT_FEATURES,
  )


def tasks_of(kind: str) -> list[str]:
  """Names of the Tasks of one kind that registry packages give, in order.

  Those are the sources that every machine can build. A mixture of other data
  sets names their Tasks.
  """
  return [task_name(of.name) for of in packages.SOURCES if of.kind == kind]


def corpus_bytes(task: seqio.Task) -> int:
  """A source's rate among the sources of its kind: the size of its train split.

  Known when the cache is built, not when the mixture is registered.
  """
  return task.source.num_bytes('train')


for _source in catalogue.SOURCES:
  if _source.kind != 'instruction':
    add_task(_source)
