"""The laws: how a loss depends on a model's size, its tokens and its mixture.

A law is a function that takes the runs it shall explain and gives a `Form`: a
loss by parameters that a search may move freely. Where the runs can't tell a
law's parameters apart it gives the reason instead, a string.

Axes of arrays: R runs, K kinds of text, F kinds that vary independently,
P a form's parameters, S starts of the search.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

# Equal mixtures and sizes that went through a file differ by less.
SAME = 1e-6
SMALLEST_LOSS = 1e-6


@dataclasses.dataclass(frozen=True)
class Points:
  """Where losses were measured, or are asked for: a row per run.

  Attributes:
    parameters_R: of the model, N.
    tokens_R: trained on, D.
    shares_RK: of the mixture; a row sums to 1.
    kinds: names of the columns of `shares_RK`.
    agent_kinds: those of them that are agent data.
  """

  parameters_R: np.ndarray
  tokens_R: np.ndarray
  shares_RK: np.ndarray
  kinds: tuple[str, ...]
  agent_kinds: tuple[str, ...]

  @property
  def agent_R(self) -> np.ndarray:
    """The share of agent data, the paper's x."""
    columns = [self.kinds.index(kind) for kind in self.agent_kinds]
    return self.shares_RK[:, columns].sum(axis=1)

  def at(self, rows_R: np.ndarray) -> 'Points':
    """Some of the rows: by number, or where a mask is true."""
    return dataclasses.replace(
      self,
      parameters_R=self.parameters_R[rows_R],
      tokens_R=self.tokens_R[rows_R],
      shares_RK=self.shares_RK[rows_R],
    )


@dataclasses.dataclass(frozen=True)
class Form:
  """A law, made ready for a search over its parameters.

  Attributes:
    log_loss: (theta_P, points) -> the log of the loss at each point, in nats.
    starts_SP: where searches begin.
    low_P, high_P: what theta may be.
    published: theta_P -> the parameters as the law's equation names them.
  """

  log_loss: Callable[[np.ndarray, Points], np.ndarray]
  starts_SP: np.ndarray
  low_P: np.ndarray
  high_P: np.ndarray
  published: Callable[[np.ndarray], dict[str, float]]


# (the runs, the log of their losses, is it the loss of an agent benchmark).
Law = Callable[[Points, np.ndarray, bool], Form | str]


def power_of_share(
  points: Points, log_R: np.ndarray, agent: bool
) -> Form | str:
  """L(x) = c + k x^alpha: the paper's law (section 5).

  x is the share of agent data, size and tokens are the same in all runs. The
  law is monotone: alone it has no optimum inside. The search moves the losses
  at both ends of the range and alpha, which the data pin down one by one; c
  and k follow. alpha is above 0 where a run has x = 0.
  """
  del agent
  x_R = points.agent_R
  first, last = float(x_R.min()), float(x_R.max())
  if len(distinct(x_R)) < 4:
    return f'{len(distinct(x_R))} shares of agent data; 3 parameters need 4'
  with_zero = first < SAME

  def rise(alpha: float, x_R: np.ndarray) -> np.ndarray:
    """From 0 at the first share to 1 at the last, as x^alpha goes."""
    if with_zero:
      return (x_R / last) ** alpha
    alpha = alpha if abs(alpha) > SAME else SAME  # there it is the logarithm
    x_R = np.maximum(x_R, SAME)
    end = np.expm1(alpha * np.log(last / first))
    return np.expm1(alpha * np.log(x_R / first)) / end

  def log_loss(theta_P: np.ndarray, points: Points) -> np.ndarray:
    low, high = np.exp(theta_P[:2])
    return _log(low + (high - low) * rise(theta_P[2], points.agent_R))

  def published(theta_P: np.ndarray) -> dict[str, float]:
    low, high = np.exp(theta_P[:2])
    alpha = theta_P[2]
    if abs(alpha) < SAME:
      alpha = SAME
    start = 0.0 if with_zero else first**alpha
    k = (high - low) / (last**alpha - start)
    return {'c': low - k * start, 'k': k, 'alpha': alpha}

  ends = [float(log_R[np.abs(x_R - x) < SAME].mean()) for x in (first, last)]
  alphas = [0.2, 0.5, 1.0, 2.0, 4.0]
  if not with_zero:
    alphas += [-0.2, -0.5, -1.0]
  return Form(
    log_loss=log_loss,
    starts_SP=np.array([[*ends, alpha] for alpha in alphas]),
    low_P=np.array([ends[0] - 2, ends[1] - 2, 0.02 if with_zero else -8.0]),
    high_P=np.array([ends[0] + 2, ends[1] + 2, 12.0]),
    published=published,
  )


