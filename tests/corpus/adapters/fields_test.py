"""Every way in which a field can be wrong has its reason."""

import pytest

from hephaestus_jax.corpus.adapters import entry, fields


def reason(function, *arguments) -> str:
  with pytest.raises(entry.MalformedError) as raised:
    function(*arguments)
  return raised.value.reason


def test_text_is_the_string_or_the_reason():
  assert fields.text({'query': 'Who?'}, 'query') == 'Who?'
  assert reason(fields.text, [], 'query') == 'record_is_list'
  assert reason(fields.text, {}, 'query') == 'no_query'
  assert reason(fields.text, {'query': 3}, 'query') == 'query_is_int'
  assert reason(fields.text, {'query': ' \n'}, 'query') == 'empty_query'
  assert reason(fields.text, {}, 'API Call') == 'no_api_call'


def test_optional_text_may_be_missing_but_not_of_another_type():
  assert fields.optional_text({}, 'query') == ''
  assert fields.optional_text({'query': None}, 'query') == ''
  assert reason(fields.optional_text, {'query': []}, 'query') == 'query_is_list'


def test_a_bool_is_no_number():
  assert fields.value({'n': 3}, 'n', int) == 3
  assert fields.value({'n': True}, 'n', bool) is True
  assert reason(fields.value, {'n': True}, 'n', int) == 'n_is_bool'


def test_json_text_is_readable_and_bounded():
  assert fields.json_text({'city': 'Zürich', 'days': [1, 2]}) == (
    '{"city": "Zürich", "days": [1, 2]}'
  )
  deep: list = []
  for _ in range(100_000):
    deep = [deep]
  assert reason(fields.json_text, deep) == 'nested_too_deep'
  assert (fields.as_text('ok'), fields.as_text({'ok': True})) == (
    'ok',
    '{"ok": true}',
  )


def test_items_is_the_list_or_the_reason():
  assert fields.items({'steps': [1]}, 'steps') == [1]
  assert reason(fields.items, {'steps': 'a'}, 'steps') == 'steps_is_str'
