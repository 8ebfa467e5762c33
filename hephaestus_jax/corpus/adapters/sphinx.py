"""Sphinx documentation -> a page per function, class, option; and its prose.

Two forms of the same: the HTML that Sphinx writes, and the reStructuredText
sources that it puts beside it (`_sources/*.rst.txt`). Any other HTML page has
no definitions and gives its prose alone.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from lxml import etree
from lxml import html as lxml_html

from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.adapters import (
  docstrings,
  entry,
  markup,
  signatures,
  tool,
)

MIN_DEFINITION = 100  # characters of a page; shorter ones name, not explain
MIN_PROSE = 200  # characters of a page beside its definitions
_KINDS = (
  *('function', 'class', 'method', 'classmethod', 'staticmethod', 'exception'),
  *('attribute', 'property', 'data', 'decorator', 'decoratormethod', 'macro'),
  *('coroutinefunction', 'coroutinemethod', 'abstractmethod', 'type', 'member'),
  *('option', 'envvar', 'opcode', 'describe', 'cmdoption', 'struct', 'enum'),
)
_RST = re.compile(r'(.+)\.rst(\.txt)?')
_HTML = re.compile(r'(.+)\.x?html?')


class Definition(NamedTuple):
  """What a page defines.

  Attributes:
    name: dotted, 'heapq.heappush'.
    described: as a Tool.
  """

  name: str
  described: tool.Tool


def definitions(
  path: str, content: bytes
) -> Iterator[entry.Entry | entry.Flaw]:
  """The definitions of a page in its order, then its prose.

  Args:
    path: of the file; its ending tells its form.
    content: HTML or reStructuredText.

  Raises:
    entry.MalformedError: it can't be read at all.
  """
  match = _RST.fullmatch(path)
  page = (match or _HTML.fullmatch(path) or [path, path])[1]
  group = page.rsplit('/', 1)[-1] or 'unnamed'
  found, prose = _rst(content) if match else _html(content)
  seen: dict[str, int] = {}
  for name, described in found:
    again = seen.get(name, 0)
    seen[name] = again + 1
    place = f'{page}/{name}#{again}' if again else f'{page}/{name}'
    text = tool.markdown(described)
    if len(text) < MIN_DEFINITION:
      yield entry.Flaw(group, place, 'too_short')
      continue
    yield entry.Entry(group, place, (document.Segment('documentation', text),))
  if len(prose) >= MIN_PROSE:
    segments = (document.Segment('documentation', prose),)
    yield entry.Entry(group, page, segments)
  else:
    yield entry.Flaw(group, page, 'little_prose')


# --- HTML

_DEFINED = 'self::dl and dt[@id] and ({})'.format(
  ' or '.join(
    f'contains(concat(" ", normalize-space(@class), " "), " {kind} ")'
    for kind in _KINDS
  )
)
_FIELDS = 'self::dl and contains(concat(" ", @class, " "), " field-list ")'
_LEFT_OUT = (
  '//script|//style|//nav|//header|//footer|//noscript|//*[@role="navigation"]'
  '|//*[@role="search"]|//a[contains(@class, "headerlink")]'
  '|//a[span[contains(@class, "viewcode-link")]]'
  '|//*[contains(@class, "viewcode-link")]'
  '|//*[contains(@class, "sphinxsidebar")]'
  '|//*[contains(concat(" ", @class, " "), " related ")]'
)
# The name that elements get which are not to be read (again).
_DROPPED = 'dropped'
_BLOCKS = (
  *('p', 'div', 'section', 'article', 'main', 'body', 'blockquote', 'figure'),
  *('dl', 'ul', 'ol', 'table', 'pre', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6'),
  *('aside', 'details', 'summary', 'form', 'fieldset', 'hr', 'center'),
)


def _html(content: bytes) -> tuple[list[Definition], str]:
  """The definitions and the prose of an HTML page."""
  declared = re.search(rb'charset=["\']?([\w-]+)', content[:2_000])
  try:
    encoding = declared[1].decode() if declared else 'utf-8'
    text = content.decode(encoding, errors='replace')
  except LookupError:
    text = content.decode('utf-8', errors='replace')
  text = re.sub(r'^\s*<\?xml[^>]*>', '', text.replace('\0', ''))
  if not text.strip():
    raise entry.MalformedError('empty_page')
  try:
    root = lxml_html.document_fromstring(text)
  except (etree.LxmlError, ValueError):
    raise entry.MalformedError('not_html') from None
  for node in root.xpath(_LEFT_OUT):
    node.tag = _DROPPED
  main = root.xpath('//*[@role="main"]|//main|//article|//body') or [root]
  chosen = next((n for n in main if n.tag != 'body'), main[0])
  found = []
  # From the inside out: a class loses its methods before it is written.
  lists = chosen.xpath(f'.//dl[{_DEFINED}]')
  for number, node in enumerate(reversed(lists)):
    for name, described in _defined(node):
      found.append((len(lists) - number, Definition(name, described)))
    node.tag = _DROPPED
  found.sort(key=lambda pair: pair[0])
  return [d for _, d in found], '\n\n'.join(_blocks(chosen))


def _defined(node: Any) -> Iterator[Definition]:
  """The definitions of one list, of which several may share a text."""
  heads: list[Any] = []
  for child in node:
    if child.tag == 'dt':
      heads.append(child)
    elif child.tag == 'dd' and heads:
      yield from _described(heads, child)
      heads = []
  if heads:
    yield from _described(heads, None)


def _described(heads: Sequence[Any], body: Any) -> Iterator[Definition]:
  written = [' '.join(_words(head).replace('`', '').split()) for head in heads]
  told: list[tool.Parameter] = []
  returns: list[str] = []
  sections: list[tuple[str, str]] = []
  example = ''
  if body is not None:
    for fields in body.xpath(f'./dl[{_FIELDS}]'):
      _fields(fields, told, returns, sections)
      fields.tag = _DROPPED
    shown = body.xpath('.//pre')
    if shown:
      example = shown[0].text_content().strip('\n')
      shown[0].tag = _DROPPED
  text = '\n\n'.join(_blocks(body)) if body is not None else ''
  head = '\n'.join(written)
  name = heads[0].get('id') or re.split(r'[\s(]', written[0])[0]
  yield Definition(
    name,
    tool.Tool(
      name=name,
      description=f'```python\n{head}\n```' + (f'\n\n{text}' if text else ''),
      parameters=signatures.described(written[0], tuple(told)),
      returns=' '.join(returns),
      sections=tuple(sections),
      example=example,
    ),
  )


def _fields(
  fields: Any,
  told: list[tool.Parameter],
  returns: list[str],
  sections: list[tuple[str, str]],
) -> None:
  """A field list: Parameters, Returns, Return type, Raises, ..."""
  title = ''
  for child in fields:
    if child.tag == 'dt':
      title = ' '.join(child.text_content().split()).rstrip(':')
    elif child.tag != 'dd':
      continue
    elif title in ('Parameters', 'Keyword Arguments', 'Variables'):
      items = child.xpath('./ul/li') or [child]
      told += [_parameter(item) for item in items]
    elif title in ('Returns', 'Yields', 'Return type', 'Yield type'):
      said = ' '.join(_blocks(child))
      kind = title.endswith('type')
      returns.append(f'({said})' if kind else said)
    else:
      sections.append((title, '\n\n'.join(_blocks(child))))


def _parameter(item: Any) -> tool.Parameter:
  """'**p** (int, optional) – the order' -> Parameter('p', 'int', ...)."""
  said = ' '.join(_blocks(item)).replace('`', '')
  match = re.match(
    r'(\*{0,2}[\w.]+)\s*(?:\((.*?)\))?\s*[–—-]+\s*(.*)', said, re.DOTALL
  )
  if not match:
    return tool.Parameter(said)
  kind = re.sub(r'\s*,\s*', ', ', match[2] or '')
  default = re.search(r'\s*[Dd]efault: (\S+)', match[3])
  meaning = match[3].replace(default[0], '') if default else match[3]
  return tool.Parameter(
    name=match[1],
    type=kind.removesuffix('optional').rstrip(' ,'),
    description=meaning.strip(),
    required='optional' not in kind,
    default=default[1].rstrip('.,;') if default else '',
  )


def _blocks(node: Any) -> list[str]:
  """An element's content as paragraphs of markdown."""
  found: list[str] = []
  words: list[str] = [node.text or '']

  def flush() -> None:
    text = ' '.join(''.join(words).split())
    if text:
      found.append(text)
    words.clear()

  for child in node:
    if child.tag in _BLOCKS:
      flush()
      found += _block(child)
    elif child.tag in ('li', 'dt', 'dd', 'td', 'th', 'tr', 'tbody', 'thead'):
      flush()
      found += _blocks(child)
    else:
      words.append(_inline(child))
    words.append(child.tail or '')
  flush()
  return found


