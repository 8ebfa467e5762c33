"""Fitting a law to the losses of runs, and how far to trust the fit.

The distance is Huber's on the residuals of the log of the loss: squares below
`huber`, absolute values above, so that one run that went astray does not bend
the law (Hoffmann et al. 2022 do so with 1e-3). The search (trust-region least
squares, which ends where L-BFGS does, and sooner) starts from several places
and keeps the best end.

Intervals come from a bootstrap of residuals: each draw adds to the fitted
losses residuals of runs drawn with replacement, each widened to what a new run
would show, and fits again. That keeps the design, where drawing runs would lose
the only ones at a share of 0, and it lends every mixture the residuals of all,
where two seeds a mixture are too few to tell their own spread.
benchmarks/fit_coverage.py measures what the intervals hold.

Axes: R runs, P parameters, B draws; see laws.py for the others.
"""

import dataclasses

import numpy as np
import scipy.optimize

from hephaestus_jax.scaling import laws


@dataclasses.dataclass(frozen=True)
class Fit:
  """A law fitted to one loss.

  Attributes:
    form: the law.
    points: the runs that it was fitted to.
    log_R: the log of their losses.
    theta_P: where the search ended.
    residuals_R: log of measured over fitted, each as wide as a new run's would
      be: a run that pulls the law to itself (its leverage is h) lies
      sqrt(1 - h) too near.
    free: runs less parameters, the residuals' degrees of freedom.
  """

  form: laws.Form
  points: laws.Points
  log_R: np.ndarray
  theta_P: np.ndarray
  residuals_R: np.ndarray
  free: int

  def loss(self, points: laws.Points) -> np.ndarray:
    """The fitted loss at some points, in nats."""
    return np.exp(self.form.log_loss(self.theta_P, points))


def fit(
  law: laws.Law,
  points: laws.Points,
  loss_R: np.ndarray,
  agent: bool,
  huber: float,
  near_P: np.ndarray | None = None,
) -> Fit | str:
  """The law that lies nearest the losses, or why the runs can't tell.

  Args:
    law: one of laws.py.
    points: the runs.
    loss_R: their losses, in nats.
    agent: whether it is the loss of an agent benchmark.
    huber: residuals of the log from which they count by their absolute value.
    near_P: where the search for runs that are nearly these ended, to start
      from that alone.
  """
  log_R = np.log(loss_R)
  form = law(points, log_R, agent)
  if isinstance(form, str):
    return form
  starts_SP = form.starts_SP
  if near_P is not None and len(near_P) == len(form.low_P):
    starts_SP = near_P[None]
  ends = [_search(form, start_P, points, log_R, huber) for start_P in starts_SP]
  _, best = min(enumerate(ends), key=lambda end: (end[1].cost, end[0]))
  # best.fun is fitted less measured.
  hat_R, rank = _leverage(best.jac)
  residuals_R = -best.fun / np.sqrt(1 - np.minimum(hat_R, 0.99))
  return Fit(
    *(form, points, log_R, best.x),
    residuals_R=residuals_R - residuals_R.mean(),
    free=max(len(log_R) - rank, 1),
  )


def _leverage(jacobian_RP: np.ndarray) -> tuple[np.ndarray, int]:
  """How much of each residual the law takes away, and its true parameters."""
  left, values, _ = np.linalg.svd(jacobian_RP, full_matrices=False)
  rank = int((values > 1e-8 * values.max(initial=1e-300)).sum())
  return (left[:, :rank] ** 2).sum(axis=1), rank


def _search(
  form: laws.Form,
  start_P: np.ndarray,
  points: laws.Points,
  log_R: np.ndarray,
  huber: float,
) -> scipy.optimize.OptimizeResult:
  """One search from one start; its `cost` is the distance, `x` its end."""
  room_P = 1e-6
  return scipy.optimize.least_squares(
    lambda theta_P: form.log_loss(theta_P, points) - log_R,
    np.clip(start_P, form.low_P + room_P, form.high_P - room_P),
    bounds=(form.low_P, form.high_P),
    loss='huber',
    f_scale=huber,
    x_scale='jac',
    ftol=1e-6,
    xtol=1e-6,
    max_nfev=200,
  )


