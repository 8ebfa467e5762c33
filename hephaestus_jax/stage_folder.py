"""What a stage's folder is held to: it goes on with the inputs it began with.

Its inputs.json is written before the first step. A stage that is finished is
reused, one that was interrupted goes on, both with the same inputs alone; what
only watches or computes may differ.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from hephaestus_jax import (
  artefacts,
  checkpoints,
  data,
  description,
  errors,
  mixing,
  update,
)
from hephaestus_jax import model as transformer
from hephaestus_jax.pod import hosts

# What changes how the network is computed, and not what it computes: a run may
# be resumed with other values.
COMPUTATION = (
  'scan',
  'remat',
  'attention',
  'attention_block',
  'microbatches',
  'loss_chunks',
  'axes',
)
# What a mixture is made of: `_data_identity` says what came of it.
MIXED = ('rates', 'max_epochs', 'max_tokens')


def inputs(
  config: transformer.Config,
  stage: update.Stage,
  mixture: data.Mixture,
  cache_dir: str,
  parameters: Mapping[str, str | None],
  seed: int,
) -> dict[str, Any]:
  """What a stage's result depends on.

  Args:
    config: the network.
    stage: its step, its optimizer, its mixture's name.
    mixture: its rows, which lie in `cache_dir`.
    cache_dir: what `cache.cache` wrote.
    parameters: where the first ones come from.
    seed: of fresh parameters, and of the order of the rows.
  """
  return {
    'model': _identity(config),
    'stage': _identity(stage)
    | {'optimizer': description.describe(stage.optimizer.update)},
    'data': _data_identity(mixture, cache_dir, stage),
    'parameters': parameters,
    'seed': seed,
  }


def of_process(inputs: Mapping[str, Any]) -> dict[str, Any]:
  """What must be the same for all processes of a run."""
  return {
    'code': hosts.code(),
    'configuration': artefacts.configuration(),
    'jax': jax.__version__,
    'inputs': inputs,
  }


def _identity(settings: Any) -> dict[str, Any]:
  """A dataclass without what only changes how things are computed."""
  fields = {
    field.name: getattr(settings, field.name)
    for field in dataclasses.fields(settings)
    if field.name not in (*COMPUTATION, *MIXED, 'optimizer')
  }
  return description.describe(fields)


def _data_identity(
  mixture: data.Mixture, cache_dir: str, stage: update.Stage
) -> dict[str, Any]:
  """What the rows are; the same cache built twice counts as one."""
  rows = stage.steps * stage.batch_size
  return {
    'phases': {row: p for row, p in mixture.phases.items() if row < rows},
    'rows': {
      task: artefacts.fingerprint(data.Rows(cache_dir, task, 'train').info)
      for task in mixture.sources
    },
    'sequence_length': mixture.sequence_length,
    'tokenizer': mixture.tokenizer_fingerprint,
  }


def amend(
  folder: pathlib.Path, stage: update.Stage, inputs: Mapping[str, Any]
) -> None:
  """Holds an interrupted stage to these inputs from its newest checkpoint on.

  Raises:
    errors.UserError: it is beyond the steps that it shall have.
  """
  steps = checkpoints.steps(folder / checkpoints.FOLDER)
  if not folder.exists() or steps[-1:] == [stage.steps]:
    return
  if steps and steps[-1] > stage.steps:
    raise errors.UserError(
      f'{folder} has step {steps[-1]}, and update.Stage.steps of '
      f'{stage.name!r} is {stage.steps}. Give it as many steps or more.'
    )
  hosts.agree({})  # or one would look for steps in what another changes
  if hosts.is_first():
    _take_other_rates(folder, stage, inputs)
    artefacts.amend(folder, inputs, step=steps[-1] if steps else 0)
  hosts.agree({})


def finished(
  folder: pathlib.Path,
  stage: update.Stage,
  inputs: Mapping[str, Any],
  following: Sequence[pathlib.Path],
) -> bool:
  """Whether the stage is done; if it was never begun, makes its folder.

  Its last checkpoint must be whole, unless the stage in the folder `following`
  has one of its own and starts from this one no more.

  Raises:
    errors.UserError: the folder was made from other inputs.
  """
  if folder.exists() and hosts.is_first():
    _take_other_rates(folder, stage, inputs)
  hosts.agree({})
  if not artefacts.reusable(folder, inputs) and hosts.is_first():
    with artefacts.written(folder, inputs):
      pass  # inputs.json is there from the start: a resume is held to it
  hosts.agree({})
  saved = folder / checkpoints.FOLDER
  steps = checkpoints.steps(saved)
  # Else one of them would begin anew where another goes on.
  hosts.agree({str(folder): hosts.appears(folder), 'its checkpoints': steps})
  needed = not any(checkpoints.steps(x / checkpoints.FOLDER) for x in following)
  if steps[-1:] == [stage.steps] and (
    not needed or checkpoints.newest_whole(saved) == stage.steps
  ):
    if hosts.is_first():
      print(f'reused {folder}: {stage.steps} steps done')
    return True
  return False


def _take_other_rates(
  folder: pathlib.Path, stage: update.Stage, inputs: Mapping[str, Any]
) -> None:
  """Lets a stage go on with other rates from a later step; writes it down.

  Raises:
    errors.UserError: the rates differ for rows that were already read.
  """
  found, wanted = artefacts.read_inputs(folder), json.loads(json.dumps(inputs))
  was, now = found.get('data', {}), wanted['data']
  # A source that comes in later may be a new one.
  new_rows = {**now['rows'], **was.get('rows', {})} == now['rows']
  same = was | {'phases': 0, 'rows': 0} == now | {'phases': 0, 'rows': 0}
  if found | {'data': 0} != wanted | {'data': 0} or not (same and new_rows):
    return  # `artefacts.reusable` says what differs
  before, after = (
    {int(row): rates for row, rates in one.get('phases', {}).items()}
    for one in (was, now)
  )
  row = mixing.first_difference(before, after)
  if row is None:
    return
  done = max(checkpoints.steps(folder / checkpoints.FOLDER), default=0)
  if row < done * stage.batch_size:
    raise errors.UserError(
      f'{folder} has read its first {done} steps at other rates: they would '
      f'differ from step {row // stage.batch_size} on. Rates of steps that are '
      f'done stay: bind update.Stage.rates = {{{done}: ...}} for those to come.'
    )
  artefacts.amend(
    folder, wanted, resumed_step=done, from_row=row, was=before, now=after
  )
