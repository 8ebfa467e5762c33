"""Articles to search: a folder of Documents, of which only an index is kept."""

import difflib
import pathlib
import re
from collections.abc import Sequence

from hephaestus_jax.corpus import document, lines

NEAREST = 5  # titles that stand in for one that isn't there
COMMON = 500  # a word in more titles than these finds none of them


class Articles:
  """The articles of a folder (`lines`) by title.

  An article's title is the first line of its text, the rest its sentences. Of
  two with one title, the first counts.
  """

  def __init__(self, folder: pathlib.Path) -> None:
    """Reads the folder once, and keeps titles and places.

    Raises:
      errors.UserError: `folder` holds no Documents.
    """
    self._places: dict[str, tuple[pathlib.Path, int]] = {}
    self._titles: dict[str, list[str]] = {}
    for path in lines.files(folder):
      with path.open('rb') as file:
        place = 0
        for line in file:
          found = lines.parse(line, path.name)
          if isinstance(found, document.Document):
            title = _title(found.text)
            if title and title not in self._places:
              self._places[title] = (path, place)
              for word in _words(title):
                self._titles.setdefault(word, []).append(title)
          place += len(line)
    self._by_key = {key(title): title for title in reversed(self._places)}

  def sentences(self, title: str) -> tuple[str, ...] | None:
    """An article's sentences; None where there is no such title."""
    known = self._by_key.get(key(title))
    if known is None:
      return None
    path, place = self._places[known]
    with path.open('rb') as file:
      file.seek(place)
      found = lines.parse(file.readline(), path.name)
    if isinstance(found, document.Drop):
      raise ValueError(f'{path} changed while it was read.')
    return split(found.text.partition('\n')[2])

  def nearest(self, title: str) -> tuple[str, ...]:
    """Titles that share a word with one that isn't there, the likest first."""
    found = {
      candidate
      for word in _words(title)
      for candidate in self._titles.get(word, [])[:COMMON]
    }
    return likest(title, sorted(found))


def likest(title: str, candidates: Sequence[str]) -> tuple[str, ...]:
  """At most NEAREST of the candidates, those that look most like a title.

  >>> likest('Ada Lovelce', ['Charles Babbage', 'Ada Lovelace'])
  ('Ada Lovelace', 'Charles Babbage')
  """
  wanted = key(title)

  def unlike(candidate: str) -> float:
    return -difflib.SequenceMatcher(None, wanted, key(candidate)).ratio()

  return tuple(sorted(candidates, key=unlike)[:NEAREST])


def key(title: str) -> str:
  """What two spellings of one title share.

  >>> key(' ada  Lovelace')
  'ada lovelace'
  """
  return ' '.join(title.lower().split())


def split(text: str) -> tuple[str, ...]:
  """Sentences, as far as full stops before capitals tell.

  >>> split('Ada wrote. She was\\\\nborn in 1815.\\\\n\\\\n## Life\\\\nLong.')
  ('Ada wrote.', 'She was born in 1815.', '## Life Long.')
  """
  return tuple(
    ' '.join(sentence.split())
    for paragraph in re.split(r'\n\s*\n', text)
    for sentence in re.split(r'(?<=[.!?])\s+(?=["\'(]?[A-Z0-9])', paragraph)
    if sentence.strip()
  )


def _title(text: str) -> str:
  return ' '.join(text.partition('\n')[0].lstrip('# ').split())[:300]


def _words(title: str) -> set[str]:
  return set(re.findall(r'\w+', title.lower()))
