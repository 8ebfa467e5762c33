"""What a program would do that wants out, or wants everything.

An attempt is code; where it succeeds it prints ESCAPED, or the host shows it.
"""

import concurrent.futures
import ctypes
import functools
import json
import os
import pathlib
import shutil
import socket
import time

import psutil
import pytest

from hephaestus_jax import errors, machine, sandbox

PYTHON = '/usr/bin/python3'
PREAMBLE = """
import ctypes, os, resource, signal, socket, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)
host, port, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
def escaped(*what):
  print('ESCAPED', *what, flush=True)
"""

REACHES = {  # name -> code that must not print ESCAPED
  'network, own machine': """
socket.create_connection(('127.0.0.1', port), 2); escaped()""",
  'network, IPv6': """
socket.create_connection(('::1', port), 2); escaped()""",
  # Nothing is sent: connecting a datagram socket only looks for a way.
  'network, a way out': """
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(('198.51.100.1', 9)); escaped()""",
  'network, raw packets': """
socket.socket(socket.AF_PACKET, socket.SOCK_RAW); escaped()""",
  'network, abstract socket of the host': """
s = socket.socket(socket.AF_UNIX); s.connect('\\0escape-' + str(port))
escaped()""",
  'network, an interface up': """
import fcntl, struct
s = socket.socket()
fcntl.ioctl(s, 0x8914, struct.pack('16sH', b'lo', 1)); escaped()""",
  'read /etc/shadow': "open('/etc/shadow').read(); escaped()",
  'read /etc/passwd': "open('/etc/passwd').read(); escaped()",
  'list /root': "os.listdir('/root'); escaped()",
  'list /home': "os.listdir('/home'); escaped()",
  'read a file of the host': "open(folder + '/secret').read(); escaped()",
  'write a file of the host': "open(folder + '/planted', 'w'); escaped()",
  'symlink out': """
os.symlink(folder + '/secret', '/tmp/link'); open('/tmp/link').read()
escaped()""",
  'symlink over a system file': """
os.symlink('/tmp/x', '/usr/bin/x'); escaped()""",
  'hard link to a system file': """
os.link('/usr/bin/env', '/tmp/env'); escaped()""",
  'up and out by ..': """
os.chdir('/'); open('../../../../..' + folder + '/secret'); escaped()""",
  'root of process 1': """
open('/proc/1/root' + folder + '/secret'); escaped()""",
  'leave a chroot': """
os.mkdir('/tmp/r'); os.chroot('/tmp/r')
for _ in range(64): os.chdir('..')
os.chroot('.'); escaped()""",
  'an open file of the parent': """
for number in range(3, 256):
  try: os.fstat(number)
  except OSError: continue
  escaped(number)""",
  'environment of the parent': """
if 'CANARY' in os.environ: escaped()""",
  'mount': """
if libc.mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0: escaped()""",
  'remount the system writable': """
if libc.mount(None, b'/usr', None, 32 | 4096, None) == 0: escaped()""",
  'the same in a new user namespace': """
if libc.unshare(0x10000000 | 0x00020000) == 0:
  if libc.mount(None, b'/usr', None, 32 | 4096, None) == 0: escaped()
  open('/usr/planted', 'w'); escaped()""",
  'enter the namespaces of another': """
for name in ('mnt', 'net', 'pid'):
  fd = os.open(f'/proc/{host}/ns/{name}', os.O_RDONLY)
  if libc.setns(fd, 0) == 0: escaped(name)""",
  'become root': 'os.setuid(0); escaped()',
  'become root by a set-uid program': """
for name in ('su', 'mount', 'passwd', 'chsh', 'sudo'):
  for found in ('/usr/bin/' + name, '/bin/' + name):
    if os.path.exists(found):
      os.execv('/usr/bin/env', ['env', 'sh', '-c',
        found + ' -c id root </dev/null 2>&1 | grep uid=0 && echo ESCAPED'])""",
  'a device of its own': """
os.mknod('/tmp/disk', 0o600 | 0o060000, os.makedev(8, 0)); escaped()""",
  'a disk': """
for name in ('sda', 'vda', 'nvme0n1', 'mem', 'kmsg'):
  try: open('/dev/' + name, 'rb').read(1)
  except OSError: continue
  escaped(name)""",
  'what runs when a program crashes': """
path = '/proc/sys/kernel/core_pattern'
same = open(path).read()  # where it succeeds, the host keeps what it has
open(path, 'w').write(same); escaped()""",
  'cgroup release agent': """
open('/sys/fs/cgroup/release_agent', 'w').write('/tmp/x'); escaped()""",
  'load a kernel module': """
if libc.syscall(175, b'', 0, b'') == 0: escaped()""",
  'turn the clock': 'time.clock_settime(0, 0); escaped()',
  'rename the host': "socket.sethostname('mine'); escaped()",
  'signal the parent': 'os.kill(host, signal.SIGKILL); escaped()',
  'trace the parent': """
if libc.ptrace(16, host, 0, 0) == 0: escaped()""",
  'shared memory of the host': """
if libc.shmget(port, 1, 0) >= 0: escaped()""",
}
EXHAUSTS = {  # name -> code, what it must be stopped by ('' the kernel does)
  'fork bomb': ('while True: os.fork()', None),
  'signal everybody': ('os.kill(-1, signal.SIGKILL)', None),
  'processes that leave the session': (
    """
for _ in range(60):
  if os.fork() == 0: os.setsid(); time.sleep(30)
""",
    None,
  ),
  'memory of one': ('x = bytearray(8 << 30); escaped()', ''),
  'memory of many': (
    """
for _ in range(8):
  if os.fork() == 0:
    x = bytearray(60 << 20); time.sleep(30)
time.sleep(30); escaped()""",
    'memory',
  ),
  'a file of 10 GB': (
    """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with open('/tmp/x', 'wb') as file:
  for _ in range(10 << 10): file.write(bytes(1 << 20))
escaped()""",
    '',
  ),
  'many files': (
    """
for i in range(1 << 14):
  with open(f'/tmp/{i}', 'wb') as file: file.write(bytes(1 << 20))
escaped()""",
    '',
  ),
  'open files': (
    """
for _ in range(10_000): os.dup(0)
escaped()""",
    '',
  ),
  'infinite output': ("while True: print('x' * 9999)", 'output'),
  'infinite errors': (
    "while True: print('x' * 9999, file=sys.stderr)",
    'output',
  ),
  'sleeping for ever, deaf to signals': (
    """
for number in range(1, 32):
  try: signal.signal(number, signal.SIG_IGN)
  except OSError: pass
time.sleep(999)""",
    'timeout',
  ),
  'limits raised': (
    """
for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC, resource.RLIMIT_AS):
  resource.setrlimit(limit, (-1, -1)); escaped()""",
    '',
  ),
}


