import gzip
import json

from hephaestus_jax import chat
from hephaestus_jax.corpus import document

FOLDER = 'botocore/data/kettle/2020-01-01/'
MODEL = {
  'operations': {
    'BoilWater': {
      'input': {'shape': 'BoilRequest'},
      'output': {'shape': 'BoilResult'},
      'errors': [{'shape': 'TooDry'}],
      'documentation': '<p>Boils <code>water</code>.</p><p>It is loud.</p>',
    },
    'StopKettle': {'documentation': '<p>Stops.</p>'},
  },
  'shapes': {
    'BoilRequest': {
      'type': 'structure',
      'required': ['Litres'],
      'members': {
        'Litres': {'shape': 'Count', 'documentation': '<p>How much.</p>'},
        'Steps': {'shape': 'Steps'},
      },
    },
    'BoilResult': {
      'type': 'structure',
      'members': {'Id': {'shape': 'Name', 'documentation': 'Of the boil.'}},
    },
    'Count': {'type': 'integer'},
    'Name': {'type': 'string'},
    'Mode': {'type': 'string', 'enum': ['fast', 'slow']},
    'Steps': {'type': 'list', 'member': {'shape': 'Step'}},
    'Step': {'type': 'structure', 'members': {'Mode': {'shape': 'Mode'}}},
    'TooDry': {'type': 'structure', 'members': {}},
  },
}
EXAMPLES = {
  'examples': {
    'BoilWater': [
      {
        'input': {'Litres': 2, 'Steps': [{'Mode': 'slow'}]},
        'output': {'Id': 'b-1'},
        'description': 'The following example boils some water.',
      }
    ]
  }
}
MEMBERS = {
  FOLDER + 'service-2.json.gz': gzip.compress(json.dumps(MODEL).encode()),
  FOLDER + 'examples-1.json': json.dumps(EXAMPLES),
}

PAGE = """**API: kettle.BoilWater**

Boils `water`.
It is loud.

**Parameters**

- Litres (integer, required): How much.
- Steps (array of object, optional)
  - Mode (string): One of: fast, slow.

**Returns**

Raises TooDry.

- Id (string): Of the boil.

**Example**

```python
client = boto3.client('kettle')
client.boil_water(
  Litres=2,
  Steps=[{'Mode': 'slow'}],
)
```"""
BOIL = {
  'name': 'kettle.BoilWater',
  'description': 'Boils `water`.',
  'parameters': {
    'type': 'object',
    'properties': {
      'Litres': {'type': 'integer', 'description': 'How much.'},
      'Steps': {
        'type': 'array',
        'items': {
          'type': 'object',
          'properties': {'Mode': {'type': 'string', 'enum': ['fast', 'slow']}},
        },
      },
    },
    'required': ['Litres'],
  },
}
STOP = {
  'name': 'kettle.StopKettle',
  'description': 'Stops.',
  'parameters': {'type': 'object', 'properties': {}, 'required': []},
}
REQUEST = document.Segment(
  'user', 'Boil some water. Use litres "2", steps mode "slow".'
)
CALL = document.Segment(
  'action',
  '{"name": "kettle.BoilWater", '
  '"arguments": {"Litres": 2, "Steps": [{"Mode": "slow"}]}}',
)


def test_a_botocore_operation_becomes_a_page(read):
  found = read('botocore_docs', MEMBERS)
  assert found[0] == document.Document(
    id='botocore_docs/kettle/kettle.BoilWater',
    source='botocore_docs',
    kind='documentation',
    licence='Apache-2.0',
    url='https://docs.aws.amazon.com/boto3/latest/reference/services/'
    'kettle.html',
    segments=(document.Segment('documentation', PAGE),),
  )
  assert [d.id for d in found[1:]] == ['botocore_docs/kettle/kettle.StopKettle']


def test_only_the_newest_version_of_a_service_is_read(read):
  old = {'botocore/data/kettle/2001-01-01/service-2.json': 'not read'}
  assert len(read('botocore_docs', {**MEMBERS, **old})) == 2


