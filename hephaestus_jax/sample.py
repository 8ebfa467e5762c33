"""Greedy continuations of many prompts, with a key-value cache.

Prompts are sorted by length and run in batches; a batch is padded on the right
to the next power of two, so that a few compiled programs serve all lengths.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from hephaestus_jax import errors, model, partitioning

SHORTEST = 64  # tokens; shorter prompts share one program


@dataclasses.dataclass(frozen=True)
class Completion:
  """What followed a prompt.

  Attributes:
    tokens: without the stop token.
    finish: 'stop'; 'length' where max_new_tokens came first;
      'prompt_too_long' where nothing was generated.
  """

  tokens: tuple[int, ...]
  finish: str


def generate(
  config: model.Config,
  params: dict[str, Any],
  prompts: Sequence[Sequence[int]],
  *,
  max_new_tokens: int,
  stop_ids: Sequence[int],
  batch_size: int,
  max_prompt_tokens: int,
  vocab_size: int | None = None,
  description: str = 'sample',
) -> list[Completion]:
  """The most likely next token, over and over, for each prompt.

  Works under `jax.set_mesh` as well, on any number of processes: each of them
  is given all prompts and gets all completions.

  Args:
    prompts: token ids. One that is longer than `max_prompt_tokens` is not cut,
      since what would go is what the request stands on: it comes back with
      `finish` 'prompt_too_long'.
    stop_ids: tokens that end a completion.
    vocab_size: tokens that the vocabulary has, where the model's matrices are
      padded to more; None: as many as they hold.
    description: what the progress bar says.

  Returns:
    A completion for each prompt, in the order of the prompts.

  Raises:
    errors.UserError: a size is below 1.
    ValueError: a prompt is empty.
  """
  for name, size in (
    ('max_new_tokens', max_new_tokens),
    ('batch_size', batch_size),
    ('max_prompt_tokens', max_prompt_tokens),
  ):
    if size < 1:
      raise errors.UserError(f'{name} = {size}; it must be 1 or more.')
  completions = [Completion((), 'prompt_too_long')] * len(prompts)
  order = sorted(
    (i for i, prompt in enumerate(prompts) if len(prompt) <= max_prompt_tokens),
    key=lambda i: (len(prompts[i]), i),
  )
  batch_size = whole_batch(batch_size)
  stop_ids_S = np.array(sorted(set(stop_ids)), np.int32)
  with tqdm.tqdm(total=len(order), desc=description, unit='prompt') as bar:
    for start in range(0, len(order), batch_size):
      chosen = order[start : start + batch_size]
      tokens_BL, lengths_B = pad([prompts[i] for i in chosen], batch_size)
      out_BT = np.asarray(
        _continue(
          config,
          params,
          tokens_BL,
          lengths_B,
          stop_ids_S,
          rows=len(chosen),
          max_new_tokens=max_new_tokens,
          vocab_size=vocab_size or config.vocab_size,
        )
      )
      for i, out_T in zip(chosen, out_BT[: len(chosen)], strict=True):
        tokens = out_T[out_T >= 0].tolist()
        stopped = bool(tokens) and tokens[-1] in stop_ids_S
        completions[i] = Completion(
          tuple(tokens[:-1] if stopped else tokens),
          'stop' if stopped else 'length',
        )
      bar.update(len(chosen))
  return completions


def whole_batch(batch_size: int) -> int:
  """The next batch size that the current mesh can cut into equal parts."""
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return batch_size
  parts = math.prod(mesh.shape[axis] for axis in partitioning.RULES['batch'])
  return -(-batch_size // parts) * parts


def pad(
  prompts: Sequence[Sequence[int]], batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
  """Prompts as one array, whose length is a power of two, and their lengths.

  Rows that are missing to a full batch hold one token.

  >>> SHORTEST = 4
  >>> pad([[5, 6, 7], [8]], 3)
  ([[5, 6, 7, 0], [8, 0, 0, 0], [0, 0, 0, 0]], [3, 1, 1])
  """
  longest = max(len(prompt) for prompt in prompts)
  if not all(len(prompt) for prompt in prompts):
    raise ValueError('A prompt is empty: there is nothing to continue.')
  length = max(SHORTEST, 1 << (longest - 1).bit_length())
  tokens_BL = np.zeros((batch_size, length), np.int32)
  lengths_B = np.ones(batch_size, np.int32)
  for row, prompt in enumerate(prompts):
    tokens_BL[row, : len(prompt)] = prompt
    lengths_B[row] = len(prompt)
  return tokens_BL, lengths_B


@functools.partial(
  jax.jit, static_argnames=('config', 'max_new_tokens', 'vocab_size')
)
def _continue(
  config: model.Config,
  params: dict[str, Any],
  tokens_BL: jax.Array,
  lengths_B: jax.Array,
  stop_ids_S: jax.Array,
  *,
  rows: int,
  max_new_tokens: int,
  vocab_size: int,
) -> jax.Array:
  """`out_BT`: T = max_new_tokens new tokens, -1 after a row's stop token.

  It ends when the first `rows` rows have stopped; the others are padding.
  """
  batch, length = tokens_BL.shape
  places_BL = jnp.broadcast_to(jnp.arange(length)[None], (batch, length))
  lengths_B1 = lengths_B[:, None]

  def most_likely(hidden_B1D: jax.Array) -> jax.Array:
    logits_B1V = model.unembed(config, params, hidden_B1D)[..., :vocab_size]
    return jnp.argmax(logits_B1V, axis=-1).astype(jnp.int32)

  # 1. Prefill: all prompts at once; the last token of each predicts the next.
  hidden_BLD, cache = model.forward_cached(
    config,
    params,
    tokens_BL,
    jnp.where(places_BL < lengths_B1, places_BL, -1),
    model.init_cache(config, batch, length + max_new_tokens),
  )
  last_B11 = (lengths_B1 - 1)[..., None]
  next_B1 = most_likely(jnp.take_along_axis(hidden_BLD, last_B11, axis=1))

  # 2. Decode: one token a step, until every row has stopped.
  def unfinished(state: Any) -> jax.Array:
    step, _, done_B1, _, _ = state
    return (step < max_new_tokens) & ~jnp.all(done_B1)

  def decode(state: Any) -> Any:
    step, next_B1, done_B1, out_BT, cache = state
    written_B1 = jnp.where(done_B1, -1, next_B1)
    out_BT = jax.lax.dynamic_update_slice(out_BT, written_B1, (0, step))
    done_B1 = done_B1 | jnp.isin(next_B1, stop_ids_S)
    hidden_B1D, cache = model.forward_cached(
      config, params, next_B1, lengths_B1 + step, cache
    )
    return step + 1, most_likely(hidden_B1D), done_B1, out_BT, cache

  out_BT = jnp.full((batch, max_new_tokens), -1, jnp.int32)
  done_B1 = jnp.arange(batch)[:, None] >= rows
  state = (0, next_B1, done_B1, out_BT, cache)
  out_BT = jax.lax.while_loop(unfinished, decode, state)[3]
  return partitioning.constrain(out_BT, None, None)
