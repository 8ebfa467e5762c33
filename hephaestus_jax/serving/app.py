"""The OpenAI API over an engine, as an ASGI application."""

import asyncio
import contextlib
import dataclasses
import json
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from starlette import applications, exceptions, requests, responses, routing

from hephaestus_jax import tokenizer
from hephaestus_jax.decode import constraints, engine, prompts
from hephaestus_jax.serving import (
  answers,
  conversation,
  door,
  limits,
  metrics,
  protocol,
  worker,
)

COMPLETION_TOKENS = 16  # of a completion request that doesn't say, as OpenAI's
GRACE = 5  # seconds that a stream's last words have to get through
Reply = answers.ChatReply | answers.TextReply


@dataclasses.dataclass(frozen=True)
class Service:
  """What answers requests.

  Attributes:
    name: what the API calls the model.
    running: the engine's thread.
    vocabulary: the model's.
    chat_format: of the model's conversations, see `chat.FORMATS`.
    grammars: None where llguidance is not installed.
  """

  name: str
  running: worker.Worker
  vocabulary: tokenizer.Tokenizer
  chat_format: str
  grammars: constraints.Grammars | None
  limits: limits.Limits
  counts: metrics.Metrics

  async def chat(self, http: requests.Request) -> responses.Response:
    """POST /v1/chat/completions."""
    body = await self._body(http)
    asked = protocol.read(protocol.ChatRequest, body)
    # Vocabulary and grammar take a while; the others' streams must not wait.
    given = await asyncio.to_thread(self._chat_requests, asked)
    return await self._answered(http, asked, given, answers.ChatReply)

  async def complete(self, http: requests.Request) -> responses.Response:
    """POST /v1/completions."""
    body = await self._body(http)
    asked = protocol.read(protocol.CompletionRequest, body)
    given = await asyncio.to_thread(self._text_requests, asked)
    return await self._answered(http, asked, given, answers.TextReply)

  async def models(self, http: requests.Request) -> responses.Response:
    """GET /v1/models."""
    model = {'id': self.name, 'object': 'model', 'owned_by': 'hephaestus'}
    data = [model | {'created': 0}]
    return responses.JSONResponse({'object': 'list', 'data': data})

  async def health(self, http: requests.Request) -> responses.Response:
    """GET /health: 200 while answers can be given."""
    broken = self.running.failure is not None
    said = {'status': 'broken' if broken else 'ok'}
    return responses.JSONResponse(said, 503 if broken else 200)

  async def told(self, http: requests.Request) -> responses.Response:
    """GET /metrics."""
    headers = {'Content-Type': metrics.CONTENT_TYPE}
    return responses.Response(self.counts.text(), headers=headers)

  async def _body(self, http: requests.Request) -> bytes:
    """The request's body.

    Raises:
      protocol.RefusedError: it is no JSON, too large or too slow.
    """
    kind = http.headers.get('content-type', '').partition(';')[0].strip()
    if kind.lower() != 'application/json':
      # Also what keeps out forms of pages in a browser here.
      raise protocol.RefusedError(415, 'Content-Type must be application/json')
    body = bytearray()
    try:
      async with asyncio.timeout(self.limits.body_seconds):
        async for part in http.stream():
          body += part
          if len(body) > self.limits.body_bytes:
            raise protocol.RefusedError(
              413, f'the body has more than {self.limits.body_bytes} bytes'
            )
    except TimeoutError:
      raise protocol.RefusedError(
        408, f'the body took more than {self.limits.body_seconds:g} seconds'
      ) from None
    return bytes(body)

  def _check(self, asked: protocol.Sampled, count: int) -> None:
    if asked.model != self.name:
      raise protocol.RefusedError(
        404,
        f'there is no model {asked.model!r}; this is {self.name!r}',
        param='model',
        code='model_not_found',
      )
    if self.running.failure is not None:
      raise _broken()
    waiting = self.running.engine.waiting + count
    if waiting > self.running.engine.slots + self.limits.waiting:
      raise protocol.RefusedError(
        429, f'{self.limits.waiting} answers wait already; ask again later'
      )

  def _tokens(self, asked: int | None, param: str) -> int:
    if asked is not None and asked > self.limits.tokens:
      raise protocol.RefusedError(
        400,
        f'{param} = {asked}; this server gives {self.limits.tokens} at most',
        param=param,
      )
    return self.limits.tokens if asked is None else asked

  def _fitting(self, prompt: list[int], param: str) -> tuple[int, ...]:
    longest = self.running.engine.max_length - 1
    if not prompt:
      raise protocol.RefusedError(400, f'{param} is empty', param=param)
    if len(prompt) > longest:
      raise protocol.RefusedError(
        400,
        f'{param} has {len(prompt)} tokens; this server reads {longest}',
        param=param,
        code='context_length_exceeded',
      )
    return tuple(prompt)

  def _chat_requests(self, asked: protocol.ChatRequest) -> list[engine.Request]:
    self._check(asked, asked.n)
    prompt = conversation.prompt(self.vocabulary, asked, self.chat_format)
    stop_ids, words = prompts.stops(self.vocabulary, self.chat_format)
    return self._requests(
      asked,
      [self._fitting(prompt, 'messages')],
      tokens=self._tokens(
        asked.max_completion_tokens or asked.max_tokens,
        'max_completion_tokens'
        if asked.max_completion_tokens
        else 'max_tokens',
      ),
      stop_ids=stop_ids,
      stop=words,
      ranked=asked.top_logprobs or 0,
      constraint=lambda: conversation.constraint(
        self.grammars, asked, self.chat_format
      ),
    )

  def _text_requests(
    self, asked: protocol.CompletionRequest
  ) -> list[engine.Request]:
    given = asked.prompts()
    self._check(asked, len(given) * asked.n)
    prompts, echoes = [], []
    told = bool(asked.echo) and asked.logprobs is not None
    for prompt in given:
      added = 0
      if isinstance(prompt, str):
        said = self.vocabulary.encode_markers(prompt)
        ids = conversation.opened(self.vocabulary, said)
        added = len(ids) - len(said)
      else:
        ids = prompt
        if not all(0 <= i < self.vocabulary.vocab_size for i in ids):
          raise protocol.RefusedError(
            400, 'prompt has a token that is none', param='prompt'
          )
      prompts.append(self._fitting(ids, 'prompt'))
      # What opens the text is none of it.
      echoes.append(added if told else None)
    return self._requests(
      asked,
      prompts,
      tokens=self._tokens(
        COMPLETION_TOKENS if asked.max_tokens is None else asked.max_tokens,
        'max_tokens',
      ),
      stop_ids=(self.vocabulary.eos_id,),
      stop=(),
      ranked=asked.logprobs or 0,
      echoes=echoes,
      constraint=lambda: None,
    )

  def _requests(
    self,
    asked: protocol.Sampled,
    prompts: Sequence[tuple[int, ...]],
    *,
    tokens: int,
    stop_ids: tuple[int, ...],
    stop: tuple[str, ...],
    ranked: int,
    constraint: Callable[[], engine.Constraint | None],
    echoes: Sequence[int | None] = (None,),
  ) -> list[engine.Request]:
    """`n` requests for each prompt."""
    seed = secrets.randbits(32) if asked.seed is None else asked.seed
    return [
      engine.Request(
        prompt,
        tokens,
        temperature=asked.temperature,
        top_p=asked.top_p,
        seed=seed + number,
        stop_ids=stop_ids,
        stop=(*asked.stops(), *stop),
        ranked=ranked,
        echo=echo,
        constraint=constraint(),
      )
      for prompt, echo in zip(prompts, echoes, strict=True)
      for number in range(asked.n)
    ]

  def _echoes(
    self, asked: protocol.ChatRequest | protocol.CompletionRequest
  ) -> list[str | None]:
    """What each answer begins with: its prompt, as it was given, or nothing."""
    if not isinstance(asked, protocol.CompletionRequest):
      return [None] * asked.n
    texts = [
      prompt if isinstance(prompt, str) else self.vocabulary.decode(prompt)
      for prompt in asked.prompts()
    ]
    return [
      text if asked.echo else None for text in texts for _ in range(asked.n)
    ]

  async def _answered(
    self,
    http: requests.Request,
    asked: protocol.ChatRequest | protocol.CompletionRequest,
    given: Sequence[engine.Request],
    kind: type[answers.ChatReply] | type[answers.TextReply],
  ) -> responses.Response:
    offered = isinstance(asked, protocol.ChatRequest) and bool(asked.offered())
    choices = [
      answers.Choice(
        self.vocabulary,
        request,
        self.chat_format,
        calls=offered,
        # 0 asks for the tokens' own: it is no False.
        told=asked.logprobs is not None and asked.logprobs is not False,
        echo=echo,
      )
      for request, echo in zip(given, self._echoes(asked), strict=True)
    ]
    prompts = sum(len(request.prompt) for request in given[:: asked.n])
    self.counts.prompt_tokens.inc(prompts)
    reply = kind(self.name, choices, prompts)
    if asked.stream:
      events = self._events(reply, given, asked.include_usage())
      return _Events(events, self.limits.seconds + GRACE)
    return await self._whole(http, reply, given)

  async def _whole(
    self,
    http: requests.Request,
    reply: Reply,
    given: Sequence[engine.Request],
  ) -> responses.Response:
    """All answers at once, if the client is still there by then."""
    parts: list[list[engine.Update]] = [[] for _ in given]

    async def gather() -> None:
      async with contextlib.aclosing(self._updates(given)) as updates:
        async for index, update in updates:
          parts[index].append(update)

    async def leave() -> None:
      while (await http.receive())['type'] != 'http.disconnect':
        pass

    done, left = asyncio.create_task(gather()), asyncio.create_task(leave())
    try:
      await asyncio.wait({done, left}, return_when=asyncio.FIRST_COMPLETED)
      if not done.done():
        raise requests.ClientDisconnect
      await done  # raises what it raised
    finally:
      for task in (done, left):
        task.cancel()
      await asyncio.gather(done, left, return_exceptions=True)
    return responses.JSONResponse(reply.whole(parts))

  async def _events(
    self, reply: Reply, given: Sequence[engine.Request], usage: bool
  ) -> AsyncGenerator[str, None]:
    """An answer as server-sent events."""
    more = {'usage': None} if usage else {}
    for piece in reply.opening():
      yield _event(piece | more)
    try:
      async with contextlib.aclosing(self._updates(given)) as updates:
        async for index, update in updates:
          for piece in reply.pieces(index, update):
            yield _event(piece | more)
    except protocol.RefusedError as refused:
      yield _event(refused.body())
      return
    if usage:
      yield _event(reply.body(reply.piece, []) | {'usage': reply.usage()})
    yield 'data: [DONE]\n\n'

  async def _updates(
    self, given: Sequence[engine.Request]
  ) -> AsyncGenerator[tuple[int, engine.Update], None]:
    """What the engine says, as long as it may take.

    Raises:
      protocol.RefusedError: it takes too long, or the engine broke.
    """
    start = time.monotonic()
    until = start + self.limits.seconds
    first = True
    async with contextlib.aclosing(self.running.answers(given)) as updates:
      while True:
        try:
          index, update = await asyncio.wait_for(
            anext(updates), until - time.monotonic()
          )
        except StopAsyncIteration:
          return
        except TimeoutError:
          raise protocol.RefusedError(
            504, f'the answer took more than {self.limits.seconds:g} seconds'
          ) from None
        if update.finish == worker.FAILED:
          raise _broken()
        if first:
          self.counts.first_token.observe(time.monotonic() - start)
          first = False
        self.counts.completion_tokens.inc(update.token is not None)
        yield index, update


