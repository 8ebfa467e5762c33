"""config.json as it is published, and what is refused in it."""

import dataclasses

import pytest

from hephaestus_jax import errors, model
from hephaestus_jax.convert import architecture

# What the model hub has of each, without keys that are no matter of shapes.
LLAMA2_7B = {
  'architectures': ['LlamaForCausalLM'],
  'bos_token_id': 1,
  'eos_token_id': 2,
  'hidden_act': 'silu',
  'hidden_size': 4096,
  'initializer_range': 0.02,
  'intermediate_size': 11008,
  'max_position_embeddings': 4096,
  'model_type': 'llama',
  'num_attention_heads': 32,
  'num_hidden_layers': 32,
  'num_key_value_heads': 32,
  'pretraining_tp': 1,
  'rms_norm_eps': 1e-05,
  'rope_scaling': None,
  'tie_word_embeddings': False,
  'torch_dtype': 'float16',
  'vocab_size': 32000,
}
LLAMA3_1_8B = LLAMA2_7B | {
  'attention_bias': False,
  'bos_token_id': 128000,
  'intermediate_size': 14336,
  'max_position_embeddings': 131072,
  'mlp_bias': False,
  'num_key_value_heads': 8,
  'rope_scaling': {
    'factor': 8.0,
    'low_freq_factor': 1.0,
    'high_freq_factor': 4.0,
    'original_max_position_embeddings': 8192,
    'rope_type': 'llama3',
  },
  'rope_theta': 500000.0,
  'torch_dtype': 'bfloat16',
  'vocab_size': 128256,
}
MISTRAL_7B_V0_1 = {
  'architectures': ['MistralForCausalLM'],
  'hidden_act': 'silu',
  'hidden_size': 4096,
  'intermediate_size': 14336,
  'max_position_embeddings': 32768,
  'model_type': 'mistral',
  'num_attention_heads': 32,
  'num_hidden_layers': 32,
  'num_key_value_heads': 8,
  'rms_norm_eps': 1e-05,
  'rope_theta': 10000.0,
  'sliding_window': 4096,
  'tie_word_embeddings': False,
  'torch_dtype': 'bfloat16',
  'vocab_size': 32000,
}
SMOLLM2_135M = {
  'architectures': ['LlamaForCausalLM'],
  'attention_bias': False,
  'hidden_act': 'silu',
  'hidden_size': 576,
  'intermediate_size': 1536,
  'is_llama_config': True,
  'max_position_embeddings': 8192,
  'mlp_bias': False,
  'model_type': 'llama',
  'num_attention_heads': 9,
  'num_hidden_layers': 30,
  'num_key_value_heads': 3,
  'rms_norm_eps': 1e-05,
  'rope_interleaved': False,
  'rope_scaling': None,
  'rope_theta': 100000,
  'tie_word_embeddings': True,
  'vocab_size': 49152,
}
LLAMA2 = model.Config(
  vocab_size=32000,
  emb_dim=4096,
  num_layers=32,
  num_heads=32,
  num_kv_heads=32,
  head_dim=128,
  mlp_dim=11008,
)
MISTRAL = dataclasses.replace(
  LLAMA2, num_kv_heads=8, mlp_dim=14336, sliding_window=4096
)
LLAMA3_1 = dataclasses.replace(
  LLAMA2,
  vocab_size=128256,
  num_kv_heads=8,
  mlp_dim=14336,
  rope_theta=500000.0,
  rope_scaling=model.RopeScaling(),
)


def read(found):
  return architecture.from_json(found, 'config.json', 'float32')


@pytest.mark.parametrize(
  ('published', 'config', 'parameters'),
  [
    (LLAMA2_7B, LLAMA2, 6_738_415_616),
    (LLAMA3_1_8B, LLAMA3_1, 8_030_261_248),
    (MISTRAL_7B_V0_1, MISTRAL, 7_241_732_096),
  ],
)
def test_published_models_are_read_for_what_they_are(
  published, config, parameters
):
  assert read(published) == config
  assert model.num_parameters(config) == parameters


def test_smollm2_is_read_for_what_it_is():
  config = read(SMOLLM2_135M)
  assert model.num_parameters(config) == 134_515_008
  assert (config.head_dim, config.rope_theta) == (64, 100000.0)
  assert config.tied_output


def test_transformers_5_writes_rope_in_another_place():
  moved = {k: v for k, v in LLAMA3_1_8B.items() if not k.startswith('rope')}
  moved['rope_parameters'] = LLAMA3_1_8B['rope_scaling'] | {
    'rope_theta': 500000.0
  }
  assert read(moved) == LLAMA3_1


def test_a_key_that_is_left_out_means_the_default_of_transformers():
  assert read({'model_type': 'mistral'}) == dataclasses.replace(
    MISTRAL, norm_epsilon=1e-6
  )
  assert read({'model_type': 'mistral', 'sliding_window': None}) == (
    dataclasses.replace(MISTRAL, norm_epsilon=1e-6, sliding_window=None)
  )


@pytest.mark.parametrize(
  ('kind', 'name'), [('llama', 'LlamaConfig'), ('mistral', 'MistralConfig')]
)
def test_the_defaults_are_those_of_the_installed_transformers(kind, name):
  transformers = pytest.importorskip('transformers')
  theirs = getattr(transformers, name)().to_dict() | {'architectures': None}
  assert read(theirs) == read({'model_type': kind})


@pytest.mark.parametrize(
  'published', [LLAMA2_7B, LLAMA3_1_8B, MISTRAL_7B_V0_1, SMOLLM2_135M]
)
def test_what_is_written_is_read_again_as_the_same(published):
  config = read(published)
  made = architecture.to_json(config, 'bfloat16', published)
  assert read(made) == config
  assert made['model_type'] == published['model_type']
  assert made['torch_dtype'] == 'bfloat16'
  assert made['max_position_embeddings'] == published['max_position_embeddings']


def test_of_an_older_config_nothing_stays_that_is_no_longer_so():
  changed = dataclasses.replace(read(LLAMA3_1_8B), rope_scaling=None)
  made = architecture.to_json(changed, 'float32', LLAMA3_1_8B)
  assert 'rope_scaling' not in made
  assert read(made) == changed


@pytest.mark.parametrize(
  ('changed', 'said'),
  [
    ({'model_type': 'gemma2'}, "model_type = 'gemma2'"),
    ({'architectures': ['LlamaForSequenceClassification']}, 'architectures'),
    ({'attention_bias': True}, 'attention_bias = True'),
    ({'mlp_bias': True}, 'mlp_bias = True'),
    ({'hidden_act': 'gelu'}, "hidden_act = 'gelu'"),
    ({'rope_interleaved': True}, 'rope_interleaved = True'),
    ({'quantization_config': {'bits': 4}}, 'quantization_config'),
    ({'rope_scaling': {'type': 'linear', 'factor': 2.0}}, "'linear'"),
    ({'rope_scaling': {'rope_type': 'yarn'}}, "rope_type = 'yarn'"),
    ({'rope_scaling': {'rope_type': 'llama3'}}, 'factor = None'),
    ({'rope_parameters': {'partial_rotary_factor': 0.5}}, 'partial_rotary'),
    ({'sliding_window': 4096}, 'sliding_window = 4096'),
    ({'hidden_size': '4096'}, "hidden_size = '4096'"),
    ({'num_key_value_heads': 5}, 'num_kv_heads = 5'),
  ],
)
def test_what_the_network_does_not_compute_is_refused(changed, said):
  with pytest.raises(errors.UserError, match=said):
    read(LLAMA2_7B | changed)
