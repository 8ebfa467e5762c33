"""`hephaestus serve` as a process: its first line, its key, its end."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest
import requests

from hephaestus_jax import errors, main

for library in ('llguidance', 'starlette', 'uvicorn'):
  pytest.importorskip(library)
from hephaestus_jax.serving import serve  # noqa: E402

sys.path.append(str(pathlib.Path(__file__).parent))
import tiny_model  # noqa: E402


def test_sigterm_lets_what_is_under_way_end_and_ends_with_0(tmp_path):
  tiny_model.write(tmp_path / 'tiny')
  environment = os.environ | {'HEPHAESTUS_API_KEY': 'secret-1'}
  process = subprocess.Popen(
    [
      *(sys.executable, '-m', 'hephaestus_jax', 'serve', tmp_path / 'tiny'),
      *('--gin.PORT=0', '--gin.SLOTS=2', '--gin.PROMPT_CHUNK=32'),
      # Whatever else the machine does, an answer has time to end.
      '--gin.SHUTDOWN_SECONDS=300',
    ],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    cwd=main.ROOT,
    env=environment,
  )
  try:
    address = process.stdout.readline().strip()
    assert address.startswith('http://127.0.0.1:'), process.communicate()
    key = {'Authorization': 'Bearer secret-1'}
    models = requests.get(f'{address}/models', headers=key, timeout=30).json()
    assert [model['id'] for model in models['data']] == ['tiny']
    assert requests.get(f'{address}/models', timeout=30).status_code == 401
    body = {
      'model': 'tiny',
      'prompt': 'a',
      'max_tokens': 100,
      'stream': True,
      'seed': 1,
    }
    with requests.post(
      f'{address}/completions', json=body, headers=key, stream=True, timeout=300
    ) as response:
      lines = response.iter_lines()
      assert next(lines).startswith(b'data: {')
      process.send_signal(signal.SIGTERM)
      events = [line for line in lines if line]
    assert events[-1] == b'data: [DONE]'
    last = json.loads(events[-2].removeprefix(b'data: '))
    assert last['choices'][0]['finish_reason'] in ('stop', 'length')
    assert process.wait(timeout=300) == 0
    said = process.stdout.read() + process.stderr.read()
    assert 'secret' not in said
    assert 'Traceback' not in said
  finally:
    process.kill()


@pytest.mark.parametrize('host', ['0.0.0.0', '::', '192.0.2.1', 'example.org'])
def test_an_address_that_others_reach_needs_a_key(host, monkeypatch):
  monkeypatch.delenv('A_KEY', raising=False)
  with pytest.raises(errors.UserError, match='no key'):
    serve._key(host, 'A_KEY')
  monkeypatch.setenv('A_KEY', 'secret-1')
  assert serve._key(host, 'A_KEY') == 'secret-1'


@pytest.mark.parametrize('host', ['127.0.0.1', '127.3.2.1', '::1', 'localhost'])
def test_this_machine_may_ask_without_a_key(host, monkeypatch):
  monkeypatch.delenv('A_KEY', raising=False)
  assert serve._key(host, 'A_KEY') is None


def test_a_key_that_no_header_can_carry_is_not_repeated(monkeypatch):
  monkeypatch.setenv('A_KEY', 'sec ret\n')
  with pytest.raises(errors.UserError) as refused:
    serve._key('127.0.0.1', 'A_KEY')
  assert 'ret' not in str(refused.value)


def test_a_port_that_is_taken_is_said():
  with serve._listen('127.0.0.1', 0) as taken:
    port = taken.getsockname()[1]
    with pytest.raises(errors.UserError, match=f'PORT = {port}'):
      serve._listen('127.0.0.1', port)
    assert serve._address(taken) == f'http://127.0.0.1:{port}/v1'
