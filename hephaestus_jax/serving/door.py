"""Who may come in, and what is counted of each request: ASGI around the app.

Without a key only this machine may ask, and only by its own name: a page in a
browser here must not reach the server by a name of its own that points here.
"""

import hmac
import time
import urllib.parse
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette import responses

from hephaestus_jax.serving import metrics, protocol

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ('127.0.0.1', '::1', 'localhost')
OPEN = ('/health',)  # what needs no key
ROUTES = (
  *('/health', '/metrics', '/v1/models'),
  *('/v1/chat/completions', '/v1/completions'),
)


class Door:
  """Lets requests through, or says why not."""

  def __init__(
    self, app: App, key: str | None, counts: metrics.Metrics
  ) -> None:
    self._app = app
    self._key = None if key is None else key.encode()
    self._counts = counts

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    """One request, as ASGI hands it over."""
    if scope['type'] != 'http':
      await self._app(scope, receive, send)
      return
    route = scope['path'] if scope['path'] in ROUTES else 'other'
    start, status = time.monotonic(), 0

    async def counted(message: MutableMapping[str, Any]) -> None:
      nonlocal status
      if message['type'] == 'http.response.start':
        status = message['status']
      await send(message)

    app = self._refusal(scope) or self._app
    try:
      await app(scope, receive, counted)
    finally:
      self._counts.requests.labels(route, str(status)).inc()
      self._counts.seconds.labels(route).observe(time.monotonic() - start)

  def _refusal(self, scope: Scope) -> App | None:
    headers = dict(scope['headers'])  # the last of each name
    if self._key is None:
      host = headers.get(b'host', b'').decode('latin-1')
      if _hostname(host) not in LOOPBACK:
        return error(protocol.RefusedError(403, 'ask by the name 127.0.0.1'))
      return None
    if scope['path'] in OPEN:
      return None
    kind, _, given = headers.get(b'authorization', b'').partition(b' ')
    if kind.lower() == b'bearer' and hmac.compare_digest(given, self._key):
      return None
    return error(
      protocol.RefusedError(
        401,
        'the header Authorization must hold "Bearer " and the key',
        code='invalid_api_key',
      )
    )


def _hostname(host: str) -> str | None:
  try:
    return urllib.parse.urlsplit(f'//{host}').hostname
  except ValueError:
    return None


def error(refused: protocol.RefusedError) -> responses.JSONResponse:
  """The answer to a request that is refused; it ends the connection.

  What is left of the request's body is not waited for.
  """
  headers = {'Connection': 'close'}
  if refused.status == 401:
    headers['WWW-Authenticate'] = 'Bearer'
  if refused.status == 429:
    headers['Retry-After'] = '1'
  return responses.JSONResponse(refused.body(), refused.status, headers)
