"""What is measured while training, and where it is written.

The train step gives sums; here they become means over the steps since the line
before. Lines go to metrics.jsonl, which after a crash is cut back to the step
that training resumes from, and to TensorBoard.
"""

import contextlib
import functools
import json
import math
import pathlib
import resource
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import psutil
from jax.sharding import Mesh

from hephaestus_jax import errors, update
from hephaestus_jax import model as transformer
from hephaestus_jax.corpus import document
from hephaestus_jax.observability import step_lines
from hephaestus_jax.pod import hosts

FILE = 'metrics.jsonl'
TENSORBOARD = 'tensorboard'
WANDB = 'wandb'
# What a line's time went into besides computing steps.
TIMES = ('input', 'checkpoint', 'evaluation')

# bf16 FLOP/s of a chip, as its maker publishes it, by `jax.Device.device_kind`.
PEAKS: Mapping[str, float] = {
  'TPU v4': 275e12,
  'TPU v5 lite': 197e12,
  'TPU v5e': 197e12,
  'TPU v5': 459e12,
  'TPU v5p': 459e12,
  'TPU v6 lite': 918e12,
  'TPU v6e': 918e12,
}


def flops_per_token(config: transformer.Config, sequence_length: int) -> float:
  """Model FLOPs to train on a token: forward and backward, nothing recomputed.

  6 for each parameter that multiplies (the embedding is only looked up), and 12
  for each head dimension and position that a token attends to, on average over
  a row that is one document.
  """
  parameters = transformer.num_parameters(config)
  if not config.tied_output:
    parameters -= config.vocab_size * config.emb_dim
  length = sequence_length
  window = min(config.sliding_window or length, length)
  seen = (window * (window + 1) / 2 + (length - window) * window) / length
  width = config.num_layers * config.num_heads * config.head_dim
  return 6.0 * parameters + 12.0 * width * seen


@functools.cache
def peak_flops() -> float | None:
  """FLOP/s of all devices at their best; None where nobody published it.

  A CPU is measured: the best of a few float32 matrix products, about 0.2 s.
  """
  device = jax.local_devices()[0]
  if device.platform != 'cpu':
    peak = PEAKS.get(device.device_kind)
    return None if peak is None else peak * jax.device_count()
  size = 1024
  square = jax.jit(jnp.matmul)
  best = math.inf
  # A mesh of its own: training's may have several devices. All of a CPU's
  # devices share its cores, so the peak of one is that of all.
  with jax.set_mesh(Mesh(np.array([device]), ('one',))):
    x = jax.device_put(np.full((size, size), 0.5, np.float32), device)
    square(x, x).block_until_ready()
    for _ in range(5):
      start = time.perf_counter()
      square(x, x).block_until_ready()
      best = min(best, time.perf_counter() - start)
  return 2 * size**3 / best


def memory_bytes() -> tuple[int, int]:
  """What the fullest device of this host holds, and has held at most.

  On CPU what the process does, and has.
  """
  stats = [device.memory_stats() for device in jax.local_devices()]
  if not all(stats):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kilobyte = 1 if sys.platform == 'darwin' else 1024
    return psutil.Process().memory_info().rss, peak * kilobyte
  return (
    max(stat['bytes_in_use'] for stat in stats),
    max(stat['peak_bytes_in_use'] for stat in stats),
  )


