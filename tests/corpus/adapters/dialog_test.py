"""Golden dialogs: records in the published formats, with our own words."""

import pytest

from hephaestus_jax.corpus.adapters import dialog, entry, messages

Pairs = list[tuple[str, str]]


def pairs(found: messages.Segments) -> Pairs:
  return [(segment.role, segment.text) for segment in found]


def test_sharegpt_is_user_and_answer():
  record = {
    'id': 'tea_0',
    'conversations': [
      {'from': 'human', 'value': 'How long does tea brew?'},
      {'from': 'gpt', 'value': 'Three minutes.\n\nAction: none'},
      {'from': 'human', 'value': ''},
      {'from': 'bard', 'value': '<p>Or four.</p>'},
    ],
  }
  assert pairs(dialog.chat(record)) == [
    ('user', 'How long does tea brew?'),
    ('answer', 'Three minutes.\n\nAction: none'),
    ('answer', '<p>Or four.</p>'),
  ]


def test_toolace_calls_are_actions_in_both_layouts():
  system = 'Here is a list of functions: [{"name": "Get Tea"}].'
  published = {
    'system': system,
    'conversations': [
      {'from': 'user', 'value': 'Tea for two?'},
      {'from': 'assistant', 'value': '[Get Tea(n=2), Get Milk(kind="oat")]'},
      {'from': 'tool', 'value': '[{"name": "Get Tea", "results": {}}]'},
      {'from': 'assistant', 'value': '[Sorry], there is none (yet).'},
    ],
  }
  converted = {
    'system': system,
    'tools': '[]',
    'conversations': [
      {'from': 'human', 'value': 'Tea for two?'},
      {
        'from': 'function_call',
        'value': '[Get Tea(n=2), Get Milk(kind="oat")]',
      },
      {
        'from': 'observation',
        'value': '[{"name": "Get Tea", "results": {}}]',
      },
      {'from': 'gpt', 'value': '[Sorry], there is none (yet).'},
    ],
  }
  golden = [
    ('system', system),
    ('user', 'Tea for two?'),
    ('action', '[Get Tea(n=2), Get Milk(kind="oat")]'),
    ('observation', '[{"name": "Get Tea", "results": {}}]'),
    ('answer', '[Sorry], there is none (yet).'),
  ]
  assert pairs(dialog.chat(published)) == golden
  assert pairs(dialog.chat(converted)) == golden


def test_openai_calls_follow_the_words_that_lead_to_them():
  record = {
    'tools': [{'name': 'brew'}, {'name': 'pour'}],
    'messages': [
      {'role': 'user', 'content': 'Tea, please.'},
      {
        'role': 'assistant',
        'content': 'First I brew.',
        'tool_calls': [
          {'function': {'name': 'brew', 'arguments': '{"min": 3}'}},
          {'function': {'name': 'pour', 'arguments': '{}'}},
        ],
      },
      {'role': 'tool', 'tool_call_id': 'c1', 'content': None},
      {'role': 'tool', 'tool_call_id': 'c2', 'content': 'Error: no cup'},
      {'role': 'assistant', 'content': 'There is no cup.'},
    ],
  }
  assert pairs(dialog.chat(record)) == [
    ('documentation', '{"name": "brew"}'),
    ('documentation', '{"name": "pour"}'),
    ('user', 'Tea, please.'),
    ('thought', 'First I brew.'),
    ('action', 'brew'),
    ('action', '{"min": 3}'),
    ('action', 'pour'),
    ('action', '{}'),
    ('observation', ''),
    ('observation', 'Error: no cup'),
    ('answer', 'There is no cup.'),
  ]


@pytest.mark.parametrize(
  ('text', 'golden'),
  [
    (
      '<think>Two cups.</think>\n<tool_call>\n{"n": 2}\n</tool_call>',
      [
        ('thought', '<think>Two cups.</think>'),
        ('action', '<tool_call>\n{"n": 2}\n</tool_call>'),
      ],
    ),
    (
      'I brew. <functioncall> {"name": "brew"}',
      [('thought', 'I brew.'), ('action', '<functioncall> {"name": "brew"}')],
    ),
    ('[1, 2] (see there)', [('answer', '[1, 2] (see there)')]),
    ('[Brew(n=2)] is the call.', [('answer', '[Brew(n=2)] is the call.')]),
    ('[tea](http://tea)', [('answer', '[tea](http://tea)')]),
    ('<b>Tea</b>', [('answer', '<b>Tea</b>')]),
  ],
)
def test_a_reply_is_an_action_only_where_it_is_marked(text, golden):
  assert pairs(dialog.spoken(text)) == golden


@pytest.mark.parametrize(
  ('text', 'golden'),
  [
    (
      'I add.\n<execute>\nprint(1 + 2)\n</execute>\nThen I look.',
      [
        ('thought', 'I add.'),
        ('action', '<execute>\nprint(1 + 2)\n</execute>'),
        ('thought', 'Then I look.'),
      ],
    ),
    (
      'It ran.\nThe sum of both is <solution> 3 </solution>.',
      [
        ('thought', 'It ran.'),
        ('answer', 'The sum of both is <solution> 3 </solution>.'),
      ],
    ),
    (
      '<thought>Add.</thought><execute>1 + 2',
      [('thought', '<thought>Add.</thought>'), ('action', '<execute>1 + 2')],
    ),
    (
      '<execute>print("<solution>")</execute>',
      [('action', '<execute>print("<solution>")</execute>')],
    ),
    ('Tea is a drink.', [('answer', 'Tea is a drink.')]),
  ],
)
def test_codeact_acts_and_answers_between_tags(text, golden):
  assert pairs(dialog.code_act(text)) == golden


@pytest.mark.parametrize(
  ('truth', 'golden'),
  [
    (
      {'thought': 'I search.', 'name': 'Tea.find', 'args': {'kind': 'oolong'}},
      [
        ('thought', 'I search.'),
        ('action', 'Tea.find'),
        ('action', '{"kind": "oolong"}'),
      ],
    ),
    ({'answer': 'B'}, [('answer', 'B')]),
    (
      [{'id': 0, 'name': 'Tea.find'}],
      [('action', '[{"id": 0, "name": "Tea.find"}]')],
    ),
    ('1. Find tea.', [('action', '1. Find tea.')]),
    (None, []),
  ],
)
def test_t_eval_asks_for_a_part_of_the_next_step(truth, golden):
  record = {
    'origin_prompt': [{'role': 'user', 'content': '找茶。'}],
    'template': '{thought}',
    'ground_truth': truth,
    'meta_data': {'response_format': 'json'},
  }
  assert pairs(dialog.t_eval(record)) == [('user', '找茶。'), *golden]


def test_a_dialog_without_words_is_dropped():
  with pytest.raises(entry.MalformedError, match='no_text'):
    dialog.chat({'messages': [{'role': 'user', 'content': ' '}]})
  with pytest.raises(entry.MalformedError, match='no_messages'):
    dialog.chat({'conversations': []})
  with pytest.raises(entry.MalformedError, match='system_is_list'):
    dialog.chat({'system': [], 'messages': [{'role': 'user', 'content': '?'}]})
