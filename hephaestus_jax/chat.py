"""The one owner of the message format: segments -> text with a role per span.

The corpus stores what was said (`Document.segments`); this module decides how
a model sees it, in training and at inference alike. Documents of documentation,
code or text are plain. All others become turns of one of FORMATS:

    chatml   ChatML with Hermes' tool tags: our own models. Says everything.
    smollm2  the same, with the system sentence of SmolLM2's template
    hermes   Hermes 2 Pro and Hermes 3: tools as Python signatures
    llama3   Llama 3.1: JSON, <|python_tag|> for what it brings along
    mistral  Mistral 7B v0.3: [TOOL_CALLS], ids that say which result is whose
    react    Thought, Action, Observation as text, for any vocabulary

`chat_formats` has a module for each. Spans are tokenised one by one, so the
tokens of a prompt are a prefix of the tokens of prompt and answer (but where
the published format rewrites its past: mistral, and hermes after a result), and
the stop token belongs to the turn it ends: a model that learns thought, action
and answer learns to stop after them. Only marker spans hold control tokens: a
page that quotes '<|im_end|>' is content, and `tokenizer` spells it out. A token
that opens documents is the vocabulary's, and no format writes it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hephaestus_jax import errors
from hephaestus_jax.chat_formats import (
  chatml,
  conversation,
  hermes,
  llama3,
  mistral,
  react,
)
from hephaestus_jax.corpus import document

FORMATS: Mapping[str, conversation.Format] = {
  'chatml': chatml.ChatML(),
  'smollm2': chatml.ChatML(
    'You are a helpful AI assistant named SmolLM, trained by Hugging Face'
  ),
  'hermes': hermes.Hermes(),
  'llama3': llama3.Llama3(),
  'mistral': mistral.Mistral(),
  'react': react.React(),
}
# ChatML's, which vocabularies that we train hold as single tokens.
TURN_START, TURN_END = chatml.TURN_START, chatml.TURN_END
CALL_START, CALL_END = chatml.CALL_START, chatml.CALL_END
SPECIAL_TOKENS = chatml.SPECIAL_TOKENS
PLAIN_ROLES = frozenset({'documentation', 'code', 'text'})
_SPEAKERS = {
  'system': 'system',
  'developer': 'system',
  'user': 'user',
  'assistant': 'answer',
  'tool': 'observation',
}

# The words of this module's callers.
Completion = conversation.Completion
Span = conversation.Span
UnfitError = conversation.UnfitError
system_prompt = conversation.system_prompt


def of_name(chat_format: str) -> conversation.Format:
  """One of FORMATS.

  Raises:
    errors.UserError: there is none of that name.
  """
  if chat_format not in FORMATS:
    raise errors.UserError(
      f'There is no chat format {chat_format!r}.'
      + errors.nearest(chat_format, FORMATS)
      + f' There are {", ".join(FORMATS)}.'
    )
  return FORMATS[chat_format]


def render(
  segments: Sequence[document.Segment], chat_format: str = 'chatml'
) -> tuple[Span, ...]:
  """Segments as the text that a model reads, a span per role.

  >>> render([Segment('user', 'Hi.'), Segment('answer', 'Hello.')])
  (Span('structure', '<|im_start|>user\\n', marker=True), Span('user', 'Hi.'),
   Span('structure', '<|im_end|>\\n<|im_start|>assistant\\n', marker=True),
   Span('answer', 'Hello.'), Span('answer', '<|im_end|>', marker=True),
   Span('structure', '\\n', marker=True))

  Raises:
    UnfitError: the format has no words for it; `reason` says why.
    errors.UserError: there is no such format.
  """
  chosen = of_name(chat_format)
  if all(segment.role in PLAIN_ROLES for segment in segments):
    return conversation.joined(
      Span(segment.role, ('\n\n' if i else '') + segment.text)
      for i, segment in enumerate(segments)
    )
  return conversation.joined(chosen.spans(segments, prompt=False))


def generation_prompt(
  segments: Sequence[document.Segment], chat_format: str = 'chatml'
) -> tuple[Span, ...]:
  """`render` plus the opening of the assistant's turn, to be continued.

  Raises:
    UnfitError, errors.UserError: see `render`.
  """
  return conversation.joined(of_name(chat_format).spans(segments, prompt=True))


def parse(text: str, chat_format: str = 'chatml') -> Completion:
  """Reads an assistant's turn back; the inverse of `render` for its text.

  White space around words is not kept, and words that quote the format's own
  tokens read as those: text doesn't tell a control token from its name.

  >>> parse('Hm.<tool_call>{"name": "ls", "arguments": {}}</tool_call>')
  Completion(words='Hm.', calls=({'name': 'ls', 'arguments': {}},),
             malformed=(), thought='')
  """
  return of_name(chat_format).parse(text)


def stops(chat_format: str = 'chatml') -> tuple[str, ...]:
  """What ends the assistant's turn: tokens, or text for a format without."""
  return of_name(chat_format).stops


