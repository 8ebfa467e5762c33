"""A client for any endpoint that speaks the OpenAI chat completions protocol.

A run asks thousands of questions and may be killed after any of them, so each
answer is kept on disk under the content of its question: started again, a run
pays for nothing twice and reads the same words. Requests and tokens per minute,
how many are under way at once and what all of it may cost are limits; the key
comes from the environment and goes nowhere but into the request's header.

`requests` carries the bytes (TensorFlow Datasets needs it anyway). The vendor's
own package would bring a second HTTP stack, and retries whose waiting and
counting can't be seen from here.
"""

import collections
import concurrent.futures
import dataclasses
import hashlib
import os
import pathlib
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, TypeVar

import requests
import urllib3

from hephaestus_jax import errors, replies

MAX_REPLY_BYTES = 16 << 20
LONGEST_WAIT = 600  # seconds; a server that asks for more is not available
# HTTP codes that are the user's to mend: no key, no money, no such model.
_REFUSALS = {
  401: 'does not accept the key',
  402: 'wants to be paid first',
  403: 'does not let this key ask',
  404: 'has no such address or model',
}

T = TypeVar('T')
Message = Mapping[str, str]  # {'role': 'user', 'content': 'Hi.'}


@dataclasses.dataclass(frozen=True)
class Endpoint:
  """Where a model answers, how it is asked, and what that may cost.

  Attributes:
    base_url: what '/chat/completions' is added to, as in
      'http://127.0.0.1:8000/v1'; None where there is no endpoint.
    model: the name that the endpoint knows it by.
    cache: the file that keeps the answers.
    key_variable: environment variable that holds the key; '' sends none.
    temperature: 0.0 is greedy, as in the paper.
    max_tokens: of one answer.
    concurrency: requests under way at once.
    requests_per_minute, tokens_per_minute: the endpoint's limits; None: none.
    attempts: how often a question is sent before it counts as unanswered.
    first_wait: seconds before the second attempt; doubled for each further one.
    timeout: seconds for one whole answer.
    failures_in_a_row: so many questions without an answer stop the run.
    prompt_price, completion_price: US dollars for a million tokens.
    maximal_spend: US dollars at which the run stops; None: no limit. Answers
      that were kept count at what they cost when they were made.
  """

  base_url: str | None
  model: str = ''
  cache: str = 'language_model.sqlite'
  key_variable: str = 'OPENAI_API_KEY'
  temperature: float = 0.0
  max_tokens: int = 1_024
  concurrency: int = 8
  requests_per_minute: float | None = None
  tokens_per_minute: float | None = None
  attempts: int = 6
  first_wait: float = 1.0
  timeout: float = 120.0
  failures_in_a_row: int = 20
  prompt_price: float = 0.0
  completion_price: float = 0.0
  maximal_spend: float | None = None

  def identity(self) -> dict[str, Any]:
    """What the answers depend on: not how fast or at what price they come."""
    return {
      'base_url': self.base_url,
      'model': self.model,
      'temperature': self.temperature,
      'max_tokens': self.max_tokens,
    }


@dataclasses.dataclass(frozen=True)
class Question:
  """What is asked.

  Attributes:
    messages: the conversation so far.
    stop: strings that end the answer and don't belong to it.
    sample: asks the same once more where it differs; part of the content that
      answers are kept by, and of the request as its `seed`.
  """

  messages: tuple[Message, ...]
  stop: tuple[str, ...] = ()
  sample: int = 0


