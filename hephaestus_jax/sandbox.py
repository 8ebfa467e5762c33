"""Runs a program that nobody vouches for: no network, nothing to write to.

Two ways lead there, both from Debian: bubblewrap where it is installed, and
`unshare` from util-linux, which every Debian has and which needs root or user
namespaces. Inside, the program sees system folders and the paths it is given,
all read-only, and an empty /tmp, which is also its home. It has no
capabilities, no /proc, and limits on time, memory, processes and output. The
kernel holds each process to them; what all of them take together is looked at
several times a second, and should the machine run out of memory all the same
(there are ways to hold some that no process owns), the program goes first.
"""

import collections
import contextlib
import dataclasses
import functools
import math
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence

import psutil

from hephaestus_jax import errors

METHODS = ('bubblewrap', 'unshare')
SYSTEM_PATHS = (
  '/usr',
  '/bin',
  '/sbin',
  '/lib',
  '/lib64',
  '/etc/alternatives',
  '/etc/ld.so.cache',
)
ENVIRONMENT = {
  'PATH': '/usr/sbin:/usr/bin:/sbin:/bin',
  'HOME': '/tmp',
  'LANG': 'C.UTF-8',
}

# Builds the new root in a private mount namespace and enters it. `sh` stays as
# process 1: when it dies, the kernel ends all others. Binds are made read-only
# after the fact, since that is how the kernel has it.
# nosuid and nodev are always set, since a user namespace may not clear them.
ENTER = """
set -eu
root=$1 size=$2; shift 2
mount -t tmpfs -o "size=$size,mode=755,nosuid,nodev" tmpfs "$root"
mkdir "$root/dev" "$root/tmp"
mount -t tmpfs -o "size=$size,mode=1777,nosuid,nodev" tmpfs "$root/tmp"
while [ "$1" != -- ]; do
  if [ -L "$1" ]; then
    ln -s "$(readlink "$1")" "$root$1"
  elif [ -d "$1" ]; then
    mkdir -p "$root$1"
  elif [ -e "$1" ]; then
    mkdir -p "$root$(dirname "$1")"; : > "$root$1"
  fi
  if [ -e "$1" ] && [ ! -L "$1" ]; then
    mount --bind "$1" "$root$1"
    mount -o remount,bind,ro,nosuid,nodev "$root$1"
  fi
  shift
done
shift
for device in null zero random urandom; do
  : > "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"
done
mount -o remount,bind,ro,nosuid,nodev "$root"
chroot "$root" "$@"
exit $?
"""
# Users that nobody is. Each program is another one: the kernel counts processes
# per user, and those of one program shall not be another's limit.
USERS = (1 << 20, 1 << 30)
OPEN_FILES = 256  # of each process
LOOK_EVERY = 0.1  # seconds between two looks at what all processes take
# In front of everything: whom the kernel ends first where memory runs out.
FIRST_TO_GO = ('choom', '-n', '1000', '--')


@dataclasses.dataclass(frozen=True)
class Result:
  """How a program ended.

  Attributes:
    returncode: its exit status; negative, or 128 and more, after a signal.
    stdout: what it wrote, cut at the output limit.
    stderr: likewise.
    stopped: '' where it ended by itself; 'timeout', 'memory', 'processes' or
      'output' where that limit was reached.
  """

  returncode: int
  stdout: bytes
  stderr: bytes
  stopped: str


def run(
  command: Sequence[str],
  *,
  stdin: bytes = b'',
  readable: Sequence[str] = (),
  timeout: float = 60,
  memory_bytes: int = 1 << 30,
  output_bytes: int = 16 << 20,
  processes: int = 32,
  method: str = 'auto',
) -> Result:
  """Runs `command` (a path and its arguments) away from everything.

  Args:
    stdin: what the program reads.
    readable: absolute paths that it sees besides the system's, read-only.
    timeout: seconds on the clock, and of CPU time for each process.
    memory_bytes: address space of each process, memory of all together (what
      two share counts twice), and room in /tmp.
    output_bytes: limit on stdout, on stderr, and on any file it writes.
    processes: how many there may be at once.
    method: one of METHODS; 'auto', the first that works here; or 'none':
      the limits alone, with the network and all files in reach.

  Raises:
    errors.UserError: `method` is unknown or doesn't work on this machine.
  """
  if method == 'auto':
    method = available()
  limits = [
    *_limits(memory_bytes, output_bytes, processes),
    f'--cpu={max(1, round(timeout))}',
    *command,
  ]
  with (
    tempfile.TemporaryFile() as input_file,
    tempfile.TemporaryFile() as stdout,
    tempfile.TemporaryFile() as stderr,
    _wrapped(method, limits, readable, memory_bytes) as wrapped,
  ):
    input_file.write(stdin)
    input_file.seek(0)
    # Files, not pipes: the size limit of the kernel holds for them, and
    # nobody needs to read while the program runs.
    process = subprocess.Popen(
      [*FIRST_TO_GO, *wrapped],
      stdin=input_file,
      stdout=stdout,
      stderr=stderr,
      env=ENVIRONMENT,
      start_new_session=True,
    )
    try:
      stopped = wait(process, timeout, memory_bytes, processes)
    finally:
      end(process)
    written = []
    for file in (stdout, stderr):
      file.seek(0)
      written.append(file.read(output_bytes))
      if len(written[-1]) == output_bytes:
        stopped = stopped or 'output'
  return Result(process.returncode, written[0], written[1], stopped)


