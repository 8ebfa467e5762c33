"""What every chat format is given, and what it gives: segments, turns, spans.

A conversation is a sequence of segments (`document.Segment`), in training and
at inference alike. Tools on offer are one system segment, `system_prompt`'s; a
call is an action segment, `call_text`'s. A format that offers tools or writes
calls in its own way reads them back from there.
"""

import dataclasses
import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from hephaestus_jax.corpus import document

TURN_OF_ROLE = {
  'documentation': 'system',
  'system': 'system',
  'user': 'user',
  'thought': 'assistant',
  'action': 'assistant',
  'answer': 'assistant',
  'code': 'assistant',
  'text': 'assistant',
  'observation': 'tool',
}
_OFFER = (
  'You can call functions. Answer a request with one tool call per '
  'function to call, or in words when none of them fits.\n<tools>\n'
)
_OFFER_END = '\n</tools>'


class UnfitError(ValueError):
  """A conversation that a format has no words for; data, to be counted.

  Attributes:
    reason: a few words in snake_case.
  """

  def __init__(self, reason: str):
    super().__init__(reason)
    self.reason = reason


@dataclasses.dataclass(frozen=True)
class Span:
  """A stretch of rendered text and the role that its tokens count as.

  Attributes:
    role: one of document.ROLES.
    text: what the model reads.
    marker: whether we wrote it, so that special tokens in it are control
      tokens; the words of a segment never are.
  """

  role: str
  text: str
  marker: bool = False


@dataclasses.dataclass(frozen=True)
class Completion:
  """What a model said in one turn.

  Attributes:
    words: the text outside tool calls.
    calls: {'name': str, 'arguments': dict} each, in order.
    malformed: a reason per tool call that could not be read. A model's mistake
      is data, never an exception.
    thought: what was said before an answer or a call, in a format that tells
      the two apart.
  """

  words: str
  calls: tuple[dict[str, Any], ...]
  malformed: tuple[str, ...]
  thought: str = ''


class Format(Protocol):
  """How conversations are written for one family of models."""

  @property
  def stops(self) -> tuple[str, ...]:
    """What ends the assistant's turn, any of these."""

  def spans(
    self, segments: Sequence[document.Segment], *, prompt: bool
  ) -> Iterable[Span]:
    """The conversation, and for a prompt the opening of the next turn.

    Raises:
      UnfitError: the format can't say it.
    """

  def parse(self, text: str) -> Completion:
    """Reads an assistant's turn back; never raises."""


@dataclasses.dataclass(frozen=True)
class Turn:
  """What one speaker says before the next one does.

  Attributes:
    speaker: 'system', 'user', 'assistant' or 'tool'.
    words: segments of text.
    calls: actions, which follow the words.
  """

  speaker: str
  words: tuple[document.Segment, ...]
  calls: tuple[document.Segment, ...] = ()

  @property
  def role(self) -> str:
    """The role that learns the token which ends the turn."""
    if self.speaker != 'assistant':
      return 'structure'
    return 'action' if self.calls else self.words[-1].role


def turns(segments: Iterable[document.Segment]) -> list[Turn]:
  """Segments as turns; neighbours of one speaker share one.

  Each result of a tool is a turn of its own, and words after a call open one.

  >>> turns([Segment('thought', 'Look.'), Segment('action', '{}')])
  [Turn('assistant', (Segment('thought', 'Look.'),),
        (Segment('action', '{}'),))]
  """
  found: list[Turn] = []
  for segment in segments:
    speaker = TURN_OF_ROLE[segment.role]
    is_call = segment.role == 'action'
    last = found[-1] if found else None
    if (
      last is None
      or last.speaker != speaker
      or speaker == 'tool'
      or (last.calls and not is_call)
    ):
      last = Turn(speaker, ())
      found.append(last)
    words, calls = last.words, last.calls
    if is_call:
      found[-1] = Turn(speaker, words, (*calls, segment))
    else:
      found[-1] = Turn(speaker, (*words, segment), calls)
  return found


def said(words: Sequence[document.Segment]) -> Iterable[Span]:
  """Segments of one turn, a line break between.

  It ends the first one's span: vocabularies join it to the sign before it.
  """
  for i, segment in enumerate(words, start=1):
    yield Span(segment.role, segment.text + ('\n' if i < len(words) else ''))


