"""Writes bert_golden.npz: what `transformers` computes for tiny BERTs.

    pip install -e .[reference] && python tests/testdata/make_bert_golden.py

Each case has random weights (large ones, so that attention is far from uniform
and norms are far from 1), padded tokens, their lengths and the hidden states of
its own eager float32 code.
"""

import pathlib

import numpy as np

GOLDEN = pathlib.Path(__file__).with_name('bert_golden.npz')
LENGTH = 12
SMALL = {
  'vocab_size': 40,
  'hidden_size': 16,
  'num_hidden_layers': 2,
  'num_attention_heads': 4,
  'intermediate_size': 24,
  'max_position_embeddings': 32,
  'type_vocab_size': 2,
  'hidden_act': 'gelu',
  'layer_norm_eps': 1e-12,
}
CASES = {
  'gelu': {},
  'tanh': {'hidden_act': 'gelu_new', 'num_attention_heads': 2},
  'relu': {'hidden_act': 'relu', 'layer_norm_eps': 1e-3, 'type_vocab_size': 1},
}


def reference(case: str, seed: int) -> dict[str, np.ndarray]:
  """A random network's tensors by name; 'tokens', 'lengths' and 'hidden'."""
  import torch
  import transformers

  config = transformers.BertConfig(
    **SMALL | CASES[case], attn_implementation='eager'
  )
  network = transformers.BertModel(config).to(torch.float32).eval()
  rng = np.random.default_rng(seed)
  arrays = {}
  with torch.no_grad():
    for name, tensor in network.named_parameters():
      values = rng.normal(size=tuple(tensor.shape)).astype(np.float32)
      is_scale = name.endswith('LayerNorm.weight')
      values = 1 + values / 4 if is_scale else values / 2
      tensor.copy_(torch.from_numpy(values))
      arrays[name] = values
    tokens = rng.integers(0, config.vocab_size, (4, LENGTH)).astype(np.int32)
    lengths = np.asarray([LENGTH, 1, 5, 9], np.int32)
    mask = np.arange(LENGTH)[None] < lengths[:, None]
    hidden = network(
      torch.from_numpy(tokens).long(), torch.from_numpy(mask).long()
    ).last_hidden_state.numpy()
  return arrays | {'tokens': tokens, 'lengths': lengths, 'hidden': hidden}


if __name__ == '__main__':
  np.savez_compressed(
    GOLDEN,
    **{
      f'{case}/{name}': array
      for case in CASES
      for name, array in reference(case, seed=0).items()
    },
  )
