"""The crawl, run as the command against a real site on loopback."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hephaestus_jax import errors
from hephaestus_jax.corpus import document, lines
from hephaestus_jax.corpus.crawl import crawl, fetch, links

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import trap_site  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[3]


def command(served: trap_site.Site, folder: pathlib.Path) -> list[str]:
  seeds = folder / 'seeds.txt'
  seeds.write_text(f'# where it begins\n{served.seed}\n')
  return [
    *(sys.executable, '-m', 'hephaestus_jax', 'crawl', 'gin/stages/crawl.gin'),
    *(f'--gin.RUN_DIR={folder}', f'--gin.SEEDS={seeds}', '--json'),
    *('--gin.CONTACT=me@example.com', '--gin.DELAY=0.0', '--gin.RETRIES=1'),
    *('--gin.CONCURRENCY_PER_DOMAIN=8', '--gin.REDIRECTS=3'),
    f"--gin.ALLOWED_NETWORKS=['{trap_site.SITE}/31', '{trap_site.SILENT}/32']",
    f'--gin.PAGE_BYTES={trap_site.PAGE_BYTES}',
    f'--gin.PAGE_SECONDS={trap_site.PAGE_SECONDS}',
  ]


@pytest.fixture(scope='module')
def served() -> Iterator[trap_site.Site]:
  with trap_site.served() as found:
    yield found


class Crawled:
  """A finished crawl of the site."""

  def __init__(self, folder: pathlib.Path, output: str) -> None:
    self.folder = folder / 'crawl'
    self.result: dict[str, Any] = json.loads(output)
    self.lines = (self.folder / lines.FILE).read_text().splitlines()
    self.documents = {
      found.url: found
      for line in self.lines
      for found in [document.from_record(json.loads(line))]
    }


@pytest.fixture(scope='module')
def crawled(
  served: trap_site.Site, tmp_path_factory: pytest.TempPathFactory
) -> Crawled:
  folder = tmp_path_factory.mktemp('crawl')
  ran = subprocess.run(
    command(served, folder), cwd=ROOT, capture_output=True, text=True
  )
  assert ran.returncode == 0, ran.stderr
  return Crawled(folder, ran.stdout)


@pytest.mark.slow
def test_every_address_is_a_document_or_counted_with_its_reason(
  crawled: Crawled,
) -> None:
  counts = json.loads((crawled.folder / 'drops.json').read_text())
  assert counts['records'] == counts['documents'] + sum(
    counts['drops'].values()
  )
  assert counts['documents'] == len(crawled.lines)
  assert counts['drops'] == {
    'bad_encoding': 1,
    'binary': 1,
    'connection_lost': 2,  # cut, reset
    'content_type': 1,
    'duplicate_text': 2,  # copy-two, and moved, which is the guide
    'file_type': 1,
    'http_3xx': 1,  # to-file
    'http_4xx': 1,
    'http_5xx': 1,
    'no_keyword': 1,
    'noindex': 1,
    'not_a_web_address': 4,
    'pattern_limit': 150,  # of 200 months
    'private_address': 5,  # four links and a redirect
    'repeating_path': 1,
    'robots_txt': 3,  # forbidden, and two hosts whose robots.txt is unreadable
    'timeout': 1,
    'too_large': 3,  # huge, huge-length, bomb
    'too_many_redirects': 1,
    'too_short': 1,
    'unknown_host': 1,
  }


@pytest.mark.slow
def test_pages_of_three_levels_and_no_others_are_documents(
  crawled: Crawled, served: trap_site.Site
) -> None:
  base = f'http://{trap_site.SITE}:{served.port}'
  urls = set(crawled.documents)
  assert {
    f'{base}/docs/{name}' for name in trap_site.SECTIONS
  } <= urls  # level 2
  assert (
    f'{base}/docs/{trap_site.SECTIONS[0]}/{trap_site.ARTICLES[0]}' in urls
  )  # level 3
  assert not [url for url in urls if url.endswith('level-four')]
  asked = served.hits
  assert not [path for path in asked if 'level-four' in path]
  assert not [path for path in asked if 'never' in path]  # behind a nofollow


@pytest.mark.slow
def test_nothing_is_asked_of_a_private_address(
  crawled: Crawled, served: trap_site.Site
) -> None:
  hosts = {path.split('/')[0] for path in served.hits}
  assert hosts == {trap_site.SITE, trap_site.BROKEN, trap_site.SILENT}
  assert f'{trap_site.SITE}/docs/to-private' in served.hits


@pytest.mark.slow
def test_what_robots_txt_forbids_is_not_asked_for(
  crawled: Crawled, served: trap_site.Site
) -> None:
  assert f'{trap_site.SITE}/docs/forbidden' not in served.hits
  assert f'{trap_site.BROKEN}/docs/any' not in served.hits
  assert f'{trap_site.BROKEN}/robots.txt' in served.hits
  assert f'{trap_site.SILENT}/docs/any' not in served.hits
  assert f'{trap_site.SILENT}/robots.txt' in served.hits


@pytest.mark.slow
def test_session_ids_make_no_new_pages(
  crawled: Crawled, served: trap_site.Site
) -> None:
  assert (
    served.hits[f'{trap_site.SITE}/docs/guide'] <= 4
  )  # twice a crawl: moved
  assert (
    f'http://{trap_site.SITE}:{served.port}/docs/guide' in crawled.documents
  )


@pytest.mark.slow
def test_encodings_are_read_as_they_are(
  crawled: Crawled, served: trap_site.Site
) -> None:
  def text(name: str) -> str:
    return crawled.documents[
      f'http://{trap_site.SITE}:{served.port}/docs/{name}'
    ].text

  assert 'The café endpoint' in text('latin')
  assert 'The Tee für zwei endpoint' in text('utf16')
  assert 'The bogus endpoint' in text('bogus')
  assert text('plain').startswith('# Plain')


@pytest.mark.slow
def test_a_document_is_documentation_and_tells_its_page(
  crawled: Crawled, served: trap_site.Site
) -> None:
  url = f'http://{trap_site.SITE}:{served.port}/docs/calm'
  found = crawled.documents[url]
  assert found.id == f'public_apis_extend/{trap_site.SITE}/{url}'
  assert found.kind == 'documentation'
  assert found.segments[0].role == 'documentation'
  assert found.segments[0].text.startswith('# calm\n\nThe calm endpoint takes')


@pytest.mark.slow
def test_a_killed_crawl_goes_on_and_ends_with_the_same_bytes(
  crawled: Crawled, served: trap_site.Site, tmp_path: pathlib.Path
) -> None:
  journal = tmp_path / 'crawl.journal' / 'outcomes.jsonl'
  for wanted in (3, 150, 330):
    running = subprocess.Popen(
      command(served, tmp_path),
      cwd=ROOT,
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )
    while _lines(journal) < wanted:
      assert running.poll() is None, 'it ended before it was killed'
      time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not (tmp_path / 'crawl').exists()
  with journal.open('ab') as file:
    file.write(b'{"url": "http://cut.sho')  # as a kill within a write leaves it
  before = _lines(journal)
  ran = subprocess.run(
    command(served, tmp_path), cwd=ROOT, capture_output=True, text=True
  )
  assert ran.returncode == 0, ran.stderr
  for name in (lines.FILE, 'drops.json', 'inputs.json'):
    again = (tmp_path / 'crawl' / name).read_bytes()
    assert again == (crawled.folder / name).read_bytes(), name
  assert before >= 330
  assert not journal.parent.exists()


def _lines(path: pathlib.Path) -> int:
  return path.read_bytes().count(b'\n') if path.exists() else 0


@pytest.mark.slow
def test_an_interrupted_crawl_keeps_its_journal(
  served: trap_site.Site, tmp_path: pathlib.Path
) -> None:
  journal = tmp_path / 'crawl.journal' / 'outcomes.jsonl'
  running = subprocess.Popen(
    command(served, tmp_path),
    cwd=ROOT,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
    env={**os.environ, 'PYTHONWARNINGS': 'ignore'},
  )
  while _lines(journal) < 3:
    assert running.poll() is None
    time.sleep(0.05)
  running.send_signal(signal.SIGINT)
  _, said = running.communicate(timeout=60)
  assert running.returncode == 130
  assert 'hephaestus: interrupted' in said
  assert not (tmp_path / 'crawl').exists()
  assert _lines(journal) >= 3


@pytest.mark.slow
def test_a_crawl_out_of_time_counts_what_it_left(
  served: trap_site.Site, tmp_path: pathlib.Path
) -> None:
  ran = subprocess.run(
    [*command(served, tmp_path), '--gin.HOURS=0.0006'],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert ran.returncode == 0, ran.stderr
  counts = json.loads(ran.stdout)
  assert counts['drops']['out_of_time'] > 0
  assert counts['records'] == counts['documents'] + sum(
    counts['drops'].values()
  )


def test_seeds_are_lines_or_the_rows_of_a_readme(
  tmp_path: pathlib.Path,
) -> None:
  lines = tmp_path / 'seeds.txt'
  lines.write_text(
    '# mine\nhttps://tea.dev/docs # best\n\nhttps://tea.dev/docs\n'
  )
  assert crawl.read_seeds(str(lines)) == ['https://tea.dev/docs']
  readme = tmp_path / 'README.md'
  readme.write_text(
    '### Index\n* [Tea](#tea)\n\n### Tea\nAPI | Description | Auth |\n'
    '|:---|---|\n'
    '| [Cats](https://cats.dev/docs) | Facts | No | Yes | No |\n'
    '| [Wiki](https://a.org/wiki_(x)) | Facts, [see](https://b.org) | No |\n'
  )
  assert crawl.read_seeds(str(readme)) == [
    'https://cats.dev/docs',
    'https://a.org/wiki_(x)',
  ]


def test_every_api_of_the_public_list_is_a_seed() -> None:
  samples = pathlib.Path(
    os.environ.get('HEPHAESTUS_SAMPLES', ROOT.parent / 'shared' / 'samples')
  )
  readme = samples / 'public_apis' / 'README.md'
  if not readme.exists():
    pytest.skip(f'{readme} is not here')
  rows = [
    line
    for line in readme.read_text().splitlines()
    if line.lstrip('| ').startswith('[') and line.count('|') > 3
  ]
  found = crawl.read_seeds(str(readme))
  assert len(rows) > 100
  assert len(found) == len({row.split('](')[1].split(')')[0] for row in rows})
  assert all(links.canonical(url) for url in found)


@pytest.mark.parametrize('text', ['', '# nothing\n', 'mailto:me@a.com\n'])
def test_seeds_without_an_address_are_the_users_mistake(
  text: str, tmp_path: pathlib.Path
) -> None:
  path = tmp_path / 'seeds.txt'
  path.write_text(text)
  with pytest.raises(errors.UserError, match='no web address'):
    crawl.read_seeds(str(path))


def test_a_crawl_without_a_contact_is_refused(tmp_path: pathlib.Path) -> None:
  with pytest.raises(errors.UserError, match='contact'):
    crawl.crawl(
      seeds='seeds.txt',
      output_dir=str(tmp_path / 'crawl'),
      contact='nobody',
      manners=fetch.Manners(),
      bounds=links.Bounds(),
    )


def test_a_journal_forgets_a_line_that_was_cut_short(
  tmp_path: pathlib.Path,
) -> None:
  path = tmp_path / 'outcomes.jsonl'
  journal = crawl.Journal(path)
  first = fetch.Outcome('http://a.com/', text='Words', links=('http://b.com/',))
  journal.add(first)
  with path.open('ab') as file:
    file.write(b'x' * 100_000)
  again = crawl.Journal(path)
  again.add(fetch.Outcome('http://b.com/', 'timeout'))
  assert [outcome for outcome, _ in again] == [
    first,
    fetch.Outcome('http://b.com/', 'timeout'),
  ]
  assert again.urls == {'http://a.com/', 'http://b.com/'}