def exponential_of_shares(
  points: Points, log_R: np.ndarray, agent: bool
) -> Form | str:
  """L(r) = c + k exp(sum_j t_j r_j), k > 0: Ye et al. 2024, arXiv:2403.16952.

  r_j are the shares of the kinds of text, size and tokens are the same in all
  runs. Shares sum to 1 and follow one another along a path of mixtures: only
  those that vary independently have a t_j (see `independent`).
  """
  del agent
  kinds = independent(points)
  mixtures = len(distinct(points.shares_RK))
  if mixtures <= 2 + len(kinds):
    return f'{mixtures} mixtures; {2 + len(kinds)} parameters need more'
  columns = [points.kinds.index(kind) for kind in kinds]

  def log_loss(theta_P: np.ndarray, points: Points) -> np.ndarray:
    exponent_R = theta_P[1] + points.shares_RK[:, columns] @ theta_P[2:]
    return _log(np.exp(theta_P[0]) + np.exp(np.minimum(exponent_R, 50)))

  def published(theta_P: np.ndarray) -> dict[str, float]:
    rates = {f't_{k}': t for k, t in zip(kinds, theta_P[2:], strict=True)}
    return {'c': np.exp(theta_P[0]), 'k': np.exp(theta_P[1]), **rates}

  least, most = float(log_R.min()), float(log_R.max())
  starts = [
    [least + np.log(share), most + np.log(1 - share), *([t] * len(kinds))]
    for share in (0.3, 0.7, 0.95)
    for t in (-4.0, -0.5, 0.5, 4.0)
  ]
  return Form(
    log_loss=log_loss,
    starts_SP=np.array(starts),
    low_P=np.array([least - 7, least - 14, *([-60.0] * len(kinds))]),
    high_P=np.array([most, most + 4, *([60.0] * len(kinds))]),
    published=published,
  )


def sum_of_terms(points: Points, log_R: np.ndarray, agent: bool) -> Form | str:
  """L(N, D, r) = E + A / N^alpha + B / D^beta + k exp(sum_j t_j r_j).

  Size and tokens as in Hoffmann et al. 2022 (arXiv:2203.15556, approach 3), and
  a term of the mixture that is added to them, as in the additive law of Shukor
  et al. 2025 (arXiv:2507.09404); its form is that of Ye et al. 2024. Where
  tokens are a fixed multiple of parameters the terms of N and D can't be told
  apart, and that of N stands for both.
  """
  del agent
  kinds = independent(points)
  sizes = len(distinct(points.parameters_R))
  if sizes < 3:
    return f'{sizes} sizes; a floor and a slope need 3'
  both = _tokens_are_free(points) and len(distinct(points.tokens_R)) >= 3
  columns = [points.kinds.index(kind) for kind in kinds]
  middle_n = float(np.exp(np.log(points.parameters_R).mean()))
  middle_d = float(np.exp(np.log(points.tokens_R).mean()))
  powers = 2 if both else 1  # theta: E, k, t_F, then (coefficient, exponent)
  first = 2 + len(kinds)
  if len(distinct(_places(points))) <= first + 2 * powers:
    return f'{len(distinct(_places(points)))} mixtures and sizes; too few'

  def log_loss(theta_P: np.ndarray, points: Points) -> np.ndarray:
    exponent_R = theta_P[1] + points.shares_RK[:, columns] @ theta_P[2:first]
    loss_R = np.exp(theta_P[0]) + np.exp(np.minimum(exponent_R, 50))
    bases = (points.parameters_R / middle_n, points.tokens_R / middle_d)
    for power in range(powers):
      coefficient, exponent = theta_P[first + 2 * power :][:2]
      loss_R = loss_R + np.exp(coefficient - exponent * np.log(bases[power]))
    return _log(loss_R)

  def published(theta_P: np.ndarray) -> dict[str, float]:
    named = {'E': np.exp(theta_P[0]), 'k': np.exp(theta_P[1])}
    named |= {f't_{k}': t for k, t in zip(kinds, theta_P[2:first], strict=True)}
    for power, (coefficient, exponent, middle) in enumerate(
      (('A', 'alpha', middle_n), ('B', 'beta', middle_d))[:powers]
    ):
      log_coefficient, value = theta_P[first + 2 * power :][:2]
      named[coefficient] = np.exp(log_coefficient) * middle**value
      named[exponent] = value
    return named

  level = float(log_R.mean())
  starts = [
    [
      *(level + np.log(floor), level + np.log(0.2), *([t] * len(kinds))),
      *([level + np.log((0.8 - floor) / powers), exponent] * powers),
    ]
    for floor in (0.2, 0.6)
    for t in (-3.0, 0.5)
    for exponent in (0.1, 0.4)
  ]
  low = [level - 7, level - 14, *([-60.0] * len(kinds))]
  high = [level + 1, level + 4, *([60.0] * len(kinds))]
  return Form(
    log_loss=log_loss,
    starts_SP=np.array(starts),
    low_P=np.array(low + [level - 9, 0.01] * powers),
    high_P=np.array(high + [level + 1, 2.0] * powers),
    published=published,
  )


