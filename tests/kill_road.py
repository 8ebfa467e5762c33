"""Kills `hephaestus run` at random moments, and compares what it leaves.

Too long for the suite: about three demos. Run it from the project's folder:

    .venv/bin/python tests/kill_road.py runs/demo runs/killed --kills 5

The first folder holds a finished demo; the second is built by a walk of the
same steps that is killed as often as asked, begun again each time, and at last
left to end. The checkpoints of both must hold the same bytes.
"""

import argparse
import hashlib
import pathlib
import random
import subprocess
import sys
import time

RUN = 'gin/runs/demo.gin'
ROAD = [f'corpus {RUN}', f'cache {RUN}', f'train {RUN}']


def arrays(run_dir: pathlib.Path) -> dict[str, str]:
  """The newest checkpoints' files with the digests of their bytes.

  Orbax's own records (JSON, commit marker) hold times and are left out.
  """
  found = {}
  for stage in sorted(run_dir.glob('forge/stage*')):
    folder = stage / 'checkpoints'
    newest = max(int(p.name) for p in folder.iterdir() if p.name.isdecimal())
    for path in sorted((folder / str(newest)).rglob('*')):
      ours = path.name.startswith(('_', '.', 'commit'))
      if path.is_file() and path.suffix != '.json' and not ours:
        name = str(path.relative_to(run_dir))
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
  return found


def walk(run_dir: str, log: pathlib.Path) -> subprocess.Popen[bytes]:
  command = [sys.executable, '-m', 'hephaestus_jax', 'run', RUN]
  command += [f'--gin.RUN_DIR={run_dir}', f'--gin.ROAD={ROAD}']
  with log.open('wb') as out:
    return subprocess.Popen(command, stdout=out, stderr=out)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('undisturbed')
  parser.add_argument('killed')
  parser.add_argument('--kills', type=int, default=5)
  parser.add_argument('--longest', type=float, default=360, help='seconds')
  parser.add_argument('--seed', type=int, default=0)
  options = parser.parse_args()
  moments = random.Random(options.seed)
  folder = pathlib.Path(options.killed)
  folder.mkdir(parents=True, exist_ok=True)
  log = folder / 'walk.log'
  kills = 0
  while True:
    start = time.monotonic()
    process = walk(options.killed, log)
    try:
      if kills == options.kills:
        process.wait()
      else:
        process.wait(moments.uniform(5, options.longest))
      break
    except subprocess.TimeoutExpired:
      process.kill()
      process.wait()
      kills += 1
      said = log.read_text(errors='replace').replace('\r', '\n').split('\n')
      steps = [line for line in said if line.startswith('[')]
      print(
        f'kill {kills} after {time.monotonic() - start:.0f} s in '
        f'{steps[-1] if steps else "start-up"}: {said[-1].strip()[:70]}',
        flush=True,
      )
  if process.returncode:
    sys.exit(f'the walk ended with {process.returncode}; see {log}')
  one, other = arrays(pathlib.Path(options.undisturbed)), arrays(folder)
  different = [name for name in one | other if one.get(name) != other.get(name)]
  print(f'{kills} kills, {len(one)} files, {len(different)} different')
  if different or not one:
    sys.exit('\n'.join(different) or 'nothing to compare')


if __name__ == '__main__':
  main()
