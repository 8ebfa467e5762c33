"""Facts about turning queries and keys."""

import functools
import importlib.util
import math
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding

from hephaestus_jax import partitioning, rotary
from hephaestus_jax.planning import topology

LIBTPU = importlib.util.find_spec('libtpu') or os.environ.get(
  'TPU_LIBRARY_PATH'
)


def arrays(dtype: str = 'float32') -> tuple[jax.Array, jax.Array]:
  rng = np.random.default_rng(0)
  x_BLNH = jnp.asarray(rng.normal(size=(2, 256, 4, 128)), dtype)
  angles_BLH = rng.uniform(0, 300, size=(2, 256, 64)).astype(np.float32)
  return x_BLNH, jnp.asarray(angles_BLH)


def test_a_quarter_turns_the_halves_into_each_other():
  turn = rotary.by_xla(jnp.full((1, 1, 1), math.pi / 2))
  turned_BLNH = turn(jnp.array([3.0, 4.0])[None, None, None])
  np.testing.assert_allclose(turned_BLNH[0, 0, 0], [-4, 3], atol=1e-6)


def test_on_cpu_layers_share_one_table_of_cosines():
  x_BLNH, angles_BLH = arrays()

  def layers(x_BLNH: jax.Array, angles_BLH: jax.Array) -> jax.Array:
    turn = rotary.by_xla(angles_BLH)
    for _ in range(3):
      x_BLNH = turn(jnp.einsum('BLNH,BLNG->BLNG', x_BLNH, x_BLNH))
    return x_BLNH

  compiled = jax.jit(layers).lower(x_BLNH, angles_BLH).compile().as_text()
  assert compiled.count(' cosine(') == 1


def test_the_kernel_for_tpu_turns_and_turns_back_the_same():
  x_BLNH, angles_BLH = arrays()

  def total(x_BLNH: jax.Array, turn: rotary.Turn) -> jax.Array:
    return jnp.sum(jnp.sin(turn(x_BLNH)))

  xla = rotary.by_xla(angles_BLH)
  kernel = rotary.by_kernel(angles_BLH, interpret=True)
  np.testing.assert_allclose(kernel(x_BLNH), xla(x_BLNH), atol=1e-5)
  np.testing.assert_allclose(
    jax.grad(total)(x_BLNH, kernel), jax.grad(total)(x_BLNH, xla), atol=1e-5
  )


def test_the_kernel_rounds_bfloat16_once():
  x_BLNH, angles_BLH = arrays('bfloat16')
  exact_BLNH = rotary.by_xla(angles_BLH)(x_BLNH.astype(jnp.float32))
  turned_BLNH = rotary.by_kernel(angles_BLH, interpret=True)(x_BLNH)
  assert turned_BLNH.dtype == jnp.bfloat16
  np.testing.assert_array_equal(turned_BLNH, exact_BLNH.astype(jnp.bfloat16))


def test_on_a_mesh_each_device_turns_its_rows_heads_and_tokens():
  x_BLNH, angles_BLH = arrays()
  mesh = partitioning.make_mesh(fsdp=2, tensor=2, sequence=2)

  def turned(x_BLNH: jax.Array, angles_BLH: jax.Array) -> jax.Array:
    return rotary.by_kernel(angles_BLH, interpret=True)(x_BLNH)

  with jax.set_mesh(mesh):
    compiled = jax.jit(turned).lower(x_BLNH, angles_BLH).compile()
    placed = compiled.output_shardings.shard_shape(x_BLNH.shape)
    found_BLNH = compiled(x_BLNH, angles_BLH)
  assert placed == (1, 128, 2, 128)
  np.testing.assert_allclose(
    found_BLNH, rotary.by_xla(angles_BLH)(x_BLNH), atol=1e-5
  )


@pytest.mark.skipif(not LIBTPU, reason='the extra tpu is not installed')
def test_the_compiler_for_tpu_takes_the_kernel_and_counts_its_bytes():
  chip = topology.devices(topology.parse('v5e:2x2'))[0]

  def shape(*sizes: int, dtype: str) -> jax.ShapeDtypeStruct:
    sharding = SingleDeviceSharding(chip)
    return jax.ShapeDtypeStruct(sizes, dtype, sharding=sharding)

  # As splash attention has them, so that nothing else moves.
  compiled = (
    jax.jit(functools.partial(rotary._turned, False))
    .lower(
      shape(2, 4, 2048, 128, dtype='bfloat16'),
      shape(2, 2048, 128, dtype='float32'),
    )
    .compile()
  )
  assert 'tpu_custom_call' in compiled.as_text()
  read_and_written = 2 * 2 * (2 * 4 * 2048 * 128)
  table = 4 * (2 * 2048 * 128)
  assert compiled.cost_analysis()['bytes accessed'] == read_and_written + table