def isolated(method):
  try:
    works = sandbox.run(['/usr/bin/env', 'true'], method=method).returncode == 0
  except (errors.UserError, FileNotFoundError):
    works = False
  return works


METHODS = [
  pytest.param(
    method,
    marks=pytest.mark.skipif(
      not isolated(method) or not pathlib.Path(PYTHON).exists(),
      reason=f'{method} or {PYTHON} is not here',
    ),
  )
  for method in sandbox.METHODS
]


@pytest.fixture(scope='module')
def host(tmp_path_factory):
  """A server, a secret and a sleeping process: what there is to get at."""
  folder = tmp_path_factory.mktemp('host')
  folder.chmod(0o777)
  (folder / 'secret').write_text('secret')
  os.environ['CANARY'] = 'secret'
  with (
    socket.create_server(('127.0.0.1', 0)) as server,
    socket.socket(socket.AF_UNIX) as abstract,
  ):
    port = server.getsockname()[1]
    abstract.bind(f'\0escape-{port}')
    abstract.listen()
    libc = ctypes.CDLL(None, use_errno=True)
    segment = libc.shmget(port, 4096, 0o1000 | 0o666)
    assert segment >= 0
    yield str(os.getpid()), str(port), str(folder)
    libc.shmctl(segment, 0, None)
  del os.environ['CANARY']


