import contextlib
import datetime
import email.utils
import json
import os
import pathlib
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hephaestus_jax import errors, language_model, replies

sys.path.append(str(pathlib.Path(__file__).parent))
import chat_server  # noqa: E402

KEY = 'sk-only-in-the-header'
ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def key(monkeypatch):
  monkeypatch.setenv('TEST_KEY', KEY)


def endpoint(server, tmp_path, **changes):
  given = {
    'base_url': server.url,
    'model': 'parrot',
    'cache': str(tmp_path / 'cache.sqlite'),
    'key_variable': 'TEST_KEY',
    'first_wait': 0.01,
    'attempts': 3,
    'timeout': 5.0,
    **changes,
  }
  return language_model.Endpoint(**given)


@contextlib.contextmanager
def talking(play, tmp_path, **changes):
  """(server, client that asks it) until the end of the context."""
  with chat_server.serving(play) as server:
    where = endpoint(server, tmp_path, **changes)
    with language_model.Client(where) as client:
      yield server, client


def asked(text, **fields):
  return language_model.Question(({'role': 'user', 'content': text},), **fields)


def ask_all(client, texts):
  """The client's answers, after a look at their order."""
  pairs = list(client.ask_all((text, asked(text)) for text in texts))
  assert [text for text, _ in pairs] == list(texts)
  return [answer for _, answer in pairs]


def parrot(body, handler):
  return 'You said: ' + body['messages'][-1]['content']


def failing(*failures):
  """Plays each failure once, then answers."""
  waiting = list(failures)

  def play(body, handler):
    return waiting.pop(0)(handler) if waiting else parrot(body, handler)

  return play


def test_a_question_is_answered_and_the_key_stands_in_the_header(tmp_path):
  with talking(parrot, tmp_path) as (server, client):
    reply = client.ask(asked('Hi.', stop=('\n',), sample=2))
  assert reply == replies.Reply('You said: Hi.', 'stop', 10, 5)
  (request,) = server.seen
  assert request['path'] == '/v1/chat/completions'
  assert request['headers']['Authorization'] == f'Bearer {KEY}'
  assert request['body'] == {
    'model': 'parrot',
    'messages': [{'role': 'user', 'content': 'Hi.'}],
    'temperature': 0.0,
    'max_tokens': 1024,
    'stop': ['\n'],
    'seed': 2,
  }


def test_the_same_content_is_asked_once_and_another_content_again(tmp_path):
  with chat_server.serving(parrot) as server:
    for _ in range(2):
      with language_model.Client(endpoint(server, tmp_path)) as client:
        said = [client.ask(asked(t)).text for t in ('a', 'b', 'a')]
        assert said == ['You said: a', 'You said: b', 'You said: a']
        account = client.account()
    assert len(server.seen) == 2
    with language_model.Client(
      endpoint(server, tmp_path, temperature=0.5)
    ) as client:
      client.ask(asked('a'))
    assert len(server.seen) == 3
  assert account == {
    'questions': 2,
    'answers': 2,
    'prompt_tokens': 20,
    'completion_tokens': 10,
    'dollars': 0.0,
  }


def test_the_key_is_in_no_file_no_error_and_no_representation(tmp_path):
  with chat_server.serving(lambda body, handler: handler.send(401)) as server:
    where = endpoint(server, tmp_path)
    with language_model.Client(where) as client:
      with pytest.raises(errors.UserError) as refusal:
        client.ask(asked('Hi.'))
      seen = f'{refusal.value} {client!r} {vars(client)} {where} '
      seen += str(where.identity())
  with talking(parrot, tmp_path) as (server, client):
    client.ask(asked('Hi.'))
  files = b''.join(path.read_bytes() for path in tmp_path.iterdir())
  assert b'Hi.' in files
  assert KEY not in seen
  assert KEY.encode() not in files
  assert 'TEST_KEY' in str(refusal.value)
  assert len(str(refusal.value).splitlines()) == 1


def cut(handler):
  """Half an answer, then the end of the connection."""
  handler.send_response(200)
  handler.send_header('Content-Length', '1000')
  handler.end_headers()
  handler.wfile.write(b'{"choices"')
  handler.connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
  'failure',
  [
    lambda handler: handler.send(500),
    lambda handler: handler.send(503, b'<html>busy</html>'),
    lambda handler: handler.send(429),
    lambda handler: handler.send(200, b'{"choices": ['),
    lambda handler: handler.send(200, b'\xff\xfe'),
    lambda handler: handler.send(200, b'[' * 100_000),
    lambda handler: handler.send(200, {'choices': []}),
    lambda handler: handler.send(200, []),
    lambda handler: handler.send(200, chat_server.completion(7)),
    cut,
  ],
)
def test_a_failure_that_passes_is_not_seen(tmp_path, failure):
  with talking(failing(failure), tmp_path) as (server, client):
    assert client.ask(asked('Hi.')).text == 'You said: Hi.'
  assert len(server.seen) == 2