def test_a_recorded_call_becomes_request_call_and_response(read):
  (found,) = read('botocore_sessions', MEMBERS)
  assert found.id == 'botocore_sessions/kettle/kettle.BoilWater/0'
  assert found.segments == (
    document.Segment('system', chat.system_prompt([BOIL])),
    REQUEST,
    CALL,
    document.Segment('observation', '{"Id": "b-1"}'),
  )


def test_an_instruction_offers_another_operation_too(read):
  (found,) = read('botocore_requests', MEMBERS)
  assert found.kind == 'instruction'
  assert found.segments == (
    document.Segment('system', chat.system_prompt([BOIL, STOP])),
    REQUEST,
    CALL,
  )


def test_what_botocore_has_wrong_is_counted_with_a_reason(read):
  model = json.loads(json.dumps(MODEL))
  model['operations']['BoilWater']['input']['shape'] = 'Nowhere'
  examples = {
    'examples': {
      'StopKettle': [{'input': {'Speed': 1}, 'title': 'To stop'}, {}]
    }
  }
  members = {
    FOLDER + 'service-2.json': json.dumps(model),
    FOLDER + 'examples-1.json': json.dumps(examples),
    'botocore/data/broken/2020-01-01/service-2.json': '{',
    'botocore/data/empty/2020-01-01/service-2.json': '{}',
  }
  found = read('botocore_docs', members)
  assert [d for d in found if isinstance(d, document.Drop)] == [
    document.Drop(
      'botocore_docs/botocore/botocore/data/broken/2020-01-01/service-2.json',
      'botocore_docs',
      'not_json',
    ),
    document.Drop(
      'botocore_docs/botocore/botocore/data/empty/2020-01-01/service-2.json',
      'botocore_docs',
      'no_service_model',
    ),
    document.Drop(
      'botocore_docs/kettle/kettle.BoilWater',
      'botocore_docs',
      'malformed_operation',
    ),
  ]
  assert [d.reason for d in read('botocore_requests', members)] == [
    'unknown_argument',
    'no_request',
  ]


def test_a_discovery_method_becomes_a_page(read):
  api = {
    'name': 'teapot',
    'documentationLink': 'https://tea.example',
    'resources': {
      'pots': {
        'resources': {
          'cups': {
            'methods': {
              'fill': {
                'id': 'teapot.pots.cups.fill',
                'description': 'Fills a cup.',
                'parameters': {
                  'cup': {
                    'type': 'string',
                    'required': True,
                    'description': 'Which.',
                  },
                  'old': {'type': 'string', 'deprecated': True},
                },
                'request': {'$ref': 'Tea'},
                'response': {'$ref': 'Tea'},
              }
            }
          }
        }
      }
    },
    'schemas': {
      'Tea': {
        'description': 'Some tea.',
        'properties': {
          'kind': {'type': 'string', 'enum': ['green', 'black']},
          'hot': {'type': 'boolean', 'readOnly': True},
        },
      }
    },
  }
  folder = 'googleapiclient/discovery_cache/documents/'
  members = {
    folder + 'teapot.v1.json': json.dumps(api),
    folder + 'teapot.v2alpha.json': 'not read',
    folder + 'broken.v1.json': '[]',
  }
  drop, found = read('google_docs', members)
  assert drop.reason == 'no_discovery_document'
  assert found == document.Document(
    id='google_docs/google-teapot/teapot.v1/teapot.pots.cups.fill',
    source='google_docs',
    kind='documentation',
    licence='Apache-2.0',
    url='https://tea.example',
    segments=(
      document.Segment(
        'documentation',
        '**API: teapot.pots.cups.fill**\n\nFills a cup.\n\n**Parameters**\n\n'
        '- cup (string, required): Which.\n'
        '- kind (string, optional): One of: green, black.\n\n'
        '**Returns**\n\nTea: Some tea.\n\n'
        '- kind (string): One of: green, black.\n- hot (boolean)',
      ),
    ),
  )
