"""ReAct: thoughts, actions and observations, told apart by the text's markers.

`split` takes a text apart at 'Thought:', 'Action 2:', 'Observation:' and their
like; the markers stay, so the segments make up the text. `episode` reads a
dialog in which the model writes such text and an environment answers as user.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.adapters import dialog, entry, fields, messages

# What a model writes in its turn, and where it writes both sides.
TURN = {
  'thought': 'thought',
  'thoughts': 'thought',
  'think': 'thought',
  'final thought': 'thought',
  'reflection': 'thought',
  'reflections': 'thought',
  'action': 'action',
  'action input': 'action',
  'act': 'action',
  'observation': 'observation',
  'final answer': 'answer',
  'answer': 'answer',
}
# A whole episode in one text, from the task on.
EPISODE = TURN | {
  'question': 'user',
  'claim': 'user',
  'task': 'user',
  'context': 'user',
}

_WORDS = sorted({*EPISODE, 'response'}, key=len, reverse=True)
_MARKER = re.compile(
  r'^[ \t]{0,16}(?:\*\*)?(?:ASSISTANT )?'
  rf'(?P<word>{"|".join(word.replace(" ", "[ _]") for word in _WORDS)})'
  r'[ ]?\d{0,4}(?:\*\*)?[ ]?[:：]',
  re.IGNORECASE | re.MULTILINE,
)
# 'I go there. Action: go' on one line.
_INLINE_ACTION = re.compile(
  r'(?<=[.!?)\]"\'])[ ]{1,4}(?:Action|Act)[ ]?\d{0,4}:|\bACTION:'
)
_FINISHING = re.compile(
  r'[ \t]*act(?:ion)?[ ]?\d{0,4}:\s{0,4}(?:finish|answer)\b', re.IGNORECASE
)
_ENVIRONMENT = re.compile(
  r'\s{0,8}(?:\*\*)?(?:observation[ ]?\d{0,4}(?:\*\*)?[ ]?:'
  r'|the output of the os:|the executed result|<tool_response>)',
  re.IGNORECASE,
)


def split(
  text: str,
  markers: Mapping[str, str] = TURN,
  lead: str = 'thought',
  unmarked: str = 'answer',
) -> messages.Segments:
  r"""Text -> segments that begin at its markers.

  Neighbours of one role ('Action:', 'Action Input:') are one segment.

  >>> split('Thought: Tea?\nAction: search\nAction Input: {"q": "tea"}')
  (Segment(role='thought', text='Thought: Tea?'),
   Segment(role='action', text='Action: search\nAction Input: {"q": "tea"}'))

  Args:
    text: what was written.
    markers: marker in lower case -> role; others of EPISODE are plain text.
    lead: the role of what stands before the first marker.
    unmarked: the role of a text without any.
  """
  cuts = [(0, lead)]
  for match in messages.bounded(_MARKER.finditer(text)):
    word = match['word'].lower().replace('_', ' ')
    if word in markers:
      cuts.append((match.start(), markers[word]))
  if len(cuts) == 1:
    return messages.segments(unmarked, text)
  # Mind2Web's 'Answer: B.' is the element that the action after it is done to.
  for i, ((start, role), (_, after)) in enumerate(itertools.pairwise(cuts)):
    if role == 'answer' and after == 'action':
      cuts[i] = (start, 'action')
  if not {'action', 'answer'} & {role for _, role in cuts}:
    inline = _INLINE_ACTION.search(text, cuts[1][0])
    if inline:
      cuts = sorted([*cuts, (inline.start(), 'action')])
  return messages.pieces(text, cuts)


def written(text: str) -> messages.Segments:
  """A model's turn: by its markers; without any, as `dialog.spoken`."""
  pieces = split(text)
  if any(piece.role != 'answer' for piece in pieces):
    return pieces
  return dialog.spoken(text)


