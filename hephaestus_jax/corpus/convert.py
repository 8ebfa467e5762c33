"""One source's files -> Documents, and an account of every record.

`hephaestus corpus --convert toolbench FILE_OR_FOLDER --out DIR` is how records
are tried that nobody has seen yet: no run file, no filter, no TensorFlow.
"""

import collections
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tqdm

from hephaestus_jax import artefacts, errors
from hephaestus_jax.corpus import catalogue, document, source
from hephaestus_jax.corpus.files import archive, records

DOCUMENTS, DROPS = 'documents.jsonl', 'drops.json'
# Records that a mapping is tried on where no pattern fits a file.
_TRIED = 10
_ARCHIVES = ('.zip', '.tar', '.tar.gz', '.tgz')

Found = Iterator[document.Document | document.Drop]


@dataclasses.dataclass(frozen=True)
class Member:
  """A file and what reads it.

  Attributes:
    name: its path in the folder or archive.
    read: gives what is in it.
    pattern: of the mapping that reads it, '' for an adapter of packages.
    guessed: whether the pattern doesn't fit the file's path.
  """

  name: str
  read: Callable[[], Found]
  pattern: str = ''
  guessed: bool = False


def convert(name: str, path: str, out: str) -> dict[str, Any]:
  """Converts a file, or all files of a folder, to Documents.

  Files are read by the mapping whose pattern fits their path. A file that is
  given alone and fits none, or a folder in which no file fits any, is read by
  the mapping that takes its records, those for its format first.

  Writes DIR/documents.jsonl (`document.to_record` of each, in the order of the
  files) and DIR/drops.json.

  Args:
    name: of a source of the catalogue.
    path: a file, folder or archive.
    out: the folder to write; what it holds of these two files is replaced.

  Returns:
    What drops.json holds: {'source': 'toolbench', 'files': 1, 'records': 3,
    'documents': 2, 'dropped': 1, 'drops': {'no_query': 1},
    'roles': {'user': 2, 'action': 4}, 'characters': 812, 'patterns':
    {'instruction/*.json': 1}, 'guessed': [], 'unmatched_files': []}; roles
    counts segments, guessed names files that fit no pattern.

  Raises:
    errors.UserError: there is no such source or path, or nothing to read there.
  """
  read = catalogue.by_name(name)
  root = pathlib.Path(path)
  if not (root.is_file() or root.is_dir()):
    raise errors.UserError(
      f'{path} does not exist, or is neither a file nor a folder.'
    )
  members, unmatched = find_members(read, root)
  if not members:
    raise errors.UserError(
      f'The source {name} reads none of the files in {path}: {_reads(read)}.'
    )
  folder = pathlib.Path(out)
  folder.mkdir(parents=True, exist_ok=True)
  partial = folder / f'{DOCUMENTS}.partial'
  account = Account(name)
  with partial.open('w', encoding='utf-8', newline='\n') as lines:
    for member in tqdm.tqdm(members, desc=name, disable=len(members) < 2):
      for found in member.read():
        account.add(found)
        if isinstance(found, document.Document):
          lines.write(document.to_line(found) + '\n')
  partial.replace(folder / DOCUMENTS)
  result = account.to_json() | {
    'files': len(members),
    'patterns': dict(
      sorted(collections.Counter(m.pattern for m in members).items())
    ),
    'guessed': [member.name for member in members if member.guessed],
    'unmatched_files': unmatched,
  }
  artefacts.write_json(folder / DROPS, result)
  _print(result, folder)
  return result


class Account:
  """Counts what became of a source's records."""

  def __init__(self, name: str) -> None:
    self._name = name
    self._documents = 0
    self._characters = 0
    self._drops: collections.Counter[str] = collections.Counter()
    self._roles: collections.Counter[str] = collections.Counter()

  def add(self, found: document.Document | document.Drop) -> None:
    """Counts one record."""
    if isinstance(found, document.Drop):
      self._drops[found.reason] += 1
      return
    self._documents += 1
    self._roles.update(segment.role for segment in found.segments)
    self._characters += sum(len(segment.text) for segment in found.segments)

  def to_json(self) -> dict[str, Any]:
    """The counts, as `convert` returns them."""
    dropped = self._drops.total()
    return {
      'source': self._name,
      'records': self._documents + dropped,
      'documents': self._documents,
      'dropped': dropped,
      'drops': dict(sorted(self._drops.items())),
      'roles': dict(sorted(self._roles.items())),
      'characters': self._characters,
    }


