"""AgentBench's environments as one benchmark, and its overall score.

The model under test is a checkpoint in this process or whatever an endpoint
serves. A score is called AgentBench's only where the tasks come from a file of
the user's; on tasks of our own it is called so. An environment that isn't
AgentBench's (tau2-bench's are not) has its own name, and no part in the overall
score.
"""

import collections
import contextlib
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hephaestus_jax import errors, language_model, model, tokenizer
from hephaestus_jax.corpus import document
from hephaestus_jax.evaluation.agents import episode, models, play

# What a score in percent is divided by, so that each environment counts the
# same: the average of the models in AgentBench's paper (ours: section 5.1).
WEIGHTS: Mapping[str, float] = {
  **{'os': 10.8, 'db': 13.0, 'hh': 13.0},
  **{'kg': 13.9, 'wb': 11.6, 'ws': 30.7},
}


@dataclasses.dataclass(frozen=True)
class AgentBench:
  """The benchmark, ready to measure a model.

  Attributes:
    environments: each under another name.
    endpoint: where the model is served; without a base_url the checkpoint is
      asked in this process.
    tokenizer: the checkpoint's vocabulary, see `tokenizer.load`.
    limit: tasks of each environment, the first of its file; None: all.
    max_new_tokens: length limit of a reply of the checkpoint.
    max_prompt_tokens: a longer conversation has filled its context.
    abreast: tasks at once.
    chat_format: how the checkpoint reads and writes conversations:
      chat.FORMATS.
    name: what the results are called.
  """

  environments: Sequence[episode.Environment]
  endpoint: language_model.Endpoint
  tokenizer: str
  limit: int | None = None
  max_new_tokens: int = 512
  max_prompt_tokens: int = 4096
  abreast: int = 8
  chat_format: str = 'chatml'
  name: str = 'agents'

  def __post_init__(self) -> None:
    names = [environment.name for environment in self.environments]
    if len(set(names)) != len(names) or not names:
      raise errors.UserError(
        f'agent_bench.AgentBench.environments are {names}: there must be one '
        'at least, and each only once.'
      )
    if self.limit is not None and self.limit < 1 or self.abreast < 1:
      raise errors.UserError(
        f'agent_bench.AgentBench: limit = {self.limit} and abreast = '
        f'{self.abreast} must be 1 at least.'
      )

  def identity(self) -> dict[str, Any]:
    """What the result depends on besides the model.

    'tokenizer' is None where no checkpoint is read.
    """
    served = self.endpoint.base_url is not None
    return {
      'environments': {one.name: one.identity() for one in self.environments},
      'endpoint': self.endpoint.identity() if served else None,
      'tokenizer': (
        None if served else tokenizer.load(self.tokenizer).fingerprint
      ),
      'limit': self.limit,
      'max_new_tokens': self.max_new_tokens,
      'max_prompt_tokens': self.max_prompt_tokens,
      'chat_format': None if served else self.chat_format,
    }

  def __call__(
    self, config: model.Config, params: dict[str, Any]
  ) -> dict[str, Any]:
    """Plays all tasks.

    Returns:
      {'environments': see `summarise`, 'overall': see `overall`, 'completions':
      [{'id', 'status', 'score', 'rounds', 'failure'}], 'trajectories':
      [Document]}.

    Raises:
      errors.UserError: an environment's file, program or library isn't there;
        or as `Client.ask` says.
    """
    environments: dict[str, dict[str, Any]] = {}
    completions: list[dict[str, Any]] = []
    trajectories: list[document.Document] = []
    with contextlib.ExitStack() as stack:
      if self.endpoint.base_url is not None:
        agent = models.asking(
          stack.enter_context(language_model.Client(self.endpoint))
        )
      else:
        agent = models.generating(
          config,
          params,
          tokenizer.load(self.tokenizer),
          max_new_tokens=self.max_new_tokens,
          max_prompt_tokens=self.max_prompt_tokens,
          batch_size=self.abreast,
          chat_format=self.chat_format,
        )
      for environment in self.environments:
        tasks = environment.tasks()
        chosen = [task for task in tasks if not task.flaw][: self.limit]
        played = list(
          play.play(environment, chosen, agent, abreast=self.abreast)
        )
        identity = environment.identity()
        key = called(environment.name, identity['data'])
        environments[key] = {
          **summarise(played),
          **left_out(tasks, len(played)),
          'data': identity['data'],
          'prompt': identity['prompt'],
        }
        for one in played:
          completions.append(
            {
              'id': f'{environment.name}/{one.task.name}',
              'status': one.status,
              'score': one.score,
              'rounds': one.rounds,
              'failure': one.failure,
            }
          )
          trajectories.append(one.trajectory)
    return {
      'environments': environments,
      'overall': overall(environments),
      'completions': completions,
      'trajectories': trajectories,
    }


def called(name: str, data: str) -> str:
  """The name that a score bears.

  >>> called('os', 'dev.json 03aa'), called('kg', episode.OURS)
  ('agentbench_os', 'kg_on_tasks_of_ours')
  >>> called('tau2_retail', 'tau2.txt 5b1c')
  'tau2_retail'
  """
  if data == episode.OURS:
    return f'{name}_on_tasks_of_ours'
  return f'agentbench_{name}' if name in WEIGHTS else name


def summarise(played: Sequence[play.Played]) -> dict[str, Any]:
  """What an environment's tasks came to.

  Returns:
    {'score': percent, the mean over the groups of tasks of the means in them;
    'tasks': how many, 'rounds': replies for one, and how many ended with each
    status that any ended with}.
  """
  groups: dict[str, list[float]] = {}
  for one in played:
    groups.setdefault(one.task.group, []).append(one.score)
  means = [sum(scores) / len(scores) for scores in groups.values()]
  statuses = collections.Counter(one.status for one in played)
  return {
    'score': 100 * sum(means) / len(means) if means else None,
    'tasks': len(played),
    'rounds': sum(one.rounds for one in played) / max(1, len(played)),
    **{
      status.replace(' ', '_'): statuses[status]
      for status in episode.STATUSES
      if statuses[status]
    },
  }


def left_out(tasks: Iterable[episode.Task], played: int) -> dict[str, int]:
  """How many tasks of the file weren't played, and why.

  Returns:
    {'left_out': 3, 'no_script': 1, 'beyond_the_limit': 2}
  """
  tasks = list(tasks)
  reasons = collections.Counter(task.flaw for task in tasks if task.flaw)
  reasons['beyond_the_limit'] = len(tasks) - reasons.total() - played
  return {'left_out': len(tasks) - played, **(+reasons)}


def overall(environments: Mapping[str, Mapping[str, Any]]) -> float | None:
  """AgentBench's overall score: the mean of score / weight.

  None unless all six environments ran on its own tasks, and all of these but
  such as no machine could run.
  """
  wanted = {called(name, 'a file'): name for name in WEIGHTS}
  ran = {key: one for key, one in environments.items() if key in wanted}
  if set(ran) != set(wanted) or any(
    one['score'] is None or 'beyond_the_limit' in one for one in ran.values()
  ):
    return None
  return sum(
    one['score'] / WEIGHTS[wanted[key]] for key, one in ran.items()
  ) / len(WEIGHTS)
