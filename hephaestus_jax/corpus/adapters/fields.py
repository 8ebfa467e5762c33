"""Reads the fields of a parsed record, and says what is wrong with them.

A mapping that takes a record apart with these has a reason for every record
that isn't what its format promises: 'no_query', 'query_is_list', 'empty_query'.
The reasons come from the names that the mapping asks for, never from the
record, so a source has few of them.
"""

import json
from typing import Any

from hephaestus_jax.corpus.adapters import entry


def text(record: Any, name: str) -> str:
  """The string `record[name]`, which must say something.

  >>> text({'query': 'Who?'}, 'query')
  'Who?'

  Raises:
    entry.MalformedError: 'record_is_list' (it is no object), 'no_query',
      'query_is_int', 'empty_query' (white space alone).
  """
  found = value(record, name, str)
  if not found.strip():
    raise entry.MalformedError(f'empty_{_plain(name)}')
  return str(found)


def optional_text(record: Any, name: str) -> str:
  """The string `record[name]`; '' where it is missing, null or empty.

  Raises:
    entry.MalformedError: 'record_is_list', 'query_is_int'.
  """
  _check(record, 'record', dict)
  found = record.get(name)
  return '' if found is None else str(_check(found, name, str))


def items(record: Any, name: str) -> list[Any]:
  """The list `record[name]`, which may be empty.

  Raises:
    entry.MalformedError: 'record_is_str', 'no_steps', 'steps_is_str'.
  """
  return list(value(record, name, list))


def value(record: Any, name: str, kind: type) -> Any:
  """`record[name]`, which must be a `kind`.

  Raises:
    entry.MalformedError: 'record_is_list', 'no_query', 'query_is_int'.
  """
  _check(record, 'record', dict)
  if name not in record:
    raise entry.MalformedError(f'no_{_plain(name)}')
  return _check(record[name], name, kind)


def json_text(found: Any) -> str:
  """A sub-value as JSON, as most data sets write it: on one line, not escaped.

  >>> json_text({'city': 'Zürich', 'days': [1, 2]})
  '{"city": "Zürich", "days": [1, 2]}'

  Raises:
    entry.MalformedError: 'nested_too_deep'.
  """
  try:
    return json.dumps(found, ensure_ascii=False)
  except RecursionError:
    raise entry.MalformedError('nested_too_deep') from None


def as_text(found: Any) -> str:
  """A string as it is, anything else as JSON: for fields that hold both.

  >>> as_text('ok'), as_text({'ok': True})
  ('ok', '{"ok": true}')
  """
  return found if isinstance(found, str) else json_text(found)


def _check(found: Any, name: str, kind: type) -> Any:
  # A bool is an int to Python, and to no data set.
  if isinstance(found, kind) and (kind is bool or not isinstance(found, bool)):
    return found
  raise wrong_kind(name, found)


def wrong_kind(name: str, found: Any) -> entry.MalformedError:
  """The error of a field that is of another kind than its format promises.

  >>> wrong_kind('API Call', None).reason, wrong_kind('query', [1]).reason
  ('api_call_is_null', 'query_is_list')
  """
  kind = 'null' if found is None else type(found).__name__
  return entry.MalformedError(f'{_plain(name)}_is_{kind}')


def _plain(name: str) -> str:
  """A field's name as part of a reason: 'API Call' -> 'api_call'."""
  return '_'.join(name.lower().replace('-', ' ').split())
