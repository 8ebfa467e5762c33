"""Real processes: whoever reads which share, the rows and their order are one.

10,000 steps by 1 process of 8 devices, 2 of 4 and 4 of 2; then a run that stops
at random steps and goes on with another number of processes each time.
"""

import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from hephaestus_jax import data, main, partitioning
from hephaestus_jax.pod import hosts

sys.path.append(str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402

DEVICES = 8  # in all
BATCH = 8
STEPS = 10_000
LAYOUTS = (1, 2, 4)
STOPS = [0, *sorted(np.random.default_rng(0).integers(1, STEPS, 8)), STEPS]
# Rates that change, a source that comes in late, and one that is capped.
MIXED = {
  'rates': {30_011: {'a': 0.2, 'b': 0.5, 'c': 0.3}},
  'max_epochs': {'b': 900.0},
}


def mixture(folder: pathlib.Path) -> data.Mixture:
  return data.Mixture(
    cache_dir=str(folder / 'cache'), mixture='mixture_v1', seed=3, **MIXED
  )


def read(folder: pathlib.Path) -> None:
  """What each process does: its share of every batch that it is there for."""
  processes = hosts.join(wait_minutes=5)
  mesh = partitioning.make_mesh(processes=processes)
  rows_B = partitioning.host_rows(mesh, BATCH)
  count = len({device.process_index for device in mesh.devices.flat})
  place = LAYOUTS.index(count)
  mine = list(zip(STOPS[:-1], STOPS[1:], strict=True))[place :: len(LAYOUTS)]
  for start, stop in [(0, STEPS), *mine]:
    batches = data.loader(
      mixture(folder), batch_size=BATCH, start_step=start, rows_B=rows_B
    )
    found = np.full((stop - start, BATCH, 3), -1)
    for step in range(stop - start):
      batch = next(batches)
      found[step, rows_B, 0] = batch['source_B']
      found[step, rows_B, 1] = batch['row_B']
      found[step, rows_B, 2] = batch['tokens_BL'].sum(axis=1)
    name = f'{count}-{start}-{stop}-{rows_B[0]}.npy'
    np.save(folder / name, found, allow_pickle=False)


def launch(folder: pathlib.Path, processes: int) -> None:
  with socket.socket() as probe:
    probe.bind(('', 0))
    port = probe.getsockname()[1]
  environment = os.environ | {
    'PYTHONPATH': str(main.ROOT),
    'JAX_NUM_CPU_DEVICES': str(DEVICES // processes),
    'JAX_COORDINATOR_ADDRESS': f'localhost:{port}',
    'JAX_NUM_PROCESSES': str(processes),
  }
  started = [
    subprocess.Popen(
      [sys.executable, __file__, str(folder)],
      env=environment | {'JAX_PROCESS_ID': str(process)},
    )
    for process in range(processes)
  ]
  assert [process.wait() for process in started] == [0] * processes


def joined(folder: pathlib.Path, pattern: str) -> np.ndarray:
  """What the processes of one launch read, every row by one of them."""
  shares = [np.load(path) for path in sorted(folder.glob(f'{pattern}-*.npy'))]
  assert (sum((share >= 0).astype(int) for share in shares) == 1).all()
  return np.max(shares, axis=0)


@pytest.mark.long
def test_rows_are_the_same_for_every_layout_and_every_restart(tmp_path):
  tiny.write_cache(tmp_path / 'cache', {'c': 1.0}, 'c_v1')
  (tmp_path / 'cache' / 'mixtures' / 'c_v1.json').unlink()
  tiny.write_cache(tmp_path / 'cache', {'a': 0.7, 'b': 0.3})
  for processes in LAYOUTS:
    launch(tmp_path, processes)
  source_B, row_B = mixture(tmp_path).rows_at(np.arange(STEPS * BATCH))
  for processes in LAYOUTS:
    straight = joined(tmp_path, f'{processes}-0-{STEPS}')
    assert np.array_equal(straight[..., 0].ravel(), source_B)
    assert np.array_equal(straight[..., 1].ravel(), row_B)
  restarted = [
    joined(tmp_path, f'{LAYOUTS[place % len(LAYOUTS)]}-{start}-{stop}')
    for place, (start, stop) in enumerate(
      zip(STOPS[:-1], STOPS[1:], strict=True)
    )
  ]
  assert np.array_equal(np.concatenate(restarted), straight)


if __name__ == '__main__':
  read(pathlib.Path(sys.argv[1]))
