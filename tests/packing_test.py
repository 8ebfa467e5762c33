"""Rows hold every token once, each with its own role and characters."""

import json
import pathlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from hephaestus_jax import packing
from hephaestus_jax.corpus import document


def example(tokens, roles=None):
  tokens = np.array(tokens, np.int32)
  return packing.Example(
    tokens=tokens,
    roles=np.array([9] * len(tokens) if roles is None else roles, np.uint8),
    characters=tokens % 7,
    kind='text',
  )


def packed(pack, documents, length):
  return [row.copy() for row in pack(map(example, documents), length)]


def column(rows, name):
  return [row[name].tolist() for row in rows]


def documents_of(rows):
  """The documents that rows hold, a cut one as its parts."""
  found = []
  for row in rows:
    for segment in range(1, int(row['segment_ids'].max()) + 1):
      here = row['segment_ids'] == segment
      found.append(row['tokens'][here].tolist())
  return found


def test_concat_joins_and_cuts_as_the_docstring_shows():
  rows = packed(packing.concat_rows, [[5, 6, 7], [8, 0]], 4)
  assert column(rows, 'tokens') == [[5, 6, 7, 8], [0, 0, 0, 0]]
  assert column(rows, 'segment_ids') == [[1, 1, 1, 2], [1, 0, 0, 0]]


def test_best_fit_packs_as_the_docstring_shows():
  rows = packed(packing.best_fit_rows, [[5, 6], [7, 8, 9], [4]], 4)
  assert column(rows, 'tokens') == [[7, 8, 9, 4], [5, 6, 0, 0]]
  assert column(rows, 'segment_ids') == [[1, 1, 1, 2], [1, 1, 0, 0]]


def test_tokens_of_id_0_are_kept():
  rows = packed(packing.best_fit_rows, [[5, 0, 7, 8]], 6)
  assert column(rows, 'tokens') == [[5, 0, 7, 8, 0, 0]]
  assert column(rows, 'segment_ids') == [[1, 1, 1, 1, 0, 0]]


@pytest.mark.parametrize('pack', [packing.concat_rows, packing.best_fit_rows])
def test_roles_stay_with_their_tokens(pack):
  given = [example([10, 11, 12], [3, 5, 5]), example([20, 21, 22], [0, 4, 7])]
  role_of = {10: 3, 11: 5, 12: 5, 20: 0, 21: 4, 22: 7}
  seen = 0
  for row in pack(iter(given), 4):
    for token, role, segment in zip(
      row['tokens'], row['roles'], row['segment_ids'], strict=True
    ):
      if segment:
        assert role == role_of[int(token)]
        seen += 1
  assert seen == 6


def test_split_cuts_as_the_docstring_shows():
  parts = packing.split(example([5, 6, 7]), 2)
  assert [part.tokens.tolist() for part in parts] == [[5, 6], [7]]
  assert [part.roles.tolist() for part in parts] == [[9, 9], [9]]


def test_turns_are_kept_as_the_docstring_shows():
  conversation = example(
    [5, 6, 1, 2, 7, 1, 2, 8, 9], [0, 3, 0, 0, 7, 0, 0, 7, 7]
  )
  first, second = packing.split_at_turns(conversation, 6)
  r = document.REPEATED
  assert first.tokens.tolist() == [5, 6, 1, 2, 7]
  assert first.roles.tolist() == [0, 3, 0, 0, 7]
  assert second.tokens.tolist() == [5, 6, 1, 2, 8, 9]
  assert second.roles.tolist() == [r, r + 3, 0, 0, 7, 7]
  assert second.characters.tolist() == [0, 0, 1, 2, 1, 2]


def test_an_opening_is_closed_as_it_was_the_first_time():
  # END = 90 closes a turn; the user's is structure, the answer's its own.
  conversation = example(
    [1, 6, 90, 10, 2, 7, 90, 10, 3, 8, 90, 10, 2, 9, 90],
    [0, 3, 0, 0, 0, 7, 7, 0, 0, 6, 0, 0, 0, 7, 7],
  )
  first, second = packing.split_at_turns(conversation, 11)
  assert first.tokens.tolist() == [1, 6, 90, 10, 2, 7, 90, 10, 3, 8]
  assert second.tokens.tolist() == [1, 6, 90, 10, 2, 9, 90]
  # The second part begins with an observation, after what ended the question.
  _, second = packing.split_at_turns(packing._part(conversation, 0, 10), 9)
  assert second.tokens.tolist() == [1, 6, 90, 10, 3, 8]


