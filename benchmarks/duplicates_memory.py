"""How much memory the search for near duplicates takes per document.

    .venv/bin/python benchmarks/duplicates_memory.py

Random sketches of which every fifth is a copy, with ids of 52 characters. The
facts are saved and opened again, as a build does: `mapped` is what of their
files was touched, which the system can take back, `own` what the search itself
holds at its peak.
"""

import argparse
import json
import pathlib
import tempfile
import threading

import numpy as np
import pyarrow as pa

from hephaestus_jax.corpus import facts
from hephaestus_jax.corpus.filters import deduplicate

PERIOD = 0.005  # seconds between looks


def main() -> None:
  """Prints a line per number of documents."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument(
    '--documents', type=int, nargs='+', default=[100_000, 400_000]
  )
  for count in parser.parse_args().documents:
    print(json.dumps(measure(count)), flush=True)


def measure(count: int) -> dict[str, int]:
  """Bytes per document."""
  near = deduplicate.NearDuplicates()
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, 'facts')
    facts.gather(table(count, near.bands * near.rows)).save(path)
    known = facts.load(path)
    before, peak = memory(), [0, 0]
    ended = threading.Event()

    def watch() -> None:
      while not ended.wait(PERIOD):
        peak[:] = map(max, peak, memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    found = deduplicate.near_duplicates(known, np.arange(count), near)
    ended.set()
    watcher.join()
  own, mapped = (
    (most - first) // count for most, first in zip(peak, before, strict=True)
  )
  duplicates = len(found.losers_M)
  return {
    'documents': count,
    'duplicates': duplicates,
    'own': own,
    'mapped': mapped,
  }


def table(count: int, permutations: int) -> pa.Table:
  """Rows of `facts.schema`."""
  draw = np.random.default_rng(0)
  sketches_DP = draw.integers(0, 256, (count, permutations), np.uint8)
  sketches_DP[count // 2 : count // 2 + count // 5] = sketches_DP[: count // 5]
  digests_D = draw.integers(0, 256, (count, 16), np.uint8)
  ids = [
    f'source/group{i % 1000:04d}/the-page-of-no-{i:020d}' for i in range(count)
  ]
  return pa.table(
    {
      'id': ids,
      **{
        name: [word] * count
        for name, word in zip(
          facts.NAMED, ('source', 'text', 'MIT', 'train'), strict=True
        )
      },
      'characters': draw.integers(100, 9_000, count),
      'digest': pa.array(map(bytes, digests_D), pa.binary(16)),
      'words': np.ones(count, bool),
      'sketch': pa.array(map(bytes, sketches_DP), pa.binary(permutations)),
    },
    schema=facts.schema(permutations),
  )


def memory() -> tuple[int, int]:
  """Bytes of this process' own pages, and of pages that are files'."""
  lines = pathlib.Path('/proc/self/status').read_text().splitlines()
  kilobytes = {
    name: int(rest.split()[0])
    for name, _, rest in (line.partition(':') for line in lines)
    if name in ('RssAnon', 'RssFile')
  }
  return kilobytes['RssAnon'] * 1024, kilobytes['RssFile'] * 1024


if __name__ == '__main__':
  main()
