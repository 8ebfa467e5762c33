"""API clients whose documentation is in the docstrings of their methods.

Both packages are generated; the files are up to 20 MB, and only a few lines of
each method matter, so they are found by their shape instead of parsed.
"""

import inspect
import re
from collections.abc import Iterator, Sequence

from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.adapters import docstrings, entry, groups, tool
from hephaestus_jax.corpus.files import archive

_CLASS = re.compile(r'^class (\w+)\b', re.MULTILINE)
_METHOD = re.compile(
  r'^  +(?:async )?def ([a-z]\w*)\((?:[^\n]*|\n(?: {8,}[^\n]*\n)+?    )\)'
  r'[^\n]*:\n(?:\s*#[^\n]*\n)*\s*(?P<quote>"""|r""")(?P<text>.*?)"""',
  re.MULTILINE | re.DOTALL,
)
_CLIENT_PARAMETERS = re.compile(r'^(_\w+|async_req|content_type|cls|kwargs)$')


def kubernetes_files(names: Sequence[str]) -> list[str]:
  """An API group and version each; those that only list versions, left out."""
  pattern = r'kubernetes/client/api/\w+_v\d\w*_api\.py'
  return [name for name in sorted(names) if re.fullmatch(pattern, name)]


def kubernetes(
  opened: archive.Opened, member: str
) -> Iterator[entry.Entry | entry.Flaw]:
  """An API class -> a page per method."""
  for client, method, text in _methods(opened, member):
    # Variants of the method before them, for callers who want the response.
    if re.search(r'_with_http_info$|_without_preload_content$', method):
      continue
    name = f'kubernetes.{client}.{method}'
    # The docstring opens with the method's name.
    text = re.sub(rf'^{method}\s+(# noqa[^\n]*)?', '', text).strip()
    yield _page(groups.kubernetes(client), name, text)


def digitalocean_files(names: Sequence[str]) -> list[str]:
  """The synchronous operations."""
  return [n for n in names if n == 'pydo/operations/_operations.py']


def digitalocean(
  opened: archive.Opened, member: str
) -> Iterator[entry.Entry | entry.Flaw]:
  """All operations -> a page per method; the first of its overloads."""
  seen = set()
  for client, method, text in _methods(opened, member):
    resource = client.removesuffix('Operations')
    name = f'digitalocean.{resource.lower()}.{method}'
    if name not in seen:
      seen.add(name)
      yield _page(groups.digitalocean(resource), name, text)


def _methods(
  opened: archive.Opened, member: str
) -> Iterator[tuple[str, str, str]]:
  """(class, public method, clean docstring), in order."""
  try:
    source = opened.read(member).decode()
  except UnicodeDecodeError:
    raise entry.MalformedError('not_utf8') from None
  starts = [(match.start(), match[1]) for match in _CLASS.finditer(source)]
  ends = [start for start, _ in starts[1:]] + [len(source)]
  for (start, client), end in zip(starts, ends, strict=True):
    for match in _METHOD.finditer(source, start, end):
      text = match['text']
      if match['quote'] == '"""':
        text = text.replace('\\\\', '\\')
      yield client, match[1], inspect.cleandoc(text)


def _page(group: str, name: str, text: str) -> entry.Entry | entry.Flaw:
  text, _, example = text.partition('\nExample:\n')
  described = docstrings.read(name, '', text)
  page = tool.Tool(
    **{
      **vars(described),
      'parameters': tuple(
        parameter
        for parameter in described.parameters
        if not _CLIENT_PARAMETERS.match(parameter.name)
      ),
      'example': _code_block(example),
    }
  )
  if len(page.description) < 10:
    return entry.Flaw(group, name, 'no_description')
  return entry.Entry(
    group, name, (document.Segment('documentation', tool.markdown(page)),)
  )


def _code_block(text: str) -> str:
  """What is inside '.. code-block:: python', up to 3,000 characters."""
  _, found, body = text.partition('.. code-block:: python\n')
  if not found:
    return ''
  # The bodies of errors are the same for all methods.
  body = re.split(r'\n\s*# response body for status code\(s\): [45]', body)[0]
  return inspect.cleandoc(body)[:3_000].rstrip()