def segments_of(
  messages: Iterable[Mapping[str, Any]],
  tools: Sequence[Mapping[str, Any]] = (),
) -> tuple[document.Segment, ...]:
  """A conversation as the OpenAI API writes it, as segments.

  >>> segments_of([{'role': 'user', 'content': 'Hi.'}])
  (Segment(role='user', text='Hi.'),)

  Words beside a call become a thought. An id of a call is left out: results
  stand in the order of their calls.

  Args:
    messages: 'role', and 'content' (text, its parts, or None) or 'tool_calls'.
    tools: as there, or the functions alone.

  Raises:
    UnfitError: a message is no such thing: 'message_without_role',
      'content_is_no_text', 'call_not_json', 'tool_without_name'.
  """
  found: list[document.Segment] = []
  if tools:
    functions = [_function(tool) for tool in tools]
    found.append(document.Segment('system', system_prompt(functions)))
  for message in messages:
    speaker = message.get('role')
    role = _SPEAKERS.get(speaker) if isinstance(speaker, str) else None
    if role is None:
      raise UnfitError('message_without_role')
    calls = message.get('tool_calls') or ()
    if not isinstance(calls, Sequence):
      raise UnfitError('call_not_json')
    words = _words(message.get('content'))
    if words or role == 'observation':
      role = 'thought' if calls else role
      found.append(document.Segment(role, words))
    found += [document.Segment('action', _call(call)) for call in calls]
  return tuple(found)


def _function(tool: Any) -> dict[str, Any]:
  """OpenAI wraps the function in an object that says it is one."""
  match tool:
    case {'function': {'name': str()} as function} | (
      {'name': str()} as function
    ):
      return dict(function)
    case _:
      raise UnfitError('tool_without_name')


def _words(content: Any) -> str:
  if content is None:
    return ''
  if isinstance(content, str):
    return content
  if isinstance(content, Sequence):
    texts = [isinstance(part, Mapping) and part.get('text') for part in content]
    if all(isinstance(text, str) for text in texts):
      return ''.join(map(str, texts))
  raise UnfitError('content_is_no_text')


def _call(call: Any) -> str:
  """OpenAI's arguments are JSON text of their own; some give an object."""
  match call:
    case {'function': {'name': str(name), 'arguments': str(given)}}:
      try:
        arguments = json.loads(given)
      except (ValueError, RecursionError):
        raise UnfitError('call_not_json') from None
    case {'function': {'name': str(name), 'arguments': arguments}}:
      pass
    case _:
      raise UnfitError('call_not_json')
  if not isinstance(arguments, dict):
    raise UnfitError('call_not_json')
  return call_text(name, arguments)


def call_text(name: str, arguments: Mapping[str, Any]) -> str:
  """The text of an `action` segment.

  >>> call_text('add', {'a': 1})
  '{"name": "add", "arguments": {"a": 1}}'

  An argument that quotes a special token is escaped as JSON allows, so that
  `parse` finds the call's end: '<|im_end|>' is written '\\u003c|im_end|>'.
  """
  return conversation.json_text(
    {'name': name, 'arguments': arguments}, SPECIAL_TOKENS
  )
