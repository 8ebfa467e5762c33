"""The format of Hermes 2 Pro and Hermes 3: ChatML, and tools as Python.

As their published template (`tool_use`) writes it, its oddities included: an
array is 'list[Union[]]' in a signature, the line break after a result depends
on what follows, and descriptions are not escaped. One thing is not kept: the
template leaves out what was said before a call, and here it stays.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hephaestus_jax.chat_formats import chatml, conversation
from hephaestus_jax.chat_formats.conversation import Span
from hephaestus_jax.corpus import document

_BEFORE_TOOLS = (
  'You are a function calling AI model. You are provided with function '
  'signatures within <tools></tools> XML tags. You may call one or more '
  "functions to assist with the user query. Don't make assumptions about what "
  'values to plug into functions. Here are the available tools: <tools> '
)
_AFTER_TOOLS = (
  ' </tools>Use the following pydantic model json schema for each tool call '
  'you will make: {"properties": {"name": {"title": "Name", "type": "string"}, '
  '"arguments": {"title": "Arguments", "type": "object"}}, "required": '
  '["name", "arguments"], "title": "FunctionCall", "type": "object"}}\n'
  'For each function call return a json object with function name and '
  'arguments within <tool_call></tool_call> XML tags as follows:\n'
  '<tool_call>\n{"name": <function-name>, "arguments": <args-dict>}\n'
  '</tool_call>'
)
_PYTHON_TYPES = {
  'string': 'str',
  'number': 'float',
  'integer': 'int',
  'boolean': 'bool',
}


@dataclasses.dataclass(frozen=True)
class Hermes:
  """The format; see the module."""

  @property
  def stops(self) -> tuple[str, ...]:
    """What ends the assistant's turn."""
    return (chatml.TURN_END,)

  def spans(
    self, segments: Sequence[document.Segment], *, prompt: bool
  ) -> Iterable[Span]:
    """The turns, after one that offers the tools where there are any.

    Raises:
      conversation.UnfitError: an action is no call, or a result comes first.
    """
    tools, rest = conversation.offered(segments)
    if rest and rest[0].role == 'observation':
      raise conversation.UnfitError('result_is_first')
    if tools:
      yield _opening('system')
      yield Span('system', _BEFORE_TOOLS, marker=True)
      yield Span('system', '\n'.join(tool_text(tool) for tool in tools))
      yield Span('system', _AFTER_TOOLS, marker=True)
      yield Span('structure', f'{chatml.TURN_END}\n', marker=True)
    turns = conversation.turns(rest)
    for i, turn in enumerate(turns):
      following = turns[i + 1].speaker if i + 1 < len(turns) else None
      if turn.speaker == 'tool':
        first = i == 0 or turns[i - 1].speaker != 'tool'
        yield from _result(turn, following, first=first)
        continue
      yield _opening(turn.speaker)
      yield from conversation.said(turn.words)
      if turn.words and turn.calls:
        yield Span(turn.words[-1].role, '\n')
      for j, call in enumerate(turn.calls):
        between = '\n' if j else ''
        name, arguments = conversation.call_of(call)
        text = conversation.json_text(
          {'name': name, 'arguments': arguments}, chatml.SPECIAL_TOKENS
        )
        yield Span('action', f'{between}{chatml.CALL_START}\n', marker=True)
        yield Span('action', text)
        yield Span('action', f'\n{chatml.CALL_END}', marker=True)
      yield Span(turn.role, chatml.TURN_END, marker=True)
      yield Span('structure', '\n', marker=True)
    if prompt:
      yield _opening('assistant')

  def parse(self, text: str) -> conversation.Completion:
    """Reads an assistant's turn back."""
    return chatml.parse(text)


def _opening(speaker: str) -> Span:
  return Span('structure', f'{chatml.TURN_START}{speaker}\n', marker=True)


def _result(
  turn: conversation.Turn, following: str | None, *, first: bool
) -> Iterable[Span]:
  if first:
    yield _opening('tool')
  yield Span('structure', f'{chatml.RESULT_START}\n', marker=True)
  yield from conversation.said(turn.words)
  end = f'\n{chatml.RESULT_END}' + ('\n' if following else '')
  end += '' if following == 'tool' else chatml.TURN_END
  yield Span('structure', end, marker=True)


def tool_text(tool: Mapping[str, Any]) -> str:
  """A tool as the template describes it.

  >>> tool_text({'name': 'add', 'description': 'Adds.', 'parameters':
  ...            {'type': 'object', 'properties': {
  ...                'a': {'type': 'integer', 'description': 'One.'}}}})
  '{"type": "function", "function": {"name": "add", "description": "add(a: int)
   - Adds.\\n\\n    Args:\\n        a(int): One.", "parameters": {"type":
   "object", "properties": {"a": {"type": "integer", "description": "One."}}}}'
  """
  parameters = tool.get('parameters') or {}
  fields = parameters.get('properties') or {}
  signature = ', '.join(
    f'{name}: {python_type(field)}' for name, field in fields.items()
  )
  described = ''.join(
    f'        {name}({python_type(field)}): {_words(field).strip()}'
    for name, field in fields.items()
  )
  returned = tool.get('return')
  returns = f' -> {python_type(returned)}' if returned is not None else ''
  text = f'{tool["name"]}({signature}){returns} - {_words(tool)}\n\n'
  text += f'    Args:\n{described}' if described else ''
  if _words(returned):
    text += f'\n    Returns:\n        {_words(returned)}'
  schema = conversation.json_text(parameters) if fields else '{}'
  return (
    f'{{"type": "function", "function": {{"name": "{tool["name"]}", '
    f'"description": "{text}", "parameters": {schema}}}'
  )


def _words(described: Any) -> str:
  found = described.get('description') if isinstance(described, dict) else None
  return found if isinstance(found, str) else ''


def python_type(field: Any) -> str:
  """A JSON schema's type in the template's words.

  >>> python_type({'type': 'integer'}), python_type({'type': 'array'})
  ('int', 'list[Union[]]')

  A word that is no JSON type, for which the template never ends, is 'Any'.
  """
  kind = field.get('type', ()) if isinstance(field, dict) else ()
  if isinstance(kind, str):
    if kind == 'object' and 'additionalProperties' in field:
      return f'dict[str, {python_type(field["additionalProperties"])}]'
    known = {'array': 'list[Union[]]', 'object': 'dict', **_PYTHON_TYPES}
    return known.get(kind, 'Any')
  if not isinstance(kind, list | tuple):
    return 'Any'
  return f'Union[{",".join(python_type({"type": one}) for one in kind)}]'
