"""Do the intervals of `hephaestus fit` hold what they say?

    python benchmarks/fit_coverage.py --studies 200 --draws 100

Each study is a sweep whose laws we chose (6 shares, 2 seeds), with normal noise
on the log of the losses. Two questions:

- one size: c, k, alpha of the paper's law for a loss that falls with the share
  of agent data and one that rises, and the best share by both;
- three sizes: the law of sums (the share's part is exponential, as that law
  says), its alpha, and the losses of a size four times the largest.

A line of JSON for each number: the truth, the mean of the estimates, its error
in units of their spread, and how many of the studies' intervals held the truth.
"""

import argparse
import dataclasses
import functools
import json
from collections.abc import Callable

import numpy as np

from hephaestus_jax.scaling import fits, laws, optimum

SHARES = (0.0, 0.1, 0.2, 0.36, 0.6, 1.0)
SIZES = (500_000, 1_500_000, 5_000_000)
LARGER = 20_000_000
KINDS = ('documentation', 'trajectory', 'code', 'text')
SEED_SHARE = 0.1
FALLING, RISING = (4.0, -1.5, 0.5), (3.0, 0.9, 2.0)  # c, k, alpha
HUBER = 0.01
LEVEL = 0.9


@dataclasses.dataclass(frozen=True)
class Estimate:
  """One number of one study."""

  true: float
  value: float
  low: float
  high: float


def points(sizes: tuple[int, ...], seeds: int = 2) -> laws.Points:
  """A run for each size, share and seed, 50 tokens a parameter."""
  rows = [(n, x) for n in sizes for x in SHARES for _ in range(seeds)]
  n_R, x_R = np.array(rows).T
  seed_R = np.minimum(x_R, SEED_SHARE)
  rest_R = (1 - x_R) / 2
  shares_RK = np.stack([seed_R, x_R - seed_R, rest_R, rest_R], axis=1)
  return laws.Points(n_R, 50 * n_R, shares_RK, KINDS, KINDS[:2])


def fitted(
  law: laws.Law,
  runs: laws.Points,
  true_R: np.ndarray,
  noise: float,
  agent: bool,
  seed: int,
  draws: int,
) -> tuple[fits.Fit, np.ndarray]:
  """A study's fit and its draws."""
  generator = np.random.default_rng([seed, int(agent)])
  loss_R = true_R * np.exp(noise * generator.standard_normal(len(true_R)))
  found = fits.fit(law, runs, loss_R, agent, HUBER)
  assert isinstance(found, fits.Fit), found
  return found, fits.redraw(found, draws, seed, HUBER)


def told(
  name: str, true: float, found: fits.Fit, theta_BP: np.ndarray
) -> Estimate:
  """A parameter of a law."""
  published = found.form.published
  draws_B = np.array([published(theta_P)[name] for theta_P in theta_BP])
  value = published(found.theta_P)[name]
  return Estimate(true, value, *fits.interval(draws_B, LEVEL))


def one_size(noise: float, draws: int, seed: int) -> dict[str, Estimate]:
  """The paper's law, twice, and the best share."""
  runs = points(SIZES[:1])
  estimates: dict[str, Estimate] = {}
  drawn: dict[str, optimum.Drawn] = {}
  for loss, theta in (('falling', FALLING), ('rising', RISING)):
    c, k, alpha = theta
    found, theta_BP = fitted(
      laws.power_of_share,
      runs,
      c + k * runs.agent_R**alpha,
      noise,
      loss == 'falling',
      seed,
      draws,
    )
    drawn[loss] = optimum.Drawn(found, theta_BP, loss == 'falling')
    for name, true in zip(('c', 'k', 'alpha'), theta, strict=True):
      estimates[f'{loss}: {name}'] = told(name, true, found, theta_BP)
  best = optimum.find(
    drawn,
    runs,
    parameters=SIZES[0],
    tokens=50 * SIZES[0],
    agent_weight=0.5,
    level=LEVEL,
  )
  x_G = np.linspace(0, 1, 100_001)
  true_G = sum(np.log(c + k * x_G**a) for c, k, a in (FALLING, RISING))
  true = float(x_G[true_G.argmin()])
  estimates['best share'] = Estimate(true, best.share, best.low, best.high)
  return estimates


def three_sizes(noise: float, draws: int, seed: int) -> dict[str, Estimate]:
  """The law of sums, and what it says of a larger size."""
  runs = points(SIZES)

  def true_R(asked: laws.Points) -> np.ndarray:
    mixture_R = np.exp(asked.shares_RK @ np.array([-6.0, -1.5, 0, 0]))
    return 1.5 + 8.0 * asked.parameters_R**-0.15 + 0.8 * mixture_R

  found, theta_BP = fitted(
    laws.sum_of_terms, runs, true_R(runs), noise, True, seed, draws
  )
  estimates = {'sum: alpha': told('alpha', 0.15, found, theta_BP)}
  larger = points((LARGER,), seeds=1)
  draws_BR = np.array(
    [np.exp(found.form.log_loss(theta_P, larger)) for theta_P in theta_BP]
  )
  for i in (0, 3, 5):
    estimates[f'sum: loss at {LARGER:,}, share {SHARES[i]}'] = Estimate(
      float(true_R(larger)[i]),
      float(found.loss(larger)[i]),
      *fits.interval(draws_BR[:, i], LEVEL),
    )
  # A run that nobody has seen, its own noise in it.
  new_R = true_R(larger) * np.exp(
    noise * np.random.default_rng([seed, 9]).standard_normal(len(SHARES))
  )
  low_R, high_R = fits.predicted_interval(
    found, theta_BP, larger, LEVEL, np.random.default_rng(seed)
  )
  estimates[f'sum: a run at {LARGER:,}, share 0.36'] = Estimate(
    *(float(v[3]) for v in (new_R, found.loss(larger), low_R, high_R))
  )
  return estimates


def measure(study: Callable[[int], dict[str, Estimate]], studies: int) -> None:
  """Prints a line for each number of a kind of study."""
  found = [study(seed) for seed in range(studies)]
  for name in found[0]:
    of_name = [one[name] for one in found]
    true = np.array([one.true for one in of_name])
    value = np.array([one.value for one in of_name])
    held = sum(one.low <= one.true <= one.high for one in of_name)
    bias = float((value - true).mean())
    spread = float((value - true).std())
    print(
      json.dumps(
        {
          'number': name,
          'true': round(float(true.mean()), 5),
          'mean': round(float(value.mean()), 5),
          'spread': round(spread, 5),
          'bias_in_spreads': round(bias / spread, 3),
          'held': held,
          'studies': studies,
        }
      ),
      flush=True,
    )


def main() -> None:
  """Measures what the command line asks for."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--studies', type=int, default=200)
  parser.add_argument('--draws', type=int, default=100)
  parser.add_argument('--noise', type=float, default=0.005)
  parser.add_argument(
    '--only', choices=('one_size', 'three_sizes'), help='one of the questions'
  )
  options = parser.parse_args()
  for study in (one_size, three_sizes):
    if options.only in (None, study.__name__):
      measure(
        functools.partial(study, options.noise, options.draws), options.studies
      )


if __name__ == '__main__':
  main()
