"""The whole build on a small archive of our own: see testdata/corpus."""

import hashlib
import importlib
import json
import pathlib
import random
import signal
import subprocess
import sys
import time
import zipfile

import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core import shuffle

from hephaestus_jax import errors
from hephaestus_jax.corpus import (
  build,
  catalogue,
  document,
  forge,
  ledger,
  pipelines,
)
from hephaestus_jax.corpus.filters import (
  classify,
  decontaminate,
  deduplicate,
  quality,
)

sys.path.append(str(pathlib.Path(__file__).parents[1]))
import portable  # noqa: E402

TESTDATA = pathlib.Path(__file__).parents[1] / 'testdata' / 'corpus'
AGENT = ' the request calls an endpoint'
GENERAL = ' the king told his story'
SYSTEM = 'Tools: list, delete, copy.'
ASKED = (
  'Please copy the seven oldest records of my northern archive into a bucket '
  'that nobody but the auditors can read.'
)
QUIZZED = (
  'Find every train that leaves the harbour before noon and has at least two '
  'free seats in the quiet carriage.'
)


def prose(seed, words=60):
  draw = random.Random(seed)
  return ' '.join(
    ''.join(draw.choice('abcdefghij') for _ in range(5)) for _ in range(words)
  )


def doc(group, name, text):
  return [group, name, [['documentation', text]]]


def call(group, name, user, action):
  return [group, name, [['system', SYSTEM], ['user', user], ['action', action]]]


def members():
  """What is in the archive: a document for every reason to drop one."""
  docs = [
    doc(f's{i}', f'op{j}', prose(f'{i}.{j}') + AGENT)
    for i in range(12)
    for j in range(6)
  ]
  calls = [
    call(f's{i}', f'{j}', prose(f'c{i}.{j}', 20), prose(f'a{i}.{j}', 14))
    for i in range(12)
    for j in range(2)
  ]
  return {
    'small/docs1': [
      *docs[:40],
      ['s1', 'broken', None],
      doc('s2', 'nothing', ' \n\x00'),
      doc('s3', 'short', 'Deletes it.'),
      doc('s4', 'copy', prose('5.1').upper() + '\n' + AGENT),
      doc('s4', 'edited', prose('6.1') + AGENT + ' twice'),
      doc('s5', 'leak', f'{prose("leak")} {ASKED} {prose("leak2")}'),
    ],
    'small/docs2': [
      *docs[40:],
      doc('vault', 'kept', prose('v')),
      doc('s6', 'like-vault', prose('v') + ' and more than that'),
      doc('s7', 'quiz', f'{prose("quiz")} {QUIZZED}'),
    ],
    'small/calls': [*calls, call('vault', 'copy', ASKED, 'copy(7, "audit")')],
    'small/prose': [
      ['book', f'{i}', [['text', prose(f'p{i}') + GENERAL]]] for i in range(60)
    ],
    'small/pages': [
      ['site', f'{i}', [['documentation', prose(f'w{i}') + word]]]
      for i in range(10)
      for word in [AGENT if i < 5 else GENERAL]
    ],
  }


@pytest.fixture(scope='module', autouse=True)
def small_world():
  """The catalogue is that of testdata, here and in Beam's workers."""
  with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(TESTDATA))
    patch.setenv('PYTHONPATH', str(TESTDATA))
    small_sources = importlib.import_module('small_sources')
    patch.setattr(catalogue, 'SOURCES', small_sources.SOURCES)
    yield


@pytest.fixture(scope='module')
def shelf(tmp_path_factory):
  """A folder with downloads and the files that pin them."""
  tmp_path = tmp_path_factory.mktemp('shelf')
  downloads = tmp_path / 'downloads'
  downloads.mkdir()
  contents = {
    'small': {
      name: '\n'.join(json.dumps(record) for record in records)
      for name, records in members().items()
    },
    'bfcl-eval': {
      'quiz/Q.json': json.dumps({'question': [[{'content': QUIZZED}]]})
    },
  }
  for package, files in contents.items():
    path = downloads / f'{package.replace("-", "_")}-1-py3-none-any.whl'
    with zipfile.ZipFile(path, 'w') as wheel:
      for name, text in files.items():
        wheel.writestr(name, text)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / f'{package}.txt').write_text(
      f'{package}==1 --hash=sha256:{digest}\n'
    )
  return tmp_path


@pytest.fixture(scope='module')
def built(shelf):
  """The corpus that most tests look at."""
  build.build(**arguments(shelf))
  return shelf / 'corpus'


