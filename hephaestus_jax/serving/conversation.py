"""Messages of the OpenAI API -> a prompt; what a model said -> a message.

`chat` owns the formats; this module knows the API's words for what they say,
and what a model must write to make a call in each.
"""

import json
import secrets
from collections.abc import Mapping
from typing import Any

from hephaestus_jax import chat, tokenizer
from hephaestus_jax.chat_formats import chatml, llama3, mistral
from hephaestus_jax.decode import constraints, text
from hephaestus_jax.serving import protocol

_TAGGED = constraints.Written(
  opening=f'{chatml.CALL_START}\n', closing=f'\n{chatml.CALL_END}', between='\n'
)
# How a call that is asked for is written; a format that isn't here can't be
# held to one.
WRITTEN: Mapping[str, constraints.Written] = {
  'chatml': _TAGGED,
  'smollm2': _TAGGED,
  'hermes': _TAGGED,
  'llama3': constraints.Written(arguments='parameters'),
  'mistral': constraints.Written(
    before=f'{mistral.CALLS} [', between=', ', after=']'
  ),
}
# What a call begins with: words before it are said as they come. Of a format
# that isn't here nothing is said before the turn is whole.
CALLS_BEGIN: Mapping[str, tuple[str, ...]] = {
  'chatml': (chatml.CALL_START,),
  'smollm2': (chatml.CALL_START,),
  'hermes': (chatml.CALL_START,),
  'llama3': (llama3.PYTHON_TAG, '{"name"'),
  'mistral': (mistral.CALLS,),
}


def prompt(
  vocabulary: tokenizer.Tokenizer,
  request: protocol.ChatRequest,
  chat_format: str,
) -> list[int]:
  """The tokens that a conversation is continued from.

  Raises:
    protocol.RefusedError: the format has no words for it.
  """
  messages = [
    message.model_dump(include={'role', 'content', 'tool_calls'})
    for message in request.messages
  ]
  try:
    segments = chat.segments_of(messages, request.offered())
    spans = chat.generation_prompt(segments, chat_format)
  except chat.UnfitError as error:
    raise protocol.RefusedError(
      400,
      f'messages do not fit the format {chat_format!r}: {error.reason}',
      param='messages',
      code=error.reason,
    ) from None
  (ids,) = vocabulary.encode_spans([spans])
  return opened(vocabulary, [token for part in ids for token in part])


def opened(vocabulary: tokenizer.Tokenizer, ids: list[int]) -> list[int]:
  """Tokens that begin as documents do, unless they do so already."""
  opening = vocabulary.bos_id
  if opening is None or ids[:1] == [opening]:
    return ids
  return [opening, *ids]


def constraint(
  grammars: constraints.Grammars | None,
  request: protocol.ChatRequest,
  chat_format: str,
) -> constraints.Matcher | None:
  """What the answer may say, where the request binds it.

  Raises:
    protocol.RefusedError: no grammar can be made of what is asked, or none at
      all here.
  """
  tools, kind = request.required(), request.answer_format()
  if not tools and kind == 'text':
    return None
  if grammars is None:
    raise protocol.RefusedError(
      501, 'this server was started without llguidance, which this needs'
    )
  try:
    if tools and chat_format not in WRITTEN:
      raise constraints.UnfitError(f'{chat_format!r} can not be held to a call')
    if tools:
      return grammars.calls(
        tools, WRITTEN[chat_format], several=request.parallel_tool_calls
      )
    schema: dict[str, Any] = {'type': 'object'}
    if request.response_format and request.response_format.json_schema:
      schema = request.response_format.json_schema.json_schema
    return grammars.json(schema)
  except constraints.UnfitError as error:
    param = 'tools' if tools else 'response_format'
    raise protocol.RefusedError(400, f'{param}: {error}', param=param) from None


class Turn:
  """Reads one answer while it comes: words at once, calls at the end."""

  def __init__(self, chat_format: str, calls: bool) -> None:
    """
    Args:
      calls: whether tools were offered; else all of it is words.
    """
    self._format = chat_format
    self._calls = calls
    self._until = text.Until(CALLS_BEGIN.get(chat_format, ()))
    self._whole = ''
    self._given = ''
    self._space = ''  # white space is said when words follow it

  def push(self, more: str) -> str:
    """The words that more text adds."""
    self._whole += more
    if not self._calls:
      return more
    if self._format not in CALLS_BEGIN:
      return ''
    words = self._space + self._until.push(more)
    if not self._given:
      words = words.lstrip()
    kept = words.rstrip()
    self._space = words[len(kept) :]
    self._given += kept
    return kept

  def finish(self) -> tuple[str, list[dict[str, Any]]]:
    """The words that are left, and the calls as the API tells them.

    What was meant for a call and can't be read is words, as the model wrote it.
    """
    if not self._calls:
      return '', []
    parsed = chat.parse(self._whole, self._format)
    words = '\n'.join(filter(None, (parsed.thought, parsed.words)))
    if parsed.malformed:
      words = self._whole.strip()
    rest = words[len(self._given) :] if words.startswith(self._given) else ''
    calls = [
      {
        'id': f'call_{secrets.token_hex(12)}',
        'type': 'function',
        'function': {
          'name': call['name'],
          'arguments': json.dumps(call['arguments'], ensure_ascii=False),
        },
      }
      for call in parsed.calls
    ]
    return rest, calls
