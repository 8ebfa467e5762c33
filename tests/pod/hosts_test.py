"""Processes on this machine's loopback train as one, or say why not."""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax._src import cloud_tpu_init
from jax._src.clusters import cloud_tpu_cluster

from hephaestus_jax import checkpoints, errors, main, partitioning
from hephaestus_jax.evaluation import benchmark_loss
from hephaestus_jax.pod import hosts

sys.path.append(str(pathlib.Path(__file__).parents[1]))
import tiny  # noqa: E402

DEVICES = 8  # in all
# On four processes two share rows: each has half of their length.
SIZES = {'fsdp': 2, 'sequence': 4}


def train(folder: pathlib.Path, seed: int) -> None:
  """What each process does; `tests/hosts_test.py FOLDER SEED` is it."""
  processes = hosts.join(wait_minutes=5)
  mesh = partitioning.make_mesh(**SIZES, processes=processes)
  evaluator = benchmark_loss.BenchmarkLoss(
    name='calls',
    cache_dir=str(folder / 'cache'),
    task='a',
    split='train',
    max_rows=11,
  )
  tiny.run(folder, mesh=mesh, seed=seed, evaluators=(evaluator,))


def free_port() -> int:
  with socket.socket() as probe:
    probe.bind(('', 0))
    return probe.getsockname()[1]


def launch(
  folder: pathlib.Path, processes: int, seeds: tuple[int, ...] = ()
) -> list[tuple[int, str, str]]:
  """(exit code, stdout, stderr) of each process."""
  environment = os.environ | {
    'PYTHONPATH': str(main.ROOT),
    'JAX_NUM_CPU_DEVICES': str(DEVICES // processes),
    'JAX_COORDINATOR_ADDRESS': f'localhost:{free_port()}',
    'JAX_NUM_PROCESSES': str(processes),
  }
  started = [
    subprocess.Popen(
      [sys.executable, __file__, str(folder), str(seed)],
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      env=environment | {'JAX_PROCESS_ID': str(process)},
    )
    for process, seed in enumerate(seeds or (0,) * processes)
  ]
  said = [process.communicate() for process in started]
  return [
    (process.returncode, *texts)
    for process, texts in zip(started, said, strict=True)
  ]


def values(folder: pathlib.Path, name: str) -> list[float]:
  text = (folder / 'run' / 'stage1' / 'metrics.jsonl').read_text()
  lines = [json.loads(line) for line in text.splitlines()]
  return [line[name] for line in lines if name in line]


def without_gloo(stdout):
  """What is left without Gloo's lines, whose pieces its threads mix."""
  for piece in (
    *('[Gloo] Rank ', ' is connected to ', ' peer ranks. '),
    'Expected number of connected peer ranks is : ',
  ):
    stdout = stdout.replace(piece, '')
  return re.sub(r'[\d\s]', '', stdout)


@pytest.mark.long
def test_one_two_and_four_processes_train_the_same(tmp_path):
  found = {}
  for processes in (1, 2, 4):
    folder = tmp_path / str(processes)
    tiny.write_cache(folder / 'cache', {'a': 0.7, 'b': 0.3})
    ended = launch(folder, processes)
    assert [code for code, _, _ in ended] == [0] * processes, ended
    # Only the first writes, prints and shows a bar.
    assert [len(values(folder, 'step'))] == [6]
    for _, stdout, stderr in ended[1:]:
      assert without_gloo(stdout) == ''
      assert 'stage1' not in stderr, stderr
    assert 'stage1: 100%' in ended[0][2]
    stage = folder / 'run' / 'stage1'
    assert len(list((stage / 'tensorboard').iterdir())) == 1
    found[processes] = (
      values(folder, 'loss'),
      values(folder, 'evaluation/calls/nll_per_token'),
      values(folder, 'evaluation/calls/examples'),
    )
  assert len(found[1][0]) == 4 and len(found[1][1]) == 2
  for processes in (2, 4):
    for one, other in zip(found[1], found[processes], strict=True):
      np.testing.assert_allclose(other, one, rtol=1e-5)
  # What two processes saved, one goes on from, on other devices.
  folder = tmp_path / '2'
  steps = folder / 'run' / 'stage1' / checkpoints.FOLDER
  straight = values(folder, 'loss')
  shutil.rmtree(steps / '4')
  assert checkpoints.steps(steps) == [2]
  tiny.run(folder)
  assert checkpoints.steps(steps) == [2, 4]
  np.testing.assert_allclose(values(folder, 'loss'), straight, rtol=1e-5)


@pytest.mark.slow
def test_processes_that_differ_stop_before_they_begin(tmp_path):
  tiny.write_cache(tmp_path / 'cache', {'a': 0.7, 'b': 0.3})
  ended = launch(tmp_path, 2, seeds=(0, 7))
  assert [code for code, _, _ in ended] == [2, 2], ended
  here = socket.gethostname()
  for _, _, stderr in ended:
    assert (
      f'differ in inputs.seed: 7 for process 1 on {here}, 0 for process 0 on '
      f'{here}.' in stderr
    )
  assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
  ('environment', 'message'),
  [
    ({'JAX_NUM_PROCESSES': '2'}, "JAX_PROCESS_ID is ''"),
    ({'JAX_PROCESS_ID': '0'}, "JAX_NUM_PROCESSES is ''"),
    ({'JAX_NUM_PROCESSES': '2', 'JAX_PROCESS_ID': '2'}, 'number them 0 to 1'),
  ],
)
def test_half_an_environment_is_refused(monkeypatch, environment, message):
  monkeypatch.setenv('JAX_COORDINATOR_ADDRESS', 'nowhere')
  for name, value in environment.items():
    monkeypatch.setenv(name, value)
  with pytest.raises(errors.UserError, match=message):
    hosts.join()


