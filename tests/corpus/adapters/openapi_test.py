"""OpenAPI and Swagger descriptions, golden pages in both formats."""

import json
from typing import Any

import pytest
import yaml

from hephaestus_jax.corpus.adapters import entry, json_schema, openapi, tool

TEA = {
  'openapi': '3.0.3',
  'info': {'title': 'Tea', 'version': '1'},
  'servers': [
    {
      'url': 'https://{region}.tea.dev/v1/',
      'variables': {'region': {'default': 'eu'}},
    }
  ],
  'security': [{'key': []}, {'login': ['pots:write']}],
  'paths': {
    '/pots/{pot}': {
      'parameters': [{'$ref': '#/components/parameters/Pot'}],
      'put': {
        'operationId': 'fillPot',
        'summary': 'Fills a pot.',
        'description': '<p>Waits until the water <b>boils</b>.</p>',
        'parameters': [
          {
            'name': 'wait',
            'in': 'query',
            'schema': {'type': 'boolean', 'default': True},
          },
          {
            'name': 'X-Cook',
            'in': 'header',
            'description': 'Who does it.',
            'schema': {'type': 'string', 'maxLength': 40},
          },
        ],
        'requestBody': {
          'required': True,
          'content': {
            'application/json': {
              'schema': {'$ref': '#/components/schemas/Filling'},
              'example': {'tea': 'green', 'litres': 2},
            }
          },
        },
        'responses': {
          '200': {
            'description': 'The pot.',
            'content': {
              'application/json': {
                'schema': {'$ref': '#/components/schemas/Pot'},
                'example': {'id': 'p1'},
              }
            },
          },
          '404': {'description': 'No such pot.'},
        },
      },
    }
  },
  'components': {
    'parameters': {
      'Pot': {
        'name': 'pot',
        'in': 'path',
        'required': True,
        'example': 'p1',
        'schema': {'type': 'string'},
      }
    },
    'securitySchemes': {
      'key': {'type': 'apiKey', 'in': 'header', 'name': 'X-Key'},
      'login': {'type': 'oauth2'},
    },
    'schemas': {
      'Drink': {
        'type': 'object',
        'required': ['tea'],
        'properties': {
          'id': {'type': 'string', 'readOnly': True},
          'tea': {'type': 'string', 'enum': ['green', 'black']},
        },
      },
      'Filling': {
        'allOf': [
          {'$ref': '#/components/schemas/Drink'},
          {
            'properties': {
              'litres': {
                'type': 'number',
                'description': 'How much.',
                'minimum': 0.1,
              },
              'guests': {
                'type': 'array',
                'items': {'$ref': '#/components/schemas/Guest'},
              },
            }
          },
        ]
      },
      'Guest': {
        'type': 'object',
        'properties': {
          'name': {'type': 'string'},
          'friends': {
            'type': 'array',
            'items': {'$ref': '#/components/schemas/Guest'},
          },
        },
      },
      'Pot': {
        'type': 'object',
        'properties': {
          'id': {'type': 'string', 'format': 'uuid'},
          'secret': {'type': 'string', 'writeOnly': True},
        },
      },
    },
  },
}

PAGE = """\
**API: fillPot**

Fills a pot.

Waits until the water boils.

**Parameters**

- pot (string, required): In path.
- wait (boolean, optional): In query. Default: true.
- X-Cook (string, optional): In header. Who does it. Longest length: 40.
- tea (string, required): One of: green, black.
- litres (number, optional): How much. At least 0.1.
- guests (array of object, optional)
  - name (string)
  - friends (array of object)

**Returns**

The pot.

- id (string (uuid))

**Request**

```http
PUT https://eu.tea.dev/v1/pots/{pot}
Content-Type: application/json
```

**Authentication**

- key: API key in header X-Key
- login: OAuth 2 (scopes pots:write)

**Responses**

- 404: No such pot.

**Response example**

```json
{
  "id": "p1"
}
```

**Example**

```http
PUT https://eu.tea.dev/v1/pots/p1
Content-Type: application/json

{
  "tea": "green",
  "litres": 2
}
```"""

