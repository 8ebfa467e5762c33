"""Golden questions and answers in their published columns."""

import pytest

from hephaestus_jax.corpus.adapters import entry, messages, question_answer


def pairs(found: messages.Segments) -> list[tuple[str, str]]:
  return [(segment.role, segment.text) for segment in found]


def reason(function, record) -> str:
  with pytest.raises(entry.MalformedError) as raised:
    function(record)
  return raised.value.reason


def test_xlam_keeps_tools_and_calls_as_the_texts_they_are():
  record = {
    'id': 1,
    'query': 'Tea?',
    'answers': '[{"name": "find", "arguments": {}}]',
    'tools': '[{"name": "find"}]',
  }
  golden = [
    ('documentation', '[{"name": "find"}]'),
    ('user', 'Tea?'),
    ('action', '[{"name": "find", "arguments": {}}]'),
  ]
  assert pairs(question_answer.xlam(record)) == golden
  parsed = record | {
    'answers': [{'name': 'find', 'arguments': {}}],
    'tools': [{'name': 'find'}],
  }
  assert pairs(question_answer.xlam(parsed)) == golden
  for name in ('tools', 'query', 'answers'):
    rest = {key: value for key, value in record.items() if key != name}
    assert reason(question_answer.xlam, rest) == f'no_{name}'


def test_ultrainteract_tells_earlier_turns_inside_the_instruction():
  record = {
    'id': 'a_1_2',
    'task': 'Logic',
    'instruction': 'Tool available:\n[1] search(q)\nSolve the problem:\nTea?\n'
    'Step 1: I search.\n```python\n# Step 2: tea\nsearch("tea")\n```\n'
    'A drink.\nAnswer: no heading\n',
    'response': 'Step 1: It is a drink.\nStep 2: Done.\n'
    '```python\nStep 3: x\n```\nSo it is.\nAnswer:drink',
  }
  assert pairs(question_answer.ultra_interact(record)) == [
    ('documentation', 'Tool available:\n[1] search(q)'),
    ('user', 'Solve the problem:\nTea?'),
    ('thought', 'Step 1: I search.'),
    ('action', '```python\n# Step 2: tea\nsearch("tea")\n```'),
    ('observation', 'A drink.'),
    ('answer', 'Answer: no heading'),
    ('thought', 'Step 1: It is a drink.\nStep 2: Done.'),
    ('action', '```python\nStep 3: x\n```'),
    ('thought', 'So it is.'),
    ('answer', 'Answer:drink'),
  ]


def test_ultrainteract_alone_is_a_request_and_steps():
  record = {'instruction': 'Write code.\n', 'response': 'Step 1: Hm.'}
  assert pairs(question_answer.ultra_interact(record)) == [
    ('user', 'Write code.'),
    ('thought', 'Step 1: Hm.'),
  ]
  assert reason(question_answer.ultra_interact, {'instruction': 'a'}) == (
    'no_response'
  )


def test_wikiqa_answers_are_the_labelled_sentences():
  row = {
    'QuestionID': 'Q1',
    'Question': 'what is tea',
    'DocumentTitle': 'Tea',
    'Sentence': 'Tea is a drink.',
  }
  golden = [('user', 'what is tea'), ('text', 'Tea')]
  last = 'Tea is a drink.'
  for label, role in (({'Label': '1'}, 'answer'), ({'Label': '0'}, 'text')):
    assert pairs(question_answer.wiki_qa(row | label)) == [
      *golden,
      (role, last),
    ]
  assert pairs(question_answer.wiki_qa(row)) == [*golden, ('text', last)]
  hub = {
    'question_id': 'Q1',
    'question': 'what is tea',
    'document_title': 'Tea',
    'answer': last,
    'label': 1,
  }
  assert pairs(question_answer.wiki_qa(hub)) == [*golden, ('answer', last)]
  assert reason(question_answer.wiki_qa, {'question': 'a'}) == (
    'no_document_title'
  )


