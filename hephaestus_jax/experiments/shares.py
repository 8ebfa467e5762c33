"""How much agent data a run reads: the mixtures of a scaling study.

The paper's protocol (section 5): the total is fixed; agent data is seed data
first, then retrieved web text is added, and text and code shrink in proportion.
How large the seed may become, the paper doesn't say: here it is read as often
as `seed_epochs` says, and what is retrieved makes up the rest.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence

from hephaestus_jax import artefacts, errors
from hephaestus_jax.experiments import measure


@dataclasses.dataclass(frozen=True)
class Shares:
  """Mixtures of the Tasks of another one, at other rates.

  Attributes:
    cache_dir: the cache that has it, and gets the new ones.
    mixture: its name. Within the seed, what is retrieved, and text and code
      together, Tasks keep the proportions that they have in it.
    retrieved: those of its Tasks that hold retrieved text, of whatever kind.
      Those it doesn't have are left out.
    seed_epochs: how often a run may read the seed; where nothing is retrieved
      it is read as often as the share asks for.
  """

  cache_dir: str
  mixture: str
  retrieved: Sequence[str] = ()
  seed_epochs: float = 1.0

  def write(self, name: str, agent_share: float, tokens: int) -> None:
    """Writes the mixture of a run as `hephaestus cache` writes its own.

    Args:
      name: the mixture's.
      agent_share: from 0 to 1.
      tokens: what the run reads in all.

    Raises:
      errors.UserError: the share is none; the cache or its mixture is not
        there, or lacks what the share asks for; the mixture was written before
        with other rates.
    """
    folder = pathlib.Path(self.cache_dir) / 'mixtures'
    base = folder / f'{self.mixture}.json'
    if not base.exists():
      raise errors.UserError(
        f'{base} does not exist, and the sweep mixes its Tasks. Name a mixture '
        'that `hephaestus cache` makes as SWEEP_MIXTURE.'
      )
    known = json.loads(base.read_text())['rates']
    wanted = {
      'rates': rates(
        known,
        {task: self._kind(task) for task in known},
        agent_share,
        self._seed_tokens(known) * self.seed_epochs / tokens,
      )
    }
    path = folder / f'{name}.json'
    if path.exists() and json.loads(path.read_text()) != wanted:
      raise errors.UserError(
        f'{path} was written for other rates: '
        f'{artefacts.difference(json.loads(path.read_text()), wanted)}. Delete '
        'it and the folders of the runs that read it, or give the run another '
        'RUN_DIR.'
      )
    artefacts.write_json(path, wanted)

  def _kind(self, task: str) -> str:
    """'seed', 'retrieved' or 'general'."""
    if task in self.retrieved:
      return 'retrieved'
    kind = measure.kind_of(pathlib.Path(self.cache_dir), task)
    return 'seed' if kind in measure.AGENT_KINDS else 'general'

  def _seed_tokens(self, tasks: Mapping[str, float]) -> int:
    folder = pathlib.Path(self.cache_dir) / 'tasks'
    return sum(
      json.loads((folder / task / 'train' / 'cache.json').read_text())['tokens']
      for task in tasks
      if self._kind(task) == 'seed'
    )


def rates(
  known: Mapping[str, float],
  kinds: Mapping[str, str],
  agent_share: float,
  most_seed: float,
) -> dict[str, float]:
  """Rates at which `agent_share` of the rows are agent data.

  >>> rates({'docs': 0.3, 'calls': 0.1, 'web': 0.2, 'books': 0.1, 'code': 0.3},
  ...       {'docs': 'seed', 'calls': 'seed', 'web': 'retrieved',
  ...        'books': 'general', 'code': 'general'}, 0.6, 0.4)
  {'docs': 0.3, 'calls': 0.1, 'web': 0.2, 'books': 0.1, 'code': 0.3}

  Args:
    known: the rates of the mixture that it is made of.
    kinds: 'seed', 'retrieved' or 'general', of each Task.
    agent_share: seed and retrieved together.
    most_seed: the share that the seed may have.

  Raises:
    errors.UserError: the share is not from 0 to 1, or there is nothing of what
      it asks for.
  """
  if not 0 <= agent_share <= 1:
    raise errors.UserError(
      f'AGENT_SHARES has {agent_share}, which is not from 0 to 1.'
    )
  totals = dict.fromkeys(('seed', 'retrieved', 'general'), 0.0)
  for task, rate in known.items():
    totals[kinds[task]] += rate
  seed = min(agent_share, most_seed) if totals['retrieved'] else agent_share
  wanted = {
    'seed': seed,
    'retrieved': agent_share - seed,
    'general': 1 - agent_share,
  }
  for kind, share in wanted.items():
    if share and not totals[kind]:
      raise errors.UserError(
        f'A share of agent data of {agent_share} takes {share:.3f} of {kind} '
        f'data, and the mixture of {sorted(known)} has none.'
      )
  return {
    task: wanted[kinds[task]] * rate / (totals[kinds[task]] or 1.0)
    for task, rate in known.items()
  }
