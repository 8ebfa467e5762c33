"""Which Hugging Face tensor holds which of our parameters, and how it lies.

A linear layer's weight is [out, in] there and [in, out] here, heads are axes of
their own here, and layers are stacked. Both turn rotary pairs in the half-split
layout, so no row moves. Nothing here computes: the same bytes, elsewhere.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from hephaestus_jax import model

LAYERS = 'layers'


@dataclasses.dataclass(frozen=True)
class Place:
  """Where one parameter is to be found.

  Attributes:
    name: the tensor's; '{}' is the layer's number.
    ours: its axes here, in the letters of model.py.
    theirs: its axes there; 'NH' is one axis, N outside and H inside.
  """

  name: str
  ours: str
  theirs: tuple[str, ...]


def _layer(name: str, ours: str, *theirs: str) -> Place:
  return Place(f'model.layers.{{}}.{name}.weight', ours, theirs)


PLACES: Mapping[str, Place] = {
  'embedding': Place('model.embed_tokens.weight', 'VD', ('V', 'D')),
  'layers.attention_norm': _layer('input_layernorm', 'D', 'D'),
  'layers.attention.query': _layer('self_attn.q_proj', 'DNH', 'NH', 'D'),
  'layers.attention.key': _layer('self_attn.k_proj', 'DKH', 'KH', 'D'),
  'layers.attention.value': _layer('self_attn.v_proj', 'DKH', 'KH', 'D'),
  'layers.attention.output': _layer('self_attn.o_proj', 'NHD', 'D', 'NH'),
  'layers.mlp_norm': _layer('post_attention_layernorm', 'D', 'D'),
  'layers.mlp.gate': _layer('mlp.gate_proj', 'DF', 'F', 'D'),
  'layers.mlp.up': _layer('mlp.up_proj', 'DF', 'F', 'D'),
  'layers.mlp.down': _layer('mlp.down_proj', 'FD', 'D', 'F'),
  'final_norm': Place('model.norm.weight', 'D', ('D',)),
  'output': Place('lm_head.weight', 'DV', ('V', 'D')),
}


def path_name(path: Any) -> str:
  """A parameter's key in PLACES, from its path in the tree."""
  return jax.tree_util.keystr(path, simple=True, separator='.')


def sizes(config: model.Config) -> dict[str, int]:
  """The length of each axis, by its letter."""
  return {
    'V': config.vocab_size,
    'D': config.emb_dim,
    'N': config.num_heads,
    'K': config.num_kv_heads,
    'H': config.head_dim,
    'F': config.mlp_dim,
  }


def tensors(
  config: model.Config,
) -> Iterator[tuple[str, tuple[int, ...], str, int | None]]:
  """The tensors of a network, from the embedding up.

  Yields:
    (the tensor's name, its shape, the parameter that it is, its layer or None).
  """
  size = sizes(config)

  def shape(place: Place) -> tuple[int, ...]:
    return tuple(math.prod(size[a] for a in axis) for axis in place.theirs)

  def single(key: str) -> tuple[str, tuple[int, ...], str, None]:
    return PLACES[key].name, shape(PLACES[key]), key, None

  yield single('embedding')
  for layer in range(config.num_layers):
    for key, place in PLACES.items():
      if key.startswith(LAYERS):
        yield place.name.format(layer), shape(place), key, layer
  yield single('final_norm')
  if not config.tied_output:
    yield single('output')


def cut(
  place: Place, config: model.Config, part: Sequence[slice]
) -> tuple[slice, ...]:
  """The part of a tensor that holds a part of a parameter (of one layer).

  An axis of two letters is cut along the outer one only.

  >>> cut(PLACES['layers.attention.query'], config, (2:4, 1:2, :))  # H = 8
  (8:16, 2:4)
  """
  size = sizes(config)
  wanted = dict(zip(place.ours, part, strict=True))
  found = []
  for axis in place.theirs:
    start, stop, _ = wanted[axis[0]].indices(size[axis[0]])
    inner = math.prod(size[letter] for letter in axis[1:])
    found.append(slice(start * inner, stop * inner))
  return tuple(found)


def to_ours(
  place: Place, config: model.Config, part: Sequence[slice], tensor: np.ndarray
) -> np.ndarray:
  """A part of a parameter, from what `cut` cut out of the tensor."""
  size = sizes(config)
  letters = ''.join(place.theirs)
  inner = {letter for axis in place.theirs for letter in axis[1:]}
  wanted = dict(zip(place.ours, part, strict=True))
  lengths = {
    letter: len(range(size[letter])[slice(None) if whole else wanted[letter]])
    for letter, whole in ((letter, letter in inner) for letter in letters)
  }
  split = tensor.reshape([lengths[letter] for letter in letters])
  turned = split.transpose([letters.index(letter) for letter in place.ours])
  return turned[
    tuple(wanted[a] if a in inner else slice(None) for a in place.ours)
  ]


def to_theirs(
  place: Place, config: model.Config, parameter: np.ndarray
) -> np.ndarray:
  """A whole parameter (of one layer) as the tensor that it is there."""
  size = sizes(config)
  letters = ''.join(place.theirs)
  turned = parameter.transpose([place.ours.index(a) for a in letters])
  shape = [math.prod(size[a] for a in axis) for axis in place.theirs]
  return np.ascontiguousarray(turned.reshape(shape))
