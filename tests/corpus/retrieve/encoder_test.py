"""Vectors are those of `transformers`, whose BERT checkpoints are read."""

import functools
import importlib.util
import json
import os
import pathlib
import sys
import types

import jax
import numpy as np
import pytest
import safetensors.numpy

from hephaestus_jax import errors
from hephaestus_jax.corpus.retrieve import bert_checkpoint, encoder

sys.path.append(str(pathlib.Path(__file__).parents[2]))
import tiny_bert  # noqa: E402

TESTDATA = pathlib.Path(__file__).parents[2] / 'testdata'
# Names the folder of all-MiniLM-L6-v2, for parity with real weights.
MINILM = 'HEPHAESTUS_MINILM'
WORDS = ('the', 'a', 'list', '##s', 'bucket', 'king', 'castle', '.', 'river')


def script() -> types.ModuleType:
  spec = importlib.util.spec_from_file_location(
    'make_bert_golden', TESTDATA / 'make_bert_golden.py'
  )
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


CASES = script().SMALL, script().CASES


def assert_parity(case: str, arrays: dict[str, np.ndarray], tmp_path) -> None:
  arrays = dict(arrays)
  tokens_BL, lengths_B, hidden_BLD = (
    arrays.pop(name) for name in ('tokens', 'lengths', 'hidden')
  )
  small, cases = CASES
  folder = tiny_bert.write(tmp_path, small | cases[case], arrays, WORDS)
  config = bert_checkpoint.read_config(folder)
  parameters = bert_checkpoint.read_parameters(folder, config)
  ours_BLD = encoder.forward(config, parameters, tokens_BL, lengths_B)
  seen_BL = np.arange(tokens_BL.shape[1])[None] < lengths_B[:, None]
  assert np.std(hidden_BLD[seen_BL]) > 0.5
  np.testing.assert_allclose(
    np.asarray(ours_BLD)[seen_BL],
    hidden_BLD[seen_BL],
    rtol=0,
    atol=1e-4,
    err_msg=f'{case}: not the network that transformers makes of it',
  )


@pytest.mark.parametrize('case', CASES[1])
def test_hidden_states_equal_the_golden_ones_of_transformers(case, tmp_path):
  with np.load(TESTDATA / 'bert_golden.npz') as golden:
    arrays = {
      name.split('/', 1)[1]: golden[name]
      for name in golden
      if name.startswith(case + '/')
    }
  assert_parity(case, arrays, tmp_path)


@pytest.mark.parametrize('case', CASES[1])
def test_hidden_states_equal_those_of_the_installed_transformers(
  case, tmp_path
):
  pytest.importorskip('torch')
  pytest.importorskip('transformers')
  assert_parity(case, script().reference(case, seed=1), tmp_path)


@pytest.fixture
def checkpoint(tmp_path):
  return tiny_bert.random(tmp_path / 'bert', WORDS)


TEXTS = [
  'The bucket lists.',
  'a king',
  'river ' * 50,
  '',
  'The castle. ' * 9,
  'zyx',
]


@pytest.mark.parametrize('pooling', encoder.POOLINGS)
def test_a_vector_has_length_1_and_does_not_depend_on_the_batch(
  checkpoint, pooling
):
  make = functools.partial(encoder.Encoder, str(checkpoint), pooling)
  together = make(chunk_tokens=48, batch_tokens=512)(TEXTS)
  assert together.shape == (len(TEXTS), 32)
  np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
  alone = make(chunk_tokens=48, batch_tokens=48)
  for text, vector in zip(TEXTS, together, strict=True):
    np.testing.assert_allclose(alone([text])[0], vector, atol=1e-5)
  assert alone([]).shape == (0, 32)


def test_a_batch_is_cut_over_all_devices(checkpoint):
  assert len(jax.devices()) == 8
  tried = encoder.Encoder(str(checkpoint), 'mean', chunk_tokens=32)
  vectors = tried._run([[2, 5, 3]], tried._rows(32), 32)
  assert len(vectors.sharding.device_set) == 8
  assert vectors.sharding.shard_shape(vectors.shape)[0] * 8 == len(vectors)


def test_a_long_text_is_the_mean_of_its_first_chunks(checkpoint):
  make = functools.partial(
    encoder.Encoder, str(checkpoint), 'mean', chunk_tokens=4
  )
  # Chunks of two words, between [CLS] and [SEP]; the third chunk counts not.
  whole = make(chunks=2)(['a king the river castle castle'])[0]
  mean = make()(['a king', 'the river']).sum(axis=0)
  np.testing.assert_allclose(whole, mean / np.linalg.norm(mean), atol=1e-6)


