"""What a conversion invented, and what it lost: found without the mapping."""

import html
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from hephaestus_jax.corpus import document

# A message is an object that says who speaks and what.
SPEAKERS = ('role', 'from')
SPOKEN = ('content', 'value', 'text')
# Fields that hold a message, whoever speaks.
MESSAGES = frozenset(
  (
    *('action', 'action_input', 'answer', 'final_answer', 'input'),
    *('instruction', 'observation', 'output', 'plan', 'prompt', 'query'),
    *('question', 'reference', 'response', 'solution', 'thought'),
    *('user_request', 'utterance'),
  )
)


def leaves(value: Any, path: str = '') -> Iterator[tuple[str, str]]:
  """(path, string) of all strings, those within JSON strings too.

  Paths have no numbers: {'a': ['x', {'b': 'y'}]} gives ('a[]', 'x') and
  ('a[].b', 'y').
  """
  stack = [(value, path)]
  while stack:
    found, here = stack.pop()
    if isinstance(found, dict):
      stack += [
        (child, f'{here}.{name}'.lstrip('.')) for name, child in found.items()
      ]
    elif isinstance(found, list):
      stack += [(child, f'{here}[]') for child in found]
    elif isinstance(found, str):
      yield here, found
      inner = decoded(found)
      if inner is not None:
        stack.append((inner, here))


def decoded(text: str) -> dict[str, Any] | list[Any] | None:
  """The object or list that a string holds as JSON."""
  if text.lstrip()[:1] not in ('{', '['):
    return None
  try:
    found = json.loads(text, strict=False)
  except (ValueError, RecursionError):
    return None
  return found if isinstance(found, (dict, list)) else None


def parts(value: Any) -> Iterator[str]:
  """Every text that a segment may be a part of: leaves, keys, JSON."""
  stack = [value]
  while stack:
    found = stack.pop()
    if isinstance(found, str):
      yield found
      inner = decoded(found)
      if inner is not None:
        stack.append(inner)
      continue
    yield json.dumps(found, ensure_ascii=False)
    if isinstance(found, dict):
      yield from found
      stack += found.values()
    elif isinstance(found, list):
      stack += found


def invented(
  record: Any, segments: Sequence[document.Segment]
) -> list[document.Segment]:
  """Segments whose text doesn't stand in the record.

  In pages the words of a segment stand in order, with markup between them.
  """
  known = '\0'.join(squeezed(part) for part in parts(record))
  found = [s for s in segments if squeezed(s.text) not in known]
  if found and isinstance(record, dict) and is_markup(record.get('text')):
    page = html.unescape(re.sub(r'<[^>]*>', '', record['text']))
    found = [s for s in found if not stands_in_order(s.text, page)]
  return found


def is_markup(text: Any) -> bool:
  """Whether a text is HTML or XML."""
  return isinstance(text, str) and bool(re.search(r'</[a-zA-Z]\w*>', text))


def stands_in_order(text: str, page: str) -> bool:
  """Whether a page has all characters of a text, in order, but white space."""
  place = 0
  for word in re.findall(r'\w+|[^\w\s]', text):
    place = page.find(word, place)
    if place < 0:
      return False
    place += len(word)
  return True


def lost(
  record: Any, segments: Sequence[document.Segment]
) -> list[tuple[str, str]]:
  """(path, text) of messages that stand in no segment, nor across several."""
  said = bare(''.join(segment.text for segment in segments))
  return [
    (path, text)
    for path, text in messages(record)
    if bare(text) not in said and not _taken_apart(text, said)
  ]


def left_out(record: Any, segments: Sequence[document.Segment]) -> list[str]:
  """Paths of the strings that stand in no segment, as they are or in JSON."""
  said = bare(''.join(segment.text for segment in segments))
  return [
    path
    for path, text in leaves(record)
    if bare(text) not in said
    and bare(json.dumps(text, ensure_ascii=False)[1:-1]) not in said
  ]


def _taken_apart(text: str, said: str) -> bool:
  """Whether a JSON message stands there value by value."""
  inner = decoded(text)
  return inner is not None and all(
    bare(leaf) in said for _, leaf in leaves(inner)
  )


def messages(record: Any) -> Iterator[tuple[str, str]]:
  """(path, text) of all that somebody says in a record."""
  stack = [(record, '')]
  while stack:
    found, here = stack.pop()
    if isinstance(found, list):
      stack += [(child, f'{here}[]') for child in found]
    if not isinstance(found, dict):
      continue
    speaks = any(isinstance(found.get(name), str) for name in SPEAKERS)
    for name, child in found.items():
      path = f'{here}.{name}'.lstrip('.')
      stack.append((child, path))
      said = name.lower() in MESSAGES or (speaks and name in SPOKEN)
      if said and isinstance(child, str) and child.strip():
        yield path, child


def squeezed(text: str) -> str:
  """With single spaces for all white space."""
  return ' '.join(text.split())


def bare(text: str) -> str:
  """Without white space."""
  return ''.join(text.split())
