"""GraphQL introspection results -> a page per query, mutation, subscription.

The file is the answer to the introspection query: `{"data": {"__schema": ...}}`
or its inner parts.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.adapters import entry, fields, json_schema, tool

ROOTS = {
  'queryType': 'query',
  'mutationType': 'mutation',
  'subscriptionType': 'subscription',
}
WRAPPERS = 8  # lists and non-nulls around a type; more is no schema's


def operations(path: str, content: bytes) -> Iterator[entry.Entry | entry.Flaw]:
  """The fields of the root types, in the file's order.

  Args:
    path: of the file, whose name is taken for the service's.
    content: JSON.

  Raises:
    entry.MalformedError: the file is no introspection result.
  """
  try:
    found = json.loads(content)
  except RecursionError:
    raise entry.MalformedError('nested_too_deep') from None
  except ValueError:
    raise entry.MalformedError('not_json') from None
  for key in ('data', '__schema'):
    if isinstance(found, dict) and key in found:
      found = found[key]
  schema = Schema(found)
  file = path.rsplit('.', 1)[0]
  group = file.rsplit('/', 1)[-1] or 'unnamed'
  for root, kind in ROOTS.items():
    for i, listed in enumerate(schema.roots(root)):
      name = f'{file}/{kind}/{i}'
      try:
        said = fields.text(listed, 'name')
        text = tool.markdown(schema.describe(kind, listed))
      except entry.MalformedError as error:
        yield entry.Flaw(group, name, error.reason)
        continue
      yield entry.Entry(
        group,
        f'{file}/{kind}/{said}',
        (document.Segment('documentation', text),),
      )


class Schema:
  """The types of a service by name."""

  def __init__(self, found: Any) -> None:
    """Raises entry.MalformedError where there is no list of types."""
    self._found = found
    self._types = {
      listed['name']: listed
      for listed in fields.items(found, 'types')
      if isinstance(listed, dict) and isinstance(listed.get('name'), str)
    }

  def roots(self, root: str) -> list[Any]:
    """The fields of 'queryType' and the like; [] where there is none.

    Raises:
      entry.MalformedError: the root type is not among the types.
    """
    named = self._found.get(root)
    if named is None:
      return []
    return fields.items(self._types.get(fields.text(named, 'name')), 'fields')

  def describe(self, kind: str, found: Mapping[str, Any]) -> tool.Tool:
    """A root field's Tool, with the shortest call that shows its answer.

    Raises:
      entry.MalformedError: a part isn't what the specification promises.
    """
    arguments = found.get('args')
    if not isinstance(arguments, list):
      raise entry.MalformedError('no_args')
    answer = written(found.get('type'))
    return tool.Tool(
      name=f'{kind}.{found["name"]}',
      description=_description(found),
      parameters=tuple(self._parameter(a, depth=2) for a in arguments),
      returns=answer,
      result=self._fields(found.get('type'), depth=0),
      example=self._call(kind, found, arguments),
      language='graphql',
    )

  def _parameter(self, found: Any, depth: int) -> tool.Parameter:
    """An argument, or a field of an input or answer."""
    name = fields.text(found, 'name')
    kind = written(found.get('type'))
    default = found.get('defaultValue')
    named = self._types.get(kind.strip('[]!'), {})
    choices = named.get('enumValues')
    return tool.Parameter(
      name=name,
      type=kind.removesuffix('!'),
      description=_description(found),
      required=kind.endswith('!') and default is None,
      default=default if isinstance(default, str) else '',
      choices=tuple(
        c['name']
        for c in choices
        if isinstance(c, dict) and isinstance(c.get('name'), str)
      )
      if isinstance(choices, list)
      else (),
      fields=self._fields(found.get('type'), depth - 1) if depth else (),
    )

  def _fields(self, kind: Any, depth: int) -> tuple[tool.Parameter, ...]:
    """The fields of an input object, object or interface; () of all else."""
    named = self._types.get(written(kind).strip('[]!'), {})
    listed = named.get('inputFields') or named.get('fields')
    if not isinstance(listed, list):
      return ()
    # A page shows no more of nested ones, and types refer to each other.
    return tuple(self._parameter(f, depth) for f in listed[: tool.MAX_FIELDS])

  def _call(
    self, kind: str, found: Mapping[str, Any], arguments: Sequence[Any]
  ) -> str:
    """The operation with what it requires, asking for the plain fields.

    query user($id: ID!) {
      user(id: $id) {
        id
        name
      }
    }
    """
    needed = [
      (a['name'], written(a.get('type')))
      for a in arguments
      if written(a.get('type')).endswith('!') and a.get('defaultValue') is None
    ]
    declared = ', '.join(f'${name}: {kind}' for name, kind in needed)
    passed = ', '.join(f'{name}: ${name}' for name, _ in needed)
    name = found['name']
    head = f'{kind} {name}({declared})' if needed else f'{kind} {name}'
    call = f'{name}({passed})' if needed else name
    plain = self._plain_fields(found.get('type'))
    if plain is None:
      return f'{head} {{\n  {call}\n}}'
    inner = ''.join(f'    {field}\n' for field in plain or ['__typename'])
    return f'{head} {{\n  {call} {{\n{inner}  }}\n}}'

  def _plain_fields(self, kind: Any) -> list[str] | None:
    """Names of the fields without arguments and fields; None of a scalar."""
    named = self._types.get(written(kind).strip('[]!'), {})
    if named.get('kind') in ('SCALAR', 'ENUM') or not named:
      return None
    listed = named.get('fields')
    found = []
    for field in listed if isinstance(listed, list) else ():
      if not isinstance(field, dict) or field.get('args'):
        continue
      inner = self._types.get(written(field.get('type')).strip('[]!'), {})
      if inner.get('kind') in ('SCALAR', 'ENUM'):
        found.append(fields.text(field, 'name'))
    return found[: tool.MAX_FIELDS]


def written(kind: Any) -> str:
  """A type as it is written in the language.

  >>> written({'kind': 'NON_NULL', 'ofType': {'kind': 'LIST', 'ofType':
  ...   {'kind': 'SCALAR', 'name': 'ID'}}})
  '[ID]!'

  Raises:
    entry.MalformedError: it is no type.
  """
  before, after = '', ''
  for _ in range(WRAPPERS):
    wrapper = fields.text(kind, 'kind')
    if wrapper == 'NON_NULL':
      after = '!' + after
    elif wrapper == 'LIST':
      before, after = before + '[', ']' + after
    else:
      return before + fields.text(kind, 'name') + after
    kind = kind.get('ofType')
  raise entry.MalformedError('nested_too_deep')


def _description(found: Mapping[str, Any]) -> str:
  said = json_schema.words(found, 'description')
  if found.get('isDeprecated') is True:
    reason = json_schema.words(found, 'deprecationReason')
    said = f'{said}\n\nDeprecated. {reason}'.strip()
  return said
