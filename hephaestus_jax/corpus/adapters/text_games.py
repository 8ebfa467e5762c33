"""Text games: commands and what the world says to them.

ALFWorld and ScienceWorld episodes, as ReAct, Reflexion and SwiftSage publish
them, and AdaPlanner's plans, which are programs that play the same games.
"""

import re
from typing import Any

from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.adapters import entry, fields, messages

# The lines that aren't the world's: the player's, and the log's own.
_LINE = re.compile(
  r'^(?:(?P<thought>>[ ]?think:.*)|(?P<action>>.*)'
  r'|(?P<log>#{3,}[ ]*|Environment #\d{1,9}:[ ]*|STATUS:.*))$',
  re.MULTILINE | re.IGNORECASE,
)
_TASK = re.compile(r'^Your task is', re.MULTILINE)


def played(text: str) -> messages.Segments:
  r"""An episode as text: '> ' opens what the player thinks and does.

  >>> played('You are in a hall.\nYour task is to: leave.\n'
  ...        '> think: The door is open.\nOK.\n> go to door 1\nYou leave.')
  (Segment(role='observation', text='You are in a hall.'),
   Segment(role='user', text='Your task is to: leave.'),
   Segment(role='thought', text='> think: The door is open.'),
   Segment(role='observation', text='OK.'),
   Segment(role='action', text='> go to door 1'),
   Segment(role='observation', text='You leave.'))
  """
  found: list[document.Segment] = []
  done = 0
  for line in messages.bounded(_LINE.finditer(text)):
    found += _world(text[done : line.start()])
    role = {'log': 'text'}.get(line.lastgroup or '', line.lastgroup or '')
    found += messages.segments(role, line[0].strip())
    done = line.end()
  found += _world(text[done:])
  return tuple(found)


def _world(text: str) -> messages.Segments:
  """What the world says; from 'Your task is' on, what is asked for."""
  if not text.strip():
    return ()
  task = _TASK.search(text)
  start = task.start() if task else len(text)
  room = text[:start].strip()
  return (
    messages.segments('observation', room) if room else ()
  ) + messages.segments('user', text[start:].strip())


# --- Records


def episode(record: Any) -> messages.Segments:
  """An episode's text, or several by name (SwiftSage's prompts)."""
  texts = list(record.values()) if isinstance(record, dict) else [record]
  found: list[document.Segment] = []
  for text in texts:
    if not isinstance(text, str):
      raise fields.wrong_kind('episode', text)
    found += played(text)
  return messages.told(tuple(found))


def log_file(record: Any) -> messages.Segments:
  """A text file of episodes (Reflexion's trial logs)."""
  return episode(fields.text(record, 'text'))


def reflections(record: Any) -> messages.Segments:
  """Reflexion's memory of an environment: what it thought after each trial.

  Raises:
    entry.MalformedError: 'empty_memory' where it never had to think again.
  """
  memory = fields.items(record, 'memory')
  if not memory:
    raise entry.MalformedError('empty_memory')
  if not all(isinstance(text, str) for text in memory):
    raise entry.MalformedError('memory_is_no_text')
  return messages.told(messages.segments('thought', *memory))


def science_world(record: Any) -> messages.Segments:
  """An episode in steps: SwiftSage's oracle logs, ScienceWorld's gold paths.

  A step tells the room and the inventory each time; they are observations where
  they differ from the last ones. Scores and indices are left out.

  >>> science_world({'taskDescription': 'Find a cup.', 'path': [
  ...     {'action': 'look around', 'observation': 'A cup.', 'score': '0.0'}]})
  (Segment(role='user', text='Find a cup.'),
   Segment(role='action', text='look around'),
   Segment(role='observation', text='A cup.'))

  Raises:
    entry.MalformedError: 'no_taskdescription', 'no_path', 'no_observation'...
  """
  told = record
  if isinstance(record, dict) and isinstance(record.get('history'), dict):
    told = record['history']
  found = list(messages.segments('user', fields.text(told, 'taskDescription')))
  steps = 'history' if 'history' in told else 'path'
  last: dict[str, str] = {}
  for step in fields.items(told, steps):
    found += messages.segments('action', fields.optional_text(step, 'action'))
    found += messages.segments('observation', fields.text(step, 'observation'))
    for name in ('freelook', 'freeLook', 'look', 'inventory', 'inv'):
      text = fields.optional_text(step, name).strip()
      if text and text not in (last.get(name), found[-1].text.strip()):
        found += messages.segments('observation', text)
      last[name] = text
  return tuple(found)


def demonstrations(record: Any) -> messages.Segments:
  """SwiftSage's demos: a task, then '- (in kitchen) Action: X --> result'."""
  if not isinstance(record, list):
    raise fields.wrong_kind('record', record)
  found: list[document.Segment] = []
  for demonstration in record:
    # A file's value is a list of demonstrations, each a list of lines.
    lines = (
      demonstration if isinstance(demonstration, list) else [demonstration]
    )
    for line in lines:
      if not isinstance(line, str):
        raise fields.wrong_kind('line', line)
      done = line.find('-->')
      if done >= 0:
        found += messages.segments('action', line[:done].strip())
        found += messages.segments('observation', line[done:].strip())
      else:
        acts = line.startswith('- (') or 'Action:' in line
        found += messages.segments('action' if acts else 'user', line)
  return messages.told(tuple(found))


# --- Plans that are programs

# A function, to the next line that begins in the first column.
_CODE = re.compile(
  r'^(?:async )?def [^\n]*(?:\n(?![^ \t\n])[^\n]*)*', re.MULTILINE
)


def program(record: Any) -> messages.Segments:
  r"""AdaPlanner: functions are the agent's, what stands between the world's.

  >>> program({'path': 'a.txt', 'text': 'Put a cup away.\n'
  ...     'def solution(agent):\n  agent.goto("desk 1")\nNothing there.'})
  (Segment(role='user', text='Put a cup away.'),
   Segment(role='action', text='def solution(agent):\n  agent.goto("desk 1")'),
   Segment(role='observation', text='Nothing there.'))
  """
  text = fields.text(record, 'text')
  found: list[document.Segment] = []
  done = 0
  for code in messages.bounded(_CODE.finditer(text)):
    said = text[done : code.start()].strip()
    if said:
      found += messages.segments('observation' if found else 'user', said)
    found += messages.segments('action', code[0].strip())
    done = code.end()
  said = text[done:].strip()
  if said:
    found += messages.segments('observation' if found else 'user', said)
  return tuple(found)
