"""Fetches pages with Scrapy, and tells what became of each address.

Scrapy keeps the manners (robots.txt, delays, concurrency per domain), follows
redirects, decompresses and decodes. What it doesn't do is here: it asks for the
next level when one is done, refuses private addresses (`addresses`), and gives
every address one outcome: a page, or the reason why there is none.

Scrapy's own way to go on after a stop (JOBDIR) loses what was under way when a
process is killed, so nothing of it is used: who calls `run` keeps a journal.
"""

import dataclasses
import logging
import re
import urllib.parse
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import scrapy
import trafilatura
from lxml import html as lxml_html
from scrapy import crawler as crawlers
from scrapy import exceptions, signals
from scrapy.core import downloader
from scrapy.downloadermiddlewares import robotstxt
from scrapy.utils import response as responses
from twisted.internet import error as twisted_errors

from hephaestus_jax.corpus.crawl import links

NAME = 'hephaestus-jax'
# Libraries that tell on stderr what is counted here.
_LOUD = ('scrapy', 'twisted', 'protego', 'trafilatura', 'asyncio', 'htmldate')
_ACCEPT = 'text/html,application/xhtml+xml,text/markdown,text/plain;q=0.8'
# A page whose server names no type is taken for HTML.
_PAGE = re.compile(r'text/html|application/xhtml\+xml|')
_TEXT = re.compile(r'text/(plain|(x-)?markdown|x-rst)')
_HALF = re.compile('[\ud800-\udfff]')  # of a character: UTF-8 has no such thing
# Replacement marks in a page whose encoding is told wrongly.
MAX_UNDECODABLE = 0.005  # of its characters


