"""Small models of one shape on two cores: one after the other, or at once.

    python benchmarks/side_by_side.py --model tiny --steps 9

The step is a sweep's (gin/scaling/demo.gin). A line of JSON for each way tells
the median of updates a second, of all models together:

  one            a model on one device that both cores compute for
  two_devices    a model whose rows are cut over two devices (cpu2.gin)
  vmapped        two models, stacked, on one device
  a_device_each  two models in one process, a device for each
  a_core_each    two processes held to a core each (cpu1.gin)

The ways take their steps in turn, so that a machine that slows down slows all.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

LENGTH, ROWS, CORES = 512, 4, 2
WAYS = ('one', 'two_devices', 'vmapped', 'a_device_each', 'a_core_each')
ROOT = pathlib.Path(__file__).resolve().parents[1]


def step(model_name: str, models: int, devices: int) -> Callable[[], None]:
  """Takes an update of `models` models; one alone is cut over the devices."""
  import jax
  import jax.numpy as jnp
  import numpy as np
  from jax.sharding import NamedSharding, PartitionSpec

  from hephaestus_jax import (
    configuration,
    model,
    optimizer,
    partitioning,
    update,
  )

  text = configuration.read(
    [f'gin/models/{model_name}.gin'], [], configuration.ROOT
  )
  prefix = 'model.Config.'
  config = model.Config(
    **{
      name.removeprefix(prefix): binding.value
      for name, binding in text.final.items()
      if name.startswith(prefix)
    }
  )
  stage = update.Stage(
    name='stage1',
    mixture='none',
    steps=1,
    batch_size=ROWS,
    optimizer=optimizer.adamw(schedule=optimizer.constant(peak=1e-4)),
  )
  mesh = partitioning.make_mesh(cpu_devices=devices, data=devices, fsdp=1)
  tokens_MBL = np.random.default_rng(0).integers(
    0, config.vocab_size, (models, ROWS, LENGTH), np.int32
  )
  batch_M = {
    'tokens_BL': tokens_MBL,
    'segment_ids_BL': np.ones_like(tokens_MBL),
    'positions_BL': np.zeros_like(tokens_MBL) + np.arange(LENGTH)[None, None],
    'roles_BL': np.zeros_like(tokens_MBL),
    'source_B': np.zeros((models, ROWS), np.int32),
  }

  def init(seed: jax.Array) -> update.TrainState:
    params = model.init(config, seed)
    opt_state = stage.optimizer.init(params)
    return update.TrainState(jnp.zeros((), jnp.int32), params, opt_state)

  def one(state: Any, batch: Any) -> tuple[Any, Any]:
    return update.train_step(
      state, batch, config=config, stage=stage, num_sources=1
    )

  if models == 1:
    batch = {name: array[0] for name, array in batch_M.items()}
    place = NamedSharding(mesh, PartitionSpec('data'))
    with jax.set_mesh(mesh):
      state = jax.jit(init)(0)
      batch = jax.device_put(batch, place)
      taken = jax.jit(one, donate_argnums=0)
  else:
    state = jax.jit(jax.vmap(init))(jnp.arange(models))
    each = NamedSharding(mesh, PartitionSpec('data'))
    state, batch = jax.device_put((state, batch_M), each)
    taken = jax.jit(jax.vmap(one), out_shardings=(each, each), donate_argnums=0)

  def take() -> None:
    nonlocal state
    if models == 1:
      with jax.set_mesh(mesh):
        state, sums = taken(state, batch)
    else:
      state, sums = taken(state, batch)
    jax.block_until_ready(sums)

  return take


def work(way: str, model_name: str) -> None:
  """Takes a step for each line that is read, and says so."""
  models, devices = {
    'one': (1, 1),
    'two_devices': (1, CORES),
    'vmapped': (CORES, 1),
    'a_device_each': (CORES, CORES),
    'a_core_each': (1, 1),
  }[way]
  take = step(model_name, models, devices)
  for _ in range(2):
    take()
  print('ready', flush=True)
  for _ in sys.stdin:
    take()
    print('done', flush=True)


class Workers:
  """The processes of a way."""

  def __init__(self, way: str, model_name: str):
    command = [sys.executable, __file__, '--model', model_name, '--worker', way]
    prefixes = [[]]
    if way == 'a_core_each':
      prefixes = [['taskset', '-c', str(core)] for core in range(CORES)]
    self.processes = [
      subprocess.Popen(
        [*prefix, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)},
      )
      for prefix in prefixes
    ]
    self.models = 1 if way in ('one', 'two_devices') else CORES

  def answers(self, wanted: str) -> None:
    """Waits until each process has said it."""
    for process in self.processes:
      assert process.stdout is not None
      if process.stdout.readline() != f'{wanted}\n':
        sys.exit('a process did not answer')

  def seconds(self) -> float:
    """One step of all of the models."""
    start = time.perf_counter()
    for process in self.processes:
      assert process.stdin is not None
      process.stdin.write('step\n')
      process.stdin.flush()
    self.answers('done')
    return time.perf_counter() - start

  def end(self) -> None:
    """Ends the processes."""
    for process in self.processes:
      process.kill()
      process.wait()


def main() -> None:
  """Prints a line of JSON for each way."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--model', default='tiny', help='a file of gin/models/')
  parser.add_argument('--steps', type=int, default=9)
  parser.add_argument('--ways', nargs='+', choices=WAYS, default=WAYS)
  parser.add_argument('--worker', choices=WAYS, help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.worker:
    work(options.worker, options.model)
    return
  ways = {}
  for way in options.ways:
    ways[way] = Workers(way, options.model)
    ways[way].answers('ready')
  seconds: dict[str, list[float]] = {way: [] for way in ways}
  for _ in range(options.steps):
    for way, workers in ways.items():
      seconds[way].append(workers.seconds())
  for way, workers in ways.items():
    workers.end()
    median = statistics.median(seconds[way])
    found = {
      'model': options.model,
      'way': way,
      'updates_per_second': round(workers.models / median, 3),
    }
    print(json.dumps(found))


if __name__ == '__main__':
  main()
