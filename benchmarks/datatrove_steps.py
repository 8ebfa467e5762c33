"""The same text through datatrove's steps, in its own environment.

    python -m venv /tmp/datatrove
    /tmp/datatrove/bin/pip install 'datatrove[processing]==0.10.1' spacy orjson
    /tmp/datatrove/bin/python benchmarks/datatrove_steps.py /tmp/text /tmp/work

Its MinHash is set to five words, 20 buckets of 7 as ours are; its readers,
writers, filters and executors are as they come, with two workers. Hub access is
never needed.
"""

import argparse
import os
import pathlib
import shutil
import sys

import measured

os.environ['HF_HUB_OFFLINE'] = '1'

from datatrove.data import Document  # noqa: E402
from datatrove.executor import LocalPipelineExecutor  # noqa: E402
from datatrove.pipeline.dedup import exact_dedup, minhash  # noqa: E402
from datatrove.pipeline.filters import (  # noqa: E402
  GopherQualityFilter,
  GopherRepetitionFilter,
)
from datatrove.pipeline.readers import JsonlReader  # noqa: E402
from datatrove.pipeline.writers import JsonlWriter  # noqa: E402


def content(document: Document) -> str:
  """What exact copies share."""
  return document.text


def main() -> None:
  """The command line."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('text', type=pathlib.Path)
  parser.add_argument('work', type=pathlib.Path)
  parser.add_argument('--workers', type=int, default=2)
  parser.add_argument('--steps', default='quality,exact,minhash')
  options = parser.parse_args()
  files = sorted(options.text.glob('*.jsonl'))
  size = sum(path.stat().st_size for path in files) / 1e6
  shutil.rmtree(options.work, ignore_errors=True)
  work = str(options.work)
  text = str(options.text)

  def run(name: str, stages: list) -> None:
    with measured.measured() as found:
      for i, (pipeline, tasks) in enumerate(stages):
        LocalPipelineExecutor(
          pipeline,
          tasks=tasks,
          workers=min(options.workers, tasks),
          logging_dir=f'{work}/logs/{name}{i}',
        ).run()
    measured.tell(f'datatrove: {name}', found, size)

  def write(name: str) -> JsonlWriter:
    return JsonlWriter(f'{work}/{name}', compression=None)

  tasks = len(files)
  if 'quality' in options.steps:
    run(
      'gopher quality',
      [
        ([JsonlReader(text), GopherQualityFilter(), write('quality')], tasks),
      ],
    )
  if 'repetition' in options.steps:
    run(
      'gopher repetition',
      [([JsonlReader(text), GopherRepetitionFilter(), write('rep')], tasks)],
    )
  if 'exact' in options.steps:
    exact = exact_dedup.ExactDedupConfig(content_getter=content)
    run(
      'exact duplicates',
      [
        (
          [
            JsonlReader(text),
            exact_dedup.ExactDedupSignature(f'{work}/es', exact),
          ],
          tasks,
        ),
        (
          [
            exact_dedup.ExactFindDedups(f'{work}/es', f'{work}/ed', exact),
          ],
          1,
        ),
        (
          [
            JsonlReader(text),
            exact_dedup.ExactDedupFilter(f'{work}/ed', exact),
            write('exact'),
          ],
          tasks,
        ),
      ],
    )
  if 'minhash' in options.steps:
    near = minhash.MinhashConfig(n_grams=5, num_buckets=20, hashes_per_bucket=7)
    run(
      'minhash signatures',
      [
        (
          [
            JsonlReader(text),
            minhash.MinhashDedupSignature(f'{work}/ms', near),
          ],
          tasks,
        )
      ],
    )
    run(
      'minhash buckets, clusters',
      [
        (
          [
            minhash.MinhashDedupBuckets(f'{work}/ms', f'{work}/mb', config=near)
          ],
          20,
        ),
        ([minhash.MinhashDedupCluster(f'{work}/mb', f'{work}/mc', near)], 1),
      ],
    )
    run(
      'minhash filter',
      [
        (
          [
            JsonlReader(text),
            minhash.MinhashDedupFilter(f'{work}/mc'),
            write('near'),
          ],
          tasks,
        )
      ],
    )
  sys.stdout.flush()


if __name__ == '__main__':
  main()
