"""The catalogue as a table: `hephaestus corpus --list`."""

from collections.abc import Mapping, Sequence
from typing import Any

from hephaestus_jax.corpus import catalogue, source

_COLUMNS = ('name', 'kind', 'format', 'licence', 'tokens', 'verified', 'where')

_LICENCE, _WHERE = 30, 60  # characters, at most, in the table


def show() -> dict[str, Any]:
  """Prints the catalogue.

  Returns:
    {'sources': [row(source), ...]}, in the catalogue's order.
  """
  rows = [row(of) for of in catalogue.SOURCES]
  print(table(rows))
  counted = [r['tokens_billion'] or 0 for r in rows]
  print(
    f"{len(rows)} sources; the paper's tokens: {sum(counted):.3f} billion in "
    f'{sum(map(bool, counted))} of them'
  )
  return {'sources': rows}


def row(of: source.Source) -> dict[str, Any]:
  """What the catalogue knows of a source, as JSON has it.

  {'name': 'mnms', 'title': 'MNMs', 'kind': 'trajectory', 'format': 'API Seq',
   'licence': 'NOASSERTION', 'tokens_billion': 0.001, 'verified': False,
   'where': 'https://huggingface.co/datasets/zixianma/mnms', 'packages': {},
   'splits': ['train'], 'files': [{'pattern': '*.json', 'unit': 'items',
   'split': 'train', 'mapping': 'plans.mnms'}]}

  `packages` (distribution name -> licence) are read instead of files where
  there are some. The paper counts `tokens_billion`; null where it doesn't.
  """
  common = {'name': of.name, 'kind': of.kind, 'licence': of.licence}
  if isinstance(of, source.DataSet):
    return common | {
      'title': of.title,
      'format': of.format,
      'tokens_billion': of.tokens_billion,
      'verified': of.verified,
      'where': of.home,
      'packages': {},
      'splits': sorted({files.split for files in of.files}),
      'files': [
        {
          'pattern': files.pattern,
          'unit': files.unit,
          'split': files.split,
          'mapping': _name(files.mapping),
        }
        for files in of.files
      ],
    }
  packages = of.packages if isinstance(of, source.Packages) else {}
  return common | {
    'title': of.name,
    'format': '',
    'tokens_billion': None,
    'verified': True,
    'where': of.home or f'packages: {", ".join(packages)}',
    'packages': dict(packages),
    'splits': [],
    'files': [],
  }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
  """The rows for people; a source without a mapping has `-` for verified."""
  cells = [_COLUMNS, *map(_cells, rows)]
  widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
  return '\n'.join(
    '  '.join(
      cell.ljust(width) for cell, width in zip(line, widths, strict=True)
    ).rstrip()
    for line in cells
  )


def _cells(found: Mapping[str, Any]) -> tuple[str, ...]:
  tokens = found['tokens_billion']
  readable = found['packages'] or found['files'] or found['verified']
  return (
    found['name'],
    found['kind'],
    found['format'] or '-',
    _short(found['licence'], _LICENCE),
    f'{tokens:.3f}' if tokens else '-',
    ('yes' if found['verified'] else 'no') if readable else '-',
    _short(found['where'], _WHERE),
  )


def _short(text: str, width: int) -> str:
  return text if len(text) <= width else f'{text[: width - 4]} ...'


def _name(mapping: Any) -> str:
  """'plans.mnms' for a function; of a partial, what it is made of."""
  function = getattr(mapping, 'func', mapping)
  module = function.__module__.rpartition('.')[2]
  return f'{module}.{function.__qualname__}'