def share_times_tokens(
  points: Points, log_R: np.ndarray, agent: bool
) -> Form | str:
  """L(r, s) = (B / s^beta + C) / r^alpha: BiMix, Ge et al. 2024.

  arXiv:2405.14908. r is the share of the loss's own kind of text: agent data
  for an agent benchmark, all else for a general one. s is the tokens trained
  on. The law's A is left out: B and C take it in. A share of 0 makes the loss
  infinite, so those runs are not explained, and an optimum of agent and general
  losses lies inside *by construction*: it is no finding. Two sizes can't tell
  the floor C, which is then 0.
  """

  def own_R(points: Points) -> np.ndarray:
    return points.agent_R if agent else 1 - points.agent_R

  if own_R(points).min() < SAME:
    return 'a run has none of the kind of text that the loss is about'
  lengths = len(distinct(points.tokens_R))
  if lengths < 2 or len(distinct(points.agent_R)) < 2:
    return 'one length of training, or one share: a slope needs two'
  floor = lengths > 2
  middle = float(np.exp(np.log(points.tokens_R).mean()))

  def log_loss(theta_P: np.ndarray, points: Points) -> np.ndarray:
    falling_R = np.exp(
      theta_P[1] - theta_P[2] * np.log(points.tokens_R / middle)
    )
    if floor:
      falling_R = falling_R + np.exp(theta_P[3])
    own = np.maximum(own_R(points), SAME)
    return _log(falling_R) - theta_P[0] * np.log(own)

  def published(theta_P: np.ndarray) -> dict[str, float]:
    named = {
      'alpha': theta_P[0],
      'B': np.exp(theta_P[1]) * middle ** theta_P[2],
      'beta': theta_P[2],
    }
    return named | ({'C': np.exp(theta_P[3])} if floor else {})

  level = float(log_R.mean())
  rest = [level - 0.5] if floor else []
  starts = [
    [alpha, level - 0.5, beta, *rest]
    for alpha in (0.05, 0.5)
    for beta in (0.1, 0.4)
  ]
  more = 1 if floor else 0
  return Form(
    log_loss=log_loss,
    starts_SP=np.array(starts),
    low_P=np.array([-0.5, level - 9, 0.001, *([level - 9] * more)]),
    high_P=np.array([3.0, level + 2, 2.0, *([level + 1] * more)]),
    published=published,
  )


