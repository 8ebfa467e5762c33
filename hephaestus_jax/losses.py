"""The next-token loss, as sums that microbatches and hosts can add up.

The loss of a step is `sums.total / sums.weight` over the whole global batch.
Shape letters: see model.py; also R roles, S sources and C chunks.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from hephaestus_jax import errors, partitioning
from hephaestus_jax.corpus import document


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LossSums:
  """Sums over the predicted tokens; add two with `jax.tree.map(jnp.add, ...)`.

  Attributes:
    total: what is minimised, before the division by the global weight:
      nll + z_loss * z. It alone has a gradient; the rest is to be looked at.
    nll: weight x negative log likelihood, in nats.
    weight: the weights.
    z: weight x the squared logarithm of the softmax's denominator.
    nll_B: `nll` of each row. (Rows of other batches are other rows: joining two
      batches concatenates these two.)
    weight_B: `weight` of each row.
    nll_S: `nll` by the source of the row.
    weight_S: `weight` by the source of the row.
    nll_R: by the role of the predicted token, weights left out: what a role
      costs can be watched whether or not it is trained on.
    tokens_R: predicted tokens by role, weights left out.
  """

  total: jax.Array
  nll: jax.Array
  weight: jax.Array
  z: jax.Array
  nll_B: jax.Array
  weight_B: jax.Array
  nll_S: jax.Array
  weight_S: jax.Array
  nll_R: jax.Array
  tokens_R: jax.Array


def target_weights(
  segment_ids_BL: jax.Array, roles_BL: jax.Array, role_weights_R: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Of each position's target: is there one, its role, its weight.

  The target of a position is the next token of its segment, unless that is
  REPEATED (see document.py).

  With segments [1, 1, 2, 2, 0], roles [3, 5, 3, 5, 0] and weight 1 for role 5
  alone, there are targets at [1, 0, 1, 0, 0], with roles [5, 3, 5, 0, 3] and
  weights [1, 0, 1, 0, 0].
  """
  same_BL = segment_ids_BL == jnp.roll(segment_ids_BL, -1, axis=1)
  last_BL = jnp.arange(segment_ids_BL.shape[1])[None] + 1 == same_BL.shape[1]
  roles_BL = jnp.roll(roles_BL, -1, axis=1)
  new_BL = roles_BL < document.REPEATED
  roles_BL = roles_BL % document.REPEATED
  valid_BL = same_BL & (segment_ids_BL != 0) & ~last_BL & new_BL
  valid_BL = valid_BL.astype(jnp.float32)
  return valid_BL, roles_BL, valid_BL * role_weights_R[roles_BL]