def test_bfloat16_changes_a_vector_little(checkpoint):
  exact = encoder.Encoder(str(checkpoint), 'mean', chunk_tokens=32)
  rough = encoder.Encoder(
    str(checkpoint), 'mean', chunk_tokens=32, dtype='bfloat16'
  )
  cosines = np.sum(exact(TEXTS) * rough(TEXTS), axis=1)
  assert 0.999 < cosines.min() < 1 - 1e-7


def test_names_and_files_of_older_and_larger_checkpoints_are_read(
  checkpoint, tmp_path
):
  # A masked language model's, cut in two files, with the first BERT's names.
  tensors = safetensors.numpy.load_file(checkpoint / 'model.safetensors')
  renamed = {
    'bert.'
    + name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace(
      'LayerNorm.bias', 'LayerNorm.beta'
    ): tensor
    for name, tensor in tensors.items()
  }
  renamed |= {
    'cls.predictions.bias': np.zeros(3, np.float32),
    'bert.pooler.dense.bias': np.zeros(3, np.float32),
    'bert.embeddings.position_ids': np.zeros((1, 3), np.int64),
  }
  other = tmp_path / 'older'
  other.mkdir()
  for name in ('config.json', 'vocab.txt'):
    (other / name).write_bytes((checkpoint / name).read_bytes())
  names = sorted(renamed)
  weight_map = {}
  for part in range(2):
    file = f'model-0000{part + 1}-of-00002.safetensors'
    held = {name: renamed[name] for name in names[part::2]}
    safetensors.numpy.save_file(held, other / file)
    weight_map |= dict.fromkeys(held, file)
  index = other / 'model.safetensors.index.json'
  index.write_text(json.dumps({'weight_map': weight_map}))
  old, new = (
    encoder.Encoder(str(f), 'cls', chunk_tokens=32) for f in (other, checkpoint)
  )
  np.testing.assert_array_equal(old(TEXTS), new(TEXTS))
  assert old.identity()['checkpoint'] != new.identity()['checkpoint']


def test_a_list_of_words_makes_the_same_tokens_as_a_tokenizer_json(checkpoint):
  config = bert_checkpoint.read_config(checkpoint)
  words = bert_checkpoint.read_tokenizer(checkpoint, config)
  assert words.encode('The LISTS, a').tokens == [
    *('[CLS]', 'the', 'list', '##s', '[UNK]', 'a', '[SEP]')
  ]
  words.save(str(checkpoint / 'tokenizer.json'))
  both = bert_checkpoint.read_tokenizer(checkpoint, config)
  assert both.encode('The LISTS, a').ids == words.encode('The LISTS, a').ids


@pytest.mark.parametrize(
  ('changes', 'part'),
  [
    ({'hidden_act': 'silu'}, "hidden_act = 'silu'"),
    ({'position_embedding_type': 'relative_key'}, "'relative_key'"),
    ({'model_type': 'roberta'}, "model_type = 'roberta'"),
    ({'is_decoder': True}, 'is_decoder = True'),
    ({'num_hidden_layers': '2'}, "num_hidden_layers = '2'"),
    ({'hidden_size': 30}, 'no multiple'),
    ({'intermediate_size': 65}, 'of different checkpoints'),
    ({'num_hidden_layers': 2}, 'no tensor encoder.layer.1'),
    ({'vocab_size': 3, 'layers': 1}, 'of different checkpoints'),
  ],
)
def test_a_network_that_is_not_this_bert_is_refused(checkpoint, changes, part):
  path = checkpoint / 'config.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | changes))
  with pytest.raises(errors.UserError, match='.*') as refused:
    encoder.Encoder(str(checkpoint), 'cls', chunk_tokens=32)(['a'])
  assert part in str(refused.value)


def test_a_tensor_that_has_no_place_is_refused(checkpoint):
  weights = checkpoint / 'model.safetensors'
  more = {
    'encoder.layer.0.attention.self.distance_embedding.weight': np.ones(2)
  }
  safetensors.numpy.save_file(
    safetensors.numpy.load_file(weights) | more, weights
  )
  with pytest.raises(errors.UserError, match='distance_embedding'):
    encoder.Encoder(str(checkpoint), 'cls', chunk_tokens=32)(['a'])