def _block(node: Any) -> list[str]:
  if node.tag == 'pre':
    text = node.text_content().strip('\n')
    return [f'```\n{text}\n```'] if text.strip() else []
  if node.tag in ('ul', 'ol', 'dl'):
    items = []
    for child in node:
      text = '\n'.join(_blocks(child)).strip()
      if text:
        lead = '  ' if child.tag == 'dd' else '- '
        items.append(lead + text.replace('\n', '\n  '))
    return ['\n'.join(items)] if items else []
  if node.tag == 'table':
    rows = [
      ' | '.join(' '.join(_blocks(cell)) for cell in row.xpath('./td|./th'))
      for row in node.xpath('.//tr')
    ]
    return ['\n'.join(row for row in rows if row.strip(' |'))]
  text = _blocks(node)
  if re.fullmatch(r'h[1-6]', node.tag):
    return [f'{"#" * int(node.tag[1])} {" ".join(text)}'] if text else []
  return text


def _inline(node: Any) -> str:
  """An element within a line."""
  if node.tag == _DROPPED or not isinstance(node.tag, str):  # a comment
    return ''
  if node.tag == 'br':
    return '\n'
  if node.tag in ('code', 'tt'):
    text = ' '.join(node.text_content().split())
    return f'`{text}`' if text and '`' not in text else text
  return _words(node)


