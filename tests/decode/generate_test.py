import pathlib
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hephaestus_jax import errors, model, partitioning
from hephaestus_jax.convert import convert
from hephaestus_jax.decode import engine, generate, programs

sys.path.append(str(pathlib.Path(__file__).parents[1]))
import parity_test  # noqa: E402
import tiny  # noqa: E402

CONFIG = model.Config(
  vocab_size=50,
  emb_dim=32,
  num_layers=2,
  num_heads=4,
  num_kv_heads=2,
  head_dim=8,
  mlp_dim=48,
)


@pytest.fixture(scope='module')
def params():
  # Large enough that choices are clear and continuations varied, and made by
  # numpy, which compiles nothing.
  rng = np.random.default_rng(1)
  return jax.tree.map(
    lambda shape: rng.normal(0, 0.6, shape.shape).astype(np.float32),
    model.abstract(CONFIG),
  )


def prompts(count, longest=150):
  rng = np.random.default_rng(0)
  lengths = rng.integers(1, longest, count)
  return [rng.integers(0, CONFIG.vocab_size, length) for length in lengths]


def completions(params, prompts, **settings):
  defaults = {
    'max_new_tokens': 7,
    'stop_ids': [],
    'batch_size': 4,
    'max_prompt_tokens': 200,
  }
  settings = {**defaults, **settings}
  return generate.generate(CONFIG, params, prompts, **settings)


@jax.jit
def full_forward(params, tokens_BL):
  hidden_BLD = model.forward(
    CONFIG,
    params,
    tokens_BL,
    jnp.ones_like(tokens_BL),
    jnp.arange(tokens_BL.shape[1])[None],
  )
  return jax.nn.log_softmax(model.unembed(CONFIG, params, hidden_BLD))


def by_full_forward(params, prompt, steps):
  """The same with no cache: what comes after a token can't change it."""
  tokens, logprobs = np.zeros(40, np.int32), []
  tokens[: len(prompt)] = prompt
  for length in range(len(prompt), len(prompt) + steps):
    logprobs_V = full_forward(params, tokens[None])[0, length - 1]
    tokens[length] = np.argmax(logprobs_V)
    logprobs.append(logprobs_V[tokens[length]])
  return tuple(tokens[len(prompt) : len(prompt) + steps].tolist()), logprobs


def test_greedy_tokens_and_their_logprobs_are_those_of_the_training_model(
  params,
):
  prompt = prompts(1)[0][:20]
  tokens, logprobs = by_full_forward(params, prompt, 7)
  assert len(set(tokens)) > 3  # else the test could not fail
  (found,) = completions(params, [prompt])
  assert found == generate.Completion(tokens, 'length')
  np.testing.assert_allclose(found.logprobs, logprobs, atol=1e-4)


def test_a_part_of_the_prompts_is_continued_as_all_of_them_are(params):
  given = [*prompts(4), np.zeros(300, np.int32)]
  whole = completions(params, given)
  heard = {}
  some = completions(
    params, given, only=[3, 4, 0], heard=lambda i, one: heard.update({i: one})
  )
  assert some == [whole[3], whole[4], whole[0]]
  assert heard == {3: whole[3], 4: whole[4], 0: whole[0]}
  assert whole[4].finish == 'prompt_too_long'


def test_text_ends_before_a_stop_string(params):
  vocabulary = Letters()
  (whole,) = completions(params, prompts(1), vocabulary=vocabulary)
  assert whole.text == vocabulary.decode(whole.tokens)
  stop = whole.text[2:4]
  (found,) = completions(params, prompts(1), vocabulary=vocabulary, stop=[stop])
  assert found.text == whole.text[: whole.text.index(stop)]
  assert found.finish == 'stop'


class Letters:
  """As much of a vocabulary as text needs."""

  vocab_size = CONFIG.vocab_size

  def decode(self, ids):
    return ''.join(chr(ord('0') + index) for index in ids)


@pytest.mark.parametrize('case', ['llama_gqa', 'mistral_window'])
def test_greedy_completions_equal_those_of_transformers(case, tmp_path):
  torch = pytest.importorskip('torch')
  pytest.importorskip('transformers')
  network, arrays = parity_test.script().reference(case, seed=2)
  network.save_pretrained(tmp_path / 'hf')
  mesh = tiny.mesh()
  convert.import_checkpoint(
    str(tmp_path / 'hf'), str(tmp_path / 'base'), dtype=None, mesh=mesh
  )
  config = parity_test.CONFIGS[case]
  params = parity_test.checkpoints.restore_parameters(
    tmp_path / 'base', model.placed(config, mesh)
  )
  given = [row[:length] for row in arrays['tokens'] for length in (1, 7, 24)]
  wanted = []
  for prompt in given:
    out = network.generate(
      torch.from_numpy(prompt[None]).long(),
      attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
      max_new_tokens=20,
      do_sample=False,
      eos_token_id=None,
      pad_token_id=0,
    )
    wanted.append(tuple(out[0, len(prompt) :].tolist()))
  assert len({*sum(wanted, ())}) > 10
  found = generate.generate(
    config,
    params,
    given,
    max_new_tokens=20,
    stop_ids=[],
    batch_size=3,
    max_prompt_tokens=24,
  )
  assert [completion.tokens for completion in found] == wanted


