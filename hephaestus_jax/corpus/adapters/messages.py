"""Lists of messages, in their many published spellings, as turns.

`from`/`value`, `role`/`content`, `conversations`, `messages`, a list or a
struct of columns, OpenAI's `function_call` and `tool_calls`, whole chats in one
string with ChatML, Gemma, LLaMA or 'USER:' marks: what a data set calls things
ends here. `dialog` and `react` say what the turns mean.
"""

import dataclasses
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.adapters import entry, fields, parts

Segments = parts.Segments
_Found = TypeVar('_Found')

# Who speaks. 'call' is a message that is nothing but a tool call, 'tool' what
# came back.
SPEAKERS = {
  name: speaker
  for speaker, names in {
    'system': 'system developer system_prompt',
    'user': 'user human prompter customer instruction question',
    'assistant': 'assistant gpt model bot chatbot chatgpt gpt-4 bing bard '
    'claude ai agent response answer',
    'tool': 'tool function observation ipython environment env api '
    'function_response function-response tool_response tool_result '
    'function_result function_output execution',
    'call': 'function_call function-call tool_call tool-call call action',
    'thought': 'thought thinking reasoning',
  }.items()
  for name in names.split()
}
# Columns that hold the messages, the first that is there.
COLUMNS = (
  *('messages', 'conversations', 'conversation', 'dialog', 'dialogue'),
  *('dialog_history', 'chat', 'turns', 'trajectory'),
)
_SPEAKER_KEYS = ('role', 'from', 'speaker', 'sender')
_TEXT_KEYS = ('content', 'value', 'text', 'message', 'utterance')
_REASONING_KEYS = ('reasoning_content', 'reasoning', 'thinking')


@dataclasses.dataclass(frozen=True)
class Turn:
  """What one message says.

  Attributes:
    speaker: one of the values of SPEAKERS.
    texts: the content; none where it is null, several where it has parts.
    calls: name and arguments of the tools that it calls, a string each.
    reasoning: what the speaker thought before, in fields of its own.
  """

  speaker: str
  texts: tuple[str, ...]
  calls: tuple[str, ...] = ()
  reasoning: tuple[str, ...] = ()


def segments(role: str, *texts: str) -> Segments:
  """A segment per text that says something; an observation may say nothing.

  >>> segments('answer', 'Yes.', ' ')
  (Segment(role='answer', text='Yes.'),)
  >>> segments('observation', '')
  (Segment(role='observation', text=''),)
  """
  return tuple(
    document.Segment(role, text)
    for text in texts
    if text.strip() or role == 'observation'
  )


def pieces(text: str, cuts: Sequence[tuple[int, str]]) -> Segments:
  """A text cut at (start, role) pairs; neighbours of one role stay together.

  >>> pieces('Why? Do it.', [(0, 'thought'), (5, 'action')])
  (Segment(role='thought', text='Why?'), Segment(role='action', text='Do it.'))
  """
  starts = [
    cut for i, cut in enumerate(cuts) if not i or cuts[i - 1][1] != cut[1]
  ]
  return tuple(document.Segment(*part) for part in parts.cut(text, starts))


def bounded(found: Iterable[_Found]) -> list[_Found]:
  """All of a record's parts: more than parts.MAX_PARTS are no dialog.

  Raises:
    entry.MalformedError: 'too_many_parts'.
  """
  made = list(itertools.islice(found, parts.MAX_PARTS + 1))
  if len(made) > parts.MAX_PARTS:
    raise entry.MalformedError('too_many_parts')
  return made


def told(found: Segments) -> Segments:
  """`found`, which must hold a word.

  Raises:
    entry.MalformedError: 'no_text'.
  """
  if not any(segment.text.strip() for segment in found):
    raise entry.MalformedError('no_text')
  return found


def column(record: Any) -> tuple[Turn, ...]:
  """The turns of a record, whichever of COLUMNS holds them.

  >>> column({'id': 1, 'conversations': [{'from': 'human', 'value': 'Hi.'}]})
  (Turn(speaker='user', texts=('Hi.',), calls=(), reasoning=()),)

  Raises:
    entry.MalformedError: 'no_messages', or a reason of `turns`.
  """
  if isinstance(record, Mapping):
    for name in COLUMNS:
      if record.get(name):
        return turns(record[name])
    raise entry.MalformedError('no_messages')
  return turns(record)