def find_members(
  read: source.Source, root: pathlib.Path
) -> tuple[list[Member], list[str]]:
  """What is read at a path, and the files there that nothing reads, sorted.

  Raises:
    errors.UserError: `root` is no readable archive of the source.
  """
  if isinstance(read, source.DataSet):
    return _of_data_set(read, root)
  opened = archive.opened(root)
  if isinstance(read, source.Packages) and opened.package not in read.packages:
    raise errors.UserError(
      f'{root} is no archive of {", ".join(read.packages)}, which the source '
      f'{read.name} is read from.'
    )
  names = opened.names()
  chosen = read.members(names)
  return (
    [
      Member(name, functools.partial(read.read, opened, name))
      for name in chosen
    ],
    sorted(set(names) - set(chosen)),
  )


def _of_data_set(
  read: source.DataSet, root: pathlib.Path
) -> tuple[list[Member], list[str]]:
  alone = root.is_file() and not root.name.endswith(_ARCHIVES)
  opened = archive.opened(root.parent if alone else root)
  names = [root.name] if alone else opened.names()
  base = (root.parent if alone else root).resolve().as_posix()
  fitting = {name: read.files_of(f'{base}/{name}') for name in names}
  written = {name for name in names if source.fits(source.WRITTEN, name)}
  guess = not (written or any(fitting.values()))
  members, unmatched = [], []
  for name in names:
    files = fitting[name]
    if not files and guess:
      files = guess_files(read, opened, name, alone)
    if name in written:
      one = functools.partial(read.read, opened, name)
      members.append(Member(name, one, source.WRITTEN))
    elif files:
      one = functools.partial(read.read_as, files, opened, name)
      members.append(Member(name, one, files.pattern, guess))
    else:
      unmatched.append(name)
  return members, unmatched


def guess_files(
  read: source.DataSet, opened: archive.Opened, name: str, alone: bool
) -> source.Files | None:
  """Who reads a file that no pattern fits.

  Those whose pattern fits its name, else those for its format, else (where it
  is the only file) all: of these the first that makes a Document of one of its
  first records, or the first.
  """
  suffix = records.format_of(name)
  choices: Sequence[source.Files] = (
    [f for f in read.files if source.fits(f.pattern.rpartition('/')[2], name)]
    or [f for f in read.files if suffix in _formats(f.pattern)]
    or (read.files if alone else ())
  )
  for files in choices:
    found = read.read_as(files, opened, name)
    for _, first in zip(range(_TRIED), found, strict=False):
      if isinstance(first, document.Document):
        return files
  return choices[0] if choices else None


def _formats(pattern: str) -> list[str]:
  """The suffixes of a pattern: ['.json', '.jsonl'] of '*.{json,jsonl}'."""
  name = pattern.rpartition('/')[2]
  stem, brace, inside = name.partition('.{')
  if brace:
    return [f'.{suffix}' for suffix in inside.rstrip('}').split(',')]
  return [records.format_of(name)]


def _reads(read: source.Source) -> str:
  if isinstance(read, source.DataSet):
    return f'it reads {read.patterns}'
  return 'name an archive that has them'


def _print(result: dict[str, Any], folder: pathlib.Path) -> None:
  print(
    f'{result["source"]}: {result["records"]:,} records in '
    f'{result["files"]:,} files -> {result["documents"]:,} documents, '
    f'{result["dropped"]:,} dropped'
  )
  for pattern, count in result['patterns'].items():
    if pattern:
      print(f'  {count:,} files read as {pattern}')
  for name in result['guessed']:
    print(f'  no pattern fits {name}: read by the mapping that takes it')
  for reason, count in result['drops'].items():
    print(f'  dropped {count:,}: {reason}')
  if result['unmatched_files']:
    print(f'  not read: {len(result["unmatched_files"]):,} files, in {DROPS}')
  print(f'  {folder / DOCUMENTS}')
