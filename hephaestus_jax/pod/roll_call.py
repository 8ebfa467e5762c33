"""Who is there: every process of a run reports to the first, before JAX starts.

JAX itself says nothing while it waits for the others, and when its time is over
it aborts with a stack trace that names nobody. So the first process listens on
the port that JAX's coordinator is about to take, and no other has to be open.

A message is a line of JSON. A process says {"process": 3, "host": "worker-3"};
it hears {"waiting": text} now and then, and at last {"go": true} or
{"error": text}.
"""

import contextlib
import json
import socket
import sys
import time
from collections.abc import Iterable
from typing import Any

from hephaestus_jax import errors

REMIND = 30.0  # seconds from one line about who is missing to the next
PAUSE = 0.5  # seconds between two looks
GREETING = 5.0  # seconds that a caller has to say who it is


def lead(port: int, processes: int, seconds: float) -> None:
  """Returns once processes 1 to `processes` - 1 have reported here.

  Raises:
    errors.UserError: the port is taken, or time is over; all who did report
      are told who did not.
  """
  host = socket.gethostname()
  there: dict[int, tuple[str, socket.socket]] = {}
  start = time.monotonic()
  reminded = -REMIND
  with contextlib.ExitStack() as stack:
    listener = stack.enter_context(_listener(port))
    while True:
      for process, (_, connection) in list(there.items()):
        if _hung_up(connection):
          del there[process]
      waited = time.monotonic() - start
      missing = [i for i in range(1, processes) if i not in there]
      if not missing:
        _tell(there.values(), {'go': True})
        return
      who = f'{_numbers(missing)} of {processes} on port {port} of {host}'
      if waited >= seconds:
        error = (
          f'after {seconds / 60:g} minutes there is no word from {who}. See '
          'whether each was started and what it printed, and whether the '
          f'firewall lets port {port} through; hosts.join.wait_minutes is the '
          'time to wait.'
        )
        _tell(there.values(), {'error': error})
        raise errors.UserError(error[0].upper() + error[1:])
      if waited - reminded >= REMIND:
        reminded = waited
        text = f'waiting for {who}: {waited:.0f} s of {seconds:.0f}'
        say(text)
        _tell(there.values(), {'waiting': text})
      if (caller := _accept(listener, stack)) is None:
        continue
      process, its_host, connection = caller
      if not 0 < process < processes:
        error = (
          f'Process {process} on {its_host} reports to a run of {processes}: '
          'JAX_NUM_PROCESSES and JAX_PROCESS_ID do not fit together.'
        )
        _tell([(its_host, connection)], {'error': error})
        continue
      if process in there:
        before = there.pop(process)
        error = (
          f'Two processes say that they are number {process}: one on '
          f'{before[0]}, one on {its_host}. Each needs a JAX_PROCESS_ID of its '
          'own.'
        )
        _tell([before], {'error': error})
      there[process] = its_host, connection


def report(host: str, port: int, process: int, seconds: float) -> None:
  """Reports to the first process; returns once all the others have, too.

  Raises:
    errors.UserError: the first can't be reached, or says who is missing.
  """
  start = time.monotonic()
  reminded = -REMIND
  greeting = {'process': process, 'host': socket.gethostname()}
  while True:
    left = seconds - (time.monotonic() - start)
    try:
      with socket.create_connection((host, port), GREETING) as connection:
        connection.settimeout(max(left, 0.0) + 2 * REMIND)  # it speaks last
        connection.sendall(json.dumps(greeting).encode() + b'\n')
        for line in connection.makefile():
          message = json.loads(line)
          if 'go' in message:
            return
          if 'error' in message:
            raise errors.UserError(message['error'])
          say(message['waiting'])
        reason = 'it hung up'
    except OSError as error:
      reason = str(error)
    waited = time.monotonic() - start
    text = (
      f'process {process} on {greeting["host"]} gets no answer from the first '
      f'process at {host}:{port} ({reason})'
    )
    if waited >= seconds:
      raise errors.UserError(
        f'After {seconds / 60:g} minutes {text}. See whether it was started '
        f'and what it printed, and whether the firewall lets port {port} '
        'through; hosts.join.wait_minutes is the time to wait.'
      )
    if waited - reminded >= REMIND:
      reminded = waited
      say(f'{text}: {waited:.0f} s of {seconds:.0f}')
    time.sleep(PAUSE)


def say(text: str) -> None:
  """Prints a line on standard error, at once."""
  print(text, file=sys.stderr, flush=True)


def _listener(port: int) -> socket.socket:
  both = socket.has_dualstack_ipv6()
  try:
    listener = socket.create_server(
      ('', port),
      family=socket.AF_INET6 if both else socket.AF_INET,
      dualstack_ipv6=both,
    )
  except OSError as error:
    raise errors.UserError(
      f'Port {port} of {socket.gethostname()} is taken ({error}): an earlier '
      'run may not have ended. End it, or name another port in '
      'JAX_COORDINATOR_ADDRESS.'
    ) from error
  listener.settimeout(PAUSE)
  return listener


def _accept(
  listener: socket.socket, stack: contextlib.ExitStack
) -> tuple[int, str, socket.socket] | None:
  """(process, host, connection) of the next caller, if there is one."""
  try:
    connection, _ = listener.accept()
  except TimeoutError:
    return None
  stack.enter_context(connection)
  connection.settimeout(GREETING)
  # A port that is open is called by strangers too.
  with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
    greeting = json.loads(connection.makefile().readline())
    connection.setblocking(False)
    return int(greeting['process']), str(greeting['host']), connection
  return None


def _hung_up(connection: socket.socket) -> bool:
  """Whether the other side is gone; a process says nothing after its name."""
  try:
    return not connection.recv(1, socket.MSG_PEEK)
  except BlockingIOError:
    return False
  except OSError:
    return True


def _tell(
  peers: Iterable[tuple[str, socket.socket]], message: dict[str, Any]
) -> None:
  for _, connection in peers:
    with contextlib.suppress(OSError):  # found out at the next look
      connection.sendall(json.dumps(message).encode() + b'\n')


def _numbers(processes: list[int]) -> str:
  """'process 3', 'processes 1, 2, 5'; of many only how many, and the first."""
  shown = ', '.join(str(process) for process in processes[:16])
  more = f' and {len(processes) - 16} more' if len(processes) > 16 else ''
  return f'process{"es" if len(processes) > 1 else ""} {shown}{more}'
