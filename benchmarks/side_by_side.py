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
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import train_speed

ROWS, CORES = 4, 2
WAYS = ('one', 'two_devices', 'vmapped', 'a_device_each', 'a_core_each')


def stacked(config: Any, models: int, devices: int) -> Callable[[], None]:
  """An update of several models at once, cut over the devices."""
  import jax
  import jax.numpy as jnp
  import numpy as np
  from jax.sharding import NamedSharding, PartitionSpec

  from hephaestus_jax import model, partitioning, update

  stage = train_speed.stage(ROWS)
  mesh = partitioning.make_mesh(cpu_devices=devices, data=devices, fsdp=1)
  each = NamedSharding(mesh, PartitionSpec('data'))

  def init(seed: jax.Array) -> update.TrainState:
    params = model.init(config, seed)
    opt_state = stage.optimizer.init(params)
    return update.TrainState(jnp.zeros((), jnp.int32), params, opt_state)

  def one(state: Any, batch: Any) -> tuple[Any, Any]:
    return update.train_step(
      state, batch, config=config, stage=stage, num_sources=1
    )

  rows = train_speed.batch(config.vocab_size, ROWS)
  batch = {name: np.stack([array] * models) for name, array in rows.items()}
  state = jax.jit(jax.vmap(init))(jnp.arange(models))
  state, batch = jax.device_put((state, batch), each)
  taken = jax.jit(jax.vmap(one), out_shardings=(each, each), donate_argnums=0)

  def take() -> None:
    nonlocal state
    state, sums = taken(state, batch)
    jax.block_until_ready(sums)

  return take


def work(way: str, model_name: str) -> None:
  """Takes a step for each line that is read, and says so."""
  from hephaestus_jax.experiments import sweep

  config = sweep.network('gin/scaling/demo.gin', model_name, [])
  take = {
    'one': lambda: train_speed.step_of(config, ROWS, 1),
    'two_devices': lambda: train_speed.step_of(config, ROWS, CORES),
    'vmapped': lambda: stacked(config, CORES, 1),
    'a_device_each': lambda: stacked(config, CORES, CORES),
    'a_core_each': lambda: train_speed.step_of(config, ROWS, 1),
  }[way]()
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
        env=os.environ | {'JAX_PLATFORMS': 'cpu'},
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
