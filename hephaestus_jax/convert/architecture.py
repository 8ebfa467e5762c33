"""Hugging Face's config.json <-> model.Config.

What the file says and the network doesn't compute is refused, never ignored.
"""

from collections.abc import Mapping
from typing import Any

from hephaestus_jax import errors, model

# What a file that leaves a key out means: the defaults of transformers, which
# writes only what differs. head_dim is hidden_size / num_attention_heads.
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
  'llama': {
    'vocab_size': 32000,
    'hidden_size': 4096,
    'intermediate_size': 11008,
    'num_hidden_layers': 32,
    'num_attention_heads': 32,
    'rms_norm_eps': 1e-6,
    'tie_word_embeddings': False,
  },
  'mistral': {
    'vocab_size': 32000,
    'hidden_size': 4096,
    'intermediate_size': 14336,
    'num_hidden_layers': 32,
    'num_attention_heads': 32,
    'num_key_value_heads': 8,
    'rms_norm_eps': 1e-6,
    'sliding_window': 4096,
    'tie_word_embeddings': False,
  },
}
_CLASSES = {'llama': 'LlamaForCausalLM', 'mistral': 'MistralForCausalLM'}
# Keys that change the network, and the one value that ours computes.
_MUST_BE: Mapping[str, Any] = {
  'hidden_act': 'silu',
  'attention_bias': False,
  'mlp_bias': False,
  'rope_interleaved': False,
  'partial_rotary_factor': 1.0,
  'quantization_config': None,
}
_ROPE_THETA = 10000.0
_ROPE_SCALING = {
  'factor': 'factor',
  'low_frequency_factor': 'low_freq_factor',
  'high_frequency_factor': 'high_freq_factor',
  'original_length': 'original_max_position_embeddings',
}
# Keys that `to_json` decides: those of an older file don't stay beside them.
_OWNED = (
  *('architectures', 'model_type', 'torch_dtype', 'dtype', 'hidden_act'),
  *('vocab_size', 'hidden_size', 'intermediate_size', 'num_hidden_layers'),
  *('num_attention_heads', 'num_key_value_heads', 'head_dim', 'rms_norm_eps'),
  *('rope_theta', 'rope_scaling', 'rope_parameters', 'sliding_window'),
  *('tie_word_embeddings', 'attention_bias', 'mlp_bias'),
)


def from_json(
  found: Mapping[str, Any], where: str, param_dtype: str
) -> model.Config:
  """The network that a config.json describes.

  Args:
    found: its content.
    where: what a message calls it.
    param_dtype: of the parameters.

  Raises:
    errors.UserError: it is none that our network computes, or a value is
      missing or of the wrong type.
  """
  kind = found.get('model_type')
  if not isinstance(kind, str) or kind not in _DEFAULTS:
    raise errors.UserError(
      f'{where} says model_type = {kind!r}; the network is one of '
      f'{", ".join(map(repr, _DEFAULTS))}. Choose another checkpoint.'
    )
  classes = found.get('architectures') or [_CLASSES[kind]]
  if classes != [_CLASSES[kind]]:
    raise errors.UserError(
      f'{where} says architectures = {classes!r}, and only {_CLASSES[kind]} '
      'predicts the next token. Choose another checkpoint.'
    )
  for key, value in _MUST_BE.items():
    if found.get(key, value) != value:
      raise errors.UserError(
        f'{where} says {key} = {found[key]!r}; the network computes {value!r} '
        'only. Choose another checkpoint.'
      )
  if kind == 'llama' and found.get('sliding_window') is not None:
    raise errors.UserError(
      f'{where} says sliding_window = {found["sliding_window"]!r}, which '
      "model_type 'llama' has not. Is it a 'mistral'?"
    )

  def number(key: str, kinds: type | tuple[type, ...], default: Any) -> Any:
    value = found.get(key, default)
    if not isinstance(value, kinds) or isinstance(value, bool):
      raise errors.UserError(
        f'{where} says {key} = {value!r}; it must be a number.'
      )
    return value

  defaults = _DEFAULTS[kind]

  def size(key: str) -> int:
    return number(key, int, defaults[key])

  heads = size('num_attention_heads')
  kv_heads = found.get(
    'num_key_value_heads', defaults.get('num_key_value_heads')
  )
  head_dim = found.get('head_dim')
  window = found.get('sliding_window', defaults.get('sliding_window'))
  theta, scaling = _rope(found, where)
  return model.Config(
    vocab_size=size('vocab_size'),
    emb_dim=size('hidden_size'),
    num_layers=size('num_hidden_layers'),
    num_heads=heads,
    num_kv_heads=heads
    if kv_heads is None
    else number('num_key_value_heads', int, kv_heads),
    head_dim=size('hidden_size') // heads
    if head_dim is None
    else number('head_dim', int, head_dim),
    mlp_dim=size('intermediate_size'),
    rope_theta=theta,
    rope_scaling=scaling,
    norm_epsilon=float(
      number('rms_norm_eps', (int, float), defaults['rms_norm_eps'])
    ),
    sliding_window=None
    if window is None
    else number('sliding_window', int, window),
    tied_output=bool(
      found.get('tie_word_embeddings', defaults['tie_word_embeddings'])
    ),
    param_dtype=param_dtype,
  )


