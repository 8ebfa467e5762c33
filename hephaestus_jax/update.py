"""The update: a pure function of a state and a batch, and its place on a mesh.

`train_step` computes it; `lower_step` puts jit, shardings and donation around
it, ready for the compiler. Shape letters: see model.py and losses.py.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hephaestus_jax import errors, losses, partitioning
from hephaestus_jax import model as transformer
from hephaestus_jax.corpus import document

# What norms are told by: the parameters' names, with all scales as one group.
GROUPS = ('embedding', 'attention', 'mlp', 'norm', 'output')


@dataclasses.dataclass(frozen=True)
class Stage:
  """What is trained on, how long, and how.

  Attributes:
    name: the stage's folder in the model's.
    mixture: of the cache.
    steps: updates.
    batch_size: rows of an update, over all devices.
    optimizer: fresh at the start of the stage; its state has a `learning_rate`
      (see `optimizer.descend`).
    role_weights: the weight of predicting a token, by its role; roles that
      are not named weigh nothing. None: every token weighs 1 (the paper's
      stages I and II).
    source_weights: what that is multiplied by, by the source of the token's
      row, a Task of the mixture; 1 for sources that are not named.
    z_loss: the weight of the squared log of the softmax's denominator.
    microbatches: parts that a batch is cut into, one after the other through
      the device's memory. The update is that of the whole batch.
    loss_chunks: see `losses.cross_entropy`.
    axes: sizes of the mesh that are other than the run's in this stage, such as
      {'fsdp': 16, 'sequence': -1} where there are more devices than rows.
    max_gradient_norm: an update whose gradient is larger, before clipping, is
      not taken; None: only what is not finite.
    rates: from which step on, name of a task or mixture -> share of the rows;
      before the first, and for None, those of `mixture`.
    max_epochs: how often a task's rows may come, for all tasks or by name; its
      share then goes to the others.
    max_tokens: name -> how many tokens of it may come.
  """

  name: str
  mixture: str
  steps: int
  batch_size: int
  optimizer: optax.GradientTransformation
  role_weights: Mapping[str, float] | None = None
  source_weights: Mapping[str, float] | None = None
  z_loss: float = 0.0
  microbatches: int = 1
  loss_chunks: int = 1
  max_gradient_norm: float | None = None
  axes: Mapping[str, int] | None = None
  rates: Mapping[int, Mapping[str, float]] | None = None
  max_epochs: float | Mapping[str, float] | None = None
  max_tokens: Mapping[str, float] | None = None

  def __post_init__(self) -> None:
    for name in ('steps', 'batch_size', 'microbatches', 'loss_chunks'):
      if getattr(self, name) < 1:
        raise errors.UserError(
          f'update.Stage.{name} = {getattr(self, name)} of {self.name!r} is '
          'below 1.'
        )
    if self.batch_size % self.microbatches:
      raise errors.UserError(
        f'update.Stage.batch_size = {self.batch_size} of {self.name!r} is no '
        f'multiple of microbatches = {self.microbatches}.'
      )
    if any(step < 0 for step in self.rates or ()):
      raise errors.UserError(
        f'update.Stage.rates of {self.name!r} begin at step '
        f'{min(self.rates or ())}: the first step is 0.'
      )
    unknown = sorted(set(self.role_weights or ()) - set(document.ROLES))
    if unknown:
      raise errors.UserError(
        f'update.Stage.role_weights of {self.name!r} names {unknown[0]!r}; the '
        f'roles are {", ".join(document.ROLES)}.'
      )

  @property
  def weights_R(self) -> tuple[float, ...]:
    """`role_weights` in the order of document.ROLES."""
    if self.role_weights is None:
      return (1.0,) * len(document.ROLES)
    return tuple(self.role_weights.get(role, 0.0) for role in document.ROLES)

  def weights_S(self, sources: Sequence[str]) -> tuple[float, ...]:
    """`source_weights` in the order of a mixture's sources.

    Raises:
      errors.UserError: a weight is given to none of them.
    """
    weights = self.source_weights or {}
    for name in weights:
      if name not in sources:
        raise errors.UserError(
          f'update.Stage.source_weights of {self.name!r} names {name!r}.'
          + errors.nearest(name, sources)
          + f' The sources of {self.mixture!r} are {", ".join(sources)}.'
        )
    return tuple(weights.get(name, 1.0) for name in sources)


class TrainState(NamedTuple):
  """All that a step changes."""

  step: Any  # updates so far, an int32 array (or its shape)
  params: Any
  opt_state: Any


def train_step(
  state: TrainState,
  batch: Mapping[str, jax.Array],
  *,
  config: transformer.Config,
  stage: Stage,
  num_sources: int,
  source_weights: Sequence[float] | None = None,
) -> tuple[TrainState, dict[str, jax.Array]]:
  """One update; or none, where loss, gradient or update is not finite.

  An update that is not taken leaves parameters and optimizer as they are, bit
  for bit, and counts as a step all the same: the next one has other rows.

  Args:
    state: before.
    batch: tokens_BL, segment_ids_BL, positions_BL, roles_BL, source_B.
    config: the network.
    stage: its optimizer and loss.
    num_sources: above every value of source_B.
    source_weights: see `Stage.weights_S`; None: 1 for each.

  Returns:
    The state after, and the sums that `metrics.means` reads: of the loss
    (nll, weight, z), by source (nll_S, weight_S) and by role (nll_R,
    tokens_R); gradient_norm and update_norm, also by GROUPS (G);
    parameter_norm, learning_rate; all of them 0 where the update was not taken.
    And `taken`, 1 or 0, and `raw_norm`, the gradient's whatever it is.
  """

  def loss(
    params: dict[str, Any], rows: Mapping[str, jax.Array]
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    hidden_BLD = transformer.forward(
      config,
      params,
      rows['tokens_BL'],
      rows['segment_ids_BL'],
      rows['positions_BL'],
    )
    sums = losses.next_token_loss(
      transformer.output_matrix(config, params),
      hidden_BLD,
      tokens_BL=rows['tokens_BL'],
      segment_ids_BL=rows['segment_ids_BL'],
      roles_BL=rows['roles_BL'],
      source_B=rows['source_B'],
      role_weights_R=jnp.asarray(stage.weights_R, jnp.float32),
      num_sources=num_sources,
      source_weights_S=(
        None
        if source_weights is None
        else jnp.asarray(source_weights, jnp.float32)
      ),
      z_loss=stage.z_loss,
      num_chunks=stage.loss_chunks,
    )
    other = ('total', 'nll_B', 'weight_B')
    fields = (field.name for field in dataclasses.fields(sums))
    kept = {name: getattr(sums, name) for name in fields if name not in other}
    return sums.total, kept

  gradient_of = jax.grad(loss, has_aux=True)
  if stage.microbatches == 1:
    gradient, sums = gradient_of(state.params, batch)
  else:
    parts = _cut(batch, stage.microbatches)
    first = jax.tree.map(lambda x: x[0], parts)
    zeros = jax.tree.map(
      lambda shape: jnp.zeros(shape.shape, jnp.float32),
      jax.eval_shape(gradient_of, state.params, first),
    )

    def accumulate(total: Any, part: Any) -> tuple[Any, None]:
      return jax.tree.map(jnp.add, total, gradient_of(state.params, part)), None

    (gradient, sums), _ = jax.lax.scan(accumulate, zeros, parts)
  # Once, by the weight of the whole batch: microbatches and hosts with few
  # trained tokens must not count as much as full ones. A batch that has none
  # has a gradient of zero.
  share = 1.0 / jnp.where(sums['weight'] > 0, sums['weight'], 1.0)
  gradient = jax.tree.map(lambda g: g * share.astype(g.dtype), gradient)
  updates, opt_state = stage.optimizer.update(
    gradient, state.opt_state, state.params
  )
  params = optax.apply_updates(state.params, updates)
  norm_G, update_norm_G = _norms(gradient), _norms(updates)
  norm = jnp.linalg.norm(norm_G)
  norms = {
    'gradient_norm': norm,
    'gradient_norm_G': norm_G,
    'update_norm': jnp.linalg.norm(update_norm_G),
    'update_norm_G': update_norm_G,
    'parameter_norm': jnp.linalg.norm(_norms(params)),
    'learning_rate': optax.tree.get(opt_state, 'learning_rate'),
  }
  # What is written over the state waits by `taken` for the update's norm, for
  # which all of the state was read: else XLA would copy it first, on CPU.
  taken = jnp.isfinite(sums['nll']) & jnp.isfinite(norm)
  taken &= jnp.isfinite(norms['update_norm'])
  if stage.max_gradient_norm is not None:
    taken &= norm <= stage.max_gradient_norm
  after = TrainState(state.step + 1, params, opt_state)
  kept = TrainState(state.step + 1, state.params, state.opt_state)
  after = jax.tree.map(functools.partial(jnp.where, taken), after, kept)
  sums = jax.tree.map(lambda x: jnp.where(taken, x, 0), sums | norms)
  # What was not taken has no part in any mean; its norm is told all the same.
  return after, sums | {'taken': taken.astype(jnp.int32), 'raw_norm': norm}


def _norms(tree: Mapping[str, Any]) -> jax.Array:
  """The norm of each of GROUPS, summed up in float32."""
  squares = dict.fromkeys(GROUPS, jnp.zeros((), jnp.float32))
  for path, leaf in jax.tree.leaves_with_path(tree):
    words = jax.tree_util.keystr(path, simple=True, separator='.').split('.')
    group = 'norm' if words[-1].endswith('norm') else words[0]
    group = words[1] if group == 'layers' else group
    squares[group] += jnp.sum(jnp.square(leaf.astype(jnp.float32)))
  return jnp.sqrt(jnp.stack(list(squares.values())))


def _cut(batch: Mapping[str, jax.Array], parts: int) -> dict[str, jax.Array]:
  """[B, ...] -> [parts, B / parts, ...], each row on the device it is on."""

  def cut(x: jax.Array) -> jax.Array:
    # Every parts-th row, and not neighbours: those are on one device.
    x = jnp.swapaxes(x.reshape(-1, parts, *x.shape[1:]), 0, 1)
    return partitioning.constrain(x, None, *('batch', 'length')[: x.ndim - 1])

  return {name: cut(x) for name, x in batch.items()}


def state_shapes(
  config: transformer.Config,
  optimizer: optax.GradientTransformation,
  mesh: Mesh,
) -> TrainState:
  """The state as shapes that know their place on the mesh.

  The moments of a parameter lie where the parameter does.
  """
  everywhere = NamedSharding(mesh, PartitionSpec())
  params = transformer.placed(config, mesh)
  opt_state = optax.tree.map_params(
    optimizer,
    lambda shape, param: _placed(shape, param.sharding),
    jax.eval_shape(optimizer.init, params),
    params,
    transform_non_params=lambda shape: _placed(shape, everywhere),
  )
  step = jax.ShapeDtypeStruct((), jnp.int32, sharding=everywhere)
  return TrainState(step, params, opt_state)


def batch_shapes(
  batch_size: int, sequence_length: int, mesh: Mesh
) -> dict[str, jax.ShapeDtypeStruct]:
  """What `train_step` reads of a batch, as shapes that know their place."""

  def shape(*sizes: int) -> jax.ShapeDtypeStruct:
    spec = partitioning.spec(*('batch', 'length')[: len(sizes)])
    sharding = NamedSharding(mesh, spec)
    return jax.ShapeDtypeStruct(sizes, jnp.int32, sharding=sharding)

  names = ('tokens_BL', 'segment_ids_BL', 'positions_BL', 'roles_BL')
  return {
    **{name: shape(batch_size, sequence_length) for name in names},
    'source_B': shape(batch_size),
  }


def lower_step(
  config: transformer.Config,
  stage: Stage,
  mesh: Mesh,
  *,
  sequence_length: int,
  num_sources: int,
  source_weights: Sequence[float] | None = None,
) -> jax.stages.Lowered:
  """`train_step` on a mesh, ready to be compiled; the state is donated."""
  state = state_shapes(config, stage.optimizer, mesh)
  step = jax.jit(
    functools.partial(
      train_step,
      config=config,
      stage=stage,
      num_sources=num_sources,
      source_weights=source_weights,
    ),
    out_shardings=(shardings(state), NamedSharding(mesh, PartitionSpec())),
    donate_argnums=0,
  )
  with jax.set_mesh(mesh):
    return step.lower(
      state, batch_shapes(stage.batch_size, sequence_length, mesh)
    )


def _placed(shape: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding)


def shardings(shapes: Any) -> Any:
  """Where each array of a tree lies."""
  return jax.tree.map(lambda shape: shape.sharding, shapes)
