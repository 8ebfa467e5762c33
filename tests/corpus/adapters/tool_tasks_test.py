"""Golden tasks of ToolAlpaca and STE, with our own words."""

import pytest

from hephaestus_jax.corpus.adapters import entry, messages, tool_tasks


def pairs(found: messages.Segments) -> list[tuple[str, str]]:
  return [(segment.role, segment.text) for segment in found]


def reason(function, record) -> str:
  with pytest.raises(entry.MalformedError) as raised:
    function(record)
  return raised.value.reason


def tool(**more: object) -> dict[str, object]:
  return {
    'Name': 'Teas',
    'Description': 'About tea.',
    'Category': 'Food',
    'Documentation': '{"openapi": "3.0.0"}',
    'NLDocumentation': 'findTea: Finds tea.\nParameters: {}',
    'Function_Description': {
      'findTea': 'Finds tea.\nParameters: {}',
      'components': '',
    },
    'Function_Projection': {'findTea': ['/tea', 'get']},
    **more,
  }


DOCS = [
  ('documentation', 'Teas'),
  ('documentation', 'About tea.'),
  ('documentation', '{"openapi": "3.0.0"}'),
  ('documentation', 'findTea: Finds tea.\nParameters: {}'),
  ('documentation', '{"findTea": ["/tea", "get"]}'),
]


def test_toolalpaca_tests_have_golden_answers():
  call = {'Action': 'findTea', 'Action_Input': '{"kind": "green"}'}
  record = tool(
    Instructions=['Green tea?', 'Any?'],
    Golden_Answers=[[call, {'Action': 'stop', 'Action_Input': {'n': 1}}], []],
  )
  assert pairs(tool_tasks.tool_alpaca(record)) == [
    *DOCS,
    ('user', 'Green tea?'),
    ('action', 'findTea'),
    ('action', '{"kind": "green"}'),
    ('action', 'stop'),
    ('action', '{"n": 1}'),
    ('user', 'Any?'),
  ]


def test_toolalpaca_sessions_split_the_log_and_keep_errors():
  log = (
    'ASSISTANT Thought: I look.\nASSISTANT Action: findTea\n'
    'ASSISTANT Action Input: {"kind": "green"}'
  )
  sessions = [
    {
      'input': 'Green tea?',
      'intermediate_steps': [
        [['findTea', '{"kind": "green"}', log], 'Status Code: 404.'],
        [['findTea', {'kind': 'any'}, 'I try any.'], {'teas': 2}],
      ],
      'Final Thought': 'Two.',
      'output': 'There are two.',
    },
    {'input': 'Red tea?', 'error': 'iteration limit', 'output': ''},
  ]
  record = tool(
    Instructions=['Green tea?', 'Red tea?', 'Blue?'], Instances=sessions
  )
  assert pairs(tool_tasks.tool_alpaca(record)) == [
    *DOCS,
    ('user', 'Green tea?'),
    ('thought', 'ASSISTANT Thought: I look.'),
    (
      'action',
      'ASSISTANT Action: findTea\nASSISTANT Action Input: {"kind": "green"}',
    ),
    ('observation', 'Status Code: 404.'),
    ('thought', 'I try any.'),
    ('action', 'findTea'),
    ('action', '{"kind": "any"}'),
    ('observation', '{"teas": 2}'),
    ('thought', 'Two.'),
    ('answer', 'There are two.'),
    ('user', 'Red tea?'),
    ('observation', 'iteration limit'),
    ('user', 'Blue?'),
  ]


def test_a_function_that_the_documentation_lacks_is_documented():
  record = tool(Instructions=['Tea?'])
  record['Function_Description'] = {'pour': 'Pours tea.'}
  assert pairs(tool_tasks.tool_alpaca(record))[4:6] == [
    ('documentation', 'pour'),
    ('documentation', 'Pours tea.'),
  ]


