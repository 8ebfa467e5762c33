"""Manual pages (roff: man and mdoc) -> a documentation page per command.

A page's options become parameters, its first lines the description, and its
sections stay sections. `roff` has resolved the language; here are the two sets
of requests that manuals are written in.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.adapters import entry, roff, tool

MAX_INDENT = 6  # levels; lists in deeper ones are no manual's
# Whose work it is, not how it works.
_LEFT_OUT = re.compile(
  r'AUTHORS?|COPYRIGHT.*|COPYING|LICEN[CS]E|REPORTING BUGS|COLOPHON|'
  r'MAINTAINERS?|RESOURCES',
  re.IGNORECASE,
)
_OPTION = re.compile(r'[-+][^\s]')
_PAGE = re.compile(r'(.*/)?([^/]+)\.([1-9n][a-z0-9]{0,9})(\.gz)?')
# Requests about fonts, spacing and page breaks; other unknown ones say nothing
# either, but text that follows a request that is no macro would be lost.
_FONTS = ('B', 'I', 'R', 'SB', 'SM', 'CW', 'C')
_ALTERNATING = ('BI', 'BR', 'IB', 'IR', 'RB', 'RI')


def manual(path: str, content: bytes) -> Iterator[entry.Entry | entry.Flaw]:
  """The one page of a file.

  Args:
    path: of the file, 'man1/git-add.1.gz'.
    content: roff.

  Raises:
    entry.MalformedError: it is no manual page.
  """
  match = _PAGE.fullmatch(path)
  name = match[2] if match else path.rsplit('/', 1)[-1]
  # Pages of one program have its name in theirs.
  group = 'man-' + (re.split(r'[-.:]', name, maxsplit=1)[0] or name)
  found = list(roff.lines(_text(content)))
  if any(line.name == 'so' for line in found[:5]):
    # Another name of a page that has a file of its own.
    yield entry.Flaw(group, path, 'alias')
    return
  is_mdoc = any(line.name == 'Dd' for line in found)
  page = _Mdoc(name).read(found) if is_mdoc else _Man().read(found)
  text = tool.markdown(describe(name, page))
  segments = (document.Segment('documentation', text),)
  yield entry.Entry(group, path, segments)


def _text(content: bytes) -> str:
  try:
    return content.decode('utf-8-sig')
  except UnicodeDecodeError:
    return content.decode('latin-1')


class Block:
  """A paragraph, an item of a list, or code of a page.

  Attributes:
    kind: 'text', 'item', 'code' or 'heading'.
    tag: of an item.
    depth: how many lists it lies in.
    lines: of text; words of a paragraph flow from one to the next.
  """

  def __init__(self, kind: str, tag: str = '', depth: int = 0) -> None:
    self.kind = kind
    self.tag = tag
    self.depth = depth
    self.lines: list[str] = []

  @property
  def text(self) -> str:
    """Its lines, or words that flow."""
    if self.kind == 'code':
      return '\n'.join(line.rstrip() for line in self.lines).strip('\n')
    broken = ' '.join(self.lines).split('\n')
    return '\n'.join(' '.join(line.split()) for line in broken).strip()


class _Page:
  """Sections of blocks, filled from above."""

  def __init__(self) -> None:
    self.sections: dict[str, list[Block]] = {}
    self._blocks: list[Block] = []
    self._now: Block | None = None
    self.in_code = False
    self.depth = 0

  def section(self, title: str) -> None:
    self.close()
    self.depth = 0
    self.in_code = False
    title = ' '.join(title.split())
    self._blocks = self.sections.setdefault(title, [])

  def open(self, kind: str, tag: str = '') -> Block:
    """Begins a block."""
    self._now = Block(kind, tag, self.depth)
    self._blocks.append(self._now)
    return self._now

  def close(self) -> None:
    """Ends the block: what follows begins a new one."""
    self._now = None

  def say(self, words: str) -> None:
    """Adds words to the block, or to a new paragraph."""
    if self._now is None or (self._now.kind == 'code') != self.in_code:
      self.open('code' if self.in_code else 'text')
    assert self._now is not None
    self._now.lines.append(words)

  def code(self, on: bool) -> None:
    """Lines stay as they are from here on, or flow again."""
    self.in_code = on
    self.close()


class _Man:
  """The requests of man(7)."""

  def __init__(self) -> None:
    self._page = _Page()
    self._wants = ''  # what the next line of text is for
    self._link = ''
    self._table = ''

  def read(self, lines: Sequence[roff.Line]) -> dict[str, list[Block]]:
    """A page's sections.

    Raises:
      entry.MalformedError: it has none.
    """
    for line in lines:
      if self._table:
        self._row(line)
      elif not line.name:
        self._text(line.arguments[0])
      else:
        self._request(line.name, line.arguments)
    if not self._page.sections:
      raise entry.MalformedError('no_manual_page')
    return self._page.sections

  def _text(self, text: str) -> None:
    page, wants = self._page, self._wants
    self._wants = ''
    if wants == 'section':
      page.section(text)
    elif wants == 'heading':
      page.open('heading', text)
      page.close()
    elif wants == 'tag':
      page.open('item', ' '.join(text.split()))
    elif not text.strip() and not page.in_code:
      page.close()
    else:
      page.say(text)

  def _request(self, name: str, arguments: tuple[str, ...]) -> None:
    page = self._page
    words = ' '.join(arguments)
    if name in _FONTS or name in _ALTERNATING:
      if arguments:
        self._text(''.join(arguments) if name in _ALTERNATING else words)
    elif name == 'SH':
      self._heading('section', words)
    elif name == 'SS':
      self._heading('heading', words)
    elif name in ('PP', 'P', 'LP', 'HP', 'sp', 'Sp'):
      page.close()
    elif name in ('TP', 'TQ'):
      self._wants = 'tag'
    elif name == 'IP':
      page.close()
      if words.strip():
        page.open('item', arguments[0].strip())
    elif name == 'RS':
      page.depth += 1
    elif name == 'RE':
      page.depth = max(0, page.depth - 1)
      page.close()
    elif name in ('nf', 'EX', 'Vb'):
      page.code(True)
    elif name in ('fi', 'EE', 'Ve'):
      page.code(False)
    elif name == 'br' and not page.in_code:
      page.say('\n')
    elif name in ('UR', 'MT'):
      self._link = words
    elif name in ('UE', 'ME'):
      if self._link:
        page.say(f'<{self._link}>{words}')
      self._link = ''
    elif name == 'SY':
      page.say('\n' + words)
    elif name == 'OP':
      page.say(f'[{words}]')
    elif name == 'TS':
      page.code(True)
      self._table = 'format'

  def _heading(self, kind: str, words: str) -> None:
    self._wants = kind
    if words.strip():
      self._text(words)

  def _row(self, line: roff.Line) -> None:
    """A line of a table: its format ends with a full stop, then come rows."""
    if line.name == 'TE':
      self._table = ''
      self._page.code(False)
    elif not line.name:
      text = line.arguments[0]
      if self._table == 'format':
        self._table = 'rows' if text.rstrip().endswith('.') else 'format'
      elif not re.fullmatch(r'[_=\s]*|T[{}].*', text):
        self._page.say('  '.join(text.split('\t')))


# mdoc: words of its own, and what stands around what they are said of.
_MDOC_WORDS = {
  **{'Ux': 'UNIX', 'Bx': 'BSD', 'Fx': 'FreeBSD', 'Nx': 'NetBSD'},
  **{'Ox': 'OpenBSD', 'Dx': 'DragonFly', 'At': 'AT&T UNIX', 'Bt': '', 'Ud': ''},
  **{'Ap': "'", 'Oo': '[', 'Oc': ']', 'Po': '(', 'Pc': ')', 'Bo': '['},
  **{'Bc': ']', 'Ao': '<', 'Ac': '>', 'Bro': '{', 'Brc': '}', 'Do': '"'},
  **{'Dc': '"', 'Qo': '"', 'Qc': '"', 'So': "'", 'Sc': "'", 'Xo': '', 'Xc': ''},
}
_MDOC_AROUND = {
  **{'Op': '[]', 'Pq': '()', 'Bq': '[]', 'Aq': '<>', 'Brq': '{}', 'Dq': '""'},
  **{'Qq': '""', 'Sq': "''", 'Ql': "''"},
}
_MDOC_PLAIN = (
  *('Ad', 'An', 'Ar', 'Cd', 'Cm', 'Dv', 'Em', 'Er', 'Ev', 'Fa', 'Fd', 'Fl'),
  *('Fn', 'Ft', 'Ic', 'In', 'Lb', 'Li', 'Lk', 'Ms', 'Mt', 'Nm', 'No', 'Ns'),
  *('Pa', 'Pf', 'Rv', 'St', 'Sx', 'Sy', 'Tn', 'Va', 'Vt', 'Xr', 'Ex', 'Fo'),
  *('Fc', 'Nd'),
)
_OPENING, _CLOSING = tuple('(['), tuple('.,:;)]?!')


class _Mdoc:
  """The requests of mdoc(7)."""

  def __init__(self, name: str) -> None:
    self._name = name
    self._page = _Page()
    self._lists = 0  # that are open

  def read(self, lines: Sequence[roff.Line]) -> dict[str, list[Block]]:
    """A page's sections.

    Raises:
      entry.MalformedError: it has none.
    """
    page = self._page
    for line in lines:
      name, arguments = line
      if not name:
        page.say(arguments[0])
      elif name == 'Sh':
        page.section(self.words(arguments))
      elif name == 'Ss':
        page.open('heading', self.words(arguments))
        page.close()
      elif name in ('Pp', 'Lp', 'sp'):
        page.close()
      elif name == 'Bl':
        self._lists += 1
      elif name == 'El':
        self._lists = page.depth = max(0, self._lists - 1)
        page.close()
      elif name == 'It':
        # What follows in other blocks lies in the item, one deeper.
        page.depth = max(0, self._lists - 1)
        page.open('item', self.words(arguments) or '-')
        page.depth = self._lists
      elif name == 'Bd':
        page.code('-literal' in arguments or '-unfilled' in arguments)
      elif name == 'Ed':
        page.code(False)
      elif name in ('Dl', 'D1'):
        page.code(True)
        page.say(self.words(arguments))
        page.code(False)
      elif name in _MDOC_PLAIN or name in _MDOC_WORDS or name in _MDOC_AROUND:
        page.say(self.words((name, *arguments)))
    if not page.sections:
      raise entry.MalformedError('no_manual_page')
    return page.sections

  def words(self, tokens: Sequence[str]) -> str:
    """A line of macros as words.

    >>> _Mdoc('tea').words(['Op', 'Fl', 'p', 'Ar', 'pot', ','])
    '[-p pot],'
    """
    said, closing = '', ''
    glue = True  # whether the next word follows without a space
    macro = fresh = ''
    tail = len(tokens)
    while tail and tokens[tail - 1] in _CLOSING:
      tail -= 1
    for i, token in enumerate((*tokens[:tail], '')):
      ends = i == tail or token in _MDOC_PLAIN or token in _MDOC_WORDS
      ends = ends or token in _MDOC_AROUND
      if ends and fresh:  # a macro without a word of its own
        alone = {'Nm': self._name, 'Ar': 'file ...', 'Fl': '-', 'Nd': '-'}
        word = alone.get(fresh, '')
        if word:
          said += ('' if glue else ' ') + word
          glue = False
      if i == tail:
        break
      if token == 'Ns':
        glue, macro, fresh = True, '', ''
      elif token in _MDOC_PLAIN:
        macro = fresh = token
        if token == 'Nd':
          said, fresh, glue = said + ('' if glue else ' ') + '-', '', False
      elif token in _MDOC_AROUND:
        around = _MDOC_AROUND[token]
        said += ('' if glue else ' ') + around[0]
        closing, glue, macro, fresh = around[1] + closing, True, '', ''
      elif token in _MDOC_WORDS:
        word = _MDOC_WORDS[token]
        opens = token.endswith('o')
        near = glue or token.endswith('c') or token == 'Ap'
        said += ('' if near or not word else ' ') + word
        glue, macro, fresh = opens or token == 'Ap', '', ''
      else:
        near = glue or token in _CLOSING
        word = f'-{token}' if macro == 'Fl' and token not in '|()' else token
        if macro == 'Xr' and not fresh and re.fullmatch(r'\d\w*', token):
          word, near = f'({token})', True
        said += ('' if near else ' ') + word
        glue = token in _OPENING or (macro == 'Pf' and bool(fresh))
        fresh = ''
    return said + closing + ''.join(tokens[tail:])


# --- sections -> Tool


def describe(name: str, sections: Mapping[str, Sequence[Block]]) -> tool.Tool:
  """A page's Tool.

  Raises:
    entry.MalformedError: it has no NAME or says nothing else.
  """
  by_title = {title.upper(): blocks for title, blocks in sections.items()}
  named = _prose(by_title.get('NAME', ()))
  if not named:
    raise entry.MalformedError('no_name')
  # 'ls, dir - list directory contents'
  _, dash, summary = re.sub(r'\s+', ' ', named).partition(' - ')
  parameters: list[tool.Parameter] = []
  description = [summary.strip() if dash else named]
  returns, found = '', []
  for title, blocks in sections.items():
    upper = title.upper()
    if upper == 'NAME' or _LEFT_OUT.fullmatch(upper):
      continue
    rest = _options(blocks, parameters.append)
    if upper == 'SYNOPSIS':
      shown = '\n'.join(block.text for block in rest if block.text)
      found.append((title.capitalize(), f'```\n{shown}\n```' if shown else ''))
    elif upper == 'DESCRIPTION':
      description.append(_prose(rest))
    elif upper == 'RETURN VALUE':
      returns = _prose(rest)
    else:
      found.append((title.capitalize(), _prose(rest)))
  said = '\n\n'.join(text for text in description if text)
  kept = tuple((title, text) for title, text in found if text)
  if not parameters and not kept and len(description) < 2:
    raise entry.MalformedError('too_short')
  return tool.Tool(
    name=name,
    description=said,
    parameters=tuple(parameters),
    returns=returns,
    sections=kept,
  )


def _options(
  blocks: Sequence[Block], add: Callable[[tool.Parameter], None]
) -> list[Block]:
  """Hands options to `add`, with what lies below them; returns the rest."""
  rest: list[Block] = []
  option: Block | None = None
  below: list[str] = []

  def finish() -> None:
    if option is not None:
      text = '\n'.join([option.text, *below]).strip()
      add(tool.Parameter(name=option.tag, description=text))

  for block in blocks:
    inner = option is not None and block.depth > option.depth
    if inner:
      below.append(_shown(block))
    elif block.kind == 'item' and _OPTION.match(block.tag):
      finish()
      option, below = block, []
      if block.text == '' and block.depth == 0:
        continue
    else:
      finish()
      option = None
      rest.append(block)
  finish()
  return rest


def _prose(blocks: Sequence[Block]) -> str:
  """Blocks as markdown."""
  shown = [(block, _shown(block)) for block in blocks]
  kept = [(block, text) for block, text in shown if text]
  parts = []
  for i, (block, text) in enumerate(kept):
    follows = i and block.kind == kept[i - 1][0].kind == 'item'
    parts.append(('\n' if follows else '\n\n') + text)
  return ''.join(parts).strip('\n')


def _shown(block: Block) -> str:
  if block.kind == 'heading':
    return f'### {block.tag}'
  if block.kind == 'code':
    return f'```\n{block.text}\n```' if block.text else ''
  indent = '  ' * min(block.depth, MAX_INDENT)
  if block.kind == 'item':
    mark = '' if block.tag in ('•', '*', '-', 'o', '·') else f'{block.tag}: '
    text = f'{indent}- {mark}{block.text}'.rstrip(': ')
    return text.replace('\n', f'\n{indent}  ')
  return indent + block.text
