"""What a source of the corpus is: where its files are and who reads them.

Two kinds with one interface: `Packages` reads the archives of registry packages
by an adapter that knows their layout, `DataSet` reads published files by a
mapping from one record to a Document's segments, or by an adapter where a file
has many entries. The catalogue is a tuple of both; what builds, lists or
converts sources needs little more than `Source`.
"""

import dataclasses
import functools
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

from hephaestus_jax.corpus import document, lines, splits
from hephaestus_jax.corpus.adapters import entry, parts
from hephaestus_jax.corpus.files import archive, records

Entries = Iterable[entry.Entry | entry.Flaw]
Segments = parts.Segments
# The groups of a data set's Documents. What its publisher held out for
# evaluation is in no training split, whatever a build's shares say.
TRAIN, HELDOUT = 'train', splits.PUBLISHED
# Documents as commands write them (see lines.py).
WRITTEN = 'documents-*-of-*.jsonl'


class Source(Protocol):
  """What every source of Documents has.

  Attributes:
    name: 'botocore_docs'; also the name of its TFDS config and SeqIO Task.
    kind: one of document.KINDS.
    licence: an SPDX expression; 'NOASSERTION' where nobody has said.
    home: where a person finds it, '' for several packages with their own.
    grouped: whether groups are services that the held-out split applies to.
  """

  @property
  def name(self) -> str: ...  # noqa: D102
  @property
  def kind(self) -> str: ...  # noqa: D102
  @property
  def licence(self) -> str: ...  # noqa: D102
  @property
  def home(self) -> str: ...  # noqa: D102
  @property
  def grouped(self) -> bool: ...  # noqa: D102

  def members(self, names: Sequence[str], /) -> list[str]:
    """Those of an archive's or folder's files that are read, sorted."""

  def read(
    self, opened: archive.Opened, member: str
  ) -> Iterator[document.Document | document.Drop]:
    """The Documents of one member, and a Drop for each that can't be read."""


@dataclasses.dataclass(frozen=True, eq=False)
class Packages:
  """A source that is read from registry packages.

  It reads its own archives and nothing else, member by member, so that members
  can be read in parallel and in any order.

  Attributes:
    name: as in Source.
    kind: as in Source.
    packages: distribution name -> SPDX licence of what is read from it.
    home: as in Source.
    members: as in Source.
    entries: (archive, member) -> what is in the member.
    grouped: as in Source.
  """

  name: str
  kind: str
  packages: Mapping[str, str]
  home: str
  members: Callable[[Sequence[str]], list[str]]
  entries: Callable[[archive.Opened, str], Entries]
  grouped: bool = False

  @property
  def licence(self) -> str:
    """An SPDX expression over all packages."""
    return ' AND '.join(sorted(set(self.packages.values())))

  def read(
    self, opened: archive.Opened, member: str
  ) -> Iterator[document.Document | document.Drop]:
    """As in Source."""
    return _of_entries(
      self,
      functools.partial(self.entries, opened, member),
      self.packages[opened.package],
      f'{opened.package}/{member}',
    )


@dataclasses.dataclass(frozen=True)
class Location:
  """Where a data set is published; at most one of the first four.

  Attributes:
    huggingface: 'OWNER/NAME' of a data set on the Hugging Face hub.
    github: 'OWNER/NAME' of a repository.
    urls: addresses of files.
    made_by: the command of ours that makes it.
    files: glob patterns of the hub's files that are downloaded; () takes those
      that the source has a mapping for.
    revision: a branch, tag or commit; '' for the newest.
  """

  huggingface: str = ''
  github: str = ''
  urls: tuple[str, ...] = ()
  made_by: str = ''
  files: tuple[str, ...] = ()
  revision: str = ''


