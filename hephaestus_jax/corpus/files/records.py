"""Files -> parsed records, one at a time, whatever is wrong with a file.

A file's name says its format, compressed (.gz, .zst) or not:

    .jsonl .ndjson            a record per line
    .json                     a JSON list, an object, or lines after all
    .csv .tsv                 a record per row, by the names in the first
    .parquet .arrow           a record per row
    .warc .wet                a record per page
    any other                 one record: {'path': ..., 'text': ...}, or one for
                              each of its paragraphs

What can't be read is a Flaw with one of REASONS in the place of its record, and
the reader goes on behind it. Memory is bounded by `Limits`, not by the file.
Of a key that an object has twice the last value counts, as everywhere; NaN and
unescaped line breaks in strings are let through, a byte order mark is skipped.
"""

import dataclasses
import gzip
import io
import json
import pathlib
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, TypeAlias, cast

import zstandard

from hephaestus_jax.corpus.files import json_stream, tables, warc

REASONS = (
  'damaged_file',  # the compression or the container, from here to the end
  'duplicate_columns',
  'invalid_csv',
  'invalid_http',
  'invalid_json',
  'invalid_warc',
  'lone_surrogate',  # half a character, which no file can hold
  'nested_too_deep',
  'no_such_list',  # at the dotted path
  'not_an_object',  # whose values were asked for
  'not_text',
  'not_utf8',
  'record_too_long',
  'truncated_json',
  'truncated_warc',
  'wrong_columns',
)
LINES = ('.jsonl', '.ndjson')
TABLES = ('.csv', '.tsv', '.parquet', '.arrow')
PAGES = ('.warc', '.wet')
COMPRESSED = ('.gz', '.zst')

Outcome = tuple[Any, str]  # the record and '', or None and the reason
_Bytes: TypeAlias = 'io.BufferedReader[Any]'

_READ = 1 << 16  # bytes; less of a damaged file is lost
_BOM = b'\xef\xbb\xbf'
_DAMAGE = (
  *(EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError),
  zipfile.BadZipFile,
)
_DECODER = json.JSONDecoder(strict=False)
_HALF = re.compile(r'\\u[dD][89a-fA-F]')


@dataclasses.dataclass(frozen=True)
class Limits:
  """What a record may be.

  Attributes:
    record_bytes: its length; also a line's, a text file's, a cell's.
    depth: how deep its lists and objects may be nested.
  """

  record_bytes: int = 64 << 20
  depth: int = 256


@dataclasses.dataclass(frozen=True)
class Record:
  """What a mapping takes.

  Attributes:
    index: its place in the file, from 0, Flaws counted.
    value: plain JSON.
  """

  index: int
  value: Any


@dataclasses.dataclass(frozen=True)
class Flaw:
  """What stands in the place of a record that can't be read.

  Attributes:
    index: as in Record.
    reason: one of REASONS.
  """

  index: int
  reason: str


def read(
  stream: BinaryIO, path: str, unit: str, limits: Limits
) -> Iterator[Record | Flaw]:
  """The records of a file.

  Args:
    stream: its bytes, from the beginning.
    path: its name, which says the format.
    unit: 'items', 'paragraphs', 'values', 'whole', 'bytes' or a dotted path;
      see source.Files.
    limits: what a record may be.
  """
  source = _Undamaged(_decompressed(stream, path))
  index = 0
  for value, reason in _outcomes(_text_bytes(source), path, unit, limits):
    yield Flaw(index, reason) if reason else Record(index, value)
    index += 1
  if source.damaged:
    yield Flaw(index, 'damaged_file')


def format_of(path: str) -> str:
  """The suffix that says the format: '.jsonl' for 'a/b.jsonl.gz'."""
  name = pathlib.PurePosixPath(path.lower())
  return (
    name.with_suffix('').suffix if name.suffix in COMPRESSED else (name.suffix)
  )


def _decompressed(stream: BinaryIO, path: str) -> BinaryIO:
  suffix = pathlib.PurePosixPath(path.lower()).suffix
  if suffix == '.gz':
    return cast(BinaryIO, gzip.GzipFile(fileobj=stream))
  if suffix == '.zst':
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 31)
    return decompressor.stream_reader(stream, read_across_frames=True)
  return stream


