"""Documentation files: HTML, CNXML, and marked-up text that is read as it is.

HTML and XML become their words, block by block; no bullet, hash or backtick is
put in, so what stands in the result stands in the page. The parsers call back
as they read: no tree is built, and nesting costs nothing.
"""

import re
from collections.abc import Mapping
from typing import Any

from lxml import etree

from hephaestus_jax.corpus.adapters import entry, fields, parts

_PARAGRAPHS = frozenset(
  (
    *('address', 'article', 'aside', 'blockquote', 'body', 'details', 'div'),
    *('dl', 'fieldset', 'figcaption', 'figure', 'footer', 'form', 'h1', 'h2'),
    *('h3', 'h4', 'h5', 'h6', 'header', 'hr', 'main', 'ol', 'p', 'pre'),
    *('section', 'summary', 'table', 'ul'),
    # CNXML
    *('caption', 'content', 'definition', 'document', 'equation', 'example'),
    *('exercise', 'glossary', 'injected-exercise', 'list', 'note', 'para'),
    *('problem', 'proof', 'quote', 'rule', 'solution', 'statement', 'title'),
  )
)
_LINES = frozenset(
  ('br', 'dd', 'dt', 'item', 'li', 'meaning', 'newline', 'row', 'tr')
)
_CELLS = frozenset(('td', 'th', 'entry'))
_LITERAL = frozenset(('pre', 'textarea', 'listing', 'xmp', 'preformat'))
_SKIPPED = frozenset(
  (
    # What no reader sees, and what leads elsewhere.
    *('head', 'iframe', 'nav', 'noscript', 'script', 'style', 'svg'),
    'template',
    # MathML's other writing of a formula; CNXML's facts about a module.
    *('annotation-xml', 'metadata'),
  )
)
_SKIPPED_CLASSES = frozenset(
  # '¶' and '[source]' beside Sphinx's headings; its side bars; a formula's
  # second writing.
  ('headerlink', 'viewcode-link', 'sphinxsidebar', 'related', 'katex-html')
)


def page(record: Any) -> parts.Segments:
  """A documentation file that is text as it is: Markdown, RST, plain text."""
  return parts.segments(('documentation', fields.text(record, 'text')))


def html(record: Any) -> parts.Segments:
  """A documentation file in HTML, whole or a fragment.

  >>> html({'path': 'abs.html', 'text':
  ...   '<h1>abs<a class="headerlink" href="#abs">¶</a></h1><p>Takes <code>x'
  ...   '</code> &amp; <em>more</em>.</p><pre>>>> abs(-1)\\n1</pre>'})
  (Segment(role='documentation',
    text='abs\\n\\nTakes x & more.\\n\\n>>> abs(-1)\\n1'),)

  Raises:
    entry.MalformedError: 'no_words', 'not_html', 'not_unicode', ...
  """
  parser = etree.HTMLParser(target=_Words(), encoding='utf-8')
  return parts.segments(('documentation', _read(record, parser, 'not_html')))


def crawled(record: Any) -> parts.Segments:
  """A page of CommonCrawl as it was fetched: HTML becomes its words.

  Raises:
    entry.MalformedError: 'not_a_page': the archive's own records, pictures.
  """
  kind = fields.optional_text(record, 'content_type')
  if (
    fields.optional_text(record, 'type') != 'response'
    or 'html' not in kind.lower()
  ):
    raise entry.MalformedError('not_a_page')
  (whole,) = html(record)
  return parts.segments(('text', whole.text))


def extracted(record: Any) -> parts.Segments:
  """A page of CommonCrawl's WET files: the text that they took from it.

  Raises:
    entry.MalformedError: 'not_a_page': the archive's own records.
  """
  if fields.optional_text(record, 'type') != 'conversion':
    raise entry.MalformedError('not_a_page')
  return parts.segments(('text', fields.text(record, 'text')))


