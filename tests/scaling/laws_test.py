"""Laws say what their equations say, and when runs can't tell them apart."""

import dataclasses

import numpy as np
import pytest

from hephaestus_jax.scaling import fits, laws
from tests.scaling import studies

HUBER = 0.01


def published(law, points, loss_R, agent=True):
  fitted = fits.fit(law, points, loss_R, agent, HUBER)
  assert not isinstance(fitted, str), fitted
  return fitted.form.published(fitted.theta_P), fitted


@pytest.mark.parametrize(
  ('theta', 'shares'),
  [
    (studies.AGENT, studies.SHARES),
    (studies.GENERAL, studies.SHARES),
    ((2.0, 0.4, -0.5), studies.SHARES[1:]),
  ],
)
def test_the_power_of_the_share_is_recovered_from_losses_without_noise(
  theta, shares
):
  points = studies.points(shares, sizes=(500_000,))
  found, _ = published(
    laws.power_of_share, points, studies.power(theta, points.agent_R)
  )
  assert list(found) == ['c', 'k', 'alpha']
  np.testing.assert_allclose(list(found.values()), theta, rtol=1e-3)


def test_the_exponential_of_the_shares_is_recovered():
  points = studies.points(sizes=(500_000,))
  rates = np.array([-5.0, -1.5, 0, 0])
  loss_R = 1.5 + 2.0 * np.exp(points.shares_RK @ rates)
  found, _ = published(laws.exponential_of_shares, points, loss_R)
  expected = {'c': 1.5, 'k': 2.0, 't_documentation': -5, 't_trajectory': -1.5}
  assert found == pytest.approx(expected, rel=1e-2)


def test_the_sum_of_terms_is_recovered_with_both_of_its_powers():
  points = studies.points(multiples=(10.0, 50.0, 200.0), seeds=1)
  n_R, d_R = points.parameters_R, points.tokens_R
  loss_R = 1.2 + 9 * n_R**-0.2 + 40 * d_R**-0.3
  loss_R = loss_R + 0.8 * np.exp(points.shares_RK @ np.array([-6, -2, 0, 0]))
  found, fitted = published(laws.sum_of_terms, points, loss_R)
  assert found['alpha'] == pytest.approx(0.2, abs=0.02)
  assert found['beta'] == pytest.approx(0.3, abs=0.02)
  np.testing.assert_allclose(fitted.loss(points), loss_R, rtol=1e-4)


def test_tokens_that_follow_the_size_leave_one_power():
  points = studies.points()
  found, _ = published(
    laws.sum_of_terms, points, studies.sized(studies.AGENT, points)
  )
  assert 'alpha' in found and 'beta' not in found


def test_the_share_times_the_tokens_is_recovered_for_either_side():
  points = studies.points(studies.SHARES[1:-1])
  for agent, own_R in ((True, points.agent_R), (False, 1 - points.agent_R)):
    loss_R = (30 * points.tokens_R**-0.2 + 1.1) * own_R**-0.08
    found, _ = published(laws.share_times_tokens, points, loss_R, agent)
    assert found == pytest.approx(
      {'alpha': 0.08, 'B': 30, 'beta': 0.2, 'C': 1.1}, rel=0.02
    )


def test_the_regression_is_recovered():
  points = studies.points()
  log_R = 1.0 - 0.6 * points.agent_R + 0.4 * points.agent_R**2
  log_R = log_R - 0.07 * np.log(points.parameters_R)
  found, _ = published(laws.regression, points, np.exp(log_R))
  assert found['q'] == pytest.approx(0.4, abs=1e-6)
  assert found['a'] == pytest.approx(-0.07, abs=1e-6)
  assert 'd' not in found


def test_kinds_that_follow_others_have_no_rate_of_their_own():
  points = studies.points()
  assert laws.independent(points) == ('documentation', 'trajectory')
  alone = points.at(points.agent_R <= studies.SEED_SHARE)
  assert laws.independent(alone) == ('documentation',)


@pytest.mark.parametrize(
  ('law', 'points', 'reason'),
  [
    ('power_of_share', studies.points((0.0, 0.3, 1.0)), '3 shares'),
    (
      'exponential_of_shares',
      studies.points((0.0, 0.1, 0.4, 1.0), sizes=(500_000,)),
      '4 mixtures',
    ),
    ('sum_of_terms', studies.points(sizes=studies.SIZES[:2]), '2 sizes'),
    ('share_times_tokens', studies.points(), 'none of the kind'),
    ('regression', studies.points((0.5,), sizes=(500_000,), seeds=1), 'few'),
  ],
)
def test_runs_that_can_not_tell_the_parameters_are_a_reason(
  law, points, reason
):
  function, _ = laws.LAWS[law]
  found = fits.fit(function, points, np.full(len(points.agent_R), 2.0), True, 1)
  assert isinstance(found, str)
  assert reason in found


def test_shares_that_went_through_a_file_are_the_same_mixture():
  points = studies.points(sizes=(500_000,))
  shaken_RK = points.shares_RK + 1e-9 * np.arange(4)
  shaken = dataclasses.replace(points, shares_RK=shaken_RK)
  assert len(laws.distinct(shaken.shares_RK)) == len(studies.SHARES)
