"""Agents that tests script: each plays a task by a rule of its own.

They see what a model sees, the conversation; an oracle is told the solution of
its task besides.
"""

import contextlib

from hephaestus_jax import replies
from hephaestus_jax.evaluation.agents import play


def always(text):
  """Says the same, whatever it is asked."""
  return lambda conversations: [replies.Reply(text) for _ in conversations]


def crashing(conversations):
  """A server that breaks off."""
  return [replies.failed(replies.LOST) for _ in conversations]


def forgetful(conversations):
  """A model whose context is full."""
  return [replies.failed(replies.REJECTED) for _ in conversations]


def played(environment, agent, tasks=None):
  """{name of the task: Played}."""
  tasks = environment.tasks() if tasks is None else tasks
  runnable = [task for task in tasks if not task.flaw]
  found = play.play(environment, runnable, agent, abreast=4)
  return {one.task.name: one for one in found}


def oracle_played(environment, tasks=None):
  """The same for the oracle: one task at a time, so that it knows which."""
  tasks = environment.tasks() if tasks is None else tasks
  results = {}
  for task in tasks:
    if task.flaw:
      continue
    told = _Told(environment)
    (one,) = play.play(told, [task], told.oracle, abreast=1)
    results[task.name] = one
  return results


class _Told:
  """An environment whose open episode an oracle is shown."""

  def __init__(self, environment):
    self._environment = environment

  def oracle(self, conversations):
    return [replies.Reply(self._episode.solution()) for _ in conversations]

  def __getattr__(self, name):
    return getattr(self._environment, name)

  @contextlib.contextmanager
  def open(self, task):
    with self._environment.open(task) as episode:
      self._episode = episode
      yield episode
