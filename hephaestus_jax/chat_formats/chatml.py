"""ChatML with Hermes' tool tags: what our own models read, and SmolLM2's.

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

Tools are offered in words, by `conversation.system_prompt`. An action that is
no call (`search[tea]`) stands between the tags as it is.
"""

import dataclasses
import json
from collections.abc import Iterable, Sequence

from hephaestus_jax.chat_formats import conversation
from hephaestus_jax.chat_formats.conversation import Span
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


@dataclasses.dataclass(frozen=True)
class ChatML:
  """The format; see the module.

  Attributes:
    system: what a conversation begins with that has no system turn; None:
      nothing. SmolLM2's own template puts a sentence there.
  """

  system: str | None = None

  @property
  def stops(self) -> tuple[str, ...]:
    """What ends the assistant's turn."""
    return (TURN_END,)

  def spans(
    self, segments: Sequence[document.Segment], *, prompt: bool
  ) -> Iterable[Span]:
    """Segments as ChatML turns; neighbours of one turn share its markers."""
    speakers = [conversation.TURN_OF_ROLE[s.role] for s in segments]
    if self.system is not None and speakers[:1] != ['system']:
      segments = [document.Segment('system', self.system), *segments]
    turn, last_role = '', ''
    for segment in segments:
      if conversation.TURN_OF_ROLE[segment.role] != turn:
        if turn:
          yield from _turn_end(last_role)
        turn = conversation.TURN_OF_ROLE[segment.role]
        yield Span('structure', f'{TURN_START}{turn}\n', marker=True)
      else:
        # The assistant has to write it itself before it goes on.
        role = segment.role if turn == 'assistant' else 'structure'
        yield Span(role, '\n', marker=True)
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
    if prompt:
      yield Span('structure', f'{TURN_START}assistant\n', marker=True)

  def parse(self, text: str) -> conversation.Completion:
    """Reads an assistant's turn back."""
    return parse(text)


def _turn_end(role: str) -> Iterable[Span]:
  """The stop token is the assistant's to learn, the newline nobody's."""
  speaker = conversation.TURN_OF_ROLE[role]
  learned = role if speaker == 'assistant' else 'structure'
  yield Span(learned, TURN_END, marker=True)
  yield Span('structure', '\n', marker=True)


def parse(text: str) -> conversation.Completion:
  """Words and tagged calls of an assistant's turn, Hermes' too."""
  text = text.split(TURN_END, 1)[0]
  first, *blocks = text.split(CALL_START)
  words, found, unread = [first], [], []
  for block in blocks:
    body, closed, rest = block.partition(CALL_END)
    words.append(rest)
    try:
      found.append(json.loads(body))
    except (ValueError, RecursionError):
      unread.append('not_json' if closed else 'not_closed')
  calls, malformed = conversation.read_calls(found)
  return conversation.Completion(
    ''.join(words).strip(), calls, (*unread, *malformed)
  )
