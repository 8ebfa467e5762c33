"""Kills `hephaestus corpus` at random moments, and compares what it leaves.

Too long for the suite: about four builds. Run it from the project's folder,
with a run of few sources or with time to spare:

    .venv/bin/python tests/kill_corpus.py gin/runs/demo.gin runs/killed \
      --kills 10 --gin.SOURCES="['books', 'chatterbot']" ...

One build is left undisturbed, another is killed as often as asked, begun again
each time, and at last left to end; where it ends before it is killed, the next
begins from nothing. The driver alone is killed, as a machine out
of memory would do; its workers have to notice. Both corpora must hold the same
bytes, the same number of documents that was counted, and no id twice.
"""

import argparse
import hashlib
import json
import pathlib
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence


def files(folder: pathlib.Path) -> dict[str, str]:
  """The digest of every file but config.gin, which names the folder."""
  return {
    str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted(folder.rglob('*'))
    if path.is_file() and path.name != 'config.gin'
  }


def ids(folder: pathlib.Path) -> list[bytes]:
  """The ids of all documents in the datasets of a corpus."""
  import tensorflow_datasets as tfds  # seconds: not for --help

  found = []
  for dataset in sorted((folder / 'forge').iterdir()):
    builder = tfds.builder(f'forge/{dataset.name}', data_dir=str(folder))
    for split in builder.info.splits:
      rows = builder.as_dataset(split=split).as_numpy_iterator()
      found += [row['id'] for row in rows]
  return found


def begin(
  run_file: str, run_dir: pathlib.Path, overrides: Sequence[str]
) -> subprocess.Popen[str]:
  """Starts a build whose output goes to a file beside it."""
  command = [sys.executable, '-m', 'hephaestus_jax', 'corpus', run_file]
  command += [f'--gin.RUN_DIR={run_dir}', *overrides]
  run_dir.mkdir(parents=True, exist_ok=True)
  with (run_dir / 'build.log').open('w') as log:
    return subprocess.Popen(command, stdout=log, stderr=log, text=True)


def finished(run_dir: pathlib.Path) -> str:
  """The steps that a killed build leaves done."""
  steps = [
    path.parent.name
    for path in run_dir.glob('corpus.work-*/*/inputs.json')
    if '.partial-' not in path.parent.name
  ]
  return ', '.join(sorted(steps)) or 'nothing'


def compare(undisturbed: pathlib.Path, killed: pathlib.Path) -> None:
  """Ends the program if the second corpus isn't the first."""
  one, other = files(undisturbed / 'corpus'), files(killed / 'corpus')
  different = [name for name in one | other if one.get(name) != other.get(name)]
  found = ids(killed / 'corpus')
  steps = json.loads((killed / 'corpus' / 'drops.json').read_text())['steps']
  counted = next(
    row['out'] for row in reversed(steps) if row['source'] == 'all'
  )
  print(
    f'{len(one)} files, {len(different)} different; '
    f'{len(found)} documents, {counted} counted, {len(set(found))} ids',
    flush=True,
  )
  if different or not one or not len(found) == counted == len(set(found)):
    sys.exit('\n'.join(different) or 'documents are lost or doubled')


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('run_file')
  parser.add_argument('folder', type=pathlib.Path)
  parser.add_argument('--kills', type=int, default=10)
  parser.add_argument('--seed', type=int, default=0)
  options, overrides = parser.parse_known_args()
  moments = random.Random(options.seed)
  undisturbed, killed = (
    options.folder / 'undisturbed',
    options.folder / 'killed',
  )
  start = time.monotonic()
  process = begin(options.run_file, undisturbed, overrides)
  if process.wait():
    sys.exit(f'the build failed; see {undisturbed}/build.log')
  longest = time.monotonic() - start
  print(f'undisturbed: {longest:.0f} s', flush=True)
  kills = 0
  while True:
    start = time.monotonic()
    process = begin(options.run_file, killed, overrides)
    try:
      # What is left of a killed build takes less than the whole.
      moment = moments.uniform(0, 0.6 * longest)
      process.wait(moment if kills < options.kills else None)
    except subprocess.TimeoutExpired:
      process.kill()
      process.wait()
      kills += 1
      print(
        f'kill {kills} after {time.monotonic() - start:.0f} s; '
        f'done: {finished(killed)}',
        flush=True,
      )
      continue
    if process.returncode:
      sys.exit(f'the build failed; see {killed}/build.log')
    compare(undisturbed, killed)
    if kills == options.kills:
      break
    # It was done before its moment came: once more from the beginning.
    shutil.rmtree(killed / 'corpus')


if __name__ == '__main__':
  main()
