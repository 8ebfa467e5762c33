"""Two runs side by side: which bindings differ, and where each came from."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from hephaestus_jax import artefacts, configuration, errors

Side = dict[str, str] | None


def diff(
  run_a: str, run_b: str, *, stage_files: Sequence[str]
) -> dict[str, Any]:
  """Compares two run files, or two folders that runs wrote.

  What is compared is what was written: a macro that differs is one binding,
  with the parameters that it goes to, and not a difference in each of them.

  Args:
    run_a: a run file, or a folder with a config.gin in it or in its folders,
      such as runs/demo/forge.
    run_b: another of the same.
    stage_files: of the commands that the run files are for.

  Returns:
    {'bindings': {name: {'a': {'value', 'origin'} or None, 'b': the same,
    'reaches': [parameters]}}, 'inputs': {'stage1/data.rates.books_v1': [0.2,
    0.3]}}. Inputs are what folders were made from besides: data, earlier
    stages; two files have none.

  Raises:
    errors.UserError: one is a file and the other a folder, or one of them is
      neither a run nor its folder.
  """
  folder_a, folder_b = pathlib.Path(run_a), pathlib.Path(run_b)
  if folder_a.is_dir() != folder_b.is_dir():
    raise errors.UserError(
      f'{run_a} and {run_b}: one is a folder and the other is not. Compare two '
      'run files, or two folders that runs wrote.'
    )
  inputs: dict[str, list[Any]] = {}
  if folder_a.is_dir():
    text_a, text_b = _recorded(folder_a), _recorded(folder_b)
    pairs = artefacts.differences(_inputs(folder_a), _inputs(folder_b))
    inputs = {where: [a, b] for where, a, b in pairs}
  else:
    text_a, text_b = _read(run_a, stage_files), _read(run_b, stage_files)
  bindings = _differing(text_a, text_b)
  _print(run_a, run_b, bindings, inputs)
  return {'bindings': bindings, 'inputs': inputs}


def _read(file: str, stage_files: Sequence[str]) -> list[configuration.Text]:
  """What a run file says to each command."""
  return [
    configuration.read([stage, file], [], configuration.ROOT)
    for stage in stage_files
  ]


def _recorded(folder: pathlib.Path) -> list[configuration.Text]:
  """The configurations that a run's folder and those in it hold."""
  paths = [folder / artefacts.CONFIG]
  paths += sorted(folder.glob(f'*/{artefacts.CONFIG}'))
  found = [configuration.recorded(path) for path in paths if path.exists()]
  if not found:
    raise errors.UserError(
      f'{folder} holds no {artefacts.CONFIG}, nor do the folders in it. Name '
      'the folder of a run, such as runs/demo/forge.'
    )
  return found


def _inputs(folder: pathlib.Path) -> dict[str, Any]:
  """What the parts of a run were made from."""
  paths = [folder / artefacts.INPUTS]
  paths += sorted(folder.glob(f'*/{artefacts.INPUTS}'))
  return {
    str(path.parent.relative_to(folder)): artefacts.read_inputs(path.parent)
    for path in paths
    if path.exists()
  }


def _differing(
  texts_a: Sequence[configuration.Text], texts_b: Sequence[configuration.Text]
) -> dict[str, dict[str, Any]]:
  a, b = _sides(texts_a), _sides(texts_b)
  found: dict[str, dict[str, Any]] = {}
  for name in sorted({*a, *b}):
    one, other = a.get(name), b.get(name)
    if one and other and one['value'] == other['value']:
      continue
    found[name] = {'a': one, 'b': other}
    if configuration.MACRO.fullmatch(name):
      reaches = {
        parameter
        for text in (*texts_a, *texts_b)
        for parameter in configuration.reached(text, name)
      }
      found[name]['reaches'] = sorted(reaches)
  return found


def _sides(texts: Sequence[configuration.Text]) -> dict[str, dict[str, str]]:
  """Value and origin of each binding, as written."""
  return {
    name: {'value': repr(binding.value), 'origin': binding.origin}
    for text in texts
    for name, binding in text.final.items()
  }


def _print(
  run_a: str,
  run_b: str,
  bindings: Mapping[str, Mapping[str, Any]],
  inputs: Mapping[str, Sequence[Any]],
) -> None:
  for name, row in bindings.items():
    print(name)
    for run, side in ((run_a, row['a']), (run_b, row['b'])):
      said = f'{side["value"]}    <- {side["origin"]}' if side else 'not set'
      print(f'  {run}: {said}')
    if row.get('reaches'):
      print(f'  goes to {", ".join(row["reaches"])}')
  for where, (one, other) in inputs.items():
    print(f'made from {where}\n  {run_a}: {one}\n  {run_b}: {other}')
  if not (bindings or inputs):
    print('no difference')