def redraw(fitted: Fit, draws: int, seed: int, huber: float) -> np.ndarray:
  """theta_BP of the law, fitted to each draw of the bootstrap.

  A search starts where the fit to the true losses ended. The spread of a few
  residuals is uncertain itself: a draw widens or narrows all of its own by
  sqrt(free / chi-squared), as Student's t does.

  Args:
    fitted: the fit.
    draws: B.
    seed: of the draws. All losses of the same runs draw the same runs, so that
      what the losses of a run have in common stays in the draws.
    huber: as in `fit`.
  """
  generator = np.random.default_rng(seed)
  runs = len(fitted.log_R)
  run_BR = generator.integers(runs, size=(draws, runs))
  spread_B = np.sqrt(fitted.free / generator.chisquare(fitted.free, draws))
  center_R = fitted.form.log_loss(fitted.theta_P, fitted.points)
  log_BR = center_R + spread_B[:, None] * fitted.residuals_R[run_BR]
  return np.stack(
    [
      _search(fitted.form, fitted.theta_P, fitted.points, log_R, huber).x
      for log_R in log_BR
    ]
  )


def interval(values_B: np.ndarray, level: float) -> tuple[float, float]:
  """The middle `level` of draws.

  >>> interval(np.arange(101.0), 0.9)
  (5.0, 95.0)
  """
  low, high = np.quantile(values_B, [(1 - level) / 2, (1 + level) / 2])
  return float(low), float(high)


def left_out_error(
  law: laws.Law, fitted: Fit, agent: bool, huber: float
) -> float | None:
  """How far off the law is where it wasn't fitted: a root mean square.

  Each size and mixture is left out in turn with all its seeds, since a seed
  that stays would give the answer away. The mixtures with the least and the
  most agent data stay: nobody asks a law about shares beyond those.
  Relative: 0.01 is 1 %. None where what is left doesn't tell the law's
  parameters.

  Args:
    law: what `fitted` is a fit of.
    fitted: the fit to all runs.
    agent: as in `fit`.
    huber: as in `fit`.
  """
  points, loss_R = fitted.points, np.exp(fitted.log_R)
  place_R = place(points)
  squares: list[float] = []
  x_R = points.agent_R
  within_R = (x_R > x_R.min() + laws.SAME) & (x_R < x_R.max() - laws.SAME)
  for left in np.unique(place_R[within_R]):
    out_R = place_R == left
    rest = fit(
      *(law, points.at(~out_R), loss_R[~out_R], agent, huber),
      near_P=fitted.theta_P,
    )
    if isinstance(rest, str):
      return None
    off_R = np.log(rest.loss(points.at(out_R)) / loss_R[out_R])
    squares += list(off_R**2)
  return float(np.sqrt(np.mean(squares))) if squares else None


def place(points: laws.Points) -> np.ndarray:
  """A number for each run: equal for runs that differ in their seed alone."""
  rows = np.column_stack(
    [points.parameters_R, points.tokens_R, points.shares_RK]
  )
  scale = np.abs(rows).max(axis=0)
  rounded = np.round(rows / np.where(scale > 0, scale, 1), 5)
  return np.unique(rounded, axis=0, return_inverse=True)[1].reshape(-1)


def predicted_interval(
  fitted: Fit,
  theta_BP: np.ndarray,
  points: laws.Points,
  level: float,
  generator: np.random.Generator,
  beyond_R: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
  """(low_R, high_R) that a new run's loss is expected within.

  A draw of the law, and a residual drawn from the runs that it was fitted to;
  or, of a size beyond those, from runs that lay as far beyond an earlier fit.

  Args:
    beyond_R: those: the log of measured over predicted. An error has no side:
      what was too high once may be too low the next time.
  """
  log_BR = np.stack(
    [fitted.form.log_loss(theta_P, points) for theta_P in theta_BP]
  )
  if beyond_R is None:
    noise_BR = generator.choice(fitted.residuals_R, log_BR.shape)
  else:
    either_R = np.concatenate([beyond_R, -beyond_R])
    noise_BR = generator.choice(either_R, log_BR.shape)
  tails = [(1 - level) / 2, (1 + level) / 2]
  low_R, high_R = np.exp(np.quantile(log_BR + noise_BR, tails, axis=0))
  return low_R, high_R
