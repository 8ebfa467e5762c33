"""What is saved comes back, on any mesh; what doesn't fit is refused."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from hephaestus_jax import checkpoints, errors, manifest

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


def _save(folder, *steps, tree=TREE, keep=2, keep_every=None):
  writer = checkpoints.Writer(
    folder, keep=keep, keep_every=keep_every, items=('parameters',)
  )
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
  for name in (checkpoints.COMMITTED, manifest.NAME):
    (tmp_path / '2' / name).unlink()
  (tmp_path / '3.orbax-checkpoint-tmp').mkdir()
  assert checkpoints.newest_whole(tmp_path) == 1
  assert f'removed {tmp_path / "2"}' in capsys.readouterr().err
  _save(tmp_path, 2)
  assert checkpoints.steps(tmp_path) == [1, 2]
  assert not (tmp_path / '3.orbax-checkpoint-tmp').exists()


def test_the_first_checkpoint_of_every_so_many_steps_stays(tmp_path):
  # As many as SIGTERM at odd steps may make of them.
  _save(tmp_path, 3, 6, 9, 12, 14, 17, 20, 31, 34, 37, keep_every=10)
  assert checkpoints.steps(tmp_path) == [12, 20, 31, 34, 37]


def _cut(path):
  os.truncate(path, path.stat().st_size // 2)


def _flip(path):
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(data)


def _files(step_folder):
  return [path for path in sorted(step_folder.rglob('*')) if path.is_file()]


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """The checkpoints of a run of four steps: 2 and 4."""
  folder = tmp_path_factory.mktemp('trained')
  tiny.write_cache(folder / 'cache', {'a': 0.7, 'b': 0.3})
  tiny.run(folder)
  return folder / 'run' / 'stage1' / checkpoints.FOLDER


@pytest.mark.parametrize('harm', [_cut, _flip, pathlib.Path.unlink])
def test_harm_to_any_one_file_is_named_and_the_step_before_is_taken(
  trained, tmp_path, harm, capsys
):
  names = [path.relative_to(trained) for path in _files(trained / '4')]
  assert len(names) > 60
  assert {path.name for path in names} >= {checkpoints.COMMITTED, manifest.NAME}
  here = tmp_path / checkpoints.FOLDER
  shutil.copytree(trained, here)
  for name in names:
    harm(here / name)
    assert checkpoints.newest_whole(here) == 2, name
    said = capsys.readouterr().err
    assert str(here / name) in said and 'goes on from step 2' in said
    assert checkpoints.steps(here) == [2]
    (here / '4.damaged').rename(here / '4')
    (here / name).write_bytes((trained / name).read_bytes())
    shutil.copystat(trained / name, here / name)
  assert checkpoints.newest_whole(here) == 4


def test_a_damaged_step_put_aside_makes_room_for_the_next_one(
  trained, tmp_path
):
  here = tmp_path / checkpoints.FOLDER
  shutil.copytree(trained, here)
  for _ in range(2):
    _flip(here / '4' / checkpoints.COMMITTED)
    assert checkpoints.newest_whole(here) == 2
    shutil.copytree(trained / '4', here / '4')
  assert checkpoints.newest_whole(here) == 4


def test_when_every_step_is_damaged_nothing_is_begun_anew(trained, tmp_path):
  here = tmp_path / checkpoints.FOLDER
  shutil.copytree(trained, here)
  for step in ('2', '4'):
    _flip(here / step / 'parameters' / 'embedding' / '0.0')
  with pytest.raises(errors.UserError) as caught:
    checkpoints.newest_whole(here)
  for word in ('2/parameters/embedding/0.0', '4/parameters/embedding/0.0'):
    assert word in str(caught.value)
  assert checkpoints.steps(here) == [2, 4]


def test_parameters_are_not_read_from_a_damaged_checkpoint(tmp_path):
  _save(tmp_path, 1)
  _flip(tmp_path / '1' / 'parameters' / 'layers.query' / '0.0')
  with pytest.raises(errors.UserError, match='layers.query/0.0 has the CRC-32'):
    checkpoints.restore_parameters(tmp_path / '1', _abstract(TREE, tiny.mesh()))


def test_a_checkpoint_from_before_manifests_is_read_as_it_is(tmp_path):
  _save(tmp_path, 1)
  (tmp_path / '1' / manifest.NAME).unlink()
  (tmp_path / '1' / checkpoints.COMMITTED).write_text('Commit was successful.')
  assert checkpoints.newest_whole(tmp_path) == 1
  checkpoints.restore_parameters(tmp_path / '1', _abstract(TREE, tiny.mesh()))


def test_eight_devices_then_four_then_one(tmp_path):
  tree = TREE
  for step, fsdp in enumerate((8, 4, 1), start=1):
    mesh = tiny.mesh(fsdp=fsdp)
    writer = checkpoints.Writer(tmp_path, keep=2, items=('parameters',))
    writer.save(step, {'parameters': _placed(tree, mesh)})
    writer.close()
    tree = checkpoints.restore(
      tmp_path / str(step), 'parameters', _abstract(TREE, tiny.mesh(fsdp=4))
    )
  np.testing.assert_array_equal(
    tree['layers']['query'], TREE['layers']['query']
  )


@pytest.fixture
def small_disk(tmp_path):
  """A file system of 4 MB."""
  if os.geteuid() or shutil.which('mount') is None:
    pytest.skip('only root can mount a small file system')
  folder = tmp_path / 'small'
  folder.mkdir()
  made = subprocess.run(
    ['mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', str(folder)],
    capture_output=True,
  )
  if made.returncode:
    pytest.skip(f'no small file system: {made.stderr.decode()}')
  yield folder
  subprocess.run(['umount', str(folder)], check=True)


def test_a_full_disk_is_told_and_leaves_the_older_checkpoints(small_disk):
  mesh = tiny.mesh()
  tree = {'x': np.arange(300_000, dtype=np.float32).reshape(300, 1000)}
  folder = small_disk / checkpoints.FOLDER
  writer = checkpoints.Writer(folder, keep=2, items=('parameters',))
  for step in (1, 2, 3, 4):  # the fourth comes while two others are there
    with contextlib.ExitStack() as stack:
      if step == 4:
        (small_disk / 'other').write_bytes(bytes(10**6))
        stack.enter_context(
          pytest.raises(errors.UserError, match='step 4 was not.*No space left')
        )
      writer.save(step, {'parameters': _placed(tree, mesh)})
      writer.wait()
  writer.close()
  assert sorted(path.name for path in folder.iterdir()) == ['2', '3']
  assert checkpoints.newest_whole(folder) == 3
  found = checkpoints.restore(folder / '3', 'parameters', _abstract(tree, mesh))
  np.testing.assert_array_equal(found['x'], tree['x'])


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


def _one_of_two(folder, port, process):
  """Saves two steps with another process, and harms the second."""
  jax.config.update('jax_num_cpu_devices', 4)
  jax.distributed.initialize(f'localhost:{port}', 2, process)
  sharding = NamedSharding(tiny.mesh(fsdp=8), SPEC)
  tree = jax.tree.map(
    lambda x: jax.make_array_from_callback(x.shape, sharding, x.__getitem__),
    TREE,
  )
  writer = checkpoints.Writer(folder, keep=2, items=('parameters',))
  for step in (1, 2):
    writer.save(step, {'parameters': tree})
  writer.close()
  newest = checkpoints.newest_whole(folder)
  if process == 0:
    _flip(folder / '2' / 'parameters' / 'layers.query' / '7.0')
  multihost_utils.sync_global_devices('harmed')
  print(newest, checkpoints.newest_whole(folder), checkpoints.steps(folder))
  jax.distributed.shutdown()


@pytest.mark.long
def test_what_two_processes_saved_one_restores_and_both_see_the_harm(tmp_path):
  with socket.socket() as free:
    free.bind(('localhost', 0))
    port = free.getsockname()[1]
  # Those of this process would be a pod's devices there.
  ours = ('XLA_FLAGS', 'JAX_NUM_CPU_DEVICES')
  environment = {k: v for k, v in os.environ.items() if k not in ours}
  processes = [
    subprocess.Popen(
      [sys.executable, __file__, str(tmp_path), str(port), str(process)],
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      env=environment,
    )
    for process in range(2)
  ]
  said = [process.communicate(timeout=300) for process in processes]
  # Above it, how Gloo connected.
  last = [out.splitlines()[-1:] for out, _ in said]
  assert last == [['2 1 [1]']] * 2, said[0][1]
  assert 'layers.query/7.0 has the CRC-32' in said[0][1]
  found = checkpoints.restore(
    tmp_path / '1', 'parameters', _abstract(TREE, tiny.mesh())
  )
  np.testing.assert_array_equal(
    found['layers']['query'], TREE['layers']['query']
  )


if __name__ == '__main__':
  _one_of_two(pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
