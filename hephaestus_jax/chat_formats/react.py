r"""ReAct as text (arXiv 2210.03629, with LangChain's words for the arguments).

For a vocabulary without tokens of its own for turns:

    Tools:
    {"name": "ls", "description": "lists", "parameters": {"type": "object"}}
    Question: What is there?
    Thought: I look.
    Action: ls
    Action Input: {"path": "."}
    Observation: ["logs"]
    Final Answer: Logs.

The assistant's turn ends with the label of whoever speaks next, which it
learns to write: it is what a decoder stops at.
"""

import dataclasses
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from hephaestus_jax.chat_formats import conversation
from hephaestus_jax.chat_formats.conversation import Span
from hephaestus_jax.corpus import document

QUESTION, THOUGHT, ANSWER = 'Question:', 'Thought:', 'Final Answer:'
ACTION, INPUT, OBSERVATION = 'Action:', 'Action Input:', 'Observation:'
TOOLS = 'Tools:'
LABELS = (QUESTION, THOUGHT, ANSWER, ACTION, INPUT, OBSERVATION, TOOLS)
_LABEL_OF = {'user': QUESTION, 'tool': OBSERVATION}
_LABEL = re.compile(
  '^(' + '|'.join(map(re.escape, LABELS)) + ')[ ]?', re.MULTILINE
)


@dataclasses.dataclass(frozen=True)
class React:
  """The format; see the module."""

  @property
  def stops(self) -> tuple[str, ...]:
    """What ends the assistant's turn."""
    return (f'\n{OBSERVATION}', f'\n{QUESTION}')

  def spans(
    self, segments: Sequence[document.Segment], *, prompt: bool
  ) -> Iterable[Span]:
    """A line per thing said; system text and tools come first.

    Raises:
      conversation.UnfitError: an action is no call, several are made at once,
        a name has a line break, or the assistant's words hold a label.
    """
    del prompt  # which label comes next is the assistant's to say
    tools, rest = conversation.offered(segments)
    if tools:
      lines = [conversation.json_text(tool) for tool in tools]
      yield Span('structure', f'{TOOLS}\n')
      yield Span('system', '\n'.join(lines))
      yield Span('structure', '\n')
    turns = conversation.turns(rest)
    written = False  # whether the assistant has written the label that is due
    for i, turn in enumerate(turns):
      if turn.speaker == 'assistant':
        following = turns[i + 1].speaker if i + 1 < len(turns) else ''
        yield from _answer(turn, following)
        written = following in _LABEL_OF
        continue
      if turn.speaker in _LABEL_OF:
        label = '' if written else _LABEL_OF[turn.speaker]
        yield Span('structure', f'{label} ')
      yield from conversation.said(turn.words)
      yield Span('structure', '\n')
      written = False

  def parse(self, text: str) -> conversation.Completion:
    """Reads an assistant's turn back."""
    for stop in self.stops:
      text = f'\n{text}'.split(stop, 1)[0][1:]
    matches = list(_LABEL.finditer(text))
    ends = [*(match.start() for match in matches), len(text)]
    found = [('', text[: ends[0]])]
    found += [
      (match[1], text[match.end() : end])
      for match, end in zip(matches, ends[1:], strict=True)
    ]
    calls: list[dict[str, Any]] = []
    malformed: list[str] = []
    said = [(label, part.strip()) for label, part in found]
    for (label, part), (after, given) in itertools.pairwise((*said, ('', ''))):
      if label == ACTION:
        call, reason = _read(part, given if after == INPUT else None)
        calls += call
        malformed += reason
    thoughts = [part for label, part in said if label == THOUGHT]
    words = [part for label, part in said if label in ('', ANSWER) and part]
    return conversation.Completion(
      '\n'.join(words), tuple(calls), tuple(malformed), '\n'.join(thoughts)
    )


def _answer(turn: conversation.Turn, following: str) -> Iterable[Span]:
  """The lines of a turn, and the label of whoever is `following`."""
  if len(turn.calls) > 1:
    raise conversation.UnfitError('several_calls')
  lines: list[tuple[str, str, str]] = []
  for segment in turn.words:
    thought = segment.role == 'thought' or bool(turn.calls)
    if _LABEL.search(segment.text):
      raise conversation.UnfitError('label_in_words')
    lines.append((segment.role, THOUGHT if thought else ANSWER, segment.text))
  for call in turn.calls:
    name, arguments = conversation.call_of(call)
    if name != name.strip() or len(name.splitlines()) != 1:
      raise conversation.UnfitError('name_of_lines')
    lines.append(('action', ACTION, name))
    lines.append(('action', INPUT, conversation.json_text(arguments)))
  for i, (role, label, text) in enumerate(lines):
    yield Span(role, ('\n' if i else '') + f'{label} {text}')
  if following in _LABEL_OF:
    yield Span(lines[-1][0], f'\n{_LABEL_OF[following]}')
  elif following:
    yield Span('structure', '\n')


def _read(
  name: str, given: str | None
) -> tuple[list[dict[str, Any]], list[str]]:
  """A call, or the reason why it is none."""
  if given is None:
    return [], ['no_arguments']
  try:
    arguments = json.loads(given)
  except (ValueError, RecursionError):
    return [], ['not_json']
  calls, malformed = conversation.read_calls(
    [{'name': name, 'arguments': arguments}]
  )
  return list(calls), list(malformed)
