"""Documents as a folder of JSON lines: what a command hands to the next.

documents-00000-of-00001.jsonl   a record (`document.to_record`) per line,
                                 sorted by id
drops.json                       {"records": 3, "documents": 2,
                                 "drops": {"refused": 1}}
"""

import collections
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hephaestus_jax import artefacts, errors
from hephaestus_jax.corpus import document

FILE = 'documents-00000-of-00001.jsonl'
DROPS = 'drops.json'

# Why a line is no Document.
NOT_JSON = 'line_not_json'
NOT_UNICODE = 'line_not_unicode'
NO_DOCUMENT = 'line_no_document'
REPEATED = 'line_repeats_id'


def write(
  folder: pathlib.Path,
  found: Iterable[document.Document | document.Drop],
  counted: Mapping[str, int] | None = None,
) -> dict[str, Any]:
  """Writes Documents in the order of their ids, and counts the drops.

  Only ids and offsets are held in memory.

  Args:
    folder: gets FILE and DROPS.
    found: the Documents, and those that are none.
    counted: reason -> how many more were dropped than are in `found`.

  Returns:
    What drops.json holds.

  Raises:
    ValueError: two Documents have one id.
  """
  drops = collections.Counter(counted)
  places: list[tuple[str, int, int]] = []
  unsorted = folder / f'{FILE}.unsorted'
  with unsorted.open('w+b') as file:
    for one in found:
      if isinstance(one, document.Drop):
        drops[one.reason] += 1
        continue
      line = f'{document.to_line(one)}\n'.encode()
      places.append((one.id, file.tell(), file.write(line)))
    places.sort()
    with (folder / FILE).open('wb') as ordered:
      last = None
      for name, offset, length in places:
        if name == last:
          raise ValueError(f'Two Documents have the id {name!r}.')
        last = name
        file.seek(offset)
        ordered.write(file.read(length))
  unsorted.unlink()
  account = {
    'records': len(places) + drops.total(),
    'documents': len(places),
    'drops': dict(sorted(drops.items())),
  }
  artefacts.write_json(folder / DROPS, account)
  return account


def read(folder: pathlib.Path) -> Iterator[document.Document | document.Drop]:
  """The Documents of a folder, and a Drop for each line that is none.

  Raises:
    errors.UserError: the folder holds no documents*.jsonl.
  """
  seen: set[str] = set()
  for path in files(folder):
    with path.open('rb') as file:
      for number, line in enumerate(file, 1):
        place = f'{path.name}:{number}'
        found = parse(line, place)
        if isinstance(found, document.Document):
          if found.id in seen:
            found = document.Drop(place, found.source, REPEATED)
          else:
            seen.add(found.id)
        yield found


def files(folder: pathlib.Path) -> list[pathlib.Path]:
  """The files that `read` reads, in order.

  Raises:
    errors.UserError: there are none.
  """
  found = sorted(folder.glob('documents*.jsonl'))
  if not found:
    raise errors.UserError(
      f'{folder} holds no documents*.jsonl. Name a folder of Documents that '
      'a command wrote, such as that of `hephaestus corpus --convert`.'
    )
  return found


def fingerprint(folder: pathlib.Path) -> dict[str, str]:
  """What identifies the Documents of a folder: {file name: hash}."""
  return {path.name: artefacts.file_fingerprint(path) for path in files(folder)}


def parse(line: bytes, place: str) -> document.Document | document.Drop:
  """A line as a Document, or what is wrong with it.

  >>> parse(b'{', 'documents-0.jsonl:7')
  Drop(document_id='documents-0.jsonl:7', source='', reason='line_not_json')
  """
  try:
    record = json.loads(line)
  except (ValueError, RecursionError):
    return document.Drop(place, '', NOT_JSON)
  try:
    found = document.from_record(record)
    checked = document.to_record(found)
    json.dumps(checked, ensure_ascii=False).encode()
  except UnicodeEncodeError:
    return document.Drop(place, '', NOT_UNICODE)
  except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
    return document.Drop(place, '', NO_DOCUMENT)
  roles, texts = checked.pop('roles'), checked.pop('texts')
  if not all(isinstance(t, str) for t in (*checked.values(), *roles, *texts)):
    return document.Drop(place, '', NO_DOCUMENT)
  return found
