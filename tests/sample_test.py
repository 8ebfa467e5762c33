import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hephaestus_jax import errors, model, partitioning, sample

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


def generate(params, prompts, **settings):
  defaults = {
    'max_new_tokens': 7,
    'stop_ids': [],
    'batch_size': 4,
    'max_prompt_tokens': 200,
  }
  return sample.generate(CONFIG, params, prompts, **{**defaults, **settings})


@jax.jit
def full_forward(params, tokens_BL):
  hidden_BLD = model.forward(
    CONFIG,
    params,
    tokens_BL,
    jnp.ones_like(tokens_BL),
    jnp.arange(tokens_BL.shape[1])[None],
  )
  return model.unembed(CONFIG, params, hidden_BLD)


def by_full_forward(params, prompt, steps):
  """The same with no cache: what comes after a token can't change it."""
  tokens = np.zeros(40, np.int32)
  tokens[: len(prompt)] = prompt
  for length in range(len(prompt), len(prompt) + steps):
    logits_BLV = full_forward(params, tokens[None])
    tokens[length] = np.argmax(logits_BLV[0, length - 1])
  return tuple(tokens[len(prompt) : len(prompt) + steps].tolist())


def test_greedy_decoding_is_the_argmax_of_the_full_forward_step_by_step(params):
  prompt = prompts(1)[0][:20]
  expected = by_full_forward(params, prompt, 7)
  assert len(set(expected)) > 3  # else the test could not fail
  assert generate(params, [prompt]) == [sample.Completion(expected, 'length')]


def test_a_batch_of_different_lengths_is_the_prompts_one_by_one(params):
  batch = prompts(11)
  alone = [generate(params, [prompt], batch_size=1)[0] for prompt in batch]
  assert len({completion.tokens for completion in alone}) > 5
  assert generate(params, batch) == alone


def test_a_completion_ends_before_its_stop_token(params):
  prompt = prompts(1)[0][:20]
  tokens = generate(params, [prompt])[0].tokens
  stop = tokens[3]
  first = tokens.index(stop)
  assert generate(params, [prompt], stop_ids=[stop, 49]) == [
    sample.Completion(tokens[:first], 'stop')
  ]


def test_rows_stop_each_for_itself(params):
  batch = prompts(6)
  free = [completion.tokens for completion in generate(params, batch)]
  stop = free[2][4]
  for tokens, completion in zip(
    free, generate(params, batch, stop_ids=[stop]), strict=True
  ):
    if stop in tokens:
      assert completion == sample.Completion(
        tokens[: tokens.index(stop)], 'stop'
      )
    else:
      assert completion == sample.Completion(tokens, 'length')


def test_a_prompt_that_is_too_long_is_said_so_and_the_others_go_on(params):
  long, short = prompts(2)[0], [1, 2, 3]
  long = np.resize(long, 201)
  result = generate(params, [long, short])
  assert result[0] == sample.Completion((), 'prompt_too_long')
  assert result[1] == generate(params, [short])[0]
  assert generate(params, [long[:200]])[0].finish == 'length'


def test_padding_of_the_vocabulary_is_never_chosen(params):
  prompt = prompts(1)[0][:20]
  highest = max(generate(params, [prompt])[0].tokens)
  (completion,) = generate(params, [prompt], vocab_size=highest)
  assert max(completion.tokens) < highest


def test_prompts_are_padded_to_a_power_of_two():
  tokens_BL, lengths_B = sample.pad([[5, 6, 7], [8]], 3)
  assert tokens_BL.shape == (3, sample.SHORTEST)
  assert tokens_BL[:, :4].tolist() == [[5, 6, 7, 0], [8, 0, 0, 0], [0] * 4]
  assert not tokens_BL[:, 4:].any()
  assert lengths_B.tolist() == [3, 1, 1]
  assert sample.pad([[1] * 64], 1)[0].shape == (1, 64)
  assert sample.pad([[1] * 65], 1)[0].shape == (1, 128)


def test_all_lengths_share_few_programs(params):
  sample._continue.clear_cache()
  generate(params, [[1] * length for length in range(1, 130)], batch_size=43)
  assert sample._continue._cache_size() == 3  # 64, 128 and 256


@pytest.mark.skipif(jax.device_count() < 4, reason='one device')
def test_a_mesh_gives_the_same_completions(params):
  batch = prompts(6, longest=60)
  expected = generate(params, batch, batch_size=3)
  mesh = partitioning.make_mesh(data=2, fsdp=-1)
  shardings = partitioning.shardings(
    mesh, model.logical_axes(CONFIG), model.abstract(CONFIG)
  )
  spread = jax.device_put(params, shardings)
  with jax.set_mesh(mesh):
    assert sample.whole_batch(3) == jax.device_count()
    assert generate(spread, batch, batch_size=3) == expected


def test_a_size_below_one_and_an_empty_prompt_are_refused(params):
  with pytest.raises(errors.UserError, match='max_new_tokens = 0'):
    generate(params, [[1]], max_new_tokens=0)
  with pytest.raises(ValueError, match='empty'):
    generate(params, [[1], []])
