import json
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

from hephaestus_jax import errors, main
from hephaestus_jax.corpus import catalogue, convert, document, lines, source
from hephaestus_jax.corpus.adapters import fields

GOOD = {'query': 'Tea?', 'reply': 'Yes.'}


def asked(record):
  return (
    document.Segment('user', fields.text(record, 'query')),
    document.Segment('answer', fields.text(record, 'reply')),
  )


def described(record):
  return (document.Segment('documentation', fields.text(record, 'about')),)


TEA = source.DataSet(
  name='tea',
  title='Tea',
  kind='trajectory',
  format='QA',
  licence='MIT',
  location=source.Location(),
  files=(
    source.Files('tools/*.json', described),
    source.Files('train/*.json', asked),
    source.Files('extra/*.csv', asked),
  ),
)


@pytest.fixture(autouse=True)
def tea_house(monkeypatch):
  monkeypatch.setattr(catalogue, 'SOURCES', (TEA, *catalogue.SOURCES))


def run(path, tmp_path):
  out = tmp_path / 'out'
  result = convert.convert('tea', str(path), str(out))
  written = (out / 'documents.jsonl').read_text(encoding='utf-8').splitlines()
  documents = [document.from_record(json.loads(line)) for line in written]
  assert json.loads((out / 'drops.json').read_text()) == result
  assert result['records'] == result['documents'] + result['dropped']
  assert len(documents) == result['documents']
  return result, documents


def test_a_folder_is_converted_and_every_record_counted(tmp_path):
  for place, records in {
    'train/b.json': [GOOD, {'query': 'Tea?'}, {'query': ' ', 'reply': 'x'}],
    'train/a.json': [GOOD],
    'tools/kettle.json': [{'about': 'Boils.'}],
    'LICENSE': 'free',
  }.items():
    path = tmp_path / 'data' / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records))
  result, documents = run(tmp_path / 'data', tmp_path)
  assert result == {
    'source': 'tea',
    'files': 3,
    'records': 5,
    'documents': 3,
    'dropped': 2,
    'drops': {'empty_query': 1, 'no_reply': 1},
    'roles': {'answer': 2, 'documentation': 1, 'user': 2},
    'characters': 22,
    'patterns': {'tools/*.json': 1, 'train/*.json': 2},
    'guessed': [],
    'unmatched_files': ['LICENSE'],
  }
  assert [one.id for one in documents] == [
    'tea/train/tools/kettle.json-0',
    'tea/train/train/a.json-0',
    'tea/train/train/b.json-0',
  ]


def test_a_file_that_is_given_alone_is_read_by_its_name(tmp_path):
  (tmp_path / 'train').mkdir()
  path = tmp_path / 'train' / 'a.json'
  path.write_text(json.dumps([GOOD]))
  result, _ = run(path, tmp_path)
  assert result['patterns'] == {'train/*.json': 1}
  assert not result['guessed']


@pytest.mark.parametrize(
  ('name', 'record', 'pattern'),
  [
    ('other.json', GOOD, 'train/*.json'),
    ('other.json', {'about': 'Boils.'}, 'tools/*.json'),
    ('other.jsonl', GOOD, 'train/*.json'),
    ('other.json', {'neither': 1}, 'tools/*.json'),
  ],
)
def test_a_file_that_fits_no_pattern_is_read_by_what_takes_it(
  tmp_path, name, record, pattern
):
  path = tmp_path / name
  path.write_text(json.dumps(record) + '\n')
  result, _ = run(path, tmp_path)
  assert result['patterns'] == {pattern: 1}
  assert result['guessed'] == [name]


def test_a_folder_in_which_nothing_fits_is_read_by_what_takes_it(tmp_path):
  folder = tmp_path / 'data'
  folder.mkdir()
  (folder / 'x.json').write_text(json.dumps([GOOD]))
  (folder / 'notes.md').write_text('words')
  result, _ = run(folder, tmp_path)
  assert result['documents'] == 1
  assert result['guessed'] == ['x.json']
  assert result['unmatched_files'] == ['notes.md']


