"""Where arrays live: a mesh, and a table from the model's axes to the mesh's.

The model names what its axes are; only this file knows on which devices they
are spread. A new machine is a new file in gin/hardware.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from hephaestus_jax import errors, heap

# From the slowest network to the fastest: between slices goes one gradient sum
# a step, inside a layer go tensor and sequence parallelism.
MESH_AXES = ('slice', 'data', 'fsdp', 'tensor', 'sequence')

# Logical axis -> the mesh axes it is spread over.
RULES: Mapping[str, tuple[str, ...]] = {
  'batch': ('slice', 'data', 'fsdp'),
  'length': ('sequence',),
  # Devices that share rows must not each hold a whole copy either.
  'embed': ('fsdp', 'sequence'),
  'heads': ('tensor',),
  'kv': ('tensor',),
  'mlp': ('tensor',),
  'vocab': ('tensor',),
  'head_dim': (),
  'layers': (),
  'norm': (),
}


def make_mesh(
  *,
  slice: int = 1,
  data: int = 1,
  fsdp: int = -1,
  tensor: int = 1,
  sequence: int = 1,
  cpu_devices: int | None = None,
  processes: int = 1,
  devices: Sequence[jax.Device] | None = None,
) -> Mesh:
  """All devices as a (slice, data, fsdp, tensor, sequence) mesh.

  Args:
    slice: TPU slices (pods joined by the data-centre network).
    data: copies of the parameters inside a slice.
    fsdp: parts that parameters and optimizer state are cut into.
    tensor: parts that heads, MLP and vocabulary are cut into.
    sequence: parts that rows are cut into.
    cpu_devices: cut the CPU into this many devices; JAX must not have been used
      yet. Memory that is freed stays with the process (see heap.py), and a
      step waits for the one before it.
    processes: what `hosts.join` returned. All processes' devices make the mesh,
      so it comes first.
    devices: these, which may be those of a topology that is not here; None: all
      there are.

  One size may be -1: the devices that are left.

  Raises:
    errors.UserError: the sizes don't multiply to the number of devices.
  """
  if devices is None:
    # Setting it anew, even to the same number, is an error once JAX is in use.
    now = jax.config.jax_num_cpu_devices  # type: ignore[attr-defined]
    if cpu_devices not in (None, now):
      jax.config.update('jax_num_cpu_devices', cpu_devices)
      if not jax.config.jax_platforms:  # type: ignore[attr-defined]
        # Where libtpu is installed, for plans, JAX would look for a TPU first:
        # for minutes.
        jax.config.update('jax_platforms', 'cpu')
      # A step that is dispatched while another runs has its temporaries at
      # once: two of SmolLM2's took 18 GB for 10.
      jax.config.update('jax_cpu_enable_async_dispatch', False)
      heap.keep()
    devices = jax.devices()
  sizes = dict(
    zip(MESH_AXES, (slice, data, fsdp, tensor, sequence), strict=True)
  )
  rest = [axis for axis, size in sizes.items() if size == -1]
  known = math.prod(size for size in sizes.values() if size != -1)
  if len(rest) > 1:
    raise errors.UserError(
      f'partitioning.make_mesh has -1 for {" and ".join(rest)}; only one size '
      'can be "the rest".'
    )
  if known < 1 or len(devices) % known or not (rest or known == len(devices)):
    raise errors.UserError(
      'partitioning.make_mesh: '
      + ' x '.join(f'{axis} {size}' for axis, size in sizes.items())
      + f' does not fit {len(devices)} {devices[0].platform} devices.'
    )
  for axis in rest:
    sizes[axis] = len(devices) // known
  shape = tuple(sizes.values())
  types = (AxisType.Auto,) * len(shape)  # make_mesh would choose Explicit
  if getattr(devices[0], 'slice_index', None) is None or sizes['slice'] == 1:
    return jax.make_mesh(shape, MESH_AXES, types, devices=devices)
  inside = (1, *shape[1:])
  between = (sizes['slice'], 1, 1, 1, 1)
  grid = mesh_utils.create_hybrid_device_mesh(inside, between, devices)
  return Mesh(grid, MESH_AXES, axis_types=types)


def reshaped(mesh: Mesh, axes: Mapping[str, int] | None) -> Mesh:
  """The mesh's devices with other sizes; axes that are not named keep theirs.

  Raises:
    errors.UserError: there is no such axis, or the sizes don't multiply to the
      number of devices.
  """
  if axes is None:
    return mesh
  unknown = sorted({*axes} - {*MESH_AXES})
  if unknown:
    raise errors.UserError(
      f'update.Stage.axes names {unknown[0]!r}; the axes are '
      f'{", ".join(MESH_AXES)}.'
    )
  return make_mesh(**{**mesh.shape, **axes}, devices=list(mesh.devices.flat))


def spec(*axes: str | None) -> PartitionSpec:
  """Where an array with these logical axes goes; None = on every device.

  >>> spec('batch', 'length', None)
  PartitionSpec(('slice', 'data', 'fsdp'), 'sequence', None)
  """
  parts = (() if axis is None else RULES[axis] for axis in axes)
  return PartitionSpec(
    *(part[0] if len(part) == 1 else part or None for part in parts)
  )


def shardings(mesh: Mesh, axes: Any, abstract: Any) -> Any:
  """The sharding of each array in a tree.

  Args:
    mesh: the mesh.
    axes: the tree with a tuple of logical axis names for each array, as
      `model.logical_axes` gives it.
    abstract: the tree of arrays or shapes.

  Raises:
    errors.UserError: an axis can't be cut into equal parts. Nothing is padded
      or quietly kept whole: a layout is chosen, not fallen into.
  """

  def place(path: Any, names: tuple[str, ...], array: Any) -> NamedSharding:
    for name, size in zip(names, array.shape, strict=True):
      parts = math.prod(mesh.shape[axis] for axis in RULES[name])
      if size % parts:
        raise errors.UserError(
          f'Parameter {jax.tree_util.keystr(path, simple=True, separator="/")}'
          f" has {size} along '{name}', which can't be cut into "
          f'{" x ".join(RULES[name])} = {parts} equal parts: change '
          'partitioning.make_mesh or model.Config.'
        )
    return NamedSharding(mesh, spec(*names))

  return jax.tree_util.tree_map_with_path(
    place, axes, abstract, is_leaf=lambda node: isinstance(node, tuple)
  )


def constrain(x: jax.Array, *axes: str | None) -> jax.Array:
  """x, kept in its place on the current mesh (`jax.set_mesh`), if there is one.

  Without it XLA may spread activations as the parameters are: by fsdp over
  `embed`, instead of over the batch.
  """
  if jax.sharding.get_abstract_mesh().empty:
    return x
  return jax.lax.with_sharding_constraint(x, spec(*axes))


def whole_batch(batch_size: int) -> int:
  """The next batch size that the current mesh can cut into equal parts."""
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return batch_size
  parts = math.prod(mesh.shape[axis] for axis in RULES['batch'])
  return -(-batch_size // parts) * parts


def host_rows(mesh: Mesh, batch_size: int) -> np.ndarray:
  """The rows of a global batch that this process's devices hold, in order.

  >>> host_rows(mesh, 8)  # as the second of two processes, mesh: data 2
  array([4, 5, 6, 7])

  Processes that share rows, along `tensor` or `sequence`, have them all.

  Raises:
    errors.UserError: the batch can't be cut into equal parts.
  """
  _check_cut(mesh, 'batch', batch_size, 'The batch')
  sharding = NamedSharding(mesh, spec('batch'))
  held = np.zeros(batch_size, bool)
  for rows in sharding.addressable_devices_indices_map((batch_size,)).values():
    held[rows] = True
  return np.flatnonzero(held)


def global_batch(
  mesh: Mesh,
  host_batch: Mapping[str, np.ndarray],
  batch_size: int | None = None,
) -> dict[str, jax.Array]:
  """The rows that each process has, as arrays over the whole mesh.

  Nothing is sent: a process hands to its devices what they hold.

  Args:
    host_batch: arrays whose first axis is the batch and second, where there is
      one, the length.
    batch_size: rows of the global batch, of which `host_batch` has those of
      `host_rows(mesh, batch_size)`; None: it has all.

  Raises:
    errors.UserError: the batch or the length can't be cut into equal parts.
  """
  batch: dict[str, jax.Array] = {}
  for name, array in host_batch.items():
    axes = ('batch', 'length')[: array.ndim]
    shape = (batch_size or len(array), *array.shape[1:])
    for axis, size in zip(axes, shape, strict=True):
      _check_cut(mesh, axis, size, f"The batch's '{name}'")
    rows = np.arange(shape[0])
    if batch_size is not None:
      rows = host_rows(mesh, batch_size)
    batch[name] = jax.make_array_from_callback(
      shape,
      NamedSharding(mesh, spec(*axes)),
      functools.partial(_part, array, rows, shape[0]),
    )
  return batch


def _part(
  array: np.ndarray,
  rows: np.ndarray,
  batch_size: int,
  index: tuple[slice, ...],
) -> np.ndarray:
  """What a device holds: `index` counts in the batch, `array` has `rows`."""
  first, last, _ = index[0].indices(batch_size)
  start = int(np.searchsorted(rows, first))
  return array[(slice(start, start + last - first), *index[1:])]


def _check_cut(mesh: Mesh, axis: str, size: int, what: str) -> None:
  parts = math.prod(mesh.shape[part] for part in RULES[axis])
  if size % parts:
    raise errors.UserError(
      f"{what} has {size} along '{axis}', which can't be cut into "
      f'{" x ".join(RULES[axis])} = {parts} equal parts.'
    )
