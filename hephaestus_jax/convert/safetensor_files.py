"""Folders of safetensors as Hugging Face lays them out: one file, or many.

Files are mapped into memory: only the parts that are asked for are read.
"""

import json
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from hephaestus_jax import errors

ONE = 'model.safetensors'
INDEX = 'model.safetensors.index.json'
_DTYPES = {'F32': 'float32', 'F16': 'float16', 'BF16': 'bfloat16'}


class Folder:
  """The tensors in a folder, read by name and part."""

  def __init__(self, folder: pathlib.Path):
    """Opens every file and looks at what is in it.

    Raises:
      errors.UserError: there are no safetensors, or a file is missing, damaged
        or lacks a tensor that the index says it has.
    """
    self.files = _files(folder)
    self._slices: dict[str, Any] = {}
    for path in self.files:
      try:
        opened = safetensors.safe_open(path, framework='numpy')
      except (safetensors.SafetensorError, OSError) as error:
        raise errors.UserError(
          f'{path} is damaged ({error}). Download it again.'
        ) from None
      for name in opened.keys():  # noqa: SIM118 - it is no mapping
        self._slices[name] = opened.get_slice(name)
    if (folder / ONE).exists():
      return
    for name, file in _weight_map(folder / INDEX).items():
      if name not in self._slices:
        raise errors.UserError(
          f'{folder / INDEX} says that {file} has the tensor {name}, which it '
          'has not. Download both again.'
        )

  def names(self) -> set[str]:
    """All tensors' names."""
    return {*self._slices}

  def shape(self, name: str) -> tuple[int, ...]:
    """A tensor's shape."""
    return tuple(self._slices[name].get_shape())

  def dtype(self, name: str) -> str:
    """A tensor's dtype by NumPy's name; another's as the file calls it."""
    stored = self._slices[name].get_dtype()
    return _DTYPES.get(stored, stored)

  def read(self, name: str, part: tuple[slice, ...]) -> np.ndarray:
    """A part of a tensor."""
    return self._slices[name][part]


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
  if (folder / ONE).is_file():
    return [folder / ONE]
  if (folder / INDEX).is_file():
    names = sorted({*_weight_map(folder / INDEX).values()})
    for name in names:
      if not (folder / name).is_file():
        raise errors.UserError(
          f'{folder} has no {name}, which its {INDEX} names. Download it.'
        )
    return [folder / name for name in names]
  pickled = sorted(path.name for path in folder.glob('*.bin'))
  raise errors.UserError(
    f'{folder} has neither {ONE} nor {INDEX}. '
    + (
      f'{pickled[0]} is a pickle, which is not opened: download the '
      "safetensors, or write them with transformers' save_pretrained."
      if pickled
      else 'Download the checkpoint again.'
    )
  )


def _weight_map(index: pathlib.Path) -> dict[str, str]:
  """Which file has a tensor.

  Raises:
    errors.UserError: the index is damaged, or points out of its folder.
  """
  try:
    found = json.loads(index.read_text())['weight_map']
    named = {str(name): str(file) for name, file in found.items()}
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise errors.UserError(
      f'{index} is no index of safetensors ({error!r}). Download it again.'
    ) from None
  for file in named.values():
    if pathlib.PurePath(file).name != file:
      raise errors.UserError(
        f'{index} names the file {file!r}, which is not in its folder.'
      )
  return named


def write(
  folder: pathlib.Path,
  sizes: Sequence[tuple[str, int]],
  read: Callable[[str], np.ndarray],
  file_bytes: int,
) -> None:
  """Writes tensors into as many files as they need, with an index if many.

  One file's tensors are in memory at a time.

  Args:
    folder: where; it exists.
    sizes: the tensors' names and bytes, in their order.
    read: the tensor of a name.
    file_bytes: how much of them a file holds at most; a tensor is not cut.
  """
  files: list[list[str]] = []
  held = math.inf
  for name, size in sizes:
    if held + size > file_bytes:
      files.append([])
      held = 0
    files[-1].append(name)
    held += size
  weight_map: dict[str, str] = {}
  for number, names in enumerate(files, 1):
    file = ONE
    if len(files) > 1:
      file = f'model-{number:05}-of-{len(files):05}.safetensors'
    safetensors.numpy.save_file(
      {name: read(name) for name in names},
      folder / file,
      metadata={'format': 'pt'},  # transformers asks for it
    )
    weight_map |= dict.fromkeys(names, file)
  if len(files) > 1:
    index = {
      'metadata': {'total_size': sum(size for _, size in sizes)},
      'weight_map': weight_map,
    }
    (folder / INDEX).write_text(json.dumps(index, indent=2) + '\n')
