"""Which source each row of a mixture comes from, and which of its turns it is.

Formulas of the row's number alone, so any row is found at no cost. Rows come in
windows of WINDOW. While the rates stay as they are, ANY WINDOW rows in a row -
wherever they begin - hold of each source its share of them, rounded down or up:
never a whole row too many or too few. How:

- A source has the same places in every window for the whole rows of its share.
- What is left of the shares are whole places too, and those have guests: a
  source is there in as many windows as its share asks for, in none twice, and
  never later than it must (the schedule is Anderson and Srinivasan's PD2, which
  misses no deadline). Who stays for the next window keeps the place, so two
  turns of a guest are WINDOW rows apart at least.
- After WINDOWS windows the shares come out even, and it begins again, with the
  places exchanged so that the guests of the border keep theirs as well.

`Order` puts such stretches one after the other where rates change. After any
number of rows of a stretch a source is within three rows of its share.

Letters: S sources, B rows asked for, P windows of a period, G guests' places.
"""

import dataclasses
import heapq
from collections.abc import Mapping, Sequence

import numpy as np

from hephaestus_jax import errors

WINDOW = 1000
WINDOWS = 64
# Rates are served as multiples of 1 / PERIOD.
PERIOD = WINDOW * WINDOWS


def integer_weights(rates: Sequence[float]) -> list[int]:
  """Rates as integers that sum to PERIOD; a positive rate gets at least 1.

  >>> integer_weights([1.0, 1.0, 2.0])
  [16000, 16000, 32000]
  """
  total = sum(rates)
  exact = [rate / total * PERIOD for rate in rates]
  weights = [max(int(x), 1) if x > 0 else 0 for x in exact]
  # What rounding down left over goes to those that lost the most by it.
  while missing := PERIOD - sum(weights):
    step = 1 if missing > 0 else -1
    order = sorted(
      (i for i, weight in enumerate(weights) if weight + step > 0),
      key=lambda i: (step * (weights[i] - exact[i]), i),
    )
    for i in order[: abs(missing)]:
      weights[i] += step
  return weights


