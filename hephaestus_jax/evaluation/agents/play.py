"""The loop between agents and environments, several tasks abreast.

The tasks go on in step: each round, the agent is asked about all that are under
way at once, so that a model generates in batches and an endpoint is asked
concurrently.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence

import tqdm

from hephaestus_jax import replies
from hephaestus_jax.corpus import document
from hephaestus_jax.evaluation.agents import episode

SOURCE = 'evaluation_trajectories'

# What to say in each of several conversations.
Agent = Callable[[Sequence[episode.Conversation]], Sequence[replies.Reply]]


@dataclasses.dataclass(frozen=True)
class Played:
  """How a task went.

  Attributes:
    task: which it was.
    status: how it ended, one of episode.STATUSES.
    score: 0.0 to 1.0.
    rounds: replies of the agent.
    failure: '' or why the agent had no reply, in the words of `replies`.
    trajectory: all that was said, as a Document.
  """

  task: episode.Task
  status: str
  score: float
  rounds: int
  failure: str
  trajectory: document.Document


@dataclasses.dataclass
class _UnderWay:
  """A task between its first question and its end."""

  task: episode.Task
  opened: episode.Episode
  conversation: episode.Conversation
  steps: list[document.Segment]
  status: str = ''
  failure: str = ''
  rounds: int = 0

  def take(self, reply: replies.Reply) -> None:
    """Does what a reply says."""
    self.rounds += 1
    if reply.failure and reply.failure != replies.REFUSED:
      # An endpoint refuses a request that is longer than its model can read.
      full = reply.failure in (replies.REJECTED, replies.TOO_LARGE)
      self.status = episode.CONTEXT_LIMIT if full else episode.UNKNOWN
      self.failure = reply.failure
      return
    turn = self.opened.act(reply.text, self.conversation)
    for role in ('thought', 'action', 'answer', 'observation'):
      if text := getattr(turn, role).strip():
        self.steps.append(document.Segment(role, text))
    self.status = turn.status
    self.conversation = turn.conversation or (
      *self.conversation,
      episode.agent(reply.text),
      episode.user(turn.observation),
    )


def play(
  environment: episode.Environment,
  tasks: Sequence[episode.Task],
  agent: Agent,
  *,
  abreast: int = 8,
) -> Iterator[Played]:
  """Sends an agent through tasks, and tells how each went, in their order.

  A task ends when the environment says so, when the agent has no reply, or
  after the environment's number of rounds ('task limit reached').

  Args:
    environment: of the tasks.
    tasks: those to play; none has a flaw.
    agent: what acts.
    abreast: tasks at once.
  """
  progress = tqdm.tqdm(total=len(tasks), desc=environment.name)
  for first in range(0, len(tasks), abreast):
    with contextlib.ExitStack() as stack:
      under_way = []
      for task in tasks[first : first + abreast]:
        opened = stack.enter_context(environment.open(task))
        under_way.append(
          _UnderWay(task, opened, opened.conversation, [], opened.status)
        )
      for _ in range(environment.rounds):
        waiting = [one for one in under_way if not one.status]
        if not waiting:
          break
        said = agent([one.conversation for one in waiting])
        for one, reply in zip(waiting, said, strict=True):
          one.take(reply)
      for one in under_way:
        yield _ended(environment, one)
        progress.update()
  progress.close()


def _ended(environment: episode.Environment, one: _UnderWay) -> Played:
  status = one.status or episode.TASK_LIMIT
  return Played(
    one.task,
    status,
    one.opened.score(status),
    one.rounds,
    one.failure,
    trajectory(environment, one.task, one.opened, one.steps),
  )


def trajectory(
  environment: episode.Environment,
  task: episode.Task,
  opened: episode.Episode,
  steps: Sequence[document.Segment],
) -> document.Document:
  """What was said as a Document of the corpus.

  It holds a benchmark's task: it may be trained on where that benchmark is no
  longer measured, and `decontaminate` drops it where it is.
  """
  return document.Document(
    f'{SOURCE}/{environment.name}/{task.name}',
    SOURCE,
    'trajectory',
    environment.licence,
    '',
    (
      document.Segment('system', opened.conversation[0]['content']),
      document.Segment('user', opened.task),
      *steps,
    ),
  )
