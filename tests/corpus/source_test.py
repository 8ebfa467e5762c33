import copy
import dataclasses
import json
import zipfile
from typing import Any

import pytest

from hephaestus_jax.corpus import document, source, splits
from hephaestus_jax.corpus.adapters import entry, fields
from hephaestus_jax.corpus.files import archive


def dialog(record: Any) -> source.Segments:
  return (
    document.Segment('user', fields.text(record, 'asked')),
    document.Segment('answer', fields.text(record, 'answered')),
  )


def nothing(record: Any) -> source.Segments:
  del record
  return ()


def decoded(record: Any) -> source.Segments:
  return (document.Segment('text', json.loads(record['text'])),)


def refused(record: Any) -> source.Segments:
  raise entry.MalformedError(f'record_is_{type(record).__name__}')


TEA = source.DataSet(
  name='tea',
  title='Tea',
  kind='trajectory',
  format='Dialog',
  licence='MIT',
  location=source.Location(huggingface='tea/house'),
  files=(
    source.Files('data/test.jsonl', dialog, split=source.HELDOUT),
    source.Files('data/*.{jsonl,json}', dialog),
    source.Files('none/*.jsonl', nothing),
    source.Files('half/*.jsonl', decoded),
    source.Files('not/*.txt', refused),
  ),
)


@pytest.fixture
def folder(tmp_path):
  (tmp_path / 'data').mkdir()
  (tmp_path / 'data' / 'a.jsonl').write_text(
    '{"asked": "Tea?", "answered": "Yes."}\n'
    '{"asked": "Tea?", "answered": 1}\nnope\n'
  )
  (tmp_path / 'data' / 'test.jsonl').write_text(
    '{"asked": "Milk?", "answered": "No."}\n'
  )
  (tmp_path / 'README.md').write_text('Tea.')
  return tmp_path


def read(folder, member):
  return list(TEA.read(archive.Folder(folder), member))


def test_a_record_is_one_document_or_one_drop(folder):
  assert read(folder, 'data/a.jsonl') == [
    document.Document(
      id='tea/train/data/a.jsonl-0',
      source='tea',
      kind='trajectory',
      licence='MIT',
      url='https://huggingface.co/datasets/tea/house',
      segments=(
        document.Segment('user', 'Tea?'),
        document.Segment('answer', 'Yes.'),
      ),
    ),
    document.Drop('tea/train/data/a.jsonl-1', 'tea', 'answered_is_int'),
    document.Drop('tea/train/data/a.jsonl-2', 'tea', 'invalid_json'),
  ]


def test_what_the_publisher_held_out_is_never_trained_on(folder):
  (found,) = read(folder, 'data/test.jsonl')
  rule = splits.Splits(0.0, [], 0.0, [])
  assert found.group == source.HELDOUT
  assert rule.of(found.id) == 'heldout'
  assert rule.of(read(folder, 'data/a.jsonl')[0].id) == 'train'


def test_files_that_nothing_fits_are_no_members(folder):
  names = archive.Folder(folder).names()
  assert TEA.members(names) == ['data/a.jsonl', 'data/test.jsonl']
  with pytest.raises(ValueError, match='README.md'):
    TEA.read(archive.Folder(folder), 'README.md')


@pytest.mark.parametrize(
  ('place', 'content', 'reason'),
  [
    ('none/a.jsonl', '{}', 'no_segments'),
    ('half/a.jsonl', json.dumps({'text': '"\\ud800"'}), 'lone_surrogate'),
    ('not/a.txt', 'words', 'record_is_dict'),
  ],
)
def test_what_a_mapping_gives_is_checked(tmp_path, place, content, reason):
  path = tmp_path / place
  path.parent.mkdir()
  path.write_text(content)
  (found,) = read(tmp_path, place)
  assert found == document.Drop(f'tea/train/{place}-0', 'tea', reason)


def test_half_a_character_from_an_adapter_is_a_drop(tmp_path):
  def entries(*_: Any):
    for name, text in (('good', 'tea'), ('bad', '\ud800')):
      segments = (document.Segment('text', text),)
      yield entry.Entry('g', name, segments)

  drop = document.Drop('tea/g/bad', 'tea', 'lone_surrogate')
  packages = source.Packages(
    'tea', 'text', {'tea': 'MIT'}, '', lambda names: list(names), entries
  )
  with_bytes = dataclasses.replace(
    TEA, files=(source.Files('*.bin', entries, unit='bytes'),)
  )
  (tmp_path / 'tea').mkdir()
  (tmp_path / 'tea' / 'a.bin').write_bytes(b'tea')
  opened = archive.Folder(tmp_path / 'tea')
  for of in (packages, with_bytes):
    good, bad = of.read(opened, 'a.bin')
    assert good.id == 'tea/g/good'
    assert bad == drop


