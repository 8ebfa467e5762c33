"""A web site on loopback with a few hundred pages and every trap we know.

The site itself is at 127.0.0.2. What a crawl must never ask for stands at
127.0.0.1, whose server counts who comes. At 127.0.0.3, robots.txt is broken; at
127.0.0.4 the server hangs up when it is asked for.
"""

import collections
import contextlib
import gzip
import http.server
import string
import threading
import time
from collections.abc import Iterator

SITE, PRIVATE = '127.0.0.2', '127.0.0.1'
BROKEN, SILENT = '127.0.0.3', '127.0.0.4'
SECTIONS = [f'section-{a}{b}' for a in 'abcde' for b in string.ascii_lowercase]
ARTICLES = [f'{a}{b}' for a in 'xy' for b in string.ascii_lowercase]
ROBOTS = 'User-agent: *\nDisallow: /docs/forbidden\n'
PAGE_BYTES, PAGE_SECONDS = 300_000, 3.0


def prose(name: str) -> str:
  """Enough words for a page, different for each name."""
  return ''.join(
    f'<p>The {name} endpoint takes {word} and returns a list of {word}s, which '
    f'the caller reads page by page until {name} has no more of them.</p>'
    for word in ('tea', 'pot', 'cup')
  )


def html(name: str, body: str = '', head: str = '') -> str:
  """A page with a title, prose and more."""
  return (
    f'<html><head><title>{name}</title>{head}</head><body><main>'
    f'<h1>{name}</h1>{prose(name)}{body}</main></body></html>'
  )


def anchors(*links: str) -> str:
  """Links as HTML."""
  return ''.join(f'<a href="{link}">more</a> ' for link in links)


