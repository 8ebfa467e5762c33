"""Files of every format give their records, and a reason for each that's not.

`read` gives a record's value, or its reason as a string that begins with '!'.
"""

import gzip
import io
import json
import tracemalloc

import pyarrow as pa
import pytest
import zstandard
from pyarrow import ipc, parquet

from hephaestus_jax.corpus.files import json_stream, records

SMALL = records.Limits(record_bytes=1000, depth=10)


def read(content, path='a.json', unit='items', limits=SMALL):
  found = list(records.read(io.BytesIO(content), path, unit, limits))
  assert [one.index for one in found] == list(range(len(found)))
  return [
    one.value if isinstance(one, records.Record) else f'!{one.reason}'
    for one in found
  ]


@pytest.mark.parametrize(
  ('content', 'expected'),
  [
    (b'[{"a": 1}, {"b": [1, "]}\\""]}]', [{'a': 1}, {'b': [1, ']}"']}]),
    (b'[]', []),
    (b'', []),
    (b' \n', []),
    (b'{}', [{}]),
    (b'{"a": 1}\n{"b": 2}\n\n{"c": 3}', [{'a': 1}, {'b': 2}, {'c': 3}]),
    (b'{\n"a": 1\n}\n{"b":\n2}', [{'a': 1}, {'b': 2}]),
    (b'[1]\n[2]', [1, 2]),
    (b'\xef\xbb\xbf[1]\r\n', [1]),
    (b'[1, 2,]', [1, 2]),
    # What is wrong with one is no matter of the next.
    (b'[1, nope, {"a" 2}, 3]', [1, '!invalid_json', '!invalid_json', 3]),
    (b'[1,, 2]', [1, '!invalid_json', 2]),
    (b'[1} 2]', [1, '!invalid_json', 2]),
    (b'["\xff", 1]', ['!not_utf8', 1]),
    (b'["\\ud800", "\\ud83d\\ude00"]', ['!lone_surrogate', '😀']),
    (b'[1] and more', [1, '!invalid_json']),
    (b'[1, {"a": "x', [1, '!truncated_json']),
    (b'[1,', [1, '!truncated_json']),
    (b'{"a": 1}\n{"b": \n{"c": 3}', [{'a': 1}, '!truncated_json', {'c': 3}]),
    (b'{"a": "Hel\n{"c": 3}', ['!truncated_json', {'c': 3}]),
    (b'["' + b'x' * 2000 + b'", 1]', ['!record_too_long', 1]),
    (b'[' + b'[' * 11 + b']' * 11 + b', 1]', ['!nested_too_deep', 1]),
    # Let through, as every other reader of JSON does.
    (b'[{"a": 1, "a": 2}, "a\nb"]', [{'a': 2}, 'a\nb']),
  ],
)
def test_json_gives_its_elements(content, expected):
  assert read(content) == expected


def test_not_a_number_is_let_through():
  (found,) = read(b'[NaN]')
  assert found != found


@pytest.mark.parametrize(
  ('content', 'expected'),
  [
    (b'{"a": 1}\r\n\r\n[2]\r\n', [{'a': 1}, [2]]),
    (b'{"a": 1}\n{"a"\n{"a": 3}', [{'a': 1}, '!truncated_json', {'a': 3}]),
    (b'x' * 2000 + b'\n1\n', ['!record_too_long', 1]),
    # The name is wrong: it is a JSON list.
    (b'[\n1,\n2]\n', [1, 2]),
  ],
)
def test_lines_give_a_record_each(content, expected):
  assert read(content, 'a.jsonl') == expected


def test_other_units_of_json():
  nested = b'{"x": {"y": 3}, "b": {"q": "}", "c": [2, {"d": 4}]}}'
  assert read(nested, unit='values') == [
    {'y': 3},
    {'q': '}', 'c': [2, {'d': 4}]},
  ]
  assert read(nested, unit='b.c') == [2, {'d': 4}]
  assert read(nested, unit='whole') == [json.loads(nested)]
  assert read(nested, unit='b.q') == ['!no_such_list']
  assert read(b'[1]', unit='values') == ['!not_an_object']
  assert read(b'{"a": 1, 2, "c": 3', unit='values') == [
    *(1, '!invalid_json'),
    '!truncated_json',
  ]
  assert read(b'{"a": 1}\n{"b": 2}\n', 'a.jsonl', 'whole') == [
    [{'a': 1}, {'b': 2}]
  ]
  assert read(b'{"a": 1}\n{"b"\n', 'a.jsonl', 'whole') == ['!truncated_json']


