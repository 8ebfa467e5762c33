"""Tensors come onto a mesh part by part; what doesn't fit is named."""

import dataclasses
import pathlib
import sys

import jax
import numpy as np
import pytest

from hephaestus_jax import errors, model
from hephaestus_jax.convert import layout, stream

sys.path += [str(pathlib.Path(__file__).parents[i]) for i in range(2)]
import small_model  # noqa: E402
import tiny  # noqa: E402

CONFIG = small_model.CONFIG
WHERE = pathlib.Path('there')


class Memory:
  """Tensors in memory, and the size of every part that was read."""

  files = ()

  def __init__(self, tensors):
    self.tensors = tensors
    self.read_sizes = {}

  def names(self):
    return {*self.tensors}

  def shape(self, name):
    return self.tensors[name].shape

  def dtype(self, name):
    return self.tensors[name].dtype.name

  def read(self, name, part):
    # As safetensors has it: nothing past the end.
    for one, size in zip(part, self.tensors[name].shape, strict=True):
      assert one.stop is None or one.stop <= size
    found = self.tensors[name][part]
    self.read_sizes.setdefault(name, []).append(found.size)
    return found


def load(tensors, config=CONFIG, **mesh):
  shapes = model.placed(config, tiny.mesh(**mesh))
  return stream.load(tensors, config, shapes)


def test_a_mesh_holds_what_one_device_holds():
  tensors = small_model.tensors()
  one = load(Memory(tensors))
  spread = load(Memory(tensors), data=2, fsdp=2, tensor=2)
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(spread), strict=True):
    np.testing.assert_array_equal(a, b)
  query = spread['layers']['attention']['query']
  assert query.sharding.spec == jax.sharding.PartitionSpec(
    None, ('fsdp', 'sequence'), 'tensor', None
  )
  np.testing.assert_array_equal(
    query[1, 3, 2],
    tensors['model.layers.1.self_attn.q_proj.weight'][2 * 4 : 3 * 4, 3],
  )


def test_a_devices_part_is_all_that_is_read_and_each_is_read_once():
  memory = Memory(small_model.tensors())
  load(memory, data=2, fsdp=2, tensor=2)
  for name, tensor in memory.tensors.items():
    parts = 1 if 'norm' in name else 4
    assert memory.read_sizes[name] == [tensor.size // parts] * parts, name


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_values_have_the_configs_dtype(dtype):
  config = dataclasses.replace(CONFIG, param_dtype=dtype)
  params = load(Memory(small_model.tensors(dtype='bfloat16')), config)
  assert {leaf.dtype.name for leaf in jax.tree.leaves(params)} == {dtype}


def test_a_network_of_these_tensors_passes():
  stream.check(Memory(small_model.tensors()), CONFIG, WHERE)


def test_a_tied_output_may_be_stored_if_it_is_the_embedding():
  tied = dataclasses.replace(CONFIG, tied_output=True)
  tensors = small_model.tensors(tied)
  stream.check(Memory(tensors), tied, WHERE)
  embedding = layout.PLACES['embedding'].name
  tensors['lm_head.weight'] = tensors[embedding]
  stream.check(Memory(tensors), tied, WHERE)
  tensors['lm_head.weight'] = tensors[embedding] + 1
  with pytest.raises(errors.UserError, match=r'lm_head\.weight that is not'):
    stream.check(Memory(tensors), tied, WHERE)


def test_frequencies_of_old_checkpoints_are_passed_over():
  tensors = small_model.tensors()
  old = 'model.layers.0.self_attn.rotary_emb.inv_freq'
  tensors[old] = np.ones(2, np.float32)
  stream.check(Memory(tensors), CONFIG, WHERE)


UP = 'model.layers.1.mlp.up_proj.weight'
BIAS = 'model.layers.1.self_attn.q_proj.bias'


@pytest.mark.parametrize(
  ('change', 'said'),
  [
    (lambda t: t.pop(UP), f'has no tensor {UP}'),
    (lambda t: t.update({BIAS: np.ones(16)}), f'has the tensor {BIAS}'),
    (lambda t: t.update({UP: np.ones((16, 24))}), f'{UP} has shape'),
    (lambda t: t.update({UP: t[UP].astype(np.int8)}), f'{UP} is int8'),
  ],
)
def test_a_tensor_that_does_not_fit_is_named(change, said):
  tensors = small_model.tensors()
  change(tensors)
  with pytest.raises(errors.UserError, match=said):
    stream.check(Memory(tensors), CONFIG, WHERE)


def test_one_dtype_is_published_and_several_are_named():
  tensors = small_model.tensors(dtype='bfloat16')
  assert stream.published_dtype(Memory(tensors), CONFIG) == 'bfloat16'
  tensors[UP] = tensors[UP].astype(np.float32)
  with pytest.raises(errors.UserError, match=f'{UP} is float32'):
    stream.published_dtype(Memory(tensors), CONFIG)


def test_float16_is_widened_only_when_asked():
  tensors = small_model.tensors(dtype='float16')
  with pytest.raises(errors.UserError, match='DTYPE=float32'):
    stream.published_dtype(Memory(tensors), CONFIG)
