"""The API as its clients meet it: real sockets, and OpenAI's own client."""

import concurrent.futures
import contextlib
import dataclasses
import json
import pathlib
import socket
import sys
import threading
import time

import jsonschema
import pytest
import requests

from hephaestus_jax import language_model
from hephaestus_jax.decode import engine

for library in ('llguidance', 'openai', 'starlette', 'uvicorn'):
  pytest.importorskip(library)
import openai  # noqa: E402

from hephaestus_jax.decode import constraints  # noqa: E402
from hephaestus_jax.serving import (  # noqa: E402
  app,
  conversation,
  http,
  limits,
  metrics,
  patience,
  worker,
)

sys.path.append(str(pathlib.Path(__file__).parent))
import tiny_model  # noqa: E402

LIMITS = limits.Limits(
  body_bytes=100_000, body_seconds=1.0, tokens=400, seconds=60.0, waiting=6
)
HELLO = [{'role': 'user', 'content': 'Hello.'}]
SCHEMA = {
  'type': 'object',
  'properties': {'city': {'enum': ['Oslo', 'Rome']}, 'x': {'type': 'boolean'}},
  'required': ['city', 'x'],
  'additionalProperties': False,
}
TOOLS = [
  {'type': 'function', 'function': {'name': 'forecast', 'parameters': SCHEMA}},
  {
    'type': 'function',
    'function': {
      'name': 'now',
      'parameters': {'type': 'object', 'additionalProperties': False},
    },
  },
]


