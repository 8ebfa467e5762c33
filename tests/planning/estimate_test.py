"""The arithmetic of a plan, on numbers that can be checked by hand."""

import dataclasses

import jax
import pytest

from hephaestus_jax import attention, optimizer, update
from hephaestus_jax.planning import estimate, topology
from tests import tiny

CHIP = topology.Chip(
  capacity=2**30,
  peak=100.0,
  bandwidth=10.0,
  interconnect=4.0,
  network=1.0,
  compiler_peak=50.0,
  compiler_bandwidth=10.0,
  shapes=('2x2',),
)
WAITED, HIDDEN = ('all-gather', False, True), ('all-reduce', True, False)
WORK = estimate.Work(
  flops=100.0,
  kernel_flops=50.0,
  bytes=10.0,
  seconds=2.5,
  received={WAITED: 8.0, HIDDEN: 5.0},
)


def test_layers_are_the_difference_of_two_and_one():
  one = estimate.Work(10.0, 2.0, 7.0, 1.0, {WAITED: 3.0})
  two = estimate.Work(14.0, 4.0, 8.0, 1.5, {WAITED: 3.0, HIDDEN: 2.0})
  assert estimate.over_layers(one, two, 32) == estimate.Work(
    10.0 + 31 * 4,
    2.0 + 31 * 2,
    7.0 + 31,
    1.0 + 31 * 0.5,
    {WAITED: 3.0, HIDDEN: 62.0},
  )


def test_seconds_are_computing_waiting_and_what_hides_behind_computing():
  # XLA's 2.5 s are possible, between 2 (products) and 3 (and reads): plus 1 of
  # attention. 2 s of waiting; 5 s on the network, of which 3.5 hide.
  assert estimate.seconds(WORK, CHIP) == {
    'compute_seconds': 3.5,
    'collective_seconds': 7.0,
    'step_seconds': 7.0,
  }


@pytest.mark.parametrize('impossible', [-1.0, 1.9, 3.1])
def test_an_impossible_estimate_of_xla_is_replaced_by_the_sum(impossible):
  done = dataclasses.replace(WORK, seconds=impossible, received={})
  assert estimate.seconds(done, CHIP)['step_seconds'] == 2.0 + 1.0 + 1.0


def test_chip_hours_are_hours_of_all_chips():
  stage = update.Stage(
    name='stage1',
    mixture='mixture_v1',
    steps=3600,
    batch_size=8,
    optimizer=optimizer.adamw(schedule=optimizer.constant(peak=1.0)),
  )
  place = topology.Topology('v0:2x2', CHIP, 1, '2x2', 'v0')
  found = estimate.figures(WORK, tiny.CONFIG, stage, place, tiny.LENGTH)
  assert found['wall_hours'] == found['step_seconds'] == 7.0
  assert found['chip_hours'] == 28.0
  assert found['collectives'] == {
    'all-gather': 8.0,
    'all-reduce across slices': 5.0,
  }
  assert found['executed_flops'] == 150.0
  assert found['mfu_bound'] == pytest.approx(found['model_flops'] / 7 / 100)


def test_what_the_compiler_refuses_is_read_from_its_message(monkeypatch):
  class Lowered:
    def compile(self, compiler_options):
      raise jax.errors.JaxRuntimeError(
        'RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of '
        'memory in memory space hbm. Used 33.25G of 30.75G hbm. Exceeded '
        'hbm capacity by 2.50G.'
      )

  monkeypatch.setattr(update, 'lower_step', lambda *_, **__: Lowered())
  found = estimate.memory(tiny.CONFIG, None, None, tiny.LENGTH, {})
  assert not found['fits']
  assert found['peak_bytes'] == 33.25 * 2**30
  assert found['missing_bytes'] == 2.5 * 2**30


def test_attention_computes_whole_blocks():
  block = 512 * 512
  assert attention.splash_pairs(4096) == 36 * block
  assert attention.splash_pairs(4096, window=512) == (8 + 7) * block
  assert attention.splash_pairs(256) == 256 * 256


@pytest.mark.parametrize(
  'words, expected',
  [
    ('Ran out of memory. Used 20.50G of 15.75G hbm.', (20.5, 15.75)),
    (
      'Ran out of memory on HBM, the total memory required for HLO temporaries '
      '(20.52G) exceeds available HBM (15.75G).',
      (20.52, 15.75),
    ),
  ],
)
def test_either_refusal_of_the_compiler_says_what_does_not_fit(words, expected):
  found = estimate.refusal(words)
  assert (found.used, found.usable) == tuple(n * 2**30 for n in expected)
  assert estimate.refusal('INTERNAL: something else (20.52G)') is None
