"""Benchmarks on one checkpoint, and their results as files.

<output_dir>/<benchmark>.json                what was measured
<output_dir>/<benchmark>_completions.jsonl   what the model wrote, and why
                                             it counted or did not
<output_dir>/<benchmark>_trajectories/       what agents did, as `lines` says
"""

import contextlib
import json
import numbers
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import jax
from jax.experimental.compilation_cache import compilation_cache as jit_cache
from jax.sharding import Mesh

from hephaestus_jax import artefacts, checkpoints, errors, partitioning
from hephaestus_jax import model as transformer
from hephaestus_jax.corpus import lines

COMPLETIONS = 'completions'
TRAJECTORIES = 'trajectories'


class Benchmark(Protocol):
  """Something to measure. `name` is what its results are called."""

  name: str

  def identity(self) -> Mapping[str, Any]:
    """JSON that its results depend on, besides the model.

    'tokenizer' in it is the fingerprint of the vocabulary that it reads; None
    where it measures a model that is served, and no checkpoint.
    """

  def __call__(
    self, config: transformer.Config, params: dict[str, Any]
  ) -> dict[str, Any]:
    """Results as JSON.

    A list under 'completions' goes to a file of its own; Documents under
    'trajectories', to a folder.
    """


def evaluate(
  *,
  model: transformer.Config,
  checkpoint: str | None,
  benchmarks: Sequence[Benchmark],
  output_dir: str,
  mesh: Mesh | None = None,
  compilation_cache: str | None = None,
) -> dict[str, Any]:
  """Measures a checkpoint.

  Args:
    model: the network that the checkpoint holds.
    checkpoint: a stage's folder (its newest checkpoint) or a step's; None where
      all benchmarks measure a model that is served.
    benchmarks: each under another name.
    output_dir: where the results go.
    mesh: the devices; None: all of them, parameters cut over them.
    compilation_cache: a folder that keeps compiled programs for the next
      process.

  Returns:
    {'reused': whether it was all there, 'results': {name: results}} without the
    completions.

  Raises:
    errors.UserError: the checkpoint isn't there or holds another model, a
      benchmark reads another vocabulary than the model was trained with, or
      `output_dir` holds the results of something else.
  """
  names = [benchmark.name for benchmark in benchmarks]
  if len(set(names)) != len(names) or not names:
    raise errors.UserError(
      f'evaluate.evaluate.benchmarks are {names}: there must be one at least, '
      'and each needs a name of its own.'
    )
  identities = {
    benchmark.name: benchmark.identity() for benchmark in benchmarks
  }
  inputs = {
    'checkpoint': _checkpoint_identity(checkpoint, identities),
    'benchmarks': identities,
  }
  folder = pathlib.Path(output_dir)
  reused = artefacts.reusable(folder, inputs)
  if reused:
    print(f'reused {folder}')
  else:
    if compilation_cache is not None:
      jax.config.update('jax_compilation_cache_dir', compilation_cache)
      jit_cache.reset_cache()  # else the process's first jit has decided it
    mesh = partitioning.make_mesh() if mesh is None else mesh
    params = {}
    if checkpoint is not None:
      params = checkpoints.restore_parameters(
        checkpoint, transformer.placed(model, mesh)
      )
    with artefacts.written(folder, inputs) as target:
      for benchmark in benchmarks:
        with jax.set_mesh(mesh) if mesh.size > 1 else contextlib.nullcontext():
          result = benchmark(model, params)
        if COMPLETIONS in result:
          _write_lines(
            target / f'{benchmark.name}_{COMPLETIONS}.jsonl',
            result.pop(COMPLETIONS),
          )
        if TRAJECTORIES in result:
          documents = target / f'{benchmark.name}_{TRAJECTORIES}'
          documents.mkdir()
          lines.write(documents, result.pop(TRAJECTORIES))
        artefacts.write_json(target / f'{benchmark.name}.json', result)
  results = {
    name: json.loads((folder / f'{name}.json').read_text()) for name in names
  }
  for name in names:
    print('\n'.join(table(name, results[name])))
  return {'reused': reused, 'results': results}


def _checkpoint_identity(
  checkpoint: str | None, identities: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any] | None:
  """Which parameters: what the stage was trained from, and its step.

  Raises:
    errors.UserError: a benchmark's vocabulary is not that of the training, or
      there is no checkpoint for one that reads it.
  """
  if checkpoint is None:
    for name, identity in identities.items():
      if identity['tokenizer'] is not None:
        raise errors.UserError(
          f'{name} measures a checkpoint, and evaluate.evaluate.checkpoint is '
          'None. Name one, or the address of a model that is served.'
        )
    return None
  path = pathlib.Path(checkpoint)
  step = checkpoints.find(path)
  trained = artefacts.read_inputs(step.parents[1])
  vocabulary = trained['data']['tokenizer']
  for name, identity in identities.items():
    if identity['tokenizer'] not in (None, vocabulary):
      raise errors.UserError(
        f'{name} reads the vocabulary {identity["tokenizer"]}, and {path} was '
        f'trained with {vocabulary}. Name the tokenizer and the cache of that '
        'training.'
      )
  return {'step': step.name, 'trained_from': artefacts.fingerprint(trained)}


def _write_lines(path: pathlib.Path, records: Sequence[Any]) -> None:
  with path.open('w') as file:
    for record in records:
      file.write(json.dumps(record) + '\n')


def table(name: str, results: Mapping[str, Any]) -> list[str]:
  """Results as lines for a person.

  >>> table('loss', {'nll': 0.25, 'groups': {'a': {'n': 2, 'why': {'x': 1}}}})
  ['loss',
   '  nll                           0.2500',
   '  groups',
   '    a                           n 2  why x 1']
  """
  rows = [name]
  for key, value in results.items():
    if isinstance(value, Mapping):
      rows.append(f'  {key}')
      for row, cell in value.items():
        rows.append(f'    {row:<26}  {_cell(cell)}')
    else:
      rows.append(f'  {key:<28}  {_cell(value)}')
  return rows


def _cell(value: Any) -> str:
  if isinstance(value, Mapping):
    return '  '.join(f'{key} {_cell(item)}' for key, item in value.items())
  if value is None:
    return '-'
  if isinstance(value, numbers.Real) and not isinstance(value, int):
    return f'{value:.4f}'
  return str(value)
