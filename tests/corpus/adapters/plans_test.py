"""Goals and plans in published layouts, with our own words in them."""

import pytest

from hephaestus_jax.corpus.adapters import entry, plans


def told(segments) -> list[tuple[str, str]]:
  return [(segment.role, segment.text) for segment in segments]


def reason(mapping, record) -> str:
  with pytest.raises(entry.MalformedError) as raised:
    mapping(record)
  return raised.value.reason


def test_each_annotation_repeats_the_actions_and_none_is_lost():
  look = {'id': 0, 'type': 'Look', 'look': {'direction': 'Around'}}
  place = {'id': 1, 'type': 'Place', 'place': {'object': {'name': 'Desk'}}}
  record = {
    'human_annotations': [
      {'instructions': [{'instruction': 'look', 'actions': [0]}]}
    ],
    'synthetic_annotations': [
      {'instructions': [{'instruction': 'look around', 'actions': [0]}]}
    ],
    'actions': [look, place],
  }
  looked = [('action', 'Look'), ('action', '{"direction": "Around"}')]
  assert told(plans.alexa_arena(record)) == [
    ('user', 'look'),
    *looked,
    ('user', 'look around'),
    *looked,
    ('action', 'Place'),
    ('action', 'Desk'),
  ]


def test_an_instruction_without_its_action_is_malformed():
  for index in (1, -1, True, '0'):
    record = {
      'human_annotations': [
        {'instructions': [{'instruction': 'look', 'actions': [index]}]}
      ],
      'actions': [{'id': 0, 'type': 'Look'}],
    }
    assert reason(plans.alexa_arena, record) == 'no_such_action'


def test_actions_that_repeat_without_end_are_refused():
  many = [{'instruction': 'go', 'actions': [0] * 1_000}] * 200
  record = {
    'human_annotations': [{'instructions': many}],
    'actions': [{'type': 'Look'}],
  }
  assert reason(plans.alexa_arena, record) == 'too_many_parts'


def test_a_mission_shows_its_goal_once():
  same = {'task_description': 'Heat it.', 'goal_text': 'Heat it.'}
  assert told(plans.alexa_mission(same)) == [
    (
      'observation',
      '{"task_description": "Heat it.", "goal_text": "Heat it."}',
    ),
    ('user', 'Heat it.'),
  ]
  other = {'task_description': 'A mug is cold.', 'goal_text': 'Heat it.'}
  assert told(plans.alexa_mission(other))[1:] == [
    ('user', 'A mug is cold.'),
    ('user', 'Heat it.'),
  ]


def test_taskbench_is_read_in_columns_of_either_release_and_before_them():
  expected = [
    ('documentation', '[{"task": "call"}]'),
    ('user', 'Call Jo.'),
    ('thought', '["Step 1: Call Jo"]'),
    ('action', '[{"task": "call"}]'),
  ]
  hub = {
    'id': '1',
    'type': 'single',
    'sampled_nodes': '[{"task": "call"}]',
    'sampled_links': '[]',
    'instruction': 'Call Jo.',
    'tool_steps': '["Step 1: Call Jo"]',
    'tool_nodes': '[{"task": "call"}]',
    'tool_links': '[]',
  }
  assert told(plans.taskbench(hub)) == expected
  nested = {
    'sampled_nodes': [{'id': 'call'}],
    'result': {
      'user_request': 'Call Jo.',
      'task_steps': ['Step 1: Call Jo'],
      'task_nodes': [{'task': 'call'}],
      'task_links': [{'source': 'call', 'target': 'mail'}],
    },
  }
  assert told(plans.taskbench(nested)) == [
    ('documentation', '{"id": "call"}'),
    ('user', 'Call Jo.'),
    ('thought', 'Step 1: Call Jo'),
    ('action', '{"task": "call"}'),
    ('action', '{"source": "call", "target": "mail"}'),
  ]
  assert reason(plans.taskbench, {'id': '1'}) == 'no_user_request'


def test_an_oracle_plan_may_begin_with_a_description():
  text = '[Scene] 7\n[Goal] rest.\n[Description] sit down.\n[Step 1] sit.\n'
  assert told(plans.saycanpay({'path': 'train/1', 'text': text})) == [
    ('user', '[Scene] 7\n[Goal] rest.'),
    ('thought', '[Description] sit down.'),
    ('action', '[Step 1] sit.'),
  ]
  assert reason(plans.saycanpay, {'text': 'Read me.'}) == 'no_goal'


def test_planbench_asks_for_plans_verdicts_and_states():
  state = {
    'query': 'Stacked.\n[RESULTING STATE]\n',
    'ground_truth_plan': ['on_a_b', 'clear_a'],
  }
  assert told(plans.planbench(state)) == [
    ('user', 'Stacked.\n[RESULTING STATE]\n'),
    ('answer', 'on_a_b'),
    ('answer', 'clear_a'),
  ]
  verdict = {'query': '[PLAN]\n[VERIFICATION]', 'ground_truth_plan': 'Valid.'}
  assert told(plans.planbench(verdict))[1:] == [('answer', 'Valid.')]