@dataclasses.dataclass(frozen=True)
class Files:
  """Files of one format in a data set.

  Attributes:
    pattern: a glob for the end of a path, 'answer/*/*.{json,jsonl}': `*` stays
      within a folder, `**` doesn't. Compressed files (.gz, .zst) fit as what
      they hold.
    mapping: one parsed record -> segments; what is wrong with the record it
      raises as entry.MalformedError.
    unit: what a record is. 'items': a line of jsonl, an element of a JSON list,
      a row of a table; 'values': a value of a JSON object; 'whole': all that
      the file holds, and always so for text, as {'path': str, 'text': str},
      unless it is 'paragraphs', one for each stretch between empty lines;
      'bytes': the file as it is, for formats with many entries in a file, whose
      mapping takes (path, bytes) and gives entries; otherwise a dotted path to
      a JSON list, 'data.items'.
    split: TRAIN or HELDOUT.
    address: the field of a record that says where a person finds it, such as a
      web page's 'url'; '' where a record has no place but the data set's.
  """

  pattern: str
  mapping: Callable[[Any], Segments] | Callable[[str, bytes], Entries]
  unit: str = 'items'
  split: str = TRAIN
  address: str = ''


@dataclasses.dataclass(frozen=True, eq=False)
class DataSet:
  """A source that is read from published files.

  Attributes:
    name: as in Source.
    title: what the paper calls it: 'ToolBench'.
    kind: as in Source.
    format: one of FORMATS.
    licence: as in Source.
    location: where the files are.
    tokens_billion: the paper's count (Tables 9 and 10); None where it has none.
    verified: whether `files` was tried on records that the source publishes,
      not on its documentation alone.
    files: who reads which files; the first pattern that fits decides.
      Documents of this source that a command wrote (WRITTEN) are taken as they
      are; for sources of that alone `files` is ().
    page: where a person finds it, if that isn't the page of `location`.
    limits: what a record may be.
    grouped: as in Source.
  """

  name: str
  title: str
  kind: str
  format: str
  licence: str
  location: Location
  tokens_billion: float | None = None
  verified: bool = False
  files: tuple[Files, ...] = ()
  page: str = ''
  limits: records.Limits = records.Limits()
  grouped: bool = False

  @property
  def home(self) -> str:
    """As in Source."""
    if self.page:
      return self.page
    if self.location.huggingface:
      return f'https://huggingface.co/datasets/{self.location.huggingface}'
    if self.location.github:
      return f'https://github.com/{self.location.github}'
    if self.location.made_by:
      return f'hephaestus {self.location.made_by}'
    return self.location.urls[0] if self.location.urls else ''

  @property
  def patterns(self) -> str:
    """Which files it reads, for messages: 'a/*.json, b/*.jsonl'."""
    return ', '.join([*(files.pattern for files in self.files), WRITTEN])

  def files_of(self, path: str) -> Files | None:
    """Who reads the file of this path; None if nobody does."""
    for files in self.files:
      if fits(files.pattern, path):
        return files
    return None

  def members(self, names: Sequence[str], /) -> list[str]:
    """As in Source."""
    return sorted(
      name for name in names if fits(WRITTEN, name) or self.files_of(name)
    )

  def read(
    self, opened: archive.Opened, member: str
  ) -> Iterator[document.Document | document.Drop]:
    """As in Source.

    Raises:
      ValueError: the member is none of `members`.
    """
    if fits(WRITTEN, member):
      return self._read_written(opened, member)
    files = self.files_of(member)
    if not files:
      raise ValueError(f'{self.name} has no mapping for {member!r}.')
    return self.read_as(files, opened, member)

  def read_as(
    self, files: Files, opened: archive.Opened, member: str
  ) -> Iterator[document.Document | document.Drop]:
    """As `read`, of a member that these files are said to fit."""
    place = f'{self.name}/{files.split}/{member}'
    try:
      stream = opened.open(member)
    except zipfile.BadZipFile:
      yield document.Drop(place, self.name, 'damaged_file')
      return
    with stream:
      for found in records.read(stream, member, files.unit, self.limits):
        if files.unit == 'bytes' and isinstance(found, records.Record):
          entries = cast(Callable[[str, bytes], Entries], files.mapping)
          yield from _of_entries(
            self,
            functools.partial(entries, member, found.value),
            self.licence,
            f'{files.split}/{member}',
          )
          continue
        document_id = f'{place}-{found.index}'
        segments, reason = _segments(files, found)
        if reason:
          yield document.Drop(document_id, self.name, reason)
        else:
          yield document.Document(
            id=document_id,
            source=self.name,
            kind=self.kind,
            licence=self.licence,
            url=_address(files, found) or self.home,
            segments=segments,
          )

  def _read_written(
    self, opened: archive.Opened, member: str
  ) -> Iterator[document.Document | document.Drop]:
    with opened.open(member) as stream:
      for number, line in enumerate(stream):
        place = f'{self.name}/{member}/{number}'
        found = lines.parse(line, place)
        if isinstance(found, document.Drop):
          yield document.Drop(place, self.name, found.reason)
        elif found.source != self.name:
          yield document.Drop(place, self.name, 'of_another_source')
        else:
          yield found


