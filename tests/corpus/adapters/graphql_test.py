"""Introspection results, a golden page."""

import json
from typing import Any

import pytest

from hephaestus_jax.corpus.adapters import entry, graphql


def named(name: str, kind: str = 'SCALAR') -> dict[str, Any]:
  return {'kind': kind, 'name': name, 'ofType': None}


def wrapped(kind: str, inner: dict[str, Any]) -> dict[str, Any]:
  return {'kind': kind, 'name': None, 'ofType': inner}


def field(name: str, kind: dict[str, Any], **more: Any) -> dict[str, Any]:
  return {'name': name, 'description': None, 'args': [], 'type': kind, **more}


POT = {
  'name': 'pot',
  'description': 'A pot by its id.',
  'args': [
    {'name': 'id', 'type': wrapped('NON_NULL', named('ID'))},
    {
      'name': 'colour',
      'description': 'Of the lid.',
      'type': named('Colour', 'ENUM'),
      'defaultValue': 'RED',
    },
    {'name': 'where', 'type': named('Place', 'INPUT_OBJECT')},
  ],
  'type': named('Pot', 'OBJECT'),
  'isDeprecated': True,
  'deprecationReason': 'Use `pots`.',
}
SCHEMA = {
  'queryType': {'name': 'Query'},
  'mutationType': {'name': 'Mutation'},
  'subscriptionType': None,
  'types': [
    {'kind': 'OBJECT', 'name': 'Query', 'fields': [POT]},
    {
      'kind': 'OBJECT',
      'name': 'Mutation',
      'fields': [field('clean', named('Boolean'))],
    },
    {
      'kind': 'OBJECT',
      'name': 'Pot',
      'fields': [
        field('id', wrapped('NON_NULL', named('ID')), description='Its id.'),
        field('friends', wrapped('LIST', named('Pot', 'OBJECT'))),
      ],
    },
    {
      'kind': 'INPUT_OBJECT',
      'name': 'Place',
      'inputFields': [field('shelf', named('Int'))],
    },
    {
      'kind': 'ENUM',
      'name': 'Colour',
      'enumValues': [{'name': 'RED'}, {'name': 'BLUE'}],
    },
    *({'kind': 'SCALAR', 'name': name} for name in ('ID', 'Int', 'Boolean')),
  ],
}
PAGE = """\
**API: query.pot**

A pot by its id.

Deprecated. Use `pots`.

**Parameters**

- id (ID, required)
- colour (Colour, optional): Of the lid. One of: RED, BLUE. Default: RED.
- where (Place, optional)
  - shelf (Int)

**Returns**

Pot

- id (ID): Its id.
- friends ([Pot])

**Example**

```graphql
query pot($id: ID!) {
  pot(id: $id) {
    id
  }
}
```"""


def read(content: Any) -> list[entry.Entry | entry.Flaw]:
  return list(graphql.operations('tea.json', json.dumps(content).encode()))


@pytest.mark.parametrize(
  'answer', [{'data': {'__schema': SCHEMA}}, {'__schema': SCHEMA}, SCHEMA]
)
def test_a_query_becomes_a_page(answer: Any) -> None:
  pot, clean = read(answer)
  assert isinstance(pot, entry.Entry)
  assert pot.segments[0].text == PAGE
  assert (pot.group, pot.name) == ('tea', 'tea/query/pot')
  assert isinstance(clean, entry.Entry)
  assert 'mutation clean {\n  clean\n}' in clean.segments[0].text


@pytest.mark.parametrize(
  ('broken', 'reason'),
  [
    (3, 'record_is_int'),
    ({'name': 'a'}, 'no_args'),
    ({'name': 'a', 'args': []}, 'record_is_null'),
    ({'name': 'a', 'args': [], 'type': {'kind': 'LIST'}}, 'record_is_null'),
    ({'name': 'a', 'args': [{}], 'type': named('ID')}, 'no_name'),
  ],
)
def test_a_malformed_field_leaves_the_others(broken: Any, reason: str) -> None:
  query = {'kind': 'OBJECT', 'name': 'Query', 'fields': [broken, POT]}
  flaw, found = read(
    {**SCHEMA, 'types': [query, *SCHEMA['types'][1:]], 'mutationType': None}
  )
  assert flaw == entry.Flaw('tea', 'tea/query/0', reason)
  assert isinstance(found, entry.Entry)


@pytest.mark.parametrize(
  ('content', 'reason'),
  [
    (b'{', 'not_json'),
    (b'\xff', 'not_json'),
    (b'{}', 'no_types'),
    (b'[]', 'record_is_list'),
    (b'{"types": [], "queryType": {"name": "Q"}}', 'record_is_null'),
    (b'[' * 100_000, 'nested_too_deep'),
  ],
)
def test_a_file_that_is_no_schema_has_a_reason(
  content: bytes, reason: str
) -> None:
  with pytest.raises(entry.MalformedError) as raised:
    list(graphql.operations('a.json', content))
  assert raised.value.reason == reason


def test_types_are_written_as_in_the_language() -> None:
  inner = wrapped('LIST', wrapped('NON_NULL', named('ID')))
  assert graphql.written(wrapped('NON_NULL', inner)) == '[ID!]!'