def test_of_a_models_plans_the_right_ones_are_kept():
  tried = {'query': 'Stack.', 'ground_truth_plan': 'a'}
  tried |= {'llm_raw_response': 'b', 'llm_correct': False}
  assert told(plans.planbench(tried)) == [('user', 'Stack.'), ('action', 'a')]
  tried['llm_correct'] = True
  assert told(plans.planbench(tried))[2:] == [('action', 'b')]


def test_a_state_alone_ends_in_what_the_walkthrough_does():
  state = {
    'walkthrough_act': 'Open window',
    'walkthrough_diff': '((), ((2, 1),), ())',
    'obs': 'Behind House\nA window.\n',
    'loc_desc': 'Behind House\nA window.\n',
    'location': {'name': 'Behind House', 'num': 79},
    'surrounding_objs': {'The window is ajar.': ['window']},
    'state': 'saves/1.pkl',
    'score': 5,
  }
  assert told(plans.jericho(state)) == [
    ('observation', 'Behind House\nA window.\n'),
    ('observation', '{"The window is ajar.": ["window"]}'),
    ('action', 'Open window'),
  ]


def test_a_place_is_shown_where_the_last_words_do_not_show_it():
  state = {
    'obs': 'Taken.',
    'loc_desc': 'A dark room.',
    'location': {'name': 'Attic'},
  }
  assert told(plans.jericho(state)) == [
    ('observation', 'Taken.'),
    ('observation', 'A dark room.'),
    ('observation', 'Attic'),
  ]


def test_what_the_walkthrough_would_have_done_is_a_thought():
  record = {
    'state': {'obs': 'A window.', 'walkthrough_act': 'open window'},
    'action': 'north',
    'next_state': {'obs': 'A wood.', 'walkthrough_act': 'south'},
  }
  assert told(plans.jericho(record)) == [
    ('observation', 'A window.'),
    ('thought', 'open window'),
    ('action', 'north'),
    ('observation', 'A wood.'),
    ('thought', 'south'),
  ]


def test_ultratool_knows_that_a_step_has_no_tool_in_both_languages():
  record = {
    'question': '登录。',
    'plan': [
      {'step': '1. 登录', 'tool': 'null'},
      {'step': '1.1 获取信息', 'tool': '不需要工具'},
      {'step': '1.2 Check', 'tool': 'No tool required'},
      {'step': '1.3 Wait', 'tool': None},
      {'step': '1.4 Clean', 'tool': 'null_remover(a=1)'},
    ],
  }
  assert told(plans.ultratool(record)) == [
    ('user', '登录。'),
    ('thought', '1. 登录'),
    ('thought', '1.1 获取信息'),
    ('thought', '1.2 Check'),
    ('thought', '1.3 Wait'),
    ('thought', '1.4 Clean'),
    ('action', 'null_remover(a=1)'),
  ]


def test_ultratools_test_views_end_in_their_reference():
  planning = {'input': 'Log in.', 'reference': '1. Log in'}
  assert told(plans.ultratool(planning)) == [
    ('user', 'Log in.'),
    ('thought', '1. Log in'),
  ]
  step = {'step': '1.1 Log in'}
  usage = {
    'question': 'Log me in.',
    'toolset': [{'name': 'login'}],
    'input': [step],
    'reference': [step | {'tool': 'login', 'param': {'user': 'a'}}],
  }
  assert told(plans.ultratool(usage)) == [
    ('documentation', '{"name": "login"}'),
    ('user', 'Log me in.'),
    ('thought', '1.1 Log in'),
    ('thought', '1.1 Log in'),
    ('action', 'login'),
    ('action', '{"user": "a"}'),
  ]
  awareness = {'input': [step], 'reference': [step | {'tool': '1'}]}
  assert told(plans.ultratool(awareness))[-1] == ('answer', '1')
  creation = {'input': [], 'reference': [step | {'tool': {'name': 'login'}}]}
  assert told(plans.ultratool(creation)) == [
    ('thought', '1.1 Log in'),
    ('answer', '{"name": "login"}'),
  ]
  assert reason(plans.ultratool, {'question': 'Log in.'}) == 'no_plan'


def test_g_planet_takes_one_plan_or_several():
  record = {'input': 'Wash it.', 'output': 'STEP 1: Go | STEP 2: Wash | END'}
  steps = [('thought', 'STEP 1: Go |'), ('thought', 'STEP 2: Wash | END')]
  assert told(plans.g_planet(record))[1:] == steps
  record['output'] = [record['output']] * 2
  assert told(plans.g_planet(record))[1:] == steps * 2
  assert reason(plans.g_planet, {'input': 'Wash it.'}) == 'output_is_null'
