"""All come, or each is told who did not."""

import concurrent.futures
import json
import socket
import time

import pytest

from hephaestus_jax import errors
from hephaestus_jax.pod import roll_call


@pytest.fixture
def port(monkeypatch):
  monkeypatch.setattr(roll_call, 'PAUSE', 0.02)
  with socket.socket() as probe:
    probe.bind(('', 0))
    return probe.getsockname()[1]


@pytest.fixture
def threads():
  with concurrent.futures.ThreadPoolExecutor() as pool:
    yield pool


def caller(port, process):
  """A process that reported and then does what the test wants."""
  deadline = time.monotonic() + 10
  while True:
    try:
      connection = socket.create_connection(('localhost', port))
      break
    except OSError:
      assert time.monotonic() < deadline
      time.sleep(0.01)
  greeting = {'process': process, 'host': f'host{process}'}
  connection.sendall(json.dumps(greeting).encode() + b'\n')
  return connection


def test_all_go_once_the_last_has_come(port, threads):
  first = threads.submit(roll_call.lead, port, 3, 20)
  second = threads.submit(roll_call.report, 'localhost', port, 1, 20)
  time.sleep(0.3)
  assert not first.done() and not second.done()
  roll_call.report('localhost', port, 2, 20)
  first.result(20)
  second.result(20)


def test_whoever_came_is_told_who_is_missing_and_where(port, threads, capsys):
  first = threads.submit(roll_call.lead, port, 4, 1)
  with pytest.raises(errors.UserError) as told:
    roll_call.report('localhost', port, 2, 20)
  with pytest.raises(errors.UserError) as own:
    first.result(20)
  where = f'on port {port} of {socket.gethostname()}'
  for error in (told, own):
    assert f'no word from processes 1, 3 of 4 {where}' in str(error.value)
    assert 'firewall' in str(error.value)
  waiting = capsys.readouterr().err
  assert f'waiting for processes 1, 2, 3 of 4 {where}: 0 s of 1' in waiting


def test_a_first_process_that_is_not_there_is_named(port, capsys):
  with pytest.raises(errors.UserError) as error:
    roll_call.report('localhost', port, 1, 0.1)
  assert f'no answer from the first process at localhost:{port}' in str(
    error.value
  )
  assert 'refused' in str(error.value)
  assert f'localhost:{port}' in capsys.readouterr().err


def test_who_came_and_died_is_missing_again(port, threads):
  first = threads.submit(roll_call.lead, port, 3, 20)
  caller(port, 1).close()
  two = threads.submit(roll_call.report, 'localhost', port, 2, 20)
  time.sleep(0.3)
  assert not first.done()
  roll_call.report('localhost', port, 1, 20)
  first.result(20)
  two.result(20)


def test_a_number_that_the_run_has_not_is_told_so(port, threads):
  first = threads.submit(roll_call.lead, port, 2, 20)
  stranger = caller(port, 5).makefile()
  assert 'reports to a run of 2' in stranger.readline()
  with caller(port, 1) as later:
    assert json.loads(later.makefile().readline()) == {'go': True}
  first.result(20)


def test_a_number_that_is_taken_is_told_to_the_one_before(port, threads):
  first = threads.submit(roll_call.lead, port, 3, 20)
  before = caller(port, 1).makefile()
  time.sleep(0.2)
  after = [caller(port, 1)]
  assert 'say that they are number 1: one on host1' in before.readline()
  after.append(caller(port, 2))
  first.result(20)


def test_strangers_do_not_disturb(port, threads):
  first = threads.submit(roll_call.lead, port, 2, 20)
  caller(port, 'x')
  with caller(port, 1) as connection:
    connection.makefile().readline()
  first.result(20)


def test_a_port_that_is_taken_is_the_users_to_mend(port):
  with (
    socket.create_server(('', port)),
    pytest.raises(errors.UserError, match=f'Port {port} of .* is taken'),
  ):
    roll_call.lead(port, 2, 1)


def test_many_that_are_missing_are_not_all_named():
  assert roll_call._numbers([3]) == 'process 3'
  assert roll_call._numbers(list(range(1, 64))).endswith('16 and 47 more')
