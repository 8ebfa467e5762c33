"""Golden ReAct episodes: records in the published formats, our own words."""

import pytest

from hephaestus_jax.corpus.adapters import entry, messages, react


def pairs(found: messages.Segments) -> list[tuple[str, str]]:
  return [(segment.role, segment.text) for segment in found]


def gpt(*turns: str) -> dict[str, object]:
  """Turns of human and gpt in the layout of AgentInstruct."""
  speakers = ('human', 'gpt')
  return {
    'id': 'tea_1',
    'conversations': [
      {'from': speakers[i % 2], 'loss': None, 'value': text}
      for i, text in enumerate(turns)
    ],
  }


def roles(record: dict[str, object]) -> str:
  return ' '.join(role for role, _ in pairs(react.episode(record)))


@pytest.mark.parametrize(
  ('text', 'golden'),
  [
    (
      'Thought: Tea.\n\nAction: search[tea]',
      [('thought', 'Thought: Tea.'), ('action', 'Action: search[tea]')],
    ),
    (
      '\nThought: \nAction: find_tea\nAction Input: {\n  "kind": "oolong"\n}',
      [
        ('thought', 'Thought:'),
        ('action', 'Action: find_tea\nAction Input: {\n  "kind": "oolong"\n}'),
      ],
    ),
    (
      'THOUGHT: I need tea.\n ACTION: go to shelf 1',
      [
        ('thought', 'THOUGHT: I need tea.'),
        ('action', 'ACTION: go to shelf 1'),
      ],
    ),
    (
      'THOUGHT: I need tea. ACTION: go to shelf 1',
      [
        ('thought', 'THOUGHT: I need tea.'),
        ('action', 'ACTION: go to shelf 1'),
      ],
    ),
    (
      'Think: List.\n\nAct: bash\n\n```bash\nls\n```',
      [
        ('thought', 'Think: List.'),
        ('action', 'Act: bash\n\n```bash\nls\n```'),
      ],
    ),
    (
      'It is in.\nAction: Answer\nFinal Answer: ["tea"]',
      [
        ('thought', 'It is in.'),
        ('action', 'Action: Answer'),
        ('answer', 'Final Answer: ["tea"]'),
      ],
    ),
    (
      '**Thought:** Tea.\n**Action 2:** look',
      [('thought', '**Thought:** Tea.'), ('action', '**Action 2:** look')],
    ),
    (
      'Thought 1: a\nAction 1: b\nObservation 1: c\nd\nReflection: e',
      [
        ('thought', 'Thought 1: a'),
        ('action', 'Action 1: b'),
        ('observation', 'Observation 1: c\nd'),
        ('thought', 'Reflection: e'),
      ],
    ),
    ('Ok.', [('answer', 'Ok.')]),
    (
      'The action: none. My thought: none.',
      [('answer', 'The action: none. My thought: none.')],
    ),
  ],
)
def test_a_turn_is_cut_at_its_markers_and_loses_none(text, golden):
  assert pairs(react.split(text)) == golden


def test_alfworld_observations_have_no_marker():
  record = gpt(
    'Interact with a household. "ACTION: your next action"',
    "OK. I'll follow your instructions.",
    'You see a shelf 1.\nYour task is to: take tea.',
    'THOUGHT: The shelf.\nACTION: go to shelf 1',
    'On the shelf 1, you see a tea 1.',
    'ACTION: take tea 1 from shelf 1',
    'Nothing happens.',
    'THOUGHT: It did not work.',
    'OK.',
  )
  assert roles(record) == (
    'user answer user thought action observation action observation thought '
    'observation'
  )


def test_after_an_answer_the_next_message_is_a_new_task():
  record = gpt(
    'I am the OS. How many teas?',
    'Think: Count.\n\nAct: bash\n\n```bash\nls tea | wc -l\n```',
    'The output of the OS:\n3',
    'Think: Three.\n\nAct: answer(3)',
    'Now, I will start a new problem in a new OS. How many cups?',
    'Think: None.\n\nAct: finish',
  )
  assert roles(record) == (
    'user thought action observation thought action user thought action'
  )
  record = gpt(
    'Which tea is green?',
    'Thought: #0 is it.\nFinal Answer: #0',
    'A new question: which tea is black?',
    'Thought: I ask.\nAction: get_relations(tea)',
    'Observation: Error: unknown entity',
  )
  assert roles(record) == (
    'user thought answer user thought action observation'
  )


