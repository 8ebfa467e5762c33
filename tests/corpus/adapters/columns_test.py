"""Rows of which only the columns' names are known."""

import pytest

from hephaestus_jax.corpus.adapters import columns, entry


def told(segments) -> list[tuple[str, str]]:
  return [(segment.role, segment.text) for segment in segments]


def reason(record) -> str:
  with pytest.raises(entry.MalformedError) as raised:
    columns.by_name(record)
  return raised.value.reason


def test_a_name_means_what_the_data_set_means_by_it():
  row = {'instruction': 'Add.', 'output': 'add()'}
  assert told(columns.by_name(row))[1] == ('answer', 'add()')
  assert told(columns.calls(row))[1] == ('action', 'add()')
  assert told(columns.plans(row))[1] == ('thought', 'add()')


@pytest.mark.parametrize(
  ('mapping', 'role', 'names'),
  (
    (columns.calls, 'action', ('text', 'code', 'output', 'response')),
    (columns.plans, 'thought', ('text', 'output', 'response')),
    (columns.documentation, 'documentation', ('text', 'content', 'title')),
    (columns.code, 'code', ('text', 'content', 'body')),
  ),
)
def test_each_family_knows_its_columns(mapping, role, names):
  for name in names:
    assert told(mapping({name: 'Words.'})) == [(role, 'Words.')]


def test_what_a_reader_needs_first_comes_first():
  row = {'response': 'Yes.', 'question': 'Is it?', 'system': 'Be brief.'}
  assert told(columns.by_name(row)) == [
    ('system', 'Be brief.'),
    ('user', 'Is it?'),
    ('answer', 'Yes.'),
  ]


def test_numbers_and_origins_are_left_out_and_unknown_words_are_text():
  row = {
    'id': 'a7',
    'repo_path': 'a/b.py',
    'source_url': 'https://example.org',
    'input_ids': [1, 2],
    'score': 0.5,
    'Remark': 'Fine.',
    'plan_graph': {'nodes': ['a']},
  }
  assert told(columns.by_name(row)) == [
    ('text', 'Fine.'),
    ('text', '{"nodes": ["a"]}'),
  ]
  assert reason({'id': 'a7', 'input_ids': [1]}) == 'no_text_column'
  assert reason(['a']) == 'record_is_list'


def test_a_column_of_messages_is_a_dialog():
  row = {
    'id': 1,
    'messages': [
      {'role': 'user', 'content': 'Hi.'},
      {'role': 'assistant', 'content': 'Hello.'},
    ],
    'tools': [{'name': 'wave'}],
  }
  assert told(columns.by_name(row)) == [
    ('documentation', '[{"name": "wave"}]'),
    ('user', 'Hi.'),
    ('answer', 'Hello.'),
  ]