@dataclasses.dataclass(frozen=True)
class Manners:
  """How a crawl behaves towards the servers and this machine.

  Attributes:
    delay: seconds between two requests to a domain; a longer Crawl-delay in
      its robots.txt is kept to, up to `longest_delay`.
    longest_delay: seconds.
    concurrency: requests under way in all.
    concurrency_per_domain: requests under way to one domain.
    page_seconds: for one page, from connecting to its last byte.
    page_bytes: of one page, packed or unpacked.
    redirects: one after the other.
    retries: of a page that failed by the server's or the network's fault.
    hours: after which the crawl ends with what it has; 0 for no end. A crawl
      that was stopped and goes on has them again.
    allowed_networks: networks that may be fetched from though they aren't
      public: ('127.0.0.0/8',).
  """

  delay: float = 1.0
  longest_delay: float = 30.0
  concurrency: int = 32
  concurrency_per_domain: int = 1
  page_seconds: float = 30.0
  page_bytes: int = 2_000_000
  redirects: int = 5
  retries: int = 2
  hours: float = 0.0
  allowed_networks: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What became of an address.

  Attributes:
    url: as it was asked for.
    reason: why there is no page; '' where there is one.
    final: the address after redirects.
    text: the page's.
    links: of the page, absolute, as they are written.
  """

  url: str
  reason: str = ''
  final: str = ''
  text: str = ''
  links: tuple[str, ...] = ()


def run(
  levels: Iterator[Sequence[str]],
  record: Callable[[Outcome], None],
  *,
  manners: Manners,
  contact: str,
  min_characters: int,
) -> str:
  """Fetches level after level; returns why it ended.

  A process can run it once: Twisted's reactor doesn't start twice.

  Args:
    levels: the addresses of each level; asked for the next when every address
      of the one before is recorded.
    record: is told each outcome.
    manners: towards the servers.
    contact: where the crawler's operator is found; part of the user agent.
    min_characters: below which a page says too little.

  Returns:
    'finished', 'out_of_time', or 'stopped' by a signal.
  """
  for name in _LOUD:
    logging.getLogger(name).setLevel(logging.CRITICAL + 1)
  process = crawlers.AsyncCrawlerProcess(_settings(manners, contact))
  job = _Job(levels, record, min_characters, manners)
  process.crawl(_Spider, job=job)
  process.start()
  if job.failure is not None:
    raise job.failure
  return {'finished': 'finished', 'closespider_timeout': 'out_of_time'}.get(
    job.ended, 'stopped'
  )


def _settings(manners: Manners, contact: str) -> dict[str, Any]:
  here = __name__
  return {
    'ALLOWED_NETWORKS': list(manners.allowed_networks),
    'CLOSESPIDER_TIMEOUT': manners.hours * 3_600,
    'CONCURRENT_REQUESTS': manners.concurrency,
    'CONCURRENT_REQUESTS_PER_DOMAIN': manners.concurrency_per_domain,
    'COOKIES_ENABLED': False,
    'DEFAULT_REQUEST_HEADERS': {'Accept': _ACCEPT, 'Accept-Language': 'en'},
    'DOWNLOADER': f'{here}.Downloader',
    'DOWNLOADER_MIDDLEWARES': {
      'scrapy.downloadermiddlewares.robotstxt.RobotsTxtMiddleware': None,
      f'{here}.Robots': 100,
    },
    'DOWNLOAD_DELAY': manners.delay,
    'DOWNLOAD_DELAY_JITTER': 0,  # it would shorten every other delay
    'DOWNLOAD_HANDLERS': {s: None for s in ('data', 'file', 'ftp', 's3')},
    'DOWNLOAD_MAXSIZE': manners.page_bytes,
    'DOWNLOAD_TIMEOUT': manners.page_seconds,
    'DOWNLOAD_VERIFY_CERTIFICATES': True,
    'DOWNLOAD_WARNSIZE': 0,
    'HTTPERROR_ALLOW_ALL': True,
    # A proxy would connect to whatever it is asked for.
    'HTTPPROXY_ENABLED': False,
    'LOG_ENABLED': False,
    'LOG_INSTALL_ROOT_HANDLER': False,
    'REDIRECT_MAX_TIMES': manners.redirects,
    'REFERER_ENABLED': False,
    'RETRY_TIMES': manners.retries,
    'ROBOTSTXT_OBEY': True,
    'ROBOTSTXT_USER_AGENT': NAME,
    # Takes the next request from the domain that has the fewest under way.
    'SCHEDULER_PRIORITY_QUEUE': 'scrapy.pqueues.DownloaderAwarePriorityQueue',
    'TELNETCONSOLE_ENABLED': False,
    'TWISTED_DNS_RESOLVER': (
      'hephaestus_jax.corpus.crawl.addresses.PublicResolver'
    ),
    'USER_AGENT': f'{NAME} (+{contact})',
  }


class Downloader(downloader.Downloader):
  """Keeps manners by registered domain, of redirects and robots.txt too."""

  def get_slot_key(self, request: scrapy.Request) -> str:
    """The domain that a request goes to, whatever its first address was."""
    return links.domain(request.url)


# Of a host that answered, but not with its robots.txt.
_ROBOTS_UNREACHABLE = ('timeout', 'connection_lost', 'too_large')


class Robots(robotstxt.RobotsTxtMiddleware):
  """Keeps to robots.txt as RFC 9309 says where there is none.

  Scrapy takes a robots.txt that it could not read for leave to ask for all.
  """

  async def _parse_robots(
    self, response: Any, netloc: str, request: scrapy.Request
  ) -> None:
    if response.status >= 500:  # 2.3.1.4: as if all were disallowed
      response = response.replace(body=b'User-agent: *\nDisallow: /')
    elif response.status >= 400:  # 2.3.1.3: as if all were allowed
      response = response.replace(body=b'')
    await super()._parse_robots(response, netloc, request)

  def _robots_error(self, exc: Exception, netloc: str) -> None:
    if no_answer(exc) not in _ROBOTS_UNREACHABLE:
      super()._robots_error(exc, netloc)  # the page will say it itself
      return
    waiting: Any = self._parsers[netloc]  # a Deferred, until it is answered
    # 2.3.1.4: as if all were disallowed.
    self._parsers[netloc] = nothing = self._parserimpl.from_crawler(
      self.crawler, b'User-agent: *\nDisallow: /'
    )
    waiting.callback(nothing)


class _Job:
  """What a spider is told, and what it tells when it ends."""

  def __init__(
    self,
    levels: Iterator[Sequence[str]],
    record: Callable[[Outcome], None],
    min_characters: int,
    manners: Manners,
  ) -> None:
    self.levels = levels
    self.record = record
    self.min_characters = min_characters
    self.manners = manners
    self.ended = ''
    self.failure: BaseException | None = None


class _Spider(scrapy.Spider):
  name = 'pages'

  def __init__(self, job: _Job) -> None:
    super().__init__()
    self.job = job

  @classmethod
  def from_crawler(cls, crawler: Any, *args: Any, **kwargs: Any) -> '_Spider':
    spider: _Spider = super().from_crawler(crawler, *args, **kwargs)
    for handler, signal in (
      (spider.next_level, signals.spider_idle),
      (spider.headers, signals.headers_received),
      (spider.robots, signals.robots_parsed),
      (spider.closing, signals.spider_closed),
    ):
      crawler.signals.connect(handler, signal=signal)
    return spider

  async def start(self) -> AsyncIterator[Any]:
    """Nothing: the first level comes as the others do."""
    for request in list[scrapy.Request]():
      yield request

  def next_level(self) -> None:
    """Called when nothing is under way: asks for a level that has pages."""
    try:
      urls = next((level for level in self.job.levels if level), ())
    except Exception as error:  # Scrapy would log it and go on
      self.job.failure = error
      urls = ()
    for url in urls:
      self.crawler.engine.crawl(
        scrapy.Request(
          url,
          callback=self.page,
          errback=self.no_page,
          dont_filter=True,
          cb_kwargs={'url': url},
          meta={'url': url},
        )
      )
    if urls:
      raise exceptions.DontCloseSpider

  def headers(self, headers: Any, request: scrapy.Request) -> None:
    """Stops a download whose headers say that it is no page."""
    kind = _content_type(headers)
    if 'url' in request.meta and not (
      _PAGE.fullmatch(kind) or _TEXT.fullmatch(kind)
    ):
      raise exceptions.StopDownload

  def robots(self, robotparser: Any, request: scrapy.Request) -> None:
    """Takes a site's Crawl-delay over, where it is the longer one."""
    asked = robotparser.crawl_delay(NAME) or 0.0
    manners = self.job.manners
    delay = max(manners.delay, min(asked, manners.longest_delay))
    engine = self.crawler.engine
    key = links.domain(request.url)
    engine.downloader.per_slot_settings[key] = {'delay': delay}
    if key in engine.downloader.slots:
      engine.downloader.slots[key].delay = delay

  def closing(self, reason: str) -> None:
    """Remembers why it ended."""
    self.job.ended = reason

  def page(self, response: Any, url: str) -> None:
    """An answer: a page, or none by its status or content."""
    self.tell(read(url, response, self.job.min_characters))

  def no_page(self, failure: Any) -> None:
    """No answer."""
    from twisted.internet import reactor  # which Scrapy has installed by now

    request = failure.request
    host = urllib.parse.urlsplit(request.url).hostname
    private = host in reactor.nameResolver.refused
    why = 'private_address' if private else no_answer(failure.value)
    self.tell(Outcome(request.meta['url'], why))

  def tell(self, outcome: Outcome) -> None:
    """Records an outcome. Scrapy would log an exception, and go on."""
    try:
      self.job.record(outcome)
    except Exception as error:
      self.job.failure = error
      raise exceptions.CloseSpider('failed') from error


