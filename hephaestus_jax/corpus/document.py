"""The one record that the corpus knows.

A Document is an ordered tuple of (role, text) segments. Every adapter ends in
it, every corpus step maps it, and TFDS stores it. Roles survive tokenisation
as one id per token (`role_id`), so a loss can be masked, weighted and reported
by role.
"""

import dataclasses
import json
from typing import Any

ROLES = (
  'structure',  # id 0: turn markers, separators and padding; never a segment
  'documentation',
  'system',
  'user',
  'thought',
  'action',
  'observation',
  'answer',
  'code',
  'text',
)
# Added to the role of a token that an earlier row has too: it is there to be
# read, and is nobody's target.
REPEATED = 128
KINDS = ('documentation', 'trajectory', 'code', 'text', 'instruction')


def role_id(role: str) -> int:
  """The number that stands for `role` in token arrays: `role_id('user')` is 3.

  Raises:
    ValueError: `role` is none of ROLES.
  """
  if role not in ROLES:
    raise ValueError(f'Unknown role {role!r}; the roles are {ROLES}.')
  return ROLES.index(role)


@dataclasses.dataclass(frozen=True)
class Segment:
  """A stretch of text with one role."""

  role: str
  text: str

  def __post_init__(self) -> None:
    if role_id(self.role) == 0:
      raise ValueError(
        "The role 'structure' is what chat.render puts between segments; "
        'no segment has it.'
      )


@dataclasses.dataclass(frozen=True)
class Document:
  """A record of the corpus.

  Attributes:
    id: 'source/group/name', unique in its source. The group is the unit of the
      held-out split: the service, the package, the book.
    source: name of the catalogue entry that the record came from.
    kind: one of KINDS.
    licence: SPDX identifier of the source's licence.
    url: where a person can find the original, '' where there is no such place.
    segments: the text.
  """

  id: str
  source: str
  kind: str
  licence: str
  url: str
  segments: tuple[Segment, ...]

  def __post_init__(self) -> None:
    if self.kind not in KINDS:
      raise ValueError(
        f'Document {self.id!r} has kind {self.kind!r}; the kinds are {KINDS}.'
      )
    if len(self.id.split('/', 2)) != 3 or not self.id.startswith(
      self.source + '/'
    ):
      raise ValueError(
        f"Document id {self.id!r} is not 'source/group/name' "
        f'with source {self.source!r}.'
      )

  @property
  def group(self) -> str:
    """The middle of the id: 'ec2' of 'botocore/ec2/DescribeInstances'."""
    return self.id.split('/', 2)[1]

  @property
  def text(self) -> str:
    """All segments' text, two newlines between: what filters look at."""
    return '\n\n'.join(segment.text for segment in self.segments)

  @property
  def own_text(self) -> str:
    """`text` without system segments: what documents are compared by.

    The tools on offer are the same in hundreds of conversations, and would
    make them one.
    """
    said = [s.text for s in self.segments if s.role != 'system']
    return '\n\n'.join(said) or self.text


@dataclasses.dataclass(frozen=True)
class Drop:
  """A record that a source holds and the corpus doesn't: counted, never lost.

  Attributes:
    document_id: what the Document's id would have been, as far as it is known;
      an archive member that can't be read at all gives its path.
    source: name of the catalogue entry.
    reason: a few words in snake_case, the key that drops are counted by.
  """

  document_id: str
  source: str
  reason: str


def to_record(document: Document) -> dict[str, Any]:
  """A Document as plain JSON and TFDS know it.

  >>> to_record(Document('s/g/n', 's', 'text', 'MIT', '',
  ...                    (Segment('text', 'Hi.'),)))
  {'id': 's/g/n', 'source': 's', 'kind': 'text', 'licence': 'MIT', 'url': '',
   'roles': ['text'], 'texts': ['Hi.']}
  """
  return {
    'id': document.id,
    'source': document.source,
    'kind': document.kind,
    'licence': document.licence,
    'url': document.url,
    'roles': [segment.role for segment in document.segments],
    'texts': [segment.text for segment in document.segments],
  }


def from_record(record: dict[str, Any]) -> Document:
  """The inverse of `to_record`; bytes (as TFDS gives them) count as UTF-8."""

  def text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value

  return Document(
    id=text(record['id']),
    source=text(record['source']),
    kind=text(record['kind']),
    licence=text(record['licence']),
    url=text(record['url']),
    segments=tuple(
      Segment(text(role), text(words))
      for role, words in zip(record['roles'], record['texts'], strict=True)
    ),
  )


def to_line(document: Document) -> str:
  """A Document as a line of JSON without its end; `from_line` reads it."""
  return json.dumps(to_record(document), ensure_ascii=False)


def from_line(line: str | bytes) -> Document:
  """The inverse of `to_line`."""
  return from_record(json.loads(line))
