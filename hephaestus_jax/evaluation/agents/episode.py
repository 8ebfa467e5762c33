"""What all of AgentBench's environments have in common: tasks, turns, an end.

An environment opens a task as an Episode, which says what the agent is asked
first, what each of its replies leads to, and what all of it was worth. The loop
that carries words to and fro is `play`.

How a task ends is told in AgentBench's own words (Liu et al. 2023, section 4.1;
in its tables Complete, TLE, IF, IA and CLE).
"""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from hephaestus_jax import errors, language_model

Conversation = tuple[language_model.Message, ...]

COMPLETED = 'completed'
TASK_LIMIT = 'task limit reached'
INVALID_FORMAT = 'agent validation failed'  # no action can be read
INVALID_ACTION = 'agent invalid action'  # it can be read, and isn't allowed
CONTEXT_LIMIT = 'agent context limit'
UNKNOWN = 'unknown'  # the agent, or what it did to the environment, broke
STATUSES = (
  *(COMPLETED, TASK_LIMIT, INVALID_FORMAT),
  *(INVALID_ACTION, CONTEXT_LIMIT, UNKNOWN),
)

OURS = 'ours'


@dataclasses.dataclass(frozen=True)
class Task:
  """A task of a file, or a record that can't be one here.

  Attributes:
    name: unique in its environment.
    record: as the file has it.
    group: scores are averaged in each group first, then over the groups.
    flaw: '' or why it is left out.
  """

  name: str
  record: Mapping[str, Any]
  group: str = ''
  flaw: str = ''


@dataclasses.dataclass(frozen=True)
class Turn:
  """What a reply led to.

  Attributes:
    thought: what the agent said besides.
    action: what it did.
    answer: what it gave as its final answer.
    observation: what the environment says to that.
    status: '' where it goes on, or one of STATUSES.
    conversation: what the agent is asked next, where that isn't simply what it
      was asked, what it said and the observation.
  """

  thought: str = ''
  action: str = ''
  answer: str = ''
  observation: str = ''
  status: str = ''
  conversation: Conversation | None = None


@dataclasses.dataclass(frozen=True)
class Episode:
  """A task under way.

  Attributes:
    conversation: what the agent is asked first.
    task: what it shall do, without the instructions around it.
    act: (reply, the conversation that it replies to) -> Turn. A reply that
      makes no sense is data; an exception is a bug of ours.
    score: the status at the end -> 0.0 to 1.0.
    solution: a reply that leads to the goal from here, as the task's own
      solution has it; '' where it has none. For checks of the environment.
    status: '', or how the task has ended before anybody was asked.
  """

  conversation: Conversation
  task: str
  act: Callable[[str, Conversation], Turn]
  score: Callable[[str], float]
  solution: Callable[[], str]
  status: str = ''


class Environment(Protocol):
  """A family of tasks.

  Attributes:
    name: one of AgentBench's 'os', 'db', 'kg', 'hh', 'ws', 'wb', or its own.
    licence: SPDX identifier of the tasks.
    rounds: so many replies an agent has for a task.
  """

  name: str
  licence: str
  rounds: int

  def identity(self) -> dict[str, Any]:
    """JSON that scores depend on.

    'data' and 'prompt' in it say whose these are: each is OURS, or the name and
    the fingerprint of the user's file.
    """

  def tasks(self) -> Sequence[Task]:
    """All of them, in the order of the file."""

  def open(self, task: Task) -> contextlib.AbstractContextManager[Episode]:
    """Sets a task up; at the end of the context nothing of it is left."""


def user(text: str) -> language_model.Message:
  """What the environment says.

  >>> user('Hi.')
  {'role': 'user', 'content': 'Hi.'}
  """
  return {'role': 'user', 'content': text}


def agent(text: str) -> language_model.Message:
  """What the agent says, or is shown to have said."""
  return {'role': 'assistant', 'content': text}


def opening(prompt: str | None, ours: Sequence[str]) -> Conversation:
  """The instructions and the example that come before a task.

  Args:
    prompt: a JSON list of {'role': 'user' or 'agent', 'content': str}, as in
      AgentBench's data/mind2web/prompt; None: ours.
    ours: words of the environment and the agent by turns.

  Raises:
    errors.UserError: the file holds something else.
  """
  if prompt is None:
    speakers = (user, agent)
    return tuple(speakers[i % 2](text) for i, text in enumerate(ours))
  messages = read_json(prompt)
  try:
    return tuple(
      (user if message['role'] == 'user' else agent)(str(message['content']))
      for message in messages
    )
  except (KeyError, TypeError) as error:
    raise errors.UserError(
      f'{prompt} (prompt) holds no list of messages with a role and content. '
      "Write it like AgentBench's llm_prompt.json, or leave it None for ours."
    ) from error


def origin(path: str | None) -> str:
  """Whose a file is: OURS for none, else its name and fingerprint."""
  if path is None:
    return OURS
  digest = hashlib.sha256(_bytes(path)).hexdigest()
  return f'{pathlib.Path(path).name} {digest[:16]}'


def read_json(path: str) -> Any:
  """A .json file, or the list of a .jsonl file's lines.

  Raises:
    errors.UserError: it isn't there, or isn't JSON.
  """
  text = _bytes(path)
  try:
    if path.endswith('.jsonl'):
      return [json.loads(line) for line in text.splitlines() if line.strip()]
    return json.loads(text)
  except ValueError as error:
    raise errors.UserError(
      f'{path} is not JSON ({error}). Name a file of AgentBench as it was '
      'published.'
    ) from error


def _bytes(path: str) -> bytes:
  try:
    return pathlib.Path(path).read_bytes()
  except OSError as error:
    raise errors.UserError(
      f"{path} can't be read ({error.strerror}). Name a file of AgentBench's "
      'data folder, or None for tasks of our own.'
    ) from error