def test_hotpotqa_has_paragraphs_in_two_layouts_or_none():
  record = {'_id': '5', 'question': 'Tea?', 'answer': 'Yes', 'level': 'easy'}
  golden = [('user', 'Tea?'), ('answer', 'Yes')]
  assert pairs(question_answer.hotpot_qa(record)) == golden
  read = [('text', 'Tea'), ('text', 'It is hot.'), ('text', ' And wet.')]
  sentences = ['It is hot.', ' And wet.']
  for context in (
    [['Tea', sentences]],
    {'title': ['Tea'], 'sentences': [sentences]},
  ):
    found = question_answer.hotpot_qa(record | {'context': context})
    assert pairs(found) == read + golden
  del record['answer']
  assert pairs(question_answer.hotpot_qa(record)) == golden[:1]
  for context, why in (
    ('Tea', 'context_is_str'),
    (['Tea'], 'malformed_context'),
    ([['Tea', [1]]], 'sentence_is_no_text'),
    ({'title': ['Tea'], 'sentences': []}, 'columns_differ'),
  ):
    assert (
      reason(question_answer.hotpot_qa, record | {'context': context}) == why
    )


def test_strategyqa_goes_from_facts_over_steps_to_a_verdict():
  record = {
    'id': '7',
    'term': 'Tea',
    'description': 'Hot drink',
    'question': 'Can tea sing?',
    'answer': False,
    'facts': ['Tea is a drink.'],
    'decomposition': ['What is tea?', 'Can #1 sing?'],
    'evidence': [[[['Tea-1'], 'no_evidence']]],
  }
  assert pairs(question_answer.strategy_qa(record)) == [
    ('text', 'Tea'),
    ('text', 'Hot drink'),
    ('user', 'Can tea sing?'),
    ('text', 'Tea is a drink.'),
    ('thought', 'What is tea?'),
    ('thought', 'Can #1 sing?'),
    ('answer', 'false'),
  ]
  assert pairs(
    question_answer.strategy_qa({'question': '1 + 1?', 'answer': '#### 2'})
  ) == [('user', '1 + 1?'), ('answer', '#### 2')]
  assert (
    reason(question_answer.strategy_qa, record | {'facts': 'a'})
    == 'facts_is_str'
  )


def test_a_forum_has_a_title_a_body_and_an_answer():
  record = {'Q_Id': 3, 'Title': 'CSV?', 'Body': 'How?', 'Answer': 'csv.reader'}
  assert pairs(question_answer.pair(record)) == [
    ('user', 'CSV?'),
    ('user', 'How?'),
    ('answer', 'csv.reader'),
  ]


@pytest.mark.parametrize(
  ('record', 'golden'),
  [
    (
      {'conversations': [{'from': 'gpt', 'value': 'Action: brew'}]},
      [('action', 'Action: brew')],
    ),
    (
      {
        'text': '<start_of_turn>user\nTea?<end_of_turn>\n'
        '<start_of_turn>model\n<functioncall> {"name": "brew"}<end_of_turn>'
      },
      [('user', 'Tea?'), ('action', '<functioncall> {"name": "brew"}')],
    ),
    (
      {'prompt': '### Human: Tea?\n### Assistant: Thought: No.\nAction: wait'},
      [
        ('user', 'Tea?'),
        ('thought', 'Thought: No.'),
        ('action', 'Action: wait'),
      ],
    ),
    (
      {'id': 1, 'prompt': 'Tea?', 'completion': 'No.'},
      [('user', 'Tea?'), ('answer', 'No.')],
    ),
    ({'text': 'Tea is a drink.'}, [('text', 'Tea is a drink.')]),
  ],
)
def test_a_data_set_of_unknown_columns_is_read_by_the_layout_it_has(
  record, golden
):
  assert pairs(question_answer.any_layout(record)) == golden


def test_a_row_without_words_is_dropped():
  assert reason(question_answer.any_layout, []) == 'record_is_list'
  assert reason(question_answer.any_layout, {'n': 3}) == 'no_text_column'
