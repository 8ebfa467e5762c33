"""What an adapter gives: the part of a Document that its format knows.

The catalogue adds the rest (source, kind, licence), so an adapter says nothing
twice and one format can serve several sources.
"""

import dataclasses

from hephaestus_jax.corpus import document


@dataclasses.dataclass(frozen=True)
class Entry:
  """A record of an archive member.

  Attributes:
    group: the service, package or book, in the one namespace of `groups`.
    name: unique in its source and group.
    segments: the text.
    url: where a person can find the original, '' where there is no such place.
  """

  group: str
  name: str
  segments: tuple[document.Segment, ...]
  url: str = ''


@dataclasses.dataclass(frozen=True)
class Flaw:
  """A record that can't be used; it becomes a counted Drop.

  Attributes:
    group: as in Entry.
    name: as in Entry.
    reason: a few words in snake_case.
  """

  group: str
  name: str
  reason: str


class MalformedError(Exception):
  """A member or record is not what its format promises.

  The adapter turns it into a Flaw of the record; where the whole member is
  unreadable it passes through, and the catalogue counts the member.

  Attributes:
    reason: a few words in snake_case.
  """

  def __init__(self, reason: str) -> None:
    super().__init__(reason)
    self.reason = reason
