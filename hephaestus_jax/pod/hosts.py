"""Several processes that are one run: how they meet, and that they agree.

A pod runs one process per host, all with the same command. `join` makes them
one JAX; `agree` stops all of them, with one message, where one of them has
other code, another configuration or other data. What is written once is
written by the first (`is_first`), and every host reads the same disk.
"""

import hashlib
import importlib.metadata
import itertools
import json
import os
import pathlib
import socket
import subprocess
import time
from collections.abc import Mapping
from typing import Any

import jax
from jax._src import cloud_tpu_init, clusters, distributed

from hephaestus_jax import errors
from hephaestus_jax.pod import roll_call

# Google Cloud's default firewall opens it. JAX up to 0.8.0 took it by itself;
# since then it takes 8482, and a pod whose firewall nobody touched waits
# forever (github.com/jax-ml/jax/issues/35905).
PORT = 8476
# Once all have reported, JAX has little to wait for.
JAX_START_UP = 300  # seconds
# Seconds in which every process comes to a meeting: one may read many gigabytes
# of a checkpoint before.
ANSWER = 1200.0
_meetings = itertools.count()


def join(
  *,
  coordinator: str | None = None,
  processes: int | None = None,
  wait_minutes: float = 30.0,
) -> int:
  """Makes this process one of a run's, and says how many there are.

  It comes before the first look at JAX's devices. On a TPU VM the processes
  find each other. Elsewhere each is told in its environment which it is
  (JAX_PROCESS_ID), and there or here where the first is and how many there are.
  Where nothing is said, this process is alone.

  Args:
    coordinator: 'host:port' of the first process; without ':port' PORT. None:
      JAX_COORDINATOR_ADDRESS.
    processes: how many; None: JAX_NUM_PROCESSES.
    wait_minutes: for all of them to start. After a preemption hosts come back
      one by one, minutes apart.

  Raises:
    errors.UserError: some are missing, named one by one; or the environment
      says half of what it must.
  """
  if jax.distributed.is_initialized():
    return jax.process_count()
  seconds = 60 * wait_minutes
  address, count, process = _found(coordinator, processes, seconds)
  if count == 1:
    return 1
  host, port = _split(address)
  if process == 0:
    roll_call.lead(port, count, seconds)
  else:
    roll_call.report(host, port, process, seconds)
  jax.distributed.initialize(
    f'{host}:{port}',
    count,
    process,
    cluster_detection_method='deactivate',  # all is known
    initialization_timeout=JAX_START_UP,
  )
  return count


def _found(
  coordinator: str | None, processes: int | None, seconds: float
) -> tuple[str, int, int]:
  """The first process's address, how many there are, and which this one is."""
  environment = os.environ
  address = coordinator or environment.get('JAX_COORDINATOR_ADDRESS')
  if cloud_tpu_init.running_in_cloud_tpu_vm:
    environment.setdefault('JAX_COORDINATOR_PORT', str(PORT))
    find = clusters.ClusterEnv.auto_detect_unset_distributed_params
    address, count, process, _ = find(
      address, processes, None, None, None, int(seconds)
    )
    return str(address), count or 1, process or 0
  if address is None:
    return '', 1, 0
  count = _number('JAX_NUM_PROCESSES') if processes is None else processes
  process = _number('JAX_PROCESS_ID')
  if not 0 <= process < count:
    raise errors.UserError(
      f'JAX_PROCESS_ID = {process}, and there are {count} processes: number '
      f'them 0 to {count - 1}.'
    )
  return address, count, process


def _number(name: str) -> int:
  value = os.environ.get(name, '')
  if not value.isdecimal():
    raise errors.UserError(
      f'The environment variable {name} is {value!r}. A run of several '
      'processes (JAX_COORDINATOR_ADDRESS or hosts.join.coordinator is set) '
      'needs a whole number there.'
    )
  return int(value)


def _split(address: str) -> tuple[str, int]:
  """('10.0.0.1', 8476) of '10.0.0.1' or '10.0.0.1:8476'."""
  host, _, port = address.rpartition(':')
  if not host:
    return address, PORT
  if not port.isdecimal():
    raise errors.UserError(
      f'The first process is said to be at {address!r}: that is no host:port.'
    )
  return host, int(port)


