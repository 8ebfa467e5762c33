"""`hephaestus crawl`: seed addresses -> links -> links (paper, section 4.1).

Level 1 are the seeds, level 2 the links on their pages, level 3 the links on
those. A level begins when the one before it is done, so which pages it has is a
function of what the pages say and of nothing else: neither of the order in
which they came nor of how often the crawl was stopped.

What becomes of an address is appended to a journal at once. A crawl that is
killed reads it and goes on; the folder is written from it when all is done.
"""

import collections
import dataclasses
import hashlib
import json
import pathlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tqdm

from hephaestus_jax import artefacts, errors
from hephaestus_jax.corpus import document, lines
from hephaestus_jax.corpus.crawl import fetch, links

LEVELS = 3
# A row of the public-apis README: | [Name](https://...) | What it does | ...
_ROW = re.compile(r'^\s*\|?\s*\[[^\]]*\]\((\S+?)\)\s*\|', re.MULTILINE)


def crawl(
  *,
  seeds: str,
  output_dir: str,
  contact: str,
  manners: fetch.Manners,
  bounds: links.Bounds,
  keywords: Sequence[str] = links.KEYWORDS,
  min_characters: int = 200,
  source: str = 'public_apis_extend',
  licence: str = 'NOASSERTION',
) -> dict[str, Any]:
  """Crawls three levels of pages and writes what they say as Documents.

  Writes, in `output_dir`: documents-00000-of-00001.jsonl, sorted by id, one
  Document with role 'documentation' per page, and drops.json, in which every
  address that was seen is counted. Until then `<output_dir>.journal` holds what
  was fetched; killed and started again, it ends with the same Documents.

  Args:
    seeds: a file with an address per line ('#' begins a comment), or the README
      of the public-apis list (its name ends in .md).
    output_dir: the folder to write.
    contact: a web page or e-mail address where the operators of servers reach
      who runs the crawl.
    manners: towards servers.
    bounds: of the crawl.
    keywords: of which a link's address must hold one to be followed.
    min_characters: below which a page says too little.
    source: the Documents' source.
    licence: the Documents' SPDX identifier.

  Returns:
    {'reused': whether it was crawled before, 'records', 'documents', 'drops':
    as in drops.json}.

  Raises:
    errors.UserError: the seeds can't be read, or folder or journal were begun
      with other arguments.
    KeyboardInterrupt: a signal stopped it; started again, it goes on.
  """
  if '@' not in contact and '://' not in contact:
    raise errors.UserError(
      f'The contact of the crawl is {contact!r}. Set --gin.CONTACT to a web '
      'page or an e-mail address where the operators of servers reach you.'
    )
  first = read_seeds(seeds)
  inputs = {
    'seeds': artefacts.fingerprint(first),
    'manners': dataclasses.asdict(manners),
    'bounds': dataclasses.asdict(bounds),
    'contact': contact,
    'keywords': list(keywords),
    'min_characters': min_characters,
    'source': source,
    'licence': licence,
  }
  folder = pathlib.Path(output_dir)
  begun = folder.with_name(folder.name + '.journal')
  reused = artefacts.reusable(folder, inputs)
  if reused:
    print(f'reused {folder}')
  else:
    if not artefacts.reusable(begun, inputs):
      begun.mkdir(parents=True)
      artefacts.write_json(begun / artefacts.INPUTS, inputs)
    journal = Journal(begun / 'outcomes.jsonl')
    walk = Walk(first, journal, links.Frontier(bounds, keywords))
    _fetch(walk, journal, manners, contact, min_characters)
    with artefacts.written(folder, inputs) as partial:
      _write(partial, journal, walk.refused, source, licence)
  shutil.rmtree(begun, ignore_errors=True)
  counts = json.loads((folder / lines.DROPS).read_text())
  print(
    f'{counts["records"]} addresses -> {counts["documents"]} documents '
    f'in {folder}'
  )
  return {'reused': reused, **counts}


def read_seeds(path: str) -> list[str]:
  """The addresses of a file, each once, in its order.

  '| [Cats](https://cats.dev/docs) | Facts | No | Yes | No |' in a .md file
  gives ['https://cats.dev/docs'].

  Raises:
    errors.UserError: there is no such file, or no address in it.
  """
  file = pathlib.Path(path)
  if not file.is_file():
    raise errors.UserError(
      f'There is no seeds file {path!r}. Set --gin.SEEDS to a file with an '
      'address per line, or to the README of public-apis.'
    )
  text = file.read_text(errors='replace')
  if file.suffix == '.md':
    found = _ROW.findall(text)
  else:
    bare = (line.split(' #')[0].strip() for line in text.splitlines())
    found = [line for line in bare if line and not line.startswith('#')]
  if not any(links.canonical(url) for url in found):
    raise errors.UserError(f'{path} has no web address in it.')
  return list(dict.fromkeys(found))