def arguments(shelf, name='corpus', **changes):
  return {
    'sources': ('docs', 'calls', 'prose', 'pages'),
    'requirements': str(shelf / 'small.txt'),
    'benchmark_requirements': str(shelf / 'bfcl-eval.txt'),
    'downloads': str(shelf / 'downloads'),
    'manual_dir': str(shelf / 'manual'),
    'folders': {},
    'output_dir': str(shelf / name),
    'quality_filter': quality.Quality(),
    'classifier': classify.Classifier(
      labels={'docs': 'agent', 'prose': 'general'},
      filtered=('pages',),
      keep_share=0.5,
      min_count=1,
      epoch=50,
      bucket=40_000,
    ),
    'near': deduplicate.NearDuplicates(),
    'overlap': decontaminate.Decontaminate(files=('quiz/Q*.json',)),
    'heldout_share': 0.1,
    'heldout_groups': ('vault',),
    'validation_share': 0.1,
    'beam_options': portable.IN_MEMORY,
    **changes,
  }


def rows(folder, source):
  steps = json.loads((folder / 'drops.json').read_text())['steps']
  return {row['step']: row for row in steps if row['source'] == source}


def test_every_drop_has_a_step_and_a_reason_and_nothing_is_lost(built):
  docs = rows(built, 'docs')
  assert docs['read']['drops'] == {'no_text': 1}
  assert docs['normalise']['drops'] == {'empty': 1}
  assert docs['quality']['drops'] == {'too_short': 1}
  assert docs['exact_duplicates']['drops'] == {'of_train': 1}
  assert docs['near_duplicates']['drops'] == {'of_heldout': 1, 'of_train': 1}
  assert docs['decontaminate']['drops'] == {'heldout_requests': 1, 'quiz/Q': 1}
  pages = rows(built, 'pages')
  assert pages['classifier']['drops'] == {'general': 5}
  everything = rows(built, 'all')
  records = sum(map(len, members().values()))
  assert everything['read']['in'] == records
  left = records
  for step in ledger.STEPS:
    assert everything[step]['in'] == left
    left -= sum(everything[step]['drops'].values())
    assert everything[step]['out'] == left
  composition = json.loads((built / 'composition.json').read_text())
  assert sum(part['documents'] for part in composition) == left


def test_examples_of_drops_can_be_looked_at(built):
  examples = json.loads((built / 'drops.json').read_text())['examples']
  assert examples['quality']['too_short'] == [['docs/s3/short', 'Deletes it.']]
  assert examples['near_duplicates']['of_heldout'] == [
    ['docs/s6/like-vault', 'like docs/vault/kept']
  ]
  overlaps = json.loads((built / 'decontamination.json').read_text())
  assert overlaps['benchmarks']['quiz/Q']['documents'] == 1
  assert {
    'id': 'docs/s7/quiz',
    'benchmark': 'quiz/Q',
    'ngram': (
      'find every train that leaves the harbour before noon and has at least'
    ),
  } in overlaps['cut']
  learned = json.loads((built / 'classifier.json').read_text())
  assert learned['test']['accuracy'] > 0.9
  assert set(learned['ngrams']) == {'agent', 'general'}
  assert learned['counted_in'] == 'characters'
  assert 0.5 * learned['scored'] <= learned['kept'] < learned['scored']
  nearest = learned['nearest']
  assert {row['kept'] for row in nearest} == {True, False}
  assert all(row['id'].startswith('pages/') for row in nearest)
  assert all(row['text'] for row in nearest)
  shown = json.loads((built / 'examples.json').read_text())
  assert shown['calls']['roles'] == ['system', 'user', 'action']
  assert set(shown) == {'docs', 'calls', 'prose', 'pages'}


@pytest.mark.slow
def test_tfds_reads_the_corpus_without_our_code(built):
  reading = f"""
import json, tensorflow_datasets as tfds
rows = tfds.load('forge/calls', data_dir={str(built)!r},
                 split='heldout').as_numpy_iterator()
row = next(r for r in rows if r['id'] == b'calls/vault/copy')
print(json.dumps([row['kind'].decode(), row['licence'].decode(),
                  [r.decode() for r in row['roles']],
                  [t.decode() for t in row['texts']]]))
"""
  found = subprocess.run(
    [sys.executable, '-c', reading], capture_output=True, check=True, text=True
  )
  assert json.loads(found.stdout) == [
    'instruction',
    'MIT',
    ['system', 'user', 'action'],
    [SYSTEM, ASKED, 'copy(7, "audit")'],
  ]


def test_a_held_out_group_is_in_no_other_split(shelf):
  build.build(**arguments(shelf, 'heldout', heldout_share=0.4))
  groups = {}
  for source in ('docs', 'calls'):
    builder = tfds.builder(f'forge/{source}', data_dir=str(shelf / 'heldout'))
    for split in builder.info.splits:
      for row in builder.as_dataset(split=split).as_numpy_iterator():
        group = row['id'].decode().split('/')[1]
        groups.setdefault(group, set()).add(split)
  heldout = {group for group, found in groups.items() if 'heldout' in found}
  assert 'vault' in heldout
  assert 3 <= len(heldout) <= 10
  assert all(groups[group] == {'heldout'} for group in heldout)


