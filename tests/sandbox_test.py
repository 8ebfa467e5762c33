import contextlib
import pathlib
import shutil
import socket
import sys
import tempfile
import time

import pytest

from hephaestus_jax import errors, sandbox

PYTHON = sys.executable
READABLE = [sys.base_prefix, sys.prefix]
METHODS = [
  pytest.param(
    method,
    marks=pytest.mark.skipif(not shutil.which(program), reason=program),
  )
  for method, program in (('bubblewrap', 'bwrap'), ('unshare', 'unshare'))
]


def python(code, method, **limits):
  return sandbox.run(
    [PYTHON, '-I', '-c', code], readable=READABLE, method=method, **limits
  )


@pytest.fixture(params=METHODS)
def method(request):
  result = sandbox.run(['/usr/bin/env', 'true'], method=request.param)
  if result.returncode:
    pytest.skip(f'{request.param} is not allowed here: {result.stderr!r}')
  return request.param


def test_the_program_reads_stdin_and_its_output_and_status_come_back(method):
  code = 'import sys; print(sys.stdin.read()[::-1]); sys.exit(3)'
  result = sandbox.run(
    [PYTHON, '-I', '-c', code],
    stdin=b'abc',
    readable=READABLE,
    method=method,
  )
  assert result == sandbox.Result(3, b'cba\n', b'', '')


def test_the_network_is_out_of_reach_even_the_machine_itself(method):
  with socket.create_server(('127.0.0.1', 0)) as server:
    port = server.getsockname()[1]
    code = (
      f'import socket; socket.create_connection(("127.0.0.1", {port}), 5);'
      'print("reached")'
    )
    assert b'reached' in python(code, 'none').stdout
    result = python(code, method)
  assert b'reached' not in result.stdout
  assert result.returncode == 1


def test_nothing_can_be_written_but_in_tmp(method, tmp_path):
  code = """
import os, sys
for folder in sys.argv[1:]:
  try:
    open(folder + '/planted', 'w').write('x')
    print('wrote', folder)
  except OSError:
    pass
"""
  tmp_path.chmod(0o777)
  folders = ['/', '/usr', '/usr/local', '/etc', '/dev', '/tmp', str(tmp_path)]
  result = sandbox.run(
    [PYTHON, '-I', '-c', code, *folders],
    readable=[*READABLE, str(tmp_path)],
    method=method,
  )
  assert result.stdout == b'wrote /tmp\n', result.stderr
  assert not list(tmp_path.iterdir())


def test_only_the_given_paths_can_be_seen(method, tmp_path):
  shown, hidden = tmp_path / 'shown', tmp_path / 'hidden'
  for path in (shown, hidden):
    path.write_text(path.name)
  result = sandbox.run(
    ['/bin/sh', '-c', f'cat {shown} {hidden}; ls /root /home'],
    readable=[str(shown)],
    method=method,
  )
  assert result.stdout == b'shown'


def test_the_program_has_no_capabilities_and_no_way_back_to_root(method):
  result = sandbox.run(
    ['/bin/sh', '-c', 'mount -t tmpfs none /tmp || chroot /usr true'],
    method=method,
  )
  assert result.returncode != 0
  assert (
    result.stderr.count(b'ermission denied')
    + result.stderr.count(b'not permitted')
    + result.stderr.count(b'must be superuser')
    == 2
  ), result.stderr


def test_time_is_limited_and_nothing_survives(method, tmp_path):
  start = time.monotonic()
  result = sandbox.run(
    ['/bin/sh', '-c', 'echo early; setsid sleep 371 & sleep 372'],
    method=method,
    timeout=1,
  )
  assert result.stopped == 'timeout'
  assert result.stdout == b'early\n'
  assert time.monotonic() - start < 10
  for _ in range(50):  # the kernel ends the namespace's processes by and by
    if not {'371', '372'} & running_arguments():
      return
    time.sleep(0.1)
  pytest.fail('A process outlived its sandbox.')


def running_arguments():
  import psutil

  found = set()
  for process in psutil.process_iter(['cmdline']):
    found.update((process.info['cmdline'] or [])[1:])
  return found


def test_cpu_time_is_limited(method):
  result = python('while True: pass', method, timeout=1.4)
  assert result.returncode not in (0, 1) or result.stopped == 'timeout'


def test_output_is_limited(method):
  result = python(
    'import sys\nwhile True: sys.stdout.write("x" * 1000)',
    method,
    output_bytes=5000,
  )
  assert result.stopped == 'output'
  assert result.stdout == b'x' * 5000


def test_memory_is_limited(method):
  code = 'print(len(bytearray(300 << 20)))'
  assert python(code, method).returncode == 0
  result = python(code, method, memory_bytes=200 << 20)
  assert result.returncode == 1
  assert b'MemoryError' in result.stderr


def test_processes_are_limited(method):
  code = """
import os, time
children = 0
try:
  while children < 40:
    if os.fork() == 0:
      time.sleep(20)
      os._exit(0)
    children += 1
except BlockingIOError:
  print('stopped at', children)
"""
  result = python(code, method, processes=10)
  assert b'stopped at' in result.stdout, result


def test_an_unknown_method_is_the_users_to_mend():
  with pytest.raises(errors.UserError, match="'docker' is not known"):
    sandbox.run(['true'], method='docker')


def test_a_machine_that_can_isolate_nothing_is_told_what_to_install(
  monkeypatch,
):
  monkeypatch.setattr(shutil, 'which', lambda name: None)
  sandbox.available.cache_clear()
  with pytest.raises(errors.UserError, match='apt-get install bubblewrap'):
    sandbox.run(['true'])
  sandbox.available.cache_clear()


def test_paths_inside_others_are_dropped():
  assert sandbox._outermost(['/usr', '/usr/local', '/opt/a', '/usr']) == [
    '/usr',
    '/opt/a',
  ]


SERVER = """
import contextlib, socket, sys
with socket.socket(socket.AF_UNIX) as server:
  server.bind(sys.argv[1])
  server.listen()
  print('x' * 1_000_000, end='', flush=True)  # more than a pipe holds
  while True:
    connection, _ = server.accept()
    with connection, contextlib.suppress(BrokenPipeError):
      connection.sendall(b'here')
"""


@contextlib.contextmanager
def service(code, folder, **limits):
  folder.chmod(0o777)
  address = str(folder / 'socket')
  with sandbox.service(
    [PYTHON, '-I', '-c', code, address],
    address=address,
    failure='The tea is cold.',
    readable=READABLE,
    **limits,
  ):
    yield address


@pytest.fixture
def shared():
  if not shutil.which('bwrap') or sandbox.available() != 'bubblewrap':
    pytest.skip('bubblewrap')
  # pytest's own folders are closed to the user that a server is.
  with tempfile.TemporaryDirectory() as folder:
    yield pathlib.Path(folder)


def test_a_service_answers_until_the_end_of_its_context(shared):
  with (
    service(SERVER, shared) as address,
    socket.socket(socket.AF_UNIX) as client,
  ):
    client.settimeout(10)
    client.connect(address)
    assert client.recv(4) == b'here'
  with socket.socket(socket.AF_UNIX) as client:
    assert client.connect_ex(address) != 0


@pytest.mark.parametrize(
  'code',
  [
    'import sys; sys.exit("no kettle")',
    'import time; print("no kettle", flush=True); time.sleep(60)',
  ],
)
def test_a_service_that_does_not_start_says_why(shared, code):
  message = 'The tea is cold. Its last words: no kettle$'
  with (
    pytest.raises(errors.UserError, match=message),
    service(code, shared, starting=5),
  ):
    pytest.fail('it does not listen')
