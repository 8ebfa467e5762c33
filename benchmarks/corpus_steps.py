"""Seconds and memory of every step of a build over lines of text.

    .venv/bin/python benchmarks/text.py /tmp/text FOLDER ... --megabytes 1000
    .venv/bin/python benchmarks/corpus_steps.py /tmp/text /tmp/work

The text is that of one source, so nothing but the steps is measured: the same
functions that `hephaestus corpus` calls, in as many processes as there are
cores. The filter is trained on the first files' halves, named agent and general
by chance: what it learns is nonsense, what it costs isn't. The benchmarks to
decontaminate against are the pinned package of the demo.
"""

import argparse
import dataclasses
import json
import pathlib
import shutil
from collections.abc import Iterator, Sequence

import measured

from hephaestus_jax.corpus import document, runner, splits, steps
from hephaestus_jax.corpus.files import archive
from hephaestus_jax.corpus.filters import (
  benchmarks,
  classify,
  decontaminate,
  deduplicate,
  quality,
)


@dataclasses.dataclass(frozen=True)
class Lines:
  """A source of lines {"id", "text"}; as source.Source."""

  name: str
  kind: str = 'text'
  licence: str = 'NOASSERTION'
  home: str = ''
  grouped: bool = False

  def members(self, names: Sequence[str]) -> list[str]:
    """As in source.Source."""
    return list(names)

  def read(
    self, opened: archive.Opened, member: str
  ) -> Iterator[document.Document | document.Drop]:
    """As in source.Source."""
    with opened.open(member) as file:
      for line in file:
        record = json.loads(line)
        yield document.Document(
          f'{self.name}/text/{record["id"]}',
          self.name,
          self.kind,
          self.licence,
          '',
          (document.Segment('text', record['text']),),
        )


def main() -> None:
  """The command line."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('text', type=pathlib.Path)
  parser.add_argument('work', type=pathlib.Path)
  parser.add_argument('--bfcl', help='the wheel of the benchmarks')
  parser.add_argument('--workers', type=int, default=0)
  options = parser.parse_args()
  files = sorted(path.name for path in options.text.glob('*.jsonl'))
  size = sum((options.text / name).stat().st_size for name in files) / 1e6
  # Two sources to learn from, and the rest.
  sources = {name: Lines(name) for name in ('one', 'other', 'rest')}
  source_of = ['one', 'other'] + ['rest'] * (len(files) - 2)
  overlap = decontaminate.Decontaminate()
  published = benchmarks.Found((), {}, (), ())
  if options.bfcl:
    published = benchmarks.read(pathlib.Path(options.bfcl), overlap)
  plan = steps.Plan(
    sources=sources,
    members=[
      (name, str(options.text), file)
      for name, file in zip(source_of, files, strict=True)
    ],
    published=published,
    classifier=classify.Classifier(
      labels={'one': 'agent', 'other': 'general'}, filtered=['rest']
    ),
    split_of=splits.Splits(0.0, (), 0.01, ()),
    licences=None,
    preferred_licences=(),
    quality_filter=quality.Quality(),
    near=deduplicate.NearDuplicates(),
    overlap=overlap,
    beam_options=(f'--direct_num_workers={options.workers}',),
    work=options.work,
  )
  shutil.rmtree(options.work, ignore_errors=True)
  options.work.mkdir(parents=True)
  for name, step in (
    ('read', steps.read_documents),
    ('classify', steps.drop_general),
    ('deduplicate', steps.drop_duplicates),
    ('decontaminate', steps.drop_overlaps),
    ('datasets', steps.write_datasets),
  ):
    folder = options.work / name
    folder.mkdir()
    with measured.measured() as found:
      step(plan, folder)
    left = plan.left_D(name).sum() if name != 'datasets' else None
    measured.tell(
      f'hephaestus: {name}',
      found,
      size,
      documents=len(plan.known()),
      left=None if left is None else int(left),
      runner=runner.BEAM_OPTIONS[0] if not options.workers else options.workers,
    )


if __name__ == '__main__':
  main()
