"""A cache, a network and stages that train in a moment; no tests."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from array_record.python import array_record_module
from jax.sharding import AxisType, Mesh

from hephaestus_jax import (
  artefacts,
  checkpoints,
  data,
  model,
  optimizer,
  partitioning,
  train,
  update,
)
from hephaestus_jax.corpus import document

LENGTH = 16
VOCABULARY = 32
CONFIG = model.Config(
  vocab_size=VOCABULARY,
  emb_dim=16,
  num_layers=2,
  num_heads=2,
  num_kv_heads=1,
  head_dim=8,
  mlp_dim=32,
)
# What a conversation's tokens are, in turn.
TURNS = ('system', 'user', 'action', 'observation', 'answer')


def network(vocab_size: int) -> model.Config:
  """The smallest, for a vocabulary of so many tokens."""
  return dataclasses.replace(
    CONFIG, vocab_size=vocab_size, num_layers=1, mlp_dim=16
  )


def rows(seed: int, count: int) -> np.ndarray:
  """Rows of two documents whose tokens count up by three, with some padding."""
  random = np.random.default_rng(seed)
  made = np.zeros(count, data.row_dtype(LENGTH))
  role_ids = np.array([document.role_id(role) for role in TURNS])
  for row in made:
    border, end = random.integers(2, 8), random.integers(10, LENGTH + 1)
    row['segment_ids'][:border] = 1
    row['segment_ids'][border:end] = 2
    start = random.integers(0, VOCABULARY)
    row['tokens'][:end] = (start + 3 * np.arange(end)) % VOCABULARY
    row['roles'][:end] = role_ids[np.arange(end) // 2 % len(role_ids)]
    row['characters'] = end  # as many of each role
  return made


def write_cache(
  folder: pathlib.Path,
  rates: Mapping[str, float],
  mixture: str = 'mixture_v1',
  tokenizer: str = 'aaaa',
  kinds: Mapping[str, str] | None = None,
) -> None:
  """A mixture as `hephaestus cache` leaves it, 40 rows per task."""
  for seed, task in enumerate(rates):
    here = folder / 'tasks' / task / 'train'
    here.mkdir(parents=True)
    made = rows(seed, 40)
    path = here / 'rows-00000.array_record'
    writer = array_record_module.ArrayRecordWriter(str(path), 'group_size:1')
    for row in made:
      writer.write(row.tobytes())
    writer.close()
    file = {'name': path.name, 'rows': 40, 'bytes': path.stat().st_size}
    info = {
      'task': task,
      'split': 'train',
      'rows': 40,
      'role_names': list(document.ROLES),
      'sequence_length': LENGTH,
      'tokenizer': tokenizer,
      'vocab_size': VOCABULARY,
      'tokens_by_role': dict.fromkeys(TURNS, 1),
      'files': [file],
      'tokens': 40 * LENGTH,
      'tokens_by_kind': {(kinds or {}).get(task, 'unknown'): 40 * LENGTH},
    }
    (here / 'cache.json').write_text(json.dumps(info))
    artefacts.write_json(here / artefacts.INPUTS, {'task': task})
  (folder / 'mixtures').mkdir(exist_ok=True)
  (folder / 'mixtures' / f'{mixture}.json').write_text(
    json.dumps({'rates': dict(rates)})
  )


def mesh(**sizes: int) -> Mesh:
  """A mesh of the first devices; without sizes of a single one."""
  shape = [sizes.get(axis, 1) for axis in partitioning.MESH_AXES]
  devices = np.array(jax.devices()[: np.prod(shape)]).reshape(shape)
  types = (AxisType.Auto,) * len(shape)
  return Mesh(devices, partitioning.MESH_AXES, axis_types=types)


def stage(**changed: Any) -> update.Stage:
  """A stage of four steps of eight rows."""
  peak = changed.pop('peak', 1e-2)
  settings = {
    'name': 'stage1',
    'mixture': 'mixture_v1',
    'steps': 4,
    'batch_size': 8,
    'z_loss': 1e-3,
    'optimizer': optimizer.adamw(
      schedule=optimizer.constant(peak=peak, warmup_steps=2)
    ),
  }
  return update.Stage(**(settings | changed))


def run(folder: pathlib.Path, *stages: update.Stage, **changed: Any) -> Any:
  """`train.train` on folder/cache into folder/run."""
  settings = {
    'model': CONFIG,
    'stages': stages or (stage(),),
    'cache_dir': str(folder / 'cache'),
    'model_dir': str(folder / 'run'),
    'mesh': mesh(),
    'checkpoint_every': 2,
    'log_every': 1,
  }
  return train.train(**(settings | changed))


def run_file(folder: pathlib.Path, **macros: Any) -> pathlib.Path:
  """A run of one stage on folder/cache into folder/run, for the command."""
  bindings = {
    'RUN_DIR': str(folder),
    'NAME': 'run',
    'STAGE1_MIXTURE': 'mixture_v1',
    'STAGE1_BATCH_SIZE': 8,
    'STAGE1_WARMUP': 1,
    'EVALUATE_ROWS': 1,
    'LOG_EVERY': 1,
    **macros,
  }
  lines = [f'{name} = {value!r}' for name, value in bindings.items()]
  path = folder / 'run.gin'
  path.write_text(
    "include 'gin/models/tiny.gin'\n"
    'STAGES = [@stage1/update.Stage()]\n'
    'EVALUATORS = []\n' + '\n'.join(lines) + '\n'
  )
  return path


def arrays(stage_folder: pathlib.Path) -> dict[str, bytes]:
  """Every byte of the newest checkpoint's arrays, by file."""
  steps = checkpoints.steps(stage_folder / checkpoints.FOLDER)
  newest = stage_folder / checkpoints.FOLDER / str(steps[-1])
  return {
    str(path.relative_to(newest)): path.read_bytes()
    for path in sorted(newest.glob('*/*/[0-9]*'))
  }
