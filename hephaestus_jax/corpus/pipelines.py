"""What Beam runs: the corpus steps that look at text, on any number of workers.

Three pipelines, each from files to files: `read` makes Documents of archive
members, `score` asks the classifier, `find_overlaps` looks benchmark strings
up. Text never crosses a shuffle, so a worker's memory doesn't grow with the
corpus; what the steps decide is a line of JSON per document or less, and no
result depends on how the work was divided.
"""

import contextlib
import functools
import json
import pathlib
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import tqdm
from apache_beam.io import fileio
from apache_beam.options import pipeline_options
from apache_beam.runners.portability import fn_api_runner
from apache_beam.transforms import environments

from hephaestus_jax.corpus import (
  archive,
  catalogue,
  classify,
  decontaminate,
  deduplicate,
  document,
  splits,
)

# One worker process per core.
BEAM_OPTIONS = ('--direct_num_workers=0',)
# Beam's own way of starting a worker prints a page of notes for each.
WORKER = (
  f'{sys.executable} -c "import logging, sys; logging.disable(logging.WARNING);'
  'from apache_beam.runners.worker import sdk_worker_main;'
  'sdk_worker_main.main(sys.argv)"'
)
# Outcomes of a step are counted under the drop's reason or one of these.
IN, OUT = '(in)', '(out)'
EXAMPLES_KEPT = 3
TICKS = 'ticks'  # the file in a pipeline's folder that tells its progress
READ_BYTES = 8 << 20  # one worker's unit when document files are read again

Step = Callable[[document.Document], document.Document | document.Drop]


def run(
  describe: Callable[[beam.Pipeline], None],
  beam_options: Sequence[str],
  *,
  name: str,
  total: int,
  folder: pathlib.Path,
) -> None:
  """Runs the pipeline that `describe` builds, and waits for its end.

  Args:
    describe: adds the transforms.
    beam_options: Beam's command-line options. Without `--runner`, it runs in
      `--direct_num_workers` processes on this machine (0: one per core). Beam's
      default would be Prism, a program that it has to download.
    name: what the progress bar says.
    total: how many elements the pipeline starts from.
    folder: where workers add a byte to the file TICKS for each of them.
  """
  options = pipeline_options.PipelineOptions(list(beam_options))
  runner = None
  if options.view_as(pipeline_options.StandardOptions).runner is None:
    runner = fn_api_runner.FnApiRunner(
      environments.SubprocessSDKEnvironment.from_command_string(WORKER)
    )
  with (
    _progress(name, total, folder / TICKS),
    beam.Pipeline(runner, options) as begin,
  ):
    describe(begin)


@contextlib.contextmanager
def _progress(name: str, total: int, ticks: pathlib.Path) -> Iterator[None]:
  """Shows how long `ticks` is: Beam's local runner tells nothing meanwhile."""
  ticks.write_bytes(b'')
  ended = threading.Event()
  with tqdm.tqdm(total=total, desc=name, mininterval=1) as bar:

    def follow() -> None:
      while not ended.wait(1):
        bar.update(ticks.stat().st_size - bar.n)

    follower = threading.Thread(target=follow)
    follower.start()
    try:
      yield
    finally:
      ended.set()
      follower.join()
      bar.update(ticks.stat().st_size - bar.n)
  ticks.unlink()


class _Tick(beam.DoFn):
  """Passes elements on, and adds a byte to a file for each."""

  def __init__(self, ticks: pathlib.Path) -> None:
    self._path = ticks

  def setup(self) -> None:
    self._file = self._path.open('ab', buffering=0)

  def process(self, element: Any) -> Iterator[Any]:
    self._file.write(b'.')
    yield element

  def teardown(self) -> None:
    self._file.close()


