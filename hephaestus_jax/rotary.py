"""Rotary positions: pairs of a head's numbers, turned by where a token stands.

Shape letters: see model.py; an angle's last axis is half of H.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas
from jax.experimental.pallas import tpu as pallas_tpu

from hephaestus_jax import partitioning

# Tokens of a row that the kernel turns at once: half a megabyte of float32.
_BLOCK = 1024

Turn = Callable[[jax.Array], jax.Array]


def by_xla(angles_BLH: jax.Array) -> Turn:
  """Turns `x_BLNH`: dimensions i and i + H/2 are one pair (half-split layout).

  With H = 2 and an angle of 90 degrees, [3, 4] becomes [-4, 3].
  """

  cos_BLH, sin_BLH = jax.lax.platform_dependent(
    angles_BLH, cpu=_once, default=lambda x: (jnp.cos(x), jnp.sin(x))
  )

  def turn(x_BLNH: jax.Array) -> jax.Array:
    # In x's own precision: in float32 the TPU compiler would write bfloat16
    # queries and keys to memory as float32 first.
    cos_BL1H = cos_BLH[:, :, None].astype(x_BLNH.dtype)
    sin_BL1H = sin_BLH[:, :, None].astype(x_BLNH.dtype)
    first, second = jnp.split(x_BLNH, 2, axis=-1)
    return jnp.concatenate(
      [
        first * cos_BL1H - second * sin_BL1H,
        second * cos_BL1H + first * sin_BL1H,
      ],
      axis=-1,
    )

  return turn


def _once(angles_BLH: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Cosines and sines, by a loop: XLA can't compute them where they are used.

  On CPU it would: for every layer and head, forward and back.
  """
  both = jax.lax.map(
    lambda sine: jax.lax.cond(sine, jnp.sin, jnp.cos, angles_BLH),
    jnp.array([False, True]),
  )
  return both[0], both[1]


def by_kernel(angles_BLH: jax.Array, *, interpret: bool = False) -> Turn:
  """As `by_xla`, by a Pallas kernel for TPU, in float32.

  XLA writes the halves to memory before it joins them. This reads x once and
  writes it once, in the layout that splash attention reads. H is a multiple of
  128, a TPU's lanes.

  Args:
    angles_BLH: radians for each pair.
    interpret: compute what the kernel would, on any platform, slowly.
  """
  table_BLH = jnp.concatenate([jnp.cos(angles_BLH), jnp.sin(angles_BLH)], -1)

  def turn(x_BLNH: jax.Array) -> jax.Array:
    x_BNLH = jnp.swapaxes(x_BLNH, 1, 2)
    return jnp.swapaxes(_turned(interpret, x_BNLH, table_BLH), 1, 2)

  return turn


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _turned(
  interpret: bool, x_BNLH: jax.Array, table_BLH: jax.Array
) -> jax.Array:
  return _call(interpret, 1.0, x_BNLH, table_BLH)


def _forward(
  interpret: bool, x_BNLH: jax.Array, table_BLH: jax.Array
) -> tuple[jax.Array, jax.Array]:
  return _turned(interpret, x_BNLH, table_BLH), table_BLH


def _backward(
  interpret: bool, table_BLH: jax.Array, d_out_BNLH: jax.Array
) -> tuple[jax.Array, None]:
  # A rotation's transpose turns back; positions have no gradient.
  return _call(interpret, -1.0, d_out_BNLH, table_BLH), None


_turned.defvjp(_forward, _backward)


def _call(
  interpret: bool, sign: float, x_BNLH: jax.Array, table_BLH: jax.Array
) -> jax.Array:
  """The kernel, on each device's rows, heads and tokens."""

  def rows(x_BNLH: jax.Array, table_BLH: jax.Array) -> jax.Array:
    batch, heads, length, size = x_BNLH.shape
    block = math.gcd(length, _BLOCK)
    # The heads are innermost, so that a block of angles is fetched once.
    of_x = pallas.BlockSpec(
      (None, None, block, size), lambda b, part, n: (b, n, part, 0)
    )
    of_table = pallas.BlockSpec(
      (None, block, size), lambda b, part, n: (b, part, 0)
    )
    return pallas.pallas_call(
      functools.partial(_kernel, sign=sign),
      grid=(batch, length // block, heads),
      in_specs=[of_x, of_table],
      out_specs=of_x,
      out_shape=jax.ShapeDtypeStruct(x_BNLH.shape, x_BNLH.dtype),
      cost_estimate=pallas.CostEstimate(
        flops=3 * x_BNLH.size,
        bytes_accessed=2 * x_BNLH.nbytes + table_BLH.nbytes,
        transcendentals=0,
      ),
      interpret=interpret,
      name='rotary',
    )(x_BNLH, table_BLH)

  mesh = jax.sharding.get_abstract_mesh()
  if not mesh.empty:
    # Queries and keys are cut over the same axis of the mesh.
    x_spec = partitioning.spec('batch', 'heads', 'length', None)
    rows = jax.shard_map(
      rows,
      in_specs=(x_spec, partitioning.spec('batch', 'length', None)),
      out_specs=x_spec,
      check_vma=False,  # a Pallas call can't say on which axes it varies
    )
  return rows(x_BNLH, table_BLH)


def _kernel(x_ref: Any, table_ref: Any, out_ref: Any, *, sign: float) -> None:
  """Turns one head's block of tokens."""
  x_LH = x_ref[...].astype(jnp.float32)
  table_LH = table_ref[...]  # cosines, then sines
  half = x_LH.shape[1] // 2
  swapped_LH = pallas_tpu.roll(table_LH, half, 1)
  lane_LH = jax.lax.broadcasted_iota(jnp.int32, x_LH.shape, 1)
  cos_LH = jnp.where(lane_LH < half, table_LH, swapped_LH)
  sin_LH = jnp.where(lane_LH < half, -sign * swapped_LH, sign * table_LH)
  turned_LH = x_LH * cos_LH + pallas_tpu.roll(x_LH, half, 1) * sin_LH
  out_ref[...] = turned_LH.astype(out_ref.dtype)