def regression(points: Points, log_R: np.ndarray, agent: bool) -> Form | str:
  """log L = b + sum_j b_j r_j + q x^2 + a log N + d log D.

  After RegMix (Liu et al. 2024, arXiv:2407.01492), which regresses losses of
  small runs on their shares, linearly or by trees. Linear alone has no optimum
  inside; the square of the agent share x lets it have one. Terms that the runs
  don't vary are left out.
  """
  del agent
  kinds = independent(points)
  columns = [points.kinds.index(kind) for kind in kinds]
  middle_n = float(np.log(points.parameters_R).mean())
  middle_d = float(np.log(points.tokens_R).mean())
  sized = len(distinct(points.parameters_R)) > 1
  lengthened = _tokens_are_free(points)
  names = ['b', *(f'b_{kind}' for kind in kinds)]
  names += ['q'] * (len(distinct(points.agent_R)) > 2)
  curved = 'q' in names
  names += ['a'] * sized + ['d'] * lengthened
  if len(distinct(_places(points))) <= len(names):
    return f'{len(distinct(_places(points)))} mixtures and sizes; too few'

  def terms_RP(points: Points) -> np.ndarray:
    terms = [np.ones_like(points.parameters_R)]
    terms += [points.shares_RK[:, column] for column in columns]
    terms += [points.agent_R**2] * curved
    terms += [np.log(points.parameters_R) - middle_n] * sized
    terms += [np.log(points.tokens_R) - middle_d] * lengthened
    return np.stack(terms, axis=1)

  def log_loss(theta_P: np.ndarray, points: Points) -> np.ndarray:
    return terms_RP(points) @ theta_P

  start_P = np.linalg.lstsq(terms_RP(points), log_R, rcond=None)[0]
  free_P = np.full(len(names), np.inf)
  return Form(
    log_loss=log_loss,
    starts_SP=start_P[None],
    low_P=-free_P,
    high_P=free_P,
    published=lambda theta_P: dict(zip(names, theta_P, strict=True)),
  )


# Each with whether one fit takes in all sizes, or each size has its own.
LAWS: Mapping[str, tuple[Law, bool]] = {
  'power_of_share': (power_of_share, False),
  'exponential_of_shares': (exponential_of_shares, False),
  'sum_of_terms': (sum_of_terms, True),
  'share_times_tokens': (share_times_tokens, True),
  'regression': (regression, True),
}
# Their optimum says nothing: see the law.
INSIDE_BY_CONSTRUCTION = ('share_times_tokens',)


def independent(points: Points) -> tuple[str, ...]:
  """The kinds whose shares vary on their own, in the order of the columns.

  Others are a constant and a multiple of those, over all the runs.

  >>> independent(points)  # text and code halve what the seed leaves
  ('seed',)
  """
  known_RF = np.ones((len(points.shares_RK), 1))
  found = []
  for column, kind in enumerate(points.kinds):
    with_it = np.column_stack([known_RF, points.shares_RK[:, column]])
    if np.linalg.matrix_rank(with_it, tol=1e-3) > known_RF.shape[1]:
      known_RF = with_it
      found.append(kind)
  return tuple(found)


def distinct(values: np.ndarray) -> np.ndarray:
  """Values, or rows of them, that differ by more than a rounding error."""
  scale = np.abs(values).max(axis=0)
  rounded = np.round(values / np.where(scale > 0, scale, 1), 5)
  return np.unique(rounded, axis=0)


def _places(points: Points) -> np.ndarray:
  """What a run is, but for its seed: one row each."""
  return np.column_stack(
    [points.parameters_R, points.tokens_R, points.shares_RK]
  )


def _tokens_are_free(points: Points) -> bool:
  """Whether tokens vary otherwise than with the number of parameters."""
  logs = [np.log(points.parameters_R), np.log(points.tokens_R)]
  ones = np.ones_like(logs[0])
  sized = np.stack([ones, logs[0]], axis=1)
  whole = np.stack([ones, *logs], axis=1)
  rank = np.linalg.matrix_rank
  return bool(rank(whole, tol=1e-2) > rank(sized, tol=1e-2))


def _log(loss_R: np.ndarray) -> np.ndarray:
  """Its log; beyond the range of the runs a law may fall below nought."""
  return np.log(np.maximum(loss_R, SMALLEST_LOSS))
