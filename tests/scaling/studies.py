"""Tables of runs whose laws we chose, as a sweep would leave them."""

import pathlib

import numpy as np
import pyarrow
import pyarrow.parquet

from hephaestus_jax.scaling import laws

KINDS = ('documentation', 'trajectory', 'code', 'text')
AGENT_KINDS = KINDS[:2]
SEED_SHARE = 0.1  # of all tokens; agent data beyond it is retrieved
SHARES = (0.0, 0.1, 0.2, 0.36, 0.6, 1.0)
SIZES = (500_000, 1_500_000, 5_000_000)
# c, k, alpha of the paper's law: the agent loss falls, the general one rises.
AGENT = (4.0, -1.5, 0.5)
GENERAL = (3.0, 0.9, 2.0)


def mixtures(agent_R: np.ndarray) -> np.ndarray:
  """The paper's protocol: seed first, then more; text and code halve the rest.

  >>> mixtures(np.array([0.3]))
  array([[0.1 , 0.2 , 0.35, 0.35]])
  """
  seed_R = np.minimum(agent_R, SEED_SHARE)
  rest_R = (1 - agent_R) / 2
  return np.stack([seed_R, agent_R - seed_R, rest_R, rest_R], axis=1)


def points(
  shares: tuple[float, ...] = SHARES,
  sizes: tuple[int, ...] = SIZES,
  seeds: int = 2,
  multiples: tuple[float, ...] = (50.0,),
) -> laws.Points:
  """A run for each size, token multiple, share and seed; seeds vary fastest."""
  n_R, m_R, x_R, _ = np.array(
    [
      (size, multiple, share, seed)
      for size in sizes
      for multiple in multiples
      for share in shares
      for seed in range(seeds)
    ]
  ).T
  return laws.Points(n_R, m_R * n_R, mixtures(x_R), KINDS, AGENT_KINDS)


def power(theta: tuple[float, float, float], x_R: np.ndarray) -> np.ndarray:
  """c + k x^alpha."""
  c, k, alpha = theta
  return c + k * x_R**alpha


def sized(theta: tuple[float, float, float], points: laws.Points) -> np.ndarray:
  """The same, with a power of the size added."""
  return power(theta, points.agent_R) + 8.0 * points.parameters_R**-0.15


def noisy(loss_R: np.ndarray, noise: float, seed: int) -> np.ndarray:
  """Losses whose logs have normal noise."""
  generator = np.random.default_rng(seed)
  return loss_R * np.exp(noise * generator.standard_normal(len(loss_R)))


def write(
  path: pathlib.Path, points: laws.Points, losses: dict[str, np.ndarray]
) -> None:
  """A Parquet file with the columns of a sweep's table."""
  table = {
    'run': [f'run{i}' for i in range(len(points.agent_R))],
    'seed': [i % 2 for i in range(len(points.agent_R))],
    'status': ['done'] * len(points.agent_R),
    'parameters': points.parameters_R,
    'tokens': points.tokens_R,
    'share/agent': points.agent_R,
    **{
      f'share/{kind}': points.shares_RK[:, i]
      for i, kind in enumerate(points.kinds)
    },
    **{
      f'evaluation/{name}/nll_per_token': loss_R
      for name, loss_R in losses.items()
    },
  }
  pyarrow.parquet.write_table(pyarrow.table(table), path)