class _Events(responses.StreamingResponse):
  """A stream that is cut off when its reader takes too long."""

  def __init__(self, events: AsyncGenerator[str, None], seconds: float) -> None:
    super().__init__(
      events,
      media_type='text/event-stream',
      headers={'Cache-Control': 'no-cache', 'X-Accel-Buffering': 'no'},
    )
    self._events = events
    self._seconds = seconds

  async def __call__(
    self, scope: door.Scope, receive: door.Receive, send: door.Send
  ) -> None:
    try:
      with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(self._seconds):
          await super().__call__(scope, receive, send)
    finally:
      await self._events.aclose()


def _event(value: Any) -> str:
  return f'data: {json.dumps(value, ensure_ascii=False)}\n\n'


def _broken() -> protocol.RefusedError:
  return protocol.RefusedError(500, 'the engine broke; see the log')


def _refuse(http: requests.Request, error: Exception) -> responses.Response:
  match error:
    case protocol.RefusedError():
      return door.error(error)
    case exceptions.HTTPException():
      refused = protocol.RefusedError(error.status_code, error.detail)
      return door.error(refused)
    case requests.ClientDisconnect():
      return responses.Response(status_code=499)  # nobody reads it
    case _:
      return door.error(protocol.RefusedError(500, 'an error of the server'))


def application(service: Service, key: str | None) -> door.App:
  """The API.

  Args:
    key: what requests must bring; None: they must come from this machine.
  """
  app = applications.Starlette(
    routes=[
      routing.Route('/v1/chat/completions', service.chat, methods=['POST']),
      routing.Route('/v1/completions', service.complete, methods=['POST']),
      routing.Route('/v1/models', service.models),
      routing.Route('/health', service.health),
      routing.Route('/metrics', service.told),
    ],
    exception_handlers={
      protocol.RefusedError: _refuse,
      exceptions.HTTPException: _refuse,
      requests.ClientDisconnect: _refuse,
      Exception: _refuse,
    },
  )
  return door.Door(app, key, service.counts)
