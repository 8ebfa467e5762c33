"""Documents as tokens -> rows of one length: by concatenation, or by best fit.

Padding is where segment_ids is 0, never where a token is: id 0 is a token like
any other.
"""

import bisect
import collections
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from hephaestus_jax import data
from hephaestus_jax.corpus import document

# Documents that best fit looks at together. More of them fill rows better and
# need more memory.
DOCUMENTS_PER_WINDOW = 16384
# What a conversation opens with: the roles of those who don't act.
OPENING = tuple(
  document.role_id(role)
  for role in ('structure', 'documentation', 'system', 'user')
)


@dataclasses.dataclass(frozen=True)
class Example:
  """One document of a Task as arrays of one length.

  Attributes:
    tokens: int32.
    roles: uint8; document.REPEATED is added where a token is context only.
    characters: int32, what of the text each token stands for.
    kind: one of document.KINDS, or 'unknown' for a Task that doesn't say.
    refused: why the Task made no tokens of the document; '' where it did.
  """

  tokens: np.ndarray
  roles: np.ndarray
  characters: np.ndarray
  kind: str
  refused: str = ''


def concat_rows(
  examples: Iterable[Example], sequence_length: int
) -> Iterator[np.ndarray]:
  """Joins documents and cuts every `sequence_length` tokens.

  With rows of 4 tokens, documents [5, 6, 7] and [8, 0] become
    tokens       [5, 6, 7, 8]  [0, 0, 0, 0]
    segment_ids  [1, 1, 1, 2]  [1, 0, 0, 0]
  where the first 0 of the second row is a token and the others are padding.

  Yields:
    Rows of data.row_dtype(sequence_length), one by one.
  """
  row, used, segment = _empty_row(sequence_length), 0, 0
  for example in examples:
    start = 0
    while start < len(example.tokens):
      stop = min(start + sequence_length - used, len(example.tokens))
      segment += 1
      _place(row, used, segment, example, slice(start, stop))
      used += stop - start
      start = stop
      if used == sequence_length:
        yield row
        row, used, segment = _empty_row(sequence_length), 0, 0
  if used:
    yield row


def best_fit_rows(
  examples: Iterable[Example], sequence_length: int
) -> Iterator[np.ndarray]:
  """Puts whole documents, longest first, where the least room is left over.

  With rows of 4 tokens, documents [5, 6], [7, 8, 9], [4] become
    tokens       [7, 8, 9, 4]  [5, 6, 0, 0]
    segment_ids  [1, 1, 1, 2]  [1, 1, 0, 0]

  Args:
    examples: documents of at most `sequence_length` tokens.
    sequence_length: tokens in a row.

  Yields:
    Rows of data.row_dtype(sequence_length), one by one.
  """
  waiting = iter(examples)
  while window := list(itertools.islice(waiting, DOCUMENTS_PER_WINDOW)):
    for members in _best_fit(
      [len(example.tokens) for example in window], sequence_length
    ):
      row, used = _empty_row(sequence_length), 0
      for segment, index in enumerate(members, start=1):
        example = window[index]
        _place(row, used, segment, example, slice(0, len(example.tokens)))
        used += len(example.tokens)
      yield row


def split(example: Example, longest: int) -> list[Example]:
  """Cuts a document every `longest` tokens.

  >>> split(of [5, 6, 7], 2)
  [of [5, 6], of [7]]
  """
  starts = range(0, len(example.tokens), longest)
  return [_part(example, start, start + longest) for start in starts]


def split_at_turns(example: Example, longest: int) -> list[Example]:
  """Cuts a conversation where turns begin, and repeats what opened it.

  The opening - all that comes before somebody acts or answers - begins every
  part, closed as it was the first time. From the second part on it is marked
  document.REPEATED: to be read, not to be learned again. A turn begins where
  structure follows words; one that has no room beside the opening is cut like
  any text.

  With at most 6 tokens, the roles structure 0, user 3 and answer 7, and R for
  REPEATED
    tokens [5, 6, 1, 2, 7, 1, 2, 8, 9]  roles [0, 3, 0, 0, 7, 0, 0, 7, 7]
  becomes
    tokens [5, 6, 1, 2, 7]              roles [0, 3, 0, 0, 7]
    tokens [5, 6, 1, 2, 8, 9]           roles [R, R + 3, 0, 0, 7, 7]

  Returns:
    The parts; none where the opening would leave less room than it takes: what
    answers a question that was cut away is not worth learning.
  """
  tokens, roles, size = example.tokens, example.roles, len(example.tokens)
  begins = (roles[1:] == 0) & (roles[:-1] != 0)
  ends = [*(np.flatnonzero(begins) + 1).tolist(), size]
  opening = 0
  for end in ends:
    if not np.isin(roles[opening:end], OPENING).all():
      break
    opening = end
  # Where nobody acts or answers there is nothing to be opened.
  opening = 0 if opening == size else opening
  # What follows the opening closes it, and begins the first turn.
  after = int(np.argmax(roles[opening:] != 0)) if opening else 0
  if 2 * opening + after > longest:
    return []
  closing = tokens[opening : opening + after]
  parts: list[Example] = []
  start = context = 0
  while start < size:
    if parts:
      # Closed by what stands before that with which this turn begins too.
      context = opening + [*np.flatnonzero(closing == tokens[start]), after][0]
    last = start + longest - context
    stop = max(
      (end for end in ends if max(start, opening) < end <= last),
      default=min(last, size),
    )
    part = _part(example, start, stop)
    parts.append(_after(_part(example, 0, context), part) if context else part)
    start = stop
  return parts


def _part(example: Example, start: int, stop: int) -> Example:
  here = slice(start, stop)
  return dataclasses.replace(
    example,
    tokens=example.tokens[here],
    roles=example.roles[here],
    characters=example.characters[here],
  )


def _after(context: Example, part: Example) -> Example:
  """A part that begins with what was seen before, and counts nowhere again."""
  seen = context.roles + np.uint8(document.REPEATED)
  return dataclasses.replace(
    part,
    tokens=np.concatenate([context.tokens, part.tokens]),
    roles=np.concatenate([seen, part.roles]),
    characters=np.concatenate(
      [np.zeros_like(context.characters), part.characters]
    ),
  )


def _best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
  """Indices of the documents in each row, for documents of these lengths.

  >>> _best_fit([2, 3, 1], 4)
  [[1, 2], [0]]
  """
  rows: list[list[int]] = []
  rows_with_room = collections.defaultdict[int, list[int]](list)
  rooms: list[int] = []  # those that some row has, from small to large
  for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
    place = bisect.bisect_left(rooms, lengths[index])
    if place == len(rooms):
      row, room = len(rows), capacity
      rows.append([])
    else:
      room = rooms[place]
      row = rows_with_room[room].pop()
      if not rows_with_room[room]:
        del rooms[place]
    rows[row].append(index)
    left = room - lengths[index]
    if not rows_with_room[left]:
      bisect.insort(rooms, left)
    rows_with_room[left].append(row)
  return rows


def _empty_row(sequence_length: int) -> np.ndarray:
  return np.zeros((), data.row_dtype(sequence_length))


def _place(
  row: np.ndarray, used: int, segment: int, example: Example, part: slice
) -> None:
  """Writes a part of a document into a row, from its token `used` on."""
  roles = example.roles[part]
  here = slice(used, used + len(roles))
  row['tokens'][here] = example.tokens[part]
  row['segment_ids'][here] = segment
  row['roles'][here] = roles
  row['characters'] += np.bincount(
    roles % document.REPEATED,
    weights=example.characters[part],
    minlength=len(document.ROLES),
  ).astype(np.int32)
