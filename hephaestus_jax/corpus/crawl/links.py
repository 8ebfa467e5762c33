"""Which links a crawl follows: one spelling per page, and reasons against it.

All of it is a function of the links alone, so that a crawl which was stopped
chooses the same pages when it goes on.
"""

import collections
import dataclasses
import functools
import re
import urllib.parse
from collections.abc import Iterable, Sequence

import tldextract
import w3lib.url

# The paper names the first three and goes on with "..." (section 4.1).
KEYWORDS = ('doc', 'guide', 'reference', 'manual', 'tutorial', 'api', 'develop')
MAX_URL = 2_000  # characters
MAX_REPEATS = 3  # of one folder in a path; a page that links to itself, deeper
# What a session or a campaign adds to the address of the same page.
_TRACKING = re.compile(
  r'(php|asp|j)?sess(ion)?_?id\w*|sid|cfid|cftoken|utm_\w+|fbclid|gclid|'
  r'mc_[ce]id|_ga',
  re.IGNORECASE,
)
_PATH_SESSION = re.compile(
  r';(jsessionid|phpsessid|sid)=[^/;?]*', re.IGNORECASE
)
_NOT_IN_HOST = re.compile(r'[^\w.-]')
_FILE = re.compile(
  r'\.(7z|apk|avi|bin|bmp|bz2|css|csv|deb|dmg|doc|docx|eot|epub|exe|gif|gz|ico|'
  r'iso|jar|jpe?g|js|json|m4a|map|mkv|mov|mp[34]|mpe?g|msi|ods|odt|ogg|otf|pdf|'
  r'png|ppt|pptx|ps|rar|rpm|rss|svg|tar|tgz|tiff?|ttf|wasm|wav|webm|webp|whl|'
  r'wmv|woff2?|xls|xlsx|xml|xz|zip|zst)',
  re.IGNORECASE,
)
# Names of hosts without the network: the list of suffixes that the package has.
_suffixes = tldextract.TLDExtract(
  suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True
)


@dataclasses.dataclass(frozen=True)
class Bounds:
  """How many pages a crawl may fetch.

  Attributes:
    pages: in all.
    pages_per_domain: of one registered domain, whatever its hosts.
    pages_per_pattern: whose addresses differ in numbers or query values alone,
      as those of a calendar do.
  """

  pages: int = 200_000
  pages_per_domain: int = 500
  pages_per_pattern: int = 50


def canonical(url: str) -> str:
  """One spelling of a web address; '' for what is none.

  Fragments, session ids, campaign marks, default ports and dot segments go;
  the query is sorted.

  >>> canonical('HTTP://Docs.A.com:80/x/../b;jsessionid=9?b=2&sid=7&a=1#top')
  'http://docs.a.com/b?a=1&b=2'
  >>> canonical('mailto:me@a.com')
  ''
  """
  try:
    parts = urllib.parse.urlsplit(url.strip())
    port = parts.port
    host = (parts.hostname or '').rstrip('.')
    if parts.scheme not in ('http', 'https') or not host or '@' in parts.netloc:
      return ''
    if ':' in host:
      host = f'[{host}]'
    elif _NOT_IN_HOST.search(host):
      return ''
    if port and port != {'http': 80, 'https': 443}[parts.scheme]:
      host = f'{host}:{port}'
    query = '&'.join(
      part
      for part in parts.query.split('&')
      if part and not _TRACKING.fullmatch(part.split('=', 1)[0])
    )
    path = _PATH_SESSION.sub('', _without_dots(parts.path))
    return str(
      w3lib.url.canonicalize_url(
        urllib.parse.urlunsplit((parts.scheme, host, path, query, ''))
      )
    )
  except ValueError:  # a port of letters, brackets that don't close, bad IDNA
    return ''


def _without_dots(path: str) -> str:
  """'/a/./b/../c' -> '/a/c'."""
  kept: list[str] = []
  parts = path.split('/')
  for part in parts:
    if part == '..':
      kept = kept[:-1] if len(kept) > 1 else kept
    elif part != '.':
      kept.append(part)
  if parts[-1] in ('.', '..'):
    kept.append('')
  return '/'.join(kept) or '/'