def turns(found: Any) -> tuple[Turn, ...]:
  """A list of messages, a struct of columns, JSON text of one, a marked chat.

  >>> turns([{'role': 'assistant', 'content': None, 'function_call':
  ...         {'name': 'search', 'arguments': '{"q": "tea"}'}}])
  (Turn(speaker='assistant', texts=(), calls=('search', '{"q": "tea"}'),
        reasoning=()),)

  Raises:
    entry.MalformedError: 'messages_is_int', 'no_messages', 'message_is_str',
      'no_speaker', 'unknown_speaker', 'no_content', 'content_is_int',
      'too_many_parts', 'columns_differ' (a struct of uneven lists).
  """
  if isinstance(found, str):
    return _from_text(found)
  if isinstance(found, Mapping):
    found = _rows(found)
  if not isinstance(found, list):
    raise fields.wrong_kind('messages', found)
  if not found:
    raise entry.MalformedError('no_messages')
  return tuple(_turn(message) for message in bounded(found))


def _rows(struct: Mapping[str, Any]) -> list[dict[str, Any]]:
  """{'from': [a, b], 'value': [c, d]} as rows: how TFDS gives sequences."""
  columns = {k: v for k, v in struct.items() if isinstance(v, list)}
  if not columns:
    raise entry.MalformedError('no_messages')
  if len({len(values) for values in columns.values()}) != 1:
    raise entry.MalformedError('columns_differ')
  return [
    dict(zip(columns, row, strict=True))
    for row in zip(*columns.values(), strict=True)
  ]


def _turn(message: Any) -> Turn:
  if not isinstance(message, dict):
    raise fields.wrong_kind('message', message)
  named = next((message[k] for k in _SPEAKER_KEYS if message.get(k)), None)
  if named is None:
    raise entry.MalformedError('no_speaker')
  speaker = isinstance(named, str) and SPEAKERS.get(named.strip().lower())
  if not speaker:
    raise entry.MalformedError('unknown_speaker')
  calls = tuple(_calls(message))
  contents = [message[key] for key in _TEXT_KEYS if key in message]
  if not contents and not calls:
    raise entry.MalformedError('no_content')
  # Some sets have a text twice ('value' and 'text'): once is enough. A tool's
  # name and the id of its call say which call it answers, and are left out.
  texts = (text for content in contents for text in _texts(content))
  return Turn(
    speaker,
    tuple(dict.fromkeys(texts)) if len(contents) > 1 else tuple(texts),
    calls,
    tuple(
      message[key]
      for key in _REASONING_KEYS
      if isinstance(message.get(key), str)
    ),
  )


def _texts(content: Any) -> Iterator[str]:
  """The strings of a content: null, text, parts, or what a tool gave."""
  match content:
    case None:
      return
    case str():
      yield content
    case list():
      for part in content:
        inner = part.get('text') if isinstance(part, dict) else part
        yield inner if isinstance(inner, str) else fields.json_text(part)
    case dict():
      yield fields.json_text(content)
    case _:
      raise fields.wrong_kind('content', content)


def _calls(message: Mapping[str, Any]) -> Iterator[str]:
  """Names and arguments; several tools may be called at once."""
  if message.get('function_call'):
    yield from called(message['function_call'])
  several = message.get('tool_calls')
  if several and not isinstance(several, list):
    raise fields.wrong_kind('tool_calls', several)
  for call in several or ():
    # OpenAI wraps the call, and adds an id and a type; others don't.
    inner = call.get('function') if isinstance(call, dict) else None
    yield from called(inner if isinstance(inner, dict) else call)


def called(call: Any) -> tuple[str, ...]:
  """A call as text: OpenAI's arguments are a string of their own already.

  >>> called({'name': 'add', 'arguments': '{"a": 1}'})
  ('add', '{"a": 1}')
  >>> called({'name': 'add', 'arguments': {'a': 1}})
  ('{"name": "add", "arguments": {"a": 1}}',)
  """
  match call:
    case str():
      return (call,)
    case {'name': str(name), 'arguments': str(arguments)}:
      return (name, arguments)
    case _:
      return (fields.json_text(call),)


