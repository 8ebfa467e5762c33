"""What an agent acts in: a text that answers actions with text."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Protocol


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What an action led to.

  Attributes:
    observation: the environment's own words.
    reward: 0.0 to 1.0, of all that was done since the reset.
    done: whether the task has ended, well or badly.
  """

  observation: str
  reward: float
  done: bool


class Environment(Protocol):
  """One task. Deterministic: equal actions after `reset` have equal outcomes.

  Attributes:
    instructions: which actions there are, for the agent to read.
    task: what it shall do.
  """

  instructions: str
  task: str

  def reset(self) -> str:
    """Begins anew and gives the first observation."""

  def step(self, action: str) -> Outcome:
    """Does an action. One that makes no sense has an observation, too."""

  def admissible(self) -> tuple[str, ...]:
    """Some actions that make sense now, not all of them wise."""

  def solution(self) -> tuple[str, ...]:
    """The actions that lead from here to the goal; () where none is known."""

  def close(self) -> None:
    """Frees what the environment holds."""


@dataclasses.dataclass(frozen=True)
class Task:
  """A task of a world, or the reason why a record of it is none.

  Attributes:
    name: unique among all worlds of a run, and the group of its Documents: what
      a held-out split keeps together.
    flaw: '' or a reason to drop it.
  """

  name: str
  flaw: str = ''


class World(Protocol):
  """A family of tasks. `licence` is the SPDX identifier of their texts."""

  licence: str

  def identity(self) -> Mapping[str, Any]:
    """JSON that the tasks depend on."""

  def tasks(self) -> Iterator[Task]:
    """The tasks, in the same order each time."""

  def open(self, name: str) -> Environment:
    """The environment of a task; to be closed."""
