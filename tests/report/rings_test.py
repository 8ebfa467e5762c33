"""Labels that don't meet, small parts that are not lost."""

import pytest

from hephaestus_jax.report import plots, rings


@pytest.mark.parametrize(
  ('heights', 'moved'),
  [
    ([0.9, 0.2], [0.9, 0.2]),
    ([0.5, 0.5], [0.55, 0.45]),
    ([0.5, 0.45, -0.2], [0.5167, 0.4167, -0.1833]),
    ([], []),
  ],
)
def test_labels_that_meet_are_moved_apart(
  heights: list[float], moved: list[float]
) -> None:
  assert rings.apart(heights, 0.1) == moved


def test_many_labels_keep_their_order_and_their_distance() -> None:
  places = rings.apart([1 - 0.01 * i for i in range(15)], 0.115)
  gaps = [a - b for a, b in zip(places, places[1:], strict=False)]
  assert min(gaps) >= 0.1149


def drawn(slices: list[rings.Slice]) -> str:
  drawing = plots.render(
    'x', '', lambda: rings.rings(slices, plots.KIND_COLOURS, 'tokens')
  )
  assert drawing
  return drawing.svg


def test_a_ring_names_its_parts_with_their_shares() -> None:
  svg = drawn(
    [
      rings.Slice('code', 'package_code', 300),
      rings.Slice('text', 'books', 500),
      rings.Slice('text', 'news', 200),
    ]
  )
  for text in (
    'package_code  30 %',
    'books  50 %',
    'news  20 %',
    'text',
    '1 k',
  ):
    assert f'>{text}<' in svg
  assert svg == drawn(
    [
      rings.Slice('text', 'news', 200),
      rings.Slice('text', 'books', 500),
      rings.Slice('code', 'package_code', 300),
    ]
  )


def test_parts_too_small_to_see_are_one() -> None:
  small = [rings.Slice('text', f'source{i}', 3) for i in range(20)]
  svg = drawn([rings.Slice('text', 'books', 940), *small])
  assert '>20 smaller  6.0 %<' in svg
  assert 'source3' not in svg


def test_the_points_groups_are_told_with_their_numbers() -> None:
  points = [(0.0, 1.0, 'seed'), (1.0, 2.0, 'seed'), (5.0, 2.0, 'general')]
  drawing = plots.render('x', '', lambda: rings.scatter(points))
  assert drawing
  assert '>seed (2)<' in drawing.svg
  assert '>general (1)<' in drawing.svg
  assert 'retrieved' not in drawing.svg
