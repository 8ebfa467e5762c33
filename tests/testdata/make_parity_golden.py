"""Writes parity_golden.npz: what `transformers` computes for tiny networks.

    pip install -e .[reference] && python tests/testdata/make_parity_golden.py

Each case has random weights (large ones, so that attention is far from uniform
and norms are far from 1), tokens and the logits of its own eager float32 code.
"""

import pathlib
from typing import Any

import numpy as np

GOLDEN = pathlib.Path(__file__).with_name('parity_golden.npz')
LENGTH = 24
SMALL = {
  'vocab_size': 48,
  'hidden_size': 16,
  'intermediate_size': 24,
  'num_hidden_layers': 2,
  'num_attention_heads': 4,
  'num_key_value_heads': 2,
  'head_dim': 8,
  'max_position_embeddings': 64,
  'rms_norm_eps': 1e-5,
  'tie_word_embeddings': False,
  'rope_parameters': {'rope_type': 'default', 'rope_theta': 10000.0},
}
CASES = {
  'llama_mha': {'num_key_value_heads': 4},
  'llama_gqa': {
    'rope_parameters': {'rope_type': 'default', 'rope_theta': 500000.0}
  },
  'llama_tied': {'num_key_value_heads': 1, 'tie_word_embeddings': True},
  'llama_scaled': {
    'rope_parameters': {
      'rope_type': 'llama3',
      'rope_theta': 10000.0,
      'factor': 8.0,
      'low_freq_factor': 1.0,
      'high_freq_factor': 4.0,
      # So short that the four pairs are kept, on the ramp and stretched.
      'original_max_position_embeddings': 30,
    }
  },
  'mistral_window': {'sliding_window': 5},
}


def config_json(case: str) -> dict[str, Any]:
  """A case's config.json, as transformers 5 writes it."""
  return SMALL | CASES[case] | {'model_type': case.split('_')[0]}


def reference(case: str, seed: int) -> tuple[Any, dict[str, np.ndarray]]:
  """A random network; its tensors by name, and its 'tokens' and 'logits'."""
  import torch
  import transformers

  family = {
    'llama': (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    'mistral': (transformers.MistralConfig, transformers.MistralForCausalLM),
  }
  make_config, make_model = family[case.split('_')[0]]
  config = make_config(**SMALL | CASES[case], attn_implementation='eager')
  network = make_model(config).to(torch.float32).eval()
  rng = np.random.default_rng(seed)
  arrays = {}
  with torch.no_grad():
    for name, tensor in network.named_parameters():
      values = rng.normal(size=tuple(tensor.shape)).astype(np.float32)
      values = 1 + values / 4 if 'norm' in name else values / 2
      tensor.copy_(torch.from_numpy(values))
      arrays[name] = values
  tokens = rng.integers(0, config.vocab_size, (2, LENGTH)).astype(np.int32)
  logits = logits_of(network, tokens)
  return network, arrays | {'tokens': tokens, 'logits': logits}


def logits_of(network: Any, tokens: np.ndarray) -> np.ndarray:
  """What a network of transformers predicts for tokens."""
  import torch

  with torch.no_grad():
    return network(torch.from_numpy(tokens).long()).logits.numpy()


if __name__ == '__main__':
  np.savez_compressed(
    GOLDEN,
    **{
      f'{case}/{name}': array
      for case in CASES
      for name, array in reference(case, seed=0)[1].items()
    },
  )
