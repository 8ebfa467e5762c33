"""Names of TPU slices, and what is said of those that are none."""

import pytest

from hephaestus_jax import errors
from hephaestus_jax.planning import topology


def test_a_name_is_slices_generation_and_shape():
  place = topology.parse('2xv5p:4x4x4')
  assert (place.slices, place.generation, place.shape) == (2, 'v5p', '4x4x4')
  assert place.slice_chips == 64
  assert place.chip.capacity == 95 * 2**30


@pytest.mark.parametrize(
  ('name', 'listed', 'not_listed'),
  [
    ('v5p:4x4', 'v5p:4x4x4', 'v5e:16x16'),
    ('v9:4x4', 'v6e:16x16', None),
    ('v5p-128', 'v5p:4x4x4', None),
    ('0xv5p:4x4', 'v5p:4x4x4', None),
  ],
)
def test_a_wrong_name_gets_the_list_of_right_ones(name, listed, not_listed):
  with pytest.raises(errors.UserError) as said:
    topology.parse(name)
  assert name in str(said.value)
  assert listed in str(said.value)
  assert not_listed is None or not_listed not in str(said.value)


def test_without_the_compiler_the_extra_is_named(monkeypatch):
  monkeypatch.setattr(topology.importlib.util, 'find_spec', lambda name: None)
  monkeypatch.delenv('TPU_LIBRARY_PATH', raising=False)
  with pytest.raises(errors.UserError, match=r'hephaestus-jax\[tpu\]'):
    topology.devices(topology.parse('v5e:2x2'))
