"""Reading prompts and writing on, beside `transformers` on the same weights.

    hephaestus convert --gin.RUN_DIR=runs/smollm2 --gin.IMPORT=FILE.gguf
    hephaestus convert --gin.RUN_DIR=runs/smollm2 \\
        --gin.CHECKPOINT=runs/smollm2/base --gin.EXPORT_TO=runs/smollm2/exported
    pip install -r requirements/reference.txt
    python benchmarks/decode.py runs/smollm2/base runs/smollm2/exported

Each implementation has a process of its own, in float32 on this machine's
cores; they take their turns one after the other, so that a machine that slows
down slows both. A turn reads a batch of random prompts (prefill: until the
first new token of each) and writes new tokens greedily (decode: the rest;
nothing stops it). All prompts of a batch are of one length, so that
`transformers` pads nothing. One line of JSON per turn, tokens a second over the
whole batch; the last two say the medians, and the median of the ratios.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

OURS, THEIRS = 'hephaestus', 'transformers'
Turn = Callable[[int, int, int], tuple[float, float]]


def prompts(batch: int, length: int) -> np.ndarray:
  """Random tokens, each turn the same."""
  rng = np.random.default_rng(0)
  return rng.integers(100, 30_000, (batch, length)).astype(np.int32)


def ours(path: str) -> Turn:
  """An engine with as many slots as prompts, made once per shape."""
  from hephaestus_jax import checkpoints, model, partitioning
  from hephaestus_jax.convert import convert
  from hephaestus_jax.decode import engine

  stage = pathlib.Path(path)
  config = convert.trained_config(stage)
  mesh = partitioning.make_mesh()
  params = checkpoints.restore_parameters(stage, model.placed(config, mesh))
  engines: dict[tuple[int, int], engine.Engine] = {}

  def turn(batch: int, length: int, new: int) -> tuple[float, float]:
    shape = (batch, length + new)
    if shape not in engines:
      engines.clear()
      engines[shape] = engine.Engine(
        config, params, slots=batch, max_length=length + new, chunk=512
      )
    times: list[list[float]] = [[] for _ in range(batch)]
    running = engines[shape]
    start = time.perf_counter()
    for row, prompt in enumerate(prompts(batch, length)):

      def listen(update: engine.Update, row: int = row) -> None:
        times[row].append(time.perf_counter())

      running.submit(engine.Request(tuple(prompt.tolist()), new), listen)
    while running.step():
      pass
    # Of the last prompt: until then the rows wait for it, or nearly so.
    first = max(row[0] for row in times)
    return first - start, max(row[-1] for row in times) - first

  return turn


def theirs(path: str) -> Turn:
  """`generate` with its key-value cache."""
  import torch
  import transformers

  network = transformers.AutoModelForCausalLM.from_pretrained(
    path, dtype=torch.float32
  ).eval()

  def run(tokens: torch.Tensor, new: int) -> float:
    start = time.perf_counter()
    with torch.inference_mode():
      network.generate(
        tokens,
        attention_mask=torch.ones_like(tokens),
        max_new_tokens=new,
        min_new_tokens=new,
        do_sample=False,
        pad_token_id=0,
      )
    return time.perf_counter() - start

  def turn(batch: int, length: int, new: int) -> tuple[float, float]:
    tokens = torch.from_numpy(prompts(batch, length)).long()
    # `generate` doesn't say when its first tokens came; a run of one does.
    first = run(tokens, 1)
    return first, run(tokens, new) - first

  return turn


def work(name: str, path: str) -> None:
  """Takes a turn for each line of standard input."""
  turn = {OURS: ours, THEIRS: theirs}[name](path)
  for line in sys.stdin:
    print(json.dumps(turn(*json.loads(line))), flush=True)


def measure(paths: dict[str, str], shape: list[int], turns: int) -> None:
  """Turns by turns, one line of JSON each, and their medians."""
  batch, length, new = shape
  processes = {
    name: subprocess.Popen(
      [sys.executable, __file__, '--work', name, path],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    for name, path in paths.items()
  }

  def ask(name: str) -> list[float]:
    process = processes[name]
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(shape) + '\n')
    process.stdin.flush()
    return json.loads(process.stdout.readline())

  speeds: dict[str, list[tuple[float, float]]] = {name: [] for name in paths}
  told = {'batch': batch, 'prompt_tokens': length, 'new_tokens': new}
  for name in paths:
    ask(name)  # compiles, and warms the caches
  for number in range(turns):
    for name in paths:
      prefill, decode = ask(name)
      speed = (batch * length / prefill, batch * (new - 1) / decode)
      speeds[name].append(speed)
      both = dict(zip(('prefill', 'decode'), speed, strict=True))
      line = told | {'turn': number, 'of': name}
      print(json.dumps(line | {k: round(v, 1) for k, v in both.items()}))
  for i, phase in enumerate(('prefill', 'decode')):
    line = told | {'phase': phase}
    for name, found in speeds.items():
      median = statistics.median(pair[i] for pair in found)
      line |= {f'{name}_tokens_per_second': round(median, 1)}
    ratios = [
      us[i] / them[i]
      for us, them in zip(speeds[OURS], speeds[THEIRS], strict=True)
    ]
    print(json.dumps(line | {'ratio': round(statistics.median(ratios), 3)}))
  for process in processes.values():
    assert process.stdin is not None
    process.stdin.close()
    process.wait()


def main() -> None:
  """The command line."""
  if sys.argv[1:2] == ['--work']:
    work(*sys.argv[2:4])
    return
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('base', help='what `hephaestus convert` imported')
  parser.add_argument('exported', help='what it exported again')
  parser.add_argument('--batch', type=int, default=1)
  parser.add_argument('--prompt_tokens', type=int, default=512)
  parser.add_argument('--new_tokens', type=int, default=64)
  parser.add_argument('--turns', type=int, default=5)
  options = parser.parse_args()
  measure(
    {OURS: options.base, THEIRS: options.exported},
    [options.batch, options.prompt_tokens, options.new_tokens],
    options.turns,
  )


if __name__ == '__main__':
  main()
