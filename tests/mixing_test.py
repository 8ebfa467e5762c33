"""Any 1,000 rows hold of each source its share, rounded down or up."""

import time

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from hephaestus_jax import errors, mixing


def counts(source_B, source):
  """How many rows of a source there are before each row, and in all."""
  return np.concatenate([[0], np.cumsum(source_B == source)])


def check(weights, start, rows):
  """The contract, for so many rows from `start` on."""
  rhythm = mixing.Rhythm(weights)
  source_B, turn_B = rhythm.rows_at(start + np.arange(rows))
  for source, weight in enumerate(weights):
    had = counts(source_B, source)
    in_window = had[mixing.WINDOW :] - had[: -mixing.WINDOW]
    share = mixing.WINDOW * weight / mixing.PERIOD
    assert in_window.min() >= np.floor(share)
    assert in_window.max() <= np.ceil(share)
    due = weight / mixing.PERIOD * np.arange(start, start + rows + 1)
    assert np.abs(rhythm.turns(start)[source] + had - due).max() < 3
    assert rhythm.turns(start + rows)[source] == (
      rhythm.turns(start)[source] + had[-1]
    )
    turns = np.sort(turn_B[source_B == source])
    assert (np.diff(turns) == 1).all()


@pytest.mark.parametrize('sources', [3, 35, 100])
@pytest.mark.parametrize('evenness', [0.3, 30.0])
def test_rates_are_exact_in_any_window(sources, evenness):
  random = np.random.default_rng(sources)
  rates = random.dirichlet(np.full(sources, evenness))
  weights = mixing.integer_weights(rates)
  assert np.abs(np.array(weights) / mixing.PERIOD - rates).max() < 2e-5
  # Over a border of two periods, late in a long run.
  check(weights, 10**6 * mixing.PERIOD - 35_000, 70_000)


# What is left of the shares decides who is a guest: it may be anything.
left_over = strategies.lists(
  strategies.integers(0, mixing.WINDOWS - 1), min_size=1, max_size=24
)


@hypothesis.settings(deadline=None, max_examples=30)
@hypothesis.given(left_over, strategies.integers(0, 200))
def test_rates_are_exact_for_any_rates(rest, period):
  weights = [*rest, mixing.PERIOD - sum(rest)]
  check(weights, period * mixing.PERIOD - 4_000, 8_000)


@hypothesis.settings(deadline=None, max_examples=60)
@hypothesis.given(left_over)
def test_guests_are_never_early_and_never_late(rest):
  guests = -(-sum(rest) // mixing.WINDOWS)
  rest = np.array([*rest, guests * mixing.WINDOWS - sum(rest)])
  present_PS = mixing._present(rest, guests)
  assert (present_PS.sum(axis=1) == guests).all()
  due_PS = np.arange(1, mixing.WINDOWS + 1)[:, None] * rest / mixing.WINDOWS
  assert (np.abs(np.cumsum(present_PS, axis=0) - due_PS) < 1).all()


def test_the_millionth_step_is_as_near_as_the_first():
  rates = np.random.default_rng(0).dirichlet(np.ones(100))
  start = time.process_time()
  order = mixing.Order({0: rates, 10**8: rates[::-1]}, [10**9] * 100)
  order.rows_at(10**6 * 512 + np.arange(512))
  assert time.process_time() - start < 1


def test_a_source_goes_on_where_it_was_when_rates_change():
  order = mixing.Order({0: [1, 1], 100: [1, 9], 200: [1, 0]}, [None, 120])
  source_B, turn_B = order.rows_at(np.arange(1000))
  assert [phase.first_row for phase in order.phases] == [0, 100, 177, 200]
  for source in (0, 1):
    turns = turn_B[source_B == source]
    assert sorted(turns) == list(range(len(turns)))
  assert (source_B[177:] == 0).all()
  for rows in (0, 1, 99, 100, 101, 177, 178, 500, 1000):
    assert order.turns(rows).tolist() == [
      int((source_B[:rows] == source).sum()) for source in (0, 1)
    ]


def test_when_all_have_had_their_rows_it_ends():
  order = mixing.Order({0: [3, 1]}, [70, 30])
  assert order.end == 100
  source_B, _ = order.rows_at(np.arange(100))
  assert np.bincount(source_B).tolist() == [70, 30]
  with pytest.raises(IndexError, match='100 rows, no row 100'):
    order.rows_at(np.array([99, 100]))


def test_histories_differ_from_where_a_rate_or_a_beginning_does():
  was = {0: {'a': 1}}
  assert mixing.first_difference(was, {0: {'a': 1, 'b': 0}}) is None
  later = {0: {'a': 1, 'b': 0}, 500: {'b': 1}}
  assert mixing.first_difference(was, later) == 500
  assert mixing.first_difference(later, {**later, 500: {'b': 2}}) == 500
  # The same rates again: but a window begins there.
  assert mixing.first_difference(was, {**was, 9: {'a': 1}}) == 9


def test_a_ramp_has_stairs_as_the_docstring_shows():
  assert mixing.ramp(
    from_step=10, to_step=20, before={'a': 1}, after={'b': 1}, stairs=1
  ) == {
    0: {'a': 1.0, 'b': 0.0},
    10: {'a': 0.5, 'b': 0.5},
    20: {'a': 0.0, 'b': 1.0},
  }


@pytest.mark.parametrize(
  'changed', [{'stairs': 0}, {'to_step': 12, 'stairs': 3}, {'after': {'b': 0}}]
)
def test_a_ramp_that_leads_nowhere_is_refused(changed):
  settings = {
    'from_step': 10,
    'to_step': 20,
    'before': {'a': 1},
    'after': {'b': 1},
  }
  with pytest.raises(errors.UserError, match='mixing.ramp'):
    mixing.ramp(**(settings | changed))


@pytest.mark.parametrize(
  'rates', [[1.0], [1e-9, 1.0], [0.5, 0.5], [3, 1, 1, 0], [1] * 21]
)
def test_weights_are_exact_and_forget_nobody(rates):
  weights = mixing.integer_weights(rates)
  assert sum(weights) == mixing.PERIOD
  assert all((w > 0) == (r > 0) for w, r in zip(weights, rates, strict=True))


def test_weights_and_places_are_as_the_docstrings_show():
  assert mixing.integer_weights([1.0, 1.0, 2.0]) == [16000, 16000, 32000]
  assert mixing.evenly([1, 1, 2]).tolist() == [2, 0, 1, 2]
  assert mixing.occurrence(np.array([2, 0, 2, 2])).tolist() == [0, 0, 1, 2]