def test_flaws_of_toolalpaca_have_reasons():
  alpaca = tool_tasks.tool_alpaca
  assert reason(alpaca, []) == 'record_is_list'
  assert reason(alpaca, tool()) == 'no_tasks'
  assert reason(alpaca, tool(Instructions=[1])) == 'instructions_are_no_texts'
  step = {'input': 'a', 'intermediate_steps': ['b']}
  assert reason(alpaca, tool(Instances=[step])) == 'malformed_step'
  golden = tool(Instructions=['a'], Golden_Answers=['b'])
  assert reason(alpaca, golden) == 'golden_answer_is_str'
  golden = tool(Instructions=['a'], Golden_Answers=[[{'Action': 3}]])
  assert reason(alpaca, golden) == 'action_is_int'


def test_evaluations_are_what_the_judge_read_and_said():
  judged = {
    'id': 0,
    'input': [{'role': 'user', 'content': 'Is it right?'}],
    'output': 'Yes.',
    'process_correctness': 'Yes',
  }
  assert (
    pairs(tool_tasks.evaluations([judged, judged]))
    == [
      ('user', 'Is it right?'),
      ('answer', 'Yes.'),
    ]
    * 2
  )
  assert reason(tool_tasks.evaluations, {'num': 3}) == 'record_is_dict'


def test_the_directory_has_an_entry_per_api():
  record = {'API': 'Teas', 'Auth': '', 'HTTPS': True}
  assert pairs(tool_tasks.directory(record)) == [
    ('documentation', '{"API": "Teas", "Auth": "", "HTTPS": true}')
  ]
  assert reason(tool_tasks.directory, {'count': 1}) == 'no_api'


TASK = {
  'query': 'Tea?',
  'API_name_list': ['find'],
  'api_descriptions': 'API_name: find\nDescription: Finds.',
  'action': 'find',
  'action_input': '{}',
}


def test_ste_tests_document_a_tool_once():
  saved = TASK | {
    'model_output': 'Action:  <tool_find> \nAction Input: {"n": 1}',
    'err': 0,
  }
  assert pairs(tool_tasks.trials([TASK, saved])) == [
    ('documentation', 'API_name: find\nDescription: Finds.'),
    ('user', 'Tea?'),
    ('action', 'find'),
    ('action', '{}'),
    ('user', 'Tea?'),
    ('action', 'find'),
    ('action', '{}'),
    ('action', 'Action:  <tool_find> \nAction Input: {"n": 1}'),
  ]


def test_ste_trains_on_tasks_with_observations_alone_or_in_batches():
  task = {
    'query': 'Tea?',
    'action': 'find',
    'action_input': {'n': 1},
    'observation': '',
    'final_ans': 'No tea.',
  }
  golden = [
    ('user', 'Tea?'),
    ('action', 'find'),
    ('action', '{"n": 1}'),
    ('observation', ''),
    ('answer', 'No tea.'),
  ]
  assert pairs(tool_tasks.trials(task)) == golden
  assert pairs(tool_tasks.trials({'batch_1': [task], 'batch_2': [task]})) == (
    golden * 2
  )
  assert reason(tool_tasks.trials, {'secret': 'a'}) == 'no_query'
  assert reason(tool_tasks.trials, []) == 'no_tasks'
  assert reason(tool_tasks.trials, [TASK | {'action': None}]) == (
    'action_is_null'
  )


def test_ste_replies_are_calls_or_answers():
  record = {'dialog_history': [{'role': 'user', 'content': 'Tea?'}]}
  record['response'] = 'Action: <tool_find>\nAction Input: {}'
  assert pairs(tool_tasks.response(record)) == [
    ('user', 'Tea?'),
    ('action', 'Action: <tool_find>\nAction Input: {}'),
  ]
  record['response'] = 'لا شاي'
  assert pairs(tool_tasks.response(record))[1:] == [('answer', 'لا شاي')]


def test_ste_descriptions_are_names_and_texts():
  record = {'tea%%find': '{"description": "Finds."}'}
  assert pairs(tool_tasks.descriptions(record)) == [
    ('documentation', 'tea%%find'),
    ('documentation', '{"description": "Finds."}'),
  ]
  assert reason(tool_tasks.descriptions, {}) == 'no_text'
