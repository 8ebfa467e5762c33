"""Docstrings of numpy's and Sphinx's conventions -> Tool."""

import inspect
import re
from collections.abc import Iterable, Iterator

from hephaestus_jax.corpus.adapters import markup, tool

_HEADING = re.compile(r'^(\S[^\n]*)\n[ \t]*([-=~])\2{2,}[ \t]*$', re.MULTILINE)
_PARAMETERS = ('Parameters', 'Other Parameters', 'Arguments')
_KEPT = ('Attributes', 'Raises', 'Notes', 'Methods', 'See Also', 'Warns')
_SECTION_LIMIT = 2_000  # characters of a kept section
_EXAMPLE_LIMIT = 1_200


def read(name: str, signature: str, docstring: str) -> tool.Tool:
  """A Tool of a function or class.

  Args:
    name: dotted.
    signature: 'add(a, b=1)', '' where there is none.
    docstring: cleaned of its indentation (`inspect.cleandoc`).
  """
  if re.search(r'^:(param|type|return|rtype)\b', docstring, re.MULTILINE):
    return _sphinx(name, signature, docstring)
  return _numpy(name, signature, docstring)


def _numpy(name: str, signature: str, docstring: str) -> tool.Tool:
  sections = dict(_sections(docstring))
  introduction, example = _split_example(sections.pop('', ''))
  parameters = tuple(
    parameter
    for title in _PARAMETERS
    for parameter in _numpy_parameters(sections.get(title, ''))
  )
  returns = '\n\n'.join(
    markup.rst_text(_flush(sections[title]))
    for title in ('Returns', 'Yields')
    if title in sections
  )
  shown = sections.get('Examples', sections.get('Example', example))
  return tool.Tool(
    name=name,
    description=_description(signature, introduction),
    parameters=parameters,
    returns=returns,
    example=_first_blocks(shown, _EXAMPLE_LIMIT),
    sections=tuple(
      (title, text)
      for title in _KEPT
      if title in sections
      and (text := markup.rst_text(_flush(sections[title])))
      and len(text) <= _SECTION_LIMIT
    ),
  )


def _description(signature: str, introduction: str) -> str:
  call = f'```python\n{signature}\n```' if signature else ''
  return '\n\n'.join(t for t in (call, markup.rst_text(introduction)) if t)


def _sections(docstring: str) -> Iterator[tuple[str, str]]:
  """(title, text) of underlined sections; the first has no title."""
  title, start = '', 0
  for match in _HEADING.finditer(docstring):
    yield title, docstring[start : match.start()].strip('\n')
    title, start = match[1].strip().rstrip(':'), match.end()
  yield title, docstring[start:].strip('\n')


def _split_example(text: str) -> tuple[str, str]:
  """The words before the first interpreter prompt, and the rest."""
  match = re.search(r'^[ \t]*>>>', text, re.MULTILINE)
  if not match:
    return text, ''
  return text[: match.start()], text[match.start() :]


def _numpy_parameters(section: str) -> Iterator[tool.Parameter]:
  """'a : int, optional\\n    The first.' -> Parameter('a', 'int', ...)."""
  blocks = re.split(r'\n(?=\S)', section)
  for block in blocks:
    head, _, text = block.partition('\n')
    head, _, kind = head.partition(':')
    if not re.fullmatch(r'[\w*., ]+', head.strip()) or not head.strip():
      continue
    default = re.search(r'default\s*[:=]?\s*([^,;)\s][^,;)]*)', kind)
    parts = [
      part.strip()
      for part in _split_outside_brackets(kind)
      if part.strip() and not re.match(r'optional|default', part.strip())
    ]
    yield tool.Parameter(
      name=head.strip(),
      type=markup.rst_text(', '.join(parts)),
      description=' '.join(markup.rst_text(inspect.cleandoc(text)).split()),
      required='optional' not in kind and default is None,
      default=default[1].strip().strip('`') if default else '',
    )


def _split_outside_brackets(text: str) -> Iterable[str]:
  """'{1, 2}, int' -> ['{1, 2}', ' int']."""
  return re.split(r',(?![^{\[(]*[}\])])', text)


def _sphinx(name: str, signature: str, docstring: str) -> tool.Tool:
  first = re.search(r'^:\w+[^:\n]*:', docstring, re.MULTILINE)
  start = first.start() if first else len(docstring)
  introduction, example = _split_example(docstring[:start])
  fields: dict[tuple[str, str], str] = {}
  end = start
  for match in re.finditer(
    r'^:(\w+)[ \t]*([^:\n]*):[ \t]*(.*(?:\n[ \t]+.*|\n(?=[ \t]*\n[ \t]+\S))*)',
    docstring[start:],
    re.MULTILINE,
  ):
    fields.setdefault((match[1], match[2].strip()), match[3])
    end = start + match.end()
  parameters = []
  for (field, words), text in fields.items():
    if field not in ('param', 'parameter', 'keyword', 'arg') or not words:
      continue
    # ':param int size:' gives the type before the name.
    *inline, parameter = words.split()
    kind = fields.get(
      ('type', parameter),
      fields.get(('paramtype', parameter), ' '.join(inline)),
    )
    text = ' '.join(markup.rst_text(text).split())
    default = re.search(r'Default value is ([^.]+)\.?', text)
    text = re.sub(r'\s*Default value is [^.]+\.?', '', text)
    required = bool(re.search(r'\(required\)|\bRequired\.', text))
    text = re.sub(r'\s*\(required\)|\s*\bRequired\.$', '', text).strip()
    parameters.append(
      tool.Parameter(
        name=parameter,
        type=markup.rst_text(' '.join(kind.split())).replace(', optional', ''),
        description=text,
        required=required or text == 'Required.',
        default=default[1] if default else '',
      )
    )
  returned = fields.get(('return', ''), fields.get(('returns', ''), ''))
  kind = ' '.join(fields.get(('rtype', ''), '').split())
  returns = ' '.join(markup.rst_text(returned).split())
  if kind and kind not in returns:
    returns = f'{returns} ({kind})'.strip()
  return tool.Tool(
    name=name,
    description=_description(signature, introduction),
    parameters=tuple(parameters),
    returns=returns,
    example=_first_blocks(example or docstring[end:], _EXAMPLE_LIMIT),
  )


def _first_blocks(text: str, limit: int) -> str:
  """The first interpreter blocks that fit, without the words between."""
  kept: list[str] = []
  for block in re.split(r'\n[ \t]*\n', text):
    lines = inspect.cleandoc(block)
    if not lines.startswith('>>>'):
      continue
    if sum(map(len, kept)) + len(lines) > limit:
      break
    kept.append(re.sub(r'[ \t]*# *doctest:.*', '', lines))
  return '\n\n'.join(kept)


def _flush(text: str) -> str:
  """A section's text without a common indentation."""
  return inspect.cleandoc('\n' + text)