OLD_TEA = {
  'swagger': '2.0',
  'info': {'title': 'Tea'},
  'host': 'tea.dev',
  'basePath': '/v1',
  'consumes': ['application/json'],
  'paths': {
    '/pots': {
      'post': {
        'summary': 'Makes a pot',
        'parameters': [
          {
            'name': 'body',
            'in': 'body',
            'schema': {'$ref': '#/definitions/Pot'},
          },
          {
            'name': 'colours',
            'in': 'query',
            'type': 'array',
            'items': {'type': 'string', 'enum': ['red', 'blue']},
          },
        ],
        'responses': {
          '201': {'description': 'Made.', 'schema': {'type': 'string'}}
        },
        'security': [{'basic': []}],
      },
      'get': {
        'deprecated': True,
        'responses': {
          'default': {
            'description': 'All.',
            'schema': {
              'type': 'array',
              'items': {'$ref': '#/definitions/Pot'},
            },
          }
        },
      },
    }
  },
  'definitions': {
    'Pot': {
      'type': 'object',
      'required': ['size'],
      'properties': {'size': {'type': 'integer', 'format': 'int32'}},
    }
  },
  'securityDefinitions': {'basic': {'type': 'basic'}},
}
OLD_PAGE = """\
**API: POST /pots**

Makes a pot

**Parameters**

- colours (array of string, optional): In query. One of: red, blue.
- size (integer, required)

**Returns**

Made. (string)

**Request**

```http
POST https://tea.dev/v1/pots
Content-Type: application/json
```

**Authentication**

- basic: HTTP basic"""


def read(api: Any, path: str = 'tea.json') -> list[entry.Entry | entry.Flaw]:
  return list(openapi.operations(path, json.dumps(api).encode()))


def page(found: entry.Entry | entry.Flaw) -> str:
  assert isinstance(found, entry.Entry), found
  (segment,) = found.segments
  assert segment.role == 'documentation'
  return segment.text


def test_an_operation_becomes_a_page() -> None:
  (found,) = read(TEA)
  assert page(found) == PAGE
  assert (found.group, found.name) == ('eu.tea.dev', 'tea/PUT /pots/{pot}')


def test_a_swagger_operation_becomes_a_page() -> None:
  post, get = read(OLD_TEA)
  assert page(post) == OLD_PAGE
  assert '\n\nDeprecated.\n\n' in page(get)
  assert 'All. (array of object)\n\n- size (integer)' in page(get)


def test_yaml_says_the_same_as_json() -> None:
  content = yaml.safe_dump(TEA, sort_keys=False).encode()
  (found,) = openapi.operations('tea.yaml', content)
  assert page(found) == PAGE


def test_yaml_words_stay_words() -> None:
  content = b"""
openapi: 3.1.0
paths:
  /a:
    get:
      parameters:
      - {name: on, in: query, schema: {enum: [yes, no, 2020-01-01, true]}}
      responses: {200: {description: 404}}
"""
  (found,) = openapi.operations('a.yaml', content)
  assert (
    '- on (string, optional): In query. One of: yes, no, 2020-01-01, true.'
    in page(found)
  )
  assert '**Returns**\n\n404\n' in page(found)


@pytest.mark.parametrize(
  ('content', 'reason'),
  [
    (b'\xff', 'not_utf8'),
    (b'{', 'not_json'),
    (b'[]', 'no_openapi'),
    (b'{"openapi": "3.0.0"}', 'no_paths'),
    (b'{"swagger": "1.2", "paths": {}}', 'no_openapi'),
    (b'openapi: "3', 'not_yaml'),
    (b'openapi: !!bool maybe', 'not_yaml'),
    (b'? [a]\n: b', 'not_yaml'),
    (b'openapi: !!int 0xff', 'not_yaml'),
    (b'openapi: 1' + b'0' * 5_000, 'not_yaml'),
    (b'[' * 100_000, 'nested_too_deep'),
    (b'a: ' + b'[' * 100_000, 'nested_too_deep'),  # PyYAML would crash
  ],
)
def test_a_file_that_is_no_description_has_a_reason(
  content: bytes, reason: str
) -> None:
  with pytest.raises(entry.MalformedError) as raised:
    list(openapi.operations('a.json', content))
  assert raised.value.reason == reason


