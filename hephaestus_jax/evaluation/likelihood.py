"""How likely a model thinks given continuations of given prompts.

Rows are padded to powers of two and sorted by length, so that few programs
serve all of them. Shape letters: see model.py and losses.py.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from hephaestus_jax import errors, model, partitioning

# Tokens of the shortest row, and of the part whose logits are there at once:
# what splash attention can cut at least.
SHORTEST = 128


class Score(NamedTuple):
  """What a model thinks of one continuation.

  Attributes:
    nll: its negative log likelihood after its prompt, in nats.
    greedy: whether each of its tokens is the likeliest.
  """

  nll: float
  greedy: bool


def score(
  config: model.Config,
  params: dict[str, Any],
  pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
  *,
  batch_size: int,
  vocab_size: int | None = None,
  description: str | None = None,
) -> list[Score]:
  """Scores continuations; works under `jax.set_mesh` as well.

  Args:
    pairs: token ids of a prompt and of its continuation. Without a prompt the
      first token of the continuation is what the others follow, and free.
    batch_size: rows at once; rounded up to what the devices can share.
    vocab_size: tokens that the vocabulary has, where the model's matrices are
      padded to more; None: as many as they hold.
    description: what the progress bar says; None: there is none.

  Returns:
    A score for each pair, in their order.

  Raises:
    errors.UserError: a token is beyond the model's vocabulary.
  """
  joined = [[*prompt, *continuation] for prompt, continuation in pairs]
  highest = max((max(row, default=0) for row in joined), default=0)
  if highest >= config.vocab_size:
    raise errors.UserError(
      f'A text has token {highest}, and model.Config.vocab_size = '
      f'{config.vocab_size}. Name the tokenizer of its training.'
    )
  order = sorted(range(len(pairs)), key=lambda i: -len(joined[i]))
  scores = [Score(0.0, True)] * len(pairs)
  size = partitioning.whole_batch(batch_size)
  starts: Iterable[int] = range(0, len(order), size)
  for first in tqdm.tqdm(starts, desc=description, disable=description is None):
    chosen = order[first : first + size]
    # A last token is only predicted: rows end before it.
    length = row_length(len(joined[chosen[0]]) - 1)
    tokens_BL, target_BL = np.zeros((2, size, length), np.int32)
    start_B, end_B = np.zeros((2, size), np.int32)
    for row, i in enumerate(chosen):
      read, predicted = joined[i][:-1], joined[i][1:]
      tokens_BL[row, : len(read)] = read
      target_BL[row, : len(predicted)] = predicted
      start_B[row] = max(0, len(pairs[i][0]) - 1)
      end_B[row] = len(predicted)
    nll_B, greedy_B = map(
      np.asarray,
      _score(
        config,
        params,
        tokens_BL,
        target_BL,
        start_B,
        end_B,
        vocab_size=vocab_size or config.vocab_size,
      ),
    )
    for row, i in enumerate(chosen):
      scores[i] = Score(float(nll_B[row]), bool(greedy_B[row]))
  return scores


def row_length(tokens: int) -> int:
  """What rows of so many tokens at most are padded to.

  >>> [row_length(tokens) for tokens in (0, 129, 256)]
  [128, 256, 256]
  """
  return max(SHORTEST, 1 << max(0, tokens - 1).bit_length())


@functools.partial(jax.jit, static_argnames=('config', 'vocab_size'))
def _score(
  config: model.Config,
  params: dict[str, Any],
  tokens_BL: jax.Array,
  target_BL: jax.Array,
  start_B: jax.Array,
  end_B: jax.Array,
  *,
  vocab_size: int,
) -> tuple[jax.Array, jax.Array]:
  """nll_B and greedy_B of the targets from `start_B` to `end_B`."""
  place_BL = jnp.broadcast_to(jnp.arange(tokens_BL.shape[1]), tokens_BL.shape)
  hidden_BLD = model.forward(
    config,
    params,
    tokens_BL,
    (place_BL < end_B[:, None]).astype(jnp.int32),
    place_BL,
  )
  scored_BL = (place_BL >= start_B[:, None]) & (place_BL < end_B[:, None])

  def of_part(part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """nll_BP and greedy_BP of P places: no more than their logits are there."""
    hidden_BPD, target_BP = part
    logits_BPV = model.unembed(config, params, hidden_BPD)[..., :vocab_size]
    logprob_BPV = jax.nn.log_softmax(logits_BPV)
    nll_BP = -jnp.take_along_axis(logprob_BPV, target_BP[..., None], axis=-1)
    return nll_BP[..., 0], jnp.argmax(logits_BPV, axis=-1) == target_BP

  parts = tokens_BL.shape[1] // SHORTEST
  nll_CBP, greedy_CBP = jax.lax.map(
    of_part, (_cut(hidden_BLD, parts), _cut(target_BL, parts))
  )
  nll_B = jnp.sum(nll_CBP * _cut(scored_BL, parts), axis=(0, 2))
  greedy_B = jnp.all(greedy_CBP | ~_cut(scored_BL, parts), axis=(0, 2))
  # Every process reads them.
  return partitioning.constrain(nll_B, None), partitioning.constrain(
    greedy_B, None
  )


def _cut(x: jax.Array, parts: int) -> jax.Array:
  """[B, L, ...] -> [parts, B, L / parts, ...]."""
  x = x.reshape(x.shape[0], parts, -1, *x.shape[2:])
  return jnp.moveaxis(x, 1, 0)