def test_a_batch_of_different_lengths_is_the_prompts_one_by_one(params):
  batch = prompts(11)
  alone = [completions(params, [prompt], batch_size=1)[0] for prompt in batch]
  assert len({completion.tokens for completion in alone}) > 5
  together = completions(params, batch)
  assert together == alone
  for one, other in zip(alone, together, strict=True):
    np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4)


def test_a_completion_ends_before_its_stop_token(params):
  prompt = prompts(1)[0][:20]
  tokens = completions(params, [prompt])[0].tokens
  stop = tokens[3]
  first = tokens.index(stop)
  assert completions(params, [prompt], stop_ids=[stop, 49]) == [
    generate.Completion(tokens[:first], 'stop')
  ]


def test_rows_stop_each_for_itself(params):
  batch = prompts(6)
  free = [completion.tokens for completion in completions(params, batch)]
  stop = free[2][4]
  for tokens, completion in zip(
    free, completions(params, batch, stop_ids=[stop]), strict=True
  ):
    if stop in tokens:
      assert completion == generate.Completion(
        tokens[: tokens.index(stop)], 'stop'
      )
    else:
      assert completion == generate.Completion(tokens, 'length')


def test_a_prompt_that_is_too_long_is_said_so_and_the_others_go_on(params):
  long, short = prompts(2)[0], [1, 2, 3]
  long = np.resize(long, 201)
  result = completions(params, [long, short])
  assert result[0] == generate.Completion((), 'prompt_too_long')
  assert result[1] == completions(params, [short])[0]
  assert completions(params, [long[:200]])[0].finish == 'length'


def test_padding_of_the_vocabulary_is_never_chosen(params):
  prompt = prompts(1)[0][:20]
  highest = max(completions(params, [prompt])[0].tokens)
  (completion,) = completions(params, [prompt], vocab_size=highest)
  assert max(completion.tokens) < highest


def test_all_lengths_share_few_programs(params):
  programs.prefill.clear_cache()
  programs.decode.clear_cache()
  lengths = range(1, 130)
  completions(params, [[n] * n for n in lengths], batch_size=43)
  assert programs.prefill._cache_size() == 4  # pieces of 32, 64, 128, 256
  assert programs.decode._cache_size() == 1


@pytest.mark.skipif(jax.device_count() < 4, reason='one device')
def test_a_mesh_gives_the_same_completions(params):
  batch = prompts(6, longest=60)
  # Two that begin as a third does, whose row may be another device's.
  batch += [[*range(40), last] for last in (7, 8, 9)]
  expected = completions(params, batch, batch_size=3)
  mesh = partitioning.make_mesh(data=2, tensor=2)
  shardings = partitioning.shardings(
    mesh, model.logical_axes(CONFIG), model.abstract(CONFIG)
  )
  spread = jax.device_put(params, shardings)
  with jax.set_mesh(mesh):
    assert completions(spread, batch, batch_size=3) == expected


@pytest.mark.skipif(jax.device_count() < 4, reason='one device')
def test_between_devices_a_copied_row_travels_and_not_the_cache():
  mesh = partitioning.make_mesh(data=2, tensor=2)
  with jax.set_mesh(mesh):
    cache = jax.jit(lambda: model.init_cache(CONFIG, 8, 256))()
    program = programs.copy_row.lower(cache, 1, 6).compile().as_text()
  assert 'all-gather' not in program
  # A row of one layer's keys, cut over two devices by its heads.
  assert re.search(r'f32\[1,1,256,8\].* all-reduce\(', program)
  assert not re.search(r'\[[2-8],.* all-reduce\(', program)


def test_a_size_below_one_and_an_empty_prompt_are_refused(params):
  with pytest.raises(errors.UserError, match='max_new_tokens = 0'):
    completions(params, [[1]], max_new_tokens=0)
  with pytest.raises(errors.UserError, match='slots = 0'):
    completions(params, [[1]], batch_size=0)
  with pytest.raises(ValueError, match='empty'):
    completions(params, [[1], []])


def test_pieces_are_powers_of_two():
  assert [engine.piece_length(n) for n in (1, 33, 64, 65)] == [32, 64, 64, 128]