def is_first() -> bool:
  """Whether this process is the one that writes and prints."""
  return jax.process_index() == 0


def appears(path: pathlib.Path, seconds: float = 60.0) -> bool:
  """Whether what another host wrote is there; a network disk may be late."""
  deadline = time.monotonic() + seconds
  while not path.exists() and time.monotonic() < deadline:
    time.sleep(0.5)
  return path.exists()


def said_by_all(text: str) -> list[str]:
  """What each process says here; it returns when all have come.

  By JAX's coordinator and not by its devices: those belong to the mesh that is
  set, and what they hold would have to be of one length.
  """
  count = jax.process_count()
  if count == 1:
    return [text]
  client: Any = distributed.global_state.client
  meeting = f'hephaestus/{next(_meetings)}'
  client.key_value_set(f'{meeting}/{jax.process_index()}', text)
  wait = round(1000 * ANSWER)
  return [
    client.blocking_key_value_get(f'{meeting}/{process}', wait)
    for process in range(count)
  ]


def agree(facts: Mapping[str, Any]) -> None:
  """Returns once every process has come here with the same facts.

  Args:
    facts: plain JSON. Without any it is only a place to meet.

  Raises:
    errors.UserError: on every process, what differs where; or who is missing.
  """
  count = jax.process_count()
  if count == 1:
    return
  client: Any = distributed.global_state.client
  meeting = f'hephaestus/{next(_meetings)}'
  mine = {'host': socket.gethostname(), 'facts': facts}
  client.key_value_set(f'{meeting}/{jax.process_index()}', json.dumps(mine))
  if is_first():
    error = _verdict(client, meeting, count)
    client.key_value_set(f'{meeting}/error', error)
  else:
    wait = round(1000 * (ANSWER + 60))
    error = client.blocking_key_value_get(f'{meeting}/error', wait)
  if error:
    raise errors.UserError(error)


def _verdict(client: Any, meeting: str, count: int) -> str:
  """What is wrong, as the first process sees it; '' where nothing is."""
  said: list[Any] = []
  deadline = time.monotonic() + ANSWER
  for process in range(count):
    left = max(deadline - time.monotonic(), 1.0)
    try:
      text = client.blocking_key_value_get(
        f'{meeting}/{process}', round(1000 * left)
      )
    except jax.errors.JaxRuntimeError:
      return (
        f'Process {process} of {count} has not come within {ANSWER / 60:g} '
        'minutes to where all others wait. What it printed says why.'
      )
    said.append(json.loads(text))
  first = said[0]
  for process, other in enumerate(said):
    if found := _difference(first['facts'], other['facts']):
      where, here, there = found
      return (
        f'The processes of this run differ in {where}: {there} for process '
        f'{process} on {other["host"]}, {here} for process 0 on '
        f'{first["host"]}. All need the same code, configuration and data.'
      )
  return ''


def _difference(
  one: Any, other: Any, where: str = ''
) -> tuple[str, str, str] | None:
  """The first place where two JSON values differ, and both values there."""
  if one == other:
    return None
  if isinstance(one, dict) and isinstance(other, dict):
    for key in sorted({*one, *other}):
      inside = f'{where}.{key}' if where else str(key)
      if found := _difference(one.get(key), other.get(key), inside):
        return found
  return where, json.dumps(one), json.dumps(other)


def code() -> dict[str, str]:
  """Which code this is: its commit, or its version, and a hash of its files.

  The hash tells apart what one host has edited and not committed.
  """
  package = pathlib.Path(__file__).parents[1]
  git = ('git', '-C', str(package), 'rev-parse', 'HEAD')
  try:
    asked = subprocess.run(git, capture_output=True, text=True, check=False)
    commit = asked.stdout.strip()
  except FileNotFoundError:  # no git on this machine
    commit = ''
  digest = hashlib.sha256()
  for path in sorted(package.rglob('*.py')):
    digest.update(f'{path.relative_to(package)}\n'.encode())
    digest.update(path.read_bytes())
  return {
    'commit': commit or importlib.metadata.version('hephaestus-jax'),
    'files': digest.hexdigest()[:16],
  }
