"""`hephaestus fit`, from a table of runs to fits.json."""

import json
import pathlib

import numpy as np
import pytest

from hephaestus_jax import artefacts, errors
from hephaestus_jax.scaling import fit, fits, laws, study
from tests.scaling import studies

POINTS = studies.points(studies.SHARES, sizes=studies.SIZES)


def run(folder: pathlib.Path, **changes):
  arguments = {
    'table': str(folder),
    'output_dir': str(folder / 'fits'),
    'agent_losses': ['calls'],
    'general_losses': ['text'],
    'draws': 20,
  }
  return fit.fit(**(arguments | changes))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('study')
  losses = {
    'calls': studies.sized(studies.AGENT, POINTS),
    'text': studies.sized(studies.GENERAL, POINTS),
  }
  noisy = {
    name: studies.noisy(loss_R, 0.003, seed)
    for seed, (name, loss_R) in enumerate(losses.items())
  }
  studies.write(folder / 'table.parquet', POINTS, noisy)
  return folder


@pytest.fixture(scope='module')
def result(folder):
  return run(folder)


@pytest.fixture(scope='module')
def written(result):
  return json.loads(pathlib.Path(result['fits']).read_text())


def test_every_law_has_a_fit_or_a_reason_for_every_loss(written):
  rows = {name: len(groups) for name, groups in written['laws'].items()}
  assert rows == {
    'power_of_share': 3,
    'exponential_of_shares': 3,
    'sum_of_terms': 1,
    'share_times_tokens': 1,
    'regression': 1,
  }
  for groups in written['laws'].values():
    for group in groups:
      for loss in ('calls', 'text'):
        assert {*group['losses'][loss]} in (
          {'reason'},
          {'parameters', 'runs', 'residual', 'left_out_error'},
        )
  # A run without agent data is not this law's.
  bimix = written['laws']['share_times_tokens'][0]['losses']
  assert 'none of the kind' in bimix['calls']['reason']


def test_the_papers_law_is_recovered_at_each_size(written):
  for group in written['laws']['power_of_share']:
    alpha = group['losses']['text']['parameters']['alpha']
    assert alpha['low'] <= alpha['value'] <= alpha['high']
    assert alpha['value'] == pytest.approx(2.0, abs=0.3)


def test_the_recommendation_is_an_interval_around_the_true_optimum(
  result, written
):
  chosen = result['recommended']
  assert chosen == written['recommended']
  largest = POINTS.at(POINTS.parameters_R == studies.SIZES[-1])
  x_G = np.linspace(0, 1, 10_001)
  start = {
    theta: studies.sized(theta, largest)[0]
    for theta in (studies.AGENT, studies.GENERAL)
  }
  true_G = sum(
    np.log(level + k * x_G**alpha) for (_, k, alpha), level in start.items()
  )
  assert chosen['low'] <= x_G[true_G.argmin()] <= chosen['high']
  assert chosen['inside'] and chosen['verdict'] == 'interior optimum'
  assert {*chosen['by_seed']} == {'0', '1'}
  assert chosen['law'] != 'share_times_tokens'


def test_the_largest_size_is_predicted_from_the_smaller_ones(written):
  held = written['held_out']
  assert held['parameters'] == studies.SIZES[-1]
  # Two sizes that stay can't tell a floor from a slope.
  assert '2 sizes' in held['laws']['sum_of_terms']['calls']['reason']
  told = held['laws']['regression']['text']
  assert told['runs'] == len(told['predicted']) == 12
  assert told['error'] < 0.05
  inside = sum(
    one['low'] <= one['measured'] <= one['high'] for one in told['predicted']
  )
  assert told['inside'] == inside


def test_where_a_law_is_wrong_beyond_its_sizes_the_interval_knows(tmp_path):
  """The share matters more at each size, which no sum of terms says."""
  points = studies.points(
    sizes=(250_000, 500_000, 1_000_000, 2_000_000, 4_000_000)
  )
  doublings_R = np.log2(points.parameters_R / 250_000)
  more_R = -0.3 * doublings_R * np.sqrt(points.agent_R)
  loss_R = studies.sized(studies.AGENT, points) + more_R
  studies.write(
    tmp_path / 'table.parquet',
    points,
    {'calls': studies.noisy(loss_R, 0.003, 0)},
  )
  found = study.read(
    str(tmp_path),
    agent_losses=['calls'],
    general_losses=[],
    unit='nll_per_token',
    size_column='parameters',
  )
  method = fit.Method(1.0, 0.01, 50, 0.9, 0)
  told = fit.held_out(found, method)['laws']['sum_of_terms']['calls']
  assert told['error_before'] > 0.03
  assert told['inside'] >= 10
  # With the law taken for true it holds half of them.
  n_R = found.points.parameters_R
  small, large = found.at(n_R < 4_000_000), found.at(n_R == 4_000_000)
  law, _ = laws.LAWS['sum_of_terms']
  fitted = fits.fit(law, small.points, small.losses['calls'], True, 0.01)
  low_R, high_R = fits.predicted_interval(
    fitted,
    fits.redraw(fitted, 50, 0, 0.01),
    large.points,
    0.9,
    np.random.default_rng(0),
  )
  measured_R = large.losses['calls']
  assert ((low_R <= measured_R) & (measured_R <= high_R)).sum() <= 6


def test_the_figures_curves_run_from_the_least_share_to_the_most(written):
  assert len(written['curves']) == 2 * len(studies.SIZES)
  for curve in written['curves']:
    assert (curve['x'][0], curve['x'][-1]) == (0.0, 1.0)
    assert (np.array(curve['low']) <= np.array(curve['high'])).all()
  assert len(written['runs']) == 36


def test_the_same_table_gives_the_same_bytes(tmp_path):
  points = studies.points(sizes=(1_000,))
  loss_R = studies.noisy(studies.power(studies.AGENT, points.agent_R), 0.01, 0)
  studies.write(tmp_path / 'table.parquet', points, {'calls': loss_R})
  alone = {'general_losses': [], 'agent_weight': 1.0}
  first = pathlib.Path(run(tmp_path, **alone)['fits']).read_bytes()
  assert pathlib.Path(run(tmp_path, **alone)['fits']).read_bytes() == first
  assert json.loads(first)['held_out'] is None
  assert json.loads(first)['recommended']['verdict'] == 'no interior optimum'


@pytest.mark.parametrize(
  ('changes', 'said'),
  [
    ({'agent_losses': []}, 'agent_losses is empty'),
    ({'agent_weight': 1.5}, '1.5 is not between'),
    ({'general_losses': []}, 'no general loss'),
    ({'draws': 3}, 'draws = 3'),
  ],
)
def test_an_argument_out_of_range_is_refused(folder, changes, said):
  with pytest.raises(errors.UserError, match=said):
    run(folder, **changes)


def test_a_folder_that_holds_something_else_is_not_replaced(folder):
  artefacts.write_json(folder / 'inputs.json', {'command': 'sweep'})
  with pytest.raises(errors.UserError, match='no fit'):
    run(folder, output_dir=str(folder))
