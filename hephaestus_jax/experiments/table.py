"""Runs as a table: what ablations compare and scaling laws are fitted to.

A table is a folder with `table.parquet` and `table.json` (a list of the same
rows) and `rows/RUN.json`, a file per run that is written when the run ends.

Every row has what was asked for:

| column | type | |
|---|---|---|
| run | str | the run's folder, once in a table: 'control_seed1' |
| name | str | what runs share that differ in their seed alone: 'control' |
| seed | int | |
| run_file | str | what `hephaestus train` reads |
| config_hash | str | changes when any value of the run's configuration does |
| status | str | 'done', 'failed', 'running' (elsewhere), 'missing' |
| error | str | what a failed run said; null for all others |
| model | str | of a sweep's grid: the model file's name, '1m' |
| agent_share | float | of a sweep's grid: the share that was asked for |
| token_multiple | float | of a sweep's grid: tokens per parameter, asked for |

A run that is done has also:

| column | type | |
|---|---|---|
| parameters | int | N, all; a tied output matrix is the embedding |
| parameters_without_embedding | int | N without the vocabulary's matrices |
| tokens | int | D, in all stages: steps x rows x their length |
| share/KIND | float | documentation, trajectory, code, text, instruction |
| share/agent | float | documentation and trajectory together |
| rate/TASK | float | of one Task, such as 'rate/books_v1' |
| seconds | float | of its steps: no start, no evaluation, no save |
| loss | float | of training, mean since the line before the last one |
| evaluation/NAME/VALUE | float | after the last stage, as in metrics.jsonl |
| base/evaluation/... | float | after the last stage that is not 'stage3' |
| STAGE/... | | tokens, seconds, loss, evaluation/NAME/VALUE of one stage |
| bfcl/COLUMN | float | accuracy, where `hephaestus evaluate` was run |
| base/bfcl/COLUMN | float | the same, of results in RUN/base |

Shares and rates are of the rows of all stages, by tokens; shares of KIND sum to
1. NAME is an evaluator's: 'function_calls' (loss on held-out calls), and of
general loss 'general_text' and 'general_code' in a sweep; VALUE is
'nll_per_token' or 'nll_per_character', in nats. A value that a run doesn't have
is null in table.parquet and absent from JSON.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow
import pyarrow.parquet

from hephaestus_jax import artefacts, errors

JSON = 'table.json'
PARQUET = 'table.parquet'
ROWS = 'rows'

DONE, FAILED, RUNNING, MISSING = 'done', 'failed', 'running', 'missing'

Row = Mapping[str, Any]

# Columns that every row has, in this order; the others follow by name.
ASKED = {
  'run': pyarrow.string(),
  'name': pyarrow.string(),
  'seed': pyarrow.int64(),
  'run_file': pyarrow.string(),
  'config_hash': pyarrow.string(),
  'status': pyarrow.string(),
  'error': pyarrow.string(),
  'model': pyarrow.string(),
  'agent_share': pyarrow.float64(),
  'token_multiple': pyarrow.float64(),
}
WHOLE = ('parameters', 'parameters_without_embedding', 'tokens')


def write(folder: pathlib.Path, rows: Sequence[Row]) -> None:
  """Writes the table of these rows, in their order."""
  folder.mkdir(parents=True, exist_ok=True)
  artefacts.write_json(folder / JSON, list(rows))
  schema = pyarrow.schema(
    [*ASKED.items(), *((name, _type(name)) for name in measured(rows))]
  )
  partial = folder / (PARQUET + '.partial')
  pyarrow.parquet.write_table(
    pyarrow.Table.from_pylist(list(rows), schema), partial
  )
  partial.replace(folder / PARQUET)


def read(folder: pathlib.Path) -> list[dict[str, Any]]:
  """The rows of a table, each without the columns it has no value for.

  Raises:
    errors.UserError: there is no table.
  """
  path = folder / PARQUET
  if not path.exists():
    raise errors.UserError(
      f'{path} does not exist. `hephaestus ablate` and `hephaestus sweep` '
      'write it.'
    )
  rows = pyarrow.parquet.read_table(path).to_pylist()
  return [
    {name: value for name, value in row.items() if value is not None}
    for row in rows
  ]


def measured(rows: Sequence[Row]) -> list[str]:
  """The columns beyond those that every row has, by name."""
  return sorted({name for row in rows for name in row} - {*ASKED})


def _type(name: str) -> pyarrow.DataType:
  """A count is an integer, everything else measured a number."""
  count = name.rpartition('/')[2] == 'tokens' and 'evaluation' not in name
  return pyarrow.int64() if count or name in WHOLE else pyarrow.float64()


def write_row(
  folder: pathlib.Path, run: str, row: Row, made_by: Mapping[str, str]
) -> None:
  """Keeps the row of a run that ended, and its commands' config hashes."""
  path = folder / ROWS / f'{run}.json'
  path.parent.mkdir(parents=True, exist_ok=True)
  artefacts.write_json(path, {'row': dict(row), 'made_by': dict(made_by)})


def read_row(folder: pathlib.Path, run: str) -> dict[str, Any] | None:
  """{'row', 'made_by'} of a run that ended; None if none did."""
  path = folder / ROWS / f'{run}.json'
  return json.loads(path.read_text()) if path.exists() else None