def read(
  pipeline: beam.Pipeline,
  *,
  members: Sequence[tuple[str, str, str]],
  sources: Mapping[str, catalogue.Source],
  steps: Sequence[tuple[str, Step]],
  split_of: splits.Splits,
  near: deduplicate.NearDuplicates,
  classifier: classify.Classifier | None,
  folder: pathlib.Path,
) -> None:
  """Archive members -> Documents that passed `steps`, and facts about them.

  Args:
    pipeline: the pipeline to add to.
    members: (source name, archive path, member) each.
    sources: the sources by name.
    steps: (name, function) in order; each sees what the one before left.
    split_of: says which split a document belongs to.
    near: how fingerprints are made.
    classifier: says what to learn from; None without the learned filter.
    folder: gets documents/<source>-*, tallies-*, drops-*, fingerprints-*,
      examples-* and benchmark-*: lines of JSON.
  """
  found = (
    pipeline
    | 'Members' >> beam.Create(members, reshuffle=False)
    | beam.Reshuffle()
    | beam.ParDo(_Tick(folder / TICKS))
    | 'Read' >> beam.ParDo(_Read(sources))
  )
  tallies, drops = [], []
  for name, function in [('read', _drop_or_document), *steps]:
    outcome = found | name >> beam.ParDo(_Apply(name, function)).with_outputs(
      'tally', 'drop', main='kept'
    )
    found = outcome.kept
    tallies.append(outcome.tally)
    drops.append(outcome.drop)
  _write_tallies(tallies, folder)
  _write_drops(drops, folder)
  # The writer opens a file per source and worker.
  _ = (
    found
    | beam.Map(lambda kept: (kept.source, to_line(kept)))
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
    found
    | beam.Map(_fingerprint_line, split_of, near)
    | 'Fingerprints' >> beam.io.WriteToText(str(folder / 'fingerprints'))
  )
  _ = (
    found
    | beam.FlatMap(_benchmark_lines, split_of)
    | 'Benchmark' >> beam.io.WriteToText(str(folder / 'benchmark'))
  )
  if classifier:
    wanted = classifier.training_documents + classifier.test_documents
    _ = (
      found
      | beam.FlatMap(_labelled, split_of, classifier)
      | beam.combiners.Top.SmallestPerKey(wanted // len(classify.LABELS))
      | beam.FlatMap(lambda item: [json.dumps(e) for e in item[1]])
      | 'Examples' >> beam.io.WriteToText(str(folder / 'examples'))
    )


def score(
  pipeline: beam.Pipeline,
  *,
  files: Sequence[str],
  model: pathlib.Path,
  characters: int,
  folder: pathlib.Path,
) -> None:
  """Documents -> scores-*: {"id", "source", "characters", "bin"} a line.

  Args:
    pipeline: the pipeline to add to.
    files: the document files of the filtered sources.
    model: a fastText model that every worker can open.
    characters: how much of a document the classifier sees.
    folder: gets the lines.
  """
  _ = (
    _documents(pipeline, files, folder)
    | beam.ParDo(_Score(model, characters))
    | 'Scores' >> beam.io.WriteToText(str(folder / 'scores'))
  )


def find_overlaps(
  pipeline: beam.Pipeline,
  *,
  files: Sequence[str],
  gone: frozenset[str],
  split_of: splits.Splits,
  index: decontaminate.Index,
  folder: pathlib.Path,
) -> None:
  """Documents -> overlaps-*: {"id", "source", "benchmark", "ngram"} a line.

  Args:
    pipeline: the pipeline to add to.
    files: the document files.
    gone: ids of documents that need no look.
    split_of: says which documents are held out, and need none either.
    index: of the benchmarks' n-grams.
    folder: gets the lines.
  """
  _ = (
    _documents(pipeline, files, folder)
    | beam.Filter(
      lambda read_back: (
        read_back.id not in gone and split_of.of(read_back.id) != 'heldout'
      )
    )
    | beam.ParDo(_FindOverlaps(index))
    | 'Overlaps' >> beam.io.WriteToText(str(folder / 'overlaps'))
  )


def to_line(written: document.Document) -> str:
  """A Document as a line of JSON; `from_line` reads it."""
  return json.dumps(document.to_record(written), ensure_ascii=False)


def from_line(line: str) -> document.Document:
  """The inverse of `to_line`."""
  return document.from_record(json.loads(line))


def lines(folder: pathlib.Path, name: str) -> Iterator[str]:
  """The lines of all files of that name that a pipeline wrote, in any order."""
  for path in sorted(folder.glob(f'{name}-*-of-*')):
    with path.open(encoding='utf-8', newline='\n') as file:
      yield from file


def _documents(
  pipeline: beam.Pipeline, files: Sequence[str], folder: pathlib.Path
) -> beam.PCollection[document.Document]:
  return (
    pipeline
    | beam.Create(files)
    | beam.io.ReadAllFromText(desired_bundle_size=READ_BYTES)
    | beam.ParDo(_Tick(folder / TICKS))
    | beam.Map(from_line)
  )


class _Read(beam.DoFn):
  """Archive members -> Documents and Drops."""

  def __init__(self, sources: Mapping[str, catalogue.Source]) -> None:
    self._sources = sources

  def process(
    self, member: tuple[str, str, str]
  ) -> Iterator[document.Document | document.Drop]:
    name, path, inside = member
    yield from self._sources[name].read(_opened(path), inside)


@functools.lru_cache
def _opened(path: str) -> archive.Archive:
  """One worker opens an archive once: its table of contents can be long."""
  return archive.Archive(path)


class _Apply(beam.DoFn):
  """Applies a step; counts what went in and what became of it."""

  def __init__(self, name: str, function: Step) -> None:
    self._name = name
    self._function = function

  # Any: Beam reads these annotations, and knows no type for tagged outputs.
  def process(self, element: Any) -> Iterator[Any]:
    outcome = self._function(element)
    source = element.source
    yield beam.pvalue.TaggedOutput('tally', ((self._name, source, IN), 1))
    if isinstance(outcome, document.Drop):
      key = (self._name, outcome.reason)
      text = element.text if isinstance(element, document.Document) else ''
      example = (outcome.document_id, text[:300])
      yield beam.pvalue.TaggedOutput('drop', (key, example))
      tally = ((self._name, source, outcome.reason), 1)
    else:
      yield outcome
      tally = ((self._name, source, OUT), 1)
    yield beam.pvalue.TaggedOutput('tally', tally)


def _drop_or_document(
  found: document.Document | document.Drop,
) -> document.Document | document.Drop:
  """The step 'read': what an adapter gave up on is already a Drop."""
  return found


def _write_tallies(
  tallies: Sequence[beam.PCollection], folder: pathlib.Path
) -> None:
  _ = (
    tallies
    | 'All tallies' >> beam.Flatten()
    | beam.CombinePerKey(sum)
    | beam.Map(lambda tally: json.dumps([*tally[0], tally[1]]))
    | 'Tallies' >> beam.io.WriteToText(str(folder / 'tallies'))
  )


def _write_drops(
  drops: Sequence[beam.PCollection], folder: pathlib.Path
) -> None:
  """A few drops per reason, for people to look at: those of the first ids."""
  _ = (
    drops
    | 'All drops' >> beam.Flatten()
    | beam.combiners.Top.SmallestPerKey(EXAMPLES_KEPT)
    | beam.FlatMap(
      lambda drop: [json.dumps([*drop[0], *example]) for example in drop[1]]
    )
    | 'Drops' >> beam.io.WriteToText(str(folder / 'drops'))
  )


class _LineSink(fileio.TextSink):
  """Writes the second part of (source, line)."""

  def write(self, record: tuple[str, str]) -> None:
    super().write(record[1])


def _fingerprint_line(
  kept: document.Document,
  split_of: splits.Splits,
  near: deduplicate.NearDuplicates,
) -> str:
  split = split_of.of(kept.id)
  return json.dumps(
    deduplicate.to_row(deduplicate.fingerprint(kept, split, near))
  )


def _benchmark_lines(
  kept: document.Document, split_of: splits.Splits
) -> Iterator[str]:
  """What the held-out benchmark of function calls asks and answers."""
  if kept.kind == 'instruction' and split_of.of(kept.id) == 'heldout':
    for string in decontaminate.benchmark_strings(kept):
      yield json.dumps(string)


def _labelled(
  kept: document.Document,
  split_of: splits.Splits,
  classifier: classify.Classifier,
) -> Iterator[tuple[str, tuple[str, str, str]]]:
  """(label, example) of train documents; examples compare by their order."""
  example = classify.example(kept, classifier)
  if example and split_of.of(kept.id) == 'train':
    yield example.label, (example.order, example.label, example.text)


class _Score(beam.DoFn):
  """Documents -> lines with the classifier's score."""

  def __init__(self, model: pathlib.Path, characters: int) -> None:
    self._path = model
    self._characters = characters

  def setup(self) -> None:
    self._model = classify.load(self._path)

  def process(self, scored: document.Document) -> Iterator[str]:
    line = classify.one_line(scored.text, self._characters)
    yield json.dumps(
      {
        'id': scored.id,
        'source': scored.source,
        'characters': len(scored.text),
        'bin': classify.bin_of(classify.score(self._model, line)),
      }
    )


class _FindOverlaps(beam.DoFn):
  """Documents -> lines with the benchmarks that they overlap with."""

  def __init__(self, index: decontaminate.Index) -> None:
    self._index = index

  def process(self, searched: document.Document) -> Iterator[str]:
    for hit in self._index.hits(searched.text):
      record: dict[str, Any] = {
        'id': searched.id,
        'source': searched.source,
        'benchmark': hit.benchmark,
        'ngram': hit.ngram,
      }
      yield json.dumps(record)