class _Undamaged(io.RawIOBase):
  """The bytes of a stream up to where it is damaged.

  Attributes:
    damaged: whether that was before its end.
  """

  def __init__(self, stream: BinaryIO) -> None:
    super().__init__()
    self._stream = cast(io.BufferedReader, stream)
    self.damaged = False

  def readable(self) -> bool:
    """True: it is there to be read."""
    return True

  def readinto(self, buffer: Any) -> int:
    """As in io.RawIOBase."""
    try:
      # What could be unpacked before the damage; read() would lose it.
      found = self._stream.read1(len(buffer))
    except _DAMAGE:
      self.damaged = True
      return 0
    buffer[: len(found)] = found
    return len(found)


def _text_bytes(source: io.RawIOBase) -> _Bytes:
  """A buffered stream without the byte order mark."""
  buffered: _Bytes = io.BufferedReader(source, _READ)
  if buffered.peek(len(_BOM)).startswith(_BOM):
    buffered.read(len(_BOM))
  return buffered


def parse(raw: bytes, limits: Limits) -> Outcome:
  """One JSON value.

  >>> parse(b'{"a": [1]}', Limits()), parse(b'{"a": [1', Limits())
  (({'a': [1]}, ''), (None, 'truncated_json'))
  """
  try:
    text = raw.decode()
  except UnicodeDecodeError:
    return None, 'not_utf8'
  try:
    value = _DECODER.decode(text)
  except RecursionError:
    return None, 'nested_too_deep'
  except ValueError:
    is_open = json_stream.is_open(raw)
    return None, json_stream.TRUNCATED if is_open else 'invalid_json'
  opened = text.count('[') + text.count('{')
  if opened > limits.depth and _is_deeper(value, limits.depth):
    return None, 'nested_too_deep'
  if _HALF.search(text) and not _is_text(value):
    return None, 'lone_surrogate'
  return value, ''


def _is_deeper(value: Any, depth: int) -> bool:
  level = [value]
  for _ in range(depth):
    level = [
      child
      for parent in level
      for child in (parent.values() if isinstance(parent, dict) else parent)
      if isinstance(child, (dict, list))
    ]
    if not level:
      return False
  return True


def _is_text(value: Any) -> bool:
  try:
    json.dumps(value, ensure_ascii=False).encode()
  except UnicodeEncodeError:
    return False
  return True


def _outcomes(
  stream: _Bytes, path: str, unit: str, limits: Limits
) -> Iterator[Outcome]:
  suffix, limit = format_of(path), limits.record_bytes
  if unit == 'bytes':
    return iter([_bounded(stream, limit)])
  if suffix == '.json':
    return _json(stream, unit, limits)
  if suffix in LINES:
    rows = _json_lines(stream, limits)
  elif suffix == '.csv':
    rows = tables.csv_rows(stream, limit)
  elif suffix == '.tsv':
    rows = tables.tsv_rows(stream, limit)
  elif suffix == '.parquet':
    rows = tables.parquet_rows(stream)
  elif suffix == '.arrow':
    rows = tables.arrow_rows(stream)
  elif suffix in PAGES:
    rows = warc.pages(stream, limit)
  elif unit == 'paragraphs':
    return (_text(found, path) for found in _paragraphs(stream, limit))
  else:
    return iter([_text(_bounded(stream, limit), path)])
  return iter([_together(rows)]) if unit == 'whole' else rows


def _together(rows: Iterator[Outcome]) -> Outcome:
  """All rows as one record, which is as good as its worst."""
  values = []
  for value, reason in rows:
    if reason:
      return None, reason
    values.append(value)
  return values, ''


def _text(found: json_stream.Element, path: str) -> Outcome:
  raw, reason = found
  if reason:
    return None, reason
  try:
    return {'path': path, 'text': raw.decode()}, ''
  except UnicodeDecodeError:
    return None, 'not_utf8'


