import math

import jax
import numpy as np
import pytest

from hephaestus_jax import errors, model, partitioning
from hephaestus_jax.evaluation import likelihood

CONFIG = model.Config(
  vocab_size=24,
  emb_dim=16,
  num_layers=2,
  num_heads=2,
  num_kv_heads=1,
  head_dim=8,
  mlp_dim=16,
)
PAIRS = [
  ([3, 4], [5, 6, 7]),
  ([8], [9]),
  (list(range(1, 20)) * 8, [2, 3]),  # another length of rows
  ([], [5, 6]),
]


@pytest.fixture(scope='module')
def params():
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda shape: rng.normal(0, 0.3, shape.shape).astype(np.float32),
    model.abstract(CONFIG),
  )


@jax.jit
def logits_of(params, tokens_BL):
  hidden_BLD = model.forward(
    CONFIG,
    params,
    tokens_BL,
    jax.numpy.ones_like(tokens_BL),
    jax.numpy.arange(tokens_BL.shape[1])[None],
  )
  return model.unembed(CONFIG, params, hidden_BLD)


def by_hand(params, prompt, continuation, vocab_size=24):
  """The nll of a continuation, and whether it is the greedy one."""
  whole = [*prompt, *continuation]
  padded = np.zeros((1, 256), np.int32)  # what follows changes nothing
  padded[0, : len(whole)] = whole
  logits_LV = np.asarray(logits_of(params, padded)[0], np.float64)
  nll, greedy = 0.0, True
  for place in range(max(1, len(prompt)), len(whole)):
    logits_V = logits_LV[place - 1, :vocab_size]
    nll -= logits_V[whole[place]] - math.log(np.exp(logits_V).sum())
    greedy &= int(np.argmax(logits_V)) == whole[place]
  return nll, greedy


@pytest.mark.parametrize('batch_size', [1, 3])
def test_scores_are_those_of_each_pair_alone(params, batch_size):
  found = likelihood.score(CONFIG, params, PAIRS, batch_size=batch_size)
  wanted = [by_hand(params, *pair) for pair in PAIRS]
  assert [score.nll for score in found] == pytest.approx(
    [nll for nll, _ in wanted], rel=1e-5
  )
  assert min(nll for nll, _ in wanted) > 1


def test_a_greedy_continuation_is_told_from_one_that_is_nearly(params):
  tokens = [3, 4]
  while len(tokens) < 6:
    padded = np.zeros((1, 256), np.int32)
    padded[0, : len(tokens)] = tokens
    logits_V = logits_of(params, padded)[0, len(tokens) - 1]
    tokens.append(int(np.argmax(logits_V)))
  other = [*tokens[:5], (tokens[5] + 1) % 24]
  found = likelihood.score(
    CONFIG,
    params,
    [([3, 4], tokens[2:]), ([3, 4], other[2:])],
    batch_size=2,
  )
  assert [score.greedy for score in found] == [True, False]


def test_padding_of_the_vocabulary_has_no_share(params):
  (found,) = likelihood.score(
    CONFIG, params, PAIRS[:1], batch_size=1, vocab_size=12
  )
  nll, _ = by_hand(params, *PAIRS[0], vocab_size=12)
  assert found.nll == pytest.approx(nll, rel=1e-5)
  assert nll < by_hand(params, *PAIRS[0])[0] - 0.1


def test_a_token_beyond_the_model_is_refused(params):
  with pytest.raises(errors.UserError, match='token 24, and'):
    likelihood.score(CONFIG, params, [([1], [24])], batch_size=1)


@pytest.mark.skipif(jax.device_count() < 4, reason='one device')
def test_a_mesh_gives_the_same_scores(params):
  alone = likelihood.score(CONFIG, params, PAIRS, batch_size=3)
  mesh = partitioning.make_mesh(data=2, fsdp=-1)
  places = partitioning.shardings(
    mesh, model.logical_axes(CONFIG), model.abstract(CONFIG)
  )
  with jax.set_mesh(mesh):
    spread = jax.device_put(params, places)
    found = likelihood.score(CONFIG, spread, PAIRS, batch_size=3)
  assert [score.nll for score in found] == pytest.approx(
    [score.nll for score in alone], rel=1e-5
  )
