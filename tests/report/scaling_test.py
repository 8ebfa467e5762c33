"""The scaling study, from a literal fits.json."""

import copy
import json
import pathlib
from typing import Any

import matplotlib
import pytest
from matplotlib.backends import backend_agg

from hephaestus_jax.report import plots, scaling


@pytest.fixture
def fits(whole_run: pathlib.Path) -> dict[str, Any]:
  return json.loads((whole_run / 'fits/fits.json').read_text())


def test_the_best_share_is_told_with_its_interval_and_its_rule(fits) -> None:
  text = scaling.section(fits, {})
  assert '<b>40 % agent data</b>, 90 % interval 30 to 55 %' in text
  assert 'interior optimum. It is 1.25 % better' in text
  assert 'From 8 runs, at 3 M parameters, by power of share (0.40 % off' in text
  assert 'The runs of one seed alone give 38 % (seed 0), 42 % (seed 1).' in text
  assert (
    '(function_calls) by 0.5 and that of the general ones (general_text)'
    in (text)
  )


def test_that_there_is_no_optimum_is_told(fits) -> None:
  fits['recommended'] |= {'inside': False, 'verdict': 'no interior optimum'}
  assert 'no interior optimum' in scaling.section(fits, {})
  fits['recommended'] = None
  assert 'no share is named' in scaling.section(fits, {})


def test_a_larger_size_is_told_as_it_was_predicted(fits) -> None:
  table = scaling.held_out(fits)
  assert table is not None
  assert '1.2 %' in table and '3.4 %' in table
  assert '1.0 % too low' in table
  assert '3 of 4 within the interval' in table
  assert '2 sizes; a floor and a slope need 3' in table
  assert scaling.held_out(fits | {'held_out': None}) is None


def test_parameters_stand_with_their_intervals(fits) -> None:
  assert 'c 2 (1.9 to 2.1), alpha 0.5 (0.4 to 0.6)' in scaling.parameters(fits)


def test_figure_3_has_a_panel_per_loss_and_one_of_the_trade_off(fits) -> None:
  figure = scaling.figure(fits)
  titles = [
    axes.get_title(loc='left') or axes.get_title() for axes in figure.axes
  ]
  assert titles[:3] == [
    *('function calls (agent)', 'general text (general)'),
    'trade-off at 3 M parameters',
  ]
  # Two sizes: points, a line and a band each.
  calls = figure.axes[0]
  assert len(calls.lines) == 4 and len(calls.collections) == 2
  assert calls.lines[0].get_xdata().tolist() == [0, 0, 100, 100]
  alone = copy.deepcopy(fits) | {'recommended': None}
  assert len(scaling.figure(alone).axes) == 2
  assert scaling.figure(None) is None


def test_the_same_fits_give_the_same_bytes(fits) -> None:
  one, two = (
    plots.render('mixture', 'x', lambda: scaling.figure(fits)) for _ in range(2)
  )
  assert one == two


def test_however_many_sizes_the_legend_stays_on_the_picture(fits) -> None:
  more = [
    {**run, 'parameters': factor * run['parameters']}
    for run in fits['runs']
    for factor in (1.1, 1.2)
  ]
  with matplotlib.rc_context(plots.STYLE):
    picture = scaling.figure({**fits, 'runs': [*fits['runs'], *more]})
    canvas = backend_agg.FigureCanvasAgg(picture)
    canvas.draw()
  (legend,) = picture.legends
  assert len(legend.get_texts()) == 6
  box = legend.get_window_extent()
  assert picture.bbox.x0 <= box.x0 and box.x1 <= picture.bbox.x1