def test_a_depth_that_python_can_not_parse_is_a_reason():
  deep = b'[' * 10_000 + b']' * 10_000
  large = records.Limits()
  assert read(b'[' + deep + b', 1]', limits=large) == ['!nested_too_deep', 1]
  assert read(deep + b'\n1\n', 'a.jsonl', limits=large) == [
    *('!nested_too_deep', 1),
  ]


@pytest.mark.parametrize('chunk', [1, 2, 3, 7])
def test_where_a_chunk_ends_makes_no_difference(chunk, monkeypatch):
  content = json.dumps(
    [{'a': '"\\'}, {'b': [1, ']}', 'é\n']}, 'c\\\\', 5], ensure_ascii=False
  ).encode()
  monkeypatch.setattr(json_stream, 'CHUNK', chunk)
  assert read(content) == json.loads(content)


def test_an_element_that_is_too_long_is_not_kept(monkeypatch):
  monkeypatch.setattr(json_stream, 'CHUNK', 10)
  scanner = json_stream.Scanner(io.BytesIO(b'"' + b'x' * 95 + b'",1'), 50)
  assert scanner.element() == (b'', json_stream.TOO_LONG)
  assert scanner.peek() == b','


@pytest.mark.parametrize('name', ['a.json', 'a.jsonl', 'a.csv'])
def test_memory_does_not_grow_with_the_file(name):
  record = {'text': 'word ' * 2000}
  line = json.dumps(record).encode()
  if name == 'a.json':
    content = b'[' + b',\n'.join([line] * 3000) + b']'
  elif name == 'a.jsonl':
    content = b'\n'.join([line] * 3000)
  else:
    content = b'text\n' + b'\n'.join([line[9:-1]] * 3000)
  stream = io.BytesIO(content)
  tracemalloc.start()
  count = sum(1 for _ in records.read(stream, name, 'items', records.Limits()))
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert count == 3000
  assert peak < len(content) / 4


@pytest.mark.parametrize(
  ('content', 'expected'),
  [
    (b'a,b\r\n1,"x\n, y"\r\n', [{'a': '1', 'b': 'x\n, y'}]),
    (b'\xef\xbb\xbfa\n1\n\n2', [{'a': '1'}, {'a': '2'}]),
    (b'a,b\n1\n2,3\n', ['!wrong_columns', {'a': '2', 'b': '3'}]),
    (b'a\n\xff\n2\n', ['!not_utf8', {'a': '2'}]),
    (b'a,a\n1,2\n', ['!duplicate_columns']),
    (b'', []),
  ],
)
def test_csv_gives_rows_by_the_names_of_the_first(content, expected):
  assert read(content, 'a.csv') == expected


def test_a_quote_in_tsv_is_a_character():
  assert read(b'a\tb\n"x\t2\n', 'a.tsv') == [{'a': '"x', 'b': '2'}]


def _table() -> pa.Table:
  return pa.table(
    {
      'text': ['one', 'two'],
      'raw': [b'bytes', b'\xff'],
      'turns': [[{'role': 'user'}], []],
      'day': pa.array([0, None], pa.date32()),
    }
  )


ROWS = [
  {
    'text': 'one',
    'raw': 'bytes',
    'turns': [{'role': 'user'}],
    'day': '1970-01-01',
  },
  {'text': 'two', 'raw': None, 'turns': [], 'day': None},
]


def test_parquet_and_arrow_give_rows_as_json_has_them():
  file = io.BytesIO()
  parquet.write_table(_table(), file)
  assert read(file.getvalue(), 'a.parquet') == ROWS
  for new in (ipc.new_stream, ipc.new_file):
    file = io.BytesIO()
    with new(file, _table().schema) as writer:
      writer.write_table(_table())
    assert read(file.getvalue(), 'a.arrow') == ROWS


@pytest.mark.parametrize('name', ['a.parquet', 'a.arrow'])
def test_a_damaged_table_is_a_reason(name):
  file = io.BytesIO()
  parquet.write_table(_table(), file)
  for content in (b'', b'PAR1', file.getvalue()[:-20], b'x' * 100):
    assert read(content, name) in (['!damaged_file'], [])


