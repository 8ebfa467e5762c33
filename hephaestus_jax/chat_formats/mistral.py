"""The format of Mistral's third tokenizer: Mistral-7B-Instruct-v0.3.

As mistral-common writes it, whose text this is (a space stands where its
SentencePiece model puts one):

    [AVAILABLE_TOOLS] [{"type": "function", ...}][/AVAILABLE_TOOLS][INST] List
    ., please.[/INST][TOOL_CALLS] [{"name": "ls", "arguments": {"path": "."},
    "id": "000000000"}]</s>[TOOL_RESULTS] {"content": ["a"], "call_id":
    "000000000"}[/TOOL_RESULTS] There is a.</s>

Tools and system text stand at the last user turn, so the beginning of a
conversation changes as it goes on. Calls are numbered: their ids say which
result is whose. Words before a call, which mistral-common refuses until its
seventh tokenizer, stand before [TOOL_CALLS], as they do there.
"""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any

from hephaestus_jax.chat_formats import conversation
from hephaestus_jax.chat_formats.conversation import Span
from hephaestus_jax.corpus import document

TURN_END = '</s>'
CALLS = '[TOOL_CALLS]'
MARKS = (
  *('[INST]', '[/INST]', '[AVAILABLE_TOOLS]', '[/AVAILABLE_TOOLS]'),
  *('[TOOL_RESULTS]', '[/TOOL_RESULTS]', CALLS),
)


@dataclasses.dataclass(frozen=True)
class Mistral:
  """The format; see the module."""

  @property
  def stops(self) -> tuple[str, ...]:
    """What ends the assistant's turn."""
    return (TURN_END,)

  def spans(
    self, segments: Sequence[document.Segment], *, prompt: bool
  ) -> Iterable[Span]:
    """The turns; a prompt needs no opening.

    Raises:
      conversation.UnfitError: there is no user turn, an action is no call, or
        a result belongs to none.
    """
    del prompt  # the assistant's turn begins where the user's ends
    tools, rest = conversation.offered(segments)
    turns = conversation.turns(rest)
    system = [turn.words for turn in turns if turn.speaker == 'system']
    users = [i for i, turn in enumerate(turns) if turn.speaker == 'user']
    if not users:
      raise conversation.UnfitError('no_user')
    said = [turn.speaker for turn in turns if turn.speaker != 'system']
    if said[0] == 'assistant':
      yield Span('structure', '[INST][/INST]', marker=True)
    numbers: list[str] = []  # of calls without a result yet
    made = 0
    for i, turn in enumerate(turns):
      match turn.speaker:
        case 'user':
          if i == users[-1]:
            yield from _offer(tools)
            yield from _request([*system, turn.words])
          else:
            yield from _request([turn.words])
        case 'tool':
          if not numbers:
            raise conversation.UnfitError('result_without_call')
          yield from _result(turn, numbers.pop(0))
        case 'assistant':
          numbers = [f'{made + j:09d}' for j in range(len(turn.calls))]
          made += len(turn.calls)
          yield from _answer(turn, numbers)

  def parse(self, text: str) -> conversation.Completion:
    """Reads an assistant's turn back."""
    text = text.split(TURN_END, 1)[0]
    words, tag, body = text.partition(CALLS)
    if not tag:
      return conversation.Completion(words.strip(), (), ())
    try:
      found = json.loads(body)
    except (ValueError, RecursionError):
      return conversation.Completion(words.strip(), (), ('not_json',))
    if not isinstance(found, list):
      return conversation.Completion(words.strip(), (), ('not_a_list',))
    calls, malformed = conversation.read_calls(found)
    return conversation.Completion(words.strip(), calls, malformed)


def _offer(tools: Sequence[dict[str, Any]]) -> Iterable[Span]:
  if tools:
    found = [
      {
        'type': 'function',
        'function': {
          'name': tool['name'],
          'description': tool.get('description', ''),
          'parameters': tool.get('parameters', {}),
        },
      }
      for tool in tools
    ]
    yield Span('structure', '[AVAILABLE_TOOLS]', marker=True)
    yield Span('system', ' ' + conversation.json_text(found))
    yield Span('structure', '[/AVAILABLE_TOOLS]', marker=True)


def _request(parts: Sequence[Sequence[document.Segment]]) -> Iterable[Span]:
  """A user turn; an empty line follows each system turn that it begins with."""
  yield Span('structure', '[INST]', marker=True)
  for i, words in enumerate(parts):
    yield Span(words[0].role, '\n\n' if i else ' ')
    yield from conversation.said(words)
  yield Span('structure', '[/INST]', marker=True)


def _result(turn: conversation.Turn, number: str) -> Iterable[Span]:
  text = ''.join(segment.text for segment in turn.words)
  try:
    content = json.loads(text)
  except (ValueError, RecursionError):
    content = text
  found = conversation.json_text({'content': content, 'call_id': number})
  yield Span('structure', '[TOOL_RESULTS]', marker=True)
  yield Span('observation', ' ' + found)
  yield Span('structure', '[/TOOL_RESULTS]', marker=True)


def _answer(turn: conversation.Turn, numbers: Sequence[str]) -> Iterable[Span]:
  for i, segment in enumerate(turn.words):
    last = i + 1 == len(turn.words)
    text = segment.text.rstrip(' ') if last else segment.text
    yield Span(segment.role, ('' if i else ' ') + text + ('' if last else '\n'))
  if turn.calls:
    found = []
    for call, number in zip(turn.calls, numbers, strict=True):
      name, arguments = conversation.call_of(call)
      found.append({'name': name, 'arguments': arguments, 'id': number})
    yield Span('action', CALLS, marker=True)
    yield Span('action', ' ' + conversation.json_text(found, (TURN_END,)))
  yield Span(turn.role, TURN_END, marker=True)
