"""The format of Llama 3.1: calls as JSON, or after <|python_tag|>.

As its published template writes it. Tools are offered in the first user turn,
and a call is JSON with 'parameters':

    <|start_header_id|>assistant<|end_header_id|>

    {"name": "ls", "parameters": {"path": "."}}<|eot_id|>

A tool that Llama brings along (BUILT_IN) is called as
`<|python_tag|>brave_search.call(query="tea")<|eom_id|>`; offering one makes all
calls of the conversation end so. What was said before a call, which the
template leaves out, stays, and the call follows it after <|python_tag|>.
"""

import dataclasses
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from hephaestus_jax.chat_formats import conversation
from hephaestus_jax.chat_formats.conversation import Span
from hephaestus_jax.corpus import document

TURN_END = '<|eot_id|>'
MESSAGE_END = '<|eom_id|>'
PYTHON_TAG = '<|python_tag|>'
HEADER_START = '<|start_header_id|>'
HEADER_END = '<|end_header_id|>'
BUILT_IN = ('brave_search', 'wolfram_alpha', 'code_interpreter')
DATE = '26 Jul 2024'  # the template's, where nobody gives one

_REQUEST = (
  'Given the following functions, please respond with a JSON for a function '
  'call with its proper arguments that best answers the given prompt.\n\n'
  'Respond in the format {"name": function name, "parameters": dictionary of '
  'argument name and its value}.Do not use variables.\n\n'
)
_BUILT_IN_CALL = re.compile(r'(\w+)\.call\((.*)\)', re.DOTALL)
_ARGUMENT = re.compile(r'(\w+)="([^"]*)"')
_MARKS = (TURN_END, MESSAGE_END, PYTHON_TAG, HEADER_START, HEADER_END)


@dataclasses.dataclass(frozen=True)
class Llama3:
  """The format; see the module."""

  @property
  def stops(self) -> tuple[str, ...]:
    """What ends the assistant's turn."""
    return (TURN_END, MESSAGE_END)

  def spans(
    self, segments: Sequence[document.Segment], *, prompt: bool
  ) -> Iterable[Span]:
    """A system turn, which is always there, and the others.

    Raises:
      conversation.UnfitError: an action is no call, a turn has two, the first
        turn of a conversation with tools is not the user's, or a word reads as
        a call.
    """
    tools, rest = conversation.offered(segments)
    built_in = [tool['name'] for tool in tools if tool['name'] in BUILT_IN]
    tools = [tool for tool in tools if tool['name'] not in BUILT_IN]
    turns = conversation.turns(rest)
    yield _opening('system')
    lines = 'Environment: ipython\n' if tools or built_in else ''
    if built_in:
      named = [name for name in built_in if name != 'code_interpreter']
      lines += f'Tools: {", ".join(named)}\n\n'
    lines += f'Cutting Knowledge Date: December 2023\nToday Date: {DATE}\n\n'
    yield Span('system', lines)
    if turns and turns[0].speaker == 'system':
      yield from conversation.said(conversation.stripped(turns.pop(0).words))
    yield _end('structure')
    if tools and (not turns or turns[0].speaker != 'user'):
      raise conversation.UnfitError('user_is_not_first')
    for i, turn in enumerate(turns):
      yield _opening('ipython' if turn.speaker == 'tool' else turn.speaker)
      if tools and not i:
        yield Span('system', _REQUEST + ''.join(map(_tool_text, tools)))
      if turn.speaker == 'tool':
        text = ''.join(segment.text for segment in turn.words)
        yield Span('observation', conversation.json_text(text))
        yield _end('structure')
      elif turn.calls:
        yield from _call(turn, built_in)
      else:
        words = conversation.stripped(turn.words)
        yield from conversation.said(words)
        if turn.speaker == 'assistant' and _reads_as_call(words):
          raise conversation.UnfitError('words_read_as_call')
        yield _end(turn.role)
    if prompt:
      yield _opening('assistant')

  def parse(self, text: str) -> conversation.Completion:
    """Reads an assistant's turn back."""
    for stop in self.stops:
      text = text.split(stop, 1)[0]
    words, tag, body = text.partition(PYTHON_TAG)
    if not tag:
      if not text.lstrip().startswith('{"name"'):
        return conversation.Completion(text.strip(), (), ())
      words, body = '', text
    calls, malformed = _read(body.strip())
    return conversation.Completion(words.strip(), calls, malformed)


def _opening(speaker: str) -> Span:
  text = f'{HEADER_START}{speaker}{HEADER_END}\n\n'
  return Span('structure', text, marker=True)


def _end(role: str) -> Span:
  return Span(role, TURN_END, marker=True)


def _tool_text(tool: dict[str, Any]) -> str:
  wrapped = {'type': 'function', 'function': tool}
  return json.dumps(wrapped, ensure_ascii=False, indent=4) + '\n\n'


def _reads_as_call(words: Sequence[document.Segment]) -> bool:
  text = '\n'.join(segment.text for segment in words)
  return text.startswith('{"name"') or PYTHON_TAG in text


def _call(turn: conversation.Turn, built_in: Sequence[str]) -> Iterable[Span]:
  if len(turn.calls) > 1:
    raise conversation.UnfitError('several_calls')
  name, arguments = conversation.call_of(turn.calls[0])
  words = conversation.stripped(turn.words)
  yield from conversation.said(words)
  if words or name in built_in:
    yield Span('action', PYTHON_TAG, marker=True)
  if name in built_in:
    plain = all(
      re.fullmatch(r'\w+', key)
      and isinstance(value, str)
      and not any(mark in value for mark in ('"', *_MARKS))
      for key, value in arguments.items()
    )
    if not plain:
      raise conversation.UnfitError('argument_not_plain')
    given = ', '.join(f'{key}="{value}"' for key, value in arguments.items())
    yield Span('action', f'{name}.call({given})')
  else:
    call = {'name': name, 'parameters': arguments}
    yield Span('action', conversation.json_text(call, _MARKS))
  stop = MESSAGE_END if built_in else TURN_END
  yield Span('action', stop, marker=True)


def _read(
  body: str,
) -> tuple[tuple[dict[str, Any], ...], tuple[str, ...]]:
  """Calls as JSON, '; ' between; a built-in's; or code to run."""
  if match := _BUILT_IN_CALL.fullmatch(body):
    name, given = match.groups()
    arguments = dict(_ARGUMENT.findall(given))
    written = ', '.join(f'{key}="{value}"' for key, value in arguments.items())
    if name in BUILT_IN and written == given:
      return ({'name': name, 'arguments': arguments},), ()
  if not body.startswith('{'):
    code = {'name': 'code_interpreter', 'arguments': {'code': body}}
    return ((code,), ()) if body else ((), ('no_name',))
  decoder, found, unread, rest = json.JSONDecoder(), [], [], body
  while rest:
    try:
      call, end = decoder.raw_decode(rest)
    except (ValueError, RecursionError):
      unread.append('not_json')
      break
    found.append(call)
    rest = rest[end:].strip('; \n')
  calls, malformed = conversation.read_calls(found, 'parameters')
  return calls, (*unread, *malformed)
