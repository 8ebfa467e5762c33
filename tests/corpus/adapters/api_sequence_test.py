"""Calls in published layouts, with our own words in them.

The examples in the docstrings are golden Documents too; here is the rest.
"""

import pytest

from hephaestus_jax.corpus.adapters import api_sequence, entry


def told(segments) -> list[tuple[str, str]]:
  return [(segment.role, segment.text) for segment in segments]


def reason(mapping, record) -> str:
  with pytest.raises(entry.MalformedError) as raised:
    mapping(record)
  return raised.value.reason


def test_gorilla_reads_its_three_spellings():
  hub = {
    'code': "###Instruction: Find a bird.\n###Output: {'domain': 'Vision', "
    "'api_call': \"load('bird')\", 'explanation': 'It sees.', "
    "'code': 'import hub'}\n",
    'api_call': "load(model='bird')",
    'api_data': {},
  }
  assert told(api_sequence.gorilla(hub)) == [
    ('user', '###Instruction: Find a bird.'),
    ('thought', "###Output: {'domain': 'Vision'"),
    ('action', ", 'api_call': \"load('bird')\""),
    ('thought', ", 'explanation': 'It sees.'"),
    ('action', ", 'code': 'import hub'}"),
    ('action', "load(model='bird')"),
  ]
  literal = {
    'code': "{'Instruction': Find a bird., 'Output': {'domain': 'Vision', "
    "'api_call': 'load(1)'}}",
    'api_call': 'load(1)',
    'api_data': None,
  }
  assert told(api_sequence.gorilla(literal)) == [
    ('user', "{'Instruction': Find a bird.,"),
    ('thought', "'Output': {'domain': 'Vision'"),
    ('action', ", 'api_call': 'load(1)'}}"),
  ]
  chain = {
    'code': '###Instruction: Find it.\n###Output: <<<domain>>>: Vision, '
    '<<<api_call>>>: load(1), <<<code>>>: x = load(1)\n',
    'api_call': 'load(1)',
    'api_data': '',
  }
  assert told(api_sequence.gorilla(chain)) == [
    ('user', '###Instruction: Find it.'),
    ('thought', '###Output: <<<domain>>>: Vision,'),
    ('action', '<<<api_call>>>: load(1),'),
    ('action', '<<<code>>>: x = load(1)'),
  ]


def test_an_empty_code_field_of_api_pack_is_no_action():
  record = {'code': '###Instruction:Get.\n<<<lang>>>:go\n<<<code>>>:\n '}
  assert told(api_sequence.api_pack(record)) == [
    ('user', '###Instruction:Get.'),
    ('thought', '<<<lang>>>:go'),
    ('thought', '<<<code>>>:'),
  ]


def test_a_record_without_a_training_text_describes_an_api():
  described = {'api_name': 'bird', 'api_call': 'load(1)'}
  text = '{"api_name": "bird", "api_call": "load(1)"}'
  for mapping in (api_sequence.gorilla, api_sequence.api_pack):
    assert told(mapping(described)) == [('documentation', text)]
  half = described | {'api_data': {}, 'instruction': 'Find it.'}
  assert reason(api_sequence.gorilla, half) == 'no_code'
  assert reason(api_sequence.api_pack, half) == 'no_code'


def test_an_instruction_that_the_text_lacks_is_kept():
  record = {'code': '<<<lang>>>:go', 'instruction': {'candidate': 'Get.'}}
  expected = [('user', 'Get.'), ('thought', '<<<lang>>>:go')]
  assert told(api_sequence.api_pack(record)) == expected
  record['instruction'] = 'Get.'
  assert told(api_sequence.api_pack(record)) == expected


def test_restbench_has_a_part_per_call():
  record = {'query': 'Play it.', 'solution': ['GET /search', 'PUT /me/play']}
  assert told(api_sequence.restbench(record)) == [
    ('user', 'Play it.'),
    ('action', 'GET /search'),
    ('action', 'PUT /me/play'),
  ]
  assert reason(api_sequence.restbench, {'query': 'A'}) == 'no_solution'
  service = {'openapi': '3.0.3', 'paths': {}}
  assert told(api_sequence.restbench(service)) == [
    ('documentation', '{"openapi": "3.0.3", "paths": {}}')
  ]


def test_seal_tools_has_calls_before_the_request_in_its_old_layout():
  call = {'api': 'getTea', 'parameters': {'kind': 'green'}}
  expected = [
    ('user', 'Tea?'),
    ('action', '{"api": "getTea", "parameters": {"kind": "green"}}'),
  ]
  assert told(api_sequence.seal_tools([call, 'Tea?'])) == expected
  assert told(api_sequence.seal_tools([[call], 'Tea?'])) == expected
  assert reason(api_sequence.seal_tools, [call]) == 'not_a_pair'
  assert reason(api_sequence.seal_tools, [call, 3]) == 'not_a_pair'


def test_a_tool_of_seal_tools_is_documentation_and_half_a_call_is_malformed():
  assert told(api_sequence.seal_tools({'api_name': 'getTea'})) == [
    ('documentation', '{"api_name": "getTea"}')
  ]
  assert reason(api_sequence.seal_tools, {'query': 'Tea?'}) == 'no_calling'
  assert reason(api_sequence.seal_tools, 'Tea?') == 'not_a_pair'


