"""The compiled programs of decoding, over a fixed number of rows.

`prefill` reads a piece of some prompts, `decode` one token of every row. Both
end in the choice of the next token. `copy_row` gives a row what another holds.
The cache is donated: it is written where
it lies. Array names: see model.py and sampling.py; R rows of a prefill.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from hephaestus_jax import model, partitioning
from hephaestus_jax.decode import sampling

Cache = tuple[model.LayerCache, ...]
# Tokens of a prompt whose logits are there at once, where they are told of.
TOLD = 32


@functools.partial(
  jax.jit,
  static_argnames=('config', 'vocab_size'),
  donate_argnames='cache',
)
def prefill(
  config: model.Config,
  weights: dict[str, Any],
  cache: Cache,
  tokens_RL: jax.Array,
  positions_RL: jax.Array,
  rows_R: jax.Array,
  targets_RL: jax.Array | None,
  settings: sampling.Settings,
  *,
  vocab_size: int,
) -> tuple[sampling.Choice, Cache]:
  """Reads a piece of each prompt; what follows its last token is chosen.

  Args:
    positions_RL: -1 is padding, on the right.
    rows_R: of the cache; a row that isn't there is padding as a whole.
    targets_RL: what follows each token, to be told of in `Choice.prompt`; None:
      nobody asks.
    vocab_size: tokens that may be chosen.
  """
  hidden_RLD, cache = model.forward_cached(
    config, weights, tokens_RL, positions_RL, cache, rows_R
  )
  last_R = jnp.maximum(jnp.sum(positions_RL >= 0, axis=1) - 1, 0)
  hidden_R1D = jnp.take_along_axis(hidden_RLD, last_R[:, None, None], axis=1)
  choice = _choose(config, weights, hidden_R1D, settings, vocab_size)
  if targets_RL is not None:
    told = _tell(config, weights, hidden_RLD, targets_RL, vocab_size)
    choice = choice._replace(prompt=_everywhere(told))
  return choice, cache


@functools.partial(
  jax.jit,
  static_argnames=('config', 'vocab_size'),
  donate_argnames='cache',
)
def decode(
  config: model.Config,
  weights: dict[str, Any],
  cache: Cache,
  tokens_B: jax.Array,
  positions_B: jax.Array,
  settings: sampling.Settings,
  *,
  vocab_size: int,
) -> tuple[sampling.Choice, Cache]:
  """Reads one token of each row, and chooses the one after it.

  Args:
    positions_B: -1 where a row has nothing to read.
    vocab_size: tokens that may be chosen.
  """
  hidden_B1D, cache = model.forward_cached(
    config, weights, tokens_B[:, None], positions_B[:, None], cache
  )
  return _choose(config, weights, hidden_B1D, settings, vocab_size), cache


@functools.partial(jax.jit, donate_argnames='cache')
def copy_row(cache: Cache, source: int, target: int) -> Cache:
  """The cache with the keys and values of one row in another as well."""

  def copied(stored: jax.Array) -> jax.Array:
    # Of one row by its number in an array: over devices that share the rows
    # this moves that row, where a plain index would gather all of them.
    row = jnp.take(stored, jnp.asarray([source]), axis=0)
    return partitioning.constrain(
      stored.at[jnp.asarray([target])].set(row), 'batch', 'kv', None, None
    )

  return jax.tree.map(copied, cache)


def _choose(
  config: model.Config,
  weights: dict[str, Any],
  hidden_B1D: jax.Array,
  settings: sampling.Settings,
  vocab_size: int,
) -> sampling.Choice:
  logits_B1V = model.unembed(config, weights, hidden_B1D)
  return _everywhere(sampling.choose(logits_B1V[:, 0, :vocab_size], settings))


def _tell(
  config: model.Config,
  weights: dict[str, Any],
  hidden_RLD: jax.Array,
  targets_RL: jax.Array,
  vocab_size: int,
) -> sampling.Told:
  """What is thought of a piece of each prompt, some of its tokens at a time."""
  parts = max(1, targets_RL.shape[1] // TOLD)

  def cut(x: jax.Array) -> jax.Array:
    """[R, L, ...] -> [parts, R, L / parts, ...]."""
    return jnp.moveaxis(x.reshape(x.shape[0], parts, -1, *x.shape[2:]), 1, 0)

  def of_part(part: tuple[jax.Array, jax.Array]) -> sampling.Told:
    logits_RPV = model.unembed(config, weights, part[0])[..., :vocab_size]
    return sampling.tell(logits_RPV, part[1])

  told = jax.lax.map(of_part, (cut(hidden_RLD), cut(targets_RL)))
  return jax.tree.map(
    lambda x: jnp.moveaxis(x, 0, 1).reshape(*targets_RL.shape, *x.shape[3:]),
    told,
  )


def _everywhere(tree: Any) -> Any:
  """On every device: every process reads it."""
  return jax.tree.map(
    lambda x: partitioning.constrain(x, *[None] * x.ndim), tree
  )