@pytest.mark.parametrize(
  ('failure', 'reason', 'attempts'),
  [
    (lambda h: h.send(500), replies.UNAVAILABLE, 3),
    (lambda h: h.send(429), replies.UNAVAILABLE, 3),
    (lambda h: h.send(400), replies.REJECTED, 1),
    (lambda h: h.send(200, b'{'), replies.NOT_JSON, 3),
    (lambda h: h.send(200, {'choices': 1}), replies.WRONG_SCHEMA, 3),
    (lambda h: h.send(200, b' ' * (17 << 20)), replies.TOO_LARGE, 1),
    (lambda h: h.send(429, None, [('Retry-After', '86400')]), 
     replies.UNAVAILABLE, 1),
    (cut, replies.LOST, 3),
  ],
)  # fmt: skip
def test_a_failure_that_stays_is_a_reason_and_is_asked_again_by_the_next_run(
  tmp_path, failure, reason, attempts
):
  with talking(lambda body, h: failure(h), tmp_path) as (server, client):
    assert client.ask(asked('Hi.')) == replies.Reply('', failure=reason)
    assert client.account()['questions'] == 1
    assert client.account()['answers'] == 0
    assert len(server.seen) == attempts
    server.play = parrot
    with language_model.Client(endpoint(server, tmp_path)) as client:
      assert client.ask(asked('Hi.')).text == 'You said: Hi.'


def test_a_refusal_is_final(tmp_path):
  def refuse(body, handler):
    return handler.send(
      200, chat_server.completion(None, refusal='No, thank you.')
    )

  with chat_server.serving(refuse) as server:
    for _ in range(2):
      with language_model.Client(endpoint(server, tmp_path)) as client:
        assert client.ask(asked('Hi.')).failure == replies.REFUSED
  assert len(server.seen) == 1


def test_a_server_that_names_a_time_is_not_asked_before_it(tmp_path):
  times = []

  def play(body, handler):
    times.append(time.monotonic())
    if len(times) == 1:
      return handler.send(429, None, [('Retry-After', '1')])
    return 'Now.'

  with talking(play, tmp_path) as (server, client):
    assert client.ask(asked('Hi.')).text == 'Now.'
  assert times[1] - times[0] >= 1.0


def test_a_time_to_retry_after_is_seconds_or_a_date():
  assert replies.retry_after({'Retry-After': '7'}) == 7.0
  assert replies.retry_after({'Retry-After': 'soon'}) == 0.0
  then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=90)
  date = email.utils.format_datetime(then, usegmt=True)
  assert 80 < replies.retry_after({'Retry-After': date}) <= 90
  assert replies.retry_after({'Retry-After': date.replace('GMT', '')}) > 80
  assert replies.retry_after({}) == 0.0


def test_a_server_that_is_silent_or_drips_is_left_after_the_time_out(tmp_path):
  ended = threading.Event()

  def drip(body, handler):
    handler.send_response(200)
    handler.send_header('Content-Length', '1000')
    handler.end_headers()
    while not ended.wait(0.05):
      handler.wfile.write(b' ')

  def silence(body, handler):
    ended.wait(10)

  for play in (drip, silence):
    with chat_server.serving(play) as server:
      start = time.monotonic()
      with language_model.Client(
        endpoint(server, tmp_path, timeout=0.4, attempts=1)
      ) as client:
        assert client.ask(asked('Hi.')).failure == replies.TIMED_OUT
      assert time.monotonic() - start < 9
      ended.set()
    ended.clear()


def test_answers_come_in_order_and_no_more_are_asked_at_once_than_allowed(
  tmp_path,
):
  def play(body, handler):
    time.sleep(0.05 if body['messages'][0]['content'] < '4' else 0.01)
    return parrot(body, handler)

  with talking(play, tmp_path, concurrency=3) as (server, client):
    answers = ask_all(client, [str(i) for i in range(9)])
  assert [a.text for a in answers] == [f'You said: {i}' for i in range(9)]
  assert server.most == 3


def test_what_comes_without_a_question_keeps_its_place(tmp_path):
  with talking(parrot, tmp_path) as (_, client):
    pairs = [('a', asked('a')), ('b', None), ('c', asked('c'))]
    answers = list(client.ask_all(pairs))
  said = [(thing, answer and answer.text) for thing, answer in answers]
  assert said == [('a', 'You said: a'), ('b', None), ('c', 'You said: c')]


