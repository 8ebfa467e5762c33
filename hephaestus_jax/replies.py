"""Answers of an OpenAI-compatible endpoint: read, judged and kept.

Whatever a server sends is data: `parse` gives an answer or one of FAILURES,
and raises nothing.
"""

import dataclasses
import datetime
import email.utils
import json
import pathlib
import sqlite3
import threading
from collections.abc import Mapping
from typing import Any

from hephaestus_jax import errors

# What became of a question without a usable answer. The first is the model's
# decision and final; the others are the server's: a new run asks again.
REFUSED = 'refused'
REJECTED = 'request_rejected'  # HTTP 4xx: too long, for example
UNAVAILABLE = 'endpoint_unavailable'  # HTTP 429 and 5xx, every time
TIMED_OUT = 'endpoint_timed_out'
LOST = 'connection_lost'
NOT_JSON = 'reply_not_json'
WRONG_SCHEMA = 'reply_without_schema'
TOO_LARGE = 'reply_too_large'

FAILURES = (
  *(REFUSED, REJECTED, UNAVAILABLE, TIMED_OUT, LOST),
  *(NOT_JSON, WRONG_SCHEMA, TOO_LARGE),
)
FINAL = ('', REFUSED)
# An answer that didn't arrive may have been billed: it counts at its highest.
PERHAPS_BILLED = (TIMED_OUT, LOST, NOT_JSON, WRONG_SCHEMA, TOO_LARGE)
PASSING = (408, 409, 425, 429)  # HTTP codes after which to ask again


@dataclasses.dataclass(frozen=True)
class Reply:
  """What came back.

  Attributes:
    text: the answer; '' after a failure.
    finish: the endpoint's word for why it ended: 'stop', or 'length' where
      max_tokens cut it.
    prompt_tokens, completion_tokens: as the endpoint counts them. Where it
      doesn't, the number of bytes: a token has one at least.
    failure: '', or one of the reasons above.
  """

  text: str
  finish: str = ''
  prompt_tokens: int = 0
  completion_tokens: int = 0
  failure: str = ''


class Cache:
  """Answers by the hash of their questions, in one SQLite file.

  SQLite's journal makes an entry whole or absent, whenever the process dies.
  """

  def __init__(self, path: pathlib.Path) -> None:
    self._lock = threading.Lock()
    try:
      path.parent.mkdir(parents=True, exist_ok=True)
      self._file = sqlite3.connect(
        path, timeout=60, isolation_level=None, check_same_thread=False
      )
      self._file.execute(
        'create table if not exists replies '
        '(key text primary key, request text, reply text)'
      )
    except (OSError, sqlite3.DatabaseError) as error:
      raise errors.UserError(
        f'{path} is no cache of answers ({error}). Delete it, or name another.'
      ) from error

  def get(self, key: str) -> Reply | None:
    """The answer under `key`; None where there is none."""
    with self._lock:
      rows = self._file.execute(
        'select reply from replies where key = ?', [key]
      )
      row = rows.fetchone()
    return Reply(**json.loads(row[0])) if row else None

  def put(self, key: str, request: str, reply: Reply) -> None:
    """Keeps an answer, and the request for a person to look at."""
    row = [key, request, canonical(dataclasses.asdict(reply))]
    with self._lock:
      self._file.execute('insert or ignore into replies values (?, ?, ?)', row)

  def close(self) -> None:
    """Closes the file."""
    with self._lock:
      self._file.close()


def parse(received: bytes, prompt_bytes: int) -> Reply:
  """The body of an HTTP 200 as a Reply; whatever it holds, no exception.

  >>> parse(b'{"choices": [{"message": {"content": "Hi."}, '
  ...       b'"finish_reason": "stop"}], '
  ...       b'"usage": {"prompt_tokens": 9, "completion_tokens": 2}}', 30)
  Reply(text='Hi.', finish='stop', prompt_tokens=9, completion_tokens=2,
        failure='')
  """
  try:
    found = json.loads(received)
  except (ValueError, RecursionError):
    return failed(NOT_JSON)
  try:
    choice = found['choices'][0]
    message = choice['message']
    content = message.get('content')
    refusal = message.get('refusal')
    finish = choice.get('finish_reason')
    usage = found.get('usage')
  except (AttributeError, IndexError, KeyError, TypeError):
    return failed(WRONG_SCHEMA)
  if not all(isinstance(v, str | None) for v in (content, refusal, finish)):
    return failed(WRONG_SCHEMA)
  # Half of a surrogate pair is legal JSON and no text that could be stored.
  text = (content or '').encode('utf-16', 'surrogatepass')
  text = text.decode('utf-16', 'replace')
  prompt, completion = prompt_bytes, len(text.encode())
  match usage:
    case {'prompt_tokens': int(sent), 'completion_tokens': int(made)}:
      if sent >= 0 and made >= 0:
        prompt, completion = sent, made
  if refusal or finish == 'content_filter':
    return Reply('', finish or '', prompt, completion, REFUSED)
  return Reply(text, finish or '', prompt, completion)


def retry_after(headers: Mapping[str, str]) -> float:
  """Seconds that a response's Retry-After asks for; 0.0 where it doesn't.

  >>> retry_after({'Retry-After': '7'}), retry_after({'Retry-After': 'soon'})
  (7.0, 0.0)
  """
  value = headers.get('Retry-After', '').strip()
  if value.isascii() and value.isdigit():
    return float(value[:9])
  try:
    then = email.utils.parsedate_to_datetime(value)
  except ValueError:
    return 0.0
  if then.tzinfo is None:
    then = then.replace(tzinfo=datetime.UTC)
  return max(0.0, (then - datetime.datetime.now(datetime.UTC)).total_seconds())


def failed(failure: str) -> Reply:
  """The Reply that says why there is none."""
  return Reply('', failure=failure)


def canonical(value: Any) -> str:
  """Equal JSON values as equal text."""
  return json.dumps(value, sort_keys=True)