# Tries one after the other in one sandbox, since starting it takes longest.
ALL_OF_THEM = """
import json, subprocess, sys
told = {}
for name, code in json.load(sys.stdin).items():
  tried = subprocess.run(
    [sys.executable, '-I', '-S', '-c', code, *sys.argv[1:]],
    capture_output=True, text=True, stdin=subprocess.DEVNULL)
  told[name] = tried.stdout, tried.stderr
print(json.dumps(told))
"""


@functools.cache
def tried(method, host):
  """Name of each of REACHES -> (stdout, stderr)."""
  attempts = {name: PREAMBLE + code for name, code in REACHES.items()}
  result = sandbox.run(
    [PYTHON, '-I', '-S', '-c', ALL_OF_THEM, *host],
    stdin=json.dumps(attempts).encode(),
    method=method,
  )
  assert result.returncode == 0, result
  return json.loads(result.stdout)


def attempt(code, host, method, **limits):
  command = [PYTHON, '-I', '-S', '-c', PREAMBLE + code, *host]
  return sandbox.run(
    command,
    method=method,
    **{
      'timeout': 2,
      'memory_bytes': 200 << 20,
      'output_bytes': 1 << 20,
      **limits,
    },
  )


def unharmed(host):
  folder = pathlib.Path(host[2])
  return [path.name for path in folder.iterdir()] == ['secret']


def test_there_are_forty_attempts():
  assert len(REACHES) + len(EXHAUSTS) >= 40


def test_without_a_sandbox_the_attempts_succeed(host):
  for name in (
    *('network, own machine', 'network, abstract socket of the host'),
    *('read /etc/passwd', 'symlink out', 'shared memory of the host'),
  ):
    code = REACHES[name].replace('/tmp/link', f'{host[2]}/link')
    assert b'ESCAPED' in attempt(code, host, 'none').stdout, name
  (pathlib.Path(host[2]) / 'link').unlink()


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('name', REACHES)
def test_nothing_outside_is_reached(name, method, host):
  stdout, stderr = tried(method, host)[name]
  assert 'ESCAPED' not in stdout, stderr
  # A slip in the test's own code would look like an attempt that failed.
  for slip in ('SyntaxError', 'NameError', 'TypeError', 'AttributeError'):
    assert slip not in stderr
  assert unharmed(host)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('name', EXHAUSTS)
def test_nothing_is_exhausted(name, method, host):
  code, stopped = EXHAUSTS[name]
  start = time.monotonic()
  # Where time isn't the limit, a busy machine shall not make it one.
  timeout = 2 if stopped in (None, 'timeout') else 30
  result = attempt(code, host, method, timeout=timeout)
  assert time.monotonic() - start < 30
  assert b'ESCAPED' not in result.stdout, result
  assert len(result.stdout) <= 1 << 20
  if stopped is not None:
    assert result.stopped == stopped, result
  if stopped == '':
    assert result.returncode != 0
  assert unharmed(host)


def test_a_program_has_its_processes_whatever_others_do():
  sleeping = ['/bin/sh', '-c', 'for i in 1 2 3 4 5 6; do sleep 2 & done; wait']
  with concurrent.futures.ThreadPoolExecutor(3) as pool:
    ended = list(
      pool.map(lambda _: sandbox.run(sleeping, processes=9), range(3))
    )
  assert [(one.returncode, one.stderr) for one in ended] == [(0, b'')] * 3


