"""Data sets from a folder, or from a server that isn't always well."""

import dataclasses
import hashlib
import http.server
import json
import pathlib
import threading
from typing import Any

import pytest

from hephaestus_jax import errors
from hephaestus_jax.corpus import acquire, document, source

LINE = b'{"text": "Brew for four minutes."}\n'
LARGE = LINE * 5000


def text(record: Any) -> source.Segments:
  return (document.Segment('text', record['text']),)


def tea(location: source.Location, pattern: str = '*.jsonl') -> source.DataSet:
  return source.DataSet(
    name='tea',
    title='Tea',
    kind='text',
    format='Plain Text',
    licence='MIT',
    location=location,
    files=(source.Files(pattern, text),),
  )


@dataclasses.dataclass
class Server:
  """A web server on the loopback interface.

  Attributes:
    files: path -> content.
    cut: path -> how many bytes of it go out before the connection breaks, the
      first time.
    asked: (path, headers) of every request.
  """

  base: str
  files: dict[str, bytes] = dataclasses.field(default_factory=dict)
  cut: dict[str, int] = dataclasses.field(default_factory=dict)
  token: str = ''
  asked: list[tuple[str, dict[str, str]]] = dataclasses.field(
    default_factory=list
  )

  def ranges(self) -> list[str]:
    return [headers.get('Range', '') for _, headers in self.asked]


@pytest.fixture
def server():
  class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
      served.asked.append((self.path, dict(self.headers)))
      path = self.path.partition('?')[0]
      if served.token and self.headers.get('Authorization') != served.token:
        self.send_error(401)
        return
      if path not in served.files:
        self.send_error(404)
        return
      content = served.files[path]
      tag = f'"{hashlib.sha256(content).hexdigest()[:8]}"'
      begin = 0
      if self.headers.get('Range') and self.headers.get('If-Range') == tag:
        begin = int(self.headers['Range'].removeprefix('bytes=')[:-1])
        self.send_response(206)
      else:
        self.send_response(200)
      self.send_header('ETag', tag)
      self.send_header('Content-Length', str(len(content) - begin))
      self.end_headers()
      end = served.cut.pop(path, len(content))
      self.wfile.write(content[begin:end])
      if end < len(content):
        self.wfile.flush()
        self.connection.close()

    def log_message(self, *_: Any) -> None:
      pass

  httpd = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
  served = Server(f'http://127.0.0.1:{httpd.server_port}')
  thread = threading.Thread(target=httpd.serve_forever)
  thread.start()
  yield served
  httpd.shutdown()
  thread.join()
  httpd.server_close()


def get(of: source.DataSet, folder: pathlib.Path, server: Server):
  hosts = acquire.Hosts(hugging_face=server.base, github=server.base)
  return acquire.folder(of, str(folder / 'manual'), str(folder / 'd'), hosts)


def on_the_web(server: Server, content: bytes = LINE) -> source.DataSet:
  server.files['/a.jsonl'] = content
  return tea(source.Location(urls=(f'{server.base}/a.jsonl',)))


def test_a_folder_of_the_users_is_taken_first(tmp_path, server):
  (tmp_path / 'manual' / 'tea').mkdir(parents=True)
  found = get(on_the_web(server), tmp_path, server)
  assert found == tmp_path / 'manual' / 'tea'
  assert not server.asked


def test_what_is_not_there_is_downloaded_once(tmp_path, server):
  of = on_the_web(server)
  found = get(of, tmp_path, server)
  assert found == tmp_path / 'd' / 'data_sets' / 'tea'
  assert (found / 'a.jsonl').read_bytes() == LINE
  assert get(of, tmp_path, server) == found
  assert len(server.asked) == 1
  record = (tmp_path / 'd' / 'data_sets' / 'checksums.tsv').read_text()
  assert hashlib.sha256(LINE).hexdigest() in record


def test_a_download_that_was_interrupted_keeps_what_is_whole(tmp_path, server):
  server.files['/a.jsonl'] = LINE
  both = (f'{server.base}/a.jsonl', f'{server.base}/b.jsonl')
  of = tea(source.Location(urls=both))
  with pytest.raises(errors.UserError, match='404'):
    get(of, tmp_path, server)
  server.files['/b.jsonl'] = LINE
  server.asked.clear()
  found = get(of, tmp_path, server)
  assert sorted(p.name for p in found.glob('*.jsonl')) == ['a.jsonl', 'b.jsonl']
  assert [path for path, _ in server.asked] == ['/b.jsonl']