def _paragraphs(stream: BinaryIO, limit: int) -> Iterator[json_stream.Element]:
  """Stretches of text between empty lines."""
  lines: list[bytes] = []
  length = 0
  while True:
    line = stream.readline(limit + 1)
    if line.strip():
      length += len(line)
      if length <= limit:
        lines.append(line)
    elif length:
      found = b''.join(lines)
      yield (found, '') if length <= limit else (b'', json_stream.TOO_LONG)
      lines, length = [], 0
    if not line:
      return


def _bounded(stream: BinaryIO, limit: int) -> json_stream.Element:
  """The rest of the file."""
  raw = stream.read(limit + 1)
  return (raw, '') if len(raw) <= limit else (b'', json_stream.TOO_LONG)


def _lines(stream: BinaryIO, limit: int) -> Iterator[json_stream.Element]:
  """Lines that aren't empty."""
  while line := stream.readline(limit + 1):
    if len(line) > limit and not line.endswith(b'\n'):
      while (rest := stream.readline(1 << 20)) and not rest.endswith(b'\n'):
        pass
      yield b'', json_stream.TOO_LONG
    elif line := line.strip():
      yield line, ''


def _parsed(
  found: Iterator[json_stream.Element], limits: Limits
) -> Iterator[Outcome]:
  for raw, reason in found:
    yield (None, reason) if reason else parse(raw, limits)


def _json_lines(stream: _Bytes, limits: Limits) -> Iterator[Outcome]:
  lines = _lines(stream, limits.record_bytes)
  for line, reason in lines:
    outcome = (None, reason) if reason else parse(line, limits)
    if line.startswith(b'[') and _goes_on(line, outcome):
      # The name is wrong: the first line only begins a JSON list.
      yield from _json_list(stream, limits, line)
    else:
      yield outcome
    break
  yield from _parsed(lines, limits)


def _goes_on(line: bytes, outcome: Outcome) -> bool:
  """Whether a value was written over several lines, of which this is one."""
  is_open = outcome[1] == json_stream.TRUNCATED
  return is_open and line.rstrip().endswith((b'{', b'[', b','))


def _json(stream: _Bytes, unit: str, limits: Limits) -> Iterator[Outcome]:
  scanner = json_stream.Scanner(stream, limits.record_bytes)
  if unit == 'whole':
    yield from _parsed(iter([_bounded(stream, limits.record_bytes)]), limits)
  elif unit == 'values':
    yield from _object_values(scanner, limits)
  elif unit != 'items':
    if json_stream.enter(scanner, unit.split('.')):
      yield from _parsed(json_stream.elements(scanner, b']'), limits)
    else:
      yield None, 'no_such_list'
  elif stream.peek(1).lstrip()[:1] == b'[':
    yield from _json_list(stream, limits, b'')
  else:
    # One object, or one on each line: what the first line holds will tell.
    head = stream.readline(limits.record_bytes + 1)
    while head.isspace():
      head = stream.readline(limits.record_bytes + 1)
    outcome = parse(head, limits)
    if _goes_on(head, outcome):
      scanner = json_stream.Scanner(stream, limits.record_bytes, head)
      yield from _parsed(json_stream.values(scanner), limits)
    elif head:
      yield outcome
      yield from _parsed(_lines(stream, limits.record_bytes), limits)


def _json_list(
  stream: BinaryIO, limits: Limits, head: bytes
) -> Iterator[Outcome]:
  """The elements of a JSON list, or of several one after the other."""
  scanner = json_stream.Scanner(stream, limits.record_bytes, head)
  while scanner.peek() == b'[':
    scanner.skip()
    yield from _parsed(json_stream.elements(scanner, b']'), limits)
  if scanner.peek():
    yield None, 'invalid_json'


def _object_values(
  scanner: json_stream.Scanner, limits: Limits
) -> Iterator[Outcome]:
  if scanner.peek() != b'{':
    yield None, 'not_an_object'
    return
  scanner.skip()
  for raw, reason in json_stream.elements(scanner, b'}'):
    if reason:
      yield None, reason
      continue
    pair, reason = parse(b'{' + raw + b'}', limits)
    if not reason and len(pair) != 1:
      reason = 'invalid_json'
    yield (None, reason) if reason else (next(iter(pair.values())), '')
