"""A table is read as it is, and what it lacks is said."""

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from hephaestus_jax import errors
from hephaestus_jax.scaling import study
from tests.scaling import studies

POINTS = studies.points(sizes=(1_000, 3_000))
LOSS = np.linspace(3, 2, 24)


def read(path, agent=('calls',), general=('text',)):
  return study.read(
    str(path),
    agent_losses=agent,
    general_losses=general,
    unit='nll_per_token',
    size_column='parameters',
  )


@pytest.fixture
def file(tmp_path):
  path = tmp_path / 'table.parquet'
  studies.write(path, POINTS, {'calls': LOSS, 'text': LOSS + 1})
  return path


def change(path, row, name, value):
  table = pyarrow.parquet.read_table(path)
  rows = table.to_pylist()
  rows[row][name] = value
  pyarrow.parquet.write_table(
    pyarrow.Table.from_pylist(rows, table.schema), path
  )


def test_a_table_is_read_from_its_file_and_from_its_folder(file):
  for place in (file, file.parent):
    found = read(place)
    assert found.points.kinds == tuple(sorted(studies.KINDS))
    np.testing.assert_array_equal(found.points.agent_R, POINTS.agent_R)
    np.testing.assert_array_equal(found.losses['text'], LOSS + 1)
    assert found.seeds_R.tolist() == [0, 1] * 12
    assert found.agent_losses == ('calls',)
    assert found.left_out == {}


def test_sizes_are_told_apart_and_taken_one_by_one(file):
  found = read(file)
  assert found.sizes() == [(1_000, 50_000), (3_000, 150_000)]
  assert len(found.of_size(3_000, 150_000).seeds_R) == 12


def test_runs_that_tell_nothing_are_counted_by_their_reason(file):
  change(file, 0, 'status', 'failed')
  change(file, 5, 'evaluation/text/nll_per_token', None)
  change(file, 7, 'evaluation/text/nll_per_token', float('nan'))
  found = read(file)
  assert found.left_out == {
    'failed': 1,
    'no evaluation/text/nll_per_token': 1,
    'evaluation/text/nll_per_token is no number': 1,
  }
  assert len(found.seeds_R) == 21


def test_a_share_that_a_run_lacks_is_nought(file):
  change(file, 0, 'share/trajectory', None)
  assert read(file).points.shares_RK[0].tolist() == [0.5, 0, 0.5, 0]


def test_no_table_and_a_loss_that_it_lacks_are_the_users_to_mend(
  file, tmp_path
):
  with pytest.raises(errors.UserError, match='absent'):
    read(tmp_path / 'absent')
  with pytest.raises(errors.UserError, match='lacks evaluation/chess'):
    read(file, general=('chess',))
  (tmp_path / 'notes.txt').write_text('none')
  with pytest.raises(errors.UserError, match='no Parquet file'):
    read(tmp_path / 'notes.txt')