@dataclasses.dataclass
class Running:
  port: int
  service: app.Service

  @property
  def url(self):
    return f'http://127.0.0.1:{self.port}'

  @property
  def client(self):
    return openai.OpenAI(
      base_url=f'{self.url}/v1', api_key='none', max_retries=0, timeout=60
    )

  def post(self, body, path='/v1/chat/completions', **headers):
    given = {'Content-Type': 'application/json', **headers}
    return requests.post(f'{self.url}{path}', body, headers=given, timeout=60)

  def until(self, condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
      assert time.monotonic() < end
      time.sleep(0.02)

  def generated(self):
    told = requests.get(f'{self.url}/metrics').text
    name = 'hephaestus_completion_tokens_total '
    return float(told.partition(f'\n{name}')[2].split()[0])

  def idle(self):
    running = self.service.running.engine
    return running.active == running.waiting == 0


@contextlib.contextmanager
def serving(running, vocabulary, given=LIMITS, key=None):
  """A server on a free port in a thread."""
  with worker.Worker(running) as thread:
    service = app.Service(
      name='tiny',
      running=thread,
      vocabulary=vocabulary,
      chat_format='chatml',
      grammars=constraints.Grammars(vocabulary, [vocabulary.eos_id]),
      limits=given,
      counts=metrics.Metrics(running),
    )
    server = http.server(service, key, 5)
    with socket.create_server(('127.0.0.1', 0)) as listening:
      loop = threading.Thread(target=server.run, args=([listening],))
      loop.start()
      try:
        yield Running(listening.getsockname()[1], service)
      finally:
        server.should_exit = True
        loop.join()


@pytest.fixture(scope='module')
def vocabulary(tmp_path_factory):
  return tiny_model.write(tmp_path_factory.mktemp('model') / 'tiny')


@pytest.fixture(scope='module')
def made(vocabulary):
  running = engine.Engine(
    tiny_model.CONFIG,
    tiny_model.parameters(),
    slots=4,
    max_length=tiny_model.LENGTH,
    vocabulary=vocabulary,
    chunk=64,
  )
  running.warm_up()
  return running


@pytest.fixture(scope='module')
def server(made, vocabulary):
  with serving(made, vocabulary) as running:
    yield running


def greedy(server, **changed):
  settings = {'temperature': 0, 'max_tokens': 20, 'messages': HELLO}
  return server.client.chat.completions.create(
    model='tiny', **{**settings, **changed}
  )


def test_the_model_is_listed(server):
  assert [model.id for model in server.client.models.list()] == ['tiny']


def test_an_answer_is_what_the_engine_says(server, vocabulary):
  answer = greedy(server)
  (choice,) = answer.choices
  assert choice.message.role == 'assistant'
  assert choice.finish_reason in ('stop', 'length')
  prompt = vocabulary.encode_markers(
    '<|im_start|>user\nHello.<|im_end|>\n<|im_start|>assistant\n'
  )
  assert answer.usage.prompt_tokens == len(prompt) + 1  # what opens documents
  assert answer.usage.completion_tokens == 20
  assert answer.usage.total_tokens == len(prompt) + 21
  again = server.client.completions.create(
    model='tiny',
    prompt=[vocabulary.bos_id, *prompt],
    max_tokens=20,
    temperature=0,
  )
  assert again.choices[0].text == choice.message.content
  assert again.usage == answer.usage


def test_a_stream_says_what_the_whole_answer_says(server):
  whole = greedy(server, logprobs=True, top_logprobs=2)
  chunks = [
    *greedy(
      server,
      logprobs=True,
      top_logprobs=2,
      stream=True,
      stream_options={'include_usage': True},
    )
  ]
  assert chunks[-1].usage == whole.usage
  assert not chunks[-1].choices
  deltas = [chunk.choices[0] for chunk in chunks[:-1]]
  said = ''.join(delta.delta.content or '' for delta in deltas)
  assert said == whole.choices[0].message.content
  assert len(deltas) > 10
  assert deltas[-1].finish_reason == whole.choices[0].finish_reason
  told = [t for d in deltas if d.logprobs for t in d.logprobs.content]
  assert told == whole.choices[0].logprobs.content
  assert all(len(token.top_logprobs) == 2 for token in told)
  assert told[0].top_logprobs[0].logprob == told[0].logprob  # greedy


def test_a_stop_string_ends_an_answer(server):
  said = greedy(server).choices[0].message.content
  stop = said[8:10]
  for stream in (False, True):
    answer = greedy(server, stop=[stop], stream=stream)
    if stream:
      words = ''.join(c.choices[0].delta.content or '' for c in answer)
    else:
      words = answer.choices[0].message.content
      assert answer.choices[0].finish_reason == 'stop'
    assert words == said[: said.index(stop)]


def test_several_choices_differ_and_a_seed_repeats_them(server):
  first, again = (
    greedy(server, n=3, temperature=1.0, seed=5) for _ in range(2)
  )
  said = [choice.message.content for choice in first.choices]
  assert len({*said}) == 3
  assert [choice.message.content for choice in again.choices] == said
  assert [choice.index for choice in first.choices] == [0, 1, 2]


def test_requests_at_once_get_what_each_gets_alone(server):
  words = [f'{i}' * (i + 1) for i in range(9)]

  def ask(word):
    messages = [{'role': 'user', 'content': word}]
    return greedy(server, messages=messages).choices[0].message.content

  alone = [ask(word) for word in words]
  assert len({*alone}) > 5
  with concurrent.futures.ThreadPoolExecutor(9) as pool:
    assert [*pool.map(ask, words)] == alone


@pytest.mark.parametrize('stream', [False, True])
@pytest.mark.parametrize(
  ('choice', 'names'),
  [
    ('required', {'forecast', 'now'}),
    ({'type': 'function', 'function': {'name': 'forecast'}}, {'forecast'}),
  ],
)
def test_a_call_that_is_asked_for_is_made(choice, names, stream, server):
  answer = greedy(
    server,
    tools=TOOLS,
    tool_choice=choice,
    parallel_tool_calls=False,
    temperature=1.0,
    seed=1,
    max_tokens=400,
    stream=stream,
  )
  if stream:
    chunks = [chunk.choices[0] for chunk in answer]
    finish = chunks[-1].finish_reason
    calls = [c for chunk in chunks for c in chunk.delta.tool_calls or []]
  else:
    finish = answer.choices[0].finish_reason
    calls = answer.choices[0].message.tool_calls
  assert finish == 'tool_calls'
  (call,) = calls
  assert call.function.name in names
  schema = {tool['function']['name']: tool['function'] for tool in TOOLS}
  jsonschema.validate(
    json.loads(call.function.arguments),
    schema[call.function.name]['parameters'],
  )


def test_results_of_tools_go_on_in_the_conversation(server):
  call = {
    'id': 'call_1',
    'type': 'function',
    'function': {'name': 'now', 'arguments': '{}'},
  }
  messages = [
    *HELLO,
    {'role': 'assistant', 'content': None, 'tool_calls': [call]},
    {'role': 'tool', 'tool_call_id': 'call_1', 'content': 'noon'},
  ]
  answer = greedy(server, messages=messages, tools=TOOLS, tool_choice='none')
  assert answer.choices[0].finish_reason in ('stop', 'length')


def test_json_that_is_asked_for_is_given(server):
  schema = {'name': 'place', 'schema': SCHEMA}
  answer = greedy(
    server,
    response_format={'type': 'json_schema', 'json_schema': schema},
    temperature=1.0,
    seed=3,
    max_tokens=400,
  )
  assert answer.choices[0].finish_reason == 'stop'
  jsonschema.validate(json.loads(answer.choices[0].message.content), SCHEMA)


def test_completions_tell_logprobs_and_where_tokens_stand(server):
  answer = server.client.completions.create(
    model='tiny', prompt=['a', 'b'], max_tokens=6, temperature=0, logprobs=3
  )
  assert [choice.index for choice in answer.choices] == [0, 1]
  for choice in answer.choices:
    told = choice.logprobs
    assert len(told.tokens) == len(told.token_logprobs) == 6
    assert told.text_offset[0] == 0
    lengths = [len(token) for token in told.tokens]
    assert told.text_offset == [sum(lengths[:i]) for i in range(6)]
    assert [max(top.values()) for top in told.top_logprobs] == (
      told.token_logprobs
    )


def completed(server, prompt, **settings):
  settings = {'max_tokens': 4, 'temperature': 0, **settings}
  answer = server.client.completions.create(
    model='tiny', prompt=prompt, **settings
  )
  return answer.choices[0]


def test_an_echo_is_the_prompt_before_what_follows(server, vocabulary):
  ids = vocabulary.encode('{"name": 3')
  plain = completed(server, ids, logprobs=2)
  found = completed(server, ids, logprobs=2, echo=True)
  assert found.text == '{"name": 3' + plain.text
  told = found.logprobs
  assert told.token_logprobs[0] is told.top_logprobs[0] is None
  assert ''.join(told.tokens[: len(ids)]) == '{"name": 3'
  assert told.tokens[len(ids) :] == plain.logprobs.tokens
  assert told.token_logprobs[len(ids) :] == plain.logprobs.token_logprobs
  lengths = [len(token) for token in told.tokens]
  assert told.text_offset == [sum(lengths[:i]) for i in range(len(lengths))]
  assert all(len(top) <= 2 for top in told.top_logprobs[1:])
  # What was said is told of as the end of a prompt as it was when it was said.
  whole = [*ids, *vocabulary.encode(plain.text)]
  again = completed(server, whole, logprobs=2, echo=True, max_tokens=0)
  assert again.text == found.text
  if len(whole) == len(told.tokens):
    assert again.logprobs.token_logprobs[1:] == pytest.approx(
      told.token_logprobs[1:], abs=1e-4
    )


def test_an_echo_of_text_tells_of_none_of_what_opens_it(server, vocabulary):
  found = completed(server, 'days', logprobs=1, echo=True, max_tokens=0)
  ids = vocabulary.encode('days')
  assert found.text == ''.join(found.logprobs.tokens) == 'days'
  opened = completed(
    server, [vocabulary.bos_id, *ids], logprobs=1, echo=True, max_tokens=0
  )
  assert found.logprobs.token_logprobs == opened.logprobs.token_logprobs[1:]
  assert found.finish_reason == 'length'


def test_an_echo_comes_without_logprobs_and_in_streams(server):
  plain = completed(server, 'days').text
  assert completed(server, 'days', echo=True).text == 'days' + plain
  assert completed(server, 'days', max_tokens=0).text == ''
  parts = list(
    server.client.completions.create(
      model='tiny',
      prompt='days',
      max_tokens=4,
      temperature=0,
      echo=True,
      logprobs=0,
      stream=True,
    )
  )
  assert ''.join(part.choices[0].text for part in parts) == 'days' + plain
  told = [
    t
    for p in parts
    if p.choices[0].logprobs
    for t in p.choices[0].logprobs.tokens
  ]
  assert ''.join(told) == 'days' + plain
  answer = server.client.completions.create(
    model='tiny', prompt='days', max_tokens=0, echo=True, n=2
  )
  assert [choice.text for choice in answer.choices] == ['days', 'days']
  assert answer.usage.completion_tokens == 0


def test_our_own_client_can_ask_it(server, tmp_path):
  endpoint = language_model.Endpoint(
    base_url=f'{server.url}/v1',
    model='tiny',
    cache=str(tmp_path / 'cache.sqlite'),
    key_variable='',
    max_tokens=20,
  )
  with language_model.Client(endpoint) as client:
    question = language_model.Question(tuple(HELLO))
    reply = client.ask(question)
  assert reply.failure == ''
  assert reply.text == greedy(server).choices[0].message.content
  assert reply.completion_tokens == 20


def body(**changed):
  whole = {'model': 'tiny', 'messages': HELLO, 'max_tokens': 3} | changed
  return json.dumps({k: v for k, v in whole.items() if v is not None})


BROKEN_CALL = {'id': 'a', 'function': {'name': 'f', 'arguments': '{'}}
MALFORMED = [
  ('', 400, 'JSON'),
  ('{', 400, 'JSON'),
  ('[' * 90_000, 400, 'JSON'),
  (b'\xff\xfe', 400, 'JSON'),
  ('null', 400, ''),
  ('{}', 400, 'model'),
  (body(model='other'), 404, "'other'"),
  (body(messages=[]), 400, 'messages'),
  (body(messages='Hi'), 400, 'messages'),
  (body(messages=[{'role': 'judge', 'content': 'x'}]), 400, 'messages.0.role'),
  (body(messages=[{'role': 'user'}]), 400, 'content is missing'),
  (
    body(messages=[{'role': 'user', 'content': [{'type': 'image_url'}]}]),
    400,
    'messages.0.content',
  ),
  (
    body(messages=[{'role': 'assistant', 'tool_calls': [BROKEN_CALL]}]),
    400,
    'call_not_json',
  ),
  (body(messages=[{'role': 'user', 'content': 'x' * 9000}]), 400, 'tokens'),
  (body(max_tokens=0), 400, 'max_tokens'),
  (body(max_tokens=401), 400, '401'),
  (body(temperature=-1), 400, 'temperature'),
  (body(temperature='hot'), 400, 'temperature'),
  (body(top_p=0), 400, 'top_p'),
  (body(n=17), 400, 'n:'),
  (body(stop=['']), 400, 'stop'),
  (body(stop=['x'] * 17), 400, 'stop'),
  (body(stream_options={}), 400, 'stream_options'),
  (body(logit_bias={'5': 1}), 400, 'logit_bias'),
  (body(frequency_penalty=0.5), 400, 'frequency_penalty'),
  (body(top_logprobs=2), 400, 'top_logprobs goes with logprobs'),
  (body(logprobs=True, top_logprobs=21), 400, 'top_logprobs'),
  (body(tool_choice='required'), 400, 'offers none'),
  (body(tools=[{'type': 'function'}]), 400, 'tools.0.function'),
  (body(tools=TOOLS + TOOLS), 400, 'one name'),
  (
    body(
      tools=TOOLS, tool_choice={'type': 'function', 'function': {'name': 'f'}}
    ),
    400,
    "'f'",
  ),
  (
    body(
      tools=[
        {
          'type': 'function',
          'function': {'name': 'f', 'parameters': {'type': 'colour'}},
        }
      ],
      tool_choice='required',
    ),
    400,
    'colour',
  ),
  (body(response_format={'type': 'json_schema'}), 400, 'json_schema'),
  (body(watermark=True), 400, 'watermark'),
  ('"' + 'x' * 100_000 + '"', 413, '100000 bytes'),
]


def test_a_malformed_request_is_told_what_is_wrong_and_hurts_nobody(server):
  expected = greedy(server)
  for sent, status, part in MALFORMED:
    response = server.post(sent)
    assert response.status_code == status, (sent[:200], response.text)
    error = response.json()['error']
    assert part in error['message'], (sent[:200], error)
    assert error['type'] == 'invalid_request_error'
  assert server.post(body(), '/v1/nothing').status_code == 404
  assert requests.get(f'{server.url}/v1/completions').status_code == 405
  plain = {'Content-Type': 'text/plain'}
  assert server.post(body(), **plain).status_code == 415
  for sent in ({'prompt': [-1]}, {'prompt': [310]}, {'prompt': [[]]}):
    sent = json.dumps({'model': 'tiny', **sent})
    assert server.post(sent, '/v1/completions').status_code == 400
  for raw in (
    b'\0\1\2\r\n\r\n',
    b'GET / HTTP/9\r\n\r\n',
    b'POST /v1 HTTP/1.1\r',
  ):
    with socket.create_connection(('127.0.0.1', server.port)) as connection:
      connection.sendall(raw)
  assert greedy(server).choices == expected.choices
  assert server.idle()


def test_openais_client_reads_our_errors(server):
  with pytest.raises(openai.NotFoundError, match="no model 'other'"):
    server.client.chat.completions.create(model='other', messages=HELLO)
  with pytest.raises(openai.BadRequestError, match='max_tokens = 401'):
    greedy(server, max_tokens=401)


def test_who_leaves_stops_being_answered(server):
  before = server.generated()
  for stream in (False, True):
    sent = body(stream=stream, max_tokens=400, temperature=0).encode()
    head = (
      'POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n'
      f'Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n\r\n'
    ).encode()
    connections = [
      socket.create_connection(('127.0.0.1', server.port)) for _ in range(6)
    ]
    for connection in connections:
      connection.sendall(head + sent)
    server.until(lambda: server.service.running.engine.active == 4)
    for connection in connections:
      connection.close()
    server.until(server.idle)
  assert server.generated() - before < 2 * 6 * 400 / 2
  cut = head + sent[:20]
  with socket.create_connection(('127.0.0.1', server.port)) as connection:
    connection.sendall(cut)
  assert greedy(server).choices


def test_a_slow_client_is_given_up(made, vocabulary, monkeypatch):
  monkeypatch.setattr(patience, 'SECONDS', 1)
  with serving(made, vocabulary) as server:
    head = (
      b'POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n'
      b'Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{'
    )
    for dripped, answer in ((b'POST /v1', b''), (head, b'HTTP/1.1 408')):
      with socket.create_connection(('127.0.0.1', server.port)) as connection:
        connection.settimeout(10)
        connection.sendall(dripped)
        assert connection.recv(1 << 16).startswith(answer)


def test_too_many_are_told_to_come_back_and_too_long_is_ended(made, vocabulary):
  few = dataclasses.replace(LIMITS, waiting=1, seconds=0.5)
  with serving(made, vocabulary, few) as server:
    sent = body(n=6)
    response = server.post(sent)
    assert response.status_code == 429
    assert response.headers['Retry-After'] == '1'
  hurried = dataclasses.replace(LIMITS, seconds=0.01)
  with serving(made, vocabulary, hurried) as server:
    response = server.post(body(max_tokens=400, temperature=0))
    assert response.status_code == 504
    streamed = server.post(body(max_tokens=400, stream=True)).text
    assert '0.01 seconds' in streamed.splitlines()[-2]
    server.until(server.idle)


def test_a_key_is_asked_for_where_there_is_one(made, vocabulary):
  with serving(made, vocabulary, key='secret-1') as server:
    assert requests.get(f'{server.url}/health').json() == {'status': 'ok'}
    for path in ('/v1/models', '/metrics'):
      for header in ({}, {'Authorization': 'Bearer secret-2'}):
        response = requests.get(f'{server.url}{path}', headers=header)
        assert response.status_code == 401
        assert 'secret' not in response.text
    with pytest.raises(openai.AuthenticationError):
      greedy(server)
    known = server.client.with_options(api_key='secret-1')
    assert [model.id for model in known.models.list()] == ['tiny']


def test_without_a_key_only_this_machines_own_names_are_answered(server):
  for host, status in (
    ('evil.example', 403),
    ('localhost:80', 200),
    ('[::1]', 200),
    ('127.0.0.1.evil.example', 403),
    ('[', 403),
  ):
    response = requests.get(f'{server.url}/v1/models', headers={'Host': host})
    assert response.status_code == status, host


def test_metrics_count_what_was_asked_and_said(made, vocabulary):
  with serving(made, vocabulary) as server:
    answer = greedy(server)
    server.post('{')
    told = requests.get(f'{server.url}/metrics').text.splitlines()
  route = 'route="/v1/chat/completions"'
  assert f'hephaestus_requests_total{{{route},status="200"}} 1.0' in told
  assert f'hephaestus_requests_total{{{route},status="400"}} 1.0' in told
  assert 'hephaestus_completion_tokens_total 20.0' in told
  prompt = answer.usage.prompt_tokens
  assert f'hephaestus_prompt_tokens_total {prompt:.1f}' in told
  assert 'hephaestus_slots 4.0' in told
  assert 'hephaestus_active 0.0' in told


class Broken(engine.Engine):
  def step(self):
    super().step()
    raise MemoryError('no room')


def test_a_broken_engine_is_said_and_nobody_waits(vocabulary, caplog):
  running = Broken(
    tiny_model.CONFIG,
    tiny_model.parameters(),
    slots=4,
    max_length=tiny_model.LENGTH,
    vocabulary=vocabulary,
    chunk=64,
  )
  with serving(running, vocabulary) as server:
    server.until(lambda: server.service.running.failure is not None)
    assert requests.get(f'{server.url}/health').status_code == 503
    response = server.post(body())
    assert response.status_code == 500
    assert 'no room' not in response.text
  assert 'no room' in caplog.text


TAGGED = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'


@pytest.mark.parametrize(
  ('chat_format', 'parts', 'words', 'calls'),
  [
    ('chatml', ['It is', ' sunny. '], 'It is sunny.', 0),
    ('chatml', ['a <tool_box>'], 'a <tool_box>', 0),
    ('chatml', ['Hm.\n<tool_', 'call>{"na'], 'Hm.\n<tool_call>{"na', 0),
    ('hermes', ['Hm.\n', TAGGED[:5], TAGGED[5:], '!'], 'Hm.\n!', 1),
    ('mistral', ['[TOOL_', 'CALLS] [{"name": "f", "arguments": {}}]'], '', 1),
    ('llama3', ['{"na', 'me": "f", "parameters": {}}'], '', 1),
    ('llama3', ['{"no', 'ne": 1}'], '{"none": 1}', 0),
    ('react', ['Thought: x\nAction: f\nAct', 'ion Input: {}'], 'x', 1),
    ('react', ['Final Answer: ', '4'], '4', 0),
  ],
)
def test_words_come_at_once_and_calls_when_they_are_whole(
  chat_format, parts, words, calls
):
  turn = conversation.Turn(chat_format, calls=True)
  said = [turn.push(part) for part in parts]
  rest, found = turn.finish()
  assert ''.join([*said, rest]) == words
  assert [call['function']['name'] for call in found] == ['f'] * calls
  for mark in conversation.CALLS_BEGIN.get(chat_format, ()):
    assert mark not in ''.join(said)
