"""Attention: which earlier tokens each token reads, in one function.

`attend` is the only place that knows how; the model hands it queries, keys,
values and where each of them stands. Shape letters: see model.py.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.splash_attention import (
  splash_attention_kernel as splash,
)
from jax.experimental.pallas.ops.tpu.splash_attention import (
  splash_attention_mask as splash_mask,
)
from jax.sharding import NamedSharding

from hephaestus_jax import errors, partitioning

# What a query read, by this name: saved or computed again, as model.REMAT says.
CONTEXT = 'context'

# Queries and keys of a block in splash attention, where nothing else is said.
SPLASH_BLOCK = 512
# Added to the logits of hidden pairs. Finite, so that a row that sees nothing
# (padding) gives numbers instead of NaN, whose gradients would spread.
_HIDDEN = -1e30


def attend(
  q_BLNH: jax.Array,
  k_BSKH: jax.Array,
  v_BSKH: jax.Array,
  *,
  positions_BL: jax.Array,
  kv_positions_BS: jax.Array,
  segment_ids_BL: jax.Array | None = None,
  kv_segment_ids_BS: jax.Array | None = None,
  window: int | None = None,
  block: int | None = None,
) -> jax.Array:
  """What each query reads, `out_BLNH`, with the softmax in float32.

  A query sees the keys of its own segment (where segments are given) at its own
  position or before it, the nearest `window` of them when there is a window
  (the query's own included, as Mistral counts).

  Args:
    q_BLNH: queries, rotated but not scaled.
    k_BSKH: keys, rotated; K divides N, and K < N is grouped-query attention.
    v_BSKH: values.
    positions_BL: where each query stands in its segment.
    kv_positions_BS: where each key stands in its segment.
    segment_ids_BL: which segment each query is of; None = there is only one.
    kv_segment_ids_BS: which segment each key is of; None when the other is.
    window: how many positions back a query sees; None = all.
    block: promises that queries and keys are the same tokens in the same order,
      each segment contiguous, and lets `block` queries at a time skip the keys
      after them (and those before their window): on CPU 1.2 x the speed.
  """
  groups = q_BLNH.shape[2] // k_BSKH.shape[2]
  length = q_BLNH.shape[1]
  # Heads before length makes every product below a batch of plain matrices:
  # 1.5 x as fast on XLA:CPU, where repeating the heads also beats an einsum
  # over groups 1.4 x.
  q_BNLH = jnp.swapaxes(q_BLNH * q_BLNH.shape[3] ** -0.5, 1, 2)
  k_BNSH = jnp.repeat(jnp.swapaxes(k_BSKH, 1, 2), groups, axis=1)
  v_BNSH = jnp.repeat(jnp.swapaxes(v_BSKH, 1, 2), groups, axis=1)

  def rows(start: int, stop: int, first: int, last: int) -> jax.Array:
    """Queries start..stop reading keys first..last."""
    distance_BLS = (
      positions_BL[:, start:stop, None] - kv_positions_BS[:, None, first:last]
    )
    seen_BLS = distance_BLS >= 0
    if window is not None:
      seen_BLS &= distance_BLS < window
    if segment_ids_BL is not None and kv_segment_ids_BS is not None:
      seen_BLS &= (
        segment_ids_BL[:, start:stop, None]
        == kv_segment_ids_BS[:, None, first:last]
      )
    logits_BNLS = jnp.einsum(
      'BNLH,BNSH->BNLS',
      q_BNLH[:, :, start:stop],
      k_BNSH[:, :, first:last],
      preferred_element_type=jnp.float32,
    )
    logits_BNLS = jnp.where(seen_BLS[:, None], logits_BNLS, _HIDDEN)
    # Softmax, with the division left until the values are summed: H numbers a
    # query instead of S, and half the time of the backward pass on CPU.
    most_BNL1 = jnp.max(logits_BNLS, axis=-1, keepdims=True)
    shares_BNLS = jnp.exp(logits_BNLS - jax.lax.stop_gradient(most_BNL1))
    sums_BNL1 = jnp.sum(shares_BNLS, axis=-1, keepdims=True)
    out_BNLH = jnp.einsum(
      'BNLS,BNSH->BNLH',
      shares_BNLS.astype(v_BNSH.dtype),
      v_BNSH[:, :, first:last],
      preferred_element_type=jnp.float32,
    )
    return (out_BNLH / sums_BNL1).astype(v_BNSH.dtype)

  if block is None:
    return jnp.swapaxes(rows(0, length, 0, k_BSKH.shape[1]), 1, 2)
  outs = []
  for start in range(0, length, block):
    stop = min(start + block, length)
    first = 0 if window is None else max(0, start - window + 1)
    outs.append(rows(start, stop, first, stop))
  return jnp.swapaxes(jnp.concatenate(outs, axis=2), 1, 2)


def splash_pairs(
  length: int, window: int | None = None, block: int | None = None
) -> int:
  """Pairs of a query and a key in the blocks of a row that splash computes.

  With 4 blocks of 512 there are 10 to compute of 16.

  >>> splash_pairs(2048, block=512)
  2621440
  """
  block = min(block or SPLASH_BLOCK, length)
  pairs = 0
  for start in range(0, length, block):
    first = 0 if window is None else max(0, start - window + 1) // block
    pairs += (start // block + 1 - first) * block * block
  return pairs


def attend_splash(
  q_BLNH: jax.Array,
  k_BLKH: jax.Array,
  v_BLKH: jax.Array,
  *,
  segment_ids_BL: jax.Array,
  window: int | None = None,
  block: int | None = None,
  interpret: bool = False,
) -> jax.Array:
  """As `attend` of packed rows, by JAX's Pallas kernel for TPU (splash).

  The logits are never in memory, heads that share keys aren't repeated, and
  blocks that no query sees are skipped. On a mesh each device has its rows and
  heads; where rows are cut, it has its queries and all keys. What a query reads
  is named CONTEXT, for remat policies.

  Args:
    q_BLNH: queries, rotated but not scaled.
    k_BLKH: keys of the same tokens, rotated.
    v_BLKH: values.
    segment_ids_BL: which segment each token is of; segments are contiguous.
    window: how many positions back a query sees; None = all.
    block: queries and keys of a block; None = 512, or the length if it is less.
    interpret: compute what the kernel would, on any platform, slowly.

  Raises:
    errors.UserError: the length is no multiple of the block, or the block none
      of 128.
  """
  length, heads = q_BLNH.shape[1:3]
  block = min(block or SPLASH_BLOCK, length)
  if length % block or block % splash.NUM_LANES:
    raise errors.UserError(
      f'attention_block = {block} with rows of {length} tokens: splash '
      f'attention needs a multiple of {splash.NUM_LANES} that divides the rows.'
    )
  mesh = jax.sharding.get_abstract_mesh()
  shards = {
    axis: 1
    if mesh.empty
    else math.prod(mesh.shape[part] for part in partitioning.RULES[axis])
    for axis in ('heads', 'length')
  }
  # Where rows are cut, a device has fewer queries than a row.
  queries_block = min(block, length // shards['length'])
  shape = (length, length)
  if window is None:
    mask: splash_mask.Mask = splash_mask.CausalMask(
      shape, shard_count=shards['length']
    )
  else:
    mask = splash_mask.LocalMask(
      shape, (window - 1, 0), 0, shard_count=shards['length']
    )
  kernel = splash.make_splash_mha(
    splash_mask.MultiHeadMask([mask] * heads),
    head_shards=shards['heads'],
    q_seq_shards=shards['length'],
    block_sizes=splash.BlockSizes(
      block_q=queries_block,
      block_kv=block,
      block_q_dkv=queries_block,
      block_kv_dkv=block,
      block_q_dq=queries_block,
      block_kv_dq=block,
    ),
    residual_checkpoint_name=CONTEXT,
    interpret=interpret,
  )

  def rows(
    kernel: Any,
    q_BNLH: jax.Array,
    k_BKSH: jax.Array,
    v_BKSH: jax.Array,
    q_ids_BL: jax.Array,
    kv_ids_BS: jax.Array,
  ) -> jax.Array:
    return jax.vmap(kernel)(
      q_BNLH, k_BKSH, v_BKSH, splash.SegmentIds(q_ids_BL, kv_ids_BS)
    )

  if not mesh.empty:
    keys = partitioning.spec('batch', 'kv', None, None)
    queries = partitioning.spec('batch', 'heads', 'length', None)
    of_kernel = NamedSharding(mesh, partitioning.spec('heads', 'length'))
    rows = jax.shard_map(
      rows,
      in_specs=(
        kernel.manual_sharding_spec(of_kernel),
        *(queries, keys, keys),
        *(
          partitioning.spec('batch', 'length'),
          partitioning.spec('batch', None),
        ),
      ),
      out_specs=queries,
      check_vma=False,  # a Pallas call can't say on which axes it varies
    )
  out_BNLH = rows(
    kernel,
    jnp.swapaxes(q_BLNH * q_BLNH.shape[3] ** -0.5, 1, 2),
    jnp.swapaxes(k_BLKH, 1, 2),
    jnp.swapaxes(v_BLKH, 1, 2),
    segment_ids_BL,
    segment_ids_BL,
  )
  return jnp.swapaxes(out_BNLH, 1, 2)
