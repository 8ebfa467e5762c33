"""Plans: the table and the advice; and, with libtpu, a network compiled."""

import dataclasses
import importlib.util
import json
import os

import pytest

from hephaestus_jax import errors, model, optimizer, partitioning, update
from hephaestus_jax.planning import plan, topology

HERE = importlib.util.find_spec('libtpu') or os.environ.get('TPU_LIBRARY_PATH')
CONFIG = model.Config(
  vocab_size=256,
  emb_dim=128,
  num_layers=3,
  num_heads=2,
  num_kv_heads=1,
  head_dim=128,
  mlp_dim=256,
  dtype='bfloat16',
  remat='minimal',
  attention='xla',  # the kernel takes a minute of the compiler's
)
FITS = {
  **{'stage': 'stage1', 'topology': 'v5p:4x4x4', 'chips': 64},
  **{'mesh': {'fsdp': 64}, 'remat': 'minimal', 'microbatches': 2, 'rows': 512},
  **{'capacity_bytes': 95 * 2**30, 'fits': True, 'argument_bytes': 2**30},
  **{'temp_bytes': 2**31, 'peak_bytes': 50 * 2**30, 'executed_flops': 9e14},
  **{'model_flops': 8e14, 'bytes_accessed': 1e12, 'step_seconds': 2.5},
  **{'collectives': {'all-gather': 2e9}, 'compute_seconds': 2.25},
  **{'collective_seconds': 0.25, 'mfu_bound': 0.5, 'wall_hours': 38.25},
  'chip_hours': 2448.0,
}
TOO_LARGE = {
  **{key: FITS[key] for key in ('topology', 'chips', 'mesh', 'remat')},
  **{'stage': 'stage3', 'microbatches': 1, 'rows': 16, 'fits': False},
  **{'argument_bytes': None, 'temp_bytes': None, 'peak_bytes': 97 * 2**30},
  **{'capacity_bytes': 95 * 2**30, 'advice': 'does not fit by 2.0 GiB'},
}


def stage(**settings) -> update.Stage:
  rate = settings.pop('rate', 1e-3)
  return update.Stage(
    **{'name': 'stage1', 'mixture': 'mixture_v1', 'steps': 10} | settings,
    optimizer=optimizer.adamw(schedule=optimizer.constant(peak=rate)),
  )


def case(**settings) -> plan.Case:
  return plan.Case(
    CONFIG,
    stage(batch_size=16, **settings),
    partitioning.make_mesh(data=2, fsdp=4),
    topology.parse('v5e:2x4'),
    128,
    {},
  )


def test_the_table_has_a_line_per_figure_and_a_column_per_stage():
  lines = plan.table([FITS, TOO_LARGE]).splitlines()
  cells = {line[:22].strip(): line[22:].split('  ') for line in lines}
  cells = {name: [c.strip() for c in row if c] for name, row in cells.items()}
  assert cells['peak'] == ['50.00 GiB', '97.00 GiB']
  assert cells['headroom'] == ['45.00 GiB', '-2.00 GiB']
  assert cells['fits'] == ['yes', 'NO']
  assert cells['executed / model'] == ['1.125', '-']
  assert cells['all-gather'] == ['2.00 GB', '-']
  assert cells['chip-hours'] == ['2,448', '-']
  assert lines[-1] == 'stage3 does not fit by 2.0 GiB'


def test_what_does_not_fit_gets_its_gibibytes_and_ways_out():
  said = plan.advice(case(), 1.5 * 2**30)
  assert said.startswith('does not fit by 1.5 GiB')
  for way in (
    "'full'",
    'MICROBATCHES = 2',
    'LOSS_CHUNKS',
    'data = 1, fsdp = 8',
  ):
    assert way in said
  assert "'none'" not in said  # it takes more


def test_stages_whose_step_is_the_same_share_a_key():
  first = case().key()
  assert case(name='stage2', steps=99, rate=1e-5).key() == first
  assert case(loss_chunks=2).key() != first
  assert case(role_weights={'answer': 1.0}).key() != first
  other = dataclasses.replace(case(), place=topology.parse('v6e:2x4'))
  assert other.key() != first


def test_rows_that_cannot_be_cut_are_refused_with_the_way_out():
  with pytest.raises(
    errors.UserError, match=r"4 along 'batch', .* = 8 equal .*STAGE3_AXES"
  ):
    plan._check(stage(batch_size=4), partitioning.make_mesh(), 128)


@pytest.mark.skipif(not HERE, reason='the extra tpu is not installed')
def test_a_network_is_compiled_once_for_chips_that_are_not_here(
  tmp_path, capsys
):
  def rows():
    return plan.plan(
      model=CONFIG,
      stages=[
        stage(batch_size=8),
        stage(batch_size=8, name='stage2', steps=20),
      ],
      mesh=partitioning.make_mesh,
      sequence_length=128,
      plan_dir=str(tmp_path),
      topology_name='v5e:2x2',
    )

  first, second = rows()
  assert len(list(tmp_path.glob('*.memory.json'))) == 1
  assert capsys.readouterr().err.count('compiling') == 2  # memory and work
  assert first['fits'] and first['chips'] == 4
  assert 0 < first['argument_bytes'] < first['peak_bytes']
  # What the chips execute is the model, at least; with the loss and the norms
  # not thrice that.
  assert 1 < first['executed_flops'] / first['model_flops'] < 3
  assert first['collectives']
  assert second['chip_hours'] == pytest.approx(2 * first['chip_hours'])
  assert json.loads(json.dumps(rows())) == [first, second]
  assert capsys.readouterr().err == ''