class Client:
  """Asks an endpoint. To be used as a context; any thread may ask."""

  def __init__(self, endpoint: Endpoint) -> None:
    """Opens the cache.

    Raises:
      errors.UserError: the endpoint lacks something, its key's variable isn't
        set, or the cache is no such file.
    """
    _check(endpoint)
    self._endpoint = endpoint
    self._url = f'{str(endpoint.base_url).rstrip("/")}/chat/completions'
    self._authenticate = _authentication(endpoint.key_variable)
    self._cache = replies.Cache(pathlib.Path(endpoint.cache))
    self._sessions = threading.local()
    self._requests = _Pace(endpoint.requests_per_minute)
    self._tokens = _Pace(endpoint.tokens_per_minute)
    self._lock = threading.Lock()
    self._under_way: dict[str, concurrent.futures.Future[replies.Reply]] = {}
    self._counted: set[bytes] = set()
    self._counts: collections.Counter[str] = collections.Counter()
    self._reserved = 0.0
    self._lost = 0.0
    self._in_a_row = 0

  def __enter__(self) -> 'Client':
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    self._cache.close()

  def ask(self, question: Question) -> replies.Reply:
    """The answer, from the cache or from the endpoint.

    Raises:
      errors.UserError: the endpoint refuses the key or knows no such model, too
        many questions in a row got no answer, or the money is spent.
    """
    body = self._body(question)
    key = hashlib.sha256(
      f'{self._url}\n{replies.canonical(body)}'.encode()
    ).hexdigest()
    with self._lock:
      future = self._under_way.get(key)
      if mine := future is None:
        future = self._under_way[key] = concurrent.futures.Future()
    if not mine:  # another thread asks the same: one is enough
      return future.result()
    try:
      reply = self._cache.get(key)
      if reply is None:
        reply = self._send(key, body)
        if reply.failure in replies.FINAL:
          self._cache.put(key, replies.canonical(body), reply)
      self._count(key, reply)
    except BaseException as error:
      future.set_exception(error)
      raise
    else:
      future.set_result(reply)
      return reply
    finally:
      with self._lock:
        del self._under_way[key]

  def ask_all(
    self, pairs: Iterable[tuple[T, Question | None]]
  ) -> Iterator[tuple[T, replies.Reply | None]]:
    """(thing, question about it) -> (thing, answer), some asked at once.

    The order stays, and what comes without a question goes without an answer.
    """
    size = self._endpoint.concurrency
    waiting: collections.deque[
      tuple[T, concurrent.futures.Future[replies.Reply] | None]
    ] = collections.deque()

    def first() -> tuple[T, replies.Reply | None]:
      thing, answer = waiting.popleft()
      return thing, None if answer is None else answer.result()

    with concurrent.futures.ThreadPoolExecutor(size) as pool:
      try:
        for thing, question in pairs:
          asked = pool.submit(self.ask, question) if question else None
          waiting.append((thing, asked))
          if len(waiting) > 2 * size:
            yield first()
        while waiting:
          yield first()
      finally:
        pool.shutdown(wait=False, cancel_futures=True)

  def account(self) -> dict[str, int | float]:
    """What was asked and what it cost, kept answers included.

    The same for a run that was killed and started again: everything about how
    the answers came (attempts, waiting) is left out.

    Returns:
      {'questions': 3, 'answers': 2, 'prompt_tokens': 90,
       'completion_tokens': 40, 'dollars': 0.0012}
    """
    names = ('questions', 'answers', 'prompt_tokens', 'completion_tokens')
    with self._lock:
      counts = {name: self._counts[name] for name in names}
    dollars = self._price(counts['prompt_tokens'], counts['completion_tokens'])
    return {**counts, 'dollars': round(dollars, 6)}

  def _body(self, question: Question) -> dict[str, Any]:
    body: dict[str, Any] = {
      'model': self._endpoint.model,
      'messages': [dict(message) for message in question.messages],
      'temperature': self._endpoint.temperature,
      'max_tokens': self._endpoint.max_tokens,
    }
    if question.stop:
      body['stop'] = list(question.stop)
    if question.sample:
      body['seed'] = question.sample
    return body

  def _send(self, key: str, body: Mapping[str, Any]) -> replies.Reply:
    """The endpoint's answer, or the failure of the last attempt."""
    content = replies.canonical(body).encode()
    # About three bytes a token; what is too much is given back.
    tokens = len(content) // 3 + self._endpoint.max_tokens
    highest = self._price(len(content), self._endpoint.max_tokens)
    for attempt in range(self._endpoint.attempts):
      self._reserve(highest)
      billed = highest
      try:
        self._requests.wait(1)
        self._tokens.wait(tokens)
        reply, wait = self._attempt(content)
        if reply.failure in replies.FINAL:
          self._count(key, reply)
          self._tokens.give_back(
            tokens - reply.prompt_tokens - reply.completion_tokens
          )
        if reply.failure not in replies.PERHAPS_BILLED:
          billed = 0.0
      finally:
        with self._lock:
          self._reserved -= highest
          self._lost += billed
      if reply.failure in (*replies.FINAL, replies.REJECTED, replies.TOO_LARGE):
        break
      if wait > LONGEST_WAIT or attempt + 1 == self._endpoint.attempts:
        break
      if wait:  # the endpoint's wish holds for everybody
        self._requests.hold(wait)
      else:
        # Up to a quarter more, so that threads don't all come back at once.
        spread = 1 + int(key[:2], 16) / 1024
        time.sleep(self._endpoint.first_wait * 2**attempt * spread)
    self._check_in_a_row(
      '' if reply.failure in replies.FINAL else reply.failure
    )
    return reply

  def _attempt(self, content: bytes) -> tuple[replies.Reply, float]:
    """One request: (reply or failure, seconds that the server asks to wait)."""
    until = time.monotonic() + self._endpoint.timeout
    try:
      with self._session().post(
        self._url,
        data=content,
        headers={'Content-Type': 'application/json'},
        auth=self._authenticate,
        timeout=self._endpoint.timeout,
        allow_redirects=False,  # the key is for this address alone
        stream=True,
      ) as response:
        status = response.status_code
        if status in _REFUSALS or 300 <= status < 400:
          raise errors.UserError(
            f'{self._url} {_REFUSALS.get(status, "is not where it answers")} '
            f'(HTTP {status}, model {self._endpoint.model!r}). Check the '
            'address, the model and the key in '
            f'{self._endpoint.key_variable or "no variable"}.'
          )
        if status in replies.PASSING or status >= 500:
          wait = replies.retry_after(response.headers)
          return replies.failed(replies.UNAVAILABLE), wait
        if status != 200:
          return replies.failed(replies.REJECTED), 0.0
        received = bytearray()
        # Not iter_content: it waits for whole blocks, each byte of which may
        # take the time-out, so that a server that drips would never reach it.
        while chunk := response.raw.read1(1 << 16, decode_content=True):
          received += chunk
          if len(received) > MAX_REPLY_BYTES:
            return replies.failed(replies.TOO_LARGE), 0.0
          if time.monotonic() > until:
            return replies.failed(replies.TIMED_OUT), 0.0
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError):
      late = time.monotonic() >= until
      return replies.failed(replies.TIMED_OUT if late else replies.LOST), 0.0
    return replies.parse(bytes(received), len(content)), 0.0

  def _session(self) -> requests.Session:
    if not hasattr(self._sessions, 'session'):
      self._sessions.session = requests.Session()
    return self._sessions.session

  def _check_in_a_row(self, failure: str) -> None:
    with self._lock:
      self._in_a_row = self._in_a_row + 1 if failure else 0
      stop = self._in_a_row >= self._endpoint.failures_in_a_row
    if stop:
      raise errors.UserError(
        f'{self._url} left {self._endpoint.failures_in_a_row} questions in a '
        f'row without an answer (the last: {failure}). Look at the endpoint; '
        'started again, the run goes on with the answers it has.'
      )

  def _reserve(self, price: float) -> None:
    limit = self._endpoint.maximal_spend
    with self._lock:
      under_way = self._spent() + self._reserved
      if limit is not None and under_way + price > limit:
        raise errors.UserError(
          f'The answers cost ${self._spent():.4f} so far and the next could '
          f'pass maximal_spend = ${limit:g}. Raise it: started again, the '
          'run goes on with the answers it has.'
        )
      self._reserved += price

  def _count(self, key: str, reply: replies.Reply) -> None:
    digest = bytes.fromhex(key)
    with self._lock:
      if digest in self._counted:
        return
      self._counted.add(digest)
      self._counts['questions'] += 1
      self._counts['answers'] += not reply.failure
      self._counts['prompt_tokens'] += reply.prompt_tokens
      self._counts['completion_tokens'] += reply.completion_tokens

  def _spent(self) -> float:
    return self._lost + self._price(
      self._counts['prompt_tokens'], self._counts['completion_tokens']
    )

  def _price(self, prompt_tokens: int, completion_tokens: int) -> float:
    return (
      prompt_tokens * self._endpoint.prompt_price
      + completion_tokens * self._endpoint.completion_price
    ) / 1_000_000


