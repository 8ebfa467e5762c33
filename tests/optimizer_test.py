"""Facts about AdamW and its schedules."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hephaestus_jax import errors, model, optimizer

CONFIG = model.Config(
  vocab_size=8,
  emb_dim=4,
  num_layers=2,
  num_heads=2,
  num_kv_heads=1,
  head_dim=2,
  mlp_dim=4,
)


def rates(schedule: optax.Schedule, steps: int) -> list[float]:
  return [float(schedule(jnp.int32(step))) for step in range(steps)]


def test_warm_up_is_linear_and_its_first_update_is_not_lost():
  np.testing.assert_allclose(
    rates(optimizer.constant(peak=1.0, warmup_steps=4), 6),
    [0.25, 0.5, 0.75, 1, 1, 1],
  )
  np.testing.assert_allclose(rates(optimizer.constant(peak=0.5), 2), [0.5, 0.5])


def test_cosine_goes_from_the_peak_to_its_share():
  schedule = optimizer.cosine(peak=2.0, steps=6, warmup_steps=2, end_share=0.1)
  np.testing.assert_allclose(
    rates(schedule, 9),
    [1, 2, 2, 1.7364, 1.1, 0.4636, 0.2, 0.2, 0.2],
    atol=1e-4,
  )


def test_wsd_is_stable_and_then_falls_in_a_line():
  schedule = optimizer.wsd(
    peak=1.0, steps=8, warmup_steps=2, decay_steps=4, end_share=0.2
  )
  np.testing.assert_allclose(
    rates(schedule, 10), [0.5, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0.2], rtol=1e-6
  )


@pytest.mark.parametrize(
  'make',
  [
    lambda: optimizer.cosine(peak=1.0, steps=4, warmup_steps=5),
    lambda: optimizer.wsd(peak=1.0, steps=4, warmup_steps=3, decay_steps=2),
  ],
)
def test_ramps_longer_than_the_schedule_are_refused(make):
  with pytest.raises(errors.UserError, match='has 4 steps, .* take 5'):
    make()


def test_a_negative_warm_up_is_refused():
  with pytest.raises(errors.UserError, match='warmup_steps = -1'):
    optimizer.constant(peak=1.0, warmup_steps=-1)


def test_an_update_is_that_of_the_formula():
  """Two steps of one number, by hand."""
  rate, decay, beta1, beta2 = 0.1, 0.01, 0.9, 0.98
  transform = optimizer.adamw(
    schedule=optimizer.constant(peak=rate), clip_norm=1e9
  )
  params = {'w': jnp.array([2.0])}
  state = transform.init(params)
  weight, first, second = 2.0, 0.0, 0.0
  for step, gradient in enumerate((3.0, -1.0), start=1):
    updates, state = transform.update(
      {'w': jnp.array([gradient])}, state, params
    )
    params = optax.apply_updates(params, updates)
    first = beta1 * first + (1 - beta1) * gradient
    second = beta2 * second + (1 - beta2) * gradient**2
    mean, square = first / (1 - beta1**step), second / (1 - beta2**step)
    weight -= rate * (mean / (square**0.5 + 1e-8) + decay * weight)
    np.testing.assert_allclose(params['w'], [weight], rtol=1e-5)


def test_norms_do_not_decay_and_everything_else_does():
  params = jax.tree.map(
    lambda leaf: np.full(leaf.shape, 2, np.float32), model.abstract(CONFIG)
  )
  transform = optimizer.adamw(
    schedule=optimizer.constant(peak=1.0), weight_decay=0.5
  )
  zeros = jax.tree.map(np.zeros_like, params)
  updates, _ = jax.jit(transform.update)(zeros, transform.init(params), params)
  after = optax.apply_updates(params, updates)
  kept = []
  for (path, a), b in zip(
    jax.tree_util.tree_leaves_with_path(after),
    jax.tree.leaves(params),
    strict=True,
  ):
    name = jax.tree_util.keystr(path, simple=True, separator='/')
    if np.array_equal(a, b):
      kept.append(name)
    else:
      np.testing.assert_allclose(a, b / 2, rtol=1e-6, err_msg=name)
  assert sorted(kept) == [
    'final_norm',
    'layers/attention_norm',
    'layers/mlp_norm',
  ]


def test_the_gradient_is_clipped_by_its_global_norm():
  def first_moments(gradient: list[float], clip_norm: float) -> list[float]:
    transform = optimizer.adamw(
      schedule=optimizer.constant(peak=1.0), clip_norm=clip_norm
    )
    params = {'a': jnp.zeros(1), 'b': jnp.zeros(1)}
    gradients = {'a': jnp.array(gradient[:1]), 'b': jnp.array(gradient[1:])}
    _, state = transform.update(gradients, transform.init(params), params)
    moments = optax.tree.get(state, 'mu')
    return [float(moments['a'][0]), float(moments['b'][0])]

  np.testing.assert_allclose(first_moments([3.0, 4.0], 1.0), [0.06, 0.08])
  np.testing.assert_allclose(first_moments([3.0, 4.0], 10.0), [0.3, 0.4])


def test_the_learning_rate_of_the_last_update_is_in_the_state():
  transform = optimizer.adamw(
    schedule=optimizer.constant(peak=1.0, warmup_steps=4)
  )
  params = {'w': jnp.ones(1)}
  state = transform.init(params)
  seen = []
  for _ in range(3):
    _, state = transform.update(params, state, params)
    seen.append(float(optax.tree.get(state, 'learning_rate')))
  assert seen == [0.25, 0.5, 0.75]
