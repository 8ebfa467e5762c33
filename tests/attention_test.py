"""Facts about attention, against the definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hephaestus_jax import attention, data, errors

B, L, N, K, H = 2, 12, 4, 2, 4
POSITIONS_BL = np.tile(np.r_[0:5, 0:4, 0:3], (B, 1))
SEGMENTS_BL = np.tile(np.repeat([1, 2, 0], [5, 4, 3]), (B, 1))


def inputs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  rng = np.random.default_rng(0)
  shapes = ((B, L, N, H), (B, L, K, H), (B, L, K, H))
  q_BLNH, k_BSKH, v_BSKH = (
    rng.normal(size=shape).astype(np.float32) for shape in shapes
  )
  return q_BLNH, k_BSKH, v_BSKH


def by_definition(
  q_BLNH: np.ndarray,
  k_BSKH: np.ndarray,
  v_BSKH: np.ndarray,
  window: int | None,
) -> np.ndarray:
  out_BLNH = np.zeros_like(q_BLNH)
  for b, i, n in np.ndindex(B, L, N):
    head = n // (N // K)
    seen = [
      j
      for j in range(L)
      if SEGMENTS_BL[b, i] == SEGMENTS_BL[b, j]
      and 0 <= POSITIONS_BL[b, i] - POSITIONS_BL[b, j] < (window or L)
    ]
    logits = k_BSKH[b, seen, head] @ q_BLNH[b, i, n]
    shares = np.exp(logits) / np.exp(logits).sum()
    out_BLNH[b, i, n] = shares @ v_BSKH[b, seen, head]
  return out_BLNH


@pytest.mark.parametrize('window', [None, 1, 3])
@pytest.mark.parametrize('block', [None, 2, 5, 64])
def test_attention_is_what_it_is_defined_to_be(window, block):
  out_BLNH = attention.attend(
    *inputs(),
    positions_BL=POSITIONS_BL,
    kv_positions_BS=POSITIONS_BL,
    segment_ids_BL=SEGMENTS_BL,
    kv_segment_ids_BS=SEGMENTS_BL,
    window=window,
    block=block,
  )
  np.testing.assert_allclose(
    out_BLNH, by_definition(*inputs(), window), atol=1e-5
  )


def test_blocks_spare_the_products_that_nobody_sees():
  def flops(block: int | None) -> float:
    shape = jax.ShapeDtypeStruct((1, 64, 1, 4), jnp.float32)
    positions_BL = jnp.arange(64)[None]

    def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
      return attention.attend(
        q,
        k,
        v,
        positions_BL=positions_BL,
        kv_positions_BS=positions_BL,
        block=block,
      )

    compiled = jax.jit(attend).lower(shape, shape, shape).compile()
    return compiled.cost_analysis()['flops']

  assert flops(8) < 0.65 * flops(None)


def test_a_query_that_sees_nothing_gives_numbers_and_gradients():
  def total(
    q_BLNH: jax.Array, k_BSKH: jax.Array, v_BSKH: jax.Array
  ) -> jax.Array:
    return attention.attend(
      q_BLNH,
      k_BSKH,
      v_BSKH,
      positions_BL=np.full((B, L), -1),
      kv_positions_BS=POSITIONS_BL,
    ).sum()

  value, gradients = jax.value_and_grad(total, argnums=(0, 1, 2))(*inputs())
  assert np.isfinite(value)
  assert all(np.isfinite(gradient).all() for gradient in gradients)


def wide() -> dict[str, np.ndarray]:
  """Rows as long and heads as wide as the kernel's smallest blocks."""
  rng = np.random.default_rng(0)
  length, width = 256, 128
  return {
    'q_BLNH': rng.normal(size=(2, length, 4, width)).astype(np.float32) * 0.2,
    'k_BLKH': rng.normal(size=(2, length, 2, width)).astype(np.float32),
    'v_BLKH': rng.normal(size=(2, length, 2, width)).astype(np.float32),
    'segment_ids_BL': np.tile(np.repeat([1, 2, 0], [100, 140, 16]), (2, 1)),
  }


@pytest.mark.parametrize('window', [None, 30])
def test_the_kernel_for_tpu_computes_the_same(window):
  arrays = wide()
  segments_BL = arrays.pop('segment_ids_BL')
  positions_BL = data.positions(segments_BL)

  def xla(q_BLNH: jax.Array, k_BLKH: jax.Array, v_BLKH: jax.Array) -> jax.Array:
    return attention.attend(
      *(q_BLNH, k_BLKH, v_BLKH),
      positions_BL=positions_BL,
      kv_positions_BS=positions_BL,
      segment_ids_BL=segments_BL,
      kv_segment_ids_BS=segments_BL,
      window=window,
    )

  def kernel(
    q_BLNH: jax.Array, k_BLKH: jax.Array, v_BLKH: jax.Array
  ) -> jax.Array:
    return attention.attend_splash(
      *(q_BLNH, k_BLKH, v_BLKH),
      segment_ids_BL=segments_BL,
      window=window,
      block=128,
      interpret=True,
    )

  inside_BL11 = (segments_BL > 0)[..., None, None]
  found, expected = (
    jax.value_and_grad(
      lambda *qkv, read=read: jnp.sum(jnp.sin(read(*qkv)) * inside_BL11),
      argnums=(0, 1, 2),
    )(*arrays.values())
    for read in (xla, kernel)
  )
  np.testing.assert_allclose(found[0], expected[0], rtol=1e-4)
  for a, b in zip(found[1], expected[1], strict=True):
    np.testing.assert_allclose(a, b, atol=1e-4)


def test_a_block_that_the_kernel_cannot_take_is_refused():
  with pytest.raises(errors.UserError, match='attention_block = 100 .* 256'):
    attention.attend_splash(**wide(), block=100)