def test_nothing_said_is_one_process(monkeypatch):
  monkeypatch.delenv('JAX_COORDINATOR_ADDRESS', raising=False)
  assert hosts.join() == 1
  hosts.agree({'alone': True})


def test_on_a_tpu_vm_the_processes_find_each_other_on_the_open_port(
  monkeypatch,
):
  for module in (cloud_tpu_init, cloud_tpu_cluster):
    monkeypatch.setattr(module, 'running_in_cloud_tpu_vm', True)
  for name, value in {
    'TPU_SKIP_MDS_QUERY': '1',
    'TPU_WORKER_HOSTNAMES': 'localhost,other',
    'TPU_WORKER_ID': '1',
    'MEGASCALE_COORDINATOR_ADDRESS': 'localhost',
    'MEGASCALE_NUM_SLICES': '1',
    'MEGASCALE_SLICE_ID': '0',
    'JAX_COORDINATOR_PORT': '8476',  # as it is left to be undone
  }.items():
    monkeypatch.setenv(name, value)
  monkeypatch.delenv('JAX_COORDINATOR_PORT')
  assert hosts._found(None, None, 5.0) == ('localhost:8476', 2, 1)


def test_an_address_without_a_port_gets_the_one_that_firewalls_open():
  assert hosts._split('10.0.0.1') == ('10.0.0.1', 8476)
  assert hosts._split('10.0.0.1:1234') == ('10.0.0.1', 1234)
  with pytest.raises(errors.UserError, match="'host:x'"):
    hosts._split('host:x')


class Store:
  """JAX's key-value store, as one process sees it."""

  def __init__(self, **entries):
    self._entries = entries

  def blocking_key_value_get(self, key, milliseconds):
    if key not in self._entries:
      raise jax.errors.JaxRuntimeError('DEADLINE_EXCEEDED')
    return self._entries[key]


def meeting(*facts):
  said = {
    f'm/{process}': json.dumps({'host': f'host{process}', 'facts': one})
    for process, one in enumerate(facts)
  }
  return Store(**said)


def test_the_verdict_names_the_host_what_differs_and_both_values():
  facts = {'inputs': {'seed': 0, 'data': {'rows': 'abc'}}}
  assert hosts._verdict(meeting(facts, facts), 'm', 2) == ''
  other = {'inputs': {'seed': 0, 'data': {'rows': 'xyz'}}}
  found = hosts._verdict(meeting(facts, facts, other), 'm', 3)
  assert found.startswith(
    'The processes of this run differ in inputs.data.rows: "xyz" for process 2 '
    'on host2, "abc" for process 0 on host0.'
  )
  # What one of them lacks differs as well.
  found = hosts._verdict(meeting(facts, {}), 'm', 2)
  assert 'differ in inputs: null for process 1' in found


def test_a_process_that_does_not_come_is_named():
  found = hosts._verdict(meeting({}, {}), 'm', 3)
  assert found.startswith('Process 2 of 3 has not come within 20 minutes')


def test_the_code_is_its_commit_and_its_files(tmp_path, monkeypatch):
  monkeypatch.setattr(hosts, '__file__', str(tmp_path / 'pod' / 'hosts.py'))
  (tmp_path / 'a.py').write_text('x = 1\n')
  before = hosts.code()
  (tmp_path / 'a.py').write_text('x = 2\n')
  after = hosts.code()
  assert before['commit'] == after['commit'] == '0.1.0'  # no git there
  assert before['files'] != after['files']


if __name__ == '__main__':
  try:
    train(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
  except errors.UserError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
