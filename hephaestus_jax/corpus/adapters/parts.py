"""Puts a record's texts together as segments, and cuts texts at their marks.

What every mapping of published records needs. No function here adds a
character: a segment's text is a string of the record, a stretch of one, or the
JSON of a value.
"""

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.adapters import entry, fields

Part = tuple[str, str]  # (role, text)
Segments = tuple[document.Segment, ...]

# A record with more is no conversation; its segments would fill the memory.
MAX_PARTS = 100_000


def segments(*parts: Part) -> Segments:
  """(role, text) pairs as segments; a text that says nothing vanishes.

  >>> segments(('user', 'Who?'), ('thought', ' '), ('answer', 'Me.'))
  (Segment(role='user', text='Who?'), Segment(role='answer', text='Me.'))

  Raises:
    entry.MalformedError: 'empty_record', 'too_many_parts'.
  """
  if len(parts) > MAX_PARTS:
    raise entry.MalformedError('too_many_parts')
  made = tuple(
    document.Segment(role, text) for role, text in parts if text.strip()
  )
  if not made:
    raise entry.MalformedError('empty_record')
  return made


def marked(text: str, marks: Mapping[str, str], before: str) -> list[Part]:
  """Cuts a text before each of its marks; white space at the seams goes.

  Args:
    text: what is cut.
    marks: expression of a mark, without groups -> role of what it opens. `^`
      fits the start of a line. Of two that fit, the first counts. A mark that
      is white space ends what was before, and opens nothing within its role.
    before: role of what stands before the first mark.

  >>> marked('Hi. Q: Who? A: Me.', {'Q:': 'user', 'A:': 'answer'}, 'text')
  [('text', 'Hi.'), ('user', 'Q: Who?'), ('answer', 'A: Me.')]

  Raises:
    entry.MalformedError: 'too_many_parts'.
  """
  expression = _expression(tuple(marks))
  roles = (before, *marks.values())
  cuts = [(0, before)]
  for match in expression.finditer(text):
    role = roles[match.lastindex or 0]
    if match[0].strip() or role != cuts[-1][1]:
      cuts.append((match.start(), role))
    if len(cuts) > MAX_PARTS:
      raise entry.MalformedError('too_many_parts')
  return cut(text, cuts)


def cut(text: str, cuts: Sequence[tuple[int, str]]) -> list[Part]:
  """The pieces of a text that begin at (start, role) pairs, the first at 0.

  >>> cut('Why? Do it.', [(0, 'thought'), (5, 'action')])
  [('thought', 'Why?'), ('action', 'Do it.')]
  """
  ends = [start for start, _ in cuts[1:]] + [len(text)]
  pieces = (
    (role, text[start:end].strip())
    for (start, role), end in zip(cuts, ends, strict=True)
  )
  return [(role, piece) for role, piece in pieces if piece]


@functools.cache
def _expression(marks: tuple[str, ...]) -> re.Pattern[str]:
  return re.compile('|'.join(f'({mark})' for mark in marks), re.MULTILINE)


def present(record: Any, *names: str) -> str:
  """Which of several names of one field the record uses; else the first.

  >>> present({'response': 'Yes.'}, 'output', 'response')
  'response'

  Raises:
    entry.MalformedError: 'record_is_list'.
  """
  fields.value({'record': record}, 'record', dict)
  for name in names:
    if record.get(name) not in (None, ''):
      return name
  return names[0]


def loose(record: Any, *names: str) -> str:
  """The first of these fields that holds something, as text or JSON; else ''.

  >>> loose({'doc': None, 'docs': {'a': 1}}, 'doc', 'docs')
  '{"a": 1}'

  Raises:
    entry.MalformedError: 'record_is_list', 'nested_too_deep'.
  """
  name = present(record, *names)
  return loosely(record.get(name))


def loosely(found: Any) -> str:
  """A value that may be of any kind as text; '' where it holds nothing."""
  return '' if found in (None, '', [], {}) else fields.as_text(found)


def each(role: str, values: Iterable[Any]) -> list[Part]:
  """A part per value: `each('action', ['GET /a', {'b': 1}])`."""
  return [(role, loosely(found)) for found in values]
