"""The web as a stream of Documents that can be taken up at any place.

Its files are those of a catalogue source (FineWeb's parquet, C4's jsonl,
CommonCrawl's WET), in the order of their names.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterator
from typing import Any

from hephaestus_jax import errors
from hephaestus_jax.corpus import catalogue, document, members, source
from hephaestus_jax.corpus.files import archive

# Why a record isn't looked at, besides what its reader says.
TOO_SHORT, TOO_LONG = 'too_short', 'too_long'

Place = tuple[int, int]  # (file, record in it), both from 0


@dataclasses.dataclass(frozen=True)
class Web:
  """The text that is searched.

  Attributes:
    folder: holds the files, at any depth.
    source: the catalogue entry that reads them: 'fineweb', 'commoncrawl_wet'.
    shard_records: how many are searched at once: memory grows with it, and a
      restart repeats no more than that.
    min_characters: a shorter text is left out before it is encoded.
    max_characters: so is a longer one, which is of many subjects.
  """

  folder: str
  source: str = 'fineweb'
  shard_records: int = 100_000
  min_characters: int = 200
  max_characters: int = 1_000_000

  def __post_init__(self) -> None:
    if self.shard_records < 1:
      raise errors.UserError(
        f'web.Web.shard_records = {self.shard_records} is below 1.'
      )


@dataclasses.dataclass
class Progress:
  """How far the web was read.

  Attributes:
    next: the place of the next record.
    records: how many were read.
    documents: how many of them were looked at.
    drops: how many weren't, by reason.
    finished: whether there are no more.
  """

  next: Place = (0, 0)
  records: int = 0
  documents: int = 0
  drops: dict[str, int] = dataclasses.field(default_factory=dict)
  finished: bool = False


class Stream:
  """Reads a Web."""

  def __init__(self, web: Web) -> None:
    """Finds the files.

    Raises:
      errors.UserError: there is no such folder or source, or the source reads
        no file of the folder.
    """
    if not pathlib.Path(web.folder).is_dir():
      raise errors.UserError(
        f'There is no folder {web.folder} (WEB). Put files there that '
        f'{web.source} (WEB_SOURCE) reads.'
      )
    found = catalogue.by_name(web.source)
    if not isinstance(found, source.DataSet):
      raise errors.UserError(
        f'{web.source} (WEB_SOURCE) is read from packages. Name a source whose '
        "files are published, such as 'fineweb'."
      )
    self._web = web
    self._source = found
    self._folder = archive.Folder(web.folder)
    self._members = self._source.members(self._folder.names())
    if not self._members:
      raise errors.UserError(
        f'{web.folder} (WEB) has no file that {web.source} (WEB_SOURCE) reads. '
        '`hephaestus corpus --list` shows the sources.'
      )

  def identity(self) -> dict[str, Any]:
    """JSON that changes when a file's name or length does."""
    return dataclasses.asdict(self._web) | {
      'folder': members.fingerprint(self._folder.path)
    }

  def shard(
    self, progress: Progress
  ) -> Iterator[tuple[int, document.Document]]:
    """The Documents of the next `shard_records` records, with their numbers.

    A number counts all records of the web from 0. `progress` says where to
    begin, and in the end where the next shard does.
    """
    end = progress.records + self._web.shard_records
    for place, found in itertools.islice(
      self._records(progress.next), self._web.shard_records
    ):
      progress.next = place
      progress.records += 1
      reason = self._reason(found)
      if isinstance(found, document.Document) and not reason:
        progress.documents += 1
        yield progress.records - 1, found
      else:
        progress.drops[reason] = progress.drops.get(reason, 0) + 1
    progress.finished = progress.records < end

  def _records(
    self, start: Place
  ) -> Iterator[tuple[Place, document.Document | document.Drop]]:
    """(the place of the one after it, a record) from a place on."""
    first, skipped = start
    for file, member in enumerate(self._members[first:], first):
      for record, found in enumerate(self._source.read(self._folder, member)):
        if file > first or record >= skipped:
          yield (file, record + 1), found

  def _reason(self, found: document.Document | document.Drop) -> str:
    """Why it isn't looked at; '' if it is."""
    if isinstance(found, document.Drop):
      return found.reason
    if len(found.text) < self._web.min_characters:
      return TOO_SHORT
    return TOO_LONG if len(found.text) > self._web.max_characters else ''
