"""Folders that one command writes and the next reads.

A folder is either whole or absent: it is written beside its place and renamed
into it. `inputs.json` inside says what it was made from, so that the same
command reuses it, and another is told what differs.
"""

import contextlib
import contextvars
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

from hephaestus_jax import errors

INPUTS = 'inputs.json'
CONFIG = 'config.gin'
# What a folder that is not finished went on with, and from when on.
CHANGES = 'changes.jsonl'

_config: contextvars.ContextVar[str] = contextvars.ContextVar('config')


@contextlib.contextmanager
def configured_by(config: str) -> Iterator[None]:
  """Within it, every artefact gets `config` beside it as config.gin."""
  token = _config.set(config)
  try:
    yield
  finally:
    _config.reset(token)


def write_config(folder: pathlib.Path) -> None:
  """Writes the resolved configuration into a folder, where there is one.

  A function that is called from a notebook has none: its arguments are in
  `inputs.json`.
  """
  config = _config.get(None)
  if config is not None:
    (folder / CONFIG).write_text(config)


def configuration() -> dict[str, str] | None:
  """Every binding of the resolved configuration, where there is one."""
  config = _config.get(None)
  if config is None:
    return None
  lines = (line.partition(' = ') for line in config.splitlines())
  # The origin behind a value may be another path on another host.
  return {
    name: value.rpartition('  # ')[0] for name, _, value in lines if value
  }


def fingerprint(inputs: Any) -> str:
  """Sixteen hex digits that change when `inputs` (plain JSON) changes."""
  text = json.dumps(inputs, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_fingerprint(path: pathlib.Path) -> str:
  """Sixteen hex digits of a file's content."""
  return sha256(path)[:16]


def sha256(path: pathlib.Path) -> str:
  """All 64 hex digits of a file's SHA-256."""
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def reusable(folder: pathlib.Path, inputs: Mapping[str, Any]) -> bool:
  """Whether `folder` holds what these inputs make.

  Returns:
    True if it was made from the same inputs, False if it doesn't exist.

  Raises:
    errors.UserError: it was made from other inputs; the message names them.
  """
  if not folder.exists():
    return False
  found = read_inputs(folder)
  wanted = json.loads(json.dumps(inputs))
  if found == wanted:
    return True
  raise errors.UserError(
    f'{folder} was made from other inputs: {difference(found, wanted)}. '
    'Delete the folder to build it again, or choose another.'
  )


def read_inputs(folder: pathlib.Path) -> dict[str, Any]:
  """What a finished folder was made from.

  Raises:
    errors.UserError: there is no such folder, or no command finished it.
  """
  path = folder / INPUTS
  if not folder.is_dir():
    raise errors.UserError(
      f'{folder} does not exist. Run the command that builds it first, '
      'or point the run at a folder that was built.'
    )
  if not path.exists():
    raise errors.UserError(
      f'{folder} has no {INPUTS}: no finished command wrote it. '
      'Delete it, and build it again.'
    )
  return json.loads(path.read_text())


def amend(
  folder: pathlib.Path, inputs: Mapping[str, Any], **where: Any
) -> None:
  """Lets a folder that is not finished go on with other inputs, on record.

  `changes.jsonl` in it gets a line for each time that they differ; from then on
  inputs.json and config.gin are the new ones:

    {"step": 40, "differences": [["stage.batch_size", 8, 16]]}

  Args:
    folder: what a command began.
    inputs: what it is made from now.
    where: what else the line says.
  """
  changed = differences(
    read_inputs(folder), json.loads(json.dumps(dict(inputs)))
  )
  if not changed:
    return
  line = {**where, 'differences': changed}
  with (folder / CHANGES).open('a') as file:
    file.write(json.dumps(line) + '\n')
  write_config(folder)
  write_json(folder / INPUTS, inputs)


# Differences that a message names.
NAMED = 6


def difference(found: Any, wanted: Any) -> str:
  """Where two JSON values differ, in words.

  >>> difference({'a': {'b': 1}, 'c': 2}, {'a': {'b': 2}})
  'a.b was 1, now 2; c was 2, now null'
  """
  differing = [
    f'{where} was {json.dumps(old)}, now {json.dumps(new)}'
    for where, old, new in differences(found, wanted)
  ]
  more = len(differing) - NAMED
  return '; '.join(
    differing[:NAMED] + ([f'and {more} more'] if more > 0 else [])
  )


def differences(
  found: Any, wanted: Any, where: str = ''
) -> list[tuple[str, Any, Any]]:
  """(path, one value, the other) wherever two JSON values differ.

  >>> differences({'a': {'b': 1}}, {'a': {'b': 2}})
  [('a.b', 1, 2)]
  """
  if isinstance(found, dict) and isinstance(wanted, dict):
    return [
      one
      for key in sorted({*found, *wanted})
      for one in differences(
        found.get(key), wanted.get(key), f'{where}.{key}' if where else str(key)
      )
    ]
  return [] if found == wanted else [(where, found, wanted)]


@contextlib.contextmanager
def written(
  folder: pathlib.Path, inputs: Mapping[str, Any]
) -> Iterator[pathlib.Path]:
  """Yields an empty folder to fill; on success it becomes `folder`.

  What an earlier attempt left half done is deleted first; the name is this
  process's own, so that a worker which outlived that attempt can't write here.
  """
  for old in folder.parent.glob(f'{folder.name}.partial-*'):
    shutil.rmtree(old, ignore_errors=True)
  partial = folder.with_name(f'{folder.name}.partial-{os.getpid()}')
  partial.mkdir(parents=True)
  yield partial
  write_config(partial)
  write_json(partial / INPUTS, inputs)
  partial.replace(folder)


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes JSON so that a reader sees the old file or the new one."""
  partial = path.with_name(path.name + '.partial')
  partial.write_text(json.dumps(value, indent=2, sort_keys=True) + '\n')
  partial.replace(path)
