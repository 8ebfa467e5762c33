"""AdamW and its schedules, as optax transformations."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from hephaestus_jax import errors


def constant(*, peak: float, warmup_steps: int = 0) -> optax.Schedule:
  """A linear warm-up from 0 to `peak`, which then stays.

  Of the first update the rate is `peak / warmup_steps`, not 0: an update that
  changes nothing would be a step lost.
  """
  if warmup_steps < 0:
    raise errors.UserError(f'warmup_steps = {warmup_steps} is negative.')

  def schedule(step: Any) -> jax.Array:
    return peak * jnp.minimum(1.0, (step + 1) / max(warmup_steps, 1))

  return schedule


def cosine(
  *, peak: float, steps: int, warmup_steps: int = 0, end_share: float = 0.1
) -> optax.Schedule:
  """Warm-up, then half a cosine down to `end_share * peak` at step `steps`."""
  _check(steps, warmup_steps)
  warmup = constant(peak=peak, warmup_steps=warmup_steps)

  def schedule(step: Any) -> jax.Array:
    done = jnp.clip((step - warmup_steps) / (steps - warmup_steps), 0.0, 1.0)
    wave = (1 + jnp.cos(jnp.pi * done)) / 2
    return warmup(step) * (end_share + (1 - end_share) * wave)

  return schedule


def wsd(
  *,
  peak: float,
  steps: int,
  decay_steps: int,
  warmup_steps: int = 0,
  end_share: float = 0.0,
) -> optax.Schedule:
  """Warm-up, stable, decay: linear to `end_share * peak` at the last steps."""
  _check(steps, warmup_steps + decay_steps)
  warmup = constant(peak=peak, warmup_steps=warmup_steps)

  def schedule(step: Any) -> jax.Array:
    left = jnp.clip((steps - step) / max(decay_steps, 1), 0.0, 1.0)
    return warmup(step) * (end_share + (1 - end_share) * left)

  return schedule


def _check(steps: int, ramps: int) -> None:
  if steps <= 0 or ramps > steps:
    raise errors.UserError(
      f'The schedule has {steps} steps, and its warm-up and decay take {ramps}.'
    )


class ScheduleState(NamedTuple):
  """Updates so far, and the learning rate of the last one."""

  updates: jax.Array
  learning_rate: jax.Array


def descend(schedule: optax.Schedule) -> optax.GradientTransformation:
  """Updates times minus the learning rate, which stays readable in the state.

  `optax.tree.get(optimizer_state, 'learning_rate')` is the rate of the last
  update.
  """

  def init(params: Any) -> ScheduleState:
    return ScheduleState(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.float32))

  def update(
    updates: Any, state: ScheduleState, params: Any = None
  ) -> tuple[Any, ScheduleState]:
    rate = jnp.asarray(schedule(state.updates), jnp.float32)
    updates = jax.tree.map(lambda u: -rate.astype(u.dtype) * u, updates)
    return updates, ScheduleState(state.updates + 1, rate)

  return optax.GradientTransformation(init, update)


def is_decayed(params: Any) -> Any:
  """Which parameters decay: all but those whose name ends in 'norm'.

  By name and not by rank: layers are stacked, so that a norm's scale has two
  axes.
  """

  def decayed(path: Any, _: Any) -> bool:
    name = jax.tree_util.keystr(path, simple=True, separator='/')
    return not name.endswith('norm')

  return jax.tree_util.tree_map_with_path(decayed, params)


def adamw(
  *,
  schedule: optax.Schedule,
  beta1: float = 0.9,
  beta2: float = 0.98,
  epsilon: float = 1e-8,
  weight_decay: float = 0.01,
  clip_norm: float = 1.0,
) -> optax.GradientTransformation:
  """AdamW with the gradient's global norm clipped and no decay on norms.

  The betas and the decay are the paper's (its table of training settings);
  the schedule and the clipping are not stated there.
  """
  return optax.chain(
    optax.clip_by_global_norm(clip_norm),
    optax.scale_by_adam(beta1, beta2, epsilon),
    optax.add_decayed_weights(weight_decay, mask=is_decayed),
    descend(schedule),
  )
