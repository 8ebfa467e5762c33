"""Folders of safetensors: read by part, written in pieces."""

import json

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from hephaestus_jax import errors
from hephaestus_jax.convert import safetensor_files

TENSORS = {
  'a': np.arange(12, dtype=np.float32).reshape(3, 4),
  'b': np.arange(6, dtype=np.float32).reshape(2, 3).astype(ml_dtypes.bfloat16),
  'c': np.arange(4, dtype=np.float16),
}


def write(folder, file_bytes):
  sizes = [(name, tensor.nbytes) for name, tensor in TENSORS.items()]
  safetensor_files.write(folder, sizes, TENSORS.__getitem__, file_bytes)


@pytest.mark.parametrize(('file_bytes', 'files'), [(1000, 1), (48, 2), (1, 3)])
def test_what_is_written_in_any_number_of_files_is_read(
  tmp_path, file_bytes, files
):
  write(tmp_path, file_bytes)
  folder = safetensor_files.Folder(tmp_path)
  assert len(folder.files) == files
  assert (tmp_path / safetensor_files.INDEX).exists() == (files > 1)
  assert folder.names() == {*TENSORS}
  for name, tensor in TENSORS.items():
    assert folder.shape(name) == tensor.shape
    assert folder.dtype(name) == tensor.dtype.name
    part = (slice(1, 2),) * tensor.ndim
    found = folder.read(name, part)
    assert found.dtype == tensor.dtype
    np.testing.assert_array_equal(found, tensor[part])


def test_the_index_says_where_each_tensor_is(tmp_path):
  write(tmp_path, 48)
  index = json.loads((tmp_path / safetensor_files.INDEX).read_text())
  first, second = (f'model-0000{i}-of-00002.safetensors' for i in (1, 2))
  assert index['weight_map'] == {'a': first, 'b': second, 'c': second}
  assert index['metadata'] == {'total_size': 48 + 12 + 8}


def test_files_that_are_no_part_of_the_checkpoint_are_not_read(tmp_path):
  write(tmp_path, 1000)
  other = {'tok_embeddings.weight': TENSORS['a']}
  safetensors.numpy.save_file(other, tmp_path / 'consolidated.safetensors')
  assert safetensor_files.Folder(tmp_path).names() == {*TENSORS}


def delete(folder):
  (folder / 'model-00002-of-00003.safetensors').unlink()


def truncate(folder):
  path = folder / 'model-00002-of-00003.safetensors'
  path.write_bytes(path.read_bytes()[:-1])


def swap(folder):
  first = folder / 'model-00001-of-00003.safetensors'
  (folder / 'model-00002-of-00003.safetensors').write_bytes(first.read_bytes())


def point_outside(folder):
  path = folder / safetensor_files.INDEX
  path.write_text(path.read_text().replace('model-00002', '../model-00002'))


def spoil(folder):
  (folder / safetensor_files.INDEX).write_text('[1]')


def pickled(folder):
  for path in folder.iterdir():
    path.unlink()
  (folder / 'pytorch_model.bin').write_bytes(b'')


@pytest.mark.parametrize(
  ('damage', 'said'),
  [
    (delete, 'has no model-00002-of-00003.safetensors'),
    (truncate, 'model-00002-of-00003.safetensors is damaged'),
    (swap, 'the tensor b, which it has not'),
    (point_outside, "'../model-00002-of-00003.safetensors'"),
    (spoil, 'no index'),
    (pickled, 'pytorch_model.bin is a pickle'),
  ],
)
def test_damage_is_named(tmp_path, damage, said):
  write(tmp_path, 1)
  damage(tmp_path)
  with pytest.raises(errors.UserError, match=said):
    safetensor_files.Folder(tmp_path)
