import dataclasses
import math

import jax
import numpy as np
import pytest

from hephaestus_jax import errors, model, tokenizer
from hephaestus_jax.decode import engine, programs

VOCABULARY = 'mistral-common:v1'
CONFIG = model.Config(
  vocab_size=250,
  emb_dim=16,
  num_layers=1,
  num_heads=4,
  num_kv_heads=2,
  head_dim=8,
  mlp_dim=24,
)


def random(config):
  rng = np.random.default_rng(3)
  return jax.tree.map(
    lambda shape: rng.normal(0, 0.6, shape.shape).astype(np.float32),
    model.abstract(config),
  )


@pytest.fixture(scope='module')
def params():
  return random(CONFIG)


@pytest.fixture(scope='module')
def vocabulary():
  return tokenizer.load(VOCABULARY)


def made(params, config=CONFIG, **settings):
  defaults = {'slots': 3, 'max_length': 256, 'chunk': 32}
  return engine.Engine(config, params, **{**defaults, **settings})


def requests(count, **settings):
  rng = np.random.default_rng(0)
  return [
    engine.Request(
      tuple(rng.integers(0, CONFIG.vocab_size, rng.integers(1, 90)).tolist()),
      **{'max_new_tokens': int(rng.integers(3, 12)), 'seed': i, **settings},
    )
    for i in range(count)
  ]


def answers(running, asked, order=None):
  """The updates of each request, submitted in some order."""
  updates = [[] for _ in asked]
  for i in range(len(asked)) if order is None else order:
    running.submit(asked[i], updates[i].append)
  while running.step():
    pass
  return updates


def tokens(updates):
  return [update.token.token for update in updates if update.token]


@pytest.mark.parametrize('settings', [{}, {'temperature': 0.8, 'top_p': 0.9}])
def test_neither_neighbours_nor_the_order_of_arrival_change_an_answer(
  settings, params
):
  asked = requests(8, **settings)
  running = made(params)
  alone = [tokens(answers(running, [one])[0]) for one in asked]
  assert [len(a) for a in alone] == [one.max_new_tokens for one in asked]
  assert len({tuple(a[:3]) for a in alone}) > 5
  for order in (range(8), (5, 2, 7, 0, 3, 6, 1, 4)):
    together = answers(running, asked, order)
    assert [tokens(updates) for updates in together] == alone
    assert [updates[-1].finish for updates in together] == 8 * ['length']


def test_what_arrives_while_others_are_answered_changes_nothing(params):
  asked = requests(6, temperature=1.0)
  running = made(params)
  alone = [tokens(answers(running, [one])[0]) for one in asked]
  updates = [[] for _ in asked]
  for one, listener in zip(asked, updates, strict=True):
    running.submit(one, listener.append)
    running.step()
  while running.step():
    pass
  assert [tokens(updates) for updates in updates] == alone


@pytest.mark.parametrize('window', [None, 20])
def test_a_prompt_in_pieces_is_the_prompt_at_once(window, params):
  config = dataclasses.replace(CONFIG, sliding_window=window)
  # Longer than a block of keys, so that a window starts after the first.
  prompt = tuple(i % 200 for i in range(400))
  asked = [dataclasses.replace(requests(1, temperature=1.0)[0], prompt=prompt)]
  whole, pieces = (
    answers(made(params, config, max_length=512, chunk=chunk), asked)
    for chunk in (512, 32)
  )
  assert len({*tokens(whole[0])}) > 2
  assert tokens(pieces[0]) == tokens(whole[0])


def test_a_long_prompt_does_not_hold_up_the_others(params):
  running = made(params, chunks_per_step=1)
  short, long = [], []
  first = dataclasses.replace(requests(1)[0], prompt=(5,), max_new_tokens=4)
  running.submit(first, short.append)
  running.step()
  running.submit(
    dataclasses.replace(first, prompt=tuple(range(3, 203))), long.append
  )
  while not short[-1].finish:
    running.step()
  assert not long


def test_other_lengths_compile_nothing(params):
  running = made(params)
  programs.prefill.clear_cache()
  programs.decode.clear_cache()
  programs.copy_row.clear_cache()
  assert running.warm_up() == 3
  answers(running, requests(9))
  answers(running, 5 * [engine.Request(tuple(range(80)), 5)])
  answers(running, requests(5, temperature=0.7, top_p=0.5, ranked=3))
  assert programs.prefill._cache_size() == 1
  assert programs.decode._cache_size() == 1
  assert programs.copy_row._cache_size() == 1


def read(running, monkeypatch):
  """How many tokens of prompts are read, from now on."""
  counts = []
  prefill = programs.prefill

  def counted(config, weights, cache, tokens_RL, positions_RL, *rest, **more):
    counts.append(int((positions_RL >= 0).sum()))
    return prefill(
      config, weights, cache, tokens_RL, positions_RL, *rest, **more
    )

  monkeypatch.setattr(programs, 'prefill', counted)
  return counts