def evenly(weights: Sequence[int]) -> np.ndarray:
  """Each source as often as its weight, spread out.

  After n of W places a source of weight w has had floor(n w / W) or
  ceil(n w / W): the order in which the turn with the nearest deadline goes
  first among those whose time has come (the quota method of apportionment).

  >>> evenly([1, 1, 2])
  array([2, 0, 1, 2])

  Returns:
    (W,) int32, W the sum of the weights.
  """
  total = sum(weights)
  # Turn i of a source (from 0) may not come before row ceil-quota allows it,
  # at i * W // w, nor after its floor-quota asks for it, at ceil((i+1) * W/w).
  waiting = [(0, source, 0) for source, w in enumerate(weights) if w]
  ready: list[tuple[int, int, int]] = []
  order = np.empty(total, np.int32)
  for row in range(total):
    while waiting and waiting[0][0] <= row:
      _, source, turn = heapq.heappop(waiting)
      deadline = -(-(turn + 1) * total // weights[source])
      heapq.heappush(ready, (deadline, source, turn))
    _, source, turn = heapq.heappop(ready)
    order[row] = source
    if turn + 1 < weights[source]:
      release = (turn + 1) * total // weights[source]
      heapq.heappush(waiting, (release, source, turn + 1))
  return order


class Rhythm:
  """An endless row of sources at rates that stay as they are.

  Attributes:
    weights_S: int64, sum PERIOD; a source's rate is weight / PERIOD.
  """

  def __init__(self, weights: Sequence[int]):
    self.weights_S = np.array(weights, np.int64)
    self._whole_S, self._rest_S = np.divmod(self.weights_S, WINDOWS)
    guests = int(self._rest_S.sum()) // WINDOWS
    # The guests' places are spread like those of one more source.
    self._guest = len(weights)
    self._source_at = evenly([*self._whole_S.tolist(), guests])
    self._turn_at = occurrence(self._source_at)
    present_PS = _present(self._rest_S, guests)
    self._guest_PG, order_G = _seated(present_PS, guests)
    self._before_PS = np.cumsum(present_PS, axis=0) - present_PS
    self._cycles = _Cycles(order_G)

  def rows_at(self, number_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(source, which of its turns) of the rows of these numbers, from 0.

    The turns of a source up to any row are 0, 1, 2, ... but for the last
    window, where a guest's turn counts after the source's others.

    Returns:
      source_B int32 and turn_B int64.
    """
    window_B, place_B = np.divmod(np.asarray(number_B, np.int64), WINDOW)
    period_B, within_B = np.divmod(window_B, WINDOWS)
    source_B = self._source_at[place_B]
    turn_B = self._turn_at[place_B]
    at_B = np.flatnonzero(source_B == self._guest)
    seat = self._cycles.back(turn_B[at_B], period_B[at_B])
    source_B[at_B] = guest = self._guest_PG[within_B[at_B], seat]
    turn_B[at_B] = self._whole_S[guest]
    turn_B += self._turns_before(window_B, source_B)
    return source_B, turn_B

  def turns(self, rows: int) -> np.ndarray:
    """(S,) int64, how many of the first `rows` rows are of each source."""
    window, extra = divmod(rows, WINDOW)
    source_B, _ = self.rows_at(window * WINDOW + np.arange(extra))
    seen_S = np.bincount(source_B, minlength=self._guest)
    return self._turns_before(window, np.arange(self._guest)) + seen_S

  def _turns_before(
    self, window_B: np.ndarray | int, source_B: np.ndarray
  ) -> np.ndarray:
    """Turns of a source before the first row of a window."""
    period_B, within_B = np.divmod(window_B, WINDOWS)
    found: np.ndarray = (
      window_B * self._whole_S[source_B]
      + period_B * self._rest_S[source_B]
      + self._before_PS[within_B, source_B]
    )
    return found


@dataclasses.dataclass(frozen=True)
class Phase:
  """Rows from `first_row` on, at rates that stay as they are.

  Attributes:
    first_row: of the mixture.
    turns_S: turns of each source before it.
    rhythm: what they come in.
  """

  first_row: int
  turns_S: np.ndarray
  rhythm: Rhythm


class Order:
  """The rows of a mixture through changes of its rates.

  A source goes on where it was, whatever its rate becomes. One that has had all
  the rows it may have is left out from then on, and the others share what it
  had: that too is a change of rates, and begins a window.

  Attributes:
    phases: one after the other.
    end: how many rows there are; None: endless.
  """

  def __init__(
    self,
    rates: Mapping[int, Sequence[float]],
    most: Sequence[int | None] | None = None,
  ):
    """Finds every phase.

    Args:
      rates: from which row on, each source's share; the first from row 0.
      most: how many rows of each source there may be; None: any.
    """
    starts = sorted(rates)
    count = len(rates[0])
    no_limit = np.iinfo(np.int64).max
    most_S = np.array(
      [no_limit if one is None else one for one in most or [None] * count]
    )
    self.end: int | None = None
    self.phases: list[Phase] = []
    row, turns_S = 0, np.zeros(count, np.int64)
    for start, stop in zip(starts, [*starts[1:], None], strict=True):
      while stop is None or row < stop:
        left_S = most_S - turns_S
        open_S = np.where(left_S > 0, rates[start], 0.0)
        if not open_S.any():
          self.end = row
          return
        rhythm = Rhythm(integer_weights(open_S.tolist()))
        self.phases.append(Phase(row, turns_S, rhythm))
        limited_S = (rhythm.weights_S > 0) & (most_S < no_limit)
        length = None if stop is None else stop - row
        if limited_S.any():
          length = _rows_until(rhythm, left_S, limited_S, length)
        if length is None:
          return
        row, turns_S = row + length, turns_S + rhythm.turns(length)

  def rows_at(self, number_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(source int32, which of its turns int64) of the rows of these numbers.

    Raises:
      IndexError: a number is at `end` or beyond.
    """
    number_B = np.asarray(number_B, np.int64)
    if self.end is not None and (number_B >= self.end).any():
      raise IndexError(f'There are {self.end} rows, no row {number_B.max()}.')
    source_B = np.empty(number_B.shape, np.int32)
    turn_B = np.empty(number_B.shape, np.int64)
    phase_B = self._phase_of(number_B)
    for index in np.unique(phase_B):
      phase, here_B = self.phases[index], phase_B == index
      source, turn = phase.rhythm.rows_at(number_B[here_B] - phase.first_row)
      source_B[here_B] = source
      turn_B[here_B] = phase.turns_S[source] + turn
    return source_B, turn_B

  def turns(self, rows: int) -> np.ndarray:
    """(S,) int64, how many of the first `rows` rows are of each source."""
    rows = rows if self.end is None else min(rows, self.end)
    phase = self.phases[self._phase_of(np.array([max(rows - 1, 0)]))[0]]
    return phase.turns_S + phase.rhythm.turns(rows - phase.first_row)

  def _phase_of(self, number_B: np.ndarray) -> np.ndarray:
    first_rows = [phase.first_row for phase in self.phases]
    return np.searchsorted(first_rows, number_B, side='right') - 1


def _rows_until(
  rhythm: Rhythm,
  left_S: np.ndarray,
  limited_S: np.ndarray,
  longest: int | None,
) -> int | None:
  """The rows until a limited source has had what is left for it.

  Returns:
    Their number, or `longest` where that comes first.
  """
  # No source is three rows away from its share: the first that is spent is so
  # between here (not yet) and there (already).
  weight_S, left_S = rhythm.weights_S[limited_S], left_S[limited_S]
  below = max(int(((left_S - 3) * PERIOD // weight_S).min()), 0)
  above = int((-(-(left_S + 3) * PERIOD // weight_S)).min())
  while above - below > 1:
    middle = (above + below) // 2
    spent = (rhythm.turns(middle)[limited_S] >= left_S).any()
    below, above = (below, middle) if spent else (middle, above)
  return above if longest is None else min(above, longest)


def ramp(
  *,
  from_step: int,
  to_step: int,
  before: Mapping[str, float],
  after: Mapping[str, float],
  stairs: int = 16,
) -> dict[int, dict[str, float]]:
  """Rates that go from one mixture to another, in equal stairs.

  >>> ramp(from_step=10, to_step=20, before={'a': 1}, after={'b': 1}, stairs=1)
  {0: {'a': 1.0, 'b': 0.0}, 10: {'a': 0.5, 'b': 0.5}, 20: {'a': 0.0, 'b': 1.0}}

  Args:
    from_step: where the first stair begins.
    to_step: where `after` begins.
    before: names -> rates to begin with; what they sum to doesn't matter.
    after: names -> rates in the end.
    stairs: rates between the two. Rates are exact over WINDOW rows, so stairs
      of fewer rows than that are of little use.

  Raises:
    errors.UserError: there is no room for the stairs, or rates sum to nothing.
  """
  if not (from_step >= 0 and stairs >= 1 and to_step - from_step >= stairs):
    raise errors.UserError(
      f'mixing.ramp has {stairs} stairs from step {from_step} to {to_step}: '
      'it needs one at least, and a step for each.'
    )
  totals = sum(before.values()), sum(after.values())
  if min(totals) <= 0:
    raise errors.UserError(
      f'mixing.ramp goes from {before} to {after}: the rates of both must sum '
      'to more than 0.'
    )

  def between(share: float) -> dict[str, float]:
    return {
      name: (1 - share) * before.get(name, 0) / totals[0]
      + share * after.get(name, 0) / totals[1]
      for name in {**before, **after}
    }

  found = {0: between(0.0)}
  for stair in range(stairs):
    step = from_step + (to_step - from_step) * stair // stairs
    found[step] = between((stair + 1) / (stairs + 1))
  found[to_step] = between(1.0)
  return found


def first_difference(
  was: Mapping[int, Mapping[str, float]], now: Mapping[int, Mapping[str, float]]
) -> int | None:
  """The first row from which two histories of rates differ; None: they don't.

  >>> first_difference({0: {'a': 1}}, {0: {'a': 1, 'b': 0}, 500: {'b': 1}})
  500
  """

  def begins(phases: Mapping[int, Mapping[str, float]], row: int) -> object:
    rates = phases.get(row)
    return rates and {name: rate for name, rate in rates.items() if rate}

  rows = sorted({*was, *now})
  return next((r for r in rows if begins(was, r) != begins(now, r)), None)


def _present(rest_S: np.ndarray, guests: int) -> np.ndarray:
  """Which sources are guests in which windows; (P, S) bool.

  In each window there are `guests`, and after any number p of windows a source
  has been in floor(p rest / WINDOWS) or ceil of it.
  """
  present_PS = np.zeros((WINDOWS, len(rest_S)), bool)
  (source_S,) = np.nonzero(rest_S)
  rest_S = rest_S[source_S]
  turn_S = np.ones_like(rest_S)  # the next turn, from 1
  for window in range(WINDOWS):
    time_has_come = ((turn_S - 1) * WINDOWS // rest_S <= window) & (
      turn_S <= rest_S
    )
    end_S = turn_S * WINDOWS
    deadline_S = -(-end_S // rest_S)
    # Ties. 1. Who may begin the next turn before this one's deadline. 2. Who
    # would drag the longest row of turns along by being late.
    overlaps_S = end_S % rest_S != 0
    free_S = WINDOWS - rest_S
    gaps_S = -(-deadline_S * free_S // WINDOWS)
    group_S = -(-gaps_S * WINDOWS // free_S)
    group_S = np.where(2 * rest_S >= WINDOWS, group_S, 0)
    order = np.lexsort(
      (source_S, -group_S, ~overlaps_S, deadline_S, ~time_has_come)
    )
    chosen = order[:guests]
    present_PS[window, source_S[chosen]] = True
    turn_S[chosen] += 1
  return present_PS


def _seated(
  present_PS: np.ndarray, guests: int
) -> tuple[np.ndarray, np.ndarray]:
  """A place for each guest, the same as in the window before if it was there.

  Returns:
    guest_PG int32, the source; and order_G, what a period does to the places:
    who would sit in place g at its start sits in place order_G[g] of the last
    window, and keeps that.
  """
  guest_PG = np.empty((WINDOWS + 1, guests), np.int32)
  guest_PG[0] = np.flatnonzero(present_PS[0])
  for window in range(1, WINDOWS + 1):
    present_S = present_PS[window % WINDOWS]
    before_G = guest_PG[window - 1]
    stays_G = present_S[before_G]
    comes_S = present_S.copy()
    comes_S[before_G] = False
    guest_PG[window] = before_G
    guest_PG[window, ~stays_G] = np.flatnonzero(comes_S)
  place_S = np.zeros(present_PS.shape[1], np.int64)
  place_S[guest_PG[-1]] = np.arange(guests)
  return guest_PG[:-1], place_S[guest_PG[0]]


class _Cycles:
  """A permutation that is applied again and again."""

  def __init__(self, order_G: np.ndarray):
    size = len(order_G)
    # The cycles one after the other, and where each element stands in its own.
    self._joined_G = np.empty(size, np.int64)
    self._start_G = np.empty(size, np.int64)
    self._length_G = np.empty(size, np.int64)
    self._place_G = np.full(size, -1, np.int64)
    used = 0
    for first in range(size):
      if self._place_G[first] >= 0:
        continue
      cycle = [first]
      while (following := int(order_G[cycle[-1]])) != first:
        cycle.append(following)
      self._joined_G[used : used + len(cycle)] = cycle
      self._start_G[cycle] = used
      self._length_G[cycle] = len(cycle)
      self._place_G[cycle] = np.arange(len(cycle))
      used += len(cycle)

  def back(self, element_B: np.ndarray, times_B: np.ndarray) -> np.ndarray:
    """What becomes `element` when the permutation is applied so many times."""
    place_B = (self._place_G[element_B] - times_B) % self._length_G[element_B]
    found: np.ndarray = self._joined_G[self._start_G[element_B] + place_B]
    return found


def occurrence(values: np.ndarray) -> np.ndarray:
  """How often each value came before: [2, 0, 2, 2] -> [0, 0, 1, 2]."""
  order = np.argsort(values, kind='stable')
  ranks = np.arange(len(values))
  _, first, counts = np.unique(
    values[order], return_index=True, return_counts=True
  )
  result = np.empty(len(values), np.int64)
  result[order] = ranks - np.repeat(first, counts)
  return result
