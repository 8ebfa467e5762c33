"""lm-evaluation-harness' client of the completions API, against our server."""

import contextlib
import os
import pathlib
import socket
import sys
import threading

import jax
import numpy as np
import pytest

os.environ['HF_HUB_OFFLINE'] = os.environ['HF_DATASETS_OFFLINE'] = '1'

for library in ('lm_eval', 'starlette', 'tenacity', 'transformers', 'uvicorn'):
  pytest.importorskip(library)

from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.models.openai_completions import (  # noqa: E402
  LocalCompletionsAPI,
)

from hephaestus_jax import model, tokenizer  # noqa: E402
from hephaestus_jax.decode import engine  # noqa: E402
from hephaestus_jax.evaluation import harness  # noqa: E402
from hephaestus_jax.serving import (  # noqa: E402
  app,
  http,
  limits,
  metrics,
  worker,
)

sys.path.append(str(pathlib.Path(__file__).parents[1]))
import small_vocabulary  # noqa: E402
import tiny  # noqa: E402

LENGTH = 40
TEXTS = (
  'a word',
  'some words, and then some more of them, until nobody reads on.',
  'x',
)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('vocabulary')
  small_vocabulary.write(folder)
  return folder


@pytest.fixture(scope='module')
def params():
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda shape: rng.normal(0, 0.6, shape.shape).astype(np.float32),
    model.abstract(tiny.CONFIG),
  )


@pytest.fixture(scope='module')
def ours(folder, params):
  return harness.Model(
    tiny.CONFIG,
    params,
    tokenizer.load(str(folder / 'tokenizer.json')),
    max_length=LENGTH,
    batch_size=4,
    opens=False,
  )


@contextlib.contextmanager
def serving(folder, params):
  """The address of a server in a thread."""
  vocabulary = tokenizer.load(str(folder / 'tokenizer.json'))
  running = engine.Engine(
    tiny.CONFIG,
    params,
    slots=2,
    max_length=128,
    vocabulary=vocabulary,
    chunk=32,  # so that some prompts have two pieces
  )
  with worker.Worker(running) as thread:
    service = app.Service(
      name='tiny',
      running=thread,
      vocabulary=vocabulary,
      chat_format='chatml',
      grammars=None,
      limits=limits.Limits(
        body_bytes=100_000, body_seconds=9, tokens=64, seconds=90, waiting=9
      ),
      counts=metrics.Metrics(running),
    )
    server = http.server(service, None, 5)
    with socket.create_server(('127.0.0.1', 0)) as listening:
      loop = threading.Thread(target=server.run, args=([listening],))
      loop.start()
      try:
        yield f'http://127.0.0.1:{listening.getsockname()[1]}/v1/completions'
      finally:
        server.should_exit = True
        loop.join()


@pytest.fixture(scope='module')
def client(folder, params):
  with serving(folder, params) as url:
    yield LocalCompletionsAPI(
      model='tiny',
      base_url=url,
      tokenizer=str(folder),
      tokenizer_backend='huggingface',
      max_length=LENGTH + 2,  # it keeps a token for what it doesn't look at
      batch_size=2,
      max_retries=1,
    )


def asked(kind, *arguments):
  return [
    Instance(request_type=kind, doc={}, arguments=each, idx=i)
    for i, each in enumerate(arguments)
  ]


def greedy(*texts, tokens=8):
  settings = {'until': ['q'], 'do_sample': False, 'max_gen_toks': tokens}
  return asked('generate_until', *((text, dict(settings)) for text in texts))


def test_its_three_questions_are_answered_as_by_the_engine(client, ours):
  # It sends the whole of a long context, which is its user's to look to.
  short = greedy(*TEXTS[::2], 'nobody here')
  said = ours.generate_until(short, disable_tqdm=True)
  assert client.generate_until(short, disable_tqdm=True) == said
  assert any(len(text) > 4 for text in said)
  first = ours.generate_until(greedy(*TEXTS, tokens=1), disable_tqdm=True)

  scored = asked(
    'loglikelihood',
    *((text, end) for text in TEXTS for end in (' the end.', 'z')),
    *((text, end) for text, end in zip(TEXTS, first, strict=True) if end),
    ('', 'a word'),
  )
  found = client.loglikelihood(scored, disable_tqdm=True)
  wanted = ours.loglikelihood(scored, disable_tqdm=True)
  assert [p for p, _ in found] == pytest.approx(
    [p for p, _ in wanted], abs=1e-4
  )
  assert [g for _, g in found] == [g for _, g in wanted]
  assert {g for _, g in found} == {True, False}

  whole = asked('loglikelihood_rolling', *((text,) for text in TEXTS[::2]))
  assert client.loglikelihood_rolling(
    whole, disable_tqdm=True
  ) == pytest.approx(
    ours.loglikelihood_rolling(whole, disable_tqdm=True), abs=1e-4
  )
