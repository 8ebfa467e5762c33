"""JSON Schema, as OpenAPI and MCP write it -> a Tool's parameters.

Schemas point at each other (`$ref`), also in circles, and are put together from
parts (`allOf`, `oneOf`, `anyOf`). Each part is taken once and fields open to a
fixed depth, so a schema costs no more time than its own size.
"""

import itertools
import json
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

from hephaestus_jax.corpus.adapters import entry, markup, tool

FIELD_DEPTH = 1  # levels of fields below a parameter
MAX_HTML = 100_000  # characters of a description; longer ones are no prose
MAX_VALUES = 1_000_000  # in an example, a default or a choice
ARRAY_DEPTH = 3  # 'array of array of array of ...' ends here
# Formats that say no more than the type does.
_PLAIN_FORMATS = ('int32', 'int64', 'float', 'double', 'string', 'integer')
_LIMITS = (
  ('minimum', 'At least'),
  ('maximum', 'At most'),
  ('exclusiveMinimum', 'More than'),
  ('exclusiveMaximum', 'Less than'),
  ('minLength', 'Shortest length:'),
  ('maxLength', 'Longest length:'),
  ('minItems', 'Fewest items:'),
  ('maxItems', 'Most items:'),
  ('pattern', 'Pattern:'),
)


class Schemas:
  """The schemas of one file."""

  def __init__(self, root: Any) -> None:
    """Takes the whole file, which `$ref` starts from."""
    self._root = root
    # id -> (the schema, so that its id stays its own; its merged form)
    self._merged: dict[int, tuple[Any, dict[str, Any]]] = {}

  def resolve(self, node: Any) -> dict[str, Any]:
    """What a node stands for: `$ref` followed, words beside it kept.

    A reference to another file, to nothing or to itself says nothing: {}.

    >>> Schemas({'a': {'type': 'string'}}).resolve(
    ...   {'$ref': '#/a', 'description': 'Me.'})
    {'type': 'string', 'description': 'Me.'}
    """
    beside: dict[str, Any] = {}
    seen = set()
    while isinstance(node, dict) and isinstance(node.get('$ref'), str):
      reference = node['$ref']
      if reference in seen:
        return {}
      seen.add(reference)
      if len(node) > 1:
        beside = {**{k: v for k, v in node.items() if k != '$ref'}, **beside}
      node = self._at(reference)
    if not isinstance(node, dict):
      return beside
    return {**node, **beside} if beside else node

  def _at(self, reference: str) -> Any:
    """The value that a JSON pointer such as '#/definitions/Pet' leads to."""
    if not reference.startswith('#'):
      return None
    found = self._root
    for part in urllib.parse.unquote(reference[1:]).split('/')[1:]:
      key = part.replace('~1', '/').replace('~0', '~')
      if isinstance(found, dict):
        found = found.get(key)
      elif isinstance(found, list) and key.isdecimal() and len(key) < 9:
        found = found[int(key)] if int(key) < len(found) else None
      else:
        return None
    return found

  def merge(self, schema: Any) -> dict[str, Any]:
    """A schema and all that it is put together from, as one schema.

    Fields of `oneOf` and `anyOf` are all there and none is required; 'types'
    are the types that a value may have.

    >>> Schemas({}).merge({'allOf': [
    ...   {'properties': {'a': {}}, 'required': ['a']},
    ...   {'type': 'object', 'properties': {'b': {}}}]})
    {'properties': {'a': {}, 'b': {}}, 'required': {'a'}, 'type': 'object',
     'types': ['object']}
    """
    known = self._merged.get(id(schema))
    if known is None:
      known = schema, self._put_together(schema)
      self._merged[id(schema)] = known
    return known[1]

  def _put_together(self, schema: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {'properties': {}, 'required': set()}
    types: dict[str, None] = {}
    for part, certain in self._parts(schema):
      for key, value in part.items():
        whole.setdefault(key, value)
      types |= dict.fromkeys(_types(part))
      properties = part.get('properties')
      if isinstance(properties, dict):
        for name, found in properties.items():
          whole['properties'].setdefault(str(name), found)
      required = part.get('required')
      if certain and isinstance(required, list):
        whole['required'] |= {n for n in required if isinstance(n, str)}
    for key in ('allOf', 'oneOf', 'anyOf', '$ref'):
      whole.pop(key, None)
    whole['types'] = list(types)
    return whole

  def _parts(self, schema: Any) -> Iterator[tuple[dict[str, Any], bool]]:
    """The schema and its parts, each once; whether a value must fit it."""
    seen: set[Any] = set()
    waiting = [(schema, True)]
    for node, certain in waiting:  # which grows meanwhile
      reference = node.get('$ref') if isinstance(node, dict) else None
      key = reference if isinstance(reference, str) else id(node)
      if key in seen:
        continue
      seen.add(key)
      part = self.resolve(node)
      yield part, certain
      for word in ('allOf', 'oneOf', 'anyOf'):
        inner = part.get(word)
        if isinstance(inner, list):
          waiting += [(n, certain and word == 'allOf') for n in inner]

  def kind(self, schema: Any, depth: int = ARRAY_DEPTH) -> str:
    """A schema's type in words: 'array of string', 'integer or null'.

    A format is named where it tells more: 'string (date-time)'.
    """
    whole = self.merge(schema)
    names = []
    for name in whole['types']:
      if name == 'array' and depth:
        inner = self.kind(whole.get('items'), depth - 1)
        name = f'array of {inner}' if inner else 'array'
      elif (
        isinstance(form := whole.get('format'), str)
        and form not in _PLAIN_FORMATS
        and name == 'string'
      ):
        name = f'string ({form})'
      names.append(name)
    if whole.get('nullable') is True and 'null' not in names:
      names.append('null')
    return ' or '.join(names)

  def fields(
    self, schema: Any, *, depth: int = FIELD_DEPTH, hidden: str = ''
  ) -> tuple[tool.Parameter, ...]:
    """The properties of an object, or of an array's objects.

    Args:
      schema: the object's.
      depth: levels of fields within these that are opened.
      hidden: 'readOnly' leaves out what no caller may set, 'writeOnly' what no
        answer shows; '' leaves out nothing.

    Raises:
      entry.MalformedError: a description or default isn't what it should be.
    """
    whole = self.merge(schema)
    return tuple(self._fields(whole, depth=depth, hidden=hidden))

  def _fields(
    self, whole: Mapping[str, Any], *, depth: int, hidden: str
  ) -> Iterator[tool.Parameter]:
    for name, inner in whole['properties'].items():
      if hidden and self.merge(inner).get(hidden) is True:
        continue
      yield self.parameter(
        name,
        inner,
        required=name in whole['required'],
        depth=depth,
        hidden=hidden,
      )

  def parameter(
    self,
    name: str,
    schema: Any,
    *,
    required: bool = False,
    description: str = '',
    depth: int = FIELD_DEPTH,
    hidden: str = '',
  ) -> tool.Parameter:
    """A schema's Parameter; `description` goes before the schema's own words.

    >>> Schemas({}).parameter('n', {'type': 'integer', 'default': 3,
    ...   'maximum': 9, 'description': 'How many.'}, required=True)
    Parameter('n', 'integer', 'How many. At most 9.', True, '3')

    Raises:
      entry.MalformedError: as `fields`.
    """
    whole = self.merge(schema)
    item = self._item(whole)
    said = [description, words(whole, 'description') or words(whole, 'title')]
    if said[0] and said[1] in said[0]:
      said.pop()
    limits = [
      f'{phrase} {as_json(whole[key])}.'
      for key, phrase in _LIMITS
      if isinstance(whole.get(key), int | float | str)
      and not isinstance(whole[key], bool)
    ]
    if limits and said[-1] and said[-1][-1] not in '.!?:;)':
      said[-1] += '.'
    choices = whole.get('enum', item.get('enum'))
    if 'const' in whole:
      choices = [whole['const']]
    return tool.Parameter(
      name=name,
      type=self.kind(schema),
      description=' '.join(word for word in (*said, *limits) if word),
      required=required,
      default=as_json(whole['default']) if 'default' in whole else '',
      choices=tuple(as_json(c) for c in choices)
      if isinstance(choices, list)
      else (),
      # A page shows no more of them, and in a file whose wide objects nest each
      # other there would be very many.
      fields=tuple(
        itertools.islice(
          self._fields(item, depth=depth - 1, hidden=hidden),
          tool.MAX_FIELDS,
        )
      )
      if depth
      else (),
    )

  def _item(self, whole: Mapping[str, Any]) -> dict[str, Any]:
    """An object itself, or the element of an array (of arrays)."""
    for _ in range(ARRAY_DEPTH):
      if 'items' not in whole or whole['properties']:
        break
      whole = self.merge(whole['items'])
    return dict(whole)


def _types(part: Mapping[str, Any]) -> list[str]:
  """The JSON types that one schema names or shows."""
  named = part.get('type')
  if isinstance(named, str):
    return [named]
  if isinstance(named, list):
    return [name for name in named if isinstance(name, str)]
  if isinstance(part.get('properties'), dict):
    return ['object']
  if 'items' in part:
    return ['array']
  shown = part.get('enum') or ([part['const']] if 'const' in part else [])
  if isinstance(shown, list) and shown and isinstance(shown[0], str):
    return ['string']
  return []


_HTML = re.compile(r'</(?:p|a|b|i|li|ul|code|div|span|h\d)>|<br ?/?>|<p>')


def words(node: Mapping[str, Any], name: str) -> str:
  """A field that is prose, without HTML where it has any; '' if there is none.

  >>> words({'description': '<p>A &amp; B</p>'}, 'description')
  'A & B'

  Raises:
    entry.MalformedError: 'description_is_list' where it is a list or object.
  """
  found = node.get(name)
  if found is None:
    return ''
  if isinstance(found, str | int | float):  # YAML's 404 is a number
    text = as_json(found).strip()
    is_html = len(text) <= MAX_HTML and _HTML.search(text)
    return markup.html_text(text) if is_html else text
  raise entry.MalformedError(f'{name.lower()}_is_{type(found).__name__}')


def as_json(value: Any, indent: int | None = None) -> str:
  """A string as it is, any other value as JSON.

  >>> as_json('red'), as_json({'a': [1, None]})
  ('red', '{"a": [1, null]}')

  Raises:
    entry.MalformedError: YAML made of it what JSON doesn't know, or a value
      that holds itself, or one part so often that no file could.
  """
  if isinstance(value, str):
    return value
  _check_size(value)
  try:
    return json.dumps(value, ensure_ascii=False, indent=indent)
  except (TypeError, ValueError):
    raise entry.MalformedError('value_not_json') from None
  except RecursionError:
    raise entry.MalformedError('nested_too_deep') from None


def _check_size(value: Any) -> None:
  """Raises entry.MalformedError of a value of more than MAX_VALUES.

  A YAML file of a kilobyte can hold one part in two others, these in two more,
  and so on: written as JSON it would fill any disk.
  """
  count, waiting = 0, [value]
  while waiting:
    found = waiting.pop()
    count += 1
    if count > MAX_VALUES:
      raise entry.MalformedError('value_too_long')
    if isinstance(found, dict):
      waiting += found.values()
    elif isinstance(found, list):
      waiting += found
