"""The next-token loss, as sums that microbatches and hosts can add up.

The loss of a step is `sums.total(z_loss) / sums.weight` over the whole global
batch. Shape letters: see model.py; also R roles and S sources.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from hephaestus_jax import errors


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LossSums:
  """Sums over the predicted tokens; add two with `jax.tree.map(jnp.add, ...)`.

  Attributes:
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

  nll: jax.Array
  weight: jax.Array
  z: jax.Array
  nll_B: jax.Array
  weight_B: jax.Array
  nll_S: jax.Array
  weight_S: jax.Array
  nll_R: jax.Array
  tokens_R: jax.Array

  def total(self, z_loss: float = 0.0) -> jax.Array:
    """What is minimised, before the division by the global weight."""
    return self.nll + z_loss * self.z


def target_weights(
  segment_ids_BL: jax.Array, roles_BL: jax.Array, role_weights_R: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Of each position's target: is there one, its role, its weight.

  The target of a position is the next token of its segment.

  With segments [1, 1, 2, 2, 0], roles [3, 5, 3, 5, 0] and weight 1 for role 5
  alone, there are targets at [1, 0, 1, 0, 0], with roles [5, 3, 5, 0, 3] and
  weights [1, 0, 1, 0, 0].
  """
  same_BL = segment_ids_BL == jnp.roll(segment_ids_BL, -1, axis=1)
  last_BL = jnp.arange(segment_ids_BL.shape[1])[None] + 1 == same_BL.shape[1]
  valid_BL = (same_BL & (segment_ids_BL != 0) & ~last_BL).astype(jnp.float32)
  roles_BL = jnp.roll(roles_BL, -1, axis=1)
  return valid_BL, roles_BL, valid_BL * role_weights_R[roles_BL]


def token_losses(
  unembed: Callable[[jax.Array], jax.Array],
  hidden_BLD: jax.Array,
  targets_BL: jax.Array,
  num_chunks: int = 1,
) -> tuple[jax.Array, jax.Array]:
  """The nll of each target and the log of the softmax's denominator.

  Args:
    unembed: hidden states -> float32 logits, as `model.unembed`.
    hidden_BLD: hidden states after the final norm.
    targets_BL: the token to predict at each position.
    num_chunks: parts that the length is cut into, so that the logits of one
      part only are in memory; the backward pass computes them again.

  Raises:
    errors.UserError: the length is no multiple of `num_chunks`.
  """

  def part(
    hidden_BLD: jax.Array, targets_BL: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    logits_BLV = unembed(hidden_BLD)
    log_z_BL = jax.nn.logsumexp(logits_BLV, axis=-1)
    logit_BL = jnp.take_along_axis(logits_BLV, targets_BL[..., None], axis=-1)
    return log_z_BL - logit_BL[..., 0], log_z_BL

  if num_chunks == 1:
    return part(hidden_BLD, targets_BL)
  batch, length = targets_BL.shape
  if length % num_chunks:
    raise errors.UserError(
      f'num_chunks = {num_chunks} does not divide the rows of {length} tokens.'
    )

  def cut(x: jax.Array) -> jax.Array:
    shape = (batch, num_chunks, length // num_chunks, *x.shape[2:])
    return jnp.moveaxis(x.reshape(shape), 1, 0)

  nll_CBL, log_z_CBL = jax.lax.map(
    lambda args: jax.checkpoint(part)(*args), (cut(hidden_BLD), cut(targets_BL))
  )
  return (
    jnp.moveaxis(nll_CBL, 0, 1).reshape(batch, length),
    jnp.moveaxis(log_z_CBL, 0, 1).reshape(batch, length),
  )


def next_token_loss(
  unembed: Callable[[jax.Array], jax.Array],
  hidden_BLD: jax.Array,
  *,
  tokens_BL: jax.Array,
  segment_ids_BL: jax.Array,
  roles_BL: jax.Array,
  source_B: jax.Array,
  role_weights_R: jax.Array,
  num_sources: int,
  num_chunks: int = 1,
) -> LossSums:
  """The sums that make the loss of these rows.

  Args:
    unembed: hidden states -> float32 logits, as `model.unembed`.
    hidden_BLD: what `model.forward` made of `tokens_BL`.
    tokens_BL: the rows.
    segment_ids_BL: 1.. per document of a row, 0 = padding.
    roles_BL: the role of each token.
    source_B: the source of each row, below `num_sources`.
    role_weights_R: the weight of predicting a token, by its role.
    num_sources: how many sources there are.
    num_chunks: see `token_losses`.
  """
  valid_BL, roles_BL, weight_BL = target_weights(
    segment_ids_BL, roles_BL, role_weights_R
  )
  targets_BL = jnp.roll(tokens_BL, -1, axis=1)
  nll_BL, log_z_BL = token_losses(unembed, hidden_BLD, targets_BL, num_chunks)
  nll_B = jnp.sum(weight_BL * nll_BL, axis=1)
  weight_B = jnp.sum(weight_BL, axis=1)
  source_BS = jax.nn.one_hot(source_B, num_sources)
  role_BLR = jax.nn.one_hot(roles_BL, role_weights_R.shape[0])
  return LossSums(
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
