"""A GGUF file of llama.cpp, read as Hugging Face's tensors and config.json.

Quantised tensors come back as float32, one at a time. llama.cpp turns rotary
pairs (2i, 2i + 1), so its converter moved the rows of the queries' and keys'
matrices; here they are moved back to the half-split layout.
"""

import pathlib
import re
from typing import Any

import gguf
import numpy as np

from hephaestus_jax import errors
from hephaestus_jax.convert import layout

_NAMES = {
  'token_embd': 'embedding',
  'attn_norm': 'layers.attention_norm',
  'attn_q': 'layers.attention.query',
  'attn_k': 'layers.attention.key',
  'attn_v': 'layers.attention.value',
  'attn_output': 'layers.attention.output',
  'ffn_norm': 'layers.mlp_norm',
  'ffn_gate': 'layers.mlp.gate',
  'ffn_up': 'layers.mlp.up',
  'ffn_down': 'layers.mlp.down',
  'output_norm': 'final_norm',
  'output': 'output',
}
_TENSOR = re.compile(r'(?:blk\.(\d+)\.)?(\w+)\.weight')


class File:
  """The tensors in a GGUF file, and what it says of the network."""

  def __init__(self, path: pathlib.Path):
    """Maps the file.

    Raises:
      errors.UserError: it is no whole GGUF file.
    """
    try:
      self._reader = gguf.GGUFReader(path)
    except (ValueError, IndexError, KeyError, OSError) as error:
      raise errors.UserError(
        f'{path} is no whole GGUF file ({error}). Download it again.'
      ) from None
    self.files = [path]
    self._path = path
    self._tensors = {_name(t.name): t for t in self._reader.tensors}

  def metadata(self, key: str, default: Any = None) -> Any:
    """What the file says under a key."""
    field = self._reader.fields.get(key)
    return default if field is None else field.contents()

  def config_json(self) -> dict[str, Any]:
    """Hugging Face's config.json, as far as the file knows it."""
    kind = self.metadata('general.architecture')

    def told(key: str) -> Any:
      return self.metadata(f'{kind}.{key}')

    heads, width = told('attention.head_count'), told('embedding_length')
    epsilon = told('attention.layer_norm_rms_epsilon')
    found = {
      'model_type': kind,
      'hidden_size': width,
      'intermediate_size': told('feed_forward_length'),
      'num_hidden_layers': told('block_count'),
      'num_attention_heads': heads,
      'num_key_value_heads': told('attention.head_count_kv'),
      'head_dim': told('attention.key_length'),
      'rope_theta': told('rope.freq_base'),
      'max_position_embeddings': told('context_length'),
      # 1e-5 is stored as the nearest float32; back to what was meant.
      'rms_norm_eps': epsilon and float(str(np.float32(epsilon))),
      'bos_token_id': self.metadata('tokenizer.ggml.bos_token_id'),
      'eos_token_id': self.metadata('tokenizer.ggml.eos_token_id'),
    }
    found = {key: value for key, value in found.items() if value is not None}
    scaling = told('rope.scaling.type')
    if scaling not in (None, 'none'):
      found['rope_scaling'] = {'rope_type': scaling}
    turned = told('rope.dimension_count')
    head_dim = found.get('head_dim') or (width // heads if heads else None)
    if turned and head_dim and turned != head_dim:
      found['partial_rotary_factor'] = turned / head_dim
    embedding = layout.PLACES['embedding'].name
    if embedding in self._tensors:
      found['vocab_size'] = self.shape(embedding)[0]
    found['tie_word_embeddings'] = (
      layout.PLACES['output'].name not in self._tensors
    )
    return found

  def names(self) -> set[str]:
    """All tensors, under Hugging Face's names where they have one."""
    return {*self._tensors}

  def shape(self, name: str) -> tuple[int, ...]:
    """A tensor's shape; GGUF counts axes from the innermost."""
    return tuple(int(size) for size in reversed(self._tensors[name].shape))

  def dtype(self, name: str) -> str:
    """What `read` makes of every tensor."""
    return 'float32'

  def read(self, name: str, part: tuple[slice, ...]) -> np.ndarray:
    """A part of a tensor, in float32; the whole of it is dequantised."""
    tensor = self._tensors[name]
    try:
      values = gguf.dequantize(tensor.data, tensor.tensor_type)
    except NotImplementedError:
      raise errors.UserError(
        f'{self._path}: the tensor {tensor.name} is quantised as '
        f'{tensor.tensor_type.name}, which the gguf library does not undo. '
        'Choose another file.'
      ) from None
    kind = self.metadata('general.architecture')
    heads = {
      'attn_q': self.metadata(f'{kind}.attention.head_count'),
      'attn_k': self.metadata(
        f'{kind}.attention.head_count_kv',
        self.metadata(f'{kind}.attention.head_count'),
      ),
    }
    match = _TENSOR.fullmatch(tensor.name)
    if match and match[2] in heads:
      values = half_split(values, heads[match[2]])
    return values[part]


def half_split(matrix: np.ndarray, heads: int) -> np.ndarray:
  """Rows (2i, 2i + 1) of each head as rows i and i + H/2.

  For one head, rows [0, 1, 2, 3] become [0, 2, 1, 3].
  """
  rows, columns = matrix.shape
  pairs = matrix.reshape(heads, rows // heads // 2, 2, columns)
  return pairs.swapaxes(1, 2).reshape(rows, columns)


def _name(theirs: str) -> str:
  """A tensor's name at Hugging Face; one that has none keeps its own.

  >>> _name('blk.3.attn_q.weight')
  'model.layers.3.self_attn.q_proj.weight'
  """
  match = _TENSOR.fullmatch(theirs)
  if not match or match[2] not in _NAMES:
    return theirs
  key = _NAMES[match[2]]
  if key.startswith(layout.LAYERS) != (match[1] is not None):
    return theirs
  return layout.PLACES[key].name.format(match[1])
