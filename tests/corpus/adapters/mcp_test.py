"""Answers to tools/list, golden pages."""

import json
from typing import Any

import pytest

from hephaestus_jax.corpus.adapters import entry, mcp, tool

POUR = {
  'name': 'pour',
  'title': 'Pour tea',
  'description': 'Pours tea into cups.',
  'inputSchema': {
    'type': 'object',
    'properties': {
      'cups': {
        'type': 'array',
        'description': 'Which cups',
        'items': {'$ref': '#/$defs/Cup'},
        'minItems': 1,
      },
      'strength': {
        'anyOf': [{'type': 'integer'}, {'type': 'null'}],
        'default': None,
      },
    },
    'required': ['cups'],
    '$defs': {
      'Cup': {'type': 'object', 'properties': {'id': {'type': 'string'}}}
    },
  },
  'outputSchema': {
    'type': 'object',
    'properties': {'left': {'type': 'number', 'description': 'Litres.'}},
  },
  'annotations': {'readOnlyHint': False, 'destructiveHint': True},
}
PAGE = """\
**API: pour**

Pour tea

Pours tea into cups.

**Parameters**

- cups (array of object, required): Which cups. Fewest items: 1.
  - id (string)
- strength (integer or null, optional): Default: null.

**Returns**

- left (number): Litres.

**Behaviour**

It may destroy."""


def read(content: Any) -> list[entry.Entry | entry.Flaw]:
  return list(mcp.tools('servers/tea.json', json.dumps(content).encode()))


@pytest.mark.parametrize(
  'answer',
  [
    {'jsonrpc': '2.0', 'id': 2, 'result': {'tools': [POUR]}},
    {'tools': [POUR], 'nextCursor': 'x'},
    [POUR],
  ],
)
def test_a_tool_becomes_a_page(answer: Any) -> None:
  (found,) = read(answer)
  assert isinstance(found, entry.Entry)
  assert found.segments[0].text == PAGE
  assert (found.group, found.name) == ('tea', 'servers/tea/0/pour')


def test_pages_of_answers_are_lines() -> None:
  line = json.dumps({'result': {'tools': [POUR]}})
  found = list(mcp.tools('tea.jsonl', f'{line}\n\n{line}\n'.encode()))
  assert [one.name for one in found] == ['tea/0/pour', 'tea/1/pour']


@pytest.mark.parametrize(
  ('broken', 'reason'),
  [
    (3, 'record_is_int'),
    ({}, 'no_name'),
    ({'name': ' '}, 'empty_name'),
    ({'name': 'a'}, 'no_inputschema'),
    ({'name': 'a', 'inputSchema': []}, 'inputschema_is_list'),
    (
      {'name': 'a', 'inputSchema': {}, 'description': {}},
      'description_is_dict',
    ),
  ],
)
def test_a_malformed_tool_leaves_the_others(broken: Any, reason: str) -> None:
  flaw, found = read({'tools': [broken, POUR]})
  assert flaw == entry.Flaw('tea', 'servers/tea/0', reason)
  assert isinstance(found, entry.Entry)


@pytest.mark.parametrize(
  ('content', 'reason'),
  [
    (b'\xff', 'not_utf8'),
    (b'{', 'not_json'),
    (b'{"tools": {}}', 'no_tools'),
    (b'3', 'no_tools'),
    (b'{"tools": []}\n{"tools"', 'not_json'),
    (b'[' * 100_000, 'nested_too_deep'),
  ],
)
def test_a_file_that_is_no_list_has_a_reason(
  content: bytes, reason: str
) -> None:
  with pytest.raises(entry.MalformedError) as raised:
    list(mcp.tools('a.json', content))
  assert raised.value.reason == reason


def test_the_example_of_the_docstring_holds() -> None:
  assert mcp.describe(
    {
      'name': 'add',
      'description': 'Adds.',
      'inputSchema': {
        'type': 'object',
        'properties': {'a': {'type': 'number'}},
        'required': ['a'],
      },
      'annotations': {'readOnlyHint': True},
    }
  ) == tool.Tool(
    'add',
    'Adds.',
    (tool.Parameter('a', 'number', required=True),),
    sections=(('Behaviour', 'It changes nothing.'),),
  )