def test_another_content_than_before_is_refused(tmp_path, server):
  of = on_the_web(server)
  found = get(of, tmp_path, server)
  for path in [*found.iterdir(), *(found.parent / 'files').rglob('*')]:
    if path.is_file():
      path.unlink()
  found.rmdir()
  server.files['/a.jsonl'] = LINE * 2
  with pytest.raises(errors.UserError, match='SHA-256.*checksums.tsv') as said:
    get(of, tmp_path, server)
  assert str(tmp_path / 'manual' / 'tea') in str(said.value)
  assert not found.exists()


@pytest.mark.parametrize('code', [404, 401])
def test_a_refusal_names_both_ways(tmp_path, server, code):
  of = on_the_web(server)
  if code == 404:
    server.files.clear()
  else:
    server.token = 'Bearer other'
  with pytest.raises(errors.UserError) as said:
    get(of, tmp_path, server)
  message = str(said.value)
  assert str(code) in message and str(tmp_path / 'manual' / 'tea') in message
  assert ('HF_TOKEN' if code == 401 else 'check the network') in message
  assert len(message.splitlines()) == 1


def test_a_server_that_is_not_there_is_one_message(tmp_path):
  nobody = Server('http://127.0.0.1:9')
  of = tea(source.Location(urls=('http://127.0.0.1:9/a.jsonl',)))
  with pytest.raises(errors.UserError, match='Put its files into') as said:
    get(of, tmp_path, nobody)
  assert len(str(said.value).splitlines()) == 1


def test_a_transfer_goes_on_where_it_was_cut(tmp_path, server):
  of = on_the_web(server, LARGE)
  server.cut['/a.jsonl'] = 100_000
  found = get(of, tmp_path, server)
  assert (found / 'a.jsonl').read_bytes() == LARGE
  begin, again = server.ranges()
  assert begin == '' and again.startswith('bytes=')
  assert int(again.removeprefix('bytes=')[:-1]) > 0
  assert server.asked[1][1]['If-Range'].startswith('"')


def test_a_file_that_changed_meanwhile_begins_again(tmp_path, server):
  of = on_the_web(server, LARGE)
  part = tmp_path / 'd' / 'data_sets' / 'partial'
  part.mkdir(parents=True)
  name = hashlib.sha256(f'{server.base}/a.jsonl'.encode()).hexdigest()
  (part / name).write_bytes(b'of an older version')
  (part / f'{name}.etag').write_text('"old"')
  found = get(of, tmp_path, server)
  assert (found / 'a.jsonl').read_bytes() == LARGE
  assert server.ranges() == ['bytes=19-']


def hub(server: Server, content: bytes, sha256: str = '') -> source.DataSet:
  files = [
    {'type': 'directory', 'path': 'data'},
    {'type': 'file', 'path': 'data/a b.jsonl'},
    {'type': 'file', 'path': 'README.md'},
  ]
  if sha256:
    files[1]['lfs'] = {'oid': sha256}
  server.files['/api/datasets/tea/house/tree/main'] = json.dumps(files).encode()
  server.files['/datasets/tea/house/resolve/main/data/a%20b.jsonl'] = content
  return tea(source.Location(huggingface='tea/house'), 'data/*.jsonl')


def test_the_hubs_files_that_are_read_are_downloaded(
  tmp_path, server, monkeypatch
):
  monkeypatch.setenv('HF_TOKEN', 'secret')
  server.token = 'Bearer secret'
  found = get(hub(server, LINE), tmp_path, server)
  assert (found / 'data' / 'a b.jsonl').read_bytes() == LINE
  written = [p for p in tmp_path.rglob('*') if p.is_file()]
  assert not [p for p in written if b'secret' in p.read_bytes()]


def test_the_token_goes_to_the_hub_alone(tmp_path, server, monkeypatch):
  monkeypatch.setenv('HF_TOKEN', 'secret')
  of = on_the_web(server)
  acquire.folder(of, str(tmp_path / 'm'), str(tmp_path / 'd'), acquire.Hosts())
  assert all('Authorization' not in headers for _, headers in server.asked)


def test_a_file_that_the_hub_has_another_hash_of_is_refused(tmp_path, server):
  of = hub(server, LINE, hashlib.sha256(b'other').hexdigest())
  with pytest.raises(errors.UserError, match='not what the hub says'):
    get(of, tmp_path, server)


def test_a_repository_comes_as_a_zip_file(tmp_path, server):
  server.files['/tea/house/zip/HEAD'] = b'PK'
  of = tea(source.Location(github='tea/house'))
  assert (get(of, tmp_path, server) / 'house.zip').read_bytes() == b'PK'


def test_what_nobody_publishes_as_files_is_said(tmp_path, server):
  of = dataclasses.replace(tea(source.Location()), page='https://tea.example')
  with pytest.raises(errors.UserError, match='nobody publishes.*tea.example'):
    get(of, tmp_path, server)
