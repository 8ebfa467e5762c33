"""What BFCL asks as conversations, and what a model wrote as BFCL's results.

BFCL asks in one of two ways:

    tools       the function documents, in the model's own tool format
    prompting   the official text, which wants '[area(base=10, height=5)]'

The value that stands in BFCL's result files for an answer (`result`) is the
list of its calls for the first, [{name: arguments}], and its text for the
second or where there is no call.
"""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hephaestus_jax import chat, errors
from hephaestus_jax.corpus import document
from hephaestus_jax.evaluation.bfcl_checker import PROMPTING, TOOLS

# Formats of models whose published template offers no tools.
WITHOUT_TOOLS = ('smollm2',)
# Formats in which a turn of the assistant makes one call.
ONE_CALL = ('llama3', 'react')
RELEVANCE = ('irrelevance', 'live_irrelevance', 'live_relevance')
DEEPEST = 32  # how deeply a call's arguments may nest; BFCL's own need 4
# Why a model said nothing: its answer counts as wrong whatever was asked.
TOO_LONG, UNFIT = 'prompt_too_long', 'unfit'

# BFCL's type words -> JSON schema's; words that are in neither mean a string.
JSON_TYPES: Mapping[str, str] = {
  **{
    word: word
    for word in ('string', 'integer', 'number', 'boolean', 'array', 'object')
  },
  **dict.fromkeys(('byte', 'short', 'long', 'Bigint'), 'integer'),
  **dict.fromkeys(('float', 'double'), 'number'),
  **dict.fromkeys(('bool', 'Boolean'), 'boolean'),
  **dict.fromkeys(('list', 'tuple', 'Array', 'ArrayList', 'Set'), 'array'),
  **dict.fromkeys(('Queue', 'Stack'), 'array'),
  **dict.fromkeys(('dict', 'HashMap', 'Hashtable'), 'object'),
}
# Half a character, as Python's source spells it: BFCL's command reads it, and
# ends when it writes what it read.
_HALF = re.compile(r'\\(u|U0000)[dD][89a-fA-F][0-9a-fA-F]{2}')
ROLE_OF_MESSAGE = {'system': 'system', 'user': 'user', 'assistant': 'answer'}


@dataclasses.dataclass(frozen=True)
class Answer:
  """A model's turn.

  Attributes:
    text: what it wrote.
    finish: why that ended: 'stop' or 'length'; or why nothing was written:
      TOO_LONG, 'unfit:<reason>' where the chat format has no words for the
      question, or a reason of `replies`.
    prompt_tokens, completion_tokens: how many.
  """

  text: str
  finish: str = 'stop'
  prompt_tokens: int = 0
  completion_tokens: int = 0

  @property
  def unsaid(self) -> str:
    """Why there is no answer; '' where there is one."""
    return '' if self.finish in ('stop', 'length') else self.finish


@dataclasses.dataclass(frozen=True)
class Said:
  """All that a model answered to an entry.

  Attributes:
    result: as BFCL's result files hold it; of several turns by turns and steps,
      or text where the episode came to nothing.
    answers: by turns and steps.
  """

  result: Any
  answers: tuple[tuple[Answer, ...], ...]

  @property
  def lasting(self) -> bool:
    """Whether the model would say it again: no server has failed."""
    reasons = [answer.unsaid for turn in self.answers for answer in turn]
    return all(
      not reason or reason == TOO_LONG or reason.startswith(f'{UNFIT}:')
      for reason in reasons
    )


def way_of_asking(asking: str | None, chat_format: str, served: bool) -> str:
  """TOOLS or PROMPTING.

  >>> [way_of_asking(None, name, False) for name in ('hermes', 'smollm2')]
  ['tools', 'prompting']

  Args:
    asking: what was chosen; None: tools where the format's models know them.
    served: whether an endpoint answers, which is always prompted.

  Raises:
    errors.UserError: there is no such way, or an endpoint shall be given tools.
  """
  if asking not in (None, TOOLS, PROMPTING):
    raise errors.UserError(
      f'bfcl.Bfcl.asking = {asking!r}; there are {TOOLS!r} and {PROMPTING!r}.'
    )
  if served:
    if asking == TOOLS:
      raise errors.UserError(
        f'bfcl.Bfcl.asking = {TOOLS!r} needs a checkpoint: a model that is '
        f'served is asked by {PROMPTING!r}. Leave it out.'
      )
    return PROMPTING
  chat.of_name(chat_format)
  return asking or (PROMPTING if chat_format in WITHOUT_TOOLS else TOOLS)


