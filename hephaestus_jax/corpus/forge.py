"""The corpus as TFDS datasets: one config per source, TFRecord files.

`tfds.load('forge/botocore_docs', data_dir=..., split='train')` reads them back,
also in a process that never imported this module. TFDS orders the records of a
split by a hash of their ids, so neighbours in a file aren't neighbours in the
source, and the files depend on the Documents alone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core import shuffle as tfds_shuffle
from tensorflow_datasets.core import writer as tfds_writer
from tensorflow_datasets.proto import tf_example_pb2

from hephaestus_jax.corpus import document

VERSION = '1.0.0'
# What TFDS sorts in memory; more goes through files, in the same order. Its own
# limit is a gigabyte for every process that writes.
tfds_shuffle.MAX_MEM_BUFFER_SIZE = 64 << 20


class Forge(tfds.core.GeneratorBasedBuilder):
  """Documents of one source.

  A split that has no document isn't there: TFDS knows no empty ones.
  """

  VERSION = tfds.core.Version(VERSION)

  def __init__(
    self,
    *,
    source: str,
    description: str,
    homepage: str,
    documents: Mapping[str, Callable[[], Iterable[document.Document]]],
    data_dir: str,
  ) -> None:
    """A dataset to be written with `download_and_prepare()`.

    Args:
      source: name of the config.
      description: a line about the source.
      homepage: where a person finds it.
      documents: for each split, what gives its Documents.
      data_dir: the folder that 'forge/<source>/1.0.0' is written in.
    """
    self._homepage = homepage
    self._documents = documents
    super().__init__(
      config=tfds.core.BuilderConfig(name=source, description=description),
      data_dir=data_dir,
      file_format='tfrecord',
    )

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description='Text about tools, and general text and code beside it.',
      homepage=self._homepage,
      features=tfds.features.FeaturesDict(
        {
          'id': tfds.features.Text(),
          'source': tfds.features.Text(),
          'kind': tfds.features.Text(),
          'licence': tfds.features.Text(),
          'url': tfds.features.Text(),
          'roles': tfds.features.Sequence(tfds.features.Text()),
          'texts': tfds.features.Sequence(tfds.features.Text()),
        }
      ),
    )

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
    """The splits' records; nothing is downloaded here."""
    del dl_manager
    return {
      split: self._generate_examples(documents)
      for split, documents in self._documents.items()
    }

  def _generate_examples(
    self, documents: Callable[[], Iterable[document.Document]]
  ) -> Iterator[tuple[str, dict[str, Any]]]:
    """Records by the id that TFDS orders them by."""
    for written in documents():
      yield written.id, document.to_record(written)

  def _example_writer(self) -> tfds_writer.ExampleWriter:
    return _OrderedWriter(file_format=self.info.file_format)


class _OrderedWriter(tfds_writer.ExampleWriter):
  """Writes equal examples as equal bytes.

  A tf.train.Example is a map, and protobuf writes maps in an order that differs
  from process to process, unless it is told not to.
  """

  def write(self, path: Any, examples: Iterable[tuple[int, bytes]]) -> Any:
    """Writes (key, serialised example) pairs to a file."""
    return super().write(
      path, ((key, _ordered(example)) for key, example in examples)
    )


def _ordered(example: bytes) -> bytes:
  parsed = tf_example_pb2.Example.FromString(example)
  return parsed.SerializeToString(deterministic=True)
