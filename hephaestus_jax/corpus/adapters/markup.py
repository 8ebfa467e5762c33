"""Markup that documentation comes in -> plain text with light markdown."""

import html
import re

_PARAGRAPH = re.compile(
  r'</?(?:p|div|ul|ol|dl|pre|h\d|table|tr)\b[^>]*>|<br */?>'
)
_ITEM = re.compile(r'<(?:li|dt)\b[^>]*>\s*(?:<p>)?')
_NOTE = re.compile(r'<(note|important|caution)>\s*(?:<p>)?')
_CODE = re.compile(r'<code\b[^>]*>([^<`]*)</code>')
_TAG = re.compile(r'</?[a-zA-Z][^<>]*>|<!--.*?-->', re.DOTALL)


def html_text(source: str) -> str:
  """HTML of service models as text; words keep their order, links their words.

  >>> html_text('<p>Lists <code>tags</code>.</p><ul><li><p>A &amp; B</p></li>'
  ...           '</ul><note><p>Slow.</p></note>')
  'Lists `tags`.\\n- A & B\\nNote: Slow.'
  """
  if '<' in source:
    source = _CODE.sub(lambda match: f'`{match[1].strip()}`', source)
    source = _NOTE.sub(lambda match: f'\n{match[1].capitalize()}: ', source)
    source = _ITEM.sub('\n- ', source)
    source = _PARAGRAPH.sub('\n', source)
    source = _TAG.sub('', source)
  if '&' in source:
    source = html.unescape(source)
  lines = (' '.join(line.split()) for line in source.split('\n'))
  return '\n'.join(line for line in lines if line and line != '-')
