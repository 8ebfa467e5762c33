"""An OpenAI-compatible endpoint on loopback that plays what a test wrote.

The client under test is the real one, and so are the sockets.
"""

import contextlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

# What to do with a request's body: say a text, or do something else to the
# handler (cut it, drip, send rubbish) and return None.
Play = Callable[[dict[str, Any], 'Handler'], str | None]


class Handler(http.server.BaseHTTPRequestHandler):
  server: 'Server'
  protocol_version = 'HTTP/1.1'

  def do_POST(self) -> None:
    length = int(self.headers['Content-Length'])
    body = json.loads(self.rfile.read(length))
    with self.server.lock:
      self.server.seen.append(
        {'path': self.path, 'headers': dict(self.headers), 'body': body}
      )
      self.server.under_way += 1
      self.server.most = max(self.server.most, self.server.under_way)
    try:
      said = self.server.play(body, self)
    finally:
      with self.server.lock:
        self.server.under_way -= 1
    if said is not None:
      self.send(200, completion(said))

  def send(self, status: int, content: Any = None, headers: tuple = ()) -> None:
    """A whole response; bytes as they are, anything else as JSON."""
    data = (
      content if isinstance(content, bytes) else json.dumps(content).encode()
    )
    self.send_response(status)
    for name, value in headers:
      self.send_header(name, value)
    self.send_header('Content-Length', str(len(data)))
    self.end_headers()
    self.wfile.write(data)

  def log_message(self, format: str, *arguments: Any) -> None:
    pass


class Server(http.server.ThreadingHTTPServer):
  """Attributes: `seen`, each request; `most`, requests at once at the peak."""

  daemon_threads = True

  def __init__(self, play: Play) -> None:
    self.play = play
    self.seen: list[dict[str, Any]] = []
    self.under_way = self.most = 0
    self.lock = threading.Lock()
    super().__init__(('127.0.0.1', 0), Handler)

  @property
  def url(self) -> str:
    return f'http://127.0.0.1:{self.server_port}/v1'

  def handle_error(self, request: Any, client_address: Any) -> None:
    pass  # the client has gone: some tests are about that


def completion(
  text: str | None, finish: str = 'stop', **message: Any
) -> dict[str, Any]:
  """The body of a good response."""
  return {
    'choices': [
      {
        'message': {'role': 'assistant', 'content': text, **message},
        'finish_reason': finish,
      }
    ],
    'usage': {'prompt_tokens': 10, 'completion_tokens': 5},
  }


@contextlib.contextmanager
def serving(play: Play) -> Iterator[Server]:
  """A server that answers with `play` until the end of the context."""
  with Server(play) as server:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
      yield server
    finally:
      server.shutdown()
      thread.join()
