"""What Beam runs: the corpus steps that look at text, on any number of workers.

Three pipelines, each from files to files: `read` makes Documents of archive
members, `score` asks the classifier, `find_overlaps` looks benchmark strings
up. Text never crosses a shuffle, so a worker's memory doesn't grow with the
corpus; what the steps decide is a line of JSON per document or less, and no
result depends on how the work was divided.

Every path is one that this process and all workers know: a local disk where
they are on one machine, a mounted one where they are on several.
"""

import collections
import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet
from apache_beam.io import fileio
from apache_beam.transforms import window
from apache_beam.utils import windowed_value

from hephaestus_jax import errors, tokenizer
from hephaestus_jax.corpus import (
  document,
  facts,
  ledger,
  runner,
  source,
  splits,
)
from hephaestus_jax.corpus.files import archive
from hephaestus_jax.corpus.filters import classify, decontaminate, deduplicate

READ_BYTES = 8 << 20  # one worker's unit when document files are read again
FACTS_BYTES = 4 << 20  # what a worker collects before it writes facts

Step = Callable[[document.Document], document.Document | document.Drop]


def read(
  pipeline: beam.Pipeline,
  ticks: pathlib.Path | None,
  *,
  members: Sequence[tuple[str, str, str]],
  sources: Mapping[str, source.Source],
  steps: Sequence[tuple[str, Step]],
  split_of: splits.Splits,
  near: deduplicate.NearDuplicates,
  classifier: classify.Classifier | None,
  folder: pathlib.Path,
) -> None:
  """Archive members -> Documents that passed `steps`, and facts about them.

  Args:
    pipeline: the pipeline to add to.
    ticks: where to tell progress.
    members: (source name, archive path, member) each.
    sources: the sources by name.
    steps: (name, function) in order; each sees what the one before left.
    split_of: says which split a document belongs to.
    near: how sketches are made.
    classifier: says what to learn from; None without the learned filter.
    folder: gets documents/<source>-*, tallies-*, drops-*, examples-* and
      benchmark-*, lines of JSON, and facts-* (Parquet).
  """
  outcome = (
    pipeline
    | 'Members' >> beam.Create(members, reshuffle=False)
    | beam.Reshuffle()
    | beam.ParDo(runner.Tick(ticks))
    | 'Read'
    >> beam.ParDo(_Read(sources, steps)).with_outputs(
      'tally', 'drop', main='kept'
    )
  )
  _ = (
    outcome.tally
    | beam.CombinePerKey(sum)
    | beam.Map(lambda tally: json.dumps([*tally[0], tally[1]]))
    | 'Tallies' >> beam.io.WriteToText(str(folder / 'tallies'))
  )
  # A few drops per reason, for people to look at: those of the first ids.
  _ = (
    outcome.drop
    | beam.combiners.Top.SmallestPerKey(ledger.EXAMPLES_KEPT)
    | 'Drop lines'
    >> beam.FlatMap(
      lambda drop: [json.dumps([*drop[0], *example]) for example in drop[1]]
    )
    | 'Drops' >> beam.io.WriteToText(str(folder / 'drops'))
  )
  # The writer opens a file per source and worker.
  _ = (
    outcome.kept
    | beam.Map(lambda kept: (kept.source, document.to_line(kept)))
    | 'Documents'
    >> fileio.WriteToFiles(
      str(folder / 'documents'),
      destination=lambda line: line[0],
      sink=lambda _: _LineSink(),
      file_naming=fileio.destination_prefix_naming(),
      max_writers_per_bundle=len(sources),
    )
  )
  _ = (
    outcome.kept
    | beam.Map(lambda kept: deduplicate.fact(kept, split_of.of(kept.id), near))
    | 'Facts'
    >> beam.io.WriteToParquet(
      str(folder / 'facts'),
      facts.schema(near.bands * near.rows),
      row_group_buffer_size=FACTS_BYTES,
    )
  )
  _ = (
    outcome.kept
    | beam.FlatMap(_benchmark_lines, split_of)
    | 'Benchmark' >> beam.io.WriteToText(str(folder / 'benchmark'))
  )
  if classifier:
    wanted = classifier.training_documents + classifier.test_documents
    _ = (
      outcome.kept
      | beam.FlatMap(_labelled, split_of, classifier)
      | beam.combiners.Top.SmallestPerKey(wanted // len(classify.LABELS))
      | 'Example lines'
      >> beam.FlatMap(lambda item: [json.dumps(e) for e in item[1]])
      | 'Examples' >> beam.io.WriteToText(str(folder / 'examples'))
    )


def score(
  pipeline: beam.Pipeline,
  ticks: pathlib.Path | None,
  *,
  files: Sequence[str],
  model: pathlib.Path,
  classifier: classify.Classifier,
  folder: pathlib.Path,
) -> None:
  """Documents -> scores-*: {"id", "source", "size", "bin"} a line.

  Args:
    pipeline: the pipeline to add to.
    ticks: where to tell progress.
    files: the document files of the filtered sources.
    model: a fastText model that every worker can open.
    classifier: what of a document the model sees, and how its size is counted.
    folder: gets the lines.
  """
  _ = (
    _documents(pipeline, ticks, files)
    | beam.ParDo(_Score(model, classifier))
    | 'Scores' >> beam.io.WriteToText(str(folder / 'scores'))
  )


def find_overlaps(
  pipeline: beam.Pipeline,
  ticks: pathlib.Path | None,
  *,
  files: Sequence[str],
  gone: pathlib.Path,
  split_of: splits.Splits,
  index: decontaminate.Index,
  folder: pathlib.Path,
) -> None:
  """Documents -> overlaps-*: {"id", "source", "benchmark", "ngram"} a line.

  Args:
    pipeline: the pipeline to add to.
    ticks: where to tell progress.
    files: the document files.
    gone: `facts.Keys` of the documents that need no look.
    split_of: says which documents are held out, and need none either.
    index: of the benchmarks' n-grams.
    folder: gets the lines.
  """
  _ = (
    _documents(pipeline, ticks, files)
    | beam.ParDo(_FindOverlaps(index, gone, split_of))
    | 'Overlaps' >> beam.io.WriteToText(str(folder / 'overlaps'))
  )


def some(
  files: Sequence[str], ids: Collection[str]
) -> Iterator[document.Document]:
  """The documents of these ids in document files; no other line is parsed."""
  missing = {f'{{"id": {json.dumps(i, ensure_ascii=False)}' for i in ids}
  for file in files:
    if not missing:
      return
    with pathlib.Path(file).open(encoding='utf-8', newline='\n') as found:
      for line in found:
        beginning = line.partition(', "source": ')[0]
        if beginning in missing:
          missing.remove(beginning)
          yield document.from_line(line)


def lines(folder: pathlib.Path, name: str) -> Iterator[str]:
  """The lines of all files of that name that a pipeline wrote, in any order.

  Raises:
    errors.UserError: there is none, not even an empty one.
  """
  paths = sorted(folder.glob(f'{name}-*-of-*'))
  if not paths:
    raise errors.UserError(
      f"Beam's workers left no file {name} in {folder}: they see another disk. "
      'Build into a folder that all machines have under one path.'
    )
  for path in paths:
    with path.open(encoding='utf-8', newline='\n') as file:
      yield from file


def read_facts(folder: pathlib.Path, near: deduplicate.NearDuplicates) -> Any:
  """The facts that `read` wrote into a folder, as one Arrow table."""
  tables = [
    pa.parquet.read_table(path) for path in sorted(folder.glob('facts-*-of-*'))
  ]
  schema = facts.schema(near.bands * near.rows)
  return pa.concat_tables([schema.empty_table(), *tables])


def _documents(
  pipeline: beam.Pipeline, ticks: pathlib.Path | None, files: Sequence[str]
) -> beam.PCollection[document.Document]:
  return (
    pipeline
    | beam.Create(files)
    | beam.io.ReadAllFromText(desired_bundle_size=READ_BYTES)
    | beam.ParDo(runner.Tick(ticks))
    | beam.Map(document.from_line)
  )


class _Read(beam.DoFn):
  """Archive members -> Documents that passed all steps.

  Tagged outputs: 'tally', ((step, source, outcome), count) once a bundle, and
  'drop', ((step, reason), (id, beginning of the text)).
  """

  def __init__(
    self,
    sources: Mapping[str, source.Source],
    steps: Sequence[tuple[str, Step]],
  ) -> None:
    self._sources = sources
    self._steps = steps

  def start_bundle(self) -> None:
    self._tallies: collections.Counter[tuple[str, str, str]] = (
      collections.Counter()
    )

  # Any: Beam reads these annotations, and knows no type for tagged outputs.
  def process(self, member: tuple[str, str, str]) -> Iterator[Any]:
    name, path, inside = member
    for found in self._sources[name].read(_opened(path), inside):
      self._tallies['read', found.source, ledger.IN] += 1
      if isinstance(found, document.Drop):
        yield self._drop('read', found, '')
      else:
        self._tallies['read', found.source, ledger.OUT] += 1
        yield from self._apply(found)

  def _apply(self, found: document.Document) -> Iterator[Any]:
    for step, function in self._steps:
      self._tallies[step, found.source, ledger.IN] += 1
      outcome = function(found)
      if isinstance(outcome, document.Drop):
        yield self._drop(step, outcome, found.text)
        return
      self._tallies[step, found.source, ledger.OUT] += 1
      found = outcome
    yield found

  def _drop(self, step: str, drop: document.Drop, text: str) -> Any:
    self._tallies[step, drop.source, drop.reason] += 1
    example = (drop.document_id, text[:300])
    return beam.pvalue.TaggedOutput('drop', ((step, drop.reason), example))

  def finish_bundle(self) -> Iterator[Any]:
    whole = window.GlobalWindow()
    for tally in self._tallies.items():
      yield beam.pvalue.TaggedOutput(
        'tally',
        windowed_value.WindowedValue(tally, whole.max_timestamp(), (whole,)),
      )


@functools.lru_cache
def _opened(path: str) -> archive.Opened:
  """One worker opens an archive once: its table of contents can be long."""
  return archive.opened(path)


class _LineSink(fileio.TextSink):
  """Writes the second part of (source, line)."""

  def write(self, record: tuple[str, str]) -> None:
    super().write(record[1])


def _benchmark_lines(
  kept: document.Document, split_of: splits.Splits
) -> Iterator[str]:
  """[benchmark, strings] of what held-out documents ask and answer."""
  if split_of.of(kept.id) == 'heldout':
    found = decontaminate.heldout_record(kept)
    if found:
      yield json.dumps(found)


def _labelled(
  kept: document.Document,
  split_of: splits.Splits,
  classifier: classify.Classifier,
) -> Iterator[tuple[str, tuple[str, ...]]]:
  """(label, example) of train documents; examples compare by their order."""
  example = classify.example(kept, classifier)
  if example and split_of.of(kept.id) == 'train':
    yield example.label, dataclasses.astuple(example)


class _Score(beam.DoFn):
  """Documents -> lines with the classifier's score."""

  def __init__(
    self, model: pathlib.Path, classifier: classify.Classifier
  ) -> None:
    self._path = model
    self._classifier = classifier

  def setup(self) -> None:
    self._model = classify.load(self._path)
    vocabulary = self._classifier.vocabulary
    self._tokenizer = tokenizer.load(vocabulary) if vocabulary else None

  def process(self, scored: document.Document) -> Iterator[str]:
    text = scored.text
    line = classify.one_line(text, self._classifier.characters)
    yield json.dumps(
      {
        'id': scored.id,
        'source': scored.source,
        'size': len(self._tokenizer.encode(text) if self._tokenizer else text),
        'bin': classify.bin_of(classify.score(self._model, line)),
      }
    )


class _FindOverlaps(beam.DoFn):
  """Documents -> lines with the benchmarks that they overlap with."""

  def __init__(
    self,
    index: decontaminate.Index,
    gone: pathlib.Path,
    split_of: splits.Splits,
  ) -> None:
    self._index = index
    self._path = gone
    self._split_of = split_of

  def setup(self) -> None:
    self._gone = facts.Keys(self._path)

  def process(self, searched: document.Document) -> Iterator[str]:
    if searched.id in self._gone:
      return
    if self._split_of.of(searched.id) == 'heldout':
      return
    for hit in self._index.hits(searched.text):
      record: dict[str, Any] = {
        'id': searched.id,
        'source': searched.source,
        'benchmark': hit.benchmark,
        'ngram': hit.ngram,
      }
      yield json.dumps(record)
