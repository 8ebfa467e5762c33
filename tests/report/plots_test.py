"""Numbers as a reader sees them; figures that don't change on their own."""

import pytest

from hephaestus_jax.report import plots


@pytest.mark.parametrize(
  ('value', 'shown'),
  [(0, '0'), (950, '950'), (12_345, '12.3 k'), (4_560_000, '4.56 M')],
)
def test_a_count_is_short(value: float, shown: str) -> None:
  assert plots.short(value) == shown


@pytest.mark.parametrize(
  ('seconds', 'shown'),
  [(41.2, '41 s'), (59.7, '1 min 00 s'), (125.4, '2 min 05 s')],
)
def test_a_duration_is_said_in_minutes(seconds: float, shown: str) -> None:
  assert plots.duration(seconds) == shown


def test_an_hour_is_said_in_hours() -> None:
  assert plots.duration(3725) == '1 h 02 min'


def test_the_interval_of_a_share_is_wilsons() -> None:
  # Values of Wilson's formula at z = 1.96, worked out by hand.
  assert plots.wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
  assert plots.wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
  assert plots.wilson(0, 0) == (0.0, 1.0)


def test_a_figure_is_the_same_bytes_twice_and_has_a_description() -> None:
  def drawn() -> plots.Drawing:
    drawing = plots.render(
      'some',
      'Bars & "more"',
      lambda: plots.bars([plots.Bar('a', 2, '#0072b2', '2 k')], 'tokens'),
    )
    assert drawing
    return drawing

  first = drawn()
  assert first == drawn()
  assert first.png.startswith(b'\x89PNG')
  assert first.svg.startswith('<svg viewBox="0 0 ')
  assert 'aria-label="Bars &amp; &quot;more&quot;"' in first.svg
  assert '2 k' in first.svg  # text is text


def test_two_figures_share_no_id() -> None:
  def ids(name: str) -> set[str]:
    line = plots.Line('forge', 0, (((0.0, 2.0), (9.0, 1.0)),))
    drawing = plots.render(
      name,
      '',
      lambda: plots.curves([line], y_label='y', stages={}, points=True),
    )
    assert drawing
    return {part.split('"')[0] for part in drawing.svg.split(' id="')[1:]}

  assert ids('one')
  assert not ids('one') & ids('two')
