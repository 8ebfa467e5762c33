"""Saving and restoring a run's state, against the same bytes in a plain file.

    .venv/bin/python benchmarks/checkpoints.py /a/folder/on/the/disk --rounds 3

The state is SmolLM2-135M's with both Adam moments, float32: 1.6 GB. A line of
JSON per measurement. Before anything is read, the kernel is told to forget the
files (`posix_fadvise`), so that reads come from the disk.
"""

import argparse
import json
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import jax
import numpy as np

from hephaestus_jax import (
  checkpoints,
  manifest,
  model,
  optimizer,
  partitioning,
  train,
  update,
)

SMOLLM2_135M = model.Config(
  vocab_size=49152,
  emb_dim=576,
  num_layers=30,
  num_heads=9,
  num_kv_heads=3,
  head_dim=64,
  mlp_dim=1536,
  tied_output=True,
)
ITEMS = (checkpoints.PARAMETERS, train.OPTIMIZER)


def state_and_shapes() -> tuple[dict[str, Any], dict[str, Any]]:
  """What a run saves, by item, of numbers that no disk could compress."""
  adam = optimizer.adamw(schedule=optimizer.constant(peak=1e-3))
  shapes = update.state_shapes(SMOLLM2_135M, adam, partitioning.make_mesh())
  items = {
    checkpoints.PARAMETERS: shapes.params,
    train.OPTIMIZER: (shapes.step, shapes.opt_state),
  }
  random = np.random.default_rng(0)

  def made(shape: jax.ShapeDtypeStruct) -> jax.Array:
    values = random.random(shape.shape, np.float32).astype(shape.dtype)
    return jax.device_put(values, shape.sharding)

  return jax.tree.map(made, items), items


def forget(folder: pathlib.Path) -> None:
  """Has the kernel drop what it holds of a folder's files."""
  os.sync()
  for path in folder.rglob('*'):
    if path.is_file():
      with path.open('rb') as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def seconds(work: Callable[[], Any]) -> float:
  """How long a piece of work takes."""
  start = time.perf_counter()
  work()
  return round(time.perf_counter() - start, 3)


def raw(folder: pathlib.Path, size: int) -> Iterator[dict[str, Any]]:
  """A plain file of the same size, in blocks of 16 MB."""
  folder.mkdir()
  block = np.random.default_rng(0).bytes(1 << 24)

  def write() -> None:
    with (folder / 'raw').open('wb') as file:
      for _ in range(size // len(block)):
        file.write(block)
      file.flush()
      os.fsync(file.fileno())

  def read() -> None:
    with (folder / 'raw').open('rb', buffering=0) as file:
      space = bytearray(1 << 24)
      while file.readinto(space):
        pass

  yield {'what': 'raw write and sync', 'seconds': seconds(write)}
  forget(folder)
  yield {'what': 'raw read', 'seconds': seconds(read)}
  shutil.rmtree(folder)


def ours(
  folder: pathlib.Path, state: Any, shapes: Any, *, with_manifest: bool
) -> Iterator[dict[str, Any]]:
  """A second save, as a run's are, and a restore in a cold start's manner."""
  kind = {'manifest': with_manifest}
  write = manifest.write if with_manifest else lambda folder: None
  with mock.patch.object(manifest, 'write', write):
    writer = checkpoints.Writer(folder, keep=2, items=ITEMS)
    writer.save(1, state)
    writer.wait()
    os.sync()
    start = time.perf_counter()
    blocked = seconds(lambda: writer.save(2, state))
    writer.wait()
    total = round(time.perf_counter() - start, 3)
    yield {'what': 'save, blocked', 'seconds': blocked} | kind
    yield {'what': 'save, until committed', 'seconds': total} | kind
    writer.close()

  def restore() -> None:
    if with_manifest and checkpoints.newest_whole(folder) != 2:
      raise SystemExit('the checkpoint is damaged')
    for item in ITEMS:
      found = checkpoints.restore(folder / '2', item, shapes[item])
      jax.block_until_ready(found)

  forget(folder)
  yield {'what': 'restore', 'seconds': seconds(restore)} | kind
  forget(folder)
  if with_manifest:
    check = seconds(lambda: checkpoints.damage(folder / '2'))
    yield {'what': 'check alone', 'seconds': check} | kind
  shutil.rmtree(folder)


def main() -> None:
  """Measures in rounds, so that a busy disk spoils one and not a column."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('folder', type=pathlib.Path, help='made, and left empty')
  parser.add_argument('--rounds', type=int, default=3)
  options = parser.parse_args()
  options.folder.mkdir(parents=True, exist_ok=True)
  state, shapes = state_and_shapes()
  size = sum(x.nbytes for x in jax.tree.leaves(state))
  for number in range(options.rounds):
    for found in (
      *raw(options.folder / 'raw', size),
      *ours(options.folder / 'with', state, shapes, with_manifest=True),
      *ours(options.folder / 'without', state, shapes, with_manifest=False),
    ):
      print(
        json.dumps(
          {'round': number, 'GB': round(size / 1e9, 2), **found}
          | {'GB_per_s': round(size / 1e9 / max(found['seconds'], 1e-9), 2)}
          | {'load': round(os.getloadavg()[0], 1)}
        ),
        flush=True,
      )


if __name__ == '__main__':
  main()