def test_an_archive_counts_as_a_folder(tmp_path):
  (tmp_path / 'top' / 'train').mkdir(parents=True)
  (tmp_path / 'top' / 'train' / 'a.json').write_text(json.dumps([GOOD]))
  for packed in ('zip', 'gztar'):
    path = shutil.make_archive(str(tmp_path / 'x'), packed, tmp_path, 'top')
    result, documents = run(path, tmp_path)
    assert result['patterns'] == {'train/*.json': 1}
    assert documents[0].id == 'tea/train/top/train/a.json-0'


def test_an_earlier_result_is_replaced(tmp_path):
  path = tmp_path / 'a.json'
  for records in ([GOOD, GOOD], [GOOD]):
    path.write_text(json.dumps(records))
    result, _ = run(path, tmp_path)
  assert result['documents'] == 1


def test_documents_that_a_command_wrote_are_converted_to_themselves(tmp_path):
  path = tmp_path / 'a.json'
  path.write_text(json.dumps([GOOD]))
  _, documents = run(path, tmp_path)
  (tmp_path / 'made').mkdir()
  made = tmp_path / 'made' / 'documents-00000-of-00001.jsonl'
  (tmp_path / 'out' / 'documents.jsonl').rename(made)
  _, again = run(tmp_path / 'made', tmp_path)
  assert again == documents


def test_what_is_converted_can_be_read_by_other_commands(tmp_path):
  (tmp_path / 'tea.json').write_text(json.dumps([GOOD]))
  _, documents = run(tmp_path / 'tea.json', tmp_path)
  assert list(lines.read(tmp_path / 'out')) == documents


def test_a_package_is_converted_as_a_build_does(tmp_path):
  path = tmp_path / 'chatterbot_corpus-1-py3-none-any.whl'
  with zipfile.ZipFile(path, 'w') as file:
    file.writestr('chatterbot_corpus/data/english/x.yml', 'conversations: 1')
  out = str(tmp_path / 'out')
  result = convert.convert('chatterbot', str(path), out)
  assert result['files'] == result['records'] == result['dropped'] == 1
  with pytest.raises(errors.UserError, match='no archive of botocore'):
    convert.convert('botocore_docs', str(path), out)


@pytest.mark.parametrize(
  ('name', 'path', 'message'),
  [
    ('teas', '.', 'Did you mean tea'),
    ('tea', 'nowhere', 'nowhere does not exist'),
    ('tea', '/dev/null', 'neither a file nor a folder'),
    ('tea', 'empty', 'reads none of the files in .*tools/\\*.json'),
  ],
)
def test_a_mistake_is_one_message(tmp_path, monkeypatch, name, path, message):
  monkeypatch.chdir(tmp_path)
  pathlib.Path('empty').mkdir()
  with pytest.raises(errors.UserError, match=message):
    convert.convert(name, path, 'out')
  assert not pathlib.Path('out').exists()


def test_the_command_line_converts_and_prints_the_account(tmp_path, capsys):
  path = tmp_path / 'a.json'
  path.write_text(json.dumps([GOOD, 7]))
  arguments = ['corpus', '--convert', 'tea', str(path), '--json']
  with pytest.raises(errors.UserError, match='--out DIR'):
    main.execute(arguments)
  result = main.execute([*arguments, '--out', str(tmp_path / 'out')])
  captured = capsys.readouterr()
  assert json.loads(captured.out) == result
  assert result['drops'] == {'record_is_int': 1}
  assert '2 records' in captured.err and 'record_is_int' in captured.err


@pytest.mark.parametrize(
  'arguments',
  [
    ['--list', 'gin/runs/demo.gin'],
    ['--list', '--gin.RUN_DIR=x'],
    ['--list', '--dry_run'],
    ['--list', '--convert', 'tea', 'x'],
    ['--out', 'x'],
  ],
)
def test_what_is_for_a_run_is_refused_without_one(arguments):
  with pytest.raises(errors.UserError, match='--list|--out'):
    main.execute(['corpus', *arguments])


def test_listing_loads_neither_a_build_nor_tensorflow():
  script = (
    'import sys\n'
    'from hephaestus_jax import main\n'
    'main.execute(["corpus", "--list"])\n'
    'assert "tensorflow" not in sys.modules\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', script], capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stderr