def test_what_to_fetch_and_where_to_put_it_is_said(tmp_path):
  with pytest.raises(errors.UserError) as absent:
    encoder.Encoder(str(tmp_path / 'none'), 'cls').identity()
  said = str(absent.value)
  assert (
    f'hf download OpenMatch/cocodr-base-msmarco --local-dir {tmp_path}'
    in (said)
  )


def test_a_pickle_is_not_opened_and_its_way_out_is_said(checkpoint):
  weights = checkpoint / 'model.safetensors'
  weights.rename(checkpoint / 'pytorch_model.bin')
  with pytest.raises(errors.UserError, match='pickle.*save_pretrained'):
    encoder.Encoder(str(checkpoint), 'cls', chunk_tokens=32)(['a'])


def test_damaged_files_are_named(checkpoint):
  tried = encoder.Encoder(str(checkpoint), 'cls', chunk_tokens=32)
  (checkpoint / 'model.safetensors').write_bytes(b'no weights, many bytes')
  with pytest.raises(errors.UserError, match='model.safetensors is damaged'):
    tried(['a'])
  (checkpoint / 'tokenizer_config.json').write_text('[]')
  tried = encoder.Encoder(str(checkpoint), 'cls', chunk_tokens=32)
  with pytest.raises(errors.UserError, match='is no JSON object'):
    tried(['a'])
  (checkpoint / 'tokenizer.json').write_text('{}')
  tried = encoder.Encoder(str(checkpoint), 'cls', chunk_tokens=32)
  with pytest.raises(errors.UserError, match='is no tokenizer'):
    tried(['a'])
  (checkpoint / 'config.json').write_text('{')
  tried = encoder.Encoder(str(checkpoint), 'cls', chunk_tokens=32)
  with pytest.raises(errors.UserError, match='config.json is no JSON'):
    tried(['a'])


@pytest.mark.parametrize(
  'settings',
  [
    {'pooling': 'max'},
    {'dtype': 'float16'},
    {'chunks': 0},
    {'chunk_tokens': 2},
    {'batch_tokens': 100},
  ],
)
def test_a_setting_that_means_nothing_is_refused(settings):
  (name,) = settings
  with pytest.raises(errors.UserError, match=name):
    encoder.Encoder(**{'checkpoint': '.', 'pooling': 'cls', **settings})


def test_more_tokens_than_the_network_reads_are_refused(checkpoint):
  with pytest.raises(errors.UserError, match='chunk_tokens = 65'):
    encoder.Encoder(str(checkpoint), 'cls', chunk_tokens=65)(['a'])


def test_a_pooling_that_the_checkpoint_was_not_trained_with_is_refused(
  checkpoint,
):
  said = checkpoint / '1_Pooling' / 'config.json'
  said.parent.mkdir()
  modes = {'pooling_mode_cls_token': False, 'pooling_mode_mean_tokens': True}
  said.write_text(json.dumps({'word_embedding_dimension': 32, **modes}))
  encoder.Encoder(str(checkpoint), 'mean', chunk_tokens=32).identity()
  with pytest.raises(errors.UserError, match="'cls'.*trained with 'mean'"):
    encoder.Encoder(str(checkpoint), 'cls', chunk_tokens=32).identity()


@pytest.mark.skipif(MINILM not in os.environ, reason=f'{MINILM} is not set')
def test_a_trained_encoder_knows_what_is_alike():
  tried = encoder.Encoder(os.environ[MINILM], 'mean')
  buckets, command, play = tried(
    [
      'List all S3 buckets',
      'aws s3api list-buckets',
      'To be, or not to be, that is the question',
    ]
  )
  assert buckets @ command > 0.8
  assert abs(buckets @ play) < 0.1


@pytest.mark.skipif(MINILM not in os.environ, reason=f'{MINILM} is not set')
def test_vectors_of_real_weights_equal_those_of_transformers():
  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  folder = os.environ[MINILM]
  texts = ['List all S3 buckets', 'To be, or not to be', 'x ' * 400]
  network = transformers.AutoModel.from_pretrained(folder).eval()
  words = transformers.AutoTokenizer.from_pretrained(folder)
  batch = words(
    texts, padding=True, truncation=True, max_length=256, return_tensors='pt'
  )
  with torch.no_grad():
    hidden = network(**batch).last_hidden_state
  mask = batch['attention_mask'][..., None]
  theirs = torch.nn.functional.normalize((hidden * mask).sum(1)).numpy()
  ours = encoder.Encoder(folder, 'mean')(texts)
  np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