def _of_entries(
  of: Source, entries: Callable[[], Entries], licence: str, place: str
) -> Iterator[document.Document | document.Drop]:
  """What an adapter finds in a file, as Documents and Drops.

  Args:
    of: the source.
    entries: gives what is found; at any point the file can turn out to be
      malformed.
    licence: SPDX identifier of the file's texts.
    place: 'group/name' of the Drop that stands for the rest of such a file.
  """
  try:
    for found in entries():
      document_id = f'{of.name}/{found.group}/{found.name}'
      if isinstance(found, entry.Flaw):
        yield document.Drop(document_id, of.name, found.reason)
      elif not all(_is_text(segment.text) for segment in found.segments):
        yield document.Drop(document_id, of.name, 'lone_surrogate')
      else:
        yield document.Document(
          id=document_id,
          source=of.name,
          kind=of.kind,
          licence=licence,
          url=found.url,
          segments=found.segments,
        )
  except entry.MalformedError as error:
    yield document.Drop(f'{of.name}/{place}', of.name, error.reason)


def _segments(
  files: Files, found: records.Record | records.Flaw
) -> tuple[Segments, str]:
  """A record's segments, or the reason why it has none."""
  if isinstance(found, records.Flaw):
    return (), found.reason
  try:
    segments = cast(Callable[[Any], Segments], files.mapping)(found.value)
  except entry.MalformedError as error:
    return (), error.reason
  if not segments:
    return (), 'no_segments'
  # A string that a mapping decoded may hold half a character.
  if not all(_is_text(segment.text) for segment in segments):
    return (), 'lone_surrogate'
  return segments, ''


def _address(files: Files, found: records.Record | records.Flaw) -> str:
  """Where the record says that it is from; '' if it doesn't."""
  if not files.address or isinstance(found, records.Flaw):
    return ''
  told = found.value.get(files.address) if isinstance(found.value, dict) else ''
  return told if isinstance(told, str) else ''


def _is_text(found: str) -> bool:
  """Whether a file can hold it: no half of a character pair stands alone."""
  try:
    found.encode()
  except UnicodeEncodeError:
    return False
  return True


# The paper's format labels (Tables 9 and 10).
FORMATS = (
  *('Dialog', 'ReAct', 'NL Plan', 'API Seq', 'JSON', 'QA', 'Plain Text'),
  'Code',
)


def fits(pattern: str, path: str) -> bool:
  """Whether the end of a path fits a glob, compressed or not.

  >>> fits('data/*.jsonl', 'sets/data/a.jsonl.gz')
  True
  >>> fits('data/*.jsonl', 'data/more/a.jsonl')
  False
  """
  return _expression(pattern).fullmatch(path) is not None


@functools.cache
def _expression(pattern: str) -> re.Pattern[str]:
  wild = {
    **{'**/': r'(?:.*/)?', '**': r'.*', '*': r'[^/]*', '?': r'[^/]'},
    **{'{': '(?:', ',': '|', '}': ')'},
  }
  parts = re.split(r'(\*\*/|\*\*|[*?{,}])', pattern)
  glob = ''.join(wild.get(part) or re.escape(part) for part in parts)
  return re.compile(rf'(?:.*/)?{glob}(?:\.gz|\.zst)?', re.DOTALL)
