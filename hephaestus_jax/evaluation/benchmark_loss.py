"""Loss on reference answers: a measure that moves long before accuracy does.

It reads cached rows, so it needs no tokenizer and runs inside training too
(paper, figure 5: benchmark loss against training tokens).
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hephaestus_jax import (
  artefacts,
  data,
  errors,
  losses,
  model,
  partitioning,
)
from hephaestus_jax.corpus import document


@dataclasses.dataclass(frozen=True)
class BenchmarkLoss:
  """Negative log likelihood of the reference, given what stands before it.

  Attributes:
    name: what the results are called.
    cache_dir: the cache that holds the task.
    task: its name, such as 'function_calls_v1'.
    split: the split of it that was kept from training.
    role: the role whose tokens are predicted; all others are only read.
    batch_size: rows at once; rounded up to what the devices can share.
    max_rows: how many rows count, spread evenly over all (which are sorted by
      the length of their documents); None: all.
    loss_chunks: see `losses.cross_entropy`.
  """

  name: str
  cache_dir: str
  task: str
  split: str = 'heldout'
  role: str = 'action'
  batch_size: int = 8
  max_rows: int | None = None
  loss_chunks: int = 1

  def __post_init__(self) -> None:
    if self.role not in document.ROLES:
      raise errors.UserError(
        f'benchmark_loss.BenchmarkLoss.role = {self.role!r}; the roles are '
        f'{", ".join(document.ROLES)}.'
      )
    for name in ('batch_size', 'max_rows'):
      value = getattr(self, name)
      if value is not None and value < 1:
        raise errors.UserError(
          f'benchmark_loss.BenchmarkLoss.{name} = {value} is below 1.'
        )

  def identity(self) -> dict[str, Any]:
    """What the result depends on besides the model: the rows, and how many."""
    rows = self._rows()
    return {
      'rows': artefacts.fingerprint(dict(rows.info)),
      'role': self.role,
      'max_rows': self.max_rows,
      'tokenizer': rows.tokenizer_fingerprint,
    }

  def __call__(
    self, config: model.Config, params: dict[str, Any]
  ) -> dict[str, float]:
    """Measures one model; works under `jax.set_mesh` as well.

    Returns:
      nll_per_token and nll_per_character, in nats; tokens, characters and
      examples: how many of each there were. Characters are those of the
      rendered text, with its markers.

    Raises:
      errors.UserError: the rows are missing or damaged, hold no token of
        `role`, or one that the model's vocabulary lacks.
    """
    rows = self._rows()
    count = min(len(rows), self.max_rows or len(rows))
    chosen = np.arange(count) * len(rows) // max(count, 1)
    role = document.role_id(self.role)
    weights_R = np.zeros(len(document.ROLES), np.float32)
    weights_R[role] = 1.0
    batch_size = partitioning.whole_batch(self.batch_size)
    nll = tokens = 0.0
    characters = examples = 0
    for start in range(0, count, batch_size):
      rows_B = rows.read(chosen[start : start + batch_size])
      highest = int(rows_B['tokens'].max())
      if highest >= config.vocab_size:
        raise errors.UserError(
          f'{self.task} has token {highest}, and model.Config.vocab_size = '
          f'{config.vocab_size}. Use the model with the vocabulary of the '
          f'cache at {self.cache_dir}.'
        )
      characters += int(rows_B['characters'][:, role].sum())
      examples += num_examples(rows_B['segment_ids'], rows_B['roles'], role)
      # Rows of padding, so that every batch has one shape.
      padding = np.zeros(batch_size - len(rows_B), rows_B.dtype)
      sums = loss_sums(
        config,
        params,
        *_arrays(np.concatenate([rows_B, padding])),
        weights_R,
        self.loss_chunks,
      )
      nll += float(sums.nll)
      tokens += float(sums.weight)
    if not tokens:
      raise errors.UserError(
        f'{self.task} ({self.split}) in {self.cache_dir} has no token of role '
        f'{self.role!r} to predict. Choose another role or task.'
      )
    return {
      'nll_per_token': nll / tokens,
      'nll_per_character': nll / characters,
      'tokens': int(tokens),
      'characters': characters,
      'examples': examples,
    }

  def _rows(self) -> data.Rows:
    return data.Rows(self.cache_dir, self.task, self.split)


def _arrays(rows_B: np.ndarray) -> tuple[np.ndarray, ...]:
  """tokens_BL, segment_ids_BL, positions_BL and roles_BL of stored rows."""
  segment_ids_BL = rows_B['segment_ids'].astype(np.int32)
  return (
    rows_B['tokens'],
    segment_ids_BL,
    data.positions(segment_ids_BL),
    rows_B['roles'].astype(np.int32),
  )


@functools.partial(jax.jit, static_argnames=('config', 'loss_chunks'))
def loss_sums(
  config: model.Config,
  params: dict[str, Any],
  tokens_BL: jax.Array,
  segment_ids_BL: jax.Array,
  positions_BL: jax.Array,
  roles_BL: jax.Array,
  weights_R: jax.Array,
  loss_chunks: int,
) -> losses.LossSums:
  """The sums over the predicted tokens, by the weight of their role."""
  return losses.next_token_loss(
    model.output_matrix(config, params),
    model.forward(config, params, tokens_BL, segment_ids_BL, positions_BL),
    tokens_BL=tokens_BL,
    segment_ids_BL=segment_ids_BL,
    roles_BL=roles_BL,
    source_B=jnp.zeros(len(tokens_BL), jnp.int32),
    role_weights_R=weights_R,
    num_sources=1,
    num_chunks=loss_chunks,
  )


def num_examples(
  segment_ids_BL: np.ndarray, roles_BL: np.ndarray, role: int
) -> int:
  """How many documents have a token of `role`.

  With segments [[1, 1, 2, 3, 0]], roles [[3, 5, 5, 3, 5]] and role 5: 2.
  """
  segment_ids_BL = np.where(roles_BL == role, segment_ids_BL, 0)
  return sum(len(set(ids_L) - {0}) for ids_L in segment_ids_BL.tolist())
