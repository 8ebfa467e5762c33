"""What is saved comes back, on any mesh; what doesn't fit is refused."""

import os
import pathlib
import signal
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from hephaestus_jax import checkpoints, errors

sys.path.append(str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402

TREE = {'layers': {'query': np.arange(32.0, dtype=np.float32).reshape(8, 4)}}
SPEC = PartitionSpec('fsdp', 'tensor')


def _placed(tree, mesh):
  return jax.device_put(tree, NamedSharding(mesh, SPEC))


def _abstract(tree, mesh):
  sharding = NamedSharding(mesh, SPEC)
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
  )


def _save(folder, *steps, tree=TREE, keep=2):
  writer = checkpoints.Writer(folder, keep=keep, items=('parameters',))
  for step in steps:
    writer.save(step, {'parameters': _placed(tree, tiny.mesh())})
  writer.close()


def test_a_checkpoint_of_a_4x2_mesh_restores_on_8x1_and_on_one_device(tmp_path):
  writer = checkpoints.Writer(tmp_path, keep=2, items=('parameters',))
  writer.save(1, {'parameters': _placed(TREE, tiny.mesh(fsdp=4, tensor=2))})
  writer.close()
  for mesh in (tiny.mesh(fsdp=8), tiny.mesh()):
    found = checkpoints.restore(
      tmp_path / '1', 'parameters', _abstract(TREE, mesh)
    )
    query = found['layers']['query']
    assert query.sharding == NamedSharding(mesh, SPEC)
    np.testing.assert_array_equal(query, TREE['layers']['query'])


def test_what_is_donated_after_a_save_is_saved_as_it_was(tmp_path):
  double = jax.jit(lambda x: x * 2 + 1, donate_argnums=0)
  x = jax.device_put(jnp.ones((512, 4096)), NamedSharding(tiny.mesh(), SPEC))
  writer = checkpoints.Writer(tmp_path, keep=2, items=('parameters',))
  for step in (1, 2):
    writer.save(step, {'parameters': {'x': x}})
    for _ in range(5):
      x = double(x)
  writer.close()
  for step, value in ((1, 1), (2, 2**6 - 1)):
    abstract = _abstract({'x': x}, tiny.mesh())
    found = checkpoints.restore(tmp_path / str(step), 'parameters', abstract)
    assert (np.asarray(found['x']) == value).all()


def test_only_the_newest_steps_are_kept(tmp_path):
  _save(tmp_path, 1, 2, 3, 4, keep=3)
  assert checkpoints.steps(tmp_path) == [2, 3, 4]


def test_fewer_than_two_checkpoints_are_refused(tmp_path):
  with pytest.raises(errors.UserError, match='keep = 1'):
    checkpoints.Writer(tmp_path, keep=1, items=('parameters',))


def test_a_checkpoint_without_its_commit_marker_is_not_there(tmp_path):
  _save(tmp_path, 1, 2)
  (tmp_path / '2' / checkpoints.COMMITTED).unlink()
  assert checkpoints.steps(tmp_path) == [1]
  assert checkpoints.find(tmp_path / '1') == tmp_path / '1'
  with pytest.raises(errors.UserError, match='no finished checkpoint'):
    checkpoints.find(tmp_path / '2')


def test_what_no_save_finished_is_removed_and_saved_again(tmp_path, capsys):
  _save(tmp_path, 1, 2)
  (tmp_path / '2' / checkpoints.COMMITTED).unlink()
  (tmp_path / '3.orbax-checkpoint-tmp').mkdir()
  _save(tmp_path, 2)
  assert checkpoints.steps(tmp_path) == [1, 2]
  assert 'removed' in capsys.readouterr().out
  assert not (tmp_path / '3.orbax-checkpoint-tmp').exists()


def test_another_dtype_is_refused_with_both_values(tmp_path):
  _save(tmp_path, 1)
  half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), TREE)
  with pytest.raises(errors.UserError) as caught:
    checkpoints.restore(
      tmp_path / '1', 'parameters', _abstract(half, tiny.mesh())
    )
  for word in ('layers.query', 'float32', 'bfloat16'):
    assert word in str(caught.value)


def test_another_shape_is_refused_with_both_values(tmp_path):
  _save(tmp_path, 1)
  longer = {'layers': {'query': np.zeros((16, 4), np.float32)}}
  with pytest.raises(errors.UserError) as caught:
    checkpoints.restore(
      tmp_path / '1', 'parameters', _abstract(longer, tiny.mesh())
    )
  for word in ('layers.query', '(8, 4)', '(16, 4)'):
    assert word in str(caught.value)


@pytest.mark.parametrize(
  'tree, message',
  [
    ({'layers': {'key': TREE['layers']['query']}}, 'has no layers.key'),
    ({}, 'has layers.query, which'),
  ],
)
def test_another_tree_is_refused_with_the_name(tmp_path, tree, message):
  _save(tmp_path, 1)
  with pytest.raises(errors.UserError, match=message):
    checkpoints.restore(
      tmp_path / '1', 'parameters', _abstract(tree, tiny.mesh())
    )


@pytest.mark.parametrize('harm', ['remove', 'cut'])
def test_a_damaged_array_is_an_error_and_not_zeros(tmp_path, harm):
  _save(tmp_path, 1)
  (chunk,) = (tmp_path / '1' / 'parameters' / 'layers.query').glob('[0-9]*')
  if harm == 'remove':
    chunk.unlink()
  else:
    os.truncate(chunk, 100)
  with pytest.raises(errors.UserError, match='damaged'):
    checkpoints.restore(
      tmp_path / '1', 'parameters', _abstract(TREE, tiny.mesh())
    )


def test_parameters_come_from_the_newest_step_of_a_stage(tmp_path):
  _save(tmp_path / 'stage1' / checkpoints.FOLDER, 1)
  newer = jax.tree.map(lambda x: x + 1, TREE)
  _save(tmp_path / 'stage1' / checkpoints.FOLDER, 2, tree=newer)
  found = checkpoints.restore_parameters(
    tmp_path / 'stage1', _abstract(TREE, tiny.mesh())
  )
  np.testing.assert_array_equal(
    found['layers']['query'], newer['layers']['query']
  )


def test_sigterm_is_remembered_and_its_old_handler_comes_back():
  before = signal.getsignal(signal.SIGTERM)
  with checkpoints.termination() as terminated:
    assert not terminated()
    signal.raise_signal(signal.SIGTERM)
    assert terminated()
  assert signal.getsignal(signal.SIGTERM) == before