def replies(
  turns: Iterable[messages.Turn],
  reply: Callable[[str], messages.Segments] = written,
) -> messages.Segments:
  """A dialog between a model and an environment that answers as user.

  A user's message is an observation if it says so, or if it follows a thought
  or an action that doesn't finish; else it is a task. `reply` takes the model's
  texts apart.
  """
  found: list[document.Segment] = []
  acting = False
  for turn in turns:
    if turn.speaker == 'user':
      for text in turn.texts:
        observed = acting or _ENVIRONMENT.match(text)
        role = 'observation' if observed else 'user'
        found += messages.segments(role, text)
    else:
      found += dialog.conversation([turn], reply)
    last = found[-1] if found else document.Segment('user', '')
    acting = last.role == 'thought' or (
      last.role == 'action' and not _FINISHING.match(last.text)
    )
  return tuple(found)


# --- Records


def episode(record: Any) -> messages.Segments:
  """A record with messages in any spelling whose model writes ReAct text.

  >>> episode({'messages': [
  ...     {'role': 'user', 'content': 'How high is K2?'},
  ...     {'role': 'assistant',
  ...      'content': 'Thought: I search.\\nAction: search[K2]'},
  ...     {'role': 'user', 'content': 'Observation: 8,611 m'},
  ...     {'role': 'assistant', 'content': 'Action: finish[8,611 m]'}]})
  (Segment(role='user', text='How high is K2?'),
   Segment(role='thought', text='Thought: I search.'),
   Segment(role='action', text='Action: search[K2]'),
   Segment(role='observation', text='Observation: 8,611 m'),
   Segment(role='action', text='Action: finish[8,611 m]'))

  Raises:
    entry.MalformedError: 'no_text', or a reason of `messages.column`.
  """
  turns = messages.column(record)
  return messages.told(dialog.prologue(record) + replies(turns))


def code_act(record: Any) -> messages.Segments:
  """CodeAct: code between tags acts, the user tells its output."""
  turns = messages.column(record)
  return messages.told(replies(turns, dialog.code_act))


def fireact(record: Any) -> messages.Segments:
  """FireAct's alpaca_format: the episode after the question is one text.

  Choices ('A. ...') that belong to the question open the text.
  """
  return messages.told(
    messages.segments('user', fields.text(record, 'instruction'))
    + messages.segments('user', fields.optional_text(record, 'input'))
    + split(fields.text(record, 'output'), lead='user')
  )


def nat_prompts(record: Any) -> messages.Segments:
  """NAT's prompts: an example episode, and how the next question is put."""
  names = ('question_prompt', 'correct_question_prompt')
  prompts = [
    fields.optional_text(record, name)
    for name in (*names, 'incorrect_question_prompt')
  ]
  return episode(record) + messages.segments('user', *prompts)


def lumos(record: Any) -> messages.Segments:
  """Lumos' grounding: subgoals come from the user, calls from the model.

  The model answers 'R1 = KnowledgeQuery(...)'; the user also tells results.
  """
  return messages.told(
    tuple(
      document.Segment('action', segment.text)
      if segment.role == 'answer' and '(' in segment.text
      else segment
      for segment in replies(messages.column(record))
    )
  )


def prompt_text(record: Any) -> messages.Segments:
  """A text of whole episodes (ReAct's prompts), their questions among it."""
  if not isinstance(record, str):
    raise fields.wrong_kind('record', record)
  return messages.told(split(record, EPISODE, lead='user', unmarked='text'))


def log_file(record: Any) -> messages.Segments:
  """A text file of episodes (Reflexion's logs)."""
  return prompt_text(fields.text(record, 'text'))


def action_plan(record: Any) -> messages.Segments:
  """ChatsBug: a prompt whose last 'OUTPUT:' opens the plan of actions.

  Raises:
    entry.MalformedError: 'no_output', or a reason of `fields.text`.
  """
  prompt = fields.text(record, 'prompt')
  start = prompt.rfind('OUTPUT:')
  if start < 0:
    raise entry.MalformedError('no_output')
  return messages.segments('user', prompt[:start].strip()) + messages.segments(
    'action', prompt[start:].strip()
  )
