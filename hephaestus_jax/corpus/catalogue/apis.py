"""Formats that public APIs describe themselves in (section 4.1).

Not data sets but formats: anybody's files become tool documentation. Name the
folder with yours in FOLDERS, or try it with `hephaestus corpus --convert`.
"""

from hephaestus_jax.corpus import source
from hephaestus_jax.corpus.adapters import (
  graphql,
  manual,
  mcp,
  openapi,
  sphinx,
)

_SECTIONS = '1,2,3,4,5,6,7,8,9,n,1ssl,1p,2p,3p,3pm,3perl,3ssl,3tcl,5ssl,7ssl'

SOURCES: tuple[source.DataSet, ...] = (
  source.DataSet(
    name='openapi',
    title='OpenAPI and Swagger descriptions',
    kind='documentation',
    format='JSON',
    licence='NOASSERTION',
    location=source.Location(),
    page='https://spec.openapis.org',
    verified=True,
    files=(
      source.Files('*.{json,yaml,yml}', openapi.operations, unit='bytes'),
    ),
    grouped=True,
  ),
  source.DataSet(
    name='graphql',
    title='GraphQL introspection results',
    kind='documentation',
    format='JSON',
    licence='NOASSERTION',
    location=source.Location(),
    page='https://spec.graphql.org',
    verified=True,
    files=(source.Files('*.json', graphql.operations, unit='bytes'),),
    grouped=True,
  ),
  source.DataSet(
    name='mcp',
    title='Model Context Protocol tool lists',
    kind='documentation',
    format='JSON',
    licence='NOASSERTION',
    location=source.Location(),
    page='https://modelcontextprotocol.io',
    verified=True,
    files=(source.Files('*.{json,jsonl}', mcp.tools, unit='bytes'),),
    grouped=True,
  ),
  source.DataSet(
    name='manuals',
    title='Manual pages',
    kind='documentation',
    format='Plain Text',
    licence='NOASSERTION',
    location=source.Location(),
    page='https://man7.org/linux/man-pages/man7/man.7.html',
    verified=True,
    files=(
      source.Files('man*/*.*', manual.manual, unit='bytes'),
      source.Files(f'*.{{{_SECTIONS}}}', manual.manual, unit='bytes'),
    ),
    grouped=True,
  ),
  source.DataSet(
    name='sphinx',
    title='Sphinx and HTML documentation',
    kind='documentation',
    format='Plain Text',
    licence='NOASSERTION',
    location=source.Location(),
    page='https://www.sphinx-doc.org',
    verified=True,
    files=(
      source.Files('*.{html,htm,xhtml}', sphinx.definitions, unit='bytes'),
      source.Files('*.{rst,rst.txt}', sphinx.definitions, unit='bytes'),
    ),
    grouped=True,
  ),
)