def test_the_same_question_from_two_threads_is_one_request(tmp_path):
  def slow(body, handler):
    time.sleep(0.1)
    return parrot(body, handler)

  with talking(slow, tmp_path) as (server, client):
    answers = ask_all(client, ['Hi.'] * 8)
  assert {a.text for a in answers} == {'You said: Hi.'}
  assert len(server.seen) == 1


def test_requests_keep_the_pace(tmp_path):
  with talking(parrot, tmp_path, requests_per_minute=600) as (server, client):
    start = time.monotonic()
    ask_all(client, [str(i) for i in range(6)])
  assert time.monotonic() - start >= 0.5


def test_tokens_keep_the_pace(tmp_path):
  # Each question may take 1,024 tokens, a tenth of a second's worth.
  arrived = []

  def slow(body, handler):
    arrived.append(time.monotonic())
    time.sleep(1)
    return parrot(body, handler)

  with talking(slow, tmp_path, tokens_per_minute=600_000) as (_, client):
    ask_all(client, [str(i) for i in range(6)])
  assert arrived[-1] - arrived[0] > 0.4


def test_tokens_that_were_not_used_are_given_back(tmp_path):
  # Eight times 1,024 would take 41 seconds; eight times 15 are had at once.
  with talking(parrot, tmp_path, tokens_per_minute=12_000, concurrency=1) as (
    _,
    client,
  ):
    start = time.monotonic()
    ask_all(client, [str(i) for i in range(8)])
    assert time.monotonic() - start < 20


def test_no_more_is_spent_than_allowed_also_by_many_at_once(tmp_path):
  # An answer costs 10 * $1 + 5 * $2 a million; its highest price is known.
  money = {'prompt_price': 1.0, 'completion_price': 2.0}
  answer = 20 / 1_000_000
  highest = (135 + 2 * 100) / 1_000_000
  limit = highest + 5 * answer
  with chat_server.serving(parrot) as server:
    where = endpoint(
      server, tmp_path, max_tokens=100, maximal_spend=limit, **money
    )
    for _ in range(2):
      with language_model.Client(where) as client:
        with pytest.raises(errors.UserError, match='maximal_spend'):
          ask_all(client, [f'{i:02}' for i in range(99)])
        assert 0 < client.account()['dollars'] <= limit
    asked_for = len(server.seen)
    assert asked_for * answer <= limit
    raised = endpoint(
      server, tmp_path, max_tokens=100, maximal_spend=1, **money
    )
    with language_model.Client(raised) as client:
      assert len(ask_all(client, [f'{i:02}' for i in range(99)])) == 99
      assert client.account()['dollars'] == pytest.approx(99 * answer)
    assert len(server.seen) == 99


def test_what_is_under_way_counts_at_its_highest_price(tmp_path):
  def talk(body, handler):
    time.sleep(0.2)
    usage = {'prompt_tokens': 100, 'completion_tokens': 100}
    handler.send(200, chat_server.completion('Hi.') | {'usage': usage})

  highest = (135 + 2 * 100) / 1_000_000
  money = {'prompt_price': 1.0, 'completion_price': 2.0}
  money['maximal_spend'] = 2.5 * highest
  with talking(talk, tmp_path, max_tokens=100, **money) as (server, client):
    with pytest.raises(errors.UserError, match='maximal_spend'):
      ask_all(client, [f'{i:02}' for i in range(8)])
    assert len(server.seen) == 2


def test_an_answer_that_was_lost_counts_as_paid(tmp_path):
  money = {'maximal_spend': 0.01, 'completion_price': 3.0}
  with talking(
    lambda body, handler: cut(handler), tmp_path, attempts=50, first_wait=0.0,
    **money,
  ) as (server, client):  # fmt: skip
    with pytest.raises(errors.UserError, match='maximal_spend'):
      client.ask(asked('Hi.'))
    assert len(server.seen) == 3


def test_a_dead_endpoint_stops_the_run(tmp_path):
  with talking(parrot, tmp_path, attempts=1, failures_in_a_row=4) as (
    server,
    client,
  ):
    server.shutdown()
    server.server_close()
    with pytest.raises(errors.UserError, match='4 questions in a row'):
      ask_all(client, [str(i) for i in range(99)])


@pytest.mark.parametrize('status', [301, 307, 401, 402, 403, 404])
def test_what_the_user_has_to_mend_stops_the_run_at_once(tmp_path, status):
  def send(body, handler):
    handler.send(status, None, [('Location', 'http://127.0.0.1:1/v1')])

  with talking(send, tmp_path) as (server, client):
    with pytest.raises(errors.UserError, match=f'HTTP {status}'):
      client.ask(asked('Hi.'))
    assert len(server.seen) == 1


