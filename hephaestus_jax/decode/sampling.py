"""Which token comes next: greedy or drawn, among all or among those allowed.

A draw is a function of the request's seed and of how many tokens it has, so
that neither its row nor its neighbours nor when it came changes what is drawn.
Array names end in their axes: B rows, V vocabulary, W words of 32 bits,
T most likely tokens.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

MOST_LIKELY = 20  # as many as the OpenAI API tells


class Settings(NamedTuple):
  """How each row's token is chosen; arrays of one length.

  Attributes:
    temperature_B: 0 is greedy.
    top_p_B: draw from the most likely tokens that have so much together.
    seed_B: of the request, uint32.
    count_B: tokens that the request has.
    constrained_B: whether `allowed_BW` holds for the row.
    allowed_BW: a bit for each token, the lowest first, uint32.
    ranked_B: whether anybody asks for the most likely tokens.
  """

  temperature_B: jax.Array
  top_p_B: jax.Array
  seed_B: jax.Array
  count_B: jax.Array
  constrained_B: jax.Array
  allowed_BW: jax.Array
  ranked_B: jax.Array


class Told(NamedTuple):
  """What the model thought of tokens that it was given; R rows of a prefill."""

  logprob_RL: jax.Array
  ranked_RLT: jax.Array
  ranked_logprob_RLT: jax.Array


class Choice(NamedTuple):
  """The next token of each row, and what the model thought of it.

  Log-probabilities are the model's own: of the whole vocabulary, before
  temperature, top-p or a constraint.
  """

  token_B: jax.Array
  logprob_B: jax.Array
  ranked_BT: jax.Array  # the most likely tokens, where a row asks for them
  ranked_logprob_BT: jax.Array
  prompt: Told | None = None  # where a row asks what was thought of its prompt


def tell(logits_RLV: jax.Array, targets_RL: jax.Array) -> Told:
  """What the model thought of the tokens that came, and of the likeliest."""
  logprob_RLV = jax.nn.log_softmax(logits_RLV, axis=-1)
  logprob_RL1 = jnp.take_along_axis(logprob_RLV, targets_RL[..., None], axis=-1)
  top = min(MOST_LIKELY, logits_RLV.shape[-1])
  ranked_logprob_RLT, ranked_RLT = jax.lax.top_k(logprob_RLV, top)
  return Told(logprob_RL1[..., 0], ranked_RLT, ranked_logprob_RLT)


def choose(logits_BV: jax.Array, settings: Settings) -> Choice:
  """The next token of each row."""
  logprob_BV = jax.nn.log_softmax(logits_BV, axis=-1)
  allowed_BV = jax.lax.cond(
    jnp.any(settings.constrained_B),
    lambda logits: jnp.where(_permitted(settings, logits), logits, -jnp.inf),
    lambda logits: logits,
    logits_BV,
  )
  token_B = jax.lax.cond(
    jnp.any(settings.temperature_B > 0),
    lambda logits: _draw(logits, settings),
    lambda logits: jnp.argmax(logits, axis=-1).astype(jnp.int32),
    allowed_BV,
  )
  top = min(MOST_LIKELY, logits_BV.shape[1])
  ranked_logprob_BT, ranked_BT = jax.lax.cond(
    jnp.any(settings.ranked_B),
    lambda logprobs: tuple(jax.lax.top_k(logprobs, top)),
    lambda logprobs: (
      jnp.zeros((logprobs.shape[0], top), logprobs.dtype),
      jnp.zeros((logprobs.shape[0], top), jnp.int32),
    ),
    logprob_BV,
  )
  logprob_B1 = jnp.take_along_axis(logprob_BV, token_B[:, None], axis=1)
  return Choice(token_B, logprob_B1[:, 0], ranked_BT, ranked_logprob_BT)


def _permitted(settings: Settings, logits_BV: jax.Array) -> jax.Array:
  """Which tokens each row may have."""
  bits_BW32 = (
    settings.allowed_BW[:, :, None]
    >> jnp.arange(32, dtype=jnp.uint32)[None, None]
  ) & 1
  bits_BV = bits_BW32.reshape(len(logits_BV), -1)[:, : logits_BV.shape[1]]
  return (bits_BV == 1) | ~settings.constrained_B[:, None]


def _draw(logits_BV: jax.Array, settings: Settings) -> jax.Array:
  """Tokens drawn where there is a temperature; elsewhere the most likely."""
  warm_B = settings.temperature_B > 0
  heat_B1 = jnp.where(warm_B, settings.temperature_B, 1.0)[:, None]
  scaled_BV = jax.lax.cond(
    jnp.any(settings.top_p_B < 1),
    lambda scaled: _nucleus(scaled, settings.top_p_B),
    lambda scaled: scaled,
    logits_BV / heat_B1,
  )

  def noise(seed: jax.Array, count: jax.Array) -> jax.Array:
    key = jax.random.fold_in(jax.random.key(seed), count)
    return jax.random.gumbel(key, logits_BV.shape[1:])

  noise_BV = jax.vmap(noise)(settings.seed_B, settings.count_B)
  noise_BV = jnp.where(warm_B[:, None], noise_BV, 0.0)
  return jnp.argmax(scaled_BV + noise_BV, axis=-1).astype(jnp.int32)


def _nucleus(scaled_BV: jax.Array, top_p_B: jax.Array) -> jax.Array:
  """Logits with -inf where more likely tokens have `top_p_B` already."""
  share_BV = jax.nn.softmax(scaled_BV, axis=-1)
  sorted_BV = -jnp.sort(-share_BV, axis=-1)
  before_BV = jnp.cumsum(sorted_BV, axis=-1) - sorted_BV
  # The most likely token always stays: nothing is before it.
  kept_BV = (before_BV < top_p_B[:, None]).at[:, 0].set(True)
  least_B1 = jnp.min(
    jnp.where(kept_BV, sorted_BV, jnp.inf), axis=-1, keepdims=True
  )
  return jnp.where(share_BV >= least_B1, scaled_BV, -jnp.inf)
