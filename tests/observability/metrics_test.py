"""Sums become means, lines survive crashes, FLOPs are counted."""

import json
import math
import pathlib
import sys
import time
import types

import jax
import numpy as np
import pytest

from hephaestus_jax import errors, model, update
from hephaestus_jax.corpus import document
from hephaestus_jax.observability import metrics, step_lines

sys.path.append(str(pathlib.Path(__file__).parents[1]))
import tiny  # noqa: E402


def sums(nll, weight, **changed):
  roles = np.zeros(len(document.ROLES))
  return {
    'nll': np.float32(nll),
    'weight': np.float32(weight),
    'z': np.float32(0),
    'nll_S': np.array([nll, 0.0]),
    'weight_S': np.array([weight, 0.0]),
    'nll_R': roles,
    'tokens_R': roles,
    'gradient_norm': np.float32(1),
    'gradient_norm_G': np.ones(len(update.GROUPS)),
    'update_norm': np.float32(1),
    'update_norm_G': np.ones(len(update.GROUPS)),
    'parameter_norm': np.float32(1),
    'learning_rate': np.float32(1),
    'raw_norm': np.float32(1),
    'taken': np.int32(1),
    **changed,
  }


def test_steps_count_by_their_weight():
  values = metrics.means([sums(6.0, 2.0), sums(2.0, 6.0)], ['a', 'b'])
  assert values['loss'] == values['loss/source/a'] == 1.0


def test_a_source_or_role_without_a_token_has_no_value():
  nll_R, tokens_R = np.zeros((2, len(document.ROLES)))
  nll_R[document.role_id('action')] = 3.0
  tokens_R[document.role_id('action')] = 2.0
  values = metrics.means(
    [sums(6.0, 2.0, nll_R=nll_R, tokens_R=tokens_R)], ['a', 'b']
  )
  assert {name for name in values if name.startswith('loss/')} == {
    'loss/source/a',
    'loss/role/action',
  }
  assert values['loss/role/action'] == 1.5


def test_norms_are_averaged_and_the_rate_is_the_last():
  one = sums(1, 1, gradient_norm=np.float32(1), learning_rate=np.float32(0.5))
  two = sums(1, 1, gradient_norm=np.float32(3), learning_rate=np.float32(0.25))
  values = metrics.means([one, two], ['a', 'b'])
  assert values['gradient_norm'] == 2.0
  assert values['learning_rate'] == 0.25


def test_norms_are_told_by_group():
  norm_G = np.arange(len(update.GROUPS), dtype=np.float32)
  values = metrics.means([sums(1, 1, gradient_norm_G=norm_G)], ['a', 'b'])
  assert values['gradient_norm/mlp'] == update.GROUPS.index('mlp')
  assert values['update_norm/mlp'] == 1.0


# What update.train_step gives where the update was not taken.
NOT_TAKEN = jax.tree.map(np.zeros_like, sums(0.0, 0.0)) | {
  'raw_norm': np.float32(np.inf)
}


def test_an_update_that_was_not_taken_is_counted_and_has_no_part_in_a_mean():
  one = sums(6.0, 2.0, gradient_norm=np.float32(3))
  values = metrics.means([one, NOT_TAKEN], ['a', 'b'])
  assert values['skipped'] == 1.0
  assert (values['loss'], values['gradient_norm']) == (3.0, 3.0)
  assert values['learning_rate'] == 1.0
  assert metrics.means([NOT_TAKEN], ['a', 'b']) == {'skipped': 1.0}


def test_a_meter_tells_which_of_its_steps_were_not_taken():
  meter = metrics.Meter(
    sources=('a', 'b'), tokens_per_step=100, flops_per_step=1e6
  )
  for step in (NOT_TAKEN, sums(2.0, 1.0), NOT_TAKEN, sums(2.0, 1.0)):
    meter.add(jax.device_put(step))
  assert meter.line()['skipped'] == 2.0
  assert meter.not_taken == [(-3, math.inf), (-1, math.inf)]


def test_llama_3_8b_costs_what_its_size_says():
  config = model.Config(
    vocab_size=128256,
    emb_dim=4096,
    num_layers=32,
    num_heads=32,
    num_kv_heads=8,
    head_dim=128,
    mlp_dim=14336,
  )
  # 7.505e9 parameters without the embedding; 32 layers of 4096, 2048.5 seen.
  expected = 6 * 7.50497e9 + 12 * 32 * 4096 * 2048.5
  found = metrics.flops_per_token(config, 4096)
  assert found == pytest.approx(expected, rel=1e-4)


def test_a_window_sees_less_and_a_tied_output_is_counted():
  def flops(**changed):
    config = model.Config(**{**vars(tiny.CONFIG), **changed})
    return metrics.flops_per_token(config, tiny.LENGTH)

  width = 2 * 2 * 8
  # Of 16 positions with a window of 2, the first sees one, the others two.
  assert flops(sliding_window=2) - flops() == pytest.approx(
    12 * width * (31 / 16 - 8.5)
  )
  assert flops(tied_output=True) == flops()


