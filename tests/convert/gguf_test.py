"""GGUF files, written by the gguf library as llama.cpp does."""

import json
import pathlib
import sys

import gguf
import numpy as np
import pytest
import tokenizers

from hephaestus_jax import errors, tokenizer
from hephaestus_jax.convert import (
  architecture,
  gguf_file,
  gguf_vocabulary,
  published,
  stream,
)

sys.path += [str(pathlib.Path(__file__).parents[i]) for i in range(2)]
import small_model  # noqa: E402

CONFIG = small_model.CONFIG
PARTS = {
  'model.embed_tokens': 'token_embd',
  'model.norm': 'output_norm',
  'lm_head': 'output',
  'model.layers.': 'blk.',
  'input_layernorm': 'attn_norm',
  'post_attention_layernorm': 'ffn_norm',
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
}


def interleaved(matrix: np.ndarray, heads: int) -> np.ndarray:
  """As llama.cpp moves rows: i and i + H/2 of a head become 2i and 2i + 1."""
  half = matrix.shape[0] // heads // 2
  order = [
    head * 2 * half + i + second * half
    for head in range(heads)
    for i in range(half)
    for second in (0, 1)
  ]
  return matrix[order]


def write(path, kind='llama', extra=(), **metadata):
  tensors = small_model.tensors()
  writer = gguf.GGUFWriter(path, kind)
  writer.add_block_count(CONFIG.num_layers)
  writer.add_context_length(64)
  writer.add_embedding_length(CONFIG.emb_dim)
  writer.add_feed_forward_length(CONFIG.mlp_dim)
  writer.add_head_count(CONFIG.num_heads)
  writer.add_head_count_kv(CONFIG.num_kv_heads)
  writer.add_rope_freq_base(CONFIG.rope_theta)
  writer.add_layer_norm_rms_eps(CONFIG.norm_epsilon)
  for key, value in metadata.items():
    getattr(writer, key)(value)
  for name, tensor in tensors.items():
    theirs = name
    for ours, part in PARTS.items():
      theirs = theirs.replace(ours, part)
    if 'q_proj' in name:
      tensor = interleaved(tensor, CONFIG.num_heads)
    elif 'k_proj' in name:
      tensor = interleaved(tensor, CONFIG.num_kv_heads)
    writer.add_tensor(theirs, tensor)
  for name in extra:
    writer.add_tensor(name, np.ones(4, np.float32))
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
  return path


def test_a_file_has_the_network_and_its_tensors(tmp_path):
  file = gguf_file.File(write(tmp_path / 'a.gguf'))
  config = architecture.from_json(file.config_json(), 'a.gguf', 'float32')
  assert config == CONFIG
  stream.check(file, CONFIG, tmp_path)
  for name, tensor in small_model.tensors().items():
    part = (slice(0, 2),) * tensor.ndim
    np.testing.assert_array_equal(file.read(name, part), tensor[part], name)


def test_rows_of_a_head_go_back_to_two_halves():
  rows = np.arange(8)[:, None]
  wanted = [0, 2, 1, 3, 4, 6, 5, 7]
  assert gguf_file.half_split(rows, 2)[:, 0].tolist() == wanted
  moved = interleaved(np.arange(24).reshape(12, 2), 2)
  np.testing.assert_array_equal(
    gguf_file.half_split(moved, 2), np.arange(24).reshape(12, 2)
  )


@pytest.mark.parametrize(
  ('changed', 'said'),
  [
    ({'kind': 'gemma'}, "model_type = 'gemma'"),
    ({'extra': ['rope_freqs.weight']}, 'rope_freqs.weight'),
    (
      {'add_rope_scaling_type': gguf.RopeScalingType.YARN},
      "rope_type = 'yarn'",
    ),
    ({'add_rope_dimension_count': 2}, 'partial_rotary_factor = 0.5'),
  ],
)
def test_what_the_network_does_not_compute_is_refused(tmp_path, changed, said):
  file = gguf_file.File(write(tmp_path / 'a.gguf', **changed))
  with pytest.raises(errors.UserError, match=said):
    found = architecture.from_json(file.config_json(), 'a.gguf', 'float32')
    stream.check(file, found, tmp_path)


@pytest.mark.parametrize('length', [3, 100, -100])
def test_a_file_that_is_cut_off_is_refused(tmp_path, length):
  path = write(tmp_path / 'a.gguf')
  path.write_bytes(path.read_bytes()[:length])
  with pytest.raises(errors.UserError, match='no whole GGUF file'):
    gguf_file.File(path)


BYTES = sorted({*tokenizers.pre_tokenizers.ByteLevel.alphabet()})
TOKENS = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', *BYTES, 'Ġa', '12']
METADATA = {
  'tokenizer.ggml.model': 'gpt2',
  'tokenizer.ggml.pre': 'smollm',
  'tokenizer.ggml.tokens': TOKENS,
  'tokenizer.ggml.token_type': [3] * 3 + [1] * (len(TOKENS) - 3),
  'tokenizer.ggml.merges': ['Ġ a', '1 2'],
  'tokenizer.ggml.bos_token_id': 1,
  'tokenizer.ggml.eos_token_id': 2,
  'tokenizer.chat_template': '{{ messages }}',
}


def vocabulary(folder, **changed):
  metadata = METADATA | changed
  files = gguf_vocabulary.files(metadata.get, 'a.gguf')
  published.write(folder, files)
  return published.vocabulary(folder)


def test_the_vocabulary_inside_becomes_a_tokenizer(tmp_path):
  loaded = vocabulary(tmp_path)
  assert isinstance(loaded, tokenizer.HuggingFace)
  assert loaded.vocab_size == len(TOKENS)
  # Its BOS opens turns, and so no document.
  assert (loaded.bos_id, loaded.eos_id) == (None, 2)
  text = 'Ein a, zwölf 世界 12 ½\n'
  assert loaded.decode(loaded.encode(text)) == text
  assert loaded.encode(' a') == [TOKENS.index('Ġa')]
  assert loaded.encode('12') == [TOKENS.index('1'), TOKENS.index('2')]
  assert loaded.encode_markers('<|im_end|>') == [2]
  assert (tmp_path / 'chat_template.jinja').read_text() == '{{ messages }}'
  settings = json.loads((tmp_path / 'tokenizer_config.json').read_text())
  assert settings['eos_token'] == '<|im_end|>'


@pytest.mark.parametrize(
  'changed',
  [{'tokenizer.ggml.model': 'llama'}, {'tokenizer.ggml.pre': 'qwen2'}],
)
def test_splitting_that_is_not_known_is_refused(tmp_path, changed):
  with pytest.raises(errors.UserError, match=repr(*changed.values())):
    vocabulary(tmp_path, **changed)