def domain(url: str) -> str:
  """The registered domain that manners and bounds go by, else the host.

  >>> [domain(f'http://{host}/a') for host in
  ...  ('docs.b.co.uk', 'me.github.io', '127.0.0.1:80')]
  ['b.co.uk', 'me.github.io', '127.0.0.1']
  """
  return _domain_of(urllib.parse.urlsplit(url).hostname or '')


@functools.lru_cache(maxsize=65_536)
def _domain_of(host: str) -> str:
  found = _suffixes.extract_str(host).top_domain_under_public_suffix
  return found or host


def pattern(url: str) -> str:
  """The address without what a calendar or a counter changes in it.

  >>> pattern('http://a.com/2031/05/events?page=12&q=x')
  'http://a.com/0/0/events?page&q'
  """
  parts = urllib.parse.urlsplit(url)
  names = '&'.join(part.split('=', 1)[0] for part in parts.query.split('&'))
  path = re.sub(r'\d+', '0', parts.path)
  return f'{parts.scheme}://{parts.netloc}{path}' + (names and f'?{names}')


def refusal(url: str, keywords: Sequence[str]) -> str:
  """Why an address is not followed; '' if it is.

  Args:
    url: canonical.
    keywords: of which the address must hold one; () lets all pass.

  >>> refusal('http://a.com/docs/x.zip', ['doc'])
  'file_type'
  >>> refusal('http://a.com/prices', ['doc'])
  'no_keyword'
  """
  if not url:
    return 'not_a_web_address'
  if len(url) > MAX_URL:
    return 'long_address'
  path = urllib.parse.urlsplit(url).path
  folders = collections.Counter(part for part in path.split('/') if part)
  if folders and max(folders.values()) >= MAX_REPEATS:
    return 'repeating_path'
  _, dot, ending = path.rpartition('/')[2].rpartition('.')
  if dot and _FILE.fullmatch('.' + ending):
    return 'file_type'
  lower = url.lower()
  if keywords and not any(word.lower() in lower for word in keywords):
    return 'no_keyword'
  return ''


class Frontier:
  """Chooses the pages of each level, within the bounds of the whole crawl."""

  def __init__(self, bounds: Bounds, keywords: Sequence[str]) -> None:
    """Takes the bounds and, for links that pages have, the keywords."""
    self._bounds = bounds
    self._keywords = keywords
    self._seen: set[str] = set()
    self._domains: collections.Counter[str] = collections.Counter()
    self._patterns: collections.Counter[str] = collections.Counter()
    self._pages = 0

  def choose(
    self, found: Iterable[str], *, seeds: bool
  ) -> tuple[list[str], dict[str, str]]:
    """The new pages among links, and why each other new one is not followed.

    Short addresses of a domain come first, and all domains' first pages before
    any's second.

    Args:
      found: links as they are written, absolute; those seen before are passed
        over.
      seeds: whether they are the crawl's own, which need no keyword.

    Returns:
      (canonical addresses, {address: reason}).
    """
    refused: dict[str, str] = {}
    wanted: set[str] = set()
    for link in found:
      url = canonical(link)
      known = url or link
      if known in self._seen:
        continue
      self._seen.add(known)
      reason = refusal(url, () if seeds else self._keywords)
      if reason:
        refused[known] = reason
      else:
        wanted.add(url)
    ranked = []
    for url in sorted(wanted, key=lambda url: (len(url), url)):
      reason = self._bound(url)
      if reason:
        refused[url] = reason
      else:
        ranked.append((self._domains[domain(url)], url))
    room = self._bounds.pages - self._pages
    ranked.sort()
    kept = [url for _, url in ranked[:room]]
    refused |= {url: 'page_limit' for _, url in ranked[room:]}
    self._pages += len(kept)
    return kept, refused

  def _bound(self, url: str) -> str:
    """Which bound keeps a page out, '' if none does; counts it then."""
    place, kind = domain(url), pattern(url)
    if self._domains[place] >= self._bounds.pages_per_domain:
      return 'domain_limit'
    if self._patterns[kind] >= self._bounds.pages_per_pattern:
      return 'pattern_limit'
    self._domains[place] += 1
    self._patterns[kind] += 1
    return ''
