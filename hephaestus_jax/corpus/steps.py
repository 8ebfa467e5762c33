"""The steps of a build, each from the folders of those before to its own.

`read_documents` leaves documents/ (lines of JSON), facts/ (see facts.py) and
what the classifier learns from; each of the others only says which documents
it drops. A step's folder holds `left.npy` (which rows of the facts are left),
`ledger.json` (its counts) and its account; it depends on nothing but the Plan
and the folders before, so a build goes on where it was interrupted.
"""

import collections
import dataclasses
import functools
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hephaestus_jax import artefacts, errors
from hephaestus_jax.corpus import (
  datasets,
  document,
  facts,
  ledger,
  members,
  pipelines,
  runner,
  source,
  splits,
)
from hephaestus_jax.corpus.filters import (
  benchmarks,
  classify,
  decontaminate,
  deduplicate,
  normalise,
  quality,
  telling,
)

EXAMPLE_CHARACTERS = 1_000  # what a person reads of a Document at a glance


@dataclasses.dataclass(frozen=True)
class Plan:
  """What a build was asked for, looked up; see `build.build`.

  Attributes:
    sources: by name; of equal documents, that of the first one stays.
    members: what is read.
    published: the benchmarks that are kept out.
    work: has the folder of each step that is done, by its name.
  """

  sources: Mapping[str, source.Source]
  members: Sequence[members.Member]
  published: benchmarks.Found
  classifier: classify.Classifier | None
  split_of: splits.Splits
  licences: Sequence[str] | None
  preferred_licences: Sequence[str]
  quality_filter: quality.Quality
  near: deduplicate.NearDuplicates
  overlap: decontaminate.Decontaminate
  beam_options: Sequence[str]
  work: pathlib.Path

  def known(self) -> facts.Facts:
    """The facts of all documents that were read."""
    return facts.load(self.work / 'read' / 'facts')

  def left_D(self, step: str) -> np.ndarray:
    """Which of them the folder of a step says are left: bool [D]."""
    return np.load(self.work / step / 'left.npy')

  def files(self, names: Iterable[str]) -> list[str]:
    """The document files of some sources."""
    folder = self.work / 'read' / 'documents'
    return [
      str(path)
      for name in names
      for path in sorted(folder.glob(f'{name}-*-of-*'))
    ]


def read_documents(plan: Plan, folder: pathlib.Path) -> None:
  """Archives -> document files, up to and including the quality filter."""
  runner.run(
    functools.partial(
      pipelines.read,
      members=plan.members,
      sources=plan.sources,
      steps=(
        ('licence', functools.partial(allow_licence, plan.licences)),
        ('normalise', normalise.normalise),
        ('quality', plan.quality_filter),
      ),
      split_of=plan.split_of,
      near=plan.near,
      classifier=plan.classifier,
      folder=folder,
    ),
    plan.beam_options,
    name='reading files',
    total=len(plan.members),
    folder=folder,
  )
  counted = ledger.Ledger()
  for line in pipelines.lines(folder, 'tallies'):
    step, name, outcome, count = json.loads(line)
    counted.add(step, name, outcome, count)
  for line in sorted(pipelines.lines(folder, 'drops')):
    counted.show(*json.loads(line))
  known = facts.gather(pipelines.read_facts(folder, plan.near))
  for path in folder.glob('facts-*-of-*'):
    path.unlink()
  known.save(folder / 'facts')
  _check_groups(known, plan)
  _leave(folder, np.ones(len(known), bool), counted)


def drop_general(plan: Plan, folder: pathlib.Path) -> None:
  """Drops the lowest-scoring text of the sources that nobody labelled."""
  known, left_D = plan.known(), plan.left_D('read')
  accounts: dict[str, Any] = {}
  dropped: dict[int, float] = {}
  if plan.classifier:
    model, accounts = _train_classifier(plan, plan.classifier)
    path = folder / 'classifier.bin'
    model.save_model(str(path))
    del model
    filtered_D = known.is_named('source', plan.classifier.filtered)
    runner.run(
      functools.partial(
        pipelines.score,
        files=plan.files(plan.classifier.filtered),
        model=path,
        classifier=plan.classifier,
        folder=folder,
      ),
      plan.beam_options,
      name='classifying',
      total=int(filtered_D.sum()),
      folder=folder,
    )
    path.unlink()

    def scores() -> Iterator[dict[str, Any]]:
      return map(json.loads, pipelines.lines(folder, 'scores'))

    size_of_bin: collections.Counter[int] = collections.Counter()
    for scored in scores():
      size_of_bin[scored['bin']] += scored['size']
    lowest = classify.threshold(size_of_bin, plan.classifier.keep_share)
    accounts |= {
      'threshold': lowest / classify.BINS,
      'counted_in': 'tokens' if plan.classifier.vocabulary else 'characters',
      'scored': size_of_bin.total(),
      'kept': sum(n for scored, n in size_of_bin.items() if scored >= lowest),
      'nearest': _nearest(plan, plan.classifier, scores(), lowest),
    }
    dropped = {
      known.row(scored['id']): scored['bin'] / classify.BINS
      for scored in scores()
      if scored['bin'] < lowest
    }
  counted = ledger.Ledger()
  left_D = counted.drop(
    'classifier',
    known,
    left_D,
    {'general': np.array(sorted(dropped), np.int64)},
    lambda row: f'score {dropped[row]}',
  )
  artefacts.write_json(folder / 'classifier.json', accounts)
  _leave(folder, left_D, counted)


