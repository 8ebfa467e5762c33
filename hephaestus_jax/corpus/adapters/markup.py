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


_ROLE = re.compile(r':[a-z][\w:.+-]*:`~?([^`<]*?)(?:\s*<[^`>]*>)?`')
_LINK = re.compile(r'`([^`<]+?)\s*<[^`>]*>`_{0,2}')
_DIRECTIVE = re.compile(
  r'^[ \t]*\.\. +(?:(note|warning|tip|deprecated|seealso|important)::[ \t]*(.*)'
  r'|(?:versionadded|versionchanged|code-block|highlight|plot|currentmodule|'
  r'rubric|ipython|index|only|engine-support|doctest|testcode|autosummary|toctree|minigallery|codeauthor|sectionauthor|moduleauthor)::.*|\[#?\w+\]|_[^:\n]+:.*)$',
  re.MULTILINE,
)


def rst_text(source: str) -> str:
  """reStructuredText as text: roles, links and directives lose their syntax.

  >>> rst_text('Like :func:`~np.sum`, see `here <http://a>`__ ``x``::')
  'Like `np.sum`, see here `x`:'
  """
  source = _ROLE.sub(r'`\1`', source)
  source = _LINK.sub(r'\1', source)
  source = source.replace('``', '`')
  source = _DIRECTIVE.sub(_directive, source)
  source = re.sub(r'^[ \t]*\.\. math::[ \t]*', '', source, flags=re.MULTILINE)
  source = re.sub(r'\s*::[ \t]*$', ':', source, flags=re.MULTILINE)
  lines = [line.rstrip() for line in source.strip('\n').split('\n')]
  return re.sub(r'\n{3,}', '\n\n', '\n'.join(lines)).strip()


def _directive(match: re.Match[str]) -> str:
  """'.. note:: Slow.' -> 'Note: Slow.'; layout directives vanish."""
  if not match[1]:
    return ''
  return f'{match[1].capitalize()}: {match[2]}'.strip()
