"""Pages of CommonCrawl's WARC files (as fetched) and WET files (their text).

Both are WARC/1.0: a version line, header lines, an empty line, and as many
bytes as Content-Length says. Each record becomes

    {'type': 'conversion', 'url': 'https://...', 'date': '2024-...',
     'content_type': 'text/plain', 'text': '...'}

where the text of a 'response' is the body of the HTTP answer.
"""

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

_LINE = 1 << 16  # bytes; a header line that is longer is none
_VERSION = re.compile(rb'WARC/\d')
_CHARSET = re.compile(r'charset\s*=\s*["\']?([\w.:-]+)', re.IGNORECASE)
_HTTP_END = re.compile(rb'\r?\n\r?\n')


def pages(stream: BinaryIO, limit: int) -> Iterator[tuple[Any, str]]:
  """(record, '') or (None, what is wrong with it) in the file's order.

  Args:
    stream: the file.
    limit: the longest record that is read, in bytes.
  """
  while True:
    line = stream.readline(_LINE)
    if not line:
      return
    if not line.strip():
      continue
    if not _VERSION.match(line):
      yield None, 'invalid_warc'
      if not _resync(stream):
        return
    headers = _headers(stream)
    length = headers.get('content-length', '')
    # isdecimal alone is true of other scripts' digits.
    if not (length.isascii() and length.isdecimal() and len(length) < 16):
      yield None, 'invalid_warc'
      continue
    body = _body(stream, int(length), limit)
    if body is None:
      yield None, 'record_too_long'
    elif len(body) < int(length):
      yield None, 'truncated_warc'
    else:
      yield _page(headers, body)


def _resync(stream: BinaryIO) -> bool:
  """Goes past the next version line; False at the end of the file."""
  while line := stream.readline(_LINE):
    if _VERSION.match(line):
      return True
  return False


def _headers(stream: BinaryIO) -> dict[str, str]:
  """Header lines up to an empty one, names in lower case."""
  found = {}
  while (line := stream.readline(_LINE)).strip():
    name, _, value = line.decode('utf-8', 'replace').partition(':')
    found[name.strip().lower()] = value.strip()
  return found


def _body(stream: BinaryIO, length: int, limit: int) -> bytes | None:
  """So many bytes, or what is left of them; None if they are too many."""
  if length <= limit:
    return stream.read(length)
  while length > 0 and (skipped := stream.read(min(length, _LINE))):
    length -= len(skipped)
  return None


def _page(headers: dict[str, str], body: bytes) -> tuple[Any, str]:
  kind = headers.get('warc-type', '')
  content_type = headers.get('content-type', '')
  if kind == 'response':
    end = _HTTP_END.search(body)
    if not end:
      return None, 'invalid_http'
    head, body = body[: end.start()], body[end.end() :]
    content_type = _http_header(head, b'content-type')
  try:
    text = body.decode(_charset(content_type))
  except (UnicodeDecodeError, LookupError):
    return None, 'not_text'
  return {
    'type': kind,
    'url': headers.get('warc-target-uri', ''),
    'date': headers.get('warc-date', ''),
    'content_type': content_type,
    'text': text,
  }, ''


def _http_header(head: bytes, wanted: bytes) -> str:
  for line in head.splitlines():
    name, _, value = line.partition(b':')
    if name.strip().lower() == wanted:
      return value.strip().decode('latin-1')
  return ''


def _charset(content_type: str) -> str:
  found = _CHARSET.search(content_type)
  return found.group(1) if found else 'utf-8'