def means(
  window: Sequence[Mapping[str, np.ndarray]], sources: Sequence[str]
) -> dict[str, float]:
  """The steps' sums as the values of a line.

  >>> means([{'nll': 6.0, 'weight': 2.0, ...},
  ...        {'nll': 2.0, 'weight': 2.0, ...}], ['a'])
  {'loss': 2.0, ...}

  A source or a role without a single token in the window has no value, and
  where no update was taken nothing has but `skipped`, which counts those that
  were not. The loss by role covers every token, whatever its weight.

  Args:
    window: what `update.train_step` gave, a dict for each step.
    sources: names of the axis S.
  """

  def total(name: str) -> Any:
    return np.sum([sums[name] for sums in window], axis=0, dtype=np.float64)

  def ratio(top: Any, bottom: Any) -> float:
    return float(top / bottom) if bottom else 0.0

  taken = [sums for sums in window if sums['taken']]
  skipped = {'skipped': float(len(window) - len(taken))}
  if not taken:
    return skipped
  weight = total('weight')
  values = skipped | {
    'loss': ratio(total('nll'), weight),
    'z_loss': ratio(total('z'), weight),
    'gradient_norm': float(total('gradient_norm') / len(taken)),
    'update_norm': float(total('update_norm') / len(taken)),
    'parameter_norm': float(taken[-1]['parameter_norm']),
    'learning_rate': float(taken[-1]['learning_rate']),
  }
  for name in ('gradient_norm', 'update_norm'):
    of_groups_G = total(f'{name}_G') / len(taken)
    for group, norm in zip(update.GROUPS, of_groups_G, strict=True):
      values[f'{name}/{group}'] = float(norm)
  groups = (
    ('source', sources, total('nll_S'), total('weight_S')),
    ('role', document.ROLES, total('nll_R'), total('tokens_R')),
  )
  for kind, names, tops, bottoms in groups:
    for name, top, bottom in zip(names, tops, bottoms, strict=True):
      if bottom:
        values[f'loss/{kind}/{name}'] = ratio(top, bottom)
  return values


class Meter:
  """Collects steps between two lines, and takes the time.

  The sums stay on the device until a line is due. The loop runs ahead of the
  device by one step, which keeps it busy; more would only hold memory. On CPU
  it does not run ahead: see `partitioning.make_mesh`.

  Attributes:
    not_taken: of the last line's steps those whose update was not taken: how
      many steps before the line's (0, -1, ...), and the gradient's norm.
  """

  def __init__(
    self, *, sources: Sequence[str], tokens_per_step: int, flops_per_step: float
  ):
    """Starts the clock.

    Args:
      sources: names of the axis S.
      tokens_per_step: rows times their length.
      flops_per_step: model FLOPs of a step.
    """
    self._sources = sources
    self._tokens = tokens_per_step
    self._flops = flops_per_step
    self._window: list[Mapping[str, jax.Array]] = []
    self._seconds = dict.fromkeys(TIMES, 0.0)
    self._peak = peak_flops()
    self.not_taken: list[tuple[int, float]] = []
    self._start = time.perf_counter()

  @contextlib.contextmanager
  def time(self, name: str) -> Iterator[None]:
    """Takes the time of what is done within it, one of TIMES."""
    start = time.perf_counter()
    yield
    self._seconds[name] += time.perf_counter() - start

  def add(self, sums: Mapping[str, jax.Array]) -> None:
    """Takes in a step, and waits for the one before it."""
    self._window.append(sums)
    if len(self._window) > 1:
      jax.block_until_ready(self._window[-2])

  def line(self) -> dict[str, float]:
    """Waits for the steps since the last line, and sums them up.

    `seconds` are those of the steps: the wall clock's without evaluations and
    saves. What came after the last line, such as its save, is in this one:
    `time/input` (waiting for batches), `time/compute` (the rest of the steps),
    `time/checkpoint` (what a save held up), `time/evaluation`.
    """
    window = jax.device_get(self._window)
    values = means(window, self._sources)
    self.not_taken = [
      (place, float(sums['raw_norm']))
      for place, sums in enumerate(window, start=1 - len(window))
      if not sums['taken']
    ]
    now = time.perf_counter()
    spent = self._seconds
    seconds = now - self._start - spent['checkpoint'] - spent['evaluation']
    steps = len(self._window)
    in_use, peak = memory_bytes()
    values |= {
      'tokens_per_second': steps * self._tokens / seconds,
      'input_wait': spent['input'] / seconds,
      'memory_bytes': peak,
      'memory_bytes_in_use': in_use,
      'seconds': seconds,
      'time/compute': seconds - spent['input'],
      **{f'time/{name}': taken for name, taken in spent.items()},
    }
    if self._peak is not None:
      values['mfu'] = steps * self._flops / seconds / self._peak
    self._window, self._start = [], now
    self._seconds = dict.fromkeys(TIMES, 0.0)
    return values