class Journal:
  """The outcomes so far, a line of JSON each.

  A line that a kill cut short is cut off when the file is opened again.
  """

  def __init__(self, path: pathlib.Path) -> None:
    """Opens the journal or begins it."""
    self._path = path
    self._file = path.open('ab+')
    end = self._end_of_lines()
    self._file.truncate(end)
    self.urls = {outcome.url for outcome, _ in self}

  def _end_of_lines(self) -> int:
    """The number of bytes up to the last newline."""
    size = self._file.seek(0, 2)
    while size:
      start = max(0, size - 65_536)
      self._file.seek(start)
      newline = self._file.read(size - start).rfind(b'\n')
      if newline >= 0:
        return start + newline + 1
      size = start
    return 0

  def add(self, outcome: fetch.Outcome) -> None:
    """Appends an outcome; it stays, whatever happens to this process."""
    line = json.dumps(dataclasses.asdict(outcome)) + '\n'
    self._file.write(line.encode())
    self._file.flush()
    self.urls.add(outcome.url)

  def __iter__(self) -> Iterator[tuple[fetch.Outcome, int]]:
    """Each outcome, and the offset that `at` finds it by."""
    offset = 0
    with self._path.open('rb') as file:
      for line in file:
        yield _outcome(line), offset
        offset += len(line)

  def at(self, offset: int) -> fetch.Outcome:
    """The outcome of the line that begins there."""
    with self._path.open('rb') as file:
      file.seek(offset)
      return _outcome(file.readline())


def _outcome(line: bytes) -> fetch.Outcome:
  values = json.loads(line)
  return fetch.Outcome(**{**values, 'links': tuple(values['links'])})


class Walk:
  """The levels of a crawl, each made when the one before it is done.

  Attributes:
    refused: reason -> number of addresses that were not asked for.
    chosen: the addresses that are.
  """

  def __init__(
    self, seeds: Sequence[str], journal: Journal, frontier: links.Frontier
  ) -> None:
    """Takes the seeds as they are written."""
    self._seeds = seeds
    self._journal = journal
    self._frontier = frontier
    self.refused: collections.Counter[str] = collections.Counter()
    self.chosen: list[str] = []

  def levels(self) -> Iterator[list[str]]:
    """The addresses of each level that the journal doesn't have yet."""
    found: list[str] = list(self._seeds)
    for level in range(1, LEVELS + 1):
      urls, refused = self._frontier.choose(found, seeds=level == 1)
      self.refused.update(refused.values())
      self.chosen += urls
      yield [url for url in urls if url not in self._journal.urls]
      here = set(urls)
      found = [
        link
        for outcome, _ in self._journal
        if outcome.url in here
        for link in outcome.links
      ]


def _fetch(
  walk: Walk,
  journal: Journal,
  manners: fetch.Manners,
  contact: str,
  min_characters: int,
) -> None:
  """Fetches what the journal lacks.

  Raises:
    KeyboardInterrupt: a signal stopped it.
  """
  with tqdm.tqdm(desc='pages', unit='page', initial=len(journal.urls)) as bar:

    def record(outcome: fetch.Outcome) -> None:
      if outcome.url in journal.urls:
        raise AssertionError(f'{outcome.url} has two outcomes')
      journal.add(outcome)
      bar.update()

    def levels() -> Iterator[list[str]]:
      for level in walk.levels():
        bar.total = len(walk.chosen)
        bar.refresh()
        yield level

    ended = fetch.run(
      levels(),
      record,
      manners=manners,
      contact=contact,
      min_characters=min_characters,
    )
  if ended == 'stopped':
    raise KeyboardInterrupt
  left = [url for url in walk.chosen if url not in journal.urls]
  if left and ended != 'out_of_time':
    raise AssertionError(f'{left[0]} has no outcome')
  # Not in the journal: should this process be killed now, the next one fetches
  # them.
  walk.refused['out_of_time'] += len(left)


def _write(
  folder: pathlib.Path,
  journal: Journal,
  refused: Mapping[str, int],
  source: str,
  licence: str,
) -> None:
  """The journal as Documents, each text once, and the account of the rest."""
  drops = +collections.Counter(refused)  # without zeros
  texts: dict[bytes, tuple[int, str, int]] = {}
  for outcome, offset in journal:
    if outcome.reason:
      drops[outcome.reason] += 1
      continue
    digest = hashlib.sha256(outcome.text.encode('utf-8', 'replace')).digest()
    # Of equal pages that with the shortest address stays.
    found = (len(outcome.url), outcome.url, offset)
    if digest in texts:
      drops['duplicate_text'] += 1
      found = min(found, texts[digest])
    texts[digest] = found

  def documents() -> Iterator[document.Document]:
    for _, url, offset in texts.values():
      outcome = journal.at(offset)
      yield document.Document(
        id=document_id(source, url),
        source=source,
        kind='documentation',
        licence=licence,
        url=outcome.final,
        segments=(document.Segment('documentation', outcome.text),),
      )

  lines.write(folder, documents(), drops)


def document_id(source: str, url: str) -> str:
  """A page's id, whose group is its domain.

  >>> document_id('crawl', 'https://docs.a.com/guide?v=2')
  'crawl/a.com/https://docs.a.com/guide?v=2'
  """
  return f'{source}/{links.domain(url)}/{url}'
