"""Steps that were not taken are written down, and too many end the run."""

import json
import pathlib
import sys

import pytest

from hephaestus_jax import data, errors
from hephaestus_jax.observability import skipped

sys.path.append(str(pathlib.Path(__file__).parents[1]))
import tiny  # noqa: E402


@pytest.fixture
def mixture(tmp_path):
  tiny.write_cache(tmp_path / 'cache', {'a': 0.75, 'b': 0.25})
  return data.Mixture(
    cache_dir=str(tmp_path / 'cache'), mixture='mixture_v1', seed=0
  )


def of(folder, mixture, resumed_step=0, most=3):
  return skipped.Skipped(
    folder, mixture, batch_size=4, most=most, resumed_step=resumed_step
  )


def steps(folder):
  text = (folder / skipped.FILE).read_text()
  return [json.loads(line)['step'] for line in text.splitlines()]


def test_a_line_names_the_rows_that_the_step_read(tmp_path, mixture):
  of(tmp_path, mixture).add([(2, float('inf'))])
  (line,) = (tmp_path / skipped.FILE).read_text().splitlines()
  found = json.loads(line)
  source_B, row_B = mixture.rows_at(range(4, 8))
  assert found['step'] == 2
  assert found['gradient_norm'] == 'inf'
  assert sorted(
    (mixture.sources.index(source), row)
    for source, rows in found['rows'].items()
    for row in rows
  ) == sorted(zip(source_B.tolist(), row_B.tolist(), strict=True))


def test_only_steps_in_a_row_count_as_too_many(tmp_path, mixture):
  here = of(tmp_path, mixture)
  here.add([(1, 9.0), (2, 9.0), (4, 9.0)])
  here.add([(5, 9.0)])
  with pytest.raises(errors.UserError, match='3 updates in a row .* step 6'):
    here.add([(6, 9.0)])
  assert steps(tmp_path) == [1, 2, 4, 5, 6]


def test_a_restart_does_not_begin_the_count_anew(tmp_path, mixture):
  of(tmp_path, mixture).add([(3, 9.0), (4, 9.0)])
  resumed = of(tmp_path, mixture, resumed_step=4)
  with pytest.raises(errors.UserError, match='3 updates in a row .* step 5'):
    resumed.add([(5, 9.0)])


@pytest.mark.parametrize(
  ('last', 'expected'), [(5, [3, 4, 5]), (6, []), (7, [7]), (0, [])]
)
def test_those_that_lead_to_the_last_step_count(last, expected):
  assert skipped._ending([1, 3, 4, 5, 7], last) == expected


def test_what_was_written_after_the_checkpoint_is_forgotten(tmp_path, mixture):
  of(tmp_path, mixture).add([(1, 9.0), (3, 9.0)])
  with (tmp_path / skipped.FILE).open('a') as file:
    file.write('{"step": 4, "gradi')  # killed here
  of(tmp_path, mixture, resumed_step=2)
  assert steps(tmp_path) == [1]


def test_a_limit_below_one_is_refused(tmp_path, mixture):
  with pytest.raises(errors.UserError, match='max_skipped = 0'):
    of(tmp_path, mixture, most=0)