def test_what_a_row_holds_is_not_read_again(params, monkeypatch):
  tools, question = tuple(range(100)), tuple(range(100, 110))
  asked = engine.Request(tools + question, 6)
  another = engine.Request((*tools, 120, 121), 6)
  wanted = [
    tokens(answers(made(params, slots=1), [one])[0]) for one in (asked, another)
  ]
  running = made(params)
  counts = read(running, monkeypatch)
  (first,) = answers(running, [asked])
  assert sum(counts) == 110
  # The same again: but for the last token, whose successor is asked for.
  assert tokens(answers(running, [asked])[0]) == tokens(first) == wanted[0]
  assert sum(counts) == 111
  # Two at once: one goes on in the row of the first, and one in a copy of what
  # is then left of it, the tools.
  both = answers(running, [another, asked])
  assert [tokens(one) for one in both] == wanted[::-1]
  assert sum(counts) == 111 + 2 + 10
  # A conversation goes on: its answer is held too, but for the last token.
  said = tokens(first)
  counts.clear()
  (after,) = answers(
    running, [engine.Request((*asked.prompt, *said, 7, 8, 9), 6)]
  )
  assert sum(counts) == 4
  fresh = made(params)
  counts.clear()
  (alone,) = answers(
    fresh, [engine.Request((*asked.prompt, *said, 7, 8, 9), 6)]
  )
  assert tokens(alone) == tokens(after)
  for here, there in zip(after, alone, strict=True):
    assert here.token.logprob == pytest.approx(there.token.logprob, abs=1e-5)


def test_rows_that_wait_copy_what_the_first_reads(params, monkeypatch):
  shared = tuple(range(90))
  asked = [engine.Request((*shared, 100 + i), 4) for i in range(5)]
  wanted = [tokens(answers(made(params, slots=1), [one])[0]) for one in asked]
  running = made(params, slots=5)
  counts = read(running, monkeypatch)
  together = answers(running, asked)
  assert [tokens(one) for one in together] == wanted
  assert sum(counts) == 91 + 4
  assert running.reused == 4 * 90


def test_what_another_prompt_overwrote_is_not_taken_for_held(params):
  """Behind a short prompt a long one's keys still lie, of another text."""
  running = made(params, slots=1)
  answers(running, [engine.Request(tuple(range(100)), 4)])
  short = (*range(50), 200, 201)
  said = tokens(answers(running, [engine.Request(short, 30)])[0])
  held = (*short, *said[:-1])
  asked = engine.Request((*held, *range(len(held), 100)), 4)
  (after,), (alone,) = (
    answers(one, [asked]) for one in (running, made(params))
  )
  assert running.reused == 50 + len(held)
  assert tokens(after) == tokens(alone)
  for here, there in zip(after, alone, strict=True):
    assert here.token.logprob == pytest.approx(there.token.logprob, abs=1e-5)


@pytest.mark.parametrize('echo', [0, 40, 69])
def test_tokens_that_are_told_of_are_read_again(echo, params):
  prompt = tuple(range(70))
  running = made(params)
  asked = engine.Request(prompt, 1, echo=echo)
  (first,), (again,) = (answers(running, [asked]) for _ in range(2))
  assert [t.token for t in told(again)] == list(prompt[echo:])
  assert running.reused == max(0, echo - 1)
  for here, there in zip(told(again), told(first), strict=True):
    assert here.logprob == pytest.approx(there.logprob, abs=1e-5, nan_ok=True)


def test_the_most_likely_tokens_are_told_to_who_asks(params):
  plain, asking = requests(2)
  asking = dataclasses.replace(asking, ranked=4)
  told = answers(made(params), [plain, asking])
  assert not any(update.token.ranked for update in told[0])
  for update in told[1]:
    ranked = update.token.ranked
    assert len(ranked) == 4
    assert ranked[0] == (update.token.token, update.token.logprob)  # greedy
    assert [p for _, p in ranked] == sorted([p for _, p in ranked])[::-1]