@contextlib.contextmanager
def service(
  command: Sequence[str],
  *,
  address: str,
  failure: str,
  starting: float = 60,
  readable: Sequence[str] = (),
  memory_bytes: int = 1 << 30,
  output_bytes: int = 256 << 20,
  processes: int = 128,
) -> Iterator[None]:
  """Runs a server like `run` does, from when it listens to the context's end.

  Args:
    address: the socket that it listens at, in a folder open to everybody, which
      it may write to as well. It has to outlive a connection that says nothing.
    failure: what to say, before the server's last words, if it doesn't start.
    starting: seconds that it has for that.
    readable, memory_bytes, output_bytes, processes: as for `run`.

  Raises:
    errors.UserError: the server doesn't start; bubblewrap is not installed, or
      not allowed.
  """
  if available() != 'bubblewrap':
    raise errors.UserError(
      'A service for an agent needs bubblewrap, which is not installed or not '
      'allowed here. Run `apt-get install bubblewrap`.'
    )
  limits = [*_limits(memory_bytes, output_bytes, processes), *command]
  folder = str(pathlib.Path(address).parent)
  with _wrapped(
    'bubblewrap', limits, readable, memory_bytes, folder
  ) as wrapped:
    process = subprocess.Popen(
      [*FIRST_TO_GO, *wrapped],
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      env=ENVIRONMENT,
      start_new_session=True,
    )
    words: collections.deque[bytes] = collections.deque(maxlen=20)
    with (
      watched(process, None, memory_bytes, processes),
      _heard(process, words) as hearing,
    ):
      until = time.monotonic() + starting
      while not _listens(address):
        if process.poll() is not None or time.monotonic() > until:
          end(process)
          hearing.join()
          last = b''.join(words).decode(errors='replace').strip()
          raise errors.UserError(f'{failure} Its last words: {last[-500:]}')
        time.sleep(0.02)
      yield


@contextlib.contextmanager
def _heard(
  process: subprocess.Popen[bytes], words: collections.deque[bytes]
) -> Iterator[threading.Thread]:
  """Reads what a process writes, which else would fill the pipe and stop it."""

  def hear() -> None:
    assert process.stdout
    pipe = process.stdout.fileno()
    # Not by lines: one without an end would fill the memory.
    words.extend(iter(lambda: os.read(pipe, 1 << 12), b''))

  hearing = threading.Thread(target=hear, daemon=True)
  hearing.start()
  try:
    yield hearing
  finally:
    end(process)
    hearing.join()


def _listens(address: str) -> bool:
  with socket.socket(socket.AF_UNIX) as probe:
    return probe.connect_ex(address) == 0


@contextlib.contextmanager
def watched(
  process: subprocess.Popen[bytes],
  timeout: float | None,
  memory_bytes: int,
  processes: int,
) -> Iterator[None]:
  """Ends a process at the end of the context, or when it takes too much."""

  def watch() -> None:
    if wait(process, timeout, memory_bytes, processes):
      end(process)

  watching = threading.Thread(target=watch, daemon=True)
  watching.start()
  try:
    yield
  finally:
    end(process)
    watching.join()
    for pipe in (process.stdin, process.stdout):
      if pipe:
        with contextlib.suppress(BrokenPipeError):
          pipe.close()


def _limits(
  memory_bytes: int, output_bytes: int, processes: int
) -> tuple[str, ...]:
  return (
    'prlimit',
    f'--as={memory_bytes}',
    f'--fsize={output_bytes}',
    f'--nproc={processes}',
    f'--nofile={OPEN_FILES}',
    '--core=0',
  )


def wait(
  process: subprocess.Popen[bytes],
  timeout: float | None,
  memory_bytes: int,
  processes: int,
) -> str:
  """Waits until a process has ended, or until a limit is reached.

  Returns:
    '', or 'timeout', 'memory' or 'processes': what the process and all that it
    started took too much of. Nothing is ended here.
  """
  until = time.monotonic() + (math.inf if timeout is None else timeout)
  while True:
    try:
      process.wait(max(0.0, min(LOOK_EVERY, until - time.monotonic())))
      return ''
    except subprocess.TimeoutExpired:
      pass
    if time.monotonic() >= until:
      return 'timeout'
    memory, number = _taken(process.pid)
    if memory > memory_bytes:
      return 'memory'
    # What isolates the program, and its shell, come on top.
    if number > processes + 8:
      return 'processes'


