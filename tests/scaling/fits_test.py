"""A fit is not bent by one run, and its intervals hold what they say."""

import numpy as np
import pytest

from hephaestus_jax.scaling import fits, laws
from tests.scaling import studies

HUBER = 0.01


def fitted(loss_R, points, law=laws.power_of_share):
  found = fits.fit(law, points, loss_R, True, HUBER)
  assert isinstance(found, fits.Fit), found
  return found


def test_one_run_that_went_astray_does_not_bend_the_law():
  points = studies.points(sizes=(500_000,))
  true_R = studies.power(studies.AGENT, points.agent_R)
  astray_R = studies.noisy(true_R, 0.002, seed=0)
  astray_R[4] *= 1.3
  ours_R = fitted(astray_R, points).loss(points)
  assert np.abs(ours_R / true_R - 1).max() < 0.01
  # Squares alone would follow it.
  squares = fits.fit(laws.power_of_share, points, astray_R, True, huber=10.0)
  assert np.abs(squares.loss(points) / true_R - 1).max() > 0.03


def test_residuals_are_as_wide_as_those_of_new_runs():
  points = studies.points(sizes=(500_000,))
  true_R = studies.power(studies.AGENT, points.agent_R)
  spread = [
    fitted(studies.noisy(true_R, 0.005, seed), points).residuals_R.std()
    for seed in range(12)
  ]
  # Unwidened they would be sqrt(9 / 12) of it.
  assert np.mean(spread) == pytest.approx(0.005, rel=0.1)


def test_a_law_of_few_runs_has_fewer_residuals_that_are_free():
  points = studies.points(sizes=(500_000,))
  loss_R = studies.power(studies.AGENT, points.agent_R)
  assert fitted(studies.noisy(loss_R, 0.01, 0), points).free == 12 - 3


def test_90_percent_intervals_hold_the_truth_about_that_often():
  # benchmarks/fit_coverage.py does so with 200 studies and every law.
  points = studies.points()
  true_R = studies.sized(studies.GENERAL, points)
  true = fitted(true_R, points, laws.regression)
  slope = true.theta_P[-1]
  held = 0
  for seed in range(20):
    log_R = true.form.log_loss(true.theta_P, points)
    loss_R = studies.noisy(np.exp(log_R), 0.01, seed)
    found = fitted(loss_R, points, laws.regression)
    theta_BP = fits.redraw(found, 30, seed, HUBER)
    low, high = fits.interval(theta_BP[:, -1], 0.9)
    held += low <= slope <= high
  assert 15 <= held <= 20


def test_losses_of_the_same_runs_are_drawn_together():
  points = studies.points(sizes=(500_000,))
  loss_R = studies.noisy(studies.power(studies.AGENT, points.agent_R), 0.01, 0)
  one, twin = fitted(loss_R, points), fitted(2 * loss_R, points)
  draws = [fits.redraw(each, 20, 3, HUBER) for each in (one, twin)]
  np.testing.assert_allclose(
    draws[1] - draws[0], [[np.log(2), np.log(2), 0]] * 20, atol=2e-3
  )


def test_a_mixture_is_left_out_with_its_twin():
  points = studies.points(sizes=(500_000,))
  loss_R = studies.power(studies.AGENT, points.agent_R)
  # Both seeds of one mixture lie off the law. Were one left in, least squares
  # (a large `huber`) would follow it, and the error be 0.024.
  loss_R[6:8] *= 1.05
  found = fits.fit(laws.power_of_share, points, loss_R, True, huber=10.0)
  error = fits.left_out_error(laws.power_of_share, found, True, huber=10.0)
  assert error == pytest.approx(0.029, abs=0.002)


def test_runs_that_differ_in_their_seed_alone_are_at_one_place():
  points = studies.points(sizes=(500_000,))
  assert fits.place(points).tolist() == np.repeat(range(6), 2).tolist()


def test_a_new_run_is_predicted_within_wider_bounds_than_the_law():
  points = studies.points(sizes=(500_000,))
  loss_R = studies.noisy(studies.power(studies.AGENT, points.agent_R), 0.01, 0)
  found = fitted(loss_R, points)
  theta_BP = fits.redraw(found, 100, 0, HUBER)
  low_R, high_R = fits.predicted_interval(
    found, theta_BP, points, 0.9, np.random.default_rng(0)
  )
  laws_BR = np.array([found.form.log_loss(t, points) for t in theta_BP])
  of_law_R = np.ptp(np.quantile(laws_BR, [0.05, 0.95], axis=0), axis=0)
  assert (np.log(high_R / low_R) > 1.2 * of_law_R).all()


def test_an_interval_is_the_middle_of_the_draws():
  assert fits.interval(np.arange(101.0), 0.9) == pytest.approx((5, 95))
