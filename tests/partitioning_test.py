"""Facts about the mesh and where arrays go, on eight virtual devices."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from hephaestus_jax import errors, model, partitioning


def test_minus_one_is_the_devices_that_are_left():
  mesh = partitioning.make_mesh(data=2, tensor=2)
  assert dict(mesh.shape) == {
    'slice': 1,
    'data': 2,
    'fsdp': 2,
    'tensor': 2,
    'sequence': 1,
  }
  assert set(mesh.axis_types) == {AxisType.Auto}


@pytest.mark.parametrize(
  ('sizes', 'message'),
  [
    ({'data': 3}, r'data 3 x fsdp -1 .* does not fit 8 cpu devices'),
    ({'fsdp': 4}, r'fsdp 4 .* does not fit 8 cpu devices'),
    ({'fsdp': 16}, r'fsdp 16 .* does not fit 8 cpu devices'),
    ({'data': 0}, r'data 0 .* does not fit 8 cpu devices'),
    ({'data': -2}, r'data -2 .* does not fit 8 cpu devices'),
    ({'data': -1}, r'-1 for data and fsdp'),
  ],
)
def test_a_mesh_that_does_not_fit_the_devices_is_refused(sizes, message):
  with pytest.raises(errors.UserError, match=message):
    partitioning.make_mesh(**sizes)


def test_the_table_places_the_axes():
  assert partitioning.spec('batch', 'length', None) == PartitionSpec(
    ('slice', 'data', 'fsdp'), 'sequence', None
  )
  assert partitioning.spec('layers', 'embed', 'heads', 'head_dim') == (
    PartitionSpec(None, ('fsdp', 'sequence'), 'tensor', None)
  )


def test_each_device_holds_its_part_of_a_parameter():
  mesh = partitioning.make_mesh(fsdp=4, tensor=2)
  tree = {'w': jnp.zeros((3, 8, 6))}
  places = partitioning.shardings(mesh, {'w': ('layers', 'embed', 'mlp')}, tree)
  array = jax.device_put(tree, places)['w']
  assert {shard.data.shape for shard in array.addressable_shards} == {(3, 2, 3)}


def test_an_axis_that_cannot_be_cut_is_refused_by_name():
  config = model.Config(
    vocab_size=8,
    emb_dim=8,
    num_layers=2,
    num_heads=4,
    num_kv_heads=1,
    head_dim=2,
    mlp_dim=4,
  )
  mesh = partitioning.make_mesh(tensor=2)
  with pytest.raises(
    errors.UserError,
    match=r"layers/attention/key has 1 along 'kv', .* tensor = 2 equal parts",
  ):
    partitioning.shardings(
      mesh, model.logical_axes(config), model.abstract(config)
    )


def test_a_host_batch_becomes_the_global_one():
  mesh = partitioning.make_mesh(data=2, fsdp=2, sequence=2)
  host = {
    'tokens_BL': np.arange(32, dtype=np.int32).reshape(8, 4),
    'source_B': np.arange(8, dtype=np.int32),
  }
  batch = partitioning.global_batch(mesh, host)
  for name, array in host.items():
    np.testing.assert_array_equal(batch[name], array)
  shapes = {
    name: {shard.data.shape for shard in array.addressable_shards}
    for name, array in batch.items()
  }
  assert shapes == {'tokens_BL': {(2, 2)}, 'source_B': {(2,)}}


def test_a_host_hands_its_devices_what_they_hold_of_the_batch():
  # Devices hold rows 2 to 5 of 8 between them, as a part of a pod would.
  tokens_BL = np.arange(32, dtype=np.int32).reshape(8, 4)
  rows = np.array([2, 3, 4, 5])
  part = partitioning._part(tokens_BL[rows], rows, 8, (slice(4, 6), slice(2)))
  np.testing.assert_array_equal(part, tokens_BL[4:6, :2])
  mesh = partitioning.make_mesh(data=2, fsdp=2, sequence=2)
  np.testing.assert_array_equal(partitioning.host_rows(mesh, 8), np.arange(8))
  batch = partitioning.global_batch(mesh, {'tokens_BL': tokens_BL}, 8)
  np.testing.assert_array_equal(batch['tokens_BL'], tokens_BL)


@pytest.mark.parametrize(
  ('shape', 'message'),
  [
    ((6, 4), r"6 along 'batch', .* slice x data x fsdp = 4 equal parts"),
    ((8, 3), r"3 along 'length', .* sequence = 2 equal parts"),
  ],
)
def test_a_batch_that_cannot_be_cut_is_refused(shape, message):
  mesh = partitioning.make_mesh(data=2, fsdp=2, sequence=2)
  with pytest.raises(errors.UserError, match=message):
    partitioning.global_batch(mesh, {'tokens_BL': np.zeros(shape, np.int32)})


def test_constrain_places_on_the_current_mesh_and_is_nothing_without_one():
  x_BLD = jnp.zeros((8, 4, 2))
  assert partitioning.constrain(x_BLD, 'batch', 'length', None) is x_BLD
  with jax.set_mesh(partitioning.make_mesh(fsdp=4, tensor=2)):
    placed_BLD = jax.jit(
      lambda x: partitioning.constrain(x, 'batch', 'length', None)
    )(x_BLD)
  assert {shard.data.shape for shard in placed_BLD.addressable_shards} == {
    (2, 4, 2)
  }


def test_devices_of_the_cpu_are_found_without_looking_for_a_tpu():
  code = """if True:
    import jax
    from hephaestus_jax import partitioning
    mesh = partitioning.make_mesh(cpu_devices=2)
    print(jax.config.jax_platforms, mesh.size)"""
  environment = {k: v for k, v in os.environ.items() if k != 'JAX_PLATFORMS'}
  ran = subprocess.run(
    [sys.executable, '-c', code],
    env=environment | {'JAX_NUM_CPU_DEVICES': '1'},
    capture_output=True,
    text=True,
    check=True,
  )
  assert ran.stdout == 'cpu 2\n'


def test_on_cpu_a_step_ends_before_the_next_is_dispatched():
  """Else two steps would hold their temporaries at once."""
  code = """if True:
    import jax
    import jax.numpy as jnp
    from hephaestus_jax import partitioning
    partitioning.make_mesh(cpu_devices=1)
    step = jax.jit(
      lambda x: jax.lax.fori_loop(0, 50, lambda _, x: x @ x / 400, x)
    ).lower(jnp.ones((400, 400))).compile()
    x = jax.block_until_ready(jnp.ones((400, 400)))
    print(step(x).is_ready())"""
  ran = subprocess.run(
    [sys.executable, '-c', code],
    env=os.environ | {'JAX_PLATFORMS': 'cpu'},
    capture_output=True,
    text=True,
    check=True,
  )
  assert ran.stdout == 'True\n'


def test_the_current_number_of_cpu_devices_may_be_asked_for_again():
  mesh = partitioning.make_mesh(cpu_devices=8)
  assert mesh.size == 8


def test_a_mesh_is_made_of_the_devices_that_are_given():
  mesh = partitioning.make_mesh(
    cpu_devices=2, devices=jax.devices()[:4], data=2
  )
  assert (mesh.size, mesh.shape['data'], mesh.shape['fsdp']) == (4, 2, 2)


def test_a_stage_may_have_the_devices_in_another_shape():
  mesh = partitioning.make_mesh(tensor=2)
  other = partitioning.reshaped(mesh, {'fsdp': 2, 'sequence': -1})
  assert dict(other.shape) == {
    **{'slice': 1, 'data': 1, 'fsdp': 2, 'tensor': 2, 'sequence': 2}
  }
  assert {*other.devices.flat} == {*mesh.devices.flat}
  assert partitioning.reshaped(mesh, None) is mesh


@pytest.mark.parametrize(
  ('axes', 'message'),
  [
    ({'rows': 2}, "'rows'; the axes are slice, data, fsdp, tensor, sequence"),
    ({'fsdp': 16}, 'fsdp 16 .* does not fit 8 cpu devices'),
  ],
)
def test_a_shape_that_the_devices_cannot_have_is_refused(axes, message):
  mesh = partitioning.make_mesh()
  with pytest.raises(errors.UserError, match=message):
    partitioning.reshaped(mesh, axes)
