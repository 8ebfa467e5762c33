import jax
import numpy as np

from hephaestus_jax.decode import sampling

choose = jax.jit(sampling.choose)
LOGITS_V = np.log(np.array([0.1, 0.5, 0.25, 0.15], np.float32))


def settings(rows, **changed):
  plain = sampling.Settings(
    temperature_B=np.zeros(rows, np.float32),
    top_p_B=np.ones(rows, np.float32),
    seed_B=np.zeros(rows, np.uint32),
    count_B=np.zeros(rows, np.int32),
    constrained_B=np.zeros(rows, bool),
    allowed_BW=np.zeros((rows, 1), np.uint32),
    ranked_B=np.zeros(rows, bool),
  )
  return plain._replace(**changed)


def drawn(count, **changed):
  """Tokens of `count` rows that differ in their seed."""
  ones = np.ones(count, np.float32)
  given = {'temperature_B': ones, 'seed_B': np.arange(count, dtype=np.uint32)}
  given |= {name: value * ones for name, value in changed.items()}
  choice = choose(np.tile(LOGITS_V, (count, 1)), settings(count, **given))
  return np.bincount(choice.token_B, minlength=4) / count


def test_without_a_temperature_the_most_likely_token_is_chosen():
  choice = choose(LOGITS_V[None], settings(1))
  assert choice.token_B.tolist() == [1]
  np.testing.assert_allclose(choice.logprob_B, [np.log(0.5)], atol=1e-6)


def test_draws_have_the_distribution_of_the_model():
  np.testing.assert_allclose(drawn(4000), np.exp(LOGITS_V), atol=0.03)


def test_a_temperature_sharpens_or_flattens():
  squares = np.exp(2 * LOGITS_V)
  np.testing.assert_allclose(
    drawn(4000, temperature_B=0.5), squares / squares.sum(), atol=0.03
  )


def test_top_p_draws_from_the_most_likely_tokens_that_have_so_much():
  # 0.5 alone is less than 0.6; with 0.25 it is enough.
  np.testing.assert_allclose(
    drawn(4000, top_p_B=0.6), [0, 2 / 3, 1 / 3, 0], atol=0.03
  )
  assert drawn(100, top_p_B=1e-6).tolist() == [0, 1, 0, 0]


def test_a_draw_depends_on_seed_and_count_and_not_on_the_row():
  logits_BV = np.zeros((3, 50), np.float32)
  given = {
    'temperature_B': np.ones(3, np.float32),
    'seed_B': np.array([5, 6, 7], np.uint32),
    'count_B': np.array([0, 4, 9], np.int32),
    'allowed_BW': np.zeros((3, 2), np.uint32),
  }
  here = choose(logits_BV, settings(3, **given)).token_B
  turned = {name: value[::-1] for name, value in given.items()}
  there = choose(logits_BV, settings(3, **turned)).token_B
  assert here.tolist() == there.tolist()[::-1]
  assert len({*here.tolist()}) == 3
  other = given | {'count_B': np.array([1, 5, 10], np.int32)}
  assert choose(logits_BV, settings(3, **other)).token_B.tolist() != [*here]


def test_what_is_not_allowed_is_not_chosen_and_the_logprob_stays_the_models():
  choice = choose(
    np.tile(LOGITS_V, (2, 1)),
    settings(
      2,
      constrained_B=np.array([True, False]),
      allowed_BW=np.array([[0b1100], [0]], np.uint32),
    ),
  )
  assert choice.token_B.tolist() == [2, 1]
  np.testing.assert_allclose(choice.logprob_B[0], np.log(0.25), atol=1e-6)


def test_the_most_likely_tokens_are_told_in_their_order():
  choice = choose(LOGITS_V[None], settings(1, ranked_B=np.array([True])))
  assert choice.ranked_BT[0].tolist() == [1, 2, 3, 0]
  np.testing.assert_allclose(
    np.exp(choice.ranked_logprob_BT[0]), [0.5, 0.25, 0.15, 0.1], atol=1e-6
  )
