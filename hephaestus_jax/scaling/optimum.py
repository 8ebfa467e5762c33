"""The recommended mixture: where a stated trade-off of the losses is least.

The trade-off at a share x of agent data is

    J(x) = w mean(log L_a(x)) + (1 - w) mean(log L_g(x))

over the agent losses a and the general losses g. Logs, so that 1 % of one loss
weighs as much as 1 % of another, whatever its unit. With w = 1 the agent losses
alone count; the paper does not state its rule.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from hephaestus_jax.scaling import fits, laws

GRID = 201  # shares that are tried between the least and the most that were run


@dataclasses.dataclass(frozen=True)
class Drawn:
  """A fit of one loss, and its bootstrap draws."""

  fitted: fits.Fit
  theta_BP: np.ndarray
  agent: bool


@dataclasses.dataclass(frozen=True)
class Optimum:
  """The best share of agent data at one size.

  Attributes:
    share: where the trade-off is least; low, high: its interval.
    inside: whether that is neither end of what was run.
    draws_inside: the part of the draws for which it is.
    gain: by how much the trade-off is below its value at the better end;
      0.01: the losses are 1 % lower, in their weighted geometric mean.
    verdict: the above in words.
    x_G, trade_off_G, low_G, high_G: the trade-off's curve and its interval,
      less its least value.
  """

  share: float
  low: float
  high: float
  inside: bool
  draws_inside: float
  gain: float
  verdict: str
  x_G: np.ndarray
  trade_off_G: np.ndarray
  low_G: np.ndarray
  high_G: np.ndarray


def path(
  points: laws.Points, agent_G: np.ndarray, parameters: float, tokens: float
) -> laws.Points:
  """The mixture at each share of agent data, between the mixtures of the runs.

  The shares of the kinds are interpolated, so that they follow the runs'
  protocol: seed data first, then what was retrieved, text and code in
  proportion.
  """
  x_R = points.agent_R
  order = np.unique(np.round(x_R, 6))
  shares_OK = np.stack(
    [points.shares_RK[np.abs(x_R - x) < 1e-5].mean(axis=0) for x in order]
  )
  shares_GK = np.stack(
    [np.interp(agent_G, order, column_O) for column_O in shares_OK.T], axis=1
  )
  return dataclasses.replace(
    points,
    parameters_R=np.full(len(agent_G), float(parameters)),
    tokens_R=np.full(len(agent_G), float(tokens)),
    shares_RK=shares_GK,
  )


def find(
  drawn: Mapping[str, Drawn],
  points: laws.Points,
  *,
  parameters: float,
  tokens: float,
  agent_weight: float,
  level: float,
) -> Optimum:
  """The best share at one size, by one law.

  Args:
    drawn: the law's fits by loss; the draws of all took the same signs.
    points: the runs, whose mixtures the path goes through.
    parameters: of the model.
    tokens: trained on.
    agent_weight: w.
    level: of the interval.
  """
  x_R = points.agent_R
  x_G = np.linspace(x_R.min(), x_R.max(), GRID)
  asked = path(points, x_G, parameters, tokens)
  weights = _weights([one.agent for one in drawn.values()], agent_weight)
  center_G = np.zeros(GRID)
  draws_BG = np.zeros((1, GRID))
  for weight, one in zip(weights, drawn.values(), strict=True):
    form = one.fitted.form
    center_G = center_G + weight * form.log_loss(one.fitted.theta_P, asked)
    draws_BG = draws_BG + weight * np.stack(
      [form.log_loss(theta_P, asked) for theta_P in one.theta_BP]
    )
  best = int(center_G.argmin())
  best_B = draws_BG.argmin(axis=1)
  inside_B = (best_B > 0) & (best_B < GRID - 1)
  low, high = fits.interval(x_G[best_B], level)
  inside = 0 < best < GRID - 1
  bands = np.quantile(
    draws_BG - draws_BG.min(axis=1, keepdims=True),
    [(1 - level) / 2, (1 + level) / 2],
    axis=0,
  )
  return Optimum(
    share=float(x_G[best]),
    low=low,
    high=high,
    inside=inside,
    draws_inside=float(inside_B.mean()),
    gain=float(min(center_G[0], center_G[-1]) - center_G[best]),
    verdict=verdict(inside, low, high, float(x_G[0]), float(x_G[-1])),
    x_G=x_G,
    trade_off_G=center_G - center_G.min(),
    low_G=bands[0],
    high_G=bands[1],
  )


def _weights(agent: Sequence[bool], agent_weight: float) -> list[float]:
  """Each loss's weight: those of a side share that side's."""
  counts = {side: list(agent).count(side) for side in (True, False)}
  sides = {True: agent_weight, False: 1 - agent_weight}
  return [sides[side] / counts[side] for side in agent]


def verdict(
  inside: bool, low: float, high: float, first: float, last: float
) -> str:
  """What may be said: an optimum, an end, or neither.

  >>> verdict(True, 0.2, 1.0, 0.0, 1.0)
  'not told apart from the most that was run (1.00)'

  Args:
    inside: whether the best share is neither end.
    low: end of its interval.
    high: its other end.
    first: the least share that was run.
    last: the most.
  """
  if not inside:
    return 'no interior optimum'
  half = (last - first) / (GRID - 1) / 2
  at_ends = []
  if low < first + half:
    at_ends.append(f'the least share that was run ({first:.2f})')
  if high > last - half:
    at_ends.append(f'the most that was run ({last:.2f})')
  if at_ends:
    return f'not told apart from {" and ".join(at_ends)}'
  return 'interior optimum'