class Site:
  """Answers requests; keeps how often each path was asked for."""

  def __init__(self, port: int) -> None:
    self.port = port
    self.hits: collections.Counter[str] = collections.Counter()
    self.pause = 0.0
    self.pages = self._pages()

  @property
  def seed(self) -> str:
    return f'http://{SITE}:{self.port}/start'

  def _pages(self) -> dict[str, str]:
    port = self.port
    traps = (
      *(
        'cut',
        'reset',
        'slow',
        'huge',
        'huge-length',
        'bomb',
        'error',
        'flaky',
      ),
      *('forbidden', 'moved', 'circle', 'to-private', 'to-file', 'gone'),
      *('latin', 'mislabelled', 'utf16', 'bogus', 'binary', 'image', 'untyped'),
      *('noindex', 'nofollow', 'copy-one', 'copy-two', 'tiny', 'plain', 'calm'),
      *('loop/loop/loop', 'file.zip', 'deep'),
    )
    elsewhere = (
      f'http://{PRIVATE}:{port}/docs/secret',
      f'http://localhost:{port}/docs/secret',
      f'http://[::ffff:127.0.0.1]:{port}/docs/secret',
      f'http://2130706433:{port}/docs/secret',
      f'http://{BROKEN}:{port}/docs/any',
      f'http://{SILENT}:{port}/docs/any',
      'http://no-such-host.invalid/docs',
      *('mailto:docs@a.com', 'javascript:docs()', 'http://[docs', '/prices'),
      'http://user:docs@a.com/',
    )
    pages = {
      '/start': html(
        'start',
        anchors(*(f'/docs/{name}' for name in (*SECTIONS, *traps)))
        + anchors(*elsewhere)
        + anchors(*(f'/docs/guide?sid={i}' for i in range(20)))
        + anchors(*(f'/docs/calendar?month={i}' for i in range(200))),
      ),
      '/docs/guide': html('guide'),
      '/docs/nofollow': html(
        'nofollow',
        anchors('/docs/never'),
        '<meta name="Robots" content="nofollow">',
      ),
      '/docs/noindex': html(
        'noindex',
        anchors('/docs/calm'),
        '<meta name="robots" content="noindex">',
      ),
      '/docs/copy-one': html('copy'),
      '/docs/copy-two': html('copy'),
      '/docs/calm': html('calm'),
      '/docs/tiny': '<html><body><p>Tiny.</p></body></html>',
      '/docs/deep': html('deep', '<div>' * 3_000 + 'deep' + '</div>' * 3_000),
      **{f'/docs/{name}': html(name) for name in ARTICLES},
      # Level 3 links to level 4, which nobody fetches.
      **{
        f'/docs/{section}/{name}': html(
          f'{section} {name}', anchors(f'/docs/{section}/{name}/level-four')
        )
        for section in SECTIONS[:4]
        for name in ARTICLES[:40]
      },
    }
    for i, section in enumerate(SECTIONS):
      inner = [f'/docs/{section}/{name}' for name in ARTICLES[:40]]
      pages[f'/docs/{section}'] = html(
        section,
        anchors('/start', *(inner if i < 4 else [f'/docs/{ARTICLES[i % 52]}'])),
      )
    return pages

  def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
    """Answers one request."""
    path = request.path.split('?')[0]
    host = request.connection.getsockname()[0]
    self.hits[f'{host}{path}'] += 1
    time.sleep(self.pause)
    if path == '/robots.txt' and host == SILENT:
      request.close_connection = True
    elif path == '/robots.txt':
      broken = host == BROKEN
      _send(request, ROBOTS.encode(), 'text/plain', 500 if broken else 200)
    elif path.startswith('/docs/calendar'):
      _send(request, html(request.path).encode())
    elif path in self.pages:
      _send(request, self.pages[path].encode(), 'text/html; charset=utf-8')
    else:
      trap = getattr(self, path.removeprefix('/docs/').replace('-', '_'), None)
      if callable(trap) and path.startswith('/docs/'):
        trap(request)
      else:
        _send(request, b'<p>No such page.</p>', status=404)

  def moved(self, request: http.server.BaseHTTPRequestHandler) -> None:
    _redirect(request, '/docs/guide')

  def circle(self, request: http.server.BaseHTTPRequestHandler) -> None:
    _redirect(request, '/docs/circle')

  def to_private(self, request: http.server.BaseHTTPRequestHandler) -> None:
    _redirect(request, f'http://{PRIVATE}:{self.port}/docs/secret')

  def to_file(self, request: http.server.BaseHTTPRequestHandler) -> None:
    _redirect(request, 'file:///etc/hostname')

  def cut(self, request: http.server.BaseHTTPRequestHandler) -> None:
    _head(request, {'Content-Type': 'text/html', 'Content-Length': '9999'})
    request.wfile.write(b'<p>Half a p')
    request.close_connection = True

  def reset(self, request: http.server.BaseHTTPRequestHandler) -> None:
    request.close_connection = True

  def slow(self, request: http.server.BaseHTTPRequestHandler) -> None:
    _head(request, {'Content-Type': 'text/html'})
    with contextlib.suppress(OSError):
      for _ in range(40):
        request.wfile.write(b'<p>slow</p>')
        time.sleep(0.2)
    request.close_connection = True

  def huge(self, request: http.server.BaseHTTPRequestHandler) -> None:
    _head(request, {'Content-Type': 'text/html'})
    with contextlib.suppress(OSError):
      for _ in range(200):
        request.wfile.write(b'<p>huge</p>' * 1_000)
    request.close_connection = True

  def huge_length(self, request: http.server.BaseHTTPRequestHandler) -> None:
    length = str(50_000_000_000)
    _head(request, {'Content-Type': 'text/html', 'Content-Length': length})
    request.close_connection = True

  def bomb(self, request: http.server.BaseHTTPRequestHandler) -> None:
    packed = gzip.compress(b'<p>bomb</p>' * 1_000_000)
    assert len(packed) < PAGE_BYTES
    _send(request, packed, extra={'Content-Encoding': 'gzip'})

  def error(self, request: http.server.BaseHTTPRequestHandler) -> None:
    _send(request, b'<p>Out of tea.</p>', status=500)

  def flaky(self, request: http.server.BaseHTTPRequestHandler) -> None:
    first = self.hits[f'{SITE}/docs/flaky'] == 1
    _send(request, html('flaky').encode(), status=503 if first else 200)

  def latin(self, request: http.server.BaseHTTPRequestHandler) -> None:
    page = html('café').encode('latin-1')
    _send(request, page, 'text/html; charset=iso-8859-1')

  def mislabelled(self, request: http.server.BaseHTTPRequestHandler) -> None:
    page = html('éèêë' * 20).encode('latin-1')
    _send(request, page, 'text/html; charset=utf-8')

  def utf16(self, request: http.server.BaseHTTPRequestHandler) -> None:
    _send(request, html('Tee für zwei').encode('utf-16'))

  def bogus(self, request: http.server.BaseHTTPRequestHandler) -> None:
    _send(request, html('bogus').encode(), 'text/html; charset=klingon')

  def binary(self, request: http.server.BaseHTTPRequestHandler) -> None:
    _send(request, b'<html>' + bytes(range(256)) * 40)

  def image(self, request: http.server.BaseHTTPRequestHandler) -> None:
    _send(request, b'\x89PNG' * 100, 'image/png')

  def untyped(self, request: http.server.BaseHTTPRequestHandler) -> None:
    _send(request, html('untyped').encode(), '')

  def plain(self, request: http.server.BaseHTTPRequestHandler) -> None:
    words = '# Plain\n\n' + 'The plain guide says how to pour.\n' * 20
    _send(request, words.encode(), 'text/markdown')


def _head(
  request: http.server.BaseHTTPRequestHandler,
  headers: dict[str, str],
  status: int = 200,
) -> None:
  request.send_response(status)
  for name, value in headers.items():
    request.send_header(name, value)
  request.end_headers()


def _send(
  request: http.server.BaseHTTPRequestHandler,
  body: bytes,
  kind: str = 'text/html',
  status: int = 200,
  extra: dict[str, str] | None = None,
) -> None:
  headers = {'Content-Type': kind} if kind else {}
  _head(
    request,
    {**headers, 'Content-Length': str(len(body)), **(extra or {})},
    status,
  )
  request.wfile.write(body)


def _redirect(
  request: http.server.BaseHTTPRequestHandler, location: str
) -> None:
  _head(request, {'Location': location, 'Content-Length': '0'}, 302)


@contextlib.contextmanager
def served() -> Iterator[Site]:
  """The site, on one port of all four addresses."""
  site: Site

  class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self) -> None:
      with contextlib.suppress(ConnectionError):
        site.answer(self)

    def log_message(self, *_: object) -> None:
      pass

  class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
      """Connections that the crawler or its killer cut."""

  first = Server((SITE, 0), Handler)
  port = first.server_address[1]
  servers = [
    first,
    *(Server((host, port), Handler) for host in (PRIVATE, BROKEN, SILENT)),
  ]
  site = Site(port)
  for server in servers:
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
  try:
    yield site
  finally:
    for server in servers:
      server.shutdown()
      server.server_close()