def test_seal_tools_prompt_holds_rules_tools_and_request():
  prompt = (
    'Please choose.\nInput:\napi_list = [{"api_name": "getTea"}]\n'
    'task_instruction = "Tea?"\nOutput:\n'
  )
  record = {
    'id': 'dev-1',
    'conversations': [
      {'from': 'human', 'value': prompt},
      {'from': 'gpt', 'value': "[{'api': 'getTea'}]"},
    ],
  }
  assert told(api_sequence.seal_tools(record)) == [
    ('system', 'Please choose.'),
    ('documentation', 'Input:\napi_list = [{"api_name": "getTea"}]'),
    ('user', 'task_instruction = "Tea?"'),
    ('system', 'Output:'),
    ('action', "[{'api': 'getTea'}]"),
  ]


def test_openmath_drops_wrong_solutions_and_keeps_errors_and_answers():
  record = {
    'question': 'Half?',
    'is_correct': True,
    'expected_answer': '1/2',
    'error_message': 'timeout',
    'generated_solution': '<llm-code>\nrun()\n</llm-code>',
  }
  assert told(api_sequence.openmath(record)) == [
    ('user', 'Half?'),
    ('action', '<llm-code>\nrun()\n</llm-code>'),
    ('observation', 'timeout'),
    ('answer', '1/2'),
  ]
  wrong = record | {'is_correct': False}
  assert reason(api_sequence.openmath, wrong) == 'incorrect_solution'
  assert reason(api_sequence.openmath, {'question': 'A'}) == 'no_is_correct'


def test_egocot_is_read_in_both_spellings():
  record = {'caption': 'C cuts', 'planning': 'Cut. actions: 1. cut(bread)'}
  assert told(api_sequence.egocot(record)) == [
    ('user', 'C cuts'),
    ('thought', 'Cut.'),
    ('action', 'actions: 1. cut(bread)'),
  ]
  assert reason(api_sequence.egocot, {'caption': 'C cuts'}) == 'no_planing'


def test_mnms_plans_stay_python_literals():
  record = {
    'id': 5,
    'user_request': 'Caption it.',
    'plan_str': "[{'id': 0, 'name': 'image captioning', 'args': None}]",
    'code_str': 'def solve():\n  pass',
    'alt_plans_str': None,
  }
  assert told(api_sequence.mnms(record)) == [
    ('user', 'Caption it.'),
    ('action', "[{'id': 0, 'name': 'image captioning', 'args': None}]"),
    ('action', 'def solve():\n  pass'),
  ]


def test_a_robots_commands_are_text_or_json():
  record = {'instruction': None, 'input': 'up', 'response': {'actions': []}}
  assert told(api_sequence.llm_robot(record)) == [
    ('user', 'up'),
    ('action', '{"actions": []}'),
  ]
  assert reason(api_sequence.llm_robot, {'input': 'up'}) == 'no_output'


def test_a_device_trajectory_keeps_every_spelling_of_an_action():
  record = {
    'uid': 'a',
    'intent': 'Open mail.',
    'response': 'Done.',
    'steps': [
      {'img': '1.png', 'other': {'raw_action': 'tap 3', 'action': 'Tap Mail'}},
      {'img': '2.png', 'other': 'stop'},
    ],
  }
  assert told(api_sequence.agent_trajectory(record)) == [
    ('user', 'Open mail.'),
    ('action', 'tap 3'),
    ('action', 'Tap Mail'),
    ('action', 'stop'),
    ('answer', 'Done.'),
  ]


def test_a_toolbench_example_is_a_task_and_its_action():
  text = 'Task: Which cat?\n\nThe first.\nAction:\ncurl /cats/1\n'
  record = {'path': 'examples/0_0.txt', 'text': text}
  assert told(api_sequence.toolbench_example(record)) == [
    ('user', 'Task: Which cat?\n\nThe first.'),
    ('action', 'Action:\ncurl /cats/1'),
  ]


def test_an_example_without_an_action_is_code():
  record = {'path': 'examples/0_0.txt', 'text': '# the cup.\nput(cup)\n'}
  assert told(api_sequence.toolbench_example(record)) == [
    ('code', '# the cup.\nput(cup)')
  ]


def test_the_toolbench_readme_is_documentation_around_its_examples():
  text = (
    '<details>\n  - API docs\n  ```\n  # Vote\n  curl /votes\n  ```\n'
    '  - Examples\n  ```\n  Task: Vote.\n  Action:\n  curl /votes\n\n'
    '  Once more.\n  Actions:\n  vote()\n  ```\n</details>\n## End\n'
  )
  assert told(api_sequence.toolbench_readme({'text': text})) == [
    (
      'documentation',
      '<details>\n  - API docs\n  ```\n  # Vote\n  curl /votes\n  ```',
    ),
    ('documentation', '- Examples'),
    ('user', 'Task: Vote.'),
    ('action', 'Action:\n  curl /votes'),
    ('user', 'Once more.'),
    ('action', 'Actions:\n  vote()'),
    ('documentation', '```\n</details>\n## End'),
  ]


def test_documentation_is_an_object_or_a_list():
  assert told(api_sequence.documentation([{'name': 'é'}])) == [
    ('documentation', '[{"name": "é"}]')
  ]
  assert reason(api_sequence.documentation, 'name') == 'record_is_str'
  assert reason(api_sequence.documentation, {}) == 'empty_record'
