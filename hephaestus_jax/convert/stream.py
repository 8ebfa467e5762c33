"""Tensors from files onto a mesh, part by part.

A device's part of a parameter is read from the files and put there, one
parameter after the other: what is in memory besides the parameters is the
longest of them, and on a machine with several devices no more of that than
theirs.
"""

import math
import pathlib
import re
from collections.abc import Sequence
from typing import Any, Protocol

import jax
import numpy as np
import tqdm

from hephaestus_jax import errors, model
from hephaestus_jax.convert import layout

FLOATS = ('float32', 'bfloat16', 'float16')
# Constants that old checkpoints store: the frequencies that config.json gives.
_CONSTANT = re.compile(
  r'(model\.layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq'
)
_ROWS = 4096


class Tensors(Protocol):
  """Tensors under Hugging Face's names, and the files that they are in."""

  @property
  def files(self) -> Sequence[pathlib.Path]:
    """Where they are."""

  def names(self) -> set[str]:
    """All of them."""

  def shape(self, name: str) -> tuple[int, ...]:
    """A tensor's shape."""

  def dtype(self, name: str) -> str:
    """A tensor's dtype: one of FLOATS, or another's name."""

  def read(self, name: str, part: tuple[slice, ...]) -> np.ndarray:
    """A part of a tensor."""


def check(tensors: Tensors, config: model.Config, where: pathlib.Path) -> None:
  """Compares the tensors that are there with those that the network has.

  Raises:
    errors.UserError: one is missing, is more than the network has, or has
      another shape or a dtype that is no plain float.
  """
  wanted = {name: shape for name, shape, _, _ in layout.tensors(config)}
  there = {n for n in tensors.names() if not _CONSTANT.fullmatch(n)}
  output, embedding = layout.PLACES['output'], layout.PLACES['embedding']
  if config.tied_output and output.name in there:
    _check_equal(tensors, output.name, embedding.name, where)
    there.remove(output.name)
  for name in sorted(there ^ {*wanted}):
    if name in wanted:
      raise errors.UserError(
        f'{where} has no tensor {name}, which the network of its config has. '
        'Download the checkpoint again.'
      )
    raise errors.UserError(
      f'{where} has the tensor {name}, which the network has not. What it '
      'computes would be something else: choose another checkpoint.'
    )
  for name, shape in wanted.items():
    if tensors.shape(name) != shape:
      raise errors.UserError(
        f'{where}: the tensor {name} has shape {tensors.shape(name)}, and its '
        f'config makes it {shape}. They are of different checkpoints.'
      )
    if tensors.dtype(name) not in FLOATS:
      raise errors.UserError(
        f'{where}: the tensor {name} is {tensors.dtype(name)}; the network '
        f'reads {", ".join(FLOATS)}. Choose the checkpoint that is not '
        'quantised.'
      )


def _check_equal(
  tensors: Tensors, name: str, other: str, where: pathlib.Path
) -> None:
  """A tied output that is stored all the same must be the embedding."""
  rows_in_all = tensors.shape(name)[0]
  equal = (
    other in tensors.names()
    and tensors.shape(name) == tensors.shape(other)
    and tensors.dtype(name) == tensors.dtype(other)
  ) and all(
    np.array_equal(
      tensors.read(name, (rows, slice(None))).view(np.uint8),
      tensors.read(other, (rows, slice(None))).view(np.uint8),
    )
    for start in range(0, rows_in_all, _ROWS)
    for rows in (slice(start, min(start + _ROWS, rows_in_all)),)
  )
  if not equal:
    raise errors.UserError(
      f'{where} says tie_word_embeddings = true and has a {name} that is not '
      f'its {other}. One of the two is wrong.'
    )


def published_dtype(tensors: Tensors, config: model.Config) -> str:
  """The dtype that all tensors of the network have.

  Raises:
    errors.UserError: they have several, or one that parameters can't have.
  """
  by_dtype = {tensors.dtype(n): n for n, _, _, _ in layout.tensors(config)}
  if len(by_dtype) > 1:
    (a, first), (b, second), *_ = sorted(by_dtype.items())
    raise errors.UserError(
      f'{first} is {a} and {second} is {b}; parameters have one dtype. Set '
      "--gin.DTYPE=float32, which keeps every value, or 'bfloat16', which "
      'rounds.'
    )
  (dtype,) = by_dtype
  if dtype == 'float16':
    raise errors.UserError(
      'The tensors are float16, which parameters are not here. Set '
      '--gin.DTYPE=float32, which keeps every value (an export with '
      '--gin.DTYPE=float16 gives the same bytes back).'
    )
  return dtype


def load(tensors: Tensors, config: model.Config, shapes: Any) -> Any:
  """The parameters, each device's part on it from the start.

  Args:
    tensors: those of the network, see `check`.
    config: the network. Values are cast to its `param_dtype`.
    shapes: the parameters' shapes and places, as `model.placed` gives them.
  """
  total = sum(_host_bytes(shape) for shape in jax.tree.leaves(shapes))
  with tqdm.tqdm(
    total=total, desc='import', unit='B', unit_scale=True
  ) as progress:

    def place(path: Any, shape: jax.ShapeDtypeStruct) -> jax.Array:
      key = layout.path_name(path)
      made: dict[Any, np.ndarray] = {}  # equal parts of several devices

      def part(index: tuple[slice, ...] | None) -> np.ndarray:
        index = index or ()  # JAX never gives None
        ranges = _ranges(index, shape.shape)
        if ranges not in made:
          made[ranges] = _part(tensors, config, key, index, shape)
          progress.update(made[ranges].nbytes)
        return made[ranges]

      array = jax.make_array_from_callback(
        shape.shape, shape.sharding, part, dtype=shape.dtype
      )
      # The host's copy is let go before the next parameter is read.
      return jax.block_until_ready(array)

    return jax.tree_util.tree_map_with_path(place, shapes)


def _ranges(
  index: tuple[slice, ...], shape: tuple[int, ...]
) -> tuple[tuple[int, int, int], ...]:
  """A part's place, as something that can be compared."""
  return tuple(s.indices(n) for s, n in zip(index, shape, strict=True))


def _host_bytes(shape: jax.ShapeDtypeStruct) -> int:
  """Bytes of the parts that this process's devices hold, equal ones once."""
  indices = shape.sharding.addressable_devices_indices_map(shape.shape).values()
  parts = {_ranges(index, shape.shape) for index in indices}
  size = math.prod(shape.sharding.shard_shape(shape.shape))
  return len(parts) * size * shape.dtype.itemsize


def _part(
  tensors: Tensors,
  config: model.Config,
  key: str,
  index: tuple[slice, ...],
  shape: jax.ShapeDtypeStruct,
) -> np.ndarray:
  """A part of a parameter, layers stacked on axis 0."""
  place = layout.PLACES[key]

  def one(name: str, part: tuple[slice, ...]) -> np.ndarray:
    found = tensors.read(name, layout.cut(place, config, part))
    return layout.to_ours(place, config, part, found)

  if not key.startswith(layout.LAYERS):
    return np.ascontiguousarray(one(place.name, index), shape.dtype)
  sizes = [len(range(n)[s]) for n, s in zip(shape.shape, index, strict=True)]
  stacked = np.empty(sizes, shape.dtype)
  for i, layer in enumerate(range(config.num_layers)[index[0]]):
    stacked[i] = one(place.name.format(layer), index[1:])
  return stacked
