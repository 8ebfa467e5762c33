"""Seconds from `hephaestus train` to its first step, and what they go into.

The demo's network on a few synthetic rows, in processes of its own: one that
starts from nothing, then some that go on from a checkpoint with the step's
compilation cached. Each is stopped by SIGTERM, which saves. From the project's
folder:

    .venv/bin/python benchmarks/start_up.py runs/start_up --restarts 3

A line of JSON per start: `imports` (Python, the libraries, configuration),
`compile`, `restore` (or making the first parameters) and `total`, which has
also what is between them. The last lines are the largest imports by
`python -X importtime`, with all that each imports.
"""

import argparse
import json
import pathlib
import re
import signal
import subprocess
import sys
import time

sys.path.append(str(pathlib.Path(__file__).parents[1] / 'tests'))
import tiny  # noqa: E402

from hephaestus_jax.observability import metrics, step_lines  # noqa: E402

IMPORTED = re.compile(r'import time:\s+\d+ \|\s+(\d+) \|( +)(\S+)')
LONGEST = 900  # seconds that a start may take


def main() -> None:
  """Prints the lines."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('folder', type=pathlib.Path, help='an absent one')
  parser.add_argument('--restarts', type=int, default=3)
  options = parser.parse_args()
  tiny.write_cache(options.folder / 'cache', {'a': 0.7, 'b': 0.3})
  run_file = tiny.run_file(options.folder, TRAIN_STEPS=10**6)
  path = options.folder / 'run' / 'stage1' / metrics.FILE
  for start in range(options.restarts + 1):
    log = options.folder / f'{start}.log'
    begun = time.monotonic()
    with log.open('wb') as out:
      process = subprocess.Popen(
        [
          *(sys.executable, '-X', 'importtime', '-m', 'hephaestus_jax'),
          *('train', str(run_file)),
        ],
        stdout=out,
        stderr=out,
      )
    while len(starts := launches(path)) <= start:
      if process.poll() is not None or time.monotonic() - begun > LONGEST:
        process.kill()
        sys.exit(f'No first step; see {log}.')
      time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.wait()
    kind = 'restart' if start else 'from nothing'
    print(json.dumps({'start': kind, **starts[-1]}), flush=True)
  for module, seconds in largest_imports(log):
    print(json.dumps({'import': module, 'seconds': seconds}))


def launches(path: pathlib.Path) -> list[dict[str, float]]:
  """What each start so far said of itself."""
  prefix = 'start_up/'
  return [
    {
      name.removeprefix(prefix): round(value, 2)
      for name, value in line.items()
      if name.startswith(prefix)
    }
    for line in step_lines.read(path)
    if prefix + 'total' in line
  ]


def largest_imports(log: pathlib.Path) -> list[tuple[str, float]]:
  """The ten largest of the packages as a whole, (name, seconds) each."""
  found: dict[str, float] = {}
  for match in IMPORTED.finditer(log.read_text(errors='replace')):
    microseconds, _, module = match.groups()
    if '.' not in module:
      found[module] = int(microseconds) / 1e6
  largest = sorted(found.items(), key=lambda item: -item[1])
  return [(module, round(seconds, 2)) for module, seconds in largest[:10]]


if __name__ == '__main__':
  main()