# What Scrapy raises where there is no answer. The order matters: some of them
# are kinds of others.
_NO_ANSWER: tuple[tuple[type[BaseException], str], ...] = (
  (exceptions.StopDownload, 'content_type'),
  (exceptions.CannotResolveHostError, 'unknown_host'),
  (exceptions.DownloadTimeoutError, 'timeout'),
  (exceptions.DownloadConnectionRefusedError, 'connection_refused'),
  (exceptions.DownloadCancelledError, 'too_large'),
  (exceptions.UnsupportedURLSchemeError, 'not_a_web_address'),
  (exceptions.DownloadFailedError, 'connection_lost'),
  (exceptions.ResponseDataLossError, 'connection_lost'),
  (twisted_errors.ConnectError, 'connection_failed'),
)
# Scrapy ignores requests for several reasons, with one exception.
_IGNORED = (
  ('Forbidden by robots.txt', 'robots_txt'),
  ('max redirections reached', 'too_many_redirects'),
  ('Ignored response', 'too_large'),  # a small file that unpacks to a big one
)


def no_answer(error: BaseException) -> str:
  """The reason that stands for what Scrapy raised.

  >>> no_answer(exceptions.DownloadTimeoutError())
  'timeout'
  """
  if isinstance(error, exceptions.IgnoreRequest):
    for words, reason in _IGNORED:
      if str(error).startswith(words):
        return reason
  for kind, reason in _NO_ANSWER:
    if isinstance(error, kind):
      return reason
  return 'bad_response'  # headers that are none, a broken gzip, an odd port


