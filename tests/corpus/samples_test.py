"""Every real record that was published converts, and means what it meant.

The records are others' and stay where they are: HEPHAESTUS_SAMPLES names a
folder with a folder per source, without which these tests are skipped.

    pytest tests/corpus/samples_test.py -k toolbench
    python tests/corpus/samples_test.py toolbench    # a table, and what's left
"""

import collections
import dataclasses
import os
import pathlib
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from hephaestus_jax.corpus import catalogue, convert, document, source
from hephaestus_jax.corpus.files import archive, records

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import round_trip  # noqa: E402

ROOT = pathlib.Path(__file__).parents[2]
SAMPLES = pathlib.Path(
  os.environ.get('HEPHAESTUS_SAMPLES', ROOT.parent / 'shared' / 'samples')
)
# Where a folder has another name than the source.
FOLDERS = {
  'agentflan_instructions': 'agentflan',
  'wikipedia_en': 'wikipedia',
}
NOT_DATA = ('SOURCE.md',)
DATA_SETS = [s for s in catalogue.SOURCES if isinstance(s, source.DataSet)]


@dataclasses.dataclass
class Result:
  """What became of a source's records."""

  account: convert.Account
  records: int = 0
  invented: list[str] = dataclasses.field(default_factory=list)
  lost: list[str] = dataclasses.field(default_factory=list)
  unread: list[str] = dataclasses.field(default_factory=list)
  left_out: collections.Counter[str] = dataclasses.field(
    default_factory=collections.Counter
  )


def folder_of(of: source.DataSet) -> archive.Folder:
  return archive.Folder(SAMPLES / FOLDERS.get(of.name, of.name))


def files_of(of: source.DataSet) -> list[str]:
  folder = folder_of(of)
  names = folder.names()
  return [name for name in names if name not in NOT_DATA]


def found_in(
  of: source.DataSet, name: str
) -> Iterator[tuple[Any, document.Document | document.Drop]]:
  """(raw record, what became of it) of a file."""
  folder = folder_of(of)
  files = of.files_of(name)
  assert files
  with folder.open(name) as stream:
    raw = list(records.read(stream, name, files.unit, of.limits))
  made = list(of.read(folder, name))
  assert len(raw) == len(made), 'A record gives one Document or one Drop.'
  for record, found in zip(raw, made, strict=True):
    value = record.value if isinstance(record, records.Record) else None
    yield value, found


def tried(of: source.DataSet) -> Result:
  result = Result(convert.Account(of.name))
  for name in files_of(of):
    if not of.files_of(name):
      result.unread.append(name)
      continue
    for value, found in found_in(of, name):
      result.records += 1
      result.account.add(found)
      if isinstance(found, document.Drop):
        continue
      place = found.id.removeprefix(f'{of.name}/')
      result.invented += [
        f'{place}: {segment.role}: {segment.text[:200]!r}'
        for segment in round_trip.invented(value, found.segments)
      ]
      result.lost += [
        f'{place}: {path}: {text[:200]!r}'
        for path, text in round_trip.lost(value, found.segments)
      ]
      result.left_out.update(round_trip.left_out(value, found.segments))
  return result


@pytest.mark.parametrize('of', DATA_SETS, ids=lambda of: of.name)
def test_real_records_convert_and_keep_their_words(of):
  if not files_of(of):
    pytest.skip(f'there are no records of {of.name} in {SAMPLES}')
  result = tried(of)
  assert not result.unread, 'No pattern fits these files.'
  counts = result.account.to_json()
  assert result.records == counts['records'] > 0
  assert counts['documents'] > 0 and counts['roles']
  assert all(re.fullmatch('[a-z0-9_]+', reason) for reason in counts['drops'])
  assert not result.invented, '\n'.join(result.invented[:10])
  assert not result.lost, '\n'.join(result.lost[:10])


def main(names: list[str]) -> None:
  """Prints a line per source, and of those that are named all that is amiss."""
  print(f'{"source":24}{"records":>8}{"documents":>10}{"dropped":>8}  roles')
  for of in DATA_SETS:
    if not files_of(of) or (names and of.name not in names):
      continue
    result = tried(of)
    counts = result.account.to_json()
    amiss = [
      f'{len(found)} {what}'
      for what, found in (
        ('INVENTED', result.invented),
        ('LOST', result.lost),
        ('UNREAD', result.unread),
      )
      if found
    ]
    roles = ' '.join(f'{role} {n}' for role, n in counts['roles'].items())
    print(
      f'{of.name:24}{counts["records"]:8}{counts["documents"]:10}'
      f'{counts["dropped"]:8}  {roles} {counts["drops"] or ""} '
      f'{", ".join(amiss)}'
    )
    if names:
      for line in [*result.unread, *result.invented, *result.lost]:
        print(f'    {line}')
      print('  left out, by field:')
      for path, count in sorted(result.left_out.items()):
        print(f'    {count:6} {path}')


if __name__ == '__main__':
  main(sys.argv[1:])
