"""A checkpoint's folder with a network that knows nothing; no tests."""

import pathlib

import jax
import numpy as np

from hephaestus_jax import (
  artefacts,
  checkpoints,
  description,
  model,
  tokenizer,
)
from hephaestus_jax.convert import published

CONFIG = model.Config(
  vocab_size=310,
  emb_dim=16,
  num_layers=1,
  num_heads=2,
  num_kv_heads=1,
  head_dim=8,
  mlp_dim=16,
)
LENGTH = 512


def parameters():
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda shape: rng.normal(0, 0.6, shape.shape).astype(np.float32),
    model.abstract(CONFIG),
  )


def write(folder: pathlib.Path) -> tokenizer.Tokenizer:
  """What `hephaestus convert` leaves of an import; its vocabulary."""
  (folder / published.FOLDER).mkdir(parents=True)
  path = folder / published.FOLDER / 'tokenizer.model'
  lines = [f'{{"name": "f{i}", "days": {i}, "x": true}}' for i in range(300)]
  tokenizer.train(lines, path, CONFIG.vocab_size)
  vocabulary = tokenizer.load(str(path))
  writer = checkpoints.Writer(
    folder / checkpoints.FOLDER, keep=2, items=(checkpoints.PARAMETERS,)
  )
  writer.save(0, {checkpoints.PARAMETERS: parameters()})
  writer.close()
  data = {'tokenizer': vocabulary.fingerprint, 'sequence_length': LENGTH}
  inputs = {'model': description.describe(CONFIG), 'data': data}
  artefacts.write_json(folder / artefacts.INPUTS, inputs)
  return vocabulary
