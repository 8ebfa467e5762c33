r"""Roff, the language of manual pages -> requests and lines of plain text.

What the language can compute (strings, macros, conditions) is done here, as far
as manual pages use it; how a page is laid out is not looked at. `manual` gives
the requests their meaning.

>>> list(lines('.ds P teapot\n.B \\*P\npours \\(em \\fIhot\\fR'))
[Line('B', ('teapot',)), Line('', ('pours — hot',))]
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

MAX_EXPANDED = 1_000_000  # characters that are read again
MAX_STRING = 2_000  # characters of a string; more is no manual's
_CHARACTERS = {
  **{'-': '-', 'e': '\\', '\\': '\\', ' ': ' ', '~': ' ', '0': ' ', 't': ' '},
  **{"'": "'", '`': '`', '.': '.', '_': '_'},
  **{'aq': "'", 'dq': '"', 'cq': '’', 'oq': '‘', 'lq': '“', 'rq': '”'},
  **{'em': '—', 'en': '–', 'hy': '-', 'mi': '-', 'pl': '+', 'mu': '×'},
  **{'bu': '•', 'co': '©', 'rg': '®', 'tm': '™', 'de': '°', '12': '½'},
  **{'ha': '^', 'ti': '~', 'ga': '`', 'aa': '´', 'rs': '\\', 'ul': '_'},
  **{'at': '@', 'sh': '#', 'Do': '$', 'lB': '[', 'rB': ']', 'lC': '{'},
  **{'rC': '}', 'ba': '|', 'br': '|', 'or': '|', 'sl': '/', 'eq': '='},
  **{'<=': '≤', '>=': '≥', '!=': '≠', '->': '→', '<-': '←', 'if': '∞'},
  **{'la': '⟨', 'ra': '⟩', 'Fo': '«', 'Fc': '»', '*a': 'α', '*b': 'β'},
  **{'*m': 'μ', '*W': 'Ω', 'ss': 'ß', ':a': 'ä', ':o': 'ö', ':u': 'ü'},
  **{"'e": 'é', '`e': 'è', "'a": 'á', '`a': 'à', ',c': 'ç', 'o/': 'ø'},
  **{'lh': '☜', 'rh': '☞', 'sq': '□', 'dg': '†', 'dd': '‡', 'sc': '§'},
}
_ESCAPE = re.compile(
  r'\\(?:'
  r'[fgkFmMOVY](?:\[[^\]\n]*\]|\(..|.)'  # fonts, colours
  r"|s(?:[-+]?\(..|\[[^\]\n]*\]|[-+]?'[^'\n]*'|[-+]?[1-3]\d|[-+]?.)"  # size
  r"|C'(?P<named>[^'\n]*)'|N'(?P<code>[^'\n]*)'"
  r"|[ABDHLRSXZbhlovwx]'[^'\n]*'"  # moves, lines, widths
  r'|\*(?:\[(?P<string>[^\]\n]*)\]|\((?P<string2>..)|(?P<string1>.))'
  r'|n[-+]?(?:\[[^\]\n]*\]|\(..|.)'  # numbers
  r'|\[(?P<long>[^\]\n]*)\]|\((?P<two>..)|(?P<one>.)|$)',
  re.DOTALL,
)
_ARGUMENT = re.compile(r'"((?:[^"]|"")*)"?|((?:\\.|[^\s\\]|\\$)+)')

_COMMENT = re.compile(r'\\["#].*', re.DOTALL)


class Line(NamedTuple):
  """A request with its arguments, or with name '' a line of text."""

  name: str
  arguments: tuple[str, ...]


def lines(source: str) -> Iterator[Line]:
  """The requests and text of a page, macros and conditions resolved."""
  return _Reader(source).lines()


class _Reader:
  """Reads lines; a macro's lines go before those that follow its call."""

  def __init__(self, source: str) -> None:
    joined = re.sub(r'\\\n', '', source.replace('\r\n', '\n'))
    self._waiting = joined.split('\n')[::-1]
    self._strings: dict[str, str] = {}
    self._macros: dict[str, list[str]] = {}
    self._expanded = 0
    self._was_true = False  # whether the last .ie held, for its .el

  def lines(self) -> Iterator[Line]:
    while self._waiting:
      yield from self._read(self._waiting.pop())

  def _read(self, line: str) -> Iterator[Line]:
    line = _COMMENT.sub('', line)
    if line[:1] not in ('.', "'"):
      yield Line('', (self.plain(line),))
      return
    match = re.match(r'[.\']\s*([^\s"\\]*)\s*', line)
    name = match[1] if match else ''
    rest = line[match.end() :] if match else ''
    if name in ('if', 'ie', 'el'):
      self._condition(name, rest)
    elif name in ('ds', 'as', 'ds1', 'as1'):
      self._string(name, rest)
    elif name in ('de', 'de1', 'am', 'ig'):
      body = self._body(rest.split()[1] if len(rest.split()) > 1 else '.')
      if name != 'ig' and rest.split():
        self._macros[rest.split()[0]] = body
    elif name == 'rm':
      self._macros.pop(rest.strip(), None)
    elif name in self._macros:
      self._call(name, rest)
    elif name:
      yield Line(name, tuple(self.plain(a) for a in split(rest)))

  def _condition(self, name: str, rest: str) -> None:
    """.if and .ie: on a terminal ('n') true, else as if all were unset."""
    if name == 'el':
      holds = not self._was_true
    else:
      match = re.match(r"(!?)\s*([nteov]|\([^ ]*|'[^']*'[^']*'|\S+)\s*", rest)
      condition = match[2] if match else ''
      rest = rest[match.end() :] if match else ''
      holds = (condition == 'n') != bool(match and match[1])
      if condition.startswith("'"):
        _, one, other, *_ = condition.split("'")
        same = self.plain(one) == self.plain(other)
        holds = same != bool(match and match[1])
      self._was_true = holds
    opened = rest.lstrip().startswith('\\{')
    if not opened:
      if holds and rest.strip() and self._may_add(len(rest)):
        self._waiting.append(rest)
      return
    inside = self._block(rest.lstrip()[2:])
    if holds:
      self._waiting += inside[::-1]

  def _block(self, first: str) -> list[str]:
    r"""The lines up to the \} that closes a block."""
    found, depth, line = [], 1, first
    while self._may_add(len(line) + 1):
      depth += line.count('\\{') - line.count('\\}')
      if depth <= 0 or not self._waiting:
        found.append(re.sub(r"^[.']?\s*(br)?\\\}.*|\\\}.*", '', line))
        return [line for line in found if line.strip()]
      found.append(line)
      line = self._waiting.pop()
    return []

  def _string(self, name: str, rest: str) -> None:
    key, _, value = rest.partition(' ')
    value = self.plain(value.lstrip(' ').removeprefix('"'))
    before = self._strings.get(key, '') if name.startswith('as') else ''
    self._strings[key] = (before + value)[:MAX_STRING]

  def _body(self, end: str) -> list[str]:
    """The lines of a definition; the whole rest where nothing ends it."""
    found = []
    while self._waiting:
      line = self._waiting.pop()
      if re.match(rf"[.']\s*{re.escape(end)}(\s|$)", line):
        break
      found.append(line)
    return found

  def _call(self, name: str, rest: str) -> None:
    """Puts a macro's lines before what follows, arguments filled in."""
    body = self._macros[name]
    passed = split(rest)

    def argument(match: re.Match[str]) -> str:
      if match[1] in ('*', '@'):
        return ' '.join(passed)
      i = int(match[1]) - 1
      return passed[i] if 0 <= i < len(passed) else ''

    cost = sum(len(line) + line.count('$') * len(rest) for line in body) + 1
    if not self._may_add(cost):
      return
    filled = [re.sub(r'\\+\$([\d*@])', argument, line) for line in body]
    self._waiting += [line.replace('\\\\', '\\') for line in filled[::-1]]

  def _may_add(self, characters: int) -> bool:
    """Whether so much may be read again; counts it.

    What strings, macros and conditions give is read as if it stood there. A
    page that does so without end has no more of it from here on.
    """
    self._expanded += characters
    return self._expanded <= MAX_EXPANDED

  def plain(self, text: str) -> str:
    """Text without escapes."""
    if '\\' not in text:
      return text

    def character(match: re.Match[str]) -> str:
      kind, value = match.lastgroup or '', match[match.lastgroup or 0]
      if kind.startswith('string'):
        found = self._strings.get(value, '')
        return found if self._may_add(len(found)) else ''
      if kind == 'code':
        return chr(int(value)) if re.fullmatch(r'\d{1,3}', value) else ''
      if kind and (point := re.fullmatch(r'u([0-9A-F]{4})', value)):
        return chr(int(point[1], 16))
      return _CHARACTERS.get(value, '') if kind else ''

    return _ESCAPE.sub(character, text)


def split(text: str) -> list[str]:
  """A request's arguments.

  >>> split('-a "b c" d')
  ['-a', 'b c', 'd']
  """
  return [
    match[2] if match[2] is not None else match[1].replace('""', '"')
    for match in _ARGUMENT.finditer(text)
  ]
