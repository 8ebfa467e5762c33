"""A BERT checkpoint of random weights in a moment; no tests.

Its word embeddings outweigh the rest, so that texts which share words have like
vectors, as with a trained encoder.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import safetensors.numpy

SPECIAL = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]')


def write(
  folder: pathlib.Path,
  config: Mapping[str, Any],
  tensors: Mapping[str, np.ndarray],
  words: Sequence[str],
) -> pathlib.Path:
  """A checkpoint as Hugging Face lays it out."""
  folder.mkdir(parents=True, exist_ok=True)
  (folder / 'config.json').write_text(
    json.dumps({'model_type': 'bert', **config})
  )
  (folder / 'vocab.txt').write_text('\n'.join([*SPECIAL, *words]) + '\n')
  contiguous = {k: np.ascontiguousarray(v) for k, v in tensors.items()}
  safetensors.numpy.save_file(contiguous, folder / 'model.safetensors')
  return folder


def random(
  folder: pathlib.Path, words: Sequence[str], dim: int = 32, layers: int = 1
) -> pathlib.Path:
  """A checkpoint that knows `words`."""
  config = {
    'vocab_size': len(SPECIAL) + len(words),
    'hidden_size': dim,
    'num_hidden_layers': layers,
    'num_attention_heads': 4,
    'intermediate_size': 2 * dim,
    'max_position_embeddings': 64,
    'type_vocab_size': 2,
    'hidden_act': 'gelu',
  }
  return write(folder, config, random_tensors(config, seed=0), words)


def random_tensors(
  config: Mapping[str, Any], seed: int
) -> dict[str, np.ndarray]:
  """All tensors of an encoder by Hugging Face's names."""
  rng = np.random.default_rng(seed)
  D, F = config['hidden_size'], config['intermediate_size']

  def normal(*shape: int, std: float) -> np.ndarray:
    return (std * rng.normal(size=shape)).astype(np.float32)

  def norm(name: str) -> dict[str, np.ndarray]:
    return {
      f'{name}.weight': np.ones(D, np.float32),
      f'{name}.bias': np.zeros(D, np.float32),
    }

  def dense(name: str, inputs: int, outputs: int) -> dict[str, np.ndarray]:
    return {
      f'{name}.weight': normal(outputs, inputs, std=0.5 * inputs**-0.5),
      f'{name}.bias': normal(outputs, std=0.02),
    }

  tensors = {
    f'embeddings.{name}_embeddings.weight': normal(config[rows], D, std=std)
    for name, rows, std in (
      ('word', 'vocab_size', 1.0),
      ('position', 'max_position_embeddings', 0.02),
      ('token_type', 'type_vocab_size', 0.02),
    )
  } | norm('embeddings.LayerNorm')
  for index in range(config['num_hidden_layers']):
    layer = f'encoder.layer.{index}'
    for part in ('query', 'key', 'value'):
      tensors |= dense(f'{layer}.attention.self.{part}', D, D)
    tensors |= dense(f'{layer}.attention.output.dense', D, D)
    tensors |= norm(f'{layer}.attention.output.LayerNorm')
    tensors |= dense(f'{layer}.intermediate.dense', D, F)
    tensors |= dense(f'{layer}.output.dense', F, D)
    tensors |= norm(f'{layer}.output.LayerNorm')
  return tensors