def test_the_cpus_peak_is_measured():
  assert 1e8 < metrics.peak_flops() < 1e14


def test_memory_is_at_least_what_an_array_takes():
  before, _ = metrics.memory_bytes()
  array = np.ones(50_000_000)
  assert metrics.memory_bytes()[0] > before + array.nbytes / 2


def test_a_meter_takes_the_time_of_its_steps_only():
  meter = metrics.Meter(
    sources=('a', 'b'), tokens_per_step=100, flops_per_step=1e6
  )
  meter.add(jax.device_put(sums(2.0, 1.0)))
  line = meter.line()
  assert line['tokens_per_second'] == pytest.approx(100 / line['seconds'])
  assert line['mfu'] == pytest.approx(
    1e6 / line['seconds'] / metrics.peak_flops()
  )
  meter.add(jax.device_put(sums(4.0, 1.0)))
  assert meter.line()['loss'] == 4.0


def write(folder, resumed_step, *steps):
  writer = metrics.Writer(folder, resumed_step=resumed_step)
  for step in steps:
    writer.write(step, {'loss': 1.5, 'seconds': 2.0})
  writer.close()


def test_after_a_resume_no_line_is_there_twice(tmp_path):
  write(tmp_path, None, 1, 2, 3)
  with (tmp_path / metrics.FILE).open('a') as file:
    file.write('{"step": 4, "lo')  # killed here
  write(tmp_path, 2, 3, 4)
  text = (tmp_path / metrics.FILE).read_text()
  lines = [json.loads(line) for line in text.splitlines()]
  assert [line['step'] for line in lines] == [1, 2, 3, 4]
  assert [line['seconds'] for line in lines] == [2.0, 4.0, 6.0, 8.0]


def test_a_start_from_scratch_forgets_an_attempt_without_checkpoint(tmp_path):
  write(tmp_path, None, 1, 2)
  write(tmp_path, None, 1)
  assert [
    line['step'] for line in step_lines.read(tmp_path / metrics.FILE)
  ] == [1]


def test_tensorboard_gets_the_values(tmp_path):
  write(tmp_path, None, 1)
  (events,) = (tmp_path / metrics.TENSORBOARD).iterdir()
  assert b'loss' in events.read_bytes()
  assert math.isclose(step_lines.read(tmp_path / metrics.FILE)[0]['loss'], 1.5)


def test_a_line_says_where_its_time_went():
  meter = metrics.Meter(
    sources=('a', 'b'), tokens_per_step=100, flops_per_step=1e6
  )
  for name, seconds in (('input', 0.1), ('checkpoint', 0.2)):
    with meter.time(name):
      time.sleep(seconds)
  meter.add(jax.device_put(sums(2.0, 1.0)))
  line = meter.line()
  assert 0.1 <= line['time/input'] < line['seconds']
  assert line['time/checkpoint'] >= 0.2 > line['time/evaluation'] == 0.0
  assert line['seconds'] == line['time/input'] + line['time/compute']
  assert line['input_wait'] == line['time/input'] / line['seconds']
  meter.add(jax.device_put(sums(2.0, 1.0)))
  assert meter.line()['time/checkpoint'] == 0.0


class Run:
  """What wandb.init gives."""

  def __init__(self, **settings):
    self.settings, self.lines, self.finished = settings, [], False

  def log(self, values, step):
    self.lines.append((step, values['loss'], values['seconds']))

  def finish(self):
    self.finished = True


def test_wandb_gets_the_lines_and_goes_on_after_a_restart(
  tmp_path, monkeypatch
):
  runs = []

  def init(**settings):
    runs.append(Run(**settings))
    return runs[-1]

  wandb = types.SimpleNamespace(init=init)
  monkeypatch.setitem(sys.modules, 'wandb', wandb)
  for resumed in (None, 2, None):
    writer = metrics.Writer(tmp_path, resumed_step=resumed, wandb='forge')
    writer.write(3, {'loss': 1.5, 'seconds': 2.0})
    writer.close()
  first, second, third = runs
  assert first.lines == [(3, 1.5, 2.0)] and first.finished
  assert first.settings['project'] == 'forge'
  assert first.settings['resume'] == 'allow'
  ids = [run.settings['id'] for run in runs]
  assert ids[0] == ids[1] != ids[2]  # the last began from nothing


def test_wandb_that_is_not_installed_names_the_extra(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'wandb', None)
  with pytest.raises(errors.UserError, match=r'hephaestus-jax\[wandb\]'):
    metrics.Writer(tmp_path, resumed_step=None, wandb='forge')