def seconds(folder: pathlib.Path, last_step: int | None = None) -> float:
  """What a stage's steps took, to `last_step` where it is given."""
  lines = step_lines.read(folder / FILE)
  return max(
    (
      line.get('seconds', 0.0)
      for line in lines
      if last_step is None or line['step'] <= last_step
    ),
    default=0.0,
  )


# Takes a step and its values.
Sink = Callable[[int, Mapping[str, float]], None]


class Writer:
  """Appends to metrics.jsonl, TensorBoard and, if asked, Weights & Biases.

  A line is on disk at once. Only the first process writes; elsewhere nothing
  happens.
  """

  def __init__(
    self,
    folder: pathlib.Path,
    *,
    resumed_step: int | None,
    wandb: str | None = None,
  ):
    """Opens them.

    Args:
      folder: the stage's.
      resumed_step: the checkpoint's, after which everything is forgotten; None
        forgets everything.
      wandb: a project's name; None: none, and nothing of it is imported.

    Raises:
      errors.UserError: wandb is asked for and is not installed.
    """
    last = -1 if resumed_step is None else resumed_step
    self.seconds = seconds(folder, last)
    self._close = contextlib.ExitStack()
    self._sinks: list[Sink] = []
    if hosts.is_first():
      self._sinks = [
        _lines(folder / FILE, last, self._close),
        _tensorboard(folder / TENSORBOARD, last, self._close),
      ]
      if wandb is not None:
        self._sinks.append(_wandb(folder, wandb, last, self._close))

  def write(self, step: int, values: Mapping[str, float]) -> None:
    """Adds a line.

    `seconds` among the values is what the steps took; the line tells the sum
    since the stage began.
    """
    line = {'step': step, **values}
    if 'seconds' in line:
      self.seconds += line['seconds']
      line['seconds'] = self.seconds
    for sink in self._sinks:
      sink(step, line)

  def close(self) -> None:
    """Closes them."""
    self._close.close()


def _lines(path: pathlib.Path, last: int, close: contextlib.ExitStack) -> Sink:
  """metrics.jsonl, without what stands there after step `last`."""
  step_lines.rewind(path, last)
  file = close.enter_context(path.open('a'))

  def write(step: int, line: Mapping[str, float]) -> None:
    del step  # it is in the line
    file.write(json.dumps(line) + '\n')
    file.flush()

  return write


def _tensorboard(
  folder: pathlib.Path, last: int, close: contextlib.ExitStack
) -> Sink:
  """TensorBoard, which hides what it has after step `last`."""
  # It imports torch where that is installed: no refused run waits for that.
  import tensorboardX

  board = tensorboardX.SummaryWriter(str(folder), purge_step=last + 1)
  close.callback(board.close)

  def write(step: int, line: Mapping[str, float]) -> None:
    for name, value in line.items():
      if name != 'step':
        board.add_scalar(name, value, step)
    board.flush()

  return write


def _wandb(
  folder: pathlib.Path, project: str, last: int, close: contextlib.ExitStack
) -> Sink:
  """A run of a project, the same one after a restart.

  A service that only appends can't forget steps: those that a restart repeats
  are left out until they are new. WANDB_MODE=offline keeps all of it here.
  """
  try:
    import wandb
  except ImportError as error:
    raise errors.UserError(
      f'train.train.wandb = {project!r}, and wandb is not installed. Install '
      'the extra (pip install hephaestus-jax[wandb]), or set WANDB to None.'
    ) from error
  known = folder / f'{WANDB}.json'
  if last < 0 or not known.exists():
    known.write_text(json.dumps({'id': secrets.token_hex(4)}) + '\n')
  run = wandb.init(
    project=project,
    name='/'.join(folder.resolve().parts[-3:]),
    id=json.loads(known.read_text())['id'],
    resume='allow',
    dir=str(folder),
  )
  close.callback(run.finish)

  def write(step: int, line: Mapping[str, float]) -> None:
    run.log(dict(line), step=step)

  return write