def test_an_opening_that_leaves_less_room_than_it_takes_is_not_repeated():
  conversation = example([1, 6, 6, 6, 2, 7, 2, 8], [0, 3, 3, 3, 0, 7, 0, 7])
  assert packing.split_at_turns(conversation, 7) == []


turns = strategies.lists(
  strategies.tuples(
    strategies.sampled_from([2, 3, 5, 6, 7]), strategies.integers(1, 12)
  ),
  min_size=1,
  max_size=12,
)


@hypothesis.settings(deadline=None)
@hypothesis.given(turns, strategies.integers(2, 24))
def test_parts_hold_every_token_once_and_the_opening_again(turns, longest):
  roles = sum(([0, *[role] * count] for role, count in turns), [])
  conversation = example(range(len(roles)), roles)
  parts = packing.split_at_turns(conversation, longest)
  new = [part.roles < document.REPEATED for part in parts]
  assert all(len(part.tokens) <= longest for part in parts)
  if parts:
    for name in ('tokens', 'roles', 'characters'):
      found = [getattr(p, name)[n] for p, n in zip(parts, new, strict=True)]
      whole = getattr(conversation, name)
      assert np.concatenate(found).tolist() == whole.tolist()
    assert new[0].all()
  for part, is_new in zip(parts[1:], new[1:], strict=True):
    again = part.tokens[~is_new]
    assert again.tolist() == list(range(len(again)))
    assert not is_new[: len(again)].any()
    seen = part.roles[~is_new] % document.REPEATED
    assert set(seen.tolist()) <= set(packing.OPENING)


documents = strategies.lists(
  strategies.lists(strategies.integers(0, 50), min_size=1, max_size=30),
  max_size=30,
)


@hypothesis.settings(deadline=None)
@hypothesis.given(documents, strategies.integers(1, 12))
def test_concat_keeps_every_token_once_and_in_order(given, length):
  rows = packed(packing.concat_rows, given, length)
  assert sum(documents_of(rows), []) == sum(given, [])
  assert all((row['segment_ids'] > 0).all() for row in rows[:-1])


@hypothesis.settings(deadline=None)
@hypothesis.given(documents, strategies.integers(30, 64))
def test_best_fit_keeps_every_document_once_and_whole(given, length):
  rows = packed(packing.best_fit_rows, given, length)
  assert sorted(documents_of(rows)) == sorted(given)


@hypothesis.settings(deadline=None)
@hypothesis.given(documents, strategies.integers(30, 64))
@pytest.mark.parametrize('pack', [packing.concat_rows, packing.best_fit_rows])
def test_characters_are_counted_by_role(pack, given, length):
  rows = packed(pack, given, length)
  wanted = sum(token % 7 for tokens in given for token in tokens)
  assert sum(int(row['characters'][9]) for row in rows) == wanted
  assert sum(int(row['characters'].sum()) for row in rows) == wanted


def test_best_fit_fills_rows_well_with_conversations_of_real_lengths():
  path = (
    pathlib.Path(__file__).parent / 'testdata' / 'conversation_lengths.json'
  )
  lengths = json.loads(path.read_text())  # of the demo's botocore requests
  rows = packing._best_fit(lengths, 4096)
  assert sorted(index for row in rows for index in row) == [*range(988)]
  filled = [sum(lengths[index] for index in row) for row in rows]
  assert max(filled) <= 4096
  assert sum(filled) / (len(rows) * 4096) > 0.98
  # Fewer rows would not hold them.
  assert len(rows) - 1 <= sum(lengths) / 4096 + 1


def test_windows_bound_what_is_held_at_once(monkeypatch):
  monkeypatch.setattr(packing, 'DOCUMENTS_PER_WINDOW', 2)
  rows = packed(packing.best_fit_rows, [[1], [2], [3], [4], [5]], 8)
  assert [sorted(d) for d in column(rows, 'tokens')] == [
    [0, 0, 0, 0, 0, 0, 1, 2],
    [0, 0, 0, 0, 0, 0, 3, 4],
    [0, 0, 0, 0, 0, 0, 0, 5],
  ]
