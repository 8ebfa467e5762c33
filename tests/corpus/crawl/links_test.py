"""Which links a crawl follows."""

import hypothesis
import pytest
from hypothesis import strategies

from hephaestus_jax.corpus.crawl import links


@pytest.mark.parametrize(
  ('url', 'expected'),
  [
    (
      'HTTP://Docs.A.com:80/x/../b;jsessionid=9?b=2&sid=7&a=1#top',
      'http://docs.a.com/b?a=1&b=2',
    ),
    ('https://a.com', 'https://a.com/'),
    ('https://a.com:443/./a/', 'https://a.com/a/'),
    ('http://a.com:8080/', 'http://a.com:8080/'),
    ('http://a.com/?utm_source=x&PHPSESSID=1', 'http://a.com/'),
    ('http://a.com/../..', 'http://a.com/'),
    ('http://[::1]:80/a', 'http://[::1]/a'),
    ('http://bücher.de/ä', 'http://xn--bcher-kva.de/%C3%A4'),
    *((bad, '') for bad in ('mailto:me@a.com', 'ftp://a.com/', '/docs', '')),
    *((bad, '') for bad in ('http://', 'http://a.com:port/', 'http://[a/')),
    *((bad, '') for bad in ('HTTP://\\', 'http://a b/', 'http://a%2Fb/')),
    ('http://user:secret@a.com/', ''),
    ('javascript:docs()', ''),
  ],
)
def test_an_address_has_one_spelling(url: str, expected: str) -> None:
  assert links.canonical(url) == expected


@hypothesis.given(
  strategies.one_of(
    strategies.text(),
    strategies.text().map('http://a.com/'.__add__),
    strategies.text().map('http://'.__add__),
  )
)
def test_any_text_has_a_spelling_that_stays(url: str) -> None:
  once = links.canonical(url)
  assert links.canonical(once) == once


def test_the_domain_is_the_one_that_somebody_registered() -> None:
  hosts = ('docs.b.co.uk', 'me.github.io', '127.0.0.1:80')
  assert [links.domain(f'http://{host}/a') for host in hosts] == [
    'b.co.uk',
    'me.github.io',
    '127.0.0.1',
  ]


def test_a_pattern_has_no_numbers_and_values() -> None:
  assert (
    links.pattern('http://a.com/2031/05/events?page=12&q=x')
    == 'http://a.com/0/0/events?page&q'
  )


@pytest.mark.parametrize(
  ('url', 'reason'),
  [
    ('', 'not_a_web_address'),
    ('http://a.com/docs/x.zip', 'file_type'),
    ('http://a.com/docs/x.ZIP', 'file_type'),
    ('http://a.com/prices', 'no_keyword'),
    ('http://a.com/doc/' + 'x' * 2_000, 'long_address'),
    ('http://a.com/docs/docs/docs', 'repeating_path'),
    ('http://docs.a.com/prices', ''),
    ('http://a.com/Guide/v1.2', ''),
  ],
)
def test_a_link_is_refused_for_one_reason(url: str, reason: str) -> None:
  assert links.refusal(url, ['doc', 'guide']) == reason


def test_a_frontier_takes_each_page_once_and_all_domains_in_turn() -> None:
  frontier = links.Frontier(links.Bounds(pages=4, pages_per_domain=2), ['doc'])
  kept, refused = frontier.choose(
    ['http://a.com/', 'http://a.com', 'mailto:x'], seeds=True
  )
  assert kept == ['http://a.com/']
  assert refused == {'mailto:x': 'not_a_web_address'}
  found = [
    *('http://a.com/doc/long', 'http://a.com/doc', 'http://a.com/'),
    *('http://b.com/doc/b', 'http://b.com/doc', 'http://b.com/doc/c'),
    *('http://c.com/doc/c', 'http://c.com/buy'),
  ]
  kept, refused = frontier.choose(found, seeds=False)
  assert kept == ['http://b.com/doc', 'http://c.com/doc/c', 'http://a.com/doc']
  assert refused == {
    'http://a.com/doc/long': 'domain_limit',
    'http://b.com/doc/b': 'page_limit',
    'http://b.com/doc/c': 'domain_limit',
    'http://c.com/buy': 'no_keyword',
  }


def test_the_order_of_links_changes_nothing() -> None:
  found = [f'http://{a}.com/doc/{i}' for a in 'abc' for i in range(40)]
  bounds = links.Bounds(pages=50, pages_per_domain=30, pages_per_pattern=20)
  one = links.Frontier(bounds, ()).choose(found, seeds=False)
  other = links.Frontier(bounds, ()).choose(found[::-1], seeds=False)
  assert one == other
  assert list(one[1].values()).count('page_limit') == 10
  assert list(one[1].values()).count('pattern_limit') == 60
