import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hephaestus_jax import errors
from hephaestus_jax.corpus import document, lines


def page(name, text='Lists the buckets.'):
  segments = (document.Segment('documentation', text),)
  return document.Document(
    f'shop/api/{name}', 'shop', 'documentation', 'MIT', '', segments
  )


def test_documents_come_back_in_the_order_of_their_ids(tmp_path):
  drop = document.Drop('shop/api/c', 'shop', 'refused')
  account = lines.write(
    tmp_path, [page('b'), drop, page('a', 'é\u2028\n'), drop]
  )
  assert account == {'records': 4, 'documents': 2, 'drops': {'refused': 2}}
  assert json.loads((tmp_path / 'drops.json').read_text()) == account
  assert list(lines.read(tmp_path)) == [page('a', 'é\u2028\n'), page('b')]
  assert sorted(path.name for path in tmp_path.iterdir()) == [
    'documents-00000-of-00001.jsonl',
    'drops.json',
  ]


def test_two_documents_with_one_id_are_a_bug(tmp_path):
  with pytest.raises(ValueError, match='shop/api/a'):
    lines.write(tmp_path, [page('a'), page('a')])


def test_a_folder_without_documents_is_the_users_to_mend(tmp_path):
  with pytest.raises(errors.UserError, match='no documents'):
    list(lines.read(tmp_path))


@pytest.mark.parametrize(
  ('line', 'reason'),
  [
    (b'{', 'line_not_json'),
    (b'\xff', 'line_not_json'),
    (b'[' * 100_000, 'line_not_json'),
    (b'[]', 'line_no_document'),
    (b'{"id": "a"}', 'line_no_document'),
    (
      json.dumps(document.to_record(page('a')) | {'texts': [7]}).encode(),
      'line_no_document',
    ),
    (
      json.dumps(document.to_record(page('a')) | {'roles': ['boss']}).encode(),
      'line_no_document',
    ),
    (
      json.dumps(
        document.to_record(page('a')) | {'texts': ['\ud800']}
      ).encode(),
      'line_not_unicode',
    ),
  ],
)
def test_a_line_that_is_no_document_has_a_reason(line, reason):
  expected = document.Drop('documents-0.jsonl:7', '', reason)
  assert lines.parse(line, 'documents-0.jsonl:7') == expected


RECORD = document.to_record(page('a'))
JSON = st.recursive(
  st.none() | st.booleans() | st.integers() | st.text(),
  lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.sampled_from(sorted(RECORD)), JSON))
def test_no_line_is_an_exception(changes):
  lines.parse(json.dumps(RECORD | changes).encode(), 'x:1')
