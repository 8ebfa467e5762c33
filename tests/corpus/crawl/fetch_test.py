"""What an answer holds, and what stands for none; the site's test has more."""

from typing import Any

import pytest
from scrapy import exceptions, http

from hephaestus_jax.corpus.crawl import fetch

URL = 'http://a.com/docs'
WORDS = 'The kettle boils water for tea and whistles when it is done. ' * 5


def answer(
  body: str | bytes, kind: str = 'text/html', status: int = 200, **headers: str
) -> Any:
  content = body.encode() if isinstance(body, str) else body
  named = {'Content-Type': kind, **headers}
  made = http.HtmlResponse if 'html' in kind else http.TextResponse
  return made(URL, status, named, content)


def read(*args: Any, **kwargs: Any) -> fetch.Outcome:
  return fetch.read(URL, answer(*args, **kwargs), min_characters=200)


def test_a_page_gives_its_main_text_and_its_links() -> None:
  found = read(
    f'<base href="/v2/"><nav><a href="b#x">B</a></nav><main><h1>Tea</h1>'
    f'<p>{WORDS}</p><a href="http://[c">C</a> <a href=" ../d ">D</a></main>'
  )
  assert found.reason == ''
  assert found.text.startswith(f'# Tea\n\n{WORDS.strip()}')
  assert found.links == (
    'http://a.com/v2/b#x',
    'http://[c',
    'http://a.com/d',
  )


def test_main_text_is_markdown() -> None:
  page = f'<nav>Home</nav><main><h1>Tea</h1><p>{WORDS}</p></main>'
  assert fetch.main_text(page) == f'# Tea\n\n{WORDS.strip()}'


@pytest.mark.parametrize(
  ('found', 'reason'),
  [
    (answer('', status=404), 'http_4xx'),
    (answer('', status=503), 'http_5xx'),
    (answer('', status=304), 'http_3xx'),
    (answer('', status=204), 'http_other'),
    (answer('<p>Short.</p>'), 'too_short'),
    (answer('Short.', 'text/plain'), 'too_short'),
    (answer(b'<p>\0\0</p>'), 'binary'),
    (answer(b'\xe9' * 300, 'text/html; charset=utf-8'), 'bad_encoding'),
    (answer(f'<p>{WORDS}</p>', **{'X-Robots-Tag': 'noindex'}), 'noindex'),
    (answer(f'<meta name=ROBOTS content=none><p>{WORDS}'), 'noindex'),
    (http.Response(URL, 200, {}, b'\x89PNG'), 'content_type'),
  ],
)
def test_an_answer_that_is_no_page_has_a_reason(
  found: Any, reason: str
) -> None:
  assert fetch.read(URL, found, 200).reason == reason


def test_a_page_that_says_little_still_leads_on() -> None:
  found = read('<a href="/docs/b">B</a>')
  assert (found.reason, found.links) == ('too_short', ('http://a.com/docs/b',))
  hidden = read(
    '<meta name="robots" content="nofollow"><a href="/docs/b">B</a>'
  )
  assert hidden.links == ()


@pytest.mark.parametrize('depth', [1_000, 50_000])
def test_a_deep_page_ends(depth: int) -> None:
  found = read('<div>' * depth + f'<p>{WORDS}</p>' + '</div>' * depth)
  assert found.reason in ('', 'too_short', 'not_extractable')


@pytest.mark.parametrize(
  ('error', 'reason'),
  [
    (exceptions.DownloadTimeoutError(), 'timeout'),
    (exceptions.IgnoreRequest('Forbidden by robots.txt'), 'robots_txt'),
    (exceptions.CannotResolveHostError(), 'unknown_host'),
    (exceptions.DownloadConnectionRefusedError(), 'connection_refused'),
    (ValueError('a header that is none'), 'bad_response'),
  ],
)
def test_no_answer_has_a_reason(error: BaseException, reason: str) -> None:
  assert fetch.no_answer(error) == reason
