"""A random network in a folder as Hugging Face publishes it; no tests."""

import json
import pathlib
import sys
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from hephaestus_jax import model
from hephaestus_jax.convert import architecture, layout, safetensor_files

sys.path.append(str(pathlib.Path(__file__).parents[1]))
import small_vocabulary  # noqa: E402

CONFIG = model.Config(
  vocab_size=32,
  emb_dim=16,
  num_layers=2,
  num_heads=4,
  num_kv_heads=2,
  head_dim=4,
  mlp_dim=24,
)


def tensors(
  config: model.Config = CONFIG, dtype: str = 'float32'
) -> dict[str, np.ndarray]:
  random = np.random.default_rng(0)
  return {
    name: random.normal(size=shape).astype(jnp.dtype(dtype))
    for name, shape, _, _ in layout.tensors(config)
  }


def publish(
  folder: pathlib.Path,
  found: dict[str, np.ndarray],
  config: model.Config = CONFIG,
  file_bytes: int = 1 << 30,
  **changed: Any,
) -> pathlib.Path:
  """Writes weights, config.json and a vocabulary."""
  folder.mkdir(exist_ok=True)
  sizes = [(name, tensor.nbytes) for name, tensor in found.items()]
  safetensor_files.write(folder, sizes, found.__getitem__, file_bytes)
  made = architecture.to_json(config, 'float32', {})
  made |= {'max_position_embeddings': 64} | changed
  (folder / 'config.json').write_text(json.dumps(made))
  small_vocabulary.write(folder)
  return folder


def read(folder: pathlib.Path) -> dict[str, np.ndarray]:
  """Every tensor in a folder's safetensors."""
  found = {}
  for path in folder.glob('*.safetensors'):
    found |= safetensors.numpy.load_file(path)
  return found
