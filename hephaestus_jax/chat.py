"""The one owner of the message format: segments -> text with a role per span.

The corpus stores what was said (`Document.segments`); this module decides how
a model sees it, in training and at inference alike. Documents of documentation,
code or text are plain. All others become turns in the ChatML layout with
Hermes tool tags, which SmolLM2's vocabulary and ours hold as single tokens:

    <|im_start|>system
    ...<|im_end|>
    <|im_start|>user
    Which buckets are there?<|im_end|>
    <|im_start|>assistant
    <tool_call>
    {"name": "list_buckets", "arguments": {}}
    </tool_call><|im_end|>
    <|im_start|>tool
    <tool_response>
    ["logs"]
    </tool_response><|im_end|>

Spans are tokenised one by one, so the tokens of a prompt are a prefix of the
tokens of prompt and answer, and the stop token belongs to the turn it ends: a
model that learns thought, action and answer learns to stop after them. Only
marker spans hold control tokens: a page that quotes '<|im_end|>' is content,
and `tokenizer` spells it out.
"""

import dataclasses
import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any

from hephaestus_jax.corpus import document

TURN_START = '<|im_start|>'
TURN_END = '<|im_end|>'
CALL_START = '<tool_call>'
CALL_END = '</tool_call>'
RESULT_START = '<tool_response>'
RESULT_END = '</tool_response>'
SPECIAL_TOKENS = (
  TURN_START,
  TURN_END,
  CALL_START,
  CALL_END,
  RESULT_START,
  RESULT_END,
)

PLAIN_ROLES = frozenset({'documentation', 'code', 'text'})
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


def render(segments: Sequence[document.Segment]) -> tuple[Span, ...]:
  """Segments as the text that a model reads, a span per role.

  >>> render([Segment('user', 'Hi.'), Segment('answer', 'Hello.')])
  (Span('structure', '<|im_start|>user\\n', marker=True), Span('user', 'Hi.'),
   Span('structure', '<|im_end|>\\n<|im_start|>assistant\\n', marker=True),
   Span('answer', 'Hello.'), Span('answer', '<|im_end|>', marker=True),
   Span('structure', '\\n', marker=True))
  """
  if all(segment.role in PLAIN_ROLES for segment in segments):
    spans = [
      Span(segment.role, ('\n\n' if i else '') + segment.text)
      for i, segment in enumerate(segments)
    ]
  else:
    spans = list(_turns(segments))
  return tuple(_join(spans))


def generation_prompt(segments: Sequence[document.Segment]) -> tuple[Span, ...]:
  """`render` plus the opening of the assistant's turn, to be continued."""
  turns = list(_turns(segments))
  opening = Span('structure', f'{TURN_START}assistant\n', marker=True)
  return tuple(_join([*turns, opening]))


def _turns(segments: Iterable[document.Segment]) -> Iterable[Span]:
  """Segments as ChatML turns; neighbours of one turn share its markers."""
  turn, last_role = '', ''
  for segment in segments:
    if TURN_OF_ROLE[segment.role] != turn:
      if turn:
        yield from _turn_end(last_role)
      turn = TURN_OF_ROLE[segment.role]
      yield Span('structure', f'{TURN_START}{turn}\n', marker=True)
    else:
      yield Span('structure', '\n', marker=True)
    if segment.role == 'action':
      yield Span('action', f'{CALL_START}\n', marker=True)
      yield Span('action', segment.text)
      yield Span('action', f'\n{CALL_END}', marker=True)
    elif segment.role == 'observation':
      yield Span('structure', f'{RESULT_START}\n', marker=True)
      yield Span('observation', segment.text)
      yield Span('structure', f'\n{RESULT_END}', marker=True)
    else:
      yield Span(segment.role, segment.text)
    last_role = segment.role
  if turn:
    yield from _turn_end(last_role)


def _turn_end(role: str) -> Iterable[Span]:
  """The stop token is the assistant's to learn, the newline nobody's."""
  learned = role if TURN_OF_ROLE[role] == 'assistant' else 'structure'
  yield Span(learned, TURN_END, marker=True)
  yield Span('structure', '\n', marker=True)


def _join(spans: Iterable[Span]) -> Iterable[Span]:
  """Merges neighbours of one role and one origin, and drops empty spans."""
  for (role, marker), group in itertools.groupby(
    (span for span in spans if span.text),
    key=lambda span: (span.role, span.marker),
  ):
    yield Span(role, ''.join(span.text for span in group), marker)


def system_prompt(tools: Sequence[dict[str, Any]]) -> str:
  """The system text that offers `tools` (JSON-schema function descriptions).

  A tool is {'name': str, 'description': str, 'parameters': {'type': 'object',
  'properties': {...}, 'required': [...]}}, as in the OpenAI API and BFCL.
  """
  lines = '\n'.join(json.dumps(tool, ensure_ascii=False) for tool in tools)
  return (
    'You can call functions. Answer a request with one tool call per '
    'function to call, or in words when none of them fits.\n'
    f'<tools>\n{lines}\n</tools>'
  )


def call_text(name: str, arguments: dict[str, Any]) -> str:
  """The text of an `action` segment.

  >>> call_text('add', {'a': 1})
  '{"name": "add", "arguments": {"a": 1}}'

  An argument that quotes a special token is escaped as JSON allows, so that
  `parse` finds the call's end: '<|im_end|>' is written '\\u003c|im_end|>'.
  """
  text = json.dumps({'name': name, 'arguments': arguments}, ensure_ascii=False)
  for token in SPECIAL_TOKENS:
    text = text.replace(token, '\\u003c' + token[1:])
  return text


@dataclasses.dataclass(frozen=True)
class Completion:
  """What a model said in one turn.

  Attributes:
    words: the text outside tool calls.
    calls: {'name': str, 'arguments': dict} each, in order.
    malformed: a reason per tool call that could not be read. A model's mistake
      is data, never an exception.
  """

  words: str
  calls: tuple[dict[str, Any], ...]
  malformed: tuple[str, ...]


def parse(text: str) -> Completion:
  """Reads an assistant's turn back; the inverse of `render` for its text."""
  text = text.split(TURN_END, 1)[0]
  first, *blocks = text.split(CALL_START)
  words, calls, malformed = [first], [], []
  for block in blocks:
    body, closed, rest = block.partition(CALL_END)
    words.append(rest)
    try:
      call = json.loads(body)
    except (ValueError, RecursionError):
      malformed.append('not_json' if closed else 'not_closed')
      continue
    if not isinstance(call, dict) or not isinstance(call.get('name'), str):
      malformed.append('no_name')
    elif not isinstance(call.get('arguments'), dict):
      malformed.append('no_arguments')
    else:
      calls.append({'name': call['name'], 'arguments': call['arguments']})
  return Completion(''.join(words).strip(), tuple(calls), tuple(malformed))
