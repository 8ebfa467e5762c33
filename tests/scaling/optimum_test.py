"""The best share is where it is known to be, or said not to be inside."""

import numpy as np
import pytest

from hephaestus_jax.scaling import fits, laws, optimum
from tests.scaling import studies

SIZE = 500_000
POINTS = studies.points(sizes=(SIZE,))


def drawn(theta, agent, noise=0.004, seed=0):
  loss_R = studies.power(theta, POINTS.agent_R)
  loss_R = studies.noisy(loss_R, noise, seed)
  fitted = fits.fit(laws.power_of_share, POINTS, loss_R, agent, 0.01)
  return optimum.Drawn(fitted, fits.redraw(fitted, 40, 0, 0.01), agent)


def found(losses, agent_weight=0.5):
  return optimum.find(
    losses,
    POINTS,
    parameters=SIZE,
    tokens=50 * SIZE,
    agent_weight=agent_weight,
    level=0.9,
  )


@pytest.fixture(scope='module')
def both():
  return {
    'calls': drawn(studies.AGENT, True, seed=1),
    'text': drawn(studies.GENERAL, False, seed=2),
  }


def test_an_interior_optimum_is_found_within_its_interval(both):
  x_G = np.linspace(0, 1, 10_001)
  true_G = sum(
    np.log(studies.power(theta, x_G))
    for theta in (studies.AGENT, studies.GENERAL)
  )
  best = found(both)
  assert best.low <= x_G[true_G.argmin()] <= best.high
  assert best.low <= best.share <= best.high
  assert best.inside and best.verdict == 'interior optimum'
  assert best.draws_inside == 1.0
  assert best.gain > 0


@pytest.mark.parametrize(('weight', 'end'), [(1.0, 1.0), (0.0, 0.0)])
def test_losses_of_one_side_have_no_interior_optimum(both, weight, end):
  best = found(both, weight)
  assert (best.share, best.gain) == (end, 0.0)
  assert not best.inside
  assert best.verdict == 'no interior optimum'


def test_an_interval_that_reaches_an_end_is_said_to():
  shallow = {
    'calls': drawn((4.0, -0.2, 0.5), True, noise=0.02, seed=3),
    'text': drawn((3.0, 0.1, 2.0), False, noise=0.02, seed=8),
  }
  best = found(shallow)
  assert best.inside and best.draws_inside < 1
  assert best.low == 0
  assert best.verdict.startswith('not told apart from the least share')


@pytest.mark.parametrize(
  ('low', 'high', 'verdict'),
  [
    (0.3, 0.6, 'interior optimum'),
    (0.0, 0.6, 'not told apart from the least share that was run (0.00)'),
    (0.3, 1.0, 'not told apart from the most that was run (1.00)'),
  ],
)
def test_the_verdict_is_about_the_range_that_was_run(low, high, verdict):
  assert optimum.verdict(True, low, high, 0.0, 1.0) == verdict


def test_a_loss_weighs_no_more_for_being_one_of_few():
  weights = optimum._weights([True, False, False], 0.6)
  np.testing.assert_allclose(weights, [0.6, 0.2, 0.2])


def test_mixtures_between_those_that_were_run_follow_the_protocol():
  asked = optimum.path(POINTS, np.array([0.05, 0.48]), SIZE, 50 * SIZE)
  np.testing.assert_allclose(
    asked.shares_RK, [[0.05, 0, 0.475, 0.475], [0.1, 0.38, 0.26, 0.26]]
  )
  assert asked.tokens_R.tolist() == [50 * SIZE] * 2
