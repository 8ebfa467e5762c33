"""A part of a parameter is that part of the tensor, unchanged."""

import numpy as np
import pytest

from hephaestus_jax import model
from hephaestus_jax.convert import layout

CONFIG = model.Config(
  vocab_size=10,
  emb_dim=12,
  num_layers=3,
  num_heads=4,
  num_kv_heads=2,
  head_dim=6,
  mlp_dim=8,
)
SHAPES = {key: shape for _, shape, key, _ in layout.tensors(CONFIG)}


def tensor(key: str) -> np.ndarray:
  shape = SHAPES[key]
  return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def whole(key: str) -> np.ndarray:
  place = layout.PLACES[key]
  part = (slice(None),) * len(place.ours)
  return layout.to_ours(place, CONFIG, part, tensor(key))


def test_row_6n_plus_h_of_q_proj_makes_dimension_h_of_head_n():
  query_DNH = whole('layers.attention.query')
  rows = tensor('layers.attention.query')
  assert query_DNH.shape == (12, 4, 6)
  assert query_DNH[5, 2, 3] == rows[6 * 2 + 3, 5]


def test_column_6n_plus_h_of_o_proj_reads_dimension_h_of_head_n():
  output_NHD = whole('layers.attention.output')
  assert output_NHD[2, 3, 5] == tensor('layers.attention.output')[5, 6 * 2 + 3]


@pytest.mark.parametrize('key', layout.PLACES)
def test_there_and_back_is_the_same(key):
  place = layout.PLACES[key]
  back = layout.to_theirs(place, CONFIG, whole(key))
  np.testing.assert_array_equal(back, tensor(key))


@pytest.mark.parametrize('key', layout.PLACES)
def test_a_part_is_that_part_of_the_whole(key):
  place = layout.PLACES[key]
  size = layout.sizes(CONFIG)
  for quarter in (slice(0, 1), slice(1, 2)):
    part = tuple(
      slice(quarter.start * size[a] // 2, quarter.stop * size[a] // 2)
      for a in place.ours
    )
    cut = tensor(key)[layout.cut(place, CONFIG, part)]
    found = layout.to_ours(place, CONFIG, part, cut)
    np.testing.assert_array_equal(found, whole(key)[part])


def test_the_tensors_are_all_of_the_network():
  total = sum(np.prod(shape) for _, shape, _, _ in layout.tensors(CONFIG))
  assert total == model.num_parameters(CONFIG)
