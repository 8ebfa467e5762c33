"""Finds the elements of a JSON file of any size, without parsing them.

Only brackets, commas and quotes are looked at, so a broken element ends where
the next one begins, the rest of the file is read as if nothing was wrong, and
memory holds one element and one chunk.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

CHUNK = 1 << 20
# Why an element is not there, or not whole.
TOO_LONG, TRUNCATED = 'record_too_long', 'truncated_json'

Element = tuple[bytes, str]  # its bytes, and '' or what is wrong with it

_NOT_SPACE = re.compile(rb'[^ \t\r\n]')
_FLAT = re.compile(rb'["\[\]{},]')
_NESTED = re.compile(rb'["\[\]{}]')
# To the closing quote, a chunk's end, or a backslash whose partner is in the
# next chunk.
_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_QUOTE, _BACKSLASH = b'"', b'\\'
_OPENING, _CLOSING = (b'[', b'{'), (b']', b'}')


class Scanner:
  """A place in a JSON file."""

  def __init__(self, stream: BinaryIO, limit: int, head: bytes = b'') -> None:
    """Begins at `head`.

    Args:
      stream: the file.
      limit: the longest element that is kept, in bytes.
      head: what was read from the stream before.
    """
    self._stream = stream
    self._limit = limit
    self._buffer = head
    self._at = 0

  def peek(self) -> bytes:
    """The next byte that is no white space; b'' at the end."""
    while True:
      found = _NOT_SPACE.search(self._buffer, self._at)
      if found:
        self._at = found.start()
        return found.group()
      if not self._more():
        return b''

  def skip(self) -> None:
    """Goes past the byte that `peek` showed."""
    self._at += 1

  def element(self, *, alone: bool = False) -> Element:
    """What stands before the next comma or closing bracket.

    Args:
      alone: whether it ends with its own last bracket or quote: between values
        that follow each other without a list there are no commas.

    Returns:
      Its bytes and '', or b'' and TOO_LONG, or the rest of the file and
      TRUNCATED.
    """
    extent = _Extent(alone)
    pieces: list[bytes] = []
    size = 0
    while True:
      end = extent.end(self._buffer, self._at)
      here = len(self._buffer) if end is None else end
      size += here - self._at
      if size <= self._limit:
        pieces.append(self._buffer[self._at : here])
      else:
        pieces.clear()
      self._at = here
      if end is not None:
        break
      if not self._more():
        whole = alone and extent.may_end
        return b''.join(pieces), '' if whole else TRUNCATED
    return b''.join(pieces), TOO_LONG if size > self._limit else ''

  def _more(self) -> bool:
    """Goes on to the next chunk; False at the end of the file."""
    self._buffer, self._at = self._stream.read(CHUNK), 0
    return bool(self._buffer)


class _Extent:
  """How far an element reaches: brackets and strings, chunk after chunk."""

  def __init__(self, alone: bool) -> None:
    self._alone = alone
    self._depth = 0
    self._in_string = False
    self._escaped = False

  @property
  def may_end(self) -> bool:
    """Whether nothing is open."""
    return not (self._depth or self._in_string)

  def end(self, chunk: bytes, at: int) -> int | None:
    """Where it ends in this chunk; None if that is in a later one."""
    while at < len(chunk):
      if self._in_string:
        at = self._string_end(chunk, at)
        if self._alone and self.may_end:
          return at
        continue
      found = (_NESTED if self._depth else _FLAT).search(chunk, at)
      if not found:
        return None
      mark, at = found.group(), found.end()
      if mark == _QUOTE:
        self._in_string = True
      elif mark in _OPENING:
        self._depth += 1
      elif not self._depth:
        return found.start()
      else:
        self._depth -= 1
        if self._alone and not self._depth:
          return at
    return None

  def _string_end(self, chunk: bytes, at: int) -> int:
    """The place after the closing quote, or the chunk's end."""
    if self._escaped:
      self._escaped = False
      at += 1
    found = _STRING.match(chunk, at)
    at = found.end() if found else at
    stop = chunk[at : at + 1]
    self._in_string = stop != _QUOTE
    self._escaped = stop == _BACKSLASH
    return at + len(stop)


def elements(scanner: Scanner, closing: bytes) -> Iterator[Element]:
  """The elements up to a closing bracket, which is passed.

  [1, 2] without its first bracket gives (b'1', ''), (b'2', ''). An empty
  element stands for a bracket or comma too many. A file that ends too early
  gives one TRUNCATED at last.
  """
  while True:
    found = scanner.peek()
    if not found:
      yield b'', TRUNCATED
      return
    if found == closing:
      scanner.skip()
      return
    raw, reason = scanner.element()
    if not raw and not reason:
      scanner.skip()
      yield b'', ''
      continue
    yield raw, reason
    if reason == TRUNCATED:
      return
    if scanner.peek() == b',':
      scanner.skip()


def values(scanner: Scanner) -> Iterator[Element]:
  """Values that follow each other to the end of the file: '{} {}'."""
  while scanner.peek():
    raw, reason = scanner.element(alone=True)
    if not raw and not reason:
      scanner.skip()
    yield raw, reason


def enter(scanner: Scanner, path: list[str]) -> bool:
  """Goes into the list at a path of keys; False if there is none.

  From {"data": {"items": [1]}} and ['data', 'items'] to the 1.
  """
  for name in path:
    if scanner.peek() != b'{':
      return False
    scanner.skip()
    if not _find_key(scanner, name):
      return False
  if scanner.peek() != b'[':
    return False
  scanner.skip()
  return True


def _find_key(scanner: Scanner, name: str) -> bool:
  """Goes to the value of a key of the object that the scanner is in."""
  wanted = f'"{name}"'.encode()
  while scanner.peek() == _QUOTE:
    key, reason = scanner.element(alone=True)
    if reason or scanner.peek() != b':':
      return False
    scanner.skip()
    if key == wanted:
      return True
    scanner.element()
    if scanner.peek() == b',':
      scanner.skip()
  return False


def is_open(raw: bytes) -> bool:
  """Whether brackets or a string of a JSON value were never closed."""
  extent = _Extent(alone=True)
  return extent.end(raw, 0) is None and not extent.may_end