def read(url: str, response: Any, min_characters: int) -> Outcome:
  """What an answer holds.

  A page that says too little may still lead on, so its links are kept.

  Args:
    url: as it was asked for.
    response: Scrapy's.
    min_characters: below which a page says too little.
  """
  final = links.canonical(response.url) or url
  if response.status != 200:
    group = response.status // 100
    reason = f'http_{group}xx' if group in (3, 4, 5) else 'http_other'
    return Outcome(url, reason, final)
  if not isinstance(response, scrapy.http.TextResponse):
    return Outcome(url, 'content_type', final)
  text = response.text
  if '\0' in text:
    return Outcome(url, 'binary', final)
  if text.count('\ufffd') > MAX_UNDECODABLE * len(text) or _HALF.search(text):
    return Outcome(url, 'bad_encoding', final)
  if _TEXT.fullmatch(_content_type(response.headers)):
    reason = '' if len(text.strip()) >= min_characters else 'too_short'
    return Outcome(url, reason, final, '' if reason else text.strip())
  wishes = _wishes(response)
  found = () if wishes & {'nofollow', 'none'} else _links(response)
  if wishes & {'noindex', 'none'}:
    return Outcome(url, 'noindex', final, links=found)
  try:
    words = main_text(text)
  except Exception:  # whatever a parser of other people's pages may raise
    return Outcome(url, 'not_extractable', final, links=found)
  if len(words) < min_characters:
    return Outcome(url, 'too_short', final, links=found)
  return Outcome(url, '', final, words, found)


def main_text(html: str) -> str:
  """A page's main text as markdown, without menus and footers.

  '<nav>Home</nav><main><h1>Tea</h1><p>Boil water. (...)</p></main>' gives
  '# Tea\n\nBoil water. (...)'.
  """
  # Parsed here, since the extractor takes a page without <html> for none.
  parser = lxml_html.HTMLParser(encoding='utf-8')
  tree = lxml_html.document_fromstring(html.encode(), parser=parser)
  found = trafilatura.extract(
    tree,
    output_format='markdown',
    include_comments=False,
    prune_xpath=[
      # The signs beside headings that link to them.
      '//a[contains(@class, "headerlink")]',
    ],
  )
  return (found or '').strip()


def _content_type(headers: Any) -> str:
  kind = headers.get('Content-Type') or b''
  return str(kind.split(b';')[0].strip().lower().decode('latin-1'))


def _wishes(response: Any) -> set[str]:
  """What a page asks of robots: {'noindex', 'nofollow'}."""
  said = response.xpath(
    '//meta[translate(@name, "ROBTS", "robts")="robots"]/@content'
  ).getall()
  said += [
    value.decode('latin-1')
    for value in response.headers.getlist('X-Robots-Tag')
  ]
  return set(re.findall(r'\w+', ' '.join(said).lower()))


def _links(response: Any) -> tuple[str, ...]:
  """The page's links, absolute, each once, in its order."""
  base = responses.get_base_url(response)
  found: dict[str, None] = {}
  for link in response.xpath(
    '//a/@href | //area/@href | //frame/@src'
  ).getall():
    try:
      found[urllib.parse.urljoin(base, link.strip())] = None
    except ValueError:  # brackets that don't close
      found[link] = None
  return tuple(found)
