"""The ablations' table and figure say what the summary says."""

import json

import pytest

from hephaestus_jax.experiments import spread
from hephaestus_jax.report import ablations, figures, results

COLUMNS = {'base': 'base/nll_per_token', 'after': 'nll_per_token'}
ROWS = [
  {'name': name, 'seed': seed, 'status': 'done', **values}
  for name, shift in (('forge', 0.0), ('control', 0.5))
  for seed in (0, 1)
  for values in (
    {
      'base/nll_per_token': 4.5 + shift + seed / 10,
      'nll_per_token': 3.25 + shift + seed / 5,
    },
  )
]
FAILED = {
  **{'name': 'no_code', 'seed': 0, 'status': 'failed'},
  'error': 'train: <No> rows.',
}


@pytest.fixture
def found(run_dir):
  """A run's results with ablations of which one failed."""
  summary = {
    'columns': COLUMNS,
    'rows': spread.summarise([*ROWS, FAILED], list(COLUMNS.values())),
  }
  (run_dir / 'ablations').mkdir()
  (run_dir / 'ablations' / 'summary.json').write_text(json.dumps(summary))
  return results.read(str(run_dir), ['forge'], ['stage1'])


def test_a_row_has_its_mean_its_spread_and_its_difference(found):
  page = ablations.section(found.ablations, {})
  assert '<td>control</td>' in page
  assert '3.350 ± 0.141' in page  # of the first
  assert '3.850 ± 0.141' in page
  assert '+0.500 ± 0.000' in page


def test_what_failed_is_shown_as_failed_and_says_why(found):
  page = ablations.section(found.ablations, {})
  assert '0, <span class="bad">1 failed</span>' in page
  assert 'train: &lt;No&gt; rows.' in page


def test_the_figure_has_a_dot_per_seed_and_a_row_per_run(found):
  drawn = ablations.figure(found)
  base, after = drawn.axes
  assert [label.get_text() for label in base.get_yticklabels()] == [
    *('forge', 'control', 'no_code')
  ]
  dots = [line.get_xdata() for line in after.lines if line.get_marker() == 'o']
  assert [list(x) for x in dots] == [
    pytest.approx([3.25, 3.45]),
    pytest.approx([3.75, 3.95]),
  ]
  assert ablations.FIGURE in figures.draw(found, 'function_calls')


def test_without_ablations_there_is_no_figure(run_dir):
  bare = results.read(str(run_dir), ['forge'], ['stage1'])
  assert ablations.figure(bare) is None