class _Pace:
  """Lets so many units a minute through, evenly; None lets all through."""

  def __init__(self, per_minute: float | None) -> None:
    self._seconds = 60 / per_minute if per_minute else 0.0
    self._next = time.monotonic()
    self._lock = threading.Lock()

  def wait(self, units: int) -> None:
    """Sleeps until it is these units' turn."""
    with self._lock:
      now = time.monotonic()
      start = max(now, self._next)
      self._next = start + units * self._seconds
    time.sleep(start - now)

  def give_back(self, units: int) -> None:
    """Units that `wait` was told of and that weren't used after all."""
    with self._lock:
      self._next -= units * self._seconds

  def hold(self, seconds: float) -> None:
    """Lets nothing through for so long."""
    with self._lock:
      self._next = max(self._next, time.monotonic() + seconds)


def _check(endpoint: Endpoint) -> None:
  """Refuses what can't be asked. No message repeats what may be a secret."""
  try:
    address = urllib.parse.urlsplit(endpoint.base_url or '')
  except ValueError:  # an IPv6 address without its end
    address = urllib.parse.urlsplit('')
  if address.scheme not in ('http', 'https') or not address.hostname:
    raise errors.UserError(
      f'base_url = {endpoint.base_url!r} is no endpoint. Give the address that '
      "'/chat/completions' is added to, such as http://127.0.0.1:8000/v1."
    )
  if '@' in address.netloc or address.query:
    raise errors.UserError(
      f'The base_url at {address.hostname} holds a password or a query. '
      'Put the key into an environment variable and name that.'
    )
  if not endpoint.model:
    raise errors.UserError(
      f'No model is named for {endpoint.base_url}. Name one that it serves.'
    )
  if min(endpoint.concurrency, endpoint.attempts, endpoint.max_tokens) < 1:
    raise errors.UserError(
      f'concurrency = {endpoint.concurrency}, attempts = {endpoint.attempts} '
      f'and max_tokens = {endpoint.max_tokens} must be 1 at least.'
    )
  if endpoint.maximal_spend is not None and not (
    endpoint.prompt_price or endpoint.completion_price
  ):
    raise errors.UserError(
      f'maximal_spend = {endpoint.maximal_spend:g} and no price: nothing would '
      'ever be spent. Give prompt_price and completion_price.'
    )


def _authentication(
  variable: str,
) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
  """What puts the key of an environment variable into a request.

  Always a function: without one `requests` would look for passwords in ~/.netrc
  and put those there instead.
  """
  key = os.environ.get(variable, '') if variable else ''
  if variable and not key:
    raise errors.UserError(
      f'The environment variable {variable} holds no key for the endpoint. Set '
      "it, or name another; '' is for an endpoint that wants none."
    )
  if not key.isascii() or not key.isprintable() or ' ' in key:
    raise errors.UserError(
      f'The environment variable {variable} holds characters that no key has. '
      'Set it to the key alone.'
    )

  def authenticate(
    request: requests.PreparedRequest,
  ) -> requests.PreparedRequest:
    if key:
      request.headers['Authorization'] = f'Bearer {key}'
    return request

  return authenticate
