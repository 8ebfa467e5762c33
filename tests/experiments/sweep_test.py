"""A grid becomes run files, and the runs rows that a law can be fitted to."""

import fcntl
import os
import pathlib
import subprocess
import sys
import threading

import pytest

from hephaestus_jax import configuration, errors, main, model
from hephaestus_jax.experiments import runs, shares, sweep, table

sys.path.append(str(pathlib.Path(__file__).parents[1]))
import tiny  # noqa: E402

STAGE_FILES = {name: command.stage for name, command in main.COMMANDS.items()}
# Macros of the study that training doesn't read.
OF_SWEEP = dict.fromkeys(
  ('SEQUENCE_LENGTH', 'SWEEP_MIXTURE', 'COMMANDS'), 'sweep'
)
PARAMETERS = {'600k': 616_768, '1m': 1_088_928}


@pytest.fixture
def folder(tmp_path):
  """A cache of agent data and text, and the run file of a study."""
  tiny.write_cache(
    tmp_path / 'cache',
    {'a': 0.5, 'b': 0.5},
    kinds={'a': 'documentation', 'b': 'text'},
  )
  (tmp_path / 'study.gin').write_text(
    "include 'gin/models/tiny.gin'\n"
    f"RUN_DIR = '{tmp_path}'\n"
    'EVALUATE_ROWS = 1\n'
    'EVALUATORS = []\n'
    f'SEQUENCE_LENGTH = {tiny.LENGTH}\n'
    'STAGE1_BATCH_SIZE = 8\n'
    "SWEEP_MIXTURE = 'mixture_v1'\n"
    "COMMANDS = ['train']\n"
  )
  return tmp_path


def call(folder, **changed):
  settings = {
    'run_file': str(folder / 'study.gin'),
    'models': ['1m', '600k'],
    'agent_shares': [0.0, 0.5],
    'token_multiples': [0.001],
    'seeds': [0, 1],
    'commands': ['train'],
    'mixtures': shares.Shares(str(folder / 'cache'), 'mixture_v1'),
    'sequence_length': tiny.LENGTH,
    'batch_size': 8,
    'table_dir': str(folder / 'sweep'),
    'stage_files': STAGE_FILES,
    'dry_run': True,
  }
  return sweep.sweep(**(settings | changed))


def test_a_grid_is_all_its_combinations_the_smallest_first(folder):
  assert call(folder)['runs'] == dict.fromkeys(
    [
      f'{model}_agent{share}_x0.001{seed}'
      for model in ('600k', '1m')
      for share in ('0', '50')
      for seed in ('', '_seed1')
    ],
    table.MISSING,
  )


def test_a_point_is_a_run_file_that_any_command_takes(folder):
  call(folder, token_multiples=[0.5])
  path = folder / 'sweep' / sweep.RUN_FILES / '1m_agent50_x0.5.gin'
  text = configuration.prepare(
    [STAGE_FILES['train'], str(path)], [], OF_SWEEP, False
  )
  macros = {name: one.value for name, one in text.macros.items()}
  assert macros['NAME'] == macros['STAGE1_MIXTURE'] == '1m_agent50_x0.5'
  tokens = 0.5 * PARAMETERS['1m']
  assert macros['TRAIN_STEPS'] == round(tokens / (8 * tiny.LENGTH))
  assert macros['STAGE1_WARMUP'] == round(0.05 * macros['TRAIN_STEPS'])
  assert text.final['model.Config.emb_dim'].value == 96


@pytest.mark.parametrize('name', PARAMETERS)
def test_a_size_has_the_parameters_that_its_file_says(folder, name):
  run_file = str(folder / 'study.gin')
  network = sweep.network(run_file, name, [])
  assert model.num_parameters(network) == PARAMETERS[name]


@pytest.mark.parametrize(
  ('changed', 'message'),
  [
    ({'seeds': []}, 'each needs one at least'),
    ({'models': ['1m', '1m']}, 'none twice'),
    ({'models': ['2m']}, 'no file .gin/models/2m.gin'),
    ({'agent_shares': [1.5], 'dry_run': False}, 'not from 0 to 1'),
  ],
)
def test_a_grid_that_can_not_be_is_refused(folder, changed, message):
  with pytest.raises(errors.UserError, match=message):
    call(folder, **changed)


def test_what_all_runs_share_is_made_by_one_process_at_a_time(
  tmp_path, monkeypatch
):
  taken = threading.Event()
  monkeypatch.setattr(runs.run, 'step', lambda *_: taken.set())
  (tmp_path / runs.LOCKS).mkdir()
  other = threading.Thread(
    target=runs.share, args=('cache study.gin', [], tmp_path)
  )
  with (tmp_path / runs.LOCKS / 'cache').open('w') as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    other.start()
    assert not taken.wait(0.5)
  assert taken.wait(10)
  other.join()


@pytest.mark.slow
@pytest.mark.long
def test_a_sweep_trains_and_leaves_what_a_fit_needs(folder):
  with (folder / 'study.gin').open('a') as file:
    file.write(
      "MODELS = ['600k']\nAGENT_SHARES = [0.25, 1.0]\n"
      'TOKEN_MULTIPLES = [0.0005]\n'
    )
  command = [sys.executable, '-m', 'hephaestus_jax', 'sweep']
  command += [str(folder / 'study.gin'), '--seeds', '3']
  for _ in range(2):
    done = subprocess.run(
      command,
      capture_output=True,
      text=True,
      check=False,
      cwd=main.ROOT,
      env=os.environ | {'JAX_NUM_CPU_DEVICES': '1'},
    )
    assert done.returncode == 0, done.stderr[-2000:]
  assert 'hephaestus train' not in done.stdout  # all was kept
  quarter, whole = table.read(folder / 'sweep')
  assert quarter['run'] == '600k_agent25_x0.0005_seed3'
  assert quarter['model'] == '600k'
  assert (quarter['agent_share'], whole['agent_share']) == (0.25, 1.0)
  assert quarter['share/agent'] == pytest.approx(0.25, abs=1e-4)
  assert whole['share/documentation'] == 1.0
  assert quarter['parameters'] == PARAMETERS['600k']
  assert quarter['parameters_without_embedding'] == 92_480
  assert quarter['tokens'] == 2 * 8 * tiny.LENGTH
  assert quarter['loss'] != whole['loss']
