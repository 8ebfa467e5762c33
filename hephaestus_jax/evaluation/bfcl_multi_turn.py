"""BFCL's questions of several turns, in the official environments.

In each turn a model makes calls, reads what they return, and calls again until
it answers without a call that can be read; then the user speaks. As in the
official loop an episode ends after its last turn, or at once where a turn has
taken STEP_LIMIT steps and makes calls in the next one, too.

Episodes are played abreast: a step of all of them is one question to the model
and one process in the sandbox. What a model calls is evaluated by the official
code, and only there.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from hephaestus_jax import chat
from hephaestus_jax.corpus import document
from hephaestus_jax.evaluation import bfcl_answers, bfcl_official
from hephaestus_jax.evaluation.bfcl_answers import Answer
from hephaestus_jax.evaluation.bfcl_checker import PROMPTING

STEP_LIMIT = 20  # official MAXIMUM_STEP_LIMIT
LIMIT, STOPPED = 'step_limit', 'environment_stopped'

Conversation = Sequence[document.Segment]


class Speaker(Protocol):
  """The model under test, wherever it is."""

  def __call__(
    self,
    conversations: Sequence[Conversation],
    waiting: Sequence[int],
    heard: Callable[[int, Answer], None],
  ) -> None:
    """Tells `heard` the answer to each conversation that is waiting."""


@dataclasses.dataclass
class Episode:
  """One question under way.

  Attributes:
    entry: see `bfcl_official.read_entries`.
    chat_format: how the model writes.
    conversation: all that was said.
    answers: the model's, by turns and steps.
    results: as BFCL's result files hold them, likewise.
    over: whether it has ended.
    finish: why before the end of its last turn: LIMIT, STOPPED, or why there
      was no answer; '' if it did not.
  """

  entry: Mapping[str, Any]
  chat_format: str
  conversation: list[document.Segment] = dataclasses.field(init=False)
  answers: list[list[Answer]] = dataclasses.field(default_factory=list)
  results: list[list[Any]] = dataclasses.field(default_factory=list)
  over: bool = False
  finish: str = ''

  def __post_init__(self) -> None:
    self.conversation = bfcl_answers.opening(self.entry)
    self._open_turn()

  @property
  def result(self) -> Any:
    """What the result file holds: text where the official check shall fail."""
    return self.results if self.finish in ('', LIMIT) else self.finish

  def hear(self, answer: Answer) -> None:
    """Takes the model's answer; without one the episode is over."""
    self.answers[-1].append(answer)
    if answer.unsaid:
      self._end(answer.unsaid)
      return
    result, _ = bfcl_answers.read(
      answer, self.entry['category'], self.entry['asking'], self.chat_format
    )
    self.results[-1].append(result)

  def request(self) -> dict[str, Any]:
    """What `bfcl_official.play` is asked."""
    return {
      **{key: self.entry[key] for key in ('id', 'category', 'asking')},
      'environments': self.entry['environments'],
      'results': [result for turn in self.results for result in turn],
    }

  def go_on(self, reply: Mapping[str, Any]) -> None:
    """Takes what the environments said: another step, turn, or the end."""
    if reply['stopped']:
      self._end(STOPPED)
      return
    self.conversation += self._exchange(reply)
    if reply['observations']:
      if len(self.results[-1]) > STEP_LIMIT:
        self._end(LIMIT)
    elif len(self.results) < len(self.entry['turns']):
      self._next_turn()
    else:
      self.over = True

  def _next_turn(self) -> None:
    turn = len(self.results)
    added = self.entry['added'].get(str(turn), [])
    self.conversation += bfcl_answers.offer(added)
    self.conversation += bfcl_answers.said(self.entry['turns'][turn])
    self._open_turn()

  def _open_turn(self) -> None:
    self.answers.append([])
    self.results.append([])

  def _end(self, why: str) -> None:
    self.over, self.finish = True, why

  def _exchange(self, reply: Mapping[str, Any]) -> list[document.Segment]:
    """The last answer, and what its calls returned, as segments."""
    text, result = self.answers[-1][-1].text, self.results[-1][-1]
    observations = reply['observations']
    if self.entry['asking'] == PROMPTING or isinstance(result, str):
      told = [document.Segment('user', reply['told'])] if observations else []
      return [document.Segment('answer', text), *told]
    actions = [
      document.Segment('action', chat.call_text(name, arguments))
      for call in result
      for name, arguments in call.items()
    ]
    results = [document.Segment('observation', text) for text in observations]
    words = chat.parse(text, self.chat_format)
    before = '\n'.join(filter(None, (words.thought, words.words)))
    said = [document.Segment('thought', before)] if before else []
    if self.chat_format in bfcl_answers.ONE_CALL:
      pairs = zip(actions, results, strict=True)
      return [*said, *(segment for pair in pairs for segment in pair)]
    return [*said, *actions, *results]


def play(
  folder: pathlib.Path,
  entries: Sequence[Mapping[str, Any]],
  speaker: Speaker,
  *,
  chat_format: str,
  abreast: int,
  isolation: str,
  ended: Callable[[Episode], None],
) -> None:
  """Plays all entries, and tells `ended` each episode as it ends."""
  waiting = iter(entries)
  running: list[Episode] = []
  while True:
    room = abreast - len(running)
    running += [
      Episode(entry, chat_format) for entry in itertools.islice(waiting, room)
    ]
    if not running:
      return
    _step(folder, running, speaker, isolation)
    for episode in running:
      if episode.over:
        ended(episode)
    running = [episode for episode in running if not episode.over]


def _step(
  folder: pathlib.Path,
  running: Sequence[Episode],
  speaker: Speaker,
  isolation: str,
) -> None:
  """Asks the model once in each episode, and makes the calls."""
  speaker(
    [episode.conversation for episode in running],
    range(len(running)),
    lambda i, answer: running[i].hear(answer),
  )
  speaking = [episode for episode in running if not episode.over]
  replies = bfcl_official.play(
    folder, [episode.request() for episode in speaking], isolation
  )
  for episode, reply in zip(speaking, replies, strict=True):
    episode.go_on(reply)