@pytest.mark.parametrize(
  ('changes', 'said'),
  [
    ({'base_url': None}, 'no endpoint'),
    ({'base_url': 'localhost:8000'}, 'no endpoint'),
    ({'base_url': 'http://[::1'}, 'no endpoint'),
    ({'base_url': 'http://me:secret@127.0.0.1/v1'}, 'holds a password'),
    ({'model': ''}, 'No model'),
    ({'key_variable': 'NOT_SET'}, 'NOT_SET'),
    ({'concurrency': 0}, 'concurrency = 0'),
    ({'maximal_spend': 1.0}, 'no price'),
  ],
)
def test_what_cannot_be_asked_is_refused(tmp_path, changes, said):
  where = {
    'base_url': 'http://127.0.0.1:1/v1',
    'model': 'parrot',
    'key_variable': '',
    'cache': str(tmp_path / 'cache.sqlite'),
    **changes,
  }
  with pytest.raises(errors.UserError, match=said) as refusal:
    language_model.Client(language_model.Endpoint(**where))
  assert 'secret' not in str(refusal.value)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('bad', ['two words', 'line\nbreak', 'ключ'])
def test_a_key_that_no_header_takes_is_refused_unseen(
  tmp_path, monkeypatch, bad
):
  monkeypatch.setenv('TEST_KEY', bad)
  with (
    pytest.raises(errors.UserError) as refusal,
    talking(parrot, tmp_path),
  ):
    raise AssertionError
  assert bad not in str(refusal.value)


def test_a_file_that_is_no_cache_is_refused(tmp_path):
  (tmp_path / 'cache.sqlite').write_text('Dear diary, ' * 99)
  with (
    pytest.raises(errors.UserError, match='no cache of answers'),
    talking(parrot, tmp_path),
  ):
    raise AssertionError


RUN = """
import sys
from hephaestus_jax import language_model
where = language_model.Endpoint(
  base_url=sys.argv[1], model='parrot', cache=sys.argv[2], key_variable='',
  concurrency=4,
)
with language_model.Client(where) as client:
  for _, reply in client.ask_all(
    (i, language_model.Question(({'role': 'user', 'content': str(i)},)))
    for i in range(200)
  ):
    print(reply.text, flush=True)
"""


def test_a_run_that_is_killed_pays_for_nothing_twice(tmp_path):
  cache = tmp_path / 'cache.sqlite'

  def slow(body, handler):
    time.sleep(0.002)
    return parrot(body, handler)

  with chat_server.serving(slow) as server:
    command = [sys.executable, '-c', RUN, server.url, str(cache)]
    for lines in (5, 60, 120):
      with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT
      ) as run:
        for _ in range(lines):
          run.stdout.readline()
        os.kill(run.pid, signal.SIGKILL)
    ended = subprocess.run(
      command, capture_output=True, text=True, check=True, cwd=ROOT
    )
  assert ended.stdout.splitlines() == [f'You said: {i}' for i in range(200)]
  # What was under way when it was killed, and no more, is asked again.
  assert 200 <= len(server.seen) <= 200 + 3 * 4
  with sqlite3.connect(cache) as file:
    rows = file.execute('select reply from replies').fetchall()
  assert len(rows) == 200
  assert all(json.loads(row[0])['finish'] == 'stop' for row in rows)


def test_a_good_body_is_read():
  reply = replies.parse(
    b'{"choices": [{"message": {"content": "Hi."}, '
    b'"finish_reason": "stop"}], '
    b'"usage": {"prompt_tokens": 9, "completion_tokens": 2}}',
    30,
  )
  assert reply == replies.Reply(
    text='Hi.', finish='stop', prompt_tokens=9, completion_tokens=2, failure=''
  )


def test_tokens_that_nobody_counted_are_counted_in_bytes():
  body = b'{"choices": [{"message": {"content": "H\\u00e9"}}], "usage": %s}'
  for usage in (b'null', b'{}', b'{"prompt_tokens": -1}', b'7'):
    reply = replies.parse(body % usage, 30)
    assert (reply.prompt_tokens, reply.completion_tokens) == (30, 3)


def test_half_a_surrogate_pair_becomes_text_that_can_be_written():
  reply = replies.parse(
    b'{"choices": [{"message": {"content": "a\\ud800b \\ud83d\\ude00"}}]}', 0
  )
  assert reply.text == 'a\ufffdb \U0001f600'


JSON = st.recursive(
  st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
  lambda inner: st.lists(inner) | st.dictionaries(
    st.sampled_from(
      ['choices', 'message', 'content', 'usage', 'refusal', 'finish_reason']
    ) | st.text(), inner),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_a_server_sends_is_an_answer_or_a_reason(received):
  reply = replies.parse(received, 0)
  assert reply.failure in ('', *replies.FAILURES)
  reply.text.encode()