def test_documents_that_a_command_wrote_are_taken_as_they_are(tmp_path):
  ours = document.Document(
    'tea/site/page',
    'tea',
    'documentation',
    'CC0-1.0',
    'https://t.example',
    (document.Segment('documentation', 'Brew.'),),
  )
  theirs = {**document.to_record(ours), 'id': 'ale/a/b', 'source': 'ale'}
  name = 'documents-00000-of-00001.jsonl'
  lines = [json.dumps(document.to_record(ours)), json.dumps(theirs), '{']
  (tmp_path / name).write_text('\n'.join(lines))
  assert TEA.members([name]) == [name]
  found = read(tmp_path, name)
  assert found[0] == ours
  assert [drop.reason for drop in found[1:]] == [
    'of_another_source',
    'line_not_json',
  ]


def test_an_encrypted_member_of_a_zip_file_is_one_drop(tmp_path):
  path = tmp_path / 'tea.zip'
  with zipfile.ZipFile(path, 'w') as file:
    file.writestr('data/a.jsonl', '{}')
  content = bytearray(path.read_bytes())
  for mark in (b'PK\x03\x04', b'PK\x01\x02'):  # the flag of both headers
    content[content.index(mark) + (6 if mark[2] == 3 else 8)] |= 1
  path.write_bytes(content)
  assert [d.reason for d in TEA.read(archive.opened(path), 'data/a.jsonl')] == [
    'damaged_file'
  ]


@pytest.mark.parametrize(
  ('pattern', 'path', 'expected'),
  [
    ('data/*.jsonl', 'data/a.jsonl', True),
    ('data/*.jsonl', 'x/y/data/a.jsonl', True),
    ('data/*.jsonl', 'data/a.jsonl.gz', True),
    ('data/*.jsonl', 'data/a.jsonl.zst', True),
    ('data/*.jsonl', 'data/b/a.jsonl', False),
    ('data/*.jsonl', 'mydata/a.jsonl', False),
    ('data/**/*.json', 'data/a.json', True),
    ('data/**/*.json', 'data/b/c/a.json', True),
    ('*.{json,jsonl}', 'a.jsonl', True),
    ('*.{json,jsonl}', 'a.json2', False),
    ('plans/*', 'plans/2023-01-01', True),
    ('a+b.json', 'a+b.json', True),
    ('a.json', 'axjson', False),
    ('te?t.txt', 'test.txt', True),
  ],
)
def test_a_pattern_fits_the_end_of_a_path(pattern, path, expected):
  assert source.fits(pattern, path) is expected


@pytest.mark.parametrize(
  ('told', 'url'),
  [
    ('"https://tea.test/1"', 'https://tea.test/1'),
    ('7', 'https://huggingface.co/datasets/tea/house'),
    ('""', 'https://huggingface.co/datasets/tea/house'),
  ],
)
def test_a_records_own_address_is_that_of_its_document(tmp_path, told, url):
  web = dataclasses.replace(
    TEA, files=(source.Files('*.jsonl', dialog, address='url'),)
  )
  (tmp_path / 'a.jsonl').write_text(
    f'{{"asked": "Tea?", "answered": "Yes.", "url": {told}}}\n'
  )
  (found,) = web.read(archive.opened(tmp_path), 'a.jsonl')
  assert isinstance(found, document.Document)
  assert found.url == url


def test_a_source_says_where_it_is_from():
  def home(**where):
    return source.DataSet(
      'tea', 'Tea', 'text', 'QA', 'MIT', source.Location(**where)
    ).home

  assert home(huggingface='a/b') == 'https://huggingface.co/datasets/a/b'
  assert home(github='a/b') == 'https://github.com/a/b'
  assert home(urls=('https://a.example/b.zip',)) == 'https://a.example/b.zip'
  assert home(made_by='crawl') == 'hephaestus crawl'


def test_a_folder_can_be_sent_to_a_worker(folder):
  sent = copy.deepcopy(archive.Folder(folder))
  assert sent.read('README.md') == b'Tea.'