def stripped(words: Sequence[document.Segment]) -> list[document.Segment]:
  """Segments whose joined text has no white space at its ends."""
  found = [segment for segment in words if segment.text.strip()]
  for place, strip in ((0, str.lstrip), (-1, str.rstrip)):
    if found:
      segment = found[place]
      found[place] = document.Segment(segment.role, strip(segment.text))
  return found


def joined(spans: Iterable[Span]) -> tuple[Span, ...]:
  """Merges neighbours of one role and one origin, and drops empty spans."""
  return tuple(
    Span(role, ''.join(span.text for span in group), marker)
    for (role, marker), group in itertools.groupby(
      (span for span in spans if span.text),
      key=lambda span: (span.role, span.marker),
    )
  )


def system_prompt(tools: Sequence[dict[str, Any]]) -> str:
  """The system text that offers `tools` (JSON-schema function descriptions).

  A tool is {'name': str, 'description': str, 'parameters': {'type': 'object',
  'properties': {...}, 'required': [...]}}, as in the OpenAI API and BFCL.
  """
  lines = '\n'.join(json.dumps(tool, ensure_ascii=False) for tool in tools)
  return f'{_OFFER}{lines}{_OFFER_END}'


def offered(
  segments: Iterable[document.Segment],
) -> tuple[list[dict[str, Any]], list[document.Segment]]:
  """The tools that `system_prompt` offers, and the other segments.

  A system segment that says it in other words is a segment like any other.
  """
  tools: list[dict[str, Any]] = []
  rest: list[document.Segment] = []
  for segment in segments:
    found = _offered(segment.text) if segment.role == 'system' else None
    if found is None:
      rest.append(segment)
    else:
      tools += found
  return tools, rest


def _offered(text: str) -> list[dict[str, Any]] | None:
  """The inverse of `system_prompt`; None for any other text."""
  if not text.startswith(_OFFER) or not text.endswith(_OFFER_END):
    return None
  lines = text[len(_OFFER) : -len(_OFFER_END)].split('\n')
  try:
    tools = [json.loads(line) for line in lines if line]
  except (ValueError, RecursionError):
    return None
  named = (
    isinstance(tool, dict) and isinstance(tool.get('name'), str)
    for tool in tools
  )
  return tools if all(named) else None


def call_of(segment: document.Segment) -> tuple[str, dict[str, Any]]:
  """Name and arguments of an action.

  >>> call_of(Segment('action', '{"name": "add", "arguments": {"a": 1}}'))
  ('add', {'a': 1})

  Raises:
    UnfitError: the action is no call, such as 'search[tea]' of a ReAct agent:
      'call_not_json', 'call_without_name', 'call_without_arguments'.
  """
  try:
    found = json.loads(segment.text)
  except (ValueError, RecursionError):
    raise UnfitError('call_not_json') from None
  reason = _lacks(found, 'arguments')
  if reason:
    raise UnfitError(reason.replace('no_', 'call_without_'))
  return found['name'], found['arguments']


def read_calls(
  found: Iterable[Any], arguments: str = 'arguments'
) -> tuple[tuple[dict[str, Any], ...], tuple[str, ...]]:
  """JSON that a model wrote as calls, and a reason for each that is none.

  >>> read_calls([{'name': 'add', 'arguments': {'a': 1}}, 7])
  (({'name': 'add', 'arguments': {'a': 1}},), ('no_name',))
  """
  calls, malformed = [], []
  for call in found:
    reason = _lacks(call, arguments)
    if reason:
      malformed.append(reason)
    else:
      calls.append({'name': call['name'], 'arguments': call[arguments]})
  return tuple(calls), tuple(malformed)


def _lacks(call: Any, arguments: str) -> str:
  if not isinstance(call, dict) or not isinstance(call.get('name'), str):
    return 'no_name'
  return '' if isinstance(call.get(arguments), dict) else 'no_arguments'


def json_text(value: Any, tokens: Iterable[str] = ()) -> str:
  """JSON as `transformers`' templates write it, special tokens escaped.

  >>> json_text({'a': '<|im_end|>é'}, ['<|im_end|>'])
  '{"a": "\\\\u003c|im_end|>é"}'

  A token that stands in JSON stands in a string of it, where its first
  character may be written by its number: a reader finds the call's end.
  """
  text = json.dumps(value, ensure_ascii=False)
  for token in tokens:
    text = text.replace(token, f'\\u{ord(token[0]):04x}{token[1:]}')
  return text