def test_in_mind2web_the_answer_belongs_to_the_action():
  record = gpt(
    '<html>', 'Thought: The box.\nAnswer: B.\nAction: TYPE\nValue: 3'
  )
  assert pairs(react.episode(record)) == [
    ('user', '<html>'),
    ('thought', 'Thought: The box.'),
    ('action', 'Answer: B.\nAction: TYPE\nValue: 3'),
  ]


def test_toolllama_has_a_role_for_functions():
  record = {
    'id': 'Step 3: Tea?',
    'conversations': [
      {'from': 'system', 'value': 'You are AutoGPT, with tools: brew.'},
      {'from': 'user', 'value': '\nTea?\nBegin!\n'},
      {
        'from': 'assistant',
        'value': '\nThought: Brew.\nAction: brew\nAction Input: {}',
      },
      {'from': 'function', 'value': '{"error": "no water", "response": ""}'},
      {
        'from': 'assistant',
        'value': '\nThought: \nAction: Finish\nAction Input: {"return_type": '
        '"give_up_and_restart"}',
      },
    ],
  }
  assert pairs(react.episode(record)) == [
    ('system', 'You are AutoGPT, with tools: brew.'),
    ('user', '\nTea?\nBegin!\n'),
    ('thought', 'Thought: Brew.'),
    ('action', 'Action: brew\nAction Input: {}'),
    ('observation', '{"error": "no water", "response": ""}'),
    ('thought', 'Thought:'),
    (
      'action',
      'Action: Finish\nAction Input: {"return_type": "give_up_and_restart"}',
    ),
  ]


def test_fireact_has_one_episode_in_two_layouts():
  output = (
    'Thought: I search.\nAction: search[green tea]\nObservation: A drink.\n'
    'Thought: Got it.\nAction: finish[drink]\n'
    'Observation: Episode finished, reward = True\n'
  )
  steps = [
    ('thought', 'Thought: I search.'),
    ('action', 'Action: search[green tea]'),
    ('observation', 'Observation: A drink.'),
    ('thought', 'Thought: Got it.'),
    ('action', 'Action: finish[drink]'),
    ('observation', 'Observation: Episode finished, reward = True'),
  ]
  record = {'instruction': 'What is it?', 'input': '', 'output': output}
  assert pairs(react.fireact(record)) == [('user', 'What is it?'), *steps]
  record = {'instruction': 'Question: Tea is', 'output': 'A. hot\nB. red\n'}
  record['output'] += output
  assert pairs(react.fireact(record)) == [
    ('user', 'Question: Tea is'),
    ('user', 'A. hot\nB. red'),
    *steps,
  ]
  chat = {
    'messages': [
      {'role': 'user', 'content': 'What is it?'},
      {'role': 'assistant', 'content': '\n'.join(t for _, t in steps[:2])},
      {'role': 'user', 'content': steps[2][1]},
      {'role': 'assistant', 'content': '\n'.join(t for _, t in steps[3:5])},
      {'role': 'user', 'content': steps[5][1]},
    ]
  }
  assert pairs(react.episode(chat)) == [('user', 'What is it?'), *steps]


def test_nat_begins_with_the_model_and_its_prompts_end_with_a_template():
  record = {
    'conversations': [
      {'role': 'assistant', 'content': 'Action: search[tea]', 'loss': True},
      {'role': 'user', 'content': 'Observation:  #1: Tea.', 'loss': False},
    ],
    'info': {'reward': True},
    'id': '7',
  }
  assert pairs(react.episode(record)) == [
    ('action', 'Action: search[tea]'),
    ('observation', 'Observation:  #1: Tea.'),
  ]
  prompt = {**record, 'question_prompt': 'Question: {question}'}
  assert pairs(react.nat_prompts(prompt))[2:] == [
    ('user', 'Question: {question}')
  ]