def _taken(pid: int) -> tuple[int, int]:
  """Bytes of memory and number of the processes that come from one."""
  memory, number = 0, 0
  with contextlib.suppress(psutil.NoSuchProcess):
    ours = psutil.Process(pid)
    for process in (ours, *ours.children(recursive=True)):
      with contextlib.suppress(psutil.NoSuchProcess):
        memory += process.memory_info().rss
        number += 1
  return memory, number


def end(process: subprocess.Popen[bytes]) -> None:
  """Ends a process that leads its session, and with it its namespace."""
  with contextlib.suppress(ProcessLookupError):  # it ended by itself
    os.killpg(process.pid, signal.SIGKILL)
  process.wait()


@functools.cache
def available() -> str:
  """The first of METHODS that works on this machine.

  Raises:
    errors.UserError: none does.
  """
  for method in METHODS:
    if shutil.which({'bubblewrap': 'bwrap'}.get(method, method)):
      result = run(['/usr/bin/env', 'true'], method=method, timeout=20)
      if result.returncode == 0:
        return method
  raise errors.UserError(
    'This machine can isolate no program: bubblewrap is not installed (or not '
    'allowed), and `unshare` may not make namespaces. Run `apt-get install '
    "bubblewrap`, or set the isolation to 'none' to do without."
  )


@contextlib.contextmanager
def _wrapped(
  method: str,
  command: Sequence[str],
  readable: Sequence[str],
  size: int,
  writable: str | None = None,
) -> Iterator[list[str]]:
  """`command` with what isolates it in front.

  Only bubblewrap makes anything but /tmp writable.
  """
  paths = _outermost([*SYSTEM_PATHS, *readable])
  root = os.geteuid() == 0
  # Root gives its identity up, since for root the kernel counts no processes.
  # Others stay who they are: in a user namespace there is nobody else to be.
  other = random.SystemRandom().randrange(*USERS)
  identity = [f'--reuid={other}', f'--regid={other}', '--clear-groups']
  command = [
    *('setpriv', *(identity if root else [])),
    *('--inh-caps=-all', '--bounding-set=-all', '--no-new-privs'),
    *('sh', '-c', 'cd /tmp; exec "$@"', 'sh', *command),
  ]
  if method == 'none':
    yield command[command.index('prlimit') :]
  elif method == 'bubblewrap':
    binds: list[str] = []
    for path in paths:
      # Parents that bubblewrap makes unasked are closed to nobody.
      for parent in reversed(pathlib.PurePath(path).parents):
        binds += ['--dir', str(parent)]
      binds += ['--ro-bind-try', path, path]
    if writable is not None:
      for parent in reversed(pathlib.PurePath(writable).parents):
        binds += ['--dir', str(parent)]
      binds += ['--bind', writable, writable]
    kept = ('CAP_SETUID', 'CAP_SETGID', 'CAP_SETPCAP')  # what setpriv needs
    capabilities = [word for name in kept for word in ('--cap-add', name)]
    yield [
      *('bwrap', '--die-with-parent', '--unshare-pid', '--unshare-net'),
      *('--unshare-ipc', '--unshare-uts', '--cap-drop', 'ALL'),
      *(capabilities if root else ['--unshare-user']),
      *('--dev', '/dev', '--size', str(size), '--perms', '1777'),
      *('--tmpfs', '/tmp', *binds, '--remount-ro', '/', '--', *command),
    ]
  elif method == 'unshare':
    user = [] if root else ['--user', '--map-root-user']
    with tempfile.TemporaryDirectory() as folder:
      yield [
        *('setpriv', '--pdeathsig', 'KILL', 'unshare', *user, '--mount'),
        *('--net', '--pid', '--ipc', '--uts', '--kill-child', 'sh', '-c'),
        *(ENTER, 'sh', folder, str(size), *paths, '--', *command),
      ]
  else:
    raise errors.UserError(
      f'isolation = {method!r} is not known; choose one of '
      f'{("auto", *METHODS, "none")}.'
    )


def _outermost(paths: Sequence[str]) -> list[str]:
  """The paths that lie in none of the others, in order.

  >>> _outermost(['/usr', '/usr/local', '/opt/a', '/usr'])
  ['/usr', '/opt/a']
  """
  kept: list[str] = []
  for path in sorted(set(paths), key=lambda path: (len(path), path)):
    inside = (pathlib.PurePath(path).is_relative_to(other) for other in kept)
    if not any(inside):
      kept.append(path)
  return sorted(kept, key=list(paths).index)