def test_a_stop_string_ends_an_answer(vocabulary):
  config = dataclasses.replace(CONFIG, vocab_size=vocabulary.vocab_size)
  running = made(random(config), config, vocabulary=vocabulary)
  (free,) = answers(running, [requests(1, max_new_tokens=12)[0]])
  said = ''.join(update.text for update in free)
  assert said == vocabulary.decode(tokens(free))
  stop = said[len(said) // 2 :][:3]
  (ended,) = answers(
    running, [requests(1, max_new_tokens=12, stop=('\0', stop))[0]]
  )
  assert ''.join(update.text for update in ended) == said[: said.index(stop)]
  assert ended[-1].finish == 'stop'
  assert len(ended) < len(free)


def test_a_cancelled_request_makes_room(params):
  running = made(params, slots=1)
  first, second, third = [], [], []
  endless = requests(1, max_new_tokens=200)[0]
  under_way = running.submit(endless, first.append)
  waits = running.submit(endless, second.append)
  running.submit(requests(1)[0], third.append)
  for _ in range(5):
    running.step()
  assert (running.active, running.waiting) == (1, 2)
  assert first
  under_way.cancel()
  waits.cancel()
  while running.step():
    pass
  assert first[-1] == engine.Update(None, '', 'cancelled')
  assert second == [engine.Update(None, '', 'cancelled')]
  assert third[-1].finish == 'length'
  assert (running.active, running.waiting) == (0, 0)


def test_the_cache_ends_an_answer_and_refuses_a_prompt_without_room(params):
  running = made(params, max_length=40)
  fits, full = (tuple(range(3, 3 + n)) for n in (36, 40))
  given = [
    engine.Request(prompt, max_new_tokens=100) for prompt in (fits, full)
  ]
  long, none = answers(running, given)
  assert (len(tokens(long)), long[-1].finish) == (4, 'length')
  assert none == [engine.Update(None, '', 'prompt_too_long')]


class Countdown:
  """Allows 9, 8, 7, ... and nothing after 5."""

  def __init__(self):
    self.next = 9

  def allowed(self):
    words_W = np.zeros(8, np.uint32)
    words_W[0] = 1 << self.next
    return words_W

  def accept(self, token):
    assert token == self.next
    self.next -= 1
    return token > 5


def test_a_constraint_holds_for_its_own_request(params):
  plain = requests(2)
  alone = answers(made(params), plain)
  bound = dataclasses.replace(plain[0], constraint=Countdown())
  both = answers(made(params), [plain[0], bound, plain[1]])
  assert tokens(both[1]) == [9, 8, 7, 6, 5][: plain[0].max_new_tokens]
  assert [tokens(both[0]), tokens(both[2])] == [tokens(a) for a in alone]


def test_bfloat16_decodes(params):
  config = dataclasses.replace(CONFIG, dtype='bfloat16')
  (updates,) = answers(made(params, config), requests(1))
  assert updates[-1].finish == 'length'


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'slots': 0}, 'slots = 0'),
    ({'max_length': 0}, 'max_length = 0'),
    ({'chunk': 48}, 'chunk = 48 is no power of two'),
  ],
)
def test_sizes_that_cannot_be_are_refused(change, message, params):
  with pytest.raises(errors.UserError, match=message):
    made(params, **change)


def test_stop_strings_need_a_vocabulary(params):
  with pytest.raises(ValueError, match='vocabulary'):
    made(params).submit(requests(1, stop=('x',))[0], print)


def told(updates):
  return [token for update in updates for token in update.prompt]


def test_a_prompt_is_told_of_as_what_was_said_is(params):
  running = made(params)
  asked = requests(3, max_new_tokens=40, ranked=2)
  for one, updates in zip(asked, answers(running, asked), strict=True):
    said = [update.token for update in updates if update.token]
    assert not told(updates)
    # Of pieces of 32 tokens, beside a neighbour that asks for nothing.
    again = dataclasses.replace(
      one, prompt=(*one.prompt, *(t.token for t in said)), echo=0
    )
    found = told(answers(running, [again, asked[0]])[0])
    assert [t.token for t in found] == list(again.prompt)
    assert math.isnan(found[0].logprob)
    for here, wanted in zip(found[-40:], said, strict=True):
      assert here.logprob == pytest.approx(wanted.logprob, abs=1e-4)
      assert [t for t, _ in here.ranked] == [t for t, _ in wanted.ranked]
      # Greedy: the token that came is the first of the likeliest, exactly.
      assert here.ranked[0] == (here.token, here.logprob)


@pytest.mark.parametrize('echo', [1, 40])
def test_a_prompt_is_told_of_from_a_place_on(echo, params):
  prompt = tuple(range(70))
  running = made(params)
  (whole,), (part,) = (
    answers(running, [engine.Request(prompt, 1, echo=first)])
    for first in (0, echo)
  )
  assert told(part) == told(whole)[echo:]
  assert tokens(part) == tokens(whole)


def test_a_prompt_can_be_read_alone(params):
  running = made(params)
  asked = [
    engine.Request(tuple(range(n)), 0, echo=echo)
    for n in (1, 32, 70)
    for echo in (0, None)
  ]
  for one, updates in zip(asked, answers(running, asked), strict=True):
    assert [update.finish for update in updates if update.finish] == ['length']
    assert updates[-1].finish and not tokens(updates)
    assert len(told(updates)) == (len(one.prompt) if one.echo == 0 else 0)
  assert running.active == 0