def cross_entropy(
  hidden_BLD: jax.Array,
  matrix_DV: jax.Array,
  targets_BL: jax.Array,
  weight_BL: jax.Array,
  *,
  z_loss: float = 0.0,
  num_chunks: int = 1,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """The weighted loss, the nll of each target and the log of its denominator.

  Where the loss is differentiated, its gradients are computed along with it,
  while the logits of a chunk are there: nothing is computed twice, and no more
  than a chunk's logits is ever in memory.

  Args:
    hidden_BLD: hidden states after the final norm.
    matrix_DV: the output matrix.
    targets_BL: the token to predict at each position.
    weight_BL: its weight, float32.
    z_loss: the weight of the squared log of the softmax's denominator.
    num_chunks: parts that the length is cut into.

  Returns:
    sum(weight * (nll + z_loss * log_z ** 2)), which has a gradient, and
    nll_BL and log_z_BL, which have none; all float32.

  Raises:
    errors.UserError: the length is no multiple of `num_chunks`.
  """
  length = targets_BL.shape[1]
  if length % num_chunks:
    raise errors.UserError(
      f'num_chunks = {num_chunks} does not divide the rows of {length} tokens.'
    )
  return _cross_entropy(
    z_loss, num_chunks, hidden_BLD, matrix_DV, targets_BL, weight_BL
  )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _cross_entropy(
  z_loss: float, num_chunks: int, *arrays: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """As `cross_entropy`."""
  hidden_BLD, matrix_DV, targets_BL, weight_BL = arrays

  def losses(
    hidden_BLD: jax.Array, targets_BL: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    logits_BLV = _logits(hidden_BLD, matrix_DV)
    nll_BL, log_z_BL, _, _ = _nll(logits_BLV, targets_BL)
    return nll_BL, log_z_BL

  if num_chunks == 1:
    nll_BL, log_z_BL = losses(hidden_BLD, targets_BL)
  else:
    chunks = (_cut(hidden_BLD, num_chunks), _cut(targets_BL, num_chunks))
    nll_CBL, log_z_CBL = jax.lax.map(lambda chunk: losses(*chunk), chunks)
    nll_BL, log_z_BL = _joined(nll_CBL), _joined(log_z_CBL)
  return _total(z_loss, weight_BL, nll_BL, log_z_BL), nll_BL, log_z_BL


def _with_gradients(
  z_loss: float, num_chunks: int, *arrays: jax.Array
) -> tuple[tuple[jax.Array, jax.Array, jax.Array], tuple[jax.Array, ...]]:
  """What `_cross_entropy` gives, and the gradients of its total."""
  hidden_BLD, matrix_DV, targets_BL, weight_BL = arrays

  def chunk(
    d_matrix_DV: jax.Array, arrays: tuple[jax.Array, ...]
  ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    hidden_BLD, targets_BL, weight_BL = arrays
    logits_BLV = _logits(hidden_BLD, matrix_DV)
    nll_BL, log_z_BL, exp_BLV, sum_BL = _nll(logits_BLV, targets_BL)
    slope_BL = weight_BL * (1 + 2 * z_loss * log_z_BL)
    words_V = jnp.arange(logits_BLV.shape[2])[None, None]
    right_BLV = words_V == targets_BL[..., None]
    # Divided before it is spread over the words: without a division in it the
    # TPU compiler makes this part of both products and never writes it down.
    d_logits_BLV = exp_BLV * (slope_BL / sum_BL)[..., None] - jnp.where(
      right_BLV, weight_BL[..., None], 0.0
    )
    d_logits_BLV = d_logits_BLV.astype(hidden_BLD.dtype)
    d_hidden_BLD = jnp.einsum(
      'BLV,DV->BLD', d_logits_BLV, matrix_DV.astype(hidden_BLD.dtype)
    )
    # Summed where the parameter lies: no device holds a whole float32 matrix.
    d_matrix_DV += partitioning.constrain(
      jnp.einsum(
        'BLD,BLV->DV',
        hidden_BLD,
        d_logits_BLV,
        preferred_element_type=jnp.float32,
      ),
      *('embed', 'vocab'),
    )
    return d_matrix_DV, (nll_BL, log_z_BL, d_hidden_BLD)

  zeros_DV = partitioning.constrain(
    jnp.zeros(matrix_DV.shape, jnp.float32), 'embed', 'vocab'
  )
  by_token = (hidden_BLD, targets_BL, weight_BL)
  if num_chunks == 1:
    d_matrix_DV, found = chunk(zeros_DV, by_token)
  else:
    cut = tuple(_cut(array, num_chunks) for array in by_token)
    d_matrix_DV, chunks = jax.lax.scan(chunk, zeros_DV, cut)
    found = tuple(_joined(array) for array in chunks)
  nll_BL, log_z_BL, d_hidden_BLD = found
  total = _total(z_loss, weight_BL, nll_BL, log_z_BL)
  gradients = (d_hidden_BLD, d_matrix_DV.astype(matrix_DV.dtype))
  return (total, nll_BL, log_z_BL), gradients


def _scaled(
  z_loss: float,
  num_chunks: int,
  gradients: tuple[jax.Array, ...],
  of_results: tuple[jax.Array, ...],
) -> tuple[Any, ...]:
  """The gradients, times that of the total."""
  del z_loss, num_chunks
  d_hidden_BLD, d_matrix_DV = gradients
  scale = of_results[0]
  return (
    (d_hidden_BLD * scale).astype(d_hidden_BLD.dtype),
    (d_matrix_DV * scale).astype(d_matrix_DV.dtype),
    *(None, None),
  )


_cross_entropy.defvjp(_with_gradients, _scaled)


def _logits(hidden_BLD: jax.Array, matrix_DV: jax.Array) -> jax.Array:
  return jnp.einsum(
    'BLD,DV->BLV',
    hidden_BLD,
    matrix_DV.astype(hidden_BLD.dtype),
    preferred_element_type=jnp.float32,
  )


def _nll(
  logits_BLV: jax.Array, targets_BL: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
  """The nll of each target, the log of its denominator, and the softmax.

  The last in two parts: exponentials and what to divide them by.
  """
  most_BL = jnp.max(logits_BLV, axis=-1)
  exp_BLV = jnp.exp(logits_BLV - most_BL[..., None])
  sum_BL = jnp.sum(exp_BLV, axis=-1)
  log_z_BL = most_BL + jnp.log(sum_BL)
  logit_BL1 = jnp.take_along_axis(logits_BLV, targets_BL[..., None], axis=-1)
  return log_z_BL - logit_BL1[..., 0], log_z_BL, exp_BLV, sum_BL


def _total(
  z_loss: float, weight_BL: jax.Array, nll_BL: jax.Array, log_z_BL: jax.Array
) -> jax.Array:
  return jnp.sum(weight_BL * (nll_BL + z_loss * jnp.square(log_z_BL)))


def _cut(x: jax.Array, parts: int) -> jax.Array:
  """[B, L, ...] -> [parts, B, L / parts, ...], each token where it is."""
  # Every parts-th token, and not neighbours: where rows are cut over devices,
  # those are on one.
  x = x.reshape(x.shape[0], -1, parts, *x.shape[2:])
  x = jnp.moveaxis(x, 2, 0)
  rest = (None,) * (x.ndim - 3)
  return partitioning.constrain(x, None, 'batch', 'length', *rest)


def _joined(x: jax.Array) -> jax.Array:
  """The inverse of `_cut`."""
  x = jnp.moveaxis(x, 0, 2)
  x = x.reshape(x.shape[0], -1, *x.shape[3:])
  return partitioning.constrain(x, 'batch', 'length', *(None,) * (x.ndim - 2))


def next_token_loss(
  matrix_DV: jax.Array,
  hidden_BLD: jax.Array,
  *,
  tokens_BL: jax.Array,
  segment_ids_BL: jax.Array,
  roles_BL: jax.Array,
  source_B: jax.Array,
  role_weights_R: jax.Array,
  num_sources: int,
  source_weights_S: jax.Array | None = None,
  z_loss: float = 0.0,
  num_chunks: int = 1,
) -> LossSums:
  """The sums that make the loss of these rows.

  Args:
    matrix_DV: the output matrix, as `model.output_matrix` gives it.
    hidden_BLD: what `model.forward` made of `tokens_BL`.
    tokens_BL: the rows.
    segment_ids_BL: 1.. per document of a row, 0 = padding.
    roles_BL: the role of each token.
    source_B: the source of each row, below `num_sources`.
    role_weights_R: the weight of predicting a token, by its role.
    num_sources: how many sources there are.
    source_weights_S: what the weight of a token is multiplied by, by the source
      of its row; None: by 1.
    z_loss: see `cross_entropy`.
    num_chunks: see `cross_entropy`.
  """
  valid_BL, roles_BL, weight_BL = target_weights(
    segment_ids_BL, roles_BL, role_weights_R
  )
  if source_weights_S is not None:
    weight_BL *= source_weights_S[source_B][:, None]
  targets_BL = jnp.roll(tokens_BL, -1, axis=1)
  total, nll_BL, log_z_BL = cross_entropy(
    hidden_BLD,
    matrix_DV,
    targets_BL,
    weight_BL,
    z_loss=z_loss,
    num_chunks=num_chunks,
  )
  nll_B = jnp.sum(weight_BL * nll_BL, axis=1)
  weight_B = jnp.sum(weight_BL, axis=1)
  source_BS = jax.nn.one_hot(source_B, num_sources)
  role_BLR = jax.nn.one_hot(roles_BL, role_weights_R.shape[0])
  return LossSums(
    total=total,
    nll=jnp.sum(nll_B),
    weight=jnp.sum(weight_B),
    z=jnp.sum(weight_BL * jnp.square(log_z_BL)),
    nll_B=nll_B,
    weight_B=weight_B,
    nll_S=jnp.einsum('B,BS->S', nll_B, source_BS),
    weight_S=jnp.einsum('B,BS->S', weight_B, source_BS),
    nll_R=jnp.einsum('BL,BLR->R', valid_BL * nll_BL, role_BLR),
    tokens_R=jnp.einsum('BL,BLR->R', valid_BL, role_BLR),
  )
