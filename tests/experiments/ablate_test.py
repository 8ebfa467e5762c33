"""Runs that differ in one thing: what is missing is run, what fails is shown.

All but the last test put a small program in the place of `hephaestus`, which
leaves what a training leaves and can be told to fail; the last one trains.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from hephaestus_jax import errors, main
from hephaestus_jax.experiments import ablate, runs, table

sys.path.append(str(pathlib.Path(__file__).parents[1]))

STAGE_FILES = {name: command.stage for name, command in main.COMMANDS.items()}
COLUMNS = {'loss': 'evaluation/calls/nll_per_token'}
# Stands for `hephaestus`: writes down that it was started, then what a training
# writes. The run 'broken' fails, and 'slow' waits where a folder has 'wait'.
PROGRAM = """#!{python}
import json, pathlib, sys, time
_, _, command, file, *rest = sys.argv[1:]
given = dict(r[6:].split('=', 1) for r in rest if r.startswith('--gin.'))
name = given['NAME']
run_dir = pathlib.Path({run_dir!r})
with (run_dir / 'started').open('a') as started:
  started.write(command + ' ' + name + '\\n')
if command == 'cache':
  print('{{}}')
  sys.exit()
if command == 'evaluate':
  results = given.get('RESULTS', '.')
  to = run_dir / name / results / 'evaluation'
  to.mkdir(parents=True)
  score = {{'v2_ast': 0.25 if results == 'base' else 0.5, 'rest': None}}
  (to / 'bfcl.json').write_text(json.dumps({{'summary': score}}))
  print('{{}}')
  sys.exit()
if 'broken' in name:
  sys.exit('stage1: 3%\\rhephaestus: No rows for it.')
while 'slow' in name and (run_dir / 'wait').exists():
  time.sleep(0.05)
stage = run_dir / name / 'stage1'
stage.mkdir(parents=True)
loss = 2.0 + int(given['SEED']) / 4 + ('other' in name)
line = {{'step': 4, 'loss': 1.5, 'seconds': 2.5,
        'evaluation/calls/nll_per_token': loss}}
(stage / 'metrics.jsonl').write_text(json.dumps(line) + '\\n')
(stage / 'inputs.json').write_text(json.dumps({{
  'model': {{'tied_output': True, 'vocab_size': 10, 'emb_dim': 4}},
  'data': {{'phases': {{'0': {{'a': 1.0}}, '2': {{'a': 0.5, 'b': 0.5}}}},
           'sequence_length': 16}}}}))
stages = {{'stage1': {{'tokens': 64}}}}
print(json.dumps({{'parameters': 100, 'stages': stages}}))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """A run folder with a cache, and three run files."""
  for task, kind in (('a', 'trajectory'), ('b', 'text')):
    cached = tmp_path / 'cache' / 'tasks' / task / 'train'
    cached.mkdir(parents=True)
    info = {'tokens_by_kind': {kind: 90, 'code': 10}}
    (cached / 'cache.json').write_text(json.dumps(info))
  for name in ('all', 'other', 'broken', 'slow'):
    (tmp_path / f'{name}.gin').write_text(
      "include 'gin/models/tiny.gin'\n"
      f"RUN_DIR = '{tmp_path}'\nNAME = '{name}'\nEVALUATE_ROWS = 1\n"
    )
  program = tmp_path / 'program'
  program.write_text(
    PROGRAM.format(python=sys.executable, run_dir=str(tmp_path))
  )
  program.chmod(0o755)
  monkeypatch.setattr(sys, 'executable', str(program))
  return tmp_path


def call(folder, *names, seeds=(0, 1), **changed):
  settings = {
    'run_files': [str(folder / f'{name}.gin') for name in names],
    'seeds': seeds,
    'commands': ['cache', 'train'],
    'columns': COLUMNS,
    'table_dir': str(folder / 'table'),
    'stage_files': STAGE_FILES,
  }
  return ablate.ablate(**(settings | changed))


def started(folder):
  return (folder / 'started').read_text().splitlines()


def test_a_table_has_a_row_per_run_and_a_summary_with_its_spread(folder):
  result = call(folder, 'all', 'other')
  rows = table.read(folder / 'table')
  assert [row['run'] for row in rows] == [
    *('all', 'all_seed1', 'other', 'other_seed1')
  ]
  assert rows[0] == {
    'run': 'all',
    'name': 'all',
    'seed': 0,
    'run_file': str(folder / 'all.gin'),
    'config_hash': rows[0]['config_hash'],
    'status': 'done',
    'parameters': 100,
    'parameters_without_embedding': 60,
    'tokens': 64,
    'seconds': 2.5,
    'loss': 1.5,
    'rate/a': 0.75,
    'rate/b': 0.25,
    'share/agent': 0.75,
    'share/trajectory': 0.75,
    'share/text': 0.25,
    'evaluation/calls/nll_per_token': 2.0,
    'base/evaluation/calls/nll_per_token': 2.0,
    'stage1/evaluation/calls/nll_per_token': 2.0,
    'stage1/loss': 1.5,
    'stage1/seconds': 2.5,
    'stage1/tokens': 64,
  }
  assert len({row['config_hash'] for row in rows}) == 4
  reference, other = result['summary']
  spread = {'mean': 2.125, 'deviation': pytest.approx(0.1768, abs=1e-4)}
  values = reference['values'][COLUMNS['loss']]
  assert values == {
    **spread,
    **{'low': 2.0, 'high': 2.25, 'difference': None},
    'seeds': [(0, 2.0), (1, 2.25)],
  }
  # Every seed differs by exactly 1, so the difference has no spread.
  difference = other['values'][COLUMNS['loss']]['difference']
  assert difference == {'mean': 1.0, 'deviation': 0.0}
  assert ablate.lines(result['summary'], COLUMNS) == [
    '       runs  loss',
    'all    2     2.125 ±0.177',
    'other  2     3.125 ±0.177  (+1.000 ±0.000)',
  ]


