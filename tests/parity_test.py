"""Our logits are those of `transformers`, whose weights we read."""

import dataclasses
import importlib.util
import pathlib
import types

import numpy as np
import pytest

from hephaestus_jax import model

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


def from_hugging_face(
  config: model.Config, tensors: dict[str, np.ndarray]
) -> dict:
  """Hugging Face's names and [out, in] matrices -> our stacked parameters."""
  D, H = config.emb_dim, config.head_dim

  def stack(name: str) -> np.ndarray:
    names = (
      f'model.layers.{layer}.{name}.weight'
      for layer in range(config.num_layers)
    )
    return np.stack([tensors[name].T for name in names])

  def heads(name: str) -> np.ndarray:
    return stack(f'self_attn.{name}').reshape(config.num_layers, D, -1, H)

  params = {
    'embedding': tensors['model.embed_tokens.weight'],
    'layers': {
      'attention_norm': stack('input_layernorm'),
      'attention': {
        'query': heads('q_proj'),
        'key': heads('k_proj'),
        'value': heads('v_proj'),
        'output': stack('self_attn.o_proj').reshape(
          config.num_layers, -1, H, D
        ),
      },
      'mlp_norm': stack('post_attention_layernorm'),
      'mlp': {
        'gate': stack('mlp.gate_proj'),
        'up': stack('mlp.up_proj'),
        'down': stack('mlp.down_proj'),
      },
    },
    'final_norm': tensors['model.norm.weight'],
  }
  if not config.tied_output:
    params['output'] = tensors['lm_head.weight'].T
  return params


def assert_parity(case: str, arrays: dict[str, np.ndarray]) -> None:
  config = CONFIGS[case]
  params = from_hugging_face(config, arrays)
  tokens_BL = arrays['tokens']
  positions_BL = np.broadcast_to(
    np.arange(tokens_BL.shape[1], dtype=np.int32), tokens_BL.shape
  )
  hidden_BLD = model.forward(
    config, params, tokens_BL, np.ones_like(tokens_BL), positions_BL
  )
  logits_BLV = model.unembed(config, params, hidden_BLD)
  assert np.std(arrays['logits']) > 1
  np.testing.assert_allclose(
    logits_BLV,
    arrays['logits'],
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
def test_logits_equal_the_golden_ones_of_transformers(case):
  with np.load(TESTDATA / 'parity_golden.npz') as golden:
    arrays = {
      name.split('/', 1)[1]: golden[name]
      for name in golden
      if name.startswith(case + '/')
    }
  assert_parity(case, arrays)


@pytest.mark.parametrize('case', CONFIGS)
def test_logits_equal_those_of_the_installed_transformers(case):
  pytest.importorskip('torch')
  pytest.importorskip('transformers')
  assert_parity(case, script().reference(case, seed=1))
