"""Documents as tokens -> rows of one length: by concatenation, or by best fit.

Padding is where segment_ids is 0, never where a token is: id 0 is a token like
any other.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from hephaestus_jax import data
from hephaestus_jax.corpus import document

# Documents that best fit looks at together. More of them fill rows better and
# need more memory.
DOCUMENTS_PER_WINDOW = 16384


@dataclasses.dataclass(frozen=True)
class Example:
  """One document of a Task as arrays of one length.

  Attributes:
    tokens: int32.
    roles: uint8.
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


def _best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
  """Indices of the documents in each row, for documents of these lengths.

  >>> _best_fit([2, 3, 1], 4)
  [[1, 2], [0]]
  """
  rows: list[list[int]] = []
  rows_with_room = [list[int]() for _ in range(capacity + 1)]
  for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
    length = lengths[index]
    room = next(
      (r for r in range(length, capacity + 1) if rows_with_room[r]), None
    )
    if room is None:
      row, room = len(rows), capacity
      rows.append([])
    else:
      row = rows_with_room[room].pop()
    rows[row].append(index)
    rows_with_room[room - length].append(row)
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
    roles, weights=example.characters[part], minlength=len(document.ROLES)
  ).astype(np.int32)
