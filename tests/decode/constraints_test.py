import json
import pathlib
import sys

import jax
import jsonschema
import numpy as np
import pytest

from hephaestus_jax import chat, model, tokenizer
from hephaestus_jax.decode import engine

pytest.importorskip('llguidance')
from hephaestus_jax.decode import constraints  # noqa: E402

sys.path.append(str(pathlib.Path(__file__).parents[1]))
import tiny  # noqa: E402

SCHEMA = {
  'type': 'object',
  'properties': {
    'city': {'enum': ['Oslo', 'Rome']},
    'days': {'type': 'integer', 'minimum': 1, 'maximum': 9},
    'sunny': {'type': 'boolean'},
  },
  'required': ['city', 'days', 'sunny'],
  'additionalProperties': False,
}
TOOLS = [
  {'name': 'forecast', 'parameters': SCHEMA},
  {
    'name': 'now',
    'parameters': {
      'type': 'object',
      'properties': {},
      'additionalProperties': False,
    },
  },
]
TAGGED = constraints.Written(
  opening='<tool_call>\n', closing='\n</tool_call>', between='\n'
)
LISTED = constraints.Written(
  before='[TOOL_CALLS] [', between=', ', after=']', arguments='given'
)
CONFIG = tiny.network(32_768)


@pytest.fixture(scope='module')
def vocabularies(tmp_path_factory):
  """Mistral's, and one of ours, in which call tags are single tokens."""
  path = tmp_path_factory.mktemp('vocabulary') / 'own.model'
  lines = [f'{{"name": "f{i}", "days": {i}, "x": true}}' for i in range(300)]
  tokenizer.train(lines, path, 310)
  return {
    'mistral': tokenizer.load('mistral-common:v3'),
    'own': tokenizer.load(str(path)),
  }


@pytest.fixture(scope='module')
def params():
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda shape: rng.normal(0, 0.6, shape.shape).astype(np.float32),
    model.abstract(CONFIG),
  )


def said(vocabulary, params, constraint, seed):
  """What a network that knows nothing says under a constraint."""
  running = engine.Engine(
    CONFIG, params, slots=1, max_length=256, vocabulary=vocabulary
  )
  updates = []
  request = engine.Request(
    (1,),
    250,
    temperature=1.0,
    seed=seed,
    stop_ids=(vocabulary.eos_id,),
    constraint=constraint,
  )
  running.submit(request, updates.append)
  while running.step():
    pass
  return ''.join(update.text for update in updates), updates[-1].finish


@pytest.mark.parametrize('name', ['mistral', 'own'])
def test_a_random_network_says_what_the_schema_describes(
  name, vocabularies, params
):
  vocabulary = vocabularies[name]
  grammars = constraints.Grammars(vocabulary, [vocabulary.eos_id])
  for seed in range(3):
    text, finish = said(vocabulary, params, grammars.json(SCHEMA), seed)
    assert finish == 'stop'
    jsonschema.validate(json.loads(text), SCHEMA)


@pytest.mark.parametrize('name', ['mistral', 'own'])
def test_a_random_network_calls_the_tools_that_are_offered(
  name, vocabularies, params
):
  vocabulary = vocabularies[name]
  grammars = constraints.Grammars(vocabulary, [vocabulary.eos_id])
  names = set()
  for seed in range(4):
    constraint = grammars.calls(TOOLS, TAGGED, several=False)
    text, finish = said(vocabulary, params, constraint, seed)
    assert finish == 'stop'
    parsed = chat.parse(text)
    assert not parsed.malformed
    (call,) = parsed.calls
    names.add(call['name'])
    schema = {tool['name']: tool['parameters'] for tool in TOOLS}
    jsonschema.validate(call['arguments'], schema[call['name']])
  assert names <= {'forecast', 'now'}


def accepts(vocabulary, matcher, text):
  """Whether a text may be said, and may end there, however it is tokenised."""
  ids = vocabulary.encode_markers(text)
  taken = matcher._matcher.try_consume_tokens(ids)
  return taken == len(ids) and matcher._matcher.is_accepting()


CALL = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'


@pytest.mark.parametrize('name', ['mistral', 'own'])
@pytest.mark.parametrize(
  ('text', 'fits'),
  [
    (CALL, True),
    (f'{CALL}\n{CALL}', True),
    (CALL.replace('now', 'then'), False),
    (CALL.replace('{}', '{"city": "Oslo"}').replace('now', 'forecast'), False),
    ('It is sunny.', False),
    (CALL[:-1], False),
  ],
)
def test_calls_are_those_of_the_format(name, text, fits, vocabularies):
  vocabulary = vocabularies[name]
  grammars = constraints.Grammars(vocabulary, [vocabulary.eos_id])
  matcher = grammars.calls(TOOLS, TAGGED, several=True)
  assert accepts(vocabulary, matcher, text) == fits


@pytest.mark.parametrize(
  ('schema', 'reason'),
  [
    ({'type': 'colour'}, 'colour'),
    ({'type': 'object', 'uniqueItems': True, 'not': {}}, 'not'),
    ({'enum': ['x' * 300_000]}, 'characters'),
  ],
)
def test_what_cannot_be_kept_is_refused_with_its_reason(
  schema, reason, vocabularies
):
  grammars = constraints.Grammars(vocabularies['mistral'], [2])
  with pytest.raises(constraints.UnfitError, match=reason):
    grammars.json(schema)


def test_no_tool_is_no_grammar(vocabularies):
  grammars = constraints.Grammars(vocabularies['mistral'], [2])
  with pytest.raises(constraints.UnfitError, match='no tool'):
    grammars.calls([], TAGGED, several=True)


@pytest.mark.parametrize(
  ('text', 'several', 'fits'),
  [
    ('[TOOL_CALLS] [NOW]', False, True),
    (f'[TOOL_CALLS] [{", ".join(["NOW"] * 2)}]', True, True),
    (f'[TOOL_CALLS] [{", ".join(["NOW"] * 2)}]', False, False),
    ('[TOOL_CALLS] []', True, False),
  ],
)
def test_calls_may_be_a_list_after_a_control_token(
  text, several, fits, vocabularies
):
  grammars = constraints.Grammars(vocabularies['mistral'], [2])
  matcher = grammars.calls(TOOLS, LISTED, several=several)
  text = text.replace('NOW', '{"name": "now", "given": {}}')
  assert accepts(vocabularies['mistral'], matcher, text) == fits