def test_what_is_done_is_kept_and_what_is_shared_is_made_once(folder):
  call(folder, 'all', seeds=[0])
  call(folder, 'all', 'other')
  assert started(folder) == [
    *('cache all', 'train all'),
    # A new process, so it asks for the cache again, once for all its runs.
    *('cache other', 'train other', 'train all_seed1', 'train other_seed1'),
  ]


def test_a_run_with_other_values_is_not_the_one_that_was_done(folder):
  call(folder, 'all', seeds=[0])
  (folder / 'all' / 'stage1').rename(folder / 'all' / 'before')
  call(folder, 'all', seeds=[0], overrides=['--gin.TRAIN_STEPS=7'])
  assert started(folder).count('train all') == 2


def test_a_command_may_have_overrides_of_its_own(folder):
  base = 'evaluate --gin.EVALUATED=stage2 --gin.RESULTS=base'
  columns = {'before': 'base/bfcl/v2_ast', 'after': 'bfcl/v2_ast'}
  commands = ['train', base, 'evaluate']
  result = call(folder, 'all', commands=commands, columns=columns)
  assert started(folder) == [
    *('train all', 'evaluate all', 'evaluate all'),
    *('train all_seed1', 'evaluate all_seed1', 'evaluate all_seed1'),
  ]
  assert ablate.lines(result['summary'], columns) == [
    '     runs  before        after',
    'all  2     0.250 ±0.000  0.500 ±0.000',
  ]
  named = ['train', 'evaluate --gin.NAME=other']
  with pytest.raises(errors.UserError, match='NAME=other: the name and'):
    call(folder, 'all', commands=named)
  changed = [*commands[:2], 'evaluate --gin.BFCL_NEW_TOKENS=5']
  for asked, status in ((commands, 'done'), (changed, 'missing')):
    found = call(folder, 'all', seeds=[0], commands=asked, dry_run=True)
    assert found['runs'] == {'all': status}


def test_a_run_that_fails_is_shown_and_stops_no_other(folder):
  with pytest.raises(errors.UserError) as error:
    call(folder, 'all', 'broken', 'other')
  said = str(error.value)
  assert '2 of 6 runs failed' in said
  assert 'broken: train: No rows for it.' in said
  rows = {row['run']: row for row in table.read(folder / 'table')}
  assert [row['status'] for row in rows.values()] == [
    *('done', 'done', 'failed', 'failed', 'done', 'done')
  ]
  assert rows['broken']['error'].startswith('train: No rows for it.')
  assert rows['broken']['error'].endswith('broken.log)')
  # It is tried again, and the others are not.
  before = started(folder)
  with pytest.raises(errors.UserError, match='2 of 6 runs failed'):
    call(folder, 'all', 'broken', 'other')
  assert started(folder)[len(before) :] == [
    *('cache broken', 'train broken', 'train broken_seed1')
  ]


def test_a_configuration_that_is_wrong_fails_without_being_started(folder):
  with (folder / 'other.gin').open('a') as file:
    file.write('CHECKPOINT_EVERY = %SOMETHING\n')
  with pytest.raises(errors.UserError, match='1 of 2 .* SOMETHING'):
    call(folder, 'all', 'other', seeds=[0])
  assert not [line for line in started(folder) if 'other' in line]


@pytest.mark.parametrize(
  ('names', 'changed', 'parts'),
  [
    (['all', 'all'], {}, ['would both write', 'a NAME of its own']),
    (['all'], {'seeds': [1, 1]}, ['no seed twice']),
    (['all'], {'commands': ['cache']}, ["lacks 'train'"]),
    (['all'], {'overrides': ['--gin.NAME=x']}, ['--gin.NAME=x', 'run file']),
    (['absent'], {}, ['no file']),
  ],
)
def test_what_can_not_become_a_table_is_refused(folder, names, changed, parts):
  with pytest.raises(errors.UserError) as error:
    call(folder, *names, **changed)
  assert [part for part in parts if part not in str(error.value)] == []
  assert not (folder / 'started').exists()


