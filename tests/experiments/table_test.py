"""A table keeps what it was given, for a person and for a fit."""

import json

import pyarrow
import pyarrow.parquet
import pytest

from hephaestus_jax import errors
from hephaestus_jax.experiments import table

ASKED = {
  'run': 'control',
  'name': 'control',
  'seed': 0,
  'run_file': 'gin/ablations/control.gin',
  'config_hash': '0123456789abcdef',
  'status': table.DONE,
}
ROWS = [
  ASKED
  | {
    'parameters': 1_787_008,
    'parameters_without_embedding': 738_432,
    'tokens': 1_024_000,
    'stage1/tokens': 512_000,
    'share/text': 1.0,
    'evaluation/function_calls/nll_per_token': 3.75,
    'evaluation/function_calls/tokens': 20_311.0,
  },
  ASKED
  | {'run': 'control_seed1', 'seed': 1}
  | {'status': table.FAILED, 'error': 'Out of memory.'},
]


def test_a_table_is_read_as_it_was_written(tmp_path):
  table.write(tmp_path, ROWS)
  assert table.read(tmp_path) == ROWS
  assert json.loads((tmp_path / table.JSON).read_text()) == ROWS


def test_parquet_has_every_column_of_the_grid_even_where_no_run_fills_it(
  tmp_path,
):
  table.write(tmp_path, ROWS[1:])
  schema = pyarrow.parquet.read_schema(tmp_path / table.PARQUET)
  assert schema.names == list(table.ASKED)
  assert schema.field('agent_share').type == pyarrow.float64()


def test_counts_are_integers_and_what_was_measured_a_number(tmp_path):
  table.write(tmp_path, ROWS)
  schema = pyarrow.parquet.read_schema(tmp_path / table.PARQUET)
  assert schema.field('stage1/tokens').type == pyarrow.int64()
  benchmark = 'evaluation/function_calls/tokens'
  assert schema.field(benchmark).type == pyarrow.float64()


def test_a_row_is_kept_apart_until_the_table_is_written(tmp_path):
  assert table.read_row(tmp_path, 'control') is None
  made_by = {'train': '0123456789abcdef'}
  table.write_row(tmp_path, 'control', ROWS[0], made_by)
  kept = {'row': ROWS[0], 'made_by': made_by}
  assert table.read_row(tmp_path, 'control') == kept
  with pytest.raises(errors.UserError, match='hephaestus sweep'):
    table.read(tmp_path)
