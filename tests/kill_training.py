"""Kills one training run again and again, on ever other devices.

Too long for the suite: fifty kills took 25 minutes on two busy cores. From the
project's folder:

    .venv/bin/python tests/kill_training.py /tmp/killed --processes 1 2
    .venv/bin/python tests/kill_training.py /tmp/killed_on_2 --devices 2

A run of tests/tiny.py's network goes undisturbed to its end. Another one of the
same inputs is ended by SIGKILL at random moments: while it starts, between
steps, and while a checkpoint is written; each time it is begun again on a
number of devices, and of processes, chosen at random. What every process reads
and what every step's loss is goes to a log on the way, so that also what a kill
threw away is compared:

- a step reads the rows that it reads undisturbed, and none is left out;
- two processes' rows are the batch, in order;
- two lives on the same number of devices and processes that begin at the same
  checkpoint have the same losses, bit for bit. With one number of devices
  (`--devices 2`) all lives have those of the undisturbed run.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

HERE = pathlib.Path(__file__).parent
BATCH = 8
LOG = 'log.jsonl'


# --- what is killed


def live(folder: pathlib.Path, life: Mapping[str, Any]) -> None:
  """Trains from wherever the run stands to its end."""
  import jax

  devices, processes = life['devices'], life['processes']
  jax.config.update('jax_num_cpu_devices', devices // processes)
  if processes > 1:
    jax.distributed.initialize(
      f'localhost:{life["port"]}', processes, life['process']
    )
  sys.path.append(str(HERE))
  import tiny

  from hephaestus_jax import data
  from hephaestus_jax.observability import metrics

  log = os.open(folder / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

  def say(**line: Any) -> None:
    os.write(log, (json.dumps(life | line) + '\n').encode())

  loader, write = data.loader, metrics.Writer.write

  def logged_loader(*args: Any, **keywords: Any) -> Iterator[data.Batch]:
    first = keywords['start_step']
    say(resumed=first)
    batches = loader(*args, **keywords)
    for step, batch in enumerate(batches, start=first + 1):
      pairs = zip(batch['source_B'], batch['row_B'], strict=True)
      say(step=step, rows=[[int(x), int(y)] for x, y in pairs])
      yield batch

  def logged_write(
    writer: Any, step: int, values: Mapping[str, float], **more: Any
  ) -> None:
    say(step=step, loss=values['loss'])
    write(writer, step, values, **more)

  data.loader = logged_loader
  metrics.Writer.write = logged_write  # type: ignore[method-assign]
  tiny.run(
    folder,
    tiny.stage(steps=life['steps'], batch_size=BATCH),
    mesh=tiny.mesh(fsdp=devices),
    checkpoint_every=life['checkpoint_every'],
    compilation_cache=str(folder.parent / 'compiled'),
  )


# --- what kills


def begin(
  folder: pathlib.Path, life: Mapping[str, Any]
) -> list[subprocess.Popen[bytes]]:
  """Starts the processes of a life."""
  with socket.socket() as free:
    free.bind(('localhost', 0))
    port = free.getsockname()[1]
  started = []
  for process in range(life['processes']):
    told = json.dumps(life | {'process': process, 'port': port})
    with (folder / f'process{process}.err').open('wb') as out:
      started.append(
        subprocess.Popen(
          [sys.executable, __file__, str(folder), '--live', told],
          stdout=subprocess.DEVNULL,
          stderr=out,
        )
      )
  return started


def lines(folder: pathlib.Path) -> list[dict[str, Any]]:
  """The log; a line that a kill cut short is left out."""
  path = folder / LOG
  text = path.read_text() if path.exists() else ''
  return [json.loads(x) for x in text.split('\n')[:-1]]


def finish(processes: Sequence[subprocess.Popen[bytes]], folder: Any) -> None:
  """Waits until a life ends by itself."""
  for number, process in enumerate(processes):
    if process.wait():
      error = (folder / f'process{number}.err').read_text(errors='replace')
      sys.exit(f'a run ended with {process.returncode}:\n{error[-3000:]}')


def saving(folder: pathlib.Path) -> bool:
  """Whether a checkpoint is being written."""
  return any(folder.glob('run/stage1/checkpoints/*-tmp'))


def wait_for(
  moment: str,
  processes: Sequence[subprocess.Popen[bytes]],
  folder: pathlib.Path,
  steps: int,
  chance: random.Random,
) -> None:
  """Returns when it is time to kill, or when the life has ended.

  Args:
    moment: 'start': within its first seconds; 'step': so many steps on and a
      part of the next; 'save': then when a checkpoint is being written.
    processes: the life's.
    folder: the run's.
    steps: how many new ones it is left to do.
    chance: for what is random.
  """
  if moment == 'start':
    time.sleep(chance.uniform(0.0, 8.0))
    return
  size = (folder / LOG).stat().st_size if (folder / LOG).exists() else 0

  def done() -> int:
    if not (folder / LOG).exists():
      return 0
    with (folder / LOG).open('rb') as file:
      file.seek(size)
      return file.read().count(b'"loss"')

  def alive() -> bool:
    return all(process.poll() is None for process in processes)

  while alive() and done() < steps:
    time.sleep(0.005)
  while alive() and moment == 'save' and not saving(folder):
    time.sleep(0.001)
  longest = {'step': 0.2, 'save': 0.05}[moment]
  time.sleep(chance.uniform(0.0, longest))


def kill(processes: Sequence[subprocess.Popen[bytes]]) -> bool:
  """Ends what is left of a life; whether there was any."""
  left = [process for process in processes if process.poll() is None]
  for process in left:
    process.send_signal(signal.SIGKILL)
  for process in processes:
    process.wait()
  return bool(left)


# --- what must be so


def check(
  undisturbed: Sequence[Mapping[str, Any]],
  killed: Sequence[Mapping[str, Any]],
  steps: int,
  one_kind: bool,
) -> dict[str, Any]:
  """Compares two logs; what it returns is for the reader."""
  rows = {line['step']: line['rows'] for line in undisturbed if 'rows' in line}
  losses = {
    line['step']: line['loss'] for line in undisturbed if 'loss' in line
  }
  assert set(rows) == set(losses) == set(range(1, steps + 1))
  read, repeated = set(), 0
  last: dict[tuple[int, int], int] = {}
  for line in killed:
    who = (line['life'], line['process'])
    if 'resumed' in line:
      last[who] = line['resumed']
    if 'rows' in line:
      step, share = line['step'], BATCH // line['processes']
      assert step == last[who] + 1, f'{who} left out a step before {step}'
      last[who] = step
      place = line['process'] * share
      expected = rows[step][place : place + share]
      assert line['rows'] == expected, f'step {step} of life {who}: other rows'
      repeated += step in read and line['process'] == 0
      read.add(step)
  assert read == set(rows), 'a step was never made'

  resumed = {x['life']: x['resumed'] for x in killed if 'resumed' in x}
  seen: dict[tuple[int, ...], float] = {}
  equal, furthest = 0, 0.0
  for line in killed:
    if 'loss' not in line:
      continue
    step, loss = line['step'], line['loss']
    furthest = max(furthest, abs(loss - losses[step]) / losses[step])
    kind = (line['devices'], line['processes'], resumed[line['life']], step)
    if kind in seen:
      assert loss == seen[kind], f'step {step} on {kind}: another loss'
      equal += 1
    seen[kind] = loss
    if one_kind:
      assert loss == losses[step], f'step {step}: another loss'
  return {
    'steps': steps,
    'rows_compared': sum('rows' in line for line in killed),
    'steps_made_again': repeated,
    'losses_equal_again': equal,
    'losses_equal_to_undisturbed': one_kind,
    'furthest_loss': furthest,
  }


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('folder', type=pathlib.Path)
  parser.add_argument('--kills', type=int, default=50)
  parser.add_argument('--steps', type=int, default=600)
  parser.add_argument('--checkpoint_every', type=int, default=5)
  parser.add_argument('--devices', type=int, nargs='+', default=[1, 2, 4, 8])
  parser.add_argument('--processes', type=int, nargs='+', default=[1])
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--live', type=json.loads, help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.live:
    live(options.folder, options.live)
    return
  sys.path.append(str(HERE))
  import tiny

  chance = random.Random(options.seed)
  undisturbed, killed = (
    options.folder / 'undisturbed',
    options.folder / 'killed',
  )
  for folder in (undisturbed, killed):
    shutil.rmtree(folder, ignore_errors=True)
    tiny.write_cache(folder / 'cache', {'a': 0.7, 'b': 0.3})
  life: dict[str, Any] = {
    'life': 0,
    'steps': options.steps,
    'checkpoint_every': options.checkpoint_every,
    'devices': options.devices[0],
    'processes': 1,
  }
  finish(begin(undisturbed, life), undisturbed)
  kills = during_save = 0
  start = time.monotonic()
  # Half of its steps are made again on average: so the run lasts for all kills.
  most = 2 * options.steps // options.kills
  while True:
    devices = chance.choice(options.devices)
    fitting = [n for n in options.processes if n <= devices]
    life |= {
      'life': life['life'] + 1,
      'devices': devices,
      'processes': chance.choice(fitting),
    }
    processes = begin(killed, life)
    if kills == options.kills:
      finish(processes, killed)
      break
    (moment,) = chance.choices(('start', 'step', 'save'), (1, 5, 4))
    wait_for(moment, processes, killed, chance.randint(1, most), chance)
    if not kill(processes):
      finish(processes, killed)
      break
    kills += 1
    during_save += saving(killed)
    step = max((x.get('step', 0) for x in lines(killed)), default=0)
    print(
      f'kill {kills} at {moment}, step {step}, {devices} devices in '
      f'{life["processes"]} processes'
      + (', a checkpoint half written' if saving(killed) else ''),
      flush=True,
    )
  found = check(
    lines(undisturbed),
    lines(killed),
    options.steps,
    len(options.devices) == len(options.processes) == 1,
  )
  found |= {
    'kills': kills,
    'during_a_save': during_save,
    'seconds': round(time.monotonic() - start),
  }
  print(json.dumps(found))
  if kills < options.kills:
    sys.exit(
      f'the run was at its end after {kills} kills: give it more --steps'
    )


if __name__ == '__main__':
  main()
