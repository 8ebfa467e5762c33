"""A training process that is killed again and again ends in the same bits."""

import hashlib
import json
import pathlib
import random
import subprocess
import sys
import time

import pytest

sys.path.append(str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402

STEPS = 40


def train(folder: pathlib.Path) -> None:
  """What the killed process does; `tests/kill_test.py FOLDER` is it."""
  tiny.run(
    folder,
    tiny.stage(steps=STEPS),
    checkpoint_every=3,
    compilation_cache=str(folder.parent / 'compiled'),
  )


def _begin(folder):
  tiny.write_cache(folder / 'cache', {'a': 0.7, 'b': 0.3})


def _process(folder):
  return subprocess.Popen(
    [sys.executable, __file__, str(folder)],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
  )


def _finish(folder):
  process = _process(folder)
  _, error = process.communicate()
  assert process.returncode == 0, error.decode()[-2000:]


def _hash(stage_folder):
  found = tiny.arrays(stage_folder)
  assert len(found) > 30
  return hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()


def _losses(stage_folder):
  text = (stage_folder / 'metrics.jsonl').read_text()
  lines = [json.loads(line) for line in text.splitlines()]
  return [(line['step'], line['loss']) for line in lines]


def _kill_at(folder, moment):
  """Kills a training process `moment` seconds after its first new line."""
  metrics = folder / 'run' / 'stage1' / 'metrics.jsonl'
  size = metrics.stat().st_size if metrics.exists() else 0
  process = _process(folder)
  while process.poll() is None:
    if metrics.exists() and metrics.stat().st_size > size:
      break
    size = min(size, metrics.stat().st_size) if metrics.exists() else 0
    time.sleep(0.005)
  time.sleep(moment)
  process.kill()
  process.communicate()
  return process.returncode


@pytest.mark.long
def test_killed_at_any_moment_is_undisturbed_bit_for_bit(tmp_path):
  undisturbed, killed = tmp_path / 'undisturbed', tmp_path / 'killed'
  for folder in (undisturbed, killed):
    _begin(folder)
  _finish(undisturbed)
  moments = random.Random(0)
  codes = [_kill_at(killed, moments.uniform(0.0, 0.4)) for _ in range(3)]
  assert -9 in codes
  _finish(killed)
  one, other = undisturbed / 'run' / 'stage1', killed / 'run' / 'stage1'
  assert _hash(other) == _hash(one)
  assert _losses(other) == _losses(one)


if __name__ == '__main__':
  train(pathlib.Path(sys.argv[1]))