def drop_duplicates(plan: Plan, folder: pathlib.Path) -> None:
  """Drops exact copies, then near copies of what is left."""
  known, left_D = plan.known(), plan.left_D('classify')
  counted = ledger.Ledger()
  found = deduplicate.exact_duplicates(
    known, np.flatnonzero(left_D), list(plan.sources), plan.preferred_licences
  )
  left_D = _drop_duplicates(counted, 'exact_duplicates', known, left_D, found)
  found = deduplicate.near_duplicates(
    known, np.flatnonzero(left_D), plan.near, plan.preferred_licences
  )
  left_D = _drop_duplicates(counted, 'near_duplicates', known, left_D, found)
  _leave(folder, left_D, counted)


def drop_overlaps(plan: Plan, folder: pathlib.Path) -> None:
  """Drops train and validation documents that repeat a benchmark."""
  known, left_D = plan.known(), plan.left_D('deduplicate')
  heldout: dict[str, list[tuple[str, ...]]] = {decontaminate.HELDOUT: []}
  for line in pipelines.lines(plan.work / 'read', 'benchmark'):
    name, record = json.loads(line)
    heldout.setdefault(name, []).append(tuple(record))
  index = decontaminate.Index(
    [
      *(
        decontaminate.Benchmark(name, tuple(records))
        for name, records in sorted(heldout.items())
      ),
      *plan.published.benchmarks,
    ],
    plan.overlap,
  )
  gone = folder / 'gone.npy'
  facts.write_keys(gone, map(known.id, np.flatnonzero(~left_D).tolist()))
  runner.run(
    functools.partial(
      pipelines.find_overlaps,
      files=plan.files(plan.sources),
      gone=gone,
      split_of=plan.split_of,
      index=index,
      folder=folder,
    ),
    plan.beam_options,
    name='decontaminating',
    total=len(known),
    folder=folder,
  )
  hits = sorted(
    map(json.loads, pipelines.lines(folder, 'overlaps')),
    key=lambda hit: (hit['id'], hit['benchmark']),
  )
  dropped: dict[str, list[int]] = {}
  ngrams: dict[int, str] = {}
  for hit in hits:
    row = known.row(hit['id'])
    if row not in ngrams:
      ngrams[row] = hit['ngram']
      dropped.setdefault(hit['benchmark'], []).append(row)
  counted = ledger.Ledger()
  left_D = counted.drop(
    'decontaminate',
    known,
    left_D,
    {name: np.array(rows, np.int64) for name, rows in dropped.items()},
    ngrams.__getitem__,
  )
  artefacts.write_json(
    folder / 'decontamination.json',
    benchmarks.account(plan.published, index, hits, plan.overlap),
  )
  _leave(folder, left_D, counted)


def write_datasets(plan: Plan, folder: pathlib.Path) -> None:
  """Writes what is left as TFDS datasets, and says what that is."""
  known, left_D = plan.known(), plan.left_D('decontaminate')
  rows_D = np.flatnonzero(left_D)
  gone = folder / 'gone.npy'
  facts.write_keys(gone, map(known.id, np.flatnonzero(~left_D).tolist()))
  composition, wanted = [], []
  for name, of in plan.sources.items():
    counts = {}
    for split in splits.SPLITS:
      found_D = known.is_named('source', [name]) & known.is_named(
        'split', [split]
      )
      characters = known['characters'][rows_D[found_D[rows_D]]]
      if len(characters):
        counts[split] = len(characters)
      composition.append(
        {
          'source': name,
          'kind': of.kind,
          'licence': of.licence,
          'split': split,
          'documents': len(characters),
          'characters': int(characters.sum()),
        }
      )
    if counts:
      wanted.append(
        datasets.Dataset(
          source=name,
          description=f'{of.kind} under {of.licence}',
          homepage=of.home,
          files=plan.files([name]),
          documents=counts,
        )
      )
  runner.run(
    functools.partial(
      datasets.write,
      datasets=wanted,
      gone=gone,
      split_of=plan.split_of,
      output=folder,
    ),
    plan.beam_options,
    name='datasets',
    total=len(wanted),
    folder=folder,
  )
  gone.unlink()
  artefacts.write_json(folder / 'composition.json', composition)
  artefacts.write_json(folder / 'examples.json', _examples(plan, known, left_D))