# Attempts of somebody who is root in a machine of their own.
AS_ROOT = {
  'network': REACHES['network, own machine'],
  'abstract socket': REACHES['network, abstract socket of the host'],
  'a secret of the host': REACHES['read a file of the host'],
  'passwords of the host': """
if any(':$' in line for line in open('/etc/shadow')): escaped()""",
  'root of process 1': REACHES['root of process 1'],
  'mount': REACHES['mount'],
  'a new user namespace': """
if libc.unshare(0x10000000 | 0x00020000) == 0:
  if libc.mount(None, b'/proc/sys', None, 32 | 4096, None) == 0: escaped()""",
  'cover taken off /proc/sys': """
libc.umount2(b'/proc/sys', 2)
path = '/proc/sys/kernel/core_pattern'
same = open(path).read()
open(path, 'w').write(same); escaped()""",
  'what runs when a program crashes': REACHES[
    'what runs when a program crashes'
  ],
  'a device of its own': REACHES['a device of its own'],
  'a disk': REACHES['a disk'],
  'kernel memory': "open('/proc/kcore', 'rb').read(1); escaped()",
  'restart': "open('/proc/sysrq-trigger', 'w').write('b'); escaped()",
  'load a kernel module': REACHES['load a kernel module'],
  'turn the clock': REACHES['turn the clock'],
  'signal the host': REACHES['signal the parent'],
  'trace the host': REACHES['trace the parent'],
  'raise the limits of the watch': """
for pid in os.listdir('/proc'):
  if pid.isdigit() and int(pid) == host: escaped()""",
}


@pytest.fixture(scope='module')
def machines():
  try:
    machine.check()
  except errors.UserError as error:
    pytest.skip(str(error))


def in_machine(code, host, **limits):
  command = [PYTHON, '-I', '-S', '-c', PREAMBLE + code, *host]
  with machine.opened(command, **{'timeout': 5, **limits}) as process:
    return process.stdout.read()


@pytest.mark.parametrize('name', AS_ROOT)
def test_root_of_a_machine_stays_in_it(name, host, machines):
  assert b'ESCAPED' not in in_machine(AS_ROOT[name], host)
  assert unharmed(host)


def test_what_root_writes_is_its_own(host, machines):
  code = "open('/usr/bin/planted', 'w').write('x'); print(os.getuid())"
  assert in_machine(code, host) == b'0\n'
  assert not pathlib.Path('/usr/bin/planted').exists()
  assert shutil.which('planted') is None


@pytest.mark.parametrize(
  'code, limits',
  [
    ('while True: os.fork()', {'processes': 50, 'timeout': 60}),
    (
      'x = [bytearray(1 << 20)]\nwhile True: x.append(bytearray(1 << 24))',
      {'memory_bytes': 300 << 20, 'timeout': 60},
    ),
    ('time.sleep(999)', {'timeout': 0.5}),
    (
      "while True: open('/usr/x', 'ab').write(bytes(1 << 20))",
      {'disk_bytes': 16 << 20, 'timeout': 60},
    ),
  ],
)
def test_a_machine_that_takes_too_much_is_ended(code, limits, host, machines):
  start = time.monotonic()
  in_machine(code, host, **limits)
  assert time.monotonic() - start < 30


def test_no_process_of_a_machine_outlives_it(host, machines):
  code = """
for _ in range(3):
  if os.fork() == 0:
    os.setsid(); signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.execv('/bin/sleep', ['sleep', '98237'])
print('begun', flush=True); time.sleep(60)"""
  command = [PYTHON, '-I', '-S', '-c', PREAMBLE + code, *host]
  with machine.opened(command) as process:
    assert process.stdout.readline() == b'begun\n'
  for _ in range(50):
    alive = [p.info['cmdline'] for p in psutil.process_iter(['cmdline'])]
    if not any(words and '98237' in words for words in alive):
      return
    time.sleep(0.1)
  pytest.fail('A process outlived its machine.')


def test_a_user_without_root_is_told_what_is_needed(monkeypatch):
  machine.check.cache_clear()
  monkeypatch.setattr(os, 'geteuid', lambda: 1000)
  with pytest.raises(errors.UserError, match='needs root'):
    machine.check()
  machine.check.cache_clear()
