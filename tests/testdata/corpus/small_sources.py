"""A catalogue of small sources for the tests of the build.

A file of its own, found by PYTHONPATH: Beam's worker processes import it too.
"""

import json
from collections.abc import Iterator, Sequence

from hephaestus_jax.corpus import document, source
from hephaestus_jax.corpus.adapters import entry
from hephaestus_jax.corpus.files import archive


def _entries(
  opened: archive.Archive, member: str
) -> Iterator[entry.Entry | entry.Flaw]:
  """Lines of [group, name, [[role, text], ...]]; a null text is a flaw."""
  for line in opened.read(member).decode().splitlines():
    group, name, segments = json.loads(line)
    if segments is None:
      yield entry.Flaw(group, name, 'no_text')
    else:
      yield entry.Entry(
        group, name, tuple(document.Segment(*pair) for pair in segments)
      )


def _docs(names: Sequence[str]) -> list[str]:
  return [name for name in names if name.startswith('small/docs')]


def _calls(names: Sequence[str]) -> list[str]:
  return [name for name in names if name.startswith('small/calls')]


def _prose(names: Sequence[str]) -> list[str]:
  return [name for name in names if name.startswith('small/prose')]


def _pages(names: Sequence[str]) -> list[str]:
  return [name for name in names if name.startswith('small/pages')]


def _source(
  name: str, kind: str, members: object, *, grouped: bool = True
) -> source.Packages:
  return source.Packages(
    name=name,
    kind=kind,
    packages={'small': 'GPL-3.0-only' if name == 'pages' else 'MIT'},
    home='https://example.org',
    members=members,
    entries=_entries,
    grouped=grouped,
  )


SOURCES = (
  _source('docs', 'documentation', _docs),
  _source('calls', 'instruction', _calls),
  _source('prose', 'text', _prose, grouped=False),
  _source('pages', 'documentation', _pages),
)