def opening(entry: Mapping[str, Any]) -> list[document.Segment]:
  """What is said before the first answer: functions, then the first turn."""
  return [*offer(entry['functions']), *said(entry['turns'][0])]


def offer(functions: Sequence[Mapping[str, Any]]) -> list[document.Segment]:
  """The segment that offers functions; none where there are none.

  Of several such segments each adds to what is offered.
  """
  tools = [
    {**tool, 'parameters': json_schema(tool['parameters'])}
    for tool in functions
  ]
  return (
    [document.Segment('system', chat.system_prompt(tools))] if tools else []
  )


def said(messages: Sequence[Mapping[str, str]]) -> list[document.Segment]:
  """BFCL's messages as segments.

  >>> said([{'role': 'user', 'content': 'Hi.'}])
  [Segment(role='user', text='Hi.')]
  """
  return [
    document.Segment(ROLE_OF_MESSAGE[message['role']], message['content'])
    for message in messages
  ]


def json_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
  """BFCL's description of a parameter, with JSON schema's type words.

  >>> json_schema({'type': 'dict', 'properties': {'x': {'type': 'float'}}})
  {'type': 'object', 'properties': {'x': {'type': 'number'}}}
  """
  result = dict(schema)
  if 'type' in schema:
    result['type'] = JSON_TYPES.get(schema['type'], 'string')
  if isinstance(schema.get('items'), dict):
    result['items'] = json_schema(schema['items'])
  if isinstance(schema.get('properties'), dict):
    result['properties'] = {
      name: json_schema(value) for name, value in schema['properties'].items()
    }
  return result


def read(
  answer: Answer, category: str, asking: str, chat_format: str
) -> tuple[str | list[dict[str, Any]], str]:
  """What BFCL's result files hold for an answer, and what is wrong with it.

  >>> read(Answer('<tool_call>{"name": "f", "arguments": {}}</tool_call>'),
  ...      'multiple', 'tools', 'hermes')
  ([{'f': {}}], '')
  >>> read(Answer('<tool_call>f()</tool_call>'), 'multiple', 'tools', 'hermes')
  ('<tool_call>f()</tool_call>', 'malformed:not_json')

  A call that can't be read takes the others with it; BFCL's own readers would
  skip it. Of relevance it is only asked, as BFCL does, whether there was a call
  that can be read.

  Returns:
    (result, reason); the reason is '' where only the official checker can tell.
    No answer at all is the result that counts as wrong: of irrelevance a call
    of that name, else text.
  """
  if answer.unsaid:
    if 'irrelevance' not in category:
      return answer.unsaid, answer.unsaid
    if asking == PROMPTING:
      return f'[{answer.unsaid.split(":")[0]}()]', answer.unsaid
    return [{answer.unsaid: {}}], answer.unsaid
  if asking == PROMPTING:
    return _HALF.sub('?', _encodable(answer.text)), ''
  parsed = chat.parse(answer.text, chat_format)
  calls, malformed = list(parsed.calls), list(parsed.malformed)
  if _depth(calls) > DEEPEST:
    calls, malformed = [], [*malformed, 'too_deep']
  if calls and (not malformed or category in RELEVANCE):
    return [
      {_encodable(call['name']): _encodable(call['arguments'])}
      for call in calls
    ], ''
  reason = f'malformed:{malformed[0]}' if malformed else ''
  return _encodable(answer.text), '' if category in RELEVANCE else reason


def _encodable(value: Any) -> Any:
  """A value without halves of characters, which no file can hold.

  >>> _encodable({'x': '\\ud800'})
  {'x': '?'}
  """
  text = json.dumps(value, ensure_ascii=False)
  return json.loads(text.encode(errors='replace'))


def _depth(value: Any) -> int:
  """How deeply lists and objects nest: 0 for a number, 2 for [[1]].

  By levels, since what nests too deeply can't be walked by recursion.
  """
  depth, level = 0, [value]
  while level := [item for item in level if isinstance(item, dict | list)]:
    depth += 1
    level = [
      child
      for item in level
      for child in (item.values() if isinstance(item, dict) else item)
    ]
  return depth