@pytest.mark.parametrize(
  ('operation', 'reason'),
  [
    (3, 'malformed_operation'),
    ({'parameters': {}}, 'parameters_not_a_list'),
    ({'parameters': [{'$ref': '#/nowhere'}]}, 'malformed_parameter'),
    ({'description': ['x']}, 'description_is_list'),
    ({'responses': []}, 'malformed_responses'),
    ({'security': {}}, 'malformed_security'),
  ],
)
def test_a_malformed_operation_leaves_the_others(
  operation: Any, reason: str
) -> None:
  api = {'openapi': '3.1.0', 'paths': {'/a': {'get': operation, 'put': {}}}}
  get, put = read(api)
  assert isinstance(put, entry.Entry)
  assert get == entry.Flaw('tea', 'tea/GET /a', reason)


def test_a_webhook_is_counted() -> None:
  api = {'openapi': '3.1.0', 'paths': {}, 'webhooks': {'newPot': {'post': {}}}}
  assert read(api) == [entry.Flaw('tea', 'tea/newPot', 'webhook')]


def test_services_keep_the_group_that_they_have_elsewhere() -> None:
  for provider, service, group in (
    ('amazonaws.com', 's3', 's3'),
    ('googleapis.com', 'drive', 'google-drive'),
    ('azure.com', 'storage-blob', 'azure-storage'),
    ('tea.dev', 'pots', 'tea.dev'),
  ):
    info = {'x-providerName': provider, 'x-serviceName': service}
    (found,) = read(
      {'openapi': '3.0.0', 'info': info, 'paths': {'/a': {'get': {}}}}
    )
    assert found.group == group


@pytest.mark.parametrize(
  'operation',
  [
    '{responses: {200: {example: *x59}}}',
    '{servers: [{url: "{a}", variables: {a: {default: *x59}}}]}',
    '{security: [{a: [*x59]}]}',
    '{parameters: [{name: a, in: query, schema: {default: *x59}}]}',
    '{parameters: [{name: a, in: query, schema: {enum: [*x59]}}]}',
  ],
)
def test_an_alias_bomb_is_one_flaw(operation: str) -> None:
  lines = ['openapi: "3"', 'x0: &x0 [string]']
  lines += [f'x{i}: &x{i} [*x{i - 1}, *x{i - 1}]' for i in range(1, 60)]
  lines.append(f'paths: {{/a: {{get: {operation}}}}}')
  (found,) = openapi.operations('a.yaml', '\n'.join(lines).encode())
  assert found == entry.Flaw('a', 'a/GET /a', 'value_too_long')


def test_schemas_in_circles_end() -> None:
  schemas = json_schema.Schemas(
    {
      'a': {'$ref': '#/b'},
      'b': {'$ref': '#/a'},
      'c': {'allOf': [{'$ref': '#/d'}], 'properties': {'d': {'$ref': '#/d'}}},
      'd': {'allOf': [{'$ref': '#/c'}], 'properties': {'c': {'$ref': '#/c'}}},
    }
  )
  assert schemas.resolve({'$ref': '#/a'}) == {}
  assert [field.name for field in schemas.fields({'$ref': '#/c'})] == ['d', 'c']


def test_the_examples_of_the_docstrings_hold() -> None:
  schemas = json_schema.Schemas({'a': {'type': 'string'}})
  assert schemas.resolve({'$ref': '#/a', 'description': 'Me.'}) == {
    'type': 'string',
    'description': 'Me.',
  }
  assert json_schema.Schemas({}).merge(
    {
      'allOf': [
        {'properties': {'a': {}}, 'required': ['a']},
        {'type': 'object', 'properties': {'b': {}}},
      ]
    }
  ) == {
    'properties': {'a': {}, 'b': {}},
    'required': {'a'},
    'type': 'object',
    'types': ['object'],
  }
  assert json_schema.Schemas({}).parameter(
    'n',
    {'type': 'integer', 'default': 3, 'maximum': 9, 'description': 'How many.'},
    required=True,
  ) == tool.Parameter('n', 'integer', 'How many. At most 9.', True, '3')
  assert json_schema.as_json({'a': [1, None]}) == '{"a": [1, null]}'
  assert (
    json_schema.words({'description': '<p>A &amp; B</p>'}, 'description')
    == 'A & B'
  )
