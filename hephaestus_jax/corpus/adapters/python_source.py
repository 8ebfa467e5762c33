"""Python files: documentation, interpreter sessions and code."""

import ast
import collections
import doctest
import hashlib
import re
from collections.abc import Iterator, Sequence

from hephaestus_jax import chat
from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.adapters import (
  docstrings,
  entry,
  groups,
  markup,
  tool,
)
from hephaestus_jax.corpus.files import archive

FILES_PER_PACKAGE = 320  # of code; else two packages would be half of it
MIN_CODE, MAX_CODE = 200, 80_000  # characters; beyond lie stubs and tables
MIN_DOCUMENTATION = 150

PYTHON = tool.Tool(
  name='python',
  description='Runs Python code in a session that keeps its variables, and '
  'returns what it prints.',
  parameters=(tool.Parameter('code', 'string', 'Python code.', required=True),),
)

_NOT_LIBRARY = re.compile(
  r'(^|/)(tests?|testing|_?benchmarks?|_vendor|vendored|externals|_examples)/'
  r'|(^|/)(conftest|test_\w+|\w+_test)\.py$'
)
# Written by code generators: a thousand variations of one file; and awscli's
# copy of botocore, which is read from its own package.
_REPEATED = re.compile(
  r'/aaz/|kubernetes/(aio|client)/|pydo/(aio/)?operations/|_pb2\.py$|'
  r'awscli/botocore/'
)


def modules(names: Sequence[str]) -> list[str]:
  """A package's own Python files, without tests and vendored code."""
  return [
    name
    for name in sorted(names)
    if name.endswith('.py') and not _NOT_LIBRARY.search('/' + name)
  ]


def code_files(names: Sequence[str]) -> list[str]:
  """At most FILES_PER_PACKAGE modules, chosen by a hash of their names."""
  written = [n for n in modules(names) if not _REPEATED.search(n)]
  written.sort(key=lambda name: hashlib.sha256(name.encode()).digest())
  return sorted(written[:FILES_PER_PACKAGE])


def code(
  opened: archive.Opened, member: str
) -> Iterator[entry.Entry | entry.Flaw]:
  """A module -> its code without the licence at its head."""
  group = groups.python_module(member)
  text = without_licence(_text(opened, member)).strip('\n')
  if len(text) < MIN_CODE:
    yield entry.Flaw(group, member, 'too_short')
  elif len(text) > MAX_CODE:
    yield entry.Flaw(group, member, 'too_long')
  else:
    yield entry.Entry(group, member, (document.Segment('code', text + '\n'),))


_LEGAL = re.compile(
  r'copyright|licen[sc]e|^#!|coding[:=]|all rights reserved|# *authors?:',
  re.IGNORECASE | re.MULTILINE,
)


def without_licence(source: str) -> str:
  """Code without the comments near its head that say who owns it.

  >>> without_licence('#!/bin/x\\n# Copyright A. Me\\n\\n# Adds.\\na = 1\\n')
  '\\n# Adds.\\na = 1\\n'
  """

  def unless_legal(match: re.Match[str]) -> str:
    return '' if _LEGAL.search(match[0]) else match[0]

  head, rest = source[:4_000], source[4_000:]
  return re.sub(r'^(#[^\n]*\n)+', unless_legal, head, flags=re.M) + rest


def documentation(
  opened: archive.Opened, member: str
) -> Iterator[entry.Entry | entry.Flaw]:
  """A module -> a page per public function, class and method."""
  group = groups.python_module(member)
  for name, node, text in _definitions(opened, member):
    path = name.split('#')[0]
    if any(part.startswith('_') for part in path.split('.')[1:]):
      continue
    described = docstrings.read(path, _signature(path, node), text)
    page = tool.markdown(described)
    if len(page) < MIN_DOCUMENTATION:
      yield entry.Flaw(group, name, 'too_short')
    else:
      yield entry.Entry(group, name, (document.Segment('documentation', page),))


