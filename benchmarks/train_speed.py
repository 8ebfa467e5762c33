r"""A training step on CPU, beside the same step of `transformers` on torch.

    pip install -r requirements/reference.txt
    python benchmarks/train_speed.py --shape tiny --steps 9
    python benchmarks/train_speed.py --shape smollm2 --steps 5 \
      --implementations torch jax

A step is forward, backward, clipping of the gradient's norm and AdamW, in
float32, on rows of 512 tokens that are one document each: 8 of them at the tiny
shape, 2 at SmolLM2-135M's. Each implementation has a process of its own; they
take their steps in turn, so that a machine that slows down slows both. The line
of JSON tells the median seconds of each, the median of the ratios pair by pair,
and the peak of each process's memory.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

LENGTH = 512
SHAPES = {
  'tiny': {
    **{'vocab_size': 8192, 'emb_dim': 256, 'num_layers': 4, 'mlp_dim': 688},
    **{'num_heads': 8, 'num_kv_heads': 4, 'head_dim': 32, 'rows': 8},
  },
  'smollm2': {
    **{'vocab_size': 49152, 'emb_dim': 576, 'num_layers': 30, 'mlp_dim': 1536},
    **{'num_heads': 9, 'num_kv_heads': 3, 'head_dim': 64, 'rows': 2},
  },
}
ONE_DEVICE, TWO_DEVICES, EAGER, COMPILED = (
  'jax',
  'jax2',
  'torch',
  'torch.compile',
)


def stage(rows: int) -> Any:
  """How ours trains: `update.Stage`."""
  from hephaestus_jax import optimizer, update

  return update.Stage(
    name='stage1',
    mixture='none',
    steps=1,
    batch_size=rows,
    optimizer=optimizer.adamw(schedule=optimizer.constant(peak=1e-4)),
  )


def batch(vocab_size: int, rows: int) -> dict[str, Any]:
  """Rows of random tokens, one document each, as ours reads them."""
  import numpy as np

  tokens_BL = np.random.default_rng(0).integers(
    0, vocab_size, (rows, LENGTH), np.int32
  )
  return {
    'tokens_BL': tokens_BL,
    'segment_ids_BL': np.ones_like(tokens_BL),
    'positions_BL': np.tile(np.arange(LENGTH, dtype=np.int32), (rows, 1)),
    'roles_BL': np.zeros_like(tokens_BL),
    'source_B': np.zeros(rows, np.int32),
  }


def jax_step(shape: dict[str, int], devices: int) -> Callable[[], None]:
  """Ours, as `hephaestus train` compiles it."""
  from hephaestus_jax import model

  rows = shape.pop('rows')
  config = model.Config(
    **shape, tied_output=True, scan=False, attention_block=128
  )
  return step_of(config, rows, devices)


def step_of(config: Any, rows: int, devices: int) -> Callable[[], None]:
  """A step of a network, whose rows are cut over the devices."""
  import jax
  import numpy as np
  import optax

  from hephaestus_jax import heap, model, partitioning, update

  mesh = partitioning.make_mesh(cpu_devices=devices, data=devices, fsdp=1)
  how = stage(rows)
  compiled = update.lower_step(
    config, how, mesh, sequence_length=LENGTH, num_sources=1
  ).compile()
  places = update.state_shapes(config, how.optimizer, mesh)
  params = jax.jit(
    lambda seed: model.init(config, seed),
    out_shardings=update.shardings(places.params),
  )(0)
  opt_state = jax.jit(
    how.optimizer.init, out_shardings=update.shardings(places.opt_state)
  )(params)
  step = jax.device_put(np.zeros((), np.int32), places.step.sharding)
  state = update.TrainState(step, params, opt_state)
  del params, opt_state
  rows_of = partitioning.global_batch(mesh, batch(config.vocab_size, rows))
  heap.give_back()  # as before the first step of a training

  def take() -> None:
    nonlocal state
    state, sums = compiled(state, rows_of)
    float(optax.tree.norm(sums['nll']))

  return take


def torch_step(shape: dict[str, int], compiled: bool) -> Callable[[], None]:
  """That of `transformers`."""
  import torch
  import transformers

  torch.manual_seed(0)
  config = transformers.LlamaConfig(
    vocab_size=shape['vocab_size'],
    hidden_size=shape['emb_dim'],
    intermediate_size=shape['mlp_dim'],
    num_hidden_layers=shape['num_layers'],
    num_attention_heads=shape['num_heads'],
    num_key_value_heads=shape['num_kv_heads'],
    head_dim=shape['head_dim'],
    tie_word_embeddings=True,
    use_cache=False,
  )
  network = transformers.LlamaForCausalLM(config).float().train()
  called = torch.compile(network) if compiled else network
  optimizer = torch.optim.AdamW(
    network.parameters(), lr=1e-4, betas=(0.9, 0.98), weight_decay=0.01
  )
  tokens_BL = torch.randint(0, shape['vocab_size'], (shape['rows'], LENGTH))

  def take() -> None:
    called(input_ids=tokens_BL, labels=tokens_BL).loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()

  return take


def work(implementation: str, shape: dict[str, int]) -> None:
  """Takes a step for each line that is read; answers with its seconds."""
  take = {
    ONE_DEVICE: lambda: jax_step(shape, 1),
    TWO_DEVICES: lambda: jax_step(shape, 2),
    EAGER: lambda: torch_step(shape, False),
    COMPILED: lambda: torch_step(shape, True),
  }[implementation]()
  for _ in range(2):
    take()
  print('ready', flush=True)
  for _ in sys.stdin:
    start = time.perf_counter()
    take()
    print(time.perf_counter() - start, flush=True)


def memory(process: int) -> int:
  """The most that a process held at once, in bytes."""
  status = pathlib.Path(f'/proc/{process}/status').read_text()
  (line,) = (x for x in status.splitlines() if x.startswith('VmHWM'))
  return int(line.split()[1]) * 1024


def main() -> None:
  """Prints a line of JSON for each implementation."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--shape', choices=SHAPES, default='tiny')
  parser.add_argument('--steps', type=int, default=9)
  every = (EAGER, COMPILED, ONE_DEVICE, TWO_DEVICES)
  parser.add_argument('--implementations', nargs='+', default=every)
  parser.add_argument('--worker', choices=every, help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.worker:
    work(options.worker, dict(SHAPES[options.shape]))
    return
  workers = {
    name: subprocess.Popen(
      [sys.executable, __file__, '--shape', options.shape, '--worker', name],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    for name in options.implementations
  }
  seconds: dict[str, list[float]] = {name: [] for name in workers}

  def answer(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    return worker.stdout.readline()

  for name, worker in workers.items():
    if answer(worker) != 'ready\n':
      sys.exit(f'{name} did not start')
  for _ in range(options.steps):
    for name, worker in workers.items():
      assert worker.stdin is not None
      worker.stdin.write('step\n')
      worker.stdin.flush()
      seconds[name].append(float(answer(worker)))
  first = options.implementations[0]
  tokens = SHAPES[options.shape]['rows'] * LENGTH
  for name, worker in workers.items():
    median = statistics.median(seconds[name])
    pairs = zip(seconds[first], seconds[name], strict=True)
    found = {
      'shape': options.shape,
      'implementation': name,
      'seconds': round(median, 3),
      'tokens_per_second': round(tokens / median, 1),
      f'speed_of_{first}': round(statistics.median(a / b for a, b in pairs), 3),
      'peak_MB': round(memory(worker.pid) / 1e6),
    }
    print(json.dumps(found), flush=True)
    worker.kill()


if __name__ == '__main__':
  main()