# --- Chats in one string

# A mark that opens a turn, with the speaker's name where it has one. The marks
# are the serialisation's, not the speaker's: they go, as JSON's quotes do.
_OPENING = re.compile(
  r'<\|im_start\|>[ ]?(?P<chatml>[\w-]{1,20})[ ]?(?:\n|$)'
  r'|<start_of_turn>[ ]?(?P<gemma>[\w-]{1,20})[ ]?(?:\n|$)'
  r'|<\|start_header_id\|>(?P<llama3>[\w-]{1,20})<\|end_header_id\|>'
  r'|<\|(?P<zephyr>system|user|assistant|tool)\|>'
  r'|^[ ]?\#{2,3}[ ]?(?P<hashes>[A-Za-z]{1,12}):'
  r'|^(?P<capitals>SYSTEM|USER|ASSISTANT|FUNCTION[ ]RESPONSE|Human|Assistant):'
  r'|(?P<llama2>\[/?INST\]|<</?SYS>>)',
  re.MULTILINE,
)
# Marks that close a turn or a text, or open a text; of no speaker.
_CLOSING = (
  *('<|im_end|>', '<end_of_turn>', '<|eot_id|>', '<|end_of_text|>'),
  *('<|endoftext|>', '<|begin_of_text|>', '<s>', '</s>', '<bos>', '<eos>'),
)
_LLAMA2 = {
  '[INST]': 'user',
  '[/INST]': 'assistant',
  '<<SYS>>': 'system',
  '<</SYS>>': 'user',
}


def is_marked(text: str) -> bool:
  """Whether a text is a whole chat: two turns at least have marks.

  >>> is_marked('<|im_start|>user\\nHi.\\n<|im_start|>assistant\\nHello.')
  True
  >>> is_marked('USER: a person who uses.')
  False
  """
  found = (_marked_speaker(match) for match in _OPENING.finditer(text))
  return sum(1 for _ in itertools.islice(filter(None, found), 2)) == 2


def _from_text(text: str) -> tuple[Turn, ...]:
  """JSON text of messages, or a chat with marks.

  >>> _from_text('USER: Hi.\\n\\n\\nASSISTANT: Hello. <|endoftext|>')
  (Turn(speaker='user', texts=('Hi.',), calls=(), reasoning=()),
   Turn(speaker='assistant', texts=('Hello.',), calls=(), reasoning=()))
  """
  if text.lstrip()[:1] in ('[', '{'):
    try:
      found = json.loads(text)
    except (ValueError, RecursionError):
      found = None
    if isinstance(found, list | dict):
      return turns(found)
  return tuple(_marked(text))


def _marked(text: str) -> Iterator[Turn]:
  marks = [
    (match, speaker)
    for match in bounded(_OPENING.finditer(text))
    if (speaker := _marked_speaker(match))
  ]
  if not marks:
    raise entry.MalformedError('no_messages')
  lead = _bare(text[: marks[0][0].start()])
  if lead:
    yield Turn('system', (lead,))
  ends = [match.start() for match, _ in marks[1:]] + [len(text)]
  for (match, speaker), end in zip(marks, ends, strict=True):
    said = _bare(text[match.end() : end])
    if said:
      yield Turn(speaker, (said,))


def _marked_speaker(match: re.Match[str]) -> str | None:
  if match['llama2']:
    return _LLAMA2[match['llama2']]
  name = match[match.lastgroup or 0].lower().replace(' ', '_')
  return SPEAKERS.get(name)


def _bare(text: str) -> str:
  """A turn's text without the marks at its edges.

  A mark that stands inside is something that was said.
  """
  start, end = 0, len(text)
  while start < end:
    mark = next((m for m in _CLOSING if text.startswith(m, start, end)), '')
    if not mark and not text[start].isspace():
      break
    start += len(mark) or 1
  while start < end:
    mark = next((m for m in _CLOSING if text.endswith(m, start, end)), '')
    if not mark and not text[end - 1].isspace():
      break
    end -= len(mark) or 1
  return text[start:end]
