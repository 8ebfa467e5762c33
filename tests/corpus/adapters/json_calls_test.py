"""Function calls and web actions in JSON, with our own words in them."""

import json

import pytest

from hephaestus_jax.corpus.adapters import entry, json_calls


def told(segments) -> list[tuple[str, str]]:
  return [(segment.role, segment.text) for segment in segments]


def reason(mapping, record) -> str:
  with pytest.raises(entry.MalformedError) as raised:
    mapping(record)
  return raised.value.reason


def test_half_a_nexus_record_has_its_reason():
  assert reason(json_calls.nexus, {'query': 'A'}) == 'no_reference'
  assert reason(json_calls.nexus, {'Output': 'a()'}) == 'no_context'
  assert reason(json_calls.nexus, {'query_dict': '[1]'}) == 'query_dict_is_list'
  assert reason(json_calls.nexus, ['a']) == 'record_is_list'


def test_nexus_keeps_the_calls_after_the_golden_one():
  turn = {
    'docstring': 'def find()',
    'instruction': 'Find and show.',
    'golden_answer': '["find()"]',
    'backup': '["Find and show.", [{"Action": "find"}, {"Action": "show"}]]',
  }
  assert told(json_calls.nexus({'turns_1': turn, 'turns_2': None}))[2:] == [
    ('action', turn['golden_answer']),
    ('action', turn['backup']),
  ]


def test_nexus_toolllm_has_stubs_to_choose_from():
  record = {
    'Input': 'My BMI?',
    'Output': 'bmi(weight= 70)',
    'Output_Original': ['bmi("weight" = 70)', 'bmi_v2'],
    'ToolName': 'bmi_v2',
    'context': ['def bmi(weight: int):\n    pass', 'def news():\n    pass'],
  }
  assert told(json_calls.nexus(record)) == [
    ('documentation', 'def bmi(weight: int):\n    pass'),
    ('documentation', 'def news():\n    pass'),
    ('user', 'My BMI?'),
    ('action', 'bmi(weight= 70)'),
  ]


def test_a_nexus_row_holds_a_query_of_any_layout():
  query = {'query': 'Is it up?', 'reference': 'ping()'}
  expected = [('user', 'Is it up?'), ('action', 'ping()')]
  for inner in (query, json.dumps(query)):
    row = {'dataset': 'cve_cpe', 'query_dict': inner}
    assert told(json_calls.nexus(row)) == expected
  standard = {
    'dataset': 'cve_cpe',
    'prompt': 'Is it up?',
    'python_function_name': 'ping',
    'python_args_dict': {'host': 'a'},
    'context_functions': ['ping', 'pong'],
  }
  assert told(json_calls.nexus(standard)) == [
    ('documentation', 'ping'),
    ('documentation', 'pong'),
    ('user', 'Is it up?'),
    ('action', 'ping'),
    ('action', '{"host": "a"}'),
  ]
  damaged = {'query_dict': '{"query": '}
  assert reason(json_calls.nexus, damaged) == 'query_dict_is_not_json'


def test_mind2web_keeps_actions_beyond_the_steps():
  record = {
    'confirmed_task': 'Book.',
    'actions': [{'raw_html': '<b>', 'operation': {'op': 'CLICK'}}],
    'action_reprs': ['[b] -> CLICK', '[c] -> TYPE: a'],
  }
  assert told(json_calls.mind2web(record)) == [
    ('user', 'Book.'),
    ('observation', '<b>'),
    ('action', '{"op": "CLICK"}'),
    ('action', '[b] -> CLICK'),
    ('action', '[c] -> TYPE: a'),
  ]


def test_mind2web_in_steps_is_read_by_its_columns():
  record = {
    'confirmed_task': 'Book.',
    'cleaned_html': '<b>Go</b>',
    'operation': '{"op": "CLICK"}',
  }
  assert told(json_calls.mind2web(record)) == [
    ('user', 'Book.'),
    ('observation', '<b>Go</b>'),
    ('action', '{"op": "CLICK"}'),
  ]


def test_tooleyes_has_requests_prompts_and_descriptions():
  record = {'query': 'Two numbers?', 'path': 'Random', 'scenario': 'TG'}
  assert told(json_calls.tooleyes(record)) == [('user', 'Two numbers?')]
  turns = [
    {'from': 'system', 'value': 'Use: [{"name": "dice"}]'},
    {'from': 'user', 'value': 'Two numbers?'},
  ]
  assert told(json_calls.tooleyes({'id': 'a', 'conversations': turns})) == [
    ('system', 'Use: [{"name": "dice"}]'),
    ('user', 'Two numbers?'),
  ]
  assert told(json_calls.tooleyes({'name': 'dice'})) == [
    ('documentation', '{"name": "dice"}')
  ]


def test_an_api_of_nexus_is_documentation():
  assert told(json_calls.nexus({'name': 'ping', 'args_dicts': []})) == [
    ('documentation', '{"name": "ping", "args_dicts": []}')
  ]
