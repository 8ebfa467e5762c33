"""Our logits are those of `transformers`, whose weights we read."""

import dataclasses
import importlib.util
import json
import pathlib
import shutil
import sys
import types
from typing import Any

import jax
import numpy as np
import pytest
import safetensors.numpy

from hephaestus_jax import artefacts, checkpoints, model
from hephaestus_jax.convert import convert

sys.path.append(str(pathlib.Path(__file__).parent))
import small_vocabulary  # noqa: E402
import tiny  # noqa: E402

TESTDATA = pathlib.Path(__file__).parent / 'testdata'
SMALL = model.Config(
  vocab_size=48,
  emb_dim=16,
  num_layers=2,
  num_heads=4,
  num_kv_heads=2,
  head_dim=8,
  mlp_dim=24,
)
CONFIGS = {
  'llama_mha': dataclasses.replace(SMALL, num_kv_heads=4),
  'llama_gqa': dataclasses.replace(SMALL, rope_theta=500000.0),
  'llama_tied': dataclasses.replace(SMALL, num_kv_heads=1, tied_output=True),
  'llama_scaled': dataclasses.replace(
    SMALL, rope_scaling=model.RopeScaling(original_length=30)
  ),
  'mistral_window': dataclasses.replace(SMALL, sliding_window=5),
}


def imported(
  source: pathlib.Path, case: str, to: pathlib.Path
) -> dict[str, Any]:
  """The parameters of a folder of transformers, by way of our checkpoint."""
  mesh = tiny.mesh(fsdp=2, tensor=1)
  convert.import_checkpoint(str(source), str(to), dtype=None, mesh=mesh)
  assert convert.trained_config(to) == CONFIGS[case]
  return checkpoints.restore_parameters(to, model.placed(CONFIGS[case], mesh))


def assert_parity(
  case: str, params: dict[str, Any], tokens_BL: np.ndarray, wanted: np.ndarray
) -> None:
  config = CONFIGS[case]
  positions_BL = np.broadcast_to(
    np.arange(tokens_BL.shape[1], dtype=np.int32), tokens_BL.shape
  )
  hidden_BLD = model.forward(
    config, params, tokens_BL, np.ones_like(tokens_BL), positions_BL
  )
  assert np.std(wanted) > 1
  np.testing.assert_allclose(
    model.unembed(config, params, hidden_BLD),
    wanted,
    rtol=0,
    atol=1e-4,
    err_msg=f'{case}: not the network that transformers makes of it',
  )


def script() -> types.ModuleType:
  spec = importlib.util.spec_from_file_location(
    'make_parity_golden', TESTDATA / 'make_parity_golden.py'
  )
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.mark.parametrize('case', CONFIGS)
def test_logits_equal_the_golden_ones_of_transformers(case, tmp_path):
  with np.load(TESTDATA / 'parity_golden.npz') as golden:
    arrays = {
      name.split('/', 1)[1]: golden[name]
      for name in golden
      if name.startswith(case + '/')
    }
  tokens, logits = arrays.pop('tokens'), arrays.pop('logits')
  source = tmp_path / 'published'
  source.mkdir()
  safetensors.numpy.save_file(arrays, source / 'model.safetensors')
  config = json.dumps(script().config_json(case))
  (source / 'config.json').write_text(config)
  params = imported(source, case, tmp_path / 'base')
  assert_parity(case, params, tokens, logits)


@pytest.mark.parametrize('case', CONFIGS)
def test_logits_equal_those_of_the_installed_transformers(case, tmp_path):
  pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  network, arrays = script().reference(case, seed=1)
  tokens, logits = arrays['tokens'], arrays['logits']
  source, base, back = (tmp_path / name for name in ('hf', 'base', 'back'))
  network.save_pretrained(source, max_shard_size='8KB')
  assert len([*source.glob('*.safetensors')]) > 1
  small_vocabulary.write(source)
  params = imported(source, case, base)
  assert_parity(case, params, tokens, logits)

  # Changed, so that what transformers loads must be what we wrote.
  changed = jax.tree.map(lambda array: 0.9 * array, params)
  stage = tmp_path / 'stage1'
  writer = checkpoints.Writer(
    stage / checkpoints.FOLDER, keep=2, items=(checkpoints.PARAMETERS,)
  )
  writer.save(1, {checkpoints.PARAMETERS: changed})
  writer.close()
  shutil.copy(base / artefacts.INPUTS, stage)
  convert.export_checkpoint(
    str(stage),
    str(base / 'published' / 'tokenizer.json'),
    str(back),
    dtype=None,
    file_bytes=8000,
    mesh=tiny.mesh(fsdp=2),
  )
  again, told = transformers.AutoModelForCausalLM.from_pretrained(
    back, attn_implementation='eager', output_loading_info=True
  )
  assert type(again) is type(network)
  assert not any(told.values())
  logits = script().logits_of(again, tokens)
  assert_parity(case, changed, tokens, logits)
