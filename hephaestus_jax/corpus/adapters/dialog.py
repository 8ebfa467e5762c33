"""Dialogs: what was asked, called, returned and said, from lists of messages.

A new data set of this family is `chat` where only people and a model speak,
`react.episode` where the model also writes Thought and Action, and a mapping
of a few lines where it has more to tell.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.adapters import fields, messages

_ROLES = {
  'system': 'system',
  'user': 'user',
  'tool': 'observation',
  'call': 'action',
  'thought': 'thought',
}
# Tags inside an assistant's text, and what stands between them.
_CHAT_TAGS = {
  'think': 'thought',
  'thought': 'thought',
  'tool_call': 'action',
  'function_call': 'action',
  'functioncall': 'action',
}
_CODE_ACT_TAGS = {'thought': 'thought', 'execute': 'action'}


# --- What an assistant says


def spoken(text: str) -> messages.Segments:
  """A reply: calls and thoughts where they are marked, an answer else.

  >>> spoken('[Get Weather(city="Rome"), Now()]')
  (Segment(role='action', text='[Get Weather(city="Rome"), Now()]'),)
  >>> spoken('<think>Easy.</think>Four.')
  (Segment(role='thought', text='<think>Easy.</think>'),
   Segment(role='answer', text='Four.'))
  """
  bare = text.strip()
  # ToolACE's list of calls; 200 characters hold the longest name.
  if bare.startswith('[') and bare.endswith(')]') and _is_call(bare[1:201]):
    return messages.segments('action', text)
  pieces = tagged(text, _CHAT_TAGS, 'answer')
  if all(piece.role != 'action' for piece in pieces):
    return pieces
  # What stands beside a call is why it is made.
  return tuple(
    document.Segment('thought', piece.text) if piece.role == 'answer' else piece
    for piece in pieces
  )


def _is_call(text: str) -> bool:
  name, bracket, _ = text.partition('(')
  return bool(bracket and name.strip()) and not set(name) & set('[]{}"\n')


def code_act(text: str) -> messages.Segments:
  r"""CodeAct's tags: <execute> acts; the line with <solution> answers.

  >>> code_act('I add.\n<execute> 1 + 2 </execute>')
  (Segment(role='thought', text='I add.'),
   Segment(role='action', text='<execute> 1 + 2 </execute>'))
  >>> code_act('It ran.\nThe sum is <solution> 3 </solution>.')
  (Segment(role='thought', text='It ran.'),
   Segment(role='answer', text='The sum is <solution> 3 </solution>.'))
  """
  if not re.search('<(?:thought|execute|solution)>', text):
    return messages.segments('answer', text)
  found: list[document.Segment] = []
  for piece in tagged(text, _CODE_ACT_TAGS, 'thought'):
    solution = piece.text.find('<solution>')
    if piece.role == 'action' or solution < 0:
      found.append(piece)
      continue
    line = piece.text.rfind('\n', 0, solution) + 1
    found += messages.segments('thought', piece.text[:line].strip())
    found += messages.segments('answer', piece.text[line:].strip())
  return tuple(found)


def tagged(text: str, tags: Mapping[str, str], rest: str) -> messages.Segments:
  """Splits at <tag>...</tag>, tags kept; one that isn't closed ends the text.

  >>> tagged('Wait. <call>{}</call>', {'call': 'action'}, 'thought')
  (Segment(role='thought', text='Wait.'),
   Segment(role='action', text='<call>{}</call>'))
  """
  found: list[document.Segment] = []
  done = 0
  openings = re.finditer(f'<({"|".join(tags)})>', text)
  for opening in messages.bounded(openings):
    if opening.start() < done:
      continue  # It stands inside the tag before it.
    closing = f'</{opening[1]}>'
    end = text.find(closing, opening.end())
    end = len(text) if end < 0 else end + len(closing)
    found += messages.segments(rest, text[done : opening.start()].strip())
    found += messages.segments(
      tags[opening[1]], text[opening.start() : end].strip()
    )
    done = end
  found += messages.segments(rest, text[done:].strip() if done else text)
  return tuple(found)


# --- Turns


def conversation(
  turns: Iterable[messages.Turn],
  reply: Callable[[str], messages.Segments] = spoken,
) -> messages.Segments:
  """Turns -> segments; `reply` takes an assistant's text apart."""
  found: list[document.Segment] = []
  for turn in turns:
    found += messages.segments('thought', *turn.reasoning)
    if turn.speaker != 'assistant':
      # A tool that gave null has answered, too.
      texts = turn.texts or (('',) if turn.speaker == 'tool' else ())
      found += messages.segments(_ROLES[turn.speaker], *texts)
    elif turn.calls:
      found += messages.segments('thought', *turn.texts)
    else:
      for text in turn.texts:
        found += reply(text)
    found += messages.segments('action', *turn.calls)
  return tuple(found)


def prologue(record: Any) -> messages.Segments:
  """The tools and the system prompt that stand beside the messages.

  Tools are JSON text, or a list with a description each. An empty list of them
  ('[]') documents nothing.
  """
  if not isinstance(record, dict):
    return ()
  found: messages.Segments = ()
  for name in ('tools', 'functions', 'function', 'tool_descriptions'):
    match record.get(name):
      case str(text) if text.strip() not in ('[]', '{}', 'null'):
        found += messages.segments('documentation', text)
      case list(tools):
        described = (fields.as_text(tool) for tool in tools)
        found += messages.segments('documentation', *described)
      case dict(tools) if tools:
        found += messages.segments('documentation', fields.json_text(tools))
  for name in ('system', 'system_prompt', 'system_message'):
    text = fields.optional_text(record, name)
    found += messages.segments('system', text)
  return found


# --- Records


def chat(record: Any) -> messages.Segments:
  """A record with messages in any spelling, its tools before them.

  >>> chat({'tools': '[{"name": "add"}]', 'conversations': [
  ...     {'from': 'human', 'value': 'What is 1 + 2?'},
  ...     {'from': 'function_call', 'value': 'add(1, 2)'},
  ...     {'from': 'observation', 'value': '3'},
  ...     {'from': 'gpt', 'value': 'It is 3.'}]})
  (Segment(role='documentation', text='[{"name": "add"}]'),
   Segment(role='user', text='What is 1 + 2?'),
   Segment(role='action', text='add(1, 2)'),
   Segment(role='observation', text='3'),
   Segment(role='answer', text='It is 3.'))

  Raises:
    entry.MalformedError: 'no_text', or a reason of `messages.column`.
  """
  turns = messages.column(record)
  return messages.told(prologue(record) + conversation(turns))


def t_eval(record: Any) -> messages.Segments:
  """T-Eval: a prompt, and the part of the next step that it asks for.

  `template` and `meta_data` tell the scorer how to read a reply.

  >>> t_eval({'origin_prompt': [{'role': 'user', 'content': 'Flats in Rome?'}],
  ...         'ground_truth': {'thought': 'I search.', 'name': 'Flats.search'}})
  (Segment(role='user', text='Flats in Rome?'),
   Segment(role='thought', text='I search.'),
   Segment(role='action', text='Flats.search'))
  """
  found = list(
    conversation(messages.turns(fields.items(record, 'origin_prompt')))
  )
  truth = record.get('ground_truth')
  parts = truth.items() if isinstance(truth, dict) else [('', truth)]
  for name, part in parts:
    role = name if name in ('thought', 'answer') else 'action'
    found += messages.segments(
      role, '' if part is None else fields.as_text(part)
    )
  return messages.told(tuple(found))