def _words(node: Any) -> str:
  parts = [node.text or '']
  for child in node:
    parts += [_inline(child), child.tail or '']
  return ''.join(parts)


# --- reStructuredText

_DIRECTIVE = re.compile(
  r'( *)\.\. +(?:(?:py|c|cpp|js|std):)?'
  rf'({"|".join(_KINDS)}|module|currentmodule|program|class):: *(.*)'
)


def _rst(content: bytes) -> tuple[list[Definition], str]:
  """The definitions and the prose of a reStructuredText source."""
  try:
    lines = content.decode('utf-8-sig').expandtabs().splitlines()
  except UnicodeDecodeError:
    raise entry.MalformedError('not_utf8') from None
  found: list[tuple[list[str], str, list[str]]] = []
  prose: list[str] = []
  # Open definitions: (indentation, lines that are its text).
  open_: list[tuple[int, str, list[str]]] = []
  module = ''
  i = 0
  while i < len(lines):
    line = lines[i]
    i += 1
    indent = len(line) - len(line.lstrip(' '))
    while line.strip() and open_ and indent <= open_[-1][0]:
      open_.pop()
    match = _DIRECTIVE.fullmatch(line)
    if not match or match[2] == 'program':
      (open_[-1][2] if open_ else prose).append(line)
      continue
    if match[2] in ('module', 'currentmodule'):
      module = match[3].strip()
      continue
    heads = [match[3]]
    while heads[-1].endswith('\\') and i < len(lines):
      heads[-1] = heads[-1][:-1] + lines[i].strip()
      i += 1
    # Further signatures stand below the first.
    while i < len(lines) and (more := lines[i].strip()):
      if more.startswith((':', '..')):
        break
      heads.append(more)
      i += 1
    owner = open_[-1][1] if open_ else module
    option = match[2] in ('option', 'cmdoption', 'envvar', 'opcode')
    name = _qualified(heads[0], '' if option else owner)
    text: list[str] = []
    found.append((heads, name, text))
    open_.append((indent, name, text))
  return (
    [_defined_rst(heads, name, text) for heads, name, text in found],
    markup.rst_text('\n'.join(prose)),
  )


def _qualified(head: str, owner: str) -> str:
  """The dotted name of a signature within a module or class.

  >>> _qualified('heappush(heap, item)', 'heapq')
  'heapq.heappush'
  """
  bare = head.split('(')[0].strip()
  bare = re.sub(r'^(?:class|async|static|classmethod|property)\s+', '', bare)
  if not owner or bare.startswith(owner + '.'):
    return bare or head
  # 'date.today' in the class datetime.date: the class is named again.
  last = owner.rsplit('.', 1)[-1]
  if bare.startswith(last + '.'):
    return f'{owner.removesuffix(last)}{bare}'
  return f'{owner}.{bare}'


def _defined_rst(
  heads: Sequence[str], name: str, text: Sequence[str]
) -> Definition:
  body = [*text]
  while body and re.match(r'\s*:[\w-]+:', body[0]) and ':param' not in body[0]:
    body.pop(0)  # the directive's own options
  flush = docstrings.read(name, '', _dedented(body))
  signature = '\n'.join(head.strip() for head in heads)
  said = f'```python\n{signature}\n```'
  if flush.description:
    said += f'\n\n{flush.description}'
  told = signatures.described(heads[0], flush.parameters)
  return Definition(
    name,
    tool.Tool(
      **{**vars(flush), 'description': said, 'parameters': told, 'name': name}
    ),
  )


def _dedented(lines: Sequence[str]) -> str:
  margins = [len(line) - len(line.lstrip()) for line in lines if line.strip()]
  margin = min(margins, default=0)
  return '\n'.join(line[margin:] for line in lines).strip('\n')