def test_codeact_observations_say_so():
  record = {
    'id': 'tea',
    'conversations': [
      {'role': 'system', 'content': 'Use <execute>.'},
      {'role': 'user', 'content': 'Task:\nAdd 1 and 2.'},
      {'role': 'assistant', 'content': 'I add.\n<execute> 1 + 2 </execute>'},
      {'role': 'user', 'content': 'Observation:\nSyntaxError: bad\nYou have 4'},
      {'role': 'assistant', 'content': 'It is <solution> 3 </solution>.'},
      {'role': 'user', 'content': 'Observation:\nYour answer is wrong.'},
    ],
  }
  assert pairs(react.code_act(record)) == [
    ('system', 'Use <execute>.'),
    ('user', 'Task:\nAdd 1 and 2.'),
    ('thought', 'I add.'),
    ('action', '<execute> 1 + 2 </execute>'),
    ('observation', 'Observation:\nSyntaxError: bad\nYou have 4'),
    ('answer', 'It is <solution> 3 </solution>.'),
    ('observation', 'Observation:\nYour answer is wrong.'),
  ]


def test_lumos_grounds_subgoals_in_calls():
  record = {
    'dataset': 'complex_qa',
    'id': 'complex_qa_1',
    'messages': [
      {
        'role': 'user',
        'content': 'Please ground the given subgoal.\nSubgoal 1: Find tea.',
      },
      {
        'role': 'assistant',
        'content': 'R1 = KnowledgeQuery(tea); R2 = Code(len(R1))',
      },
      {'role': 'user', 'content': 'The executed result is 3. Subgoal 2: Add.'},
      {'role': 'assistant', 'content': 'I stop.'},
    ],
  }
  assert [role for role, _ in pairs(react.lumos(record))] == (
    ['user', 'action', 'observation', 'answer']
  )


def test_agent_flan_has_its_messages_under_a_singular_name():
  record = {
    'conversation': [
      {'role': 'user', 'content': 'Tea?'},
      {'role': 'assistant', 'content': 'Thought: No.\nAction: none'},
    ]
  }
  assert roles(record) == 'user thought action'


def test_prompts_hold_questions_claims_and_contexts():
  text = (
    'Say if a Claim is true. \nClaim: Tea is hot.\nThought: It is.\n'
    'Answer:SUPPORTS\n\nContext: Leaves.\nQuestion: What?\nAction: Finish[tea]'
  )
  assert pairs(react.prompt_text(text)) == [
    ('user', 'Say if a Claim is true. \nClaim: Tea is hot.'),
    ('thought', 'Thought: It is.'),
    ('answer', 'Answer:SUPPORTS'),
    ('user', 'Context: Leaves.\nQuestion: What?'),
    ('action', 'Action: Finish[tea]'),
  ]
  assert react.log_file({'path': 'a', 'text': text}) == react.prompt_text(text)


def test_chatsbug_ends_with_its_output():
  prompt = 'Print "OUTPUT:" first.\nOUTPUT:\n[{"action": "brew"}]'
  assert pairs(react.action_plan({'prompt': prompt})) == [
    ('user', 'Print "OUTPUT:" first.'),
    ('action', 'OUTPUT:\n[{"action": "brew"}]'),
  ]


def test_what_is_no_episode_is_dropped_with_its_reason():
  for function, record, reason in (
    (react.action_plan, {'prompt': 'Plan tea.'}, 'no_output'),
    (react.prompt_text, {'text': 'a'}, 'record_is_dict'),
    (react.fireact, {'instruction': 'Tea?'}, 'no_output'),
    (react.episode, {'conversations': [{'from': 'moon'}]}, 'unknown_speaker'),
    (react.episode, {}, 'no_messages'),
    (react.log_file, {'path': 'a', 'text': '\n'}, 'empty_text'),
  ):
    with pytest.raises(entry.MalformedError) as raised:
      function(record)
    assert raised.value.reason == reason


@pytest.mark.parametrize(
  'text',
  ['Thought: ' * 100_000, ' ' * 1_000_000, '\n\t' * 300_000, '*' * 1_000_000],
)
def test_a_long_text_takes_a_moment(text):
  joined = ''.join(segment.text for segment in react.split(text))
  assert joined == text.strip()
