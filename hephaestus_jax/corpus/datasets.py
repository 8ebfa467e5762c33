"""The last pipeline: document files -> TFDS datasets, a source per worker.

TFDS orders a split's records by a hash of their ids through files on disk, so a
worker holds 64 MB of them and not the source. A module of its own, because a
worker imports TensorFlow to write, and the others needn't.
"""

import contextlib
import dataclasses
import functools
import importlib
import io
import json
import logging
import pathlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence

import apache_beam as beam
import tensorflow_datasets as tfds

from hephaestus_jax import quiet
from hephaestus_jax.corpus import document, facts, forge, runner, splits


@dataclasses.dataclass(frozen=True)
class Dataset:
  """What one dataset is written from.

  Attributes:
    source: name of the source and of the config.
    description: a line about it.
    homepage: where a person finds it.
    files: its document files.
    documents: split -> how many of its documents are left; those of no
      document aren't named.
  """

  source: str
  description: str
  homepage: str
  files: Sequence[str]
  documents: Mapping[str, int]


def write(
  pipeline: beam.Pipeline,
  ticks: pathlib.Path | None,
  *,
  datasets: Sequence[Dataset],
  gone: pathlib.Path,
  split_of: splits.Splits,
  output: pathlib.Path,
) -> None:
  """Writes `output`/forge/<source>/1.0.0, or stops at the first that is wrong.

  Args:
    pipeline: the pipeline to add to.
    ticks: where to tell progress.
    datasets: what to write.
    gone: `facts.Keys` of the documents that a step dropped.
    split_of: says which split a document belongs to.
    output: the folder of all datasets.
  """
  _ = (
    pipeline
    | beam.Create(datasets, reshuffle=False)
    | beam.Reshuffle()
    | beam.ParDo(_Write(gone, split_of, output))
    | beam.ParDo(runner.Tick(ticks))
  )


class _Write(beam.DoFn):
  """Datasets -> their names."""

  def __init__(
    self, gone: pathlib.Path, split_of: splits.Splits, output: pathlib.Path
  ) -> None:
    self._path = gone
    self._split_of = split_of
    self._output = output

  def setup(self) -> None:
    with quiet.start_up():
      importlib.import_module('tensorflow')  # it would load on first use
    tfds.disable_progress_bar()
    logging.getLogger('absl').setLevel(logging.ERROR)
    self._gone = facts.Keys(self._path)

  def process(self, dataset: Dataset) -> Iterator[str]:
    builder = forge.Forge(
      source=dataset.source,
      description=dataset.description,
      homepage=dataset.homepage,
      documents={
        split: functools.partial(self._documents, dataset.files, split)
        for split in dataset.documents
      },
      data_dir=str(self._output),
    )
    # It announces a download that there isn't, and makes a folder for it.
    with (
      contextlib.redirect_stdout(io.StringIO()),
      tempfile.TemporaryDirectory() as downloads,
    ):
      builder.download_and_prepare(download_dir=downloads)
    for split, documents in dataset.documents.items():
      written = builder.info.splits[split].num_examples
      if written != documents:
        raise RuntimeError(
          f'TFDS wrote {written} of {documents} documents '
          f'of {dataset.source}, split {split}.'
        )
    yield dataset.source

  def _documents(
    self, files: Sequence[str], split: str
  ) -> Iterator[document.Document]:
    """What is left of a source in a split, read from its files."""
    for file in files:
      with pathlib.Path(file).open(encoding='utf-8', newline='\n') as lines:
        for line in lines:
          record = json.loads(line)
          if (
            self._split_of.of(record['id']) == split
            and record['id'] not in self._gone
          ):
            yield document.from_record(record)
