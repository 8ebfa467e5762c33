"""Captions of examples -> what a user would say.

Manuals describe an example ("The following command creates a role."); a user
asks ("Create a role."). What the caption leaves out of the arguments is said
explicitly, so that a request determines its call.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_CAPTION = re.compile(
  r'^(?:In )?(?:th(?:e|is)|these)\s+'
  r'(?:(?:following|first|second|next|example|sample|simple|`[^`]*`)\s+)*'
  r'(?:`[^`]*`\s+)?'
  r'(?:commands?|examples?|requests?|calls?|operations?|code|script|api)?'
  r'(?:\s+`[^`]*`)?(?:\s+(?:commands?|examples?|requests?|calls?))?'
  r'\s*,?\s*(?:shows you how to|shows how to|demonstrates how to|how to)?\s*'
  r'(?P<verb>[a-z]+)\b(?P<rest>.*)',
  re.IGNORECASE | re.DOTALL,
)
_STATED = re.compile(
  r'(?:Adds|Changes|Copies|Creates|Deletes|Describes|Displays|Enables|Gets|'
  r'Lists|Modifies|Removes|Retrieves|Returns|Sets|Shows|Starts|Stops|Updates)\b'
)
_IRREGULAR = {'is': '', 'are': '', 'was': '', 'does': '', 'uses': 'use'}


def imperative(caption: str) -> str:
  """A caption as a request; one that has no verb to turn stays as it is.

  >>> imperative('The following ``create-role`` command creates a role.')
  'Create a role.'
  >>> imperative('To list all tags')
  'List all tags.'
  """
  text = ' '.join(caption.replace('``', '`').split()).rstrip(':')
  if re.match(r'to [a-z]+\b', text, re.IGNORECASE):
    text = text[3:]
  elif match := _STATED.match(text):
    text = _bare(match[0].lower()) + text[match.end() :]
  elif match := _CAPTION.match(text):
    verb = _bare(match['verb'].lower())
    # 'how to create' leaves the bare verb; anything else was no third person.
    if verb:
      text = verb + match['rest']
  if not text:
    return ''
  text = text[0].upper() + text[1:]
  return text if text[-1] in '.!?' else text + '.'


def _bare(verb: str) -> str:
  """'creates' -> 'create', 'applies' -> 'apply'; '' where it is no verb."""
  if verb in _IRREGULAR:
    return _IRREGULAR[verb]
  if verb.endswith('ies'):
    return verb[:-3] + 'y'
  if re.search(r'(ss|sh|ch|x|zz)es$', verb):
    return verb[:-2]
  if verb.endswith('s') and not verb.endswith('ss'):
    return verb[:-1]
  return ''


def given(arguments: Mapping[str, Any], request: str) -> str:
  """A sentence with the values that the request doesn't mention.

  >>> given({'RoleName': 'Test', 'Path': '/a'}, 'Create the role Test.')
  'Use path "/a".'
  """
  said = [
    f'{words(name)} "{value}"' if value != '' else words(name)
    for name, value in _leaves(arguments)
    if value == '' or value not in request
  ]
  return f'Use {", ".join(said)}.' if said else ''


def _leaves(value: Any, name: str = '') -> Iterator[tuple[str, str]]:
  """(name, text) of each scalar; a flag that is only set has no text."""
  if isinstance(value, dict):
    for key, inner in value.items():
      yield from _leaves(inner, f'{name} {key}'.strip())
  elif isinstance(value, list):
    for inner in value:
      yield from _leaves(inner, name)
  elif value is True:
    yield name, ''
  else:
    text = 'null' if value is None else str(value)
    yield name, text.lower() if value is False else text


def words(name: str) -> str:
  """An identifier as words: 'DBInstanceArn' -> 'db instance arn'."""
  name = re.sub(r'(.)([A-Z][a-z]+)', r'\1 \2', name)
  name = re.sub(r'([a-z0-9])([A-Z])', r'\1 \2', name)
  return ' '.join(re.sub(r'[-_.]+', ' ', name).lower().split())