def sessions(
  opened: archive.Opened, member: str
) -> Iterator[entry.Entry | entry.Flaw]:
  """A module -> an interpreter session per docstring that has one."""
  if b'>>>' not in opened.read(member):
    return
  group = groups.python_module(member)
  system = chat.system_prompt([tool.schema(PYTHON, {})])
  for name, _, text in _definitions(opened, member):
    if '>>>' not in text:
      continue
    try:
      turns = _session(name.split('#')[0], text)
    except ValueError:
      yield entry.Flaw(group, name, 'malformed_session')
      continue
    if not any(segment.role == 'observation' for segment in turns):
      yield entry.Flaw(group, name, 'no_output')
      continue
    yield entry.Entry(group, name, (document.Segment('system', system), *turns))


def _session(name: str, docstring: str) -> tuple[document.Segment, ...]:
  """A docstring's examples as request, code, output, code, output ...

  Statements without output wait for the next that has one; the words between
  examples become the thought before the next call. Examples that their authors
  exclude from testing have outputs that are not true, and go.
  """
  segments = [document.Segment('user', _request(name, docstring))]
  waiting: list[str] = []
  thought = ''
  first = True
  for part in doctest.DocTestParser().parse(docstring):
    if isinstance(part, str):
      words = _words(part)
      thought = '' if first else (words or thought)
      continue
    first = False
    if doctest.SKIP in part.options or '# random' in part.source + part.want:
      continue
    source = re.sub(r'[ \t]*# *doctest:.*', '', part.source.rstrip('\n'))
    waiting.append(source)
    if not part.want.strip():
      continue
    if thought:
      segments.append(document.Segment('thought', thought))
      thought = ''
    segments += [
      document.Segment(
        'action', chat.call_text('python', {'code': '\n'.join(waiting)})
      ),
      document.Segment(
        'observation',
        part.want.rstrip('\n').replace('<BLANKLINE>', ''),
      ),
    ]
    waiting = []
  return tuple(segments)


def _request(name: str, docstring: str) -> str:
  """What the session is a reply to, from the docstring's first paragraph."""
  summary = docstring.split('\n\n', 1)[0].split('>>>', 1)[0]
  summary = ' '.join(markup.rst_text(summary).split())
  return f'Show me how `{name}` works. {summary}'.strip()


def _words(text: str) -> str:
  """Prose between examples, without headings and references."""
  text = re.sub(
    r'^.*\n[ \t]*([-=~])\1{2,}[ \t]*$', '', text, flags=re.MULTILINE
  )
  text = ' '.join(markup.rst_text(text).split())
  return text if re.search(r'[a-z]{3}', text) and len(text) <= 600 else ''


def _definitions(
  opened: archive.Opened, member: str
) -> Iterator[tuple[str, ast.AST, str]]:
  """(dotted name, node, clean docstring) of all that has a docstring.

  Names defined again in one module get '#1', '#2'.

  Raises:
    entry.MalformedError: the member is no Python.
  """
  try:
    tree = ast.parse(_text(opened, member))
  except (SyntaxError, ValueError, RecursionError):
    raise entry.MalformedError('not_python') from None
  seen: collections.Counter[str] = collections.Counter()
  for name, node in _walk(tree, groups.python_module(member)):
    text = ast.get_docstring(node)
    if text and text.strip():
      again = f'#{seen[name]}' if seen[name] else ''
      seen[name] += 1
      yield name + again, node, text


_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _walk(node: _Documented, name: str) -> Iterator[tuple[str, _Documented]]:
  """A module or class and what is defined in it, but not inside functions."""
  yield name, node
  if isinstance(node, ast.Module | ast.ClassDef):
    for inner in node.body:
      if isinstance(
        inner, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
      ):
        yield from _walk(inner, f'{name}.{inner.name}')


def _signature(name: str, node: ast.AST) -> str:
  """'merge(left, right, how=...)' of a function, '' of all else."""
  if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
    return ''
  arguments = ast.unparse(node.args)
  arguments = re.sub(r'^(self|cls)(: \w+)?(, |$)', '', arguments)
  returns = f' -> {ast.unparse(node.returns)}' if node.returns else ''
  return f'{name.rsplit(".", 1)[1]}({arguments}){returns}'


def _text(opened: archive.Opened, member: str) -> str:
  try:
    return opened.read(member).decode('utf-8-sig')
  except UnicodeDecodeError:
    raise entry.MalformedError('not_utf8') from None
