"""Rows and files of text and code."""

import pytest

from hephaestus_jax.corpus.adapters import entry, plain


def told(segments) -> list[tuple[str, str]]:
  return [(segment.role, segment.text) for segment in segments]


def reason(mapping, record) -> str:
  with pytest.raises(entry.MalformedError) as raised:
    mapping(record)
  return raised.value.reason


@pytest.mark.parametrize(
  'row',
  (
    {'text': 'Tea.', 'id': '<urn:uuid:1>', 'url': 'https://a', 'score': 1.5},
    {'raw_content': 'Tea.', 'bucket': 'head', 'line_ids': [0, 2]},
    {'text': 'Tea.', 'meta': {'arxiv_id': '2208.1'}},
    {'url': 'https://a', 'text': 'Tea.', 'metadata': '{"a": 1}'},
    {'path': 'a.txt', 'text': 'Tea.'},
  ),
  ids=('fineweb', 'redpajama', 'arxiv', 'openwebmath', 'file'),
)
def test_a_row_of_text_is_its_text(row):
  assert told(plain.text(row)) == [('text', 'Tea.')]


def test_a_title_is_a_part_unless_the_text_opens_with_it():
  row = {'title': 'Tea', 'text': '\nTea\nIs a drink.'}
  assert told(plain.text(row)) == [('text', '\nTea\nIs a drink.')]
  row['text'] = 'Tea is a drink.'
  assert told(plain.text(row)) == [('text', 'Tea'), ('text', 'Tea is a drink.')]


def test_rows_of_documentation_have_their_names():
  rows = {
    'aws': {'id': '1', 'text': 'Page.', 'source': 'https://a'},
    'library': {'doc_id': 'numpy.abs', 'doc_content': 'Page.'},
  }
  assert told(plain.documentation(rows['aws'])) == [('documentation', 'Page.')]
  assert told(plain.documentation(rows['library'])) == [
    ('documentation', 'numpy.abs'),
    ('documentation', 'Page.'),
  ]


def test_text_that_is_missing_or_of_another_type_has_its_reason():
  assert reason(plain.text, {}) == 'no_text'
  assert reason(plain.text, {'text': None}) == 'text_is_null'
  assert reason(plain.text, {'text': ['a']}) == 'text_is_list'
  assert reason(plain.text, {'text': ' \n'}) == 'empty_text'
  assert reason(plain.text, None) == 'record_is_null'


def test_code_is_code_and_a_readme_is_text():
  assert told(plain.code({'content': 'x = 1'})) == [('code', 'x = 1')]
  assert told(plain.code({'path': 'a.pddl', 'text': '(a)'})) == [
    ('code', '(a)')
  ]
  readme = {'language': 'Markdown', 'content': '# Hi'}
  assert told(plain.code(readme)) == [('text', '# Hi')]


def test_a_repository_of_the_stack_is_its_fetched_files():
  files = [{'content': 'x'}, {'content': ''}, {'content': None}, {'path': 'b'}]
  assert told(plain.stack({'files': files})) == [('code', 'x')]
  assert told(plain.stack({'content': 'x', 'lang': 'C'})) == [('code', 'x')]
  assert reason(plain.stack, {'files': [{'path': 'b'}]}) == 'no_content'
  assert reason(plain.stack, {'files': ['b']}) == 'file_is_str'
  assert reason(plain.stack, {'files': None}) == 'files_is_null'