def test_a_row_that_is_no_text_does_not_take_others_with_it():
  broken = pa.Array.from_buffers(
    pa.utf8(),
    3,
    [
      None,
      pa.py_buffer(b'\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0'),
      pa.py_buffer(b'a\xffc'),
    ],
  )
  file = io.BytesIO()
  table = pa.table({'text': broken})
  with ipc.new_stream(file, table.schema) as writer:
    writer.write_table(table)
  assert read(file.getvalue(), 'a.arrow') == [
    {'text': 'a'},
    '!not_utf8',
    {'text': 'c'},
  ]


def test_compressed_files_are_read_as_what_they_hold():
  lines = b'{"a": 1}\n{"a": 2}\n'
  assert records.format_of('x/A.JSONL.GZ') == '.jsonl'
  for packed in (gzip.compress(lines) * 2, gzip.compress(lines * 2)):
    assert len(read(packed, 'a.jsonl.gz')) == 4
  assert len(read(zstandard.compress(lines) * 2, 'a.jsonl.zst')) == 4


def test_of_a_damaged_file_all_before_the_damage_is_read():
  lines = b''.join(b'{"a": %d}\n' % i for i in range(5000))
  packed = gzip.compress(lines)
  found = read(packed[: len(packed) // 2], 'a.jsonl.gz')
  assert found[:1000] == [{'a': i} for i in range(1000)]
  assert found[-1] == '!damaged_file'
  wrong_sum = packed[:-8] + b'\0' * 8
  assert read(wrong_sum, 'a.jsonl.gz') == [
    *({'a': i} for i in range(5000)),
    '!damaged_file',
  ]
  assert read(b'no gzip', 'a.json.gz') == ['!damaged_file']
  assert read(b'no zstd', 'a.json.zst') == ['!damaged_file']


def test_any_other_file_is_one_text():
  text = {'path': 'data/plan', 'text': 'Pour.\n'}
  assert read(b'Pour.\n', 'data/plan') == [text]
  assert read(b'\xff', 'a.txt') == ['!not_utf8']
  assert read(b'x' * 1001, 'a.html') == ['!record_too_long']


def test_a_text_can_be_read_by_paragraphs():
  def found(content):
    values = read(content, 'data/plan', 'paragraphs')
    return [v if isinstance(v, str) else v['text'] for v in values]

  assert found(b'\na\nb\n \t\n\r\nc') == ['a\nb\n', 'c']
  assert found(b'') == found(b'\n\n') == []
  long = b'x' * 600 + b'\n'
  assert found(long + long + b'\nc\n\n\xff') == [
    '!record_too_long',
    'c\n',
    '!not_utf8',
  ]
  assert found(b'x' * 3000 + b'\nd\n\ne') == ['!record_too_long', 'e']


WET = (
  b'WARC/1.0\r\nWARC-Type: conversion\r\n'
  b'WARC-Target-URI: https://tea.example/\r\nWARC-Date: 2024-01-01T00:00:00Z'
  b'\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nBrew.\n\r\n\r\n'
)


def test_pages_of_common_crawl_are_read_with_their_address():
  page = {
    'type': 'conversion',
    'url': 'https://tea.example/',
    'date': '2024-01-01T00:00:00Z',
    'content_type': 'text/plain',
    'text': 'Brew.\n',
  }
  assert read(WET * 2, 'a.wet') == [page, page]
  assert read(gzip.compress(WET) * 2, 'a.warc.wet.gz') == [page, page]
  assert read(WET[:-8], 'a.wet') == ['!truncated_warc']
  assert read(b'junk\n' + WET, 'a.wet') == ['!invalid_warc', page]


def test_a_fetched_page_is_decoded_as_its_header_says():
  body = (
    b'HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=latin-1\r\n\r\n'
    b'<p>caf\xe9</p>'
  )
  warc = (
    b'WARC/1.0\r\nWARC-Type: response\r\nContent-Length: '
    + str(len(body)).encode()
    + b'\r\n\r\n'
    + body
    + b'\r\n\r\n'
  )
  (page,) = read(warc, 'a.warc')
  assert page['text'] == '<p>café</p>'
  assert page['content_type'] == 'text/html; charset=latin-1'
  assert read(warc.replace(b'latin-1', b'utf-8!!'), 'a.warc') == ['!not_text']
