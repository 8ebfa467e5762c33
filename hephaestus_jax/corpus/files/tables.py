"""Rows of csv, tsv, parquet and arrow files as JSON objects.

Each reader gives (row, '') or (None, what is wrong with it), a few rows at a
time.
"""

import csv
import datetime
import decimal
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import ipc, parquet

Row = tuple[Any, str]

# Rows in memory at once: a row may be a whole web page.
_BATCH = 64


def csv_rows(stream: BinaryIO, limit: int) -> Iterator[Row]:
  """Rows of comma-separated values (RFC 4180), by the names in the first.

  b'a,b\\n1,"x, y"\\n' gives ({'a': '1', 'b': 'x, y'}, '').

  Args:
    stream: the file.
    limit: the longest cell, in bytes.
  """
  # A setting of the process: the largest that any file asks for is no harm.
  csv.field_size_limit(max(limit, csv.field_size_limit()))
  return _named(csv.reader(_lines(stream, limit)))


def tsv_rows(stream: BinaryIO, limit: int) -> Iterator[Row]:
  """Rows of tab-separated values, in which a quote is a character."""
  csv.field_size_limit(max(limit, csv.field_size_limit()))
  return _named(
    csv.reader(_lines(stream, limit), delimiter='\t', quoting=csv.QUOTE_NONE)
  )


def _lines(stream: BinaryIO, limit: int) -> Iterator[str]:
  while line := stream.readline(limit):
    # What is no UTF-8 is found again in the cell, so that one row is dropped.
    yield line.decode('utf-8', 'surrogateescape')


def _named(rows: Iterator[list[str]]) -> Iterator[Row]:
  names: list[str] | None = None
  while True:
    try:
      row = next(rows, None)
    except csv.Error:
      yield None, 'invalid_csv'
      continue
    if row is None:
      return
    if not row:
      continue
    if not all(map(_is_text, row)):
      yield None, 'not_utf8'
    elif names is None:
      names = row
      if len(set(names)) < len(names):
        yield None, 'duplicate_columns'
        return
    elif len(row) != len(names):
      yield None, 'wrong_columns'
    else:
      yield dict(zip(names, row, strict=True)), ''


def _is_text(cell: str) -> bool:
  try:
    cell.encode()
  except UnicodeEncodeError:
    return False
  return True


def parquet_rows(stream: BinaryIO) -> Iterator[Row]:
  """Rows of a parquet file."""
  return _batches(stream, _parquet_batches)


def arrow_rows(stream: BinaryIO) -> Iterator[Row]:
  """Rows of an arrow file or stream; Hugging Face's caches are streams."""
  return _batches(stream, _arrow_batches)


def _batches(
  stream: BinaryIO, read: Callable[[Any], Iterator[pa.RecordBatch]]
) -> Iterator[Row]:
  with tempfile.TemporaryFile() as file:
    # Both formats are read from their end, which a stream doesn't know.
    shutil.copyfileobj(stream, file)
    file.seek(0)
    try:
      for batch in read(file):
        yield from _rows(batch)
    # Arrow says of damage whatever the place where it came upon it says.
    except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError):
      yield None, 'damaged_file'


def _parquet_batches(file: BinaryIO) -> Iterator[pa.RecordBatch]:
  yield from parquet.ParquetFile(file).iter_batches(batch_size=_BATCH)


def _arrow_batches(file: BinaryIO) -> Iterator[pa.RecordBatch]:
  magic = file.read(6)
  file.seek(0)
  if magic == b'ARROW1':
    reader = ipc.open_file(file)
    whole = (reader.get_batch(i) for i in range(reader.num_record_batches))
  else:
    whole = iter(ipc.open_stream(file))
  for batch in whole:
    for start in range(0, batch.num_rows, _BATCH):
      yield batch.slice(start, _BATCH)


def _rows(batch: pa.RecordBatch) -> Iterator[Row]:
  try:
    for row in batch.to_pylist():
      yield _plain(row), ''
  except UnicodeDecodeError:
    # One row's bytes are no text: the others are read without it.
    if batch.num_rows == 1:
      yield None, 'not_utf8'
    else:
      for index in range(batch.num_rows):
        yield from _rows(batch.slice(index, 1))


def _plain(value: Any) -> Any:
  """A cell as JSON has it: a date is text, bytes that are no text are null."""
  if isinstance(value, dict):
    return {str(name): _plain(found) for name, found in value.items()}
  if isinstance(value, (list, tuple)):
    return [_plain(found) for found in value]
  if isinstance(value, bytes):
    try:
      return value.decode()
    except UnicodeDecodeError:
      return None
  if isinstance(value, (datetime.date, datetime.time)):
    return value.isoformat()
  if isinstance(value, (datetime.timedelta, decimal.Decimal)):
    return str(value)
  return value
