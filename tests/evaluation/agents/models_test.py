"""A checkpoint as an agent: it is asked in the layout of its training."""

import pathlib
import sys

import jax
import numpy as np
import pytest

from hephaestus_jax import errors, model, tokenizer
from hephaestus_jax.evaluation.agents import agent_bench, episode, models

HERE = pathlib.Path(__file__).parent
sys.path += [str(HERE), str(HERE.parents[1])]

import tiny  # noqa: E402
from agent_bench_test import endpoint  # noqa: E402
from play_test import Counting  # noqa: E402

CONFIG = tiny.network(400)


@pytest.fixture(scope='module')
def vocabulary(tmp_path_factory):
  path = tmp_path_factory.mktemp('vocabulary') / 'tokenizer.model'
  texts = [f'Count to {n}. It is {n + 1}, done.' for n in range(400)]
  tokenizer.train(texts, path, 300)
  return path


@pytest.fixture(scope='module')
def params():
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda shape: jax.numpy.asarray(rng.normal(0, 1, shape.shape), 'float32'),
    model.abstract(CONFIG),
  )


def asked(params, vocabulary, *conversations, **changed):
  agent = models.generating(
    CONFIG,
    params,
    tokenizer.load(str(vocabulary)),
    **{
      'max_new_tokens': 4,
      'max_prompt_tokens': 64,
      'batch_size': 2,
      **changed,
    },
  )
  return agent(conversations)


def test_each_conversation_has_its_own_reply_whatever_is_beside_it(
  params, vocabulary
):
  one = (episode.user('Count to 3.'),)
  other = (*one, episode.agent('+'), episode.user('It is 1.'))
  together = asked(params, vocabulary, one, other)
  assert together == [
    *asked(params, vocabulary, one),
    *asked(params, vocabulary, other),
  ]
  assert all(reply.failure == '' for reply in together)


def test_a_conversation_that_is_too_long_has_filled_the_context(
  params, vocabulary, tmp_path
):
  benchmark = agent_bench.AgentBench(
    [Counting()],
    endpoint(tmp_path, None),
    str(vocabulary),
    max_new_tokens=2,
    max_prompt_tokens=3,
  )
  found = benchmark(CONFIG, params)['environments']
  (counts,) = found.values()
  assert counts['agent_context_limit'] == counts['tasks'] == 3
  assert counts['score'] == 0.0
  assert benchmark.identity()['tokenizer'] is not None


def test_a_vocabulary_that_the_model_lacks_is_refused(vocabulary):
  small = tiny.network(100)
  with pytest.raises(errors.UserError, match='300 tokens, and'):
    models.generating(
      small,
      {},
      tokenizer.load(str(vocabulary)),
      max_new_tokens=1,
      max_prompt_tokens=1,
      batch_size=1,
    )