def test_a_second_build_is_a_reuse_and_other_arguments_are_refused(
  shelf, built, capsys
):
  before = portable.hashes(built)
  build.build(**arguments(shelf, beam_options=()))
  assert capsys.readouterr().out == f'reused {built}\n'
  assert portable.hashes(built) == before
  assert not (built / 'scratch').exists()
  with pytest.raises(errors.UserError, match='validation_share was 0.1'):
    build.build(**arguments(shelf, validation_share=0.2))


def test_the_licence_list_leaves_documents_out_and_counts_them(shelf, capsys):
  changes = {'licences': ['MIT'], 'classifier': None}
  build.build(**arguments(shelf, 'free', **changes))
  pages = rows(shelf / 'free', 'pages')
  assert pages['licence']['drops'] == {'GPL-3.0-only': 10}
  assert not (shelf / 'free' / 'forge' / 'pages').exists()
  assert '10 GPL-3.0-only' in capsys.readouterr().out


def a_command(shelf, name, *beam_options):
  """The command line of a process that builds the same corpus elsewhere."""
  script = f"""
import sys
sys.path[:0] = [{str(pathlib.Path(__file__).parent)!r}, {str(TESTDATA)!r}]
import pathlib, build_test, small_sources
from hephaestus_jax.corpus import build, catalogue
catalogue.SOURCES = small_sources.SOURCES
build.build(**build_test.arguments(
  pathlib.Path({str(shelf)!r}), {name!r}, beam_options={beam_options!r}))
"""
  return [sys.executable, '-c', script]


@pytest.mark.slow
@pytest.mark.long
def test_killed_in_a_step_it_goes_on_there_to_the_same_bytes(shelf, built):
  folder = shelf / 'killed'
  command = a_command(shelf, 'killed/corpus', '--direct_num_workers=2')
  # Killed alone: its workers find out by themselves.
  for done in ('read', 'decontaminate.partial-*'):
    killed = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while killed.poll() is None and not list(folder.glob(f'*.work-*/{done}')):
      time.sleep(0.05)
    killed.kill()
    said, _ = killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not (folder / 'corpus').exists()
  assert 'corpus: read, normalise, check: reused' in said
  ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
  assert 'corpus: deduplicate: reused' in ended.stdout
  assert portable.hashes(folder / 'corpus') == portable.hashes(built)
  assert [path.name for path in folder.iterdir()] == ['corpus']


@pytest.mark.slow
@pytest.mark.long
def test_a_job_server_makes_the_same_documents(shelf, built, tmp_path):
  with portable.job_server(tmp_path, {'PYTHONPATH': str(TESTDATA)}) as options:
    command = a_command(shelf, 'served', *options)
    subprocess.run(command, check=True, timeout=300)
  assert portable.hashes(shelf / 'served') == portable.hashes(built)


def test_sorting_through_files_changes_no_byte(tmp_path, monkeypatch):
  def documents():
    for i in range(200):
      segments = (document.Segment('text', prose(i)),)
      yield document.Document(f'docs/g/{i}', 'docs', 'text', '', '', segments)

  for name, limit in (('memory', 64 << 20), ('files', 1_000)):
    monkeypatch.setattr(shuffle, 'MAX_MEM_BUFFER_SIZE', limit)
    forge.Forge(
      source='docs',
      description='',
      homepage='',
      documents={'train': documents},
      data_dir=str(tmp_path / name),
    ).download_and_prepare()
  found = portable.hashes(tmp_path / 'memory')
  assert portable.hashes(tmp_path / 'files') == found
  assert len(found) == 3


def test_workers_that_see_another_disk_are_told(tmp_path):
  with pytest.raises(errors.UserError, match='left no file tallies in'):
    list(pipelines.lines(tmp_path, 'tallies'))


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'sources': ('docs', 'docs')}, "sources names 'docs' 2 times"),
    ({'sources': ('dosc',), 'classifier': None}, 'Did you mean docs'),
    ({'sources': ('docs', 'calls')}, "names the source 'prose', which is not"),
    (
      {'classifier': classify.Classifier(labels={'docs': 'tool'})},
      "labels 'docs' as 'tool'",
    ),
    (
      {'overlap': decontaminate.Decontaminate(package='quiz')},
      'does not pin quiz',
    ),
    (
      {'requirements': 'bfcl-eval.txt', 'classifier': None},
      'reads the package small, which',
    ),
    ({'beam_options': ('--runner=Flonk',)}, "no runner 'Flonk'"),
    (
      {'heldout_groups': ('vualt',), 'classifier': None},
      "names 'vualt', but no source has that group. Did you mean vault",
    ),
  ],
)
def test_the_users_mistakes_are_told(shelf, changes, message):
  if 'requirements' in changes:
    changes = {**changes, 'requirements': str(shelf / changes['requirements'])}
  with pytest.raises(errors.UserError, match=message):
    build.build(**arguments(shelf, 'mistake', **changes))