def allow_licence(
  licences: Sequence[str] | None, licensed: document.Document
) -> document.Document | document.Drop:
  """Drops a Document under a licence that is not in the list; the licence is
  the reason. None allows every licence."""
  if licences is None or licensed.licence in licences:
    return licensed
  return document.Drop(licensed.id, licensed.source, licensed.licence)


def _leave(
  folder: pathlib.Path, left_D: np.ndarray, counted: ledger.Ledger
) -> None:
  """Writes what every step leaves."""
  np.save(folder / 'left.npy', left_D)
  counted.save(folder / 'ledger.json')


def _train_classifier(
  plan: Plan, classifier: classify.Classifier
) -> tuple[Any, dict[str, Any]]:
  """The model, and what classifier.json says of it."""
  examples = [
    classify.Example(*json.loads(line))
    for line in pipelines.lines(plan.work / 'read', 'examples')
  ]
  labelled = classify.read_labels(classifier)
  training, test = classify.split_examples([*examples, *labelled], classifier)
  model = classify.train(training, classifier)
  return model, {
    'labels': dict(classifier.labels),
    'labels_file': classifier.labels_file,
    'labelled_documents': len(labelled),
    'held_out_by': classifier.held_out_by,
    'filtered': list(classifier.filtered),
    'training_documents': {
      label: sum(e.label == label for e in training)
      for label in classify.LABELS
    },
    'test': classify.measure(model, test),
    **telling.account(model, test),
  }


def _nearest(
  plan: Plan,
  classifier: classify.Classifier,
  scores: Iterable[dict[str, Any]],
  lowest: int,
) -> list[dict[str, Any]]:
  """The documents nearest the threshold, with how they begin."""
  found = telling.nearest(scores, lowest)
  wanted = {scored['id'] for scored in found}
  begins = {
    read_back.id: read_back.text[: telling.SHOWN]
    for read_back in pipelines.some(plan.files(classifier.filtered), wanted)
  }
  return [
    {
      'id': scored['id'],
      'score': scored['bin'] / classify.BINS,
      'kept': scored['bin'] >= lowest,
      'text': begins[scored['id']],
    }
    for scored in found
  ]


def _examples(
  plan: Plan, known: facts.Facts, left_D: np.ndarray
) -> dict[str, dict[str, Any]]:
  """A Document of each source's training split, for a person to look at.

  The one whose length is nearest EXAMPLE_CHARACTERS; long segments are cut.
  """
  examples = {}
  train_D = left_D & known.is_named('split', ['train'])
  for name in plan.sources:
    rows = np.flatnonzero(train_D & known.is_named('source', [name]))
    if not len(rows):
      continue
    far = np.abs(known['characters'][rows] - EXAMPLE_CHARACTERS)
    chosen = known.id(int(rows[far.argmin()]))  # the first by id
    (found,) = pipelines.some(plan.files([name]), {chosen})
    record = document.to_record(found)
    record['texts'] = [text[:EXAMPLE_CHARACTERS] for text in record['texts']]
    examples[name] = record
  return examples


def _drop_duplicates(
  counted: ledger.Ledger,
  step: str,
  known: facts.Facts,
  left_D: np.ndarray,
  found: deduplicate.Duplicates,
) -> np.ndarray:
  """Drops the losers, by the split of the document that stays."""
  codes_M = known['split'][found.winners_M]
  return counted.drop(
    step,
    known,
    left_D,
    {
      f'of_{split}': found.losers_M[codes_M == code]
      for code, split in enumerate(known.names['split'])
    },
    lambda row: f'like {known.id(found.winner(row))}',
  )


def _check_groups(known: facts.Facts, plan: Plan) -> None:
  """Checks that what is held out is there, and in no other split.

  Raises:
    errors.UserError: a group to hold out is in no source.
    RuntimeError: a group is held out and trained on.
  """
  grouped_D = known.is_named('source', plan.split_of.grouped)
  heldout_D = known.is_named('split', ['heldout'])
  heldout, others = (
    {known.id(row).split('/', 2)[1] for row in np.flatnonzero(grouped_D & of_D)}
    for of_D in (heldout_D, ~heldout_D)
  )
  if both := heldout & others:
    raise RuntimeError(f'Groups are held out and trained on: {sorted(both)}.')
  for group in sorted(plan.split_of.heldout_groups):
    if group not in heldout:
      hint = errors.nearest(group, others | heldout)
      raise errors.UserError(
        f'heldout_groups names {group!r}, but no source has that group.{hint}'
      )