def cnxml(record: Any) -> parts.Segments:
  """A module of an OpenStax book; its pictures' descriptions are left out.

  >>> cnxml({'path': 'm1/index.cnxml', 'text':
  ...   '<document xmlns="http://cnx.rice.edu/cnxml"><title>Programs</title>'
  ...   '<metadata><a>m1</a></metadata><content><para>Run <code>a b</code>.'
  ...   '</para><code>if x:\\n  y()</code></content></document>'})
  (Segment(role='text', text='Programs\\n\\nRun a b.\\n\\nif x:\\n  y()'),)

  Raises:
    entry.MalformedError: 'no_words', 'not_xml', 'not_unicode', ...
  """
  parser = etree.XMLParser(
    target=_Words(literal=_LITERAL | {'code'}),
    encoding='utf-8',  # the text's, whatever the file declares
    resolve_entities=False,
  )
  return parts.segments(('text', _read(record, parser, 'not_xml')))


def _read(record: Any, parser: etree.XMLParser, reason: str) -> str:
  source = fields.text(record, 'text').replace('\0', ' ')
  try:
    text = etree.fromstring(source.encode(), parser)
  except UnicodeEncodeError:
    raise entry.MalformedError('not_unicode') from None
  except etree.LxmlError:
    raise entry.MalformedError(reason) from None
  if not text:
    raise entry.MalformedError('no_words')
  return str(text)


class _Words:
  """What a parser calls: collects a page's words, a line or block at a time."""

  def __init__(self, literal: frozenset[str] = _LITERAL) -> None:
    """Keeps the white space of `literal` elements."""
    self._literal_tags = literal
    self._text: list[str] = []
    self._line: list[str] = []
    self._break = 0  # newlines before the next line
    self._formula = 0  # where in the line the last one began
    self._skipping = 0  # depth in an element that is left out
    self._literal = 0  # depth in elements whose white space counts
    self._kept = False  # whether the line has white space that counts

  def start(self, tag: str, attributes: Mapping[str, str]) -> None:
    """An element begins."""
    name = _local(tag)
    classes = attributes.get('class', '').split()
    if (
      self._skipping
      or name in _SKIPPED
      or not _SKIPPED_CLASSES.isdisjoint(classes)
    ):
      self._skipping += 1
      return
    if self._literal:
      # A browser's line break; what else is in it leaves the lines alone.
      self._line.append('\n' if name in ('br', 'newline') else '')
    else:
      self._edge(name)
    if name in _CELLS and self._line:
      self._line.append('\t')
    if name == 'math':
      self._formula = len(self._line)
    if name == 'annotation':
      # The formula in TeX, after its symbols without their places.
      del self._line[self._formula :]
    self._literal += name in self._literal_tags

  def end(self, tag: str) -> None:
    """An element ends."""
    if self._skipping:
      self._skipping -= 1
      return
    name = _local(tag)
    if name in self._literal_tags and self._literal:
      self._literal -= 1
    if not self._literal:
      self._edge(name)

  def data(self, text: str) -> None:
    """Text between tags."""
    if self._skipping:
      return
    if self._literal:
      broken = self._line[-1:] == ['\n'] and text.startswith('\n')
      self._line.append(text[broken:])
      self._kept = True
    elif self._line or not text.isspace():
      self._line.append(_SPACE.sub(' ', text))

  def close(self) -> str:
    """All words."""
    self._end_line(0)
    return ''.join(self._text)

  def _edge(self, name: str) -> None:
    if name in _PARAGRAPHS:
      self._end_line(2)
    elif name in _LINES:
      self._end_line(1)

  def _end_line(self, newlines: int) -> None:
    line = ''.join(self._line)
    if self._kept:
      line = line.strip('\n').rstrip()
    else:
      cells = (' '.join(cell.split()) for cell in line.split('\t'))
      line = '\t'.join(cells).strip()
    if line.strip():
      self._text.append('\n' * self._break * bool(self._text) + line)
      self._break = 0
    self._break = max(self._break, newlines)
    self._line.clear()
    self._kept = False


_SPACE = re.compile(r'\s+')


def _local(tag: str) -> str:
  """'para' of '{http://cnx.rice.edu/cnxml}para'."""
  return tag.rpartition('}')[2]
