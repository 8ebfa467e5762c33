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
# Keys of a cache that are read together.
CACHE_BLOCK = 256
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
    q_BLNH: queries, rotated and divided by the root of H.
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
  q_BNLH = jnp.swapaxes(q_BLNH, 1, 2)
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


def attend_cache(
  q_BLNH: jax.Array,
  keys: jax.Array,
  values: jax.Array,
  *,
  positions_BL: jax.Array,
  rows_B: jax.Array | None = None,
  window: int | None = None,
) -> jax.Array:
  """What each query reads of a cache, `out_BLNH`, with the softmax in float32.

  A query sees what `attend` says; the key in slot s stands at position s. Only
  the blocks of keys between the first and the last that a query sees are read,
  however long the cache is, by one program.

  Args:
    q_BLNH: queries, rotated and divided by the root of H.
    keys: rotated, [rows, K, S, H]; K divides N.
    values: [rows, K, S, H].
    positions_BL: where each query stands; -1 reads nothing that matters.
    rows_B: the row of the cache that each sequence reads; None: its own.
    window: how many positions back a query sees; None = all.
  """
  batch, length, heads, size = q_BLNH.shape
  kv_heads, slots = keys.shape[1:3]
  block = math.gcd(CACHE_BLOCK, slots)
  shape = (batch, length, kv_heads, heads // kv_heads, size)
  q_BKGLH = jnp.einsum('BLKGH->BKGLH', q_BLNH.reshape(shape))
  # A group's queries are rows of one matrix: each key is read once, as it lies
  # in the cache, and is not repeated for the heads of its group.
  q_BKMH = q_BKGLH.reshape(batch, kv_heads, -1, size)

  def part(stored: jax.Array, first: jax.Array) -> jax.Array:
    """The block of keys or values that begins in slot `first`."""
    if rows_B is None:
      return jax.lax.dynamic_slice_in_dim(stored, first, block, axis=2)
    sizes = (1, kv_heads, block, size)
    return jax.vmap(
      lambda row: jax.lax.dynamic_slice(stored, (row, 0, first, 0), sizes)[0]
    )(rows_B)

  def add(i: jax.Array, state: Any) -> Any:
    """The softmax so far (its maximum, sums and values), and one block more."""
    most_BKM1, sums_BKM1, out_BKMH = state
    first = i * block
    logits_BKMS = jnp.einsum(
      'BKMH,BKSH->BKMS',
      q_BKMH,
      part(keys, first),
      preferred_element_type=jnp.float32,
    )
    places_11S = first + jnp.arange(block)[None, None]
    distance_BLS = positions_BL[:, :, None] - places_11S
    seen_BLS = distance_BLS >= 0
    if window is not None:
      seen_BLS &= distance_BLS < window
    seen_BKGLS = jnp.broadcast_to(
      seen_BLS[:, None, None], (*q_BKGLH.shape[:4], block)
    )
    seen_BKMS = seen_BKGLS.reshape(logits_BKMS.shape)
    logits_BKMS = jnp.where(seen_BKMS, logits_BKMS, _HIDDEN)
    more_BKM1 = jnp.maximum(
      most_BKM1, jnp.max(logits_BKMS, axis=-1, keepdims=True)
    )
    kept_BKM1 = jnp.exp(most_BKM1 - more_BKM1)
    # A block of which a query sees nothing adds nothing, whatever its maximum.
    shares_BKMS = jnp.where(seen_BKMS, jnp.exp(logits_BKMS - more_BKM1), 0.0)
    read_BKMH = jnp.einsum(
      'BKMS,BKSH->BKMH',
      shares_BKMS.astype(values.dtype),
      part(values, first),
      preferred_element_type=jnp.float32,
    )
    return (
      more_BKM1,
      sums_BKM1 * kept_BKM1 + jnp.sum(shares_BKMS, axis=-1, keepdims=True),
      out_BKMH * kept_BKM1 + read_BKMH,
    )

  first = jnp.zeros((), jnp.int32)
  if window is not None:
    alone_BL = jnp.where(positions_BL < 0, slots, positions_BL)
    first = jnp.maximum(jnp.min(alone_BL) - window + 1, 0) // block
  last = (jnp.max(positions_BL) + block) // block
  sums_BKM1 = jnp.zeros((*q_BKMH.shape[:3], 1), jnp.float32)
  state = (
    jnp.full_like(sums_BKM1, _HIDDEN),
    sums_BKM1,
    jnp.zeros(q_BKMH.shape, jnp.float32),
  )
  _, sums_BKM1, out_BKMH = jax.lax.fori_loop(
    first.astype(jnp.int32), last.astype(jnp.int32), add, state
  )
  out_BKMH = out_BKMH / jnp.where(sums_BKM1 > 0, sums_BKM1, 1.0)
  out_BLKGH = jnp.einsum('BKGLH->BLKGH', out_BKMH.reshape(q_BKGLH.shape))
  return out_BLKGH.reshape(q_BLNH.shape).astype(values.dtype)


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
    q_BLNH: queries, rotated and divided by the root of H.
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
    jnp.swapaxes(q_BLNH, 1, 2),
    jnp.swapaxes(k_BLKH, 1, 2),
    jnp.swapaxes(v_BLKH, 1, 2),
    segment_ids_BL,
    segment_ids_BL,
  )
  return jnp.swapaxes(out_BNLH, 1, 2)
