"""Facts about the loss."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hephaestus_jax import errors, losses
from hephaestus_jax.corpus import document

B, L, D, V = 3, 8, 4, 6
RNG = np.random.default_rng(0)
HIDDEN_BLD = jnp.asarray(RNG.normal(size=(B, L, D)), jnp.float32)
MATRIX_DV = jnp.asarray(RNG.normal(size=(D, V)), jnp.float32)
BATCH = {
  'tokens_BL': jnp.asarray(RNG.integers(0, V, (B, L)), jnp.int32),
  'segment_ids_BL': jnp.array(
    [[1, 1, 1, 2, 2, 2, 2, 0], [1] * 8, [1, 1, 2, 2, 3, 3, 0, 0]], jnp.int32
  ),
  'roles_BL': jnp.asarray(RNG.integers(0, 3, (B, L)), jnp.int32),
  'source_B': jnp.array([1, 0, 1], jnp.int32),
}
WEIGHTS_R = jnp.array([0.0, 1.0, 0.25])
Z_LOSS = 0.1


def sums_of(
  matrix_DV: jax.Array, hidden_BLD: jax.Array = HIDDEN_BLD, chunks: int = 1
) -> losses.LossSums:
  return losses.next_token_loss(
    matrix_DV,
    hidden_BLD,
    **BATCH,
    role_weights_R=WEIGHTS_R,
    num_sources=2,
    z_loss=Z_LOSS,
    num_chunks=chunks,
  )


def plain(
  matrix_DV: jax.Array, hidden_BLD: jax.Array, z_loss: float = 0.1
) -> jax.Array:
  """The total as the definition reads, for JAX to differentiate."""
  logits_BLV = jnp.einsum('BLD,DV->BLV', hidden_BLD, matrix_DV)
  log_z_BL = jax.nn.logsumexp(logits_BLV, axis=-1)
  targets_BL = jnp.roll(BATCH['tokens_BL'], -1, axis=1)
  right_BLV = jax.nn.one_hot(targets_BL, logits_BLV.shape[2])
  nll_BL = log_z_BL - jnp.sum(logits_BLV * right_BLV, axis=-1)
  _, _, weight_BL = losses.target_weights(
    BATCH['segment_ids_BL'], BATCH['roles_BL'], WEIGHTS_R
  )
  return jnp.sum(weight_BL * (nll_BL + z_loss * log_z_BL**2))


def test_a_source_weighs_what_it_is_told_to():
  def sums(**changed):
    return losses.next_token_loss(
      MATRIX_DV,
      HIDDEN_BLD,
      **BATCH,
      role_weights_R=WEIGHTS_R,
      num_sources=2,
      **changed,
    )

  plain_S, weighed_S = sums(), sums(source_weights_S=jnp.array([3.0, 0.0]))
  assert plain_S.weight_S.min() > 0
  for name in ('nll_S', 'weight_S'):
    whole, weighed = getattr(plain_S, name), getattr(weighed_S, name)
    np.testing.assert_allclose(weighed, whole * np.array([3, 0]), rtol=1e-6)
  np.testing.assert_allclose(weighed_S.total, weighed_S.nll_S[0], rtol=1e-6)
  # What a role costs is told all the same.
  np.testing.assert_array_equal(weighed_S.nll_R, plain_S.nll_R)


def test_the_target_is_the_next_token_of_the_segment():
  valid_BL, roles_BL, weight_BL = losses.target_weights(
    jnp.array([[1, 1, 2, 2, 0]]),
    jnp.array([[3, 5, 3, 5, 0]]),
    jax.nn.one_hot(5, 10),
  )
  assert valid_BL.tolist() == [[1, 0, 1, 0, 0]]
  assert roles_BL.tolist() == [[5, 3, 5, 0, 3]]
  assert weight_BL.tolist() == [[1, 0, 1, 0, 0]]


def test_what_an_earlier_row_has_too_is_no_target():
  repeated = document.REPEATED
  valid_BL, roles_BL, weight_BL = losses.target_weights(
    jnp.ones((1, 4), jnp.int32),
    jnp.array([[repeated, repeated + 5, 5, 5]]),
    jnp.ones(10),
  )
  assert valid_BL.tolist() == weight_BL.tolist() == [[0, 1, 1, 0]]
  assert roles_BL.tolist() == [[5, 5, 5, 0]]


def test_a_full_row_does_not_predict_its_own_first_token():
  ones_BL = jnp.ones((1, 4), jnp.int32)
  valid_BL, _, _ = losses.target_weights(ones_BL, ones_BL, jnp.ones(3))
  assert valid_BL.tolist() == [[1, 1, 1, 0]]


def test_the_sums_are_those_of_a_loop_in_plain_python():
  """Every sum, against a loop that reads like the definition."""
  logits_BLV = np.asarray(HIDDEN_BLD) @ np.asarray(MATRIX_DV)
  arrays = {name: np.asarray(array) for name, array in BATCH.items()}
  expected = {
    'nll': 0.0,
    'weight': 0.0,
    'z': 0.0,
    'nll_B': np.zeros(B),
    'weight_B': np.zeros(B),
    'nll_S': np.zeros(2),
    'weight_S': np.zeros(2),
    'nll_R': np.zeros(3),
    'tokens_R': np.zeros(3),
  }
  for row in range(B):
    source = arrays['source_B'][row]
    for place in range(L - 1):
      segment, following = arrays['segment_ids_BL'][row, place : place + 2]
      if segment == 0 or segment != following:
        continue
      role = arrays['roles_BL'][row, place + 1]
      weight = float(WEIGHTS_R[role])
      log_z = np.log(np.exp(logits_BLV[row, place]).sum())
      target = arrays['tokens_BL'][row, place + 1]
      nll = log_z - logits_BLV[row, place, target]
      expected['nll'] += weight * nll
      expected['weight'] += weight
      expected['z'] += weight * log_z**2
      expected['nll_B'][row] += weight * nll
      expected['weight_B'][row] += weight
      expected['nll_S'][source] += weight * nll
      expected['weight_S'][source] += weight
      expected['nll_R'][role] += nll
      expected['tokens_R'][role] += 1
  expected['total'] = expected['nll'] + Z_LOSS * expected['z']
  actual = dataclasses.asdict(sums_of(MATRIX_DV))
  assert set(actual) == set(expected)
  for name, value in expected.items():
    np.testing.assert_allclose(actual[name], value, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize('chunks', [1, 2, 8])
def test_the_gradients_are_those_of_the_definition(chunks):
  def total(matrix_DV: jax.Array, hidden_BLD: jax.Array) -> jax.Array:
    return 3.0 * sums_of(matrix_DV, hidden_BLD, chunks).total

  def definition(matrix_DV: jax.Array, hidden_BLD: jax.Array) -> jax.Array:
    return 3.0 * plain(matrix_DV, hidden_BLD)

  found, expected = (
    jax.value_and_grad(function, argnums=(0, 1))(MATRIX_DV, HIDDEN_BLD)
    for function in (total, definition)
  )
  for a, b in zip(
    jax.tree.leaves(found), jax.tree.leaves(expected), strict=True
  ):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_logits_whose_exponentials_overflow_have_a_loss_and_a_gradient():
  arguments = (1e4 * MATRIX_DV, HIDDEN_BLD)
  found, expected = (
    jax.value_and_grad(function, argnums=(0, 1))(*arguments)
    for function in (lambda *arrays: sums_of(*arrays).total, plain)
  )
  for a, b in zip(
    jax.tree.leaves(found), jax.tree.leaves(expected), strict=True
  ):
    assert np.isfinite(b).all()
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())


def test_chunks_change_no_sum():
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
    sums_of(MATRIX_DV, chunks=4),
    sums_of(MATRIX_DV),
  )


def test_half_precision_is_summed_up_in_single():
  half_BLD = HIDDEN_BLD.astype(jnp.bfloat16)
  d_matrix_DV, d_hidden_BLD = jax.grad(
    lambda matrix_DV, hidden_BLD: sums_of(matrix_DV, hidden_BLD, 2).total,
    argnums=(0, 1),
  )(MATRIX_DV, half_BLD)
  assert (d_matrix_DV.dtype, d_hidden_BLD.dtype) == (jnp.float32, jnp.bfloat16)
  expected_DV = jax.grad(plain)(MATRIX_DV, half_BLD.astype(jnp.float32))
  np.testing.assert_allclose(d_matrix_DV, expected_DV, rtol=0.1, atol=0.05)


def test_chunks_keep_the_logits_of_one_part_only():
  length, words = 64, 1000
  hidden_BLD = jnp.zeros((1, length, D))
  ones_BL = jnp.ones((1, length), jnp.int32)

  def memory(chunks: int) -> int:
    def total(matrix_DV: jax.Array) -> jax.Array:
      return losses.cross_entropy(
        *(hidden_BLD, matrix_DV, ones_BL, ones_BL.astype(jnp.float32)),
        num_chunks=chunks,
      )[0]

    compiled = jax.jit(jax.grad(total)).lower(jnp.zeros((D, words))).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  assert memory(16) < memory(1) / 4


def test_a_loss_that_nobody_differentiates_computes_no_gradient():
  arguments = (
    *(jnp.zeros((1, 64, 256)), jnp.zeros((256, 1000))),
    *(jnp.ones((1, 64), jnp.int32), jnp.ones((1, 64))),
  )
  whole = jax.jit(losses.cross_entropy).lower(*arguments).compile()
  flops = whole.cost_analysis()['flops']
  assert flops < 2.5 * 64 * 256 * 1000  # one product; three with gradients


def test_chunks_that_do_not_divide_the_length_are_refused():
  with pytest.raises(errors.UserError, match='num_chunks = 3 .* 8 tokens'):
    sums_of(MATRIX_DV, chunks=3)


def test_the_z_loss_of_equal_logits_is_the_squared_log_of_their_number():
  sums = sums_of(jnp.zeros((D, V)))
  np.testing.assert_allclose(sums.nll / sums.weight, np.log(V), rtol=1e-6)
  np.testing.assert_allclose(sums.z / sums.weight, np.log(V) ** 2, rtol=1e-6)
  np.testing.assert_allclose(
    sums.total / sums.weight, np.log(V) + Z_LOSS * np.log(V) ** 2, rtol=1e-6
  )