def test_a_dry_run_starts_nothing_and_knows_what_is_done(folder):
  call(folder, 'all', seeds=[0])
  before = started(folder)
  result = call(folder, 'all', 'other', dry_run=True)
  assert result['runs'] == {
    'all': 'done',
    'all_seed1': 'missing',
    'other': 'missing',
    'other_seed1': 'missing',
  }
  assert started(folder) == before


def process(folder, *names):
  """`call` with seed 0 in a process that can be killed."""
  code = (
    'import pathlib, sys\n'
    'import ablate_test\n'
    f'sys.executable = {sys.executable!r}\n'
    f'ablate_test.call(pathlib.Path({str(folder)!r}), *{names!r}, seeds=[0])'
  )
  return subprocess.Popen(
    [sys.orig_argv[0], '-c', code],
    env=os.environ
    | {'PYTHONPATH': f'{pathlib.Path(__file__).parent}:{main.ROOT}'},
    stdout=subprocess.DEVNULL,
  )


def wait_for(folder, line):
  for _ in range(1200):
    if (folder / 'started').exists() and line in started(folder):
      return
    time.sleep(0.05)
  raise AssertionError(f'{line!r} was never started')


def test_killed_it_loses_the_run_that_was_under_way_alone(folder):
  (folder / 'wait').touch()
  first = process(folder, 'all', 'slow', 'other')
  wait_for(folder, 'train slow')
  os.kill(first.pid, signal.SIGKILL)
  first.wait()
  (folder / 'wait').unlink()
  states = call(folder, 'all', 'slow', 'other', seeds=[0])['runs']
  assert states == {'all': 'done', 'slow': 'done', 'other': 'done'}
  trained = [line for line in started(folder) if line.startswith('train')]
  assert trained == ['train all', *['train slow'] * 2, 'train other']


def test_two_processes_share_the_runs_and_take_none_twice(folder):
  (folder / 'wait').touch()
  first = process(folder, 'slow', 'all')
  wait_for(folder, 'train slow')
  states = call(folder, 'slow', 'all', seeds=[0])['runs']
  assert states == {'slow': 'running', 'all': 'done'}
  (folder / 'wait').unlink()
  assert first.wait() == 0
  rows = table.read(folder / 'table')
  assert [row['status'] for row in rows] == ['done', 'done']
  assert sorted(started(folder)[1:]) == ['cache all', 'train all', 'train slow']


def test_the_reason_is_what_the_command_said_last():
  said = 'stage1: 3%\rstage1: 4%\nhephaestus: No rows.\n'
  assert runs._reason(said, 'It failed.') == 'No rows.'
  said = 'Traceback (most recent call last):\n  x\nKeyError: 3\n'
  said += "  In call to configurable 'train' (<function train>)\n"
  assert runs._reason(said, 'It failed.') == 'KeyError: 3'
  assert runs._reason('stage1: 4%', 'It failed.') == 'It failed.'


@pytest.mark.slow
@pytest.mark.long
def test_two_real_trainings_and_two_that_are_refused(tmp_path):
  import tiny  # which imports all that training does

  tiny.write_cache(tmp_path / 'cache', {'a': 0.7, 'b': 0.3})
  run_file = tiny.run_file(tmp_path, TRAIN_STEPS=3)
  for name, line in (('all', ''), ('no', "STAGE1_MIXTURE = 'mixture_v2'\n")):
    (tmp_path / f'{name}.gin').write_text(
      'from __gin__ import dynamic_registration\n'
      'from hephaestus_jax import model\n'
      f"include '{run_file}'\nNAME = '{name}'\n{line}"
      'model.Config.num_layers = 1\nmodel.Config.vocab_size = 32\n'
    )
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'hephaestus_jax', 'ablate'),
      *(str(tmp_path / 'all.gin'), str(tmp_path / 'no.gin')),
      *('--seeds', '0,1', "--gin.COMMANDS=['train']", '--json'),
      "--gin.COLUMNS={'loss': 'loss'}",
    ],
    capture_output=True,
    text=True,
    check=False,
    cwd=main.ROOT,
    env=os.environ | {'JAX_NUM_CPU_DEVICES': '1'},
  )
  assert done.returncode == 2
  assert '2 of 4 runs failed' in done.stderr
  assert 'Did you mean mixture_v1' in done.stderr
  rows = table.read(tmp_path / 'ablations')
  assert [row['status'] for row in rows] == ['done', 'done', 'failed', 'failed']
  assert rows[0]['tokens'] == 3 * 8 * tiny.LENGTH
  assert rows[0]['rate/a'] == pytest.approx(0.7, abs=1e-4)
  assert rows[0]['loss'] != rows[1]['loss']
  summary = json.loads((tmp_path / 'ablations' / ablate.SUMMARY).read_text())
  assert summary['rows'][0]['values']['loss']['deviation'] > 0
  config = (tmp_path / 'all' / 'stage1' / 'config.gin').read_text()
  assert config.startswith(f'# {rows[0]["config_hash"]}\n')