def _rope(
  found: Mapping[str, Any], where: str
) -> tuple[float, model.RopeScaling | None]:
  """rope_theta and the scaling, from either of two ways to write them.

  transformers 4 wrote rope_theta and rope_scaling = {'rope_type' (once
  'type'), 'factor', ...}; transformers 5 writes both as rope_parameters.
  """
  rope = found.get('rope_parameters') or found.get('rope_scaling') or {}
  theta = rope.get('rope_theta', found.get('rope_theta', _ROPE_THETA))
  if rope.get('partial_rotary_factor', 1.0) != 1.0:
    raise errors.UserError(
      f'{where} says partial_rotary_factor = {rope["partial_rotary_factor"]!r};'
      ' the network turns all of a head. Choose another checkpoint.'
    )
  kind = rope.get('rope_type', rope.get('type', 'default'))
  if kind == 'default':
    return float(theta), None
  if kind != 'llama3':
    raise errors.UserError(
      f'{where} says rope_type = {kind!r}; the network knows '
      "'default' and 'llama3'. Choose another checkpoint."
    )
  values: dict[str, Any] = {}
  for ours, theirs in _ROPE_SCALING.items():
    value = rope.get(theirs, found.get(theirs))
    if not isinstance(value, int | float):
      raise errors.UserError(
        f"{where} says rope_type = 'llama3' with {theirs} = {value!r}; it must "
        'be a number.'
      )
    values[ours] = value
  return float(theta), model.RopeScaling(**values)


def to_json(
  config: model.Config, dtype: str, kept: Mapping[str, Any]
) -> dict[str, Any]:
  """A config.json that transformers 4 and 5 read.

  Args:
    config: the network.
    dtype: of the tensors.
    kept: an older config.json of the same vocabulary, or {}: what is no matter
      of the network (ids of special tokens, the longest input) is taken over.
  """
  kind = 'llama' if config.sliding_window is None else 'mistral'
  if kept.get('model_type') == 'mistral':  # one that has no window
    kind = 'mistral'
  others = {key: value for key, value in kept.items() if key not in _OWNED}
  made = others | {
    'architectures': [_CLASSES[kind]],
    'model_type': kind,
    'torch_dtype': dtype,
    'hidden_act': 'silu',
    'vocab_size': config.vocab_size,
    'hidden_size': config.emb_dim,
    'intermediate_size': config.mlp_dim,
    'num_hidden_layers': config.num_layers,
    'num_attention_heads': config.num_heads,
    'num_key_value_heads': config.num_kv_heads,
    'head_dim': config.head_dim,
    'rms_norm_eps': config.norm_epsilon,
    'rope_theta': config.rope_theta,
    'tie_word_embeddings': config.tied_output,
  }
  if config.rope_scaling is not None:
    made['rope_scaling'] = {'rope_type': 'llama3'} | {
      theirs: getattr(config.rope_scaling, ours)
      for ours, theirs in _ROPE_SCALING.items()
    }
  if kind == 'mistral':
    made['sliding_window'] = config.sliding_window
  else:
    made |= {'attention_bias': False, 'mlp_bias': False}
  return made
