"""Web text near the seeds: the right text, all counted, safe from kills."""

import gzip
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from hephaestus_jax import errors
from hephaestus_jax.corpus import document, lines, stored
from hephaestus_jax.corpus.retrieve import (
  embedding_map,
  encoder,
  neighbours,
  retrieve,
  search,
  vectors,
  web,
)

sys.path.append(str(pathlib.Path(__file__).parents[2]))
import tiny_bert  # noqa: E402

AGENT = ['bucket', 'api', 'call', 'parameter', 'request', 'endpoint', 'token']
KING = ['king', 'castle', 'river', 'summer', 'letter', 'garden', 'horse']
K = 3
LIKE, NEAREST = 6, 7  # web records of which the first is redundant


def sentence(words: list[str], seed: str, length: int = 24) -> str:
  draw = random.Random(seed)
  return ' '.join(draw.choice(words) for _ in range(length))


SEEDS = [sentence(AGENT, f'seed{i}') for i in range(4)]


def a_seed(name: str, text: str, kind='documentation') -> document.Document:
  segments = (
    document.Segment('system', 'king ' * 40),  # what must not be searched for
    document.Segment('documentation', text),
  )
  return document.Document(f'shop/{name}', 'shop', kind, 'MIT', '', segments)


def rows(count: int) -> list[dict]:
  """As FineWeb has them: two of three are about kings."""
  texts = [
    sentence(AGENT if i % 3 == 0 else KING, f'web{i}') for i in range(count)
  ]
  # The second of two that say nearly the same is nearer to a seed.
  texts[LIKE] = SEEDS[0] + ' call'
  texts[NEAREST] = SEEDS[0].upper()  # the same to an uncased encoder
  return [
    {'text': text, 'id': f'<urn:uuid:{i}>', 'url': f'https://a.example/{i}'}
    for i, text in enumerate(texts)
  ]


def write_web(folder: pathlib.Path, count: int = 60) -> pathlib.Path:
  """A parquet file, and lines of which four are no text worth encoding."""
  found = rows(count)
  half = count // 2
  (folder / 'CC-MAIN-2024-10').mkdir(parents=True)
  parquet.write_table(
    pyarrow.Table.from_pylist(found[:half]),
    folder / 'CC-MAIN-2024-10' / '000_00000.parquet',
  )
  flawed = [
    {'text': 'king'},
    {'text': 'king ' * 2000},
    {'title': 'no text'},
    '{"text": ',
  ]
  with gzip.open(folder / 'more.jsonl.gz', 'wt') as file:
    for row in [*flawed, *found[half:]]:
      file.write((row if isinstance(row, str) else json.dumps(row)) + '\n')
  return folder


@pytest.fixture(scope='module')
def place(tmp_path_factory):
  """Seeds, web and an encoder's checkpoint."""
  folder = tmp_path_factory.mktemp('retrieve')
  tiny_bert.random(folder / 'bert', [*AGENT, *KING, '.'])
  (folder / 'seeds').mkdir()
  lines.write(
    folder / 'seeds',
    [
      *(a_seed(f'api/{i}', text) for i, text in enumerate(SEEDS)),
      a_seed('heldout/9', sentence(KING, 'hidden')),
      *(a_seed(f'book/{i}', sentence(KING, f'b{i}'), 'text') for i in range(3)),
    ],
  )
  write_web(folder / 'web')
  return folder


def arguments(place: pathlib.Path, **changes) -> dict:
  seeds = [str(place / 'seeds')]
  return {
    'seeds': stored.Selection(seeds, ['documentation']),
    'general': stored.Selection(seeds, ['text']),
    'web': web.Web(
      str(place / 'web'),
      shard_records=25,
      min_characters=50,
      max_characters=5000,
    ),
    'encode': encoder.Encoder(
      str(place / 'bert'), 'mean', chunk_tokens=32, batch_tokens=512
    ),
    'near': search.Search(neighbours.Index(), top_k=K, least_score=0.0),
    'redundant': 0.993,
    'draw': embedding_map.EmbeddingMap(points=10, perplexity=5.0),
    **changes,
  }


@pytest.fixture(scope='module')
def made(place):
  """An output folder, and what the command returned."""
  output = place / 'output'
  return output, retrieve.retrieve(**arguments(place), output_dir=str(output))


def content(folder: pathlib.Path) -> dict[str, bytes]:
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in sorted(folder.rglob('*'))
    if path.is_file()
  }


def brute_force(place: pathlib.Path) -> dict[str, list[tuple[str, float]]]:
  """Seed -> its K nearest of all web texts that are long enough."""
  encode = arguments(place)['encode']
  texts = [row['text'] for row in rows(60)]
  # Lines with a flaw stand before the second half.
  names = [
    f'retrieved_web/train/fineweb/CC-MAIN-2024-10/000_00000.parquet-{i}'
    if i < 30
    else f'retrieved_web/train/fineweb/more.jsonl.gz-{i - 30 + 4}'
    for i in range(60)
  ]
  cosines = encode(SEEDS) @ encode(texts).T
  return {
    f'shop/api/{i}': [
      (names[j], cosines[i, j]) for j in np.argsort(-cosines[i])[:K]
    ]
    for i in range(4)
  }


def test_neighbours_are_those_of_a_comparison_with_everything(place, made):
  found: dict[str, list[tuple[str, float]]] = {}
  for line in (made[0] / 'neighbours.jsonl').read_text().splitlines():
    pair = json.loads(line)
    found.setdefault(pair['seed'], []).append((pair['web'], pair['score']))
  expected = brute_force(place)
  assert list(found) == list(expected)
  for seed, pairs in expected.items():
    assert [name for name, _ in found[seed]] == [name for name, _ in pairs]
    np.testing.assert_allclose(
      [score for _, score in found[seed]], [s for _, s in pairs], atol=1e-5
    )


def test_every_record_is_a_document_or_a_drop(made):
  output, returned = made
  account = json.loads((output / 'drops.json').read_text())
  documents = list(lines.read(output))
  assert account['documents'] == len(documents)
  assert account['records'] == 64
  assert account['records'] == len(documents) + sum(account['drops'].values())
  assert account['drops'] == {
    'no_text': 1,
    'not_retrieved': 60 - len(documents) - 1,
    'redundant': 1,
    'too_long': 1,
    'too_short': 1,
    'truncated_json': 1,
  }
  assert returned['seeds'] == 4
  assert returned['neighbours'] == 4 * K
  assert returned | account == returned


def test_what_is_retrieved_is_about_what_the_seeds_are_about(made):
  for found in lines.read(made[0]):
    assert found.source == 'retrieved_web'
    assert found.kind == 'text'
    assert found.licence == 'ODC-By-1.0'
    words = set(found.text.lower().split())
    assert words & set(AGENT)
    assert not words & set(KING)


def test_of_texts_that_say_the_same_the_nearest_to_a_seed_stays(place, made):
  (line,) = (made[0] / 'redundant.jsonl').read_text().splitlines()
  pair = json.loads(line)
  assert pair['score'] >= 0.993
  names = {found.id for found in lines.read(made[0])}
  assert pair['like'] in names
  assert pair['web'] not in names
  best: dict[str, float] = {}
  for pairs in brute_force(place).values():
    for name, score in pairs:
      best[name] = max(score, best.get(name, 0))
  assert best[pair['like']] > best[pair['web']]
  assert (pair['web'][-2:], pair['like'][-2:]) == (f'-{LIKE}', f'-{NEAREST}')


def test_vectors_belong_to_the_documents_beside_them(place, made):
  output, _ = made
  encode = arguments(place)['encode']
  documents = list(lines.read(output))
  ids = vectors.read_ids(output / 'vectors' / 'retrieved.npy')
  assert ids == [found.id for found in documents]
  np.testing.assert_allclose(
    np.load(output / 'vectors' / 'retrieved.npy'),
    encode([found.text for found in documents]),
    atol=1e-5,
  )
  seeds = vectors.read_ids(output / 'vectors' / 'seeds.npy')
  assert seeds == [f'shop/api/{i}' for i in range(4)]
  general = vectors.read_ids(output / 'vectors' / 'general.npy')
  assert general == [f'shop/book/{i}' for i in range(3)]


def test_the_map_has_a_point_for_each_vector(made):
  output, _ = made
  drawn = json.loads((output / 'embedding_map.json').read_text())
  groups = [group for _, _, group in drawn['points']]
  retrieved = len(list(lines.read(output)))
  assert [groups.count(g) for g in ('seed', 'retrieved', 'general')] == [
    *(4, retrieved, 3)
  ]
  assert drawn['sources'][:4] == ['shop'] * 4
  assert drawn['seed'] == 0


def test_the_same_again_is_reused_and_something_else_is_refused(place, made):
  output, returned = made
  again = retrieve.retrieve(**arguments(place), output_dir=str(output))
  assert again == {**returned, 'reused': True}
  with pytest.raises(errors.UserError, match='redundant was 0.993, now 0.9'):
    retrieve.retrieve(**arguments(place, redundant=0.9), output_dir=str(output))


@pytest.mark.parametrize('shard_records', [64, 7])
def test_the_size_of_a_shard_changes_nothing_but_the_memory(
  place, made, shard_records, tmp_path
):
  other = web.Web(str(place / 'web'), 'fineweb', shard_records, 50, 5000)
  output = tmp_path / 'output'
  retrieve.retrieve(**arguments(place, web=other), output_dir=str(output))
  ours, theirs = content(output), content(made[0])
  for folder in (ours, theirs):
    del folder['inputs.json']
  assert ours == theirs
  assert [path.name for path in tmp_path.iterdir()] == ['output']


RUN = """
import sys; sys.path[:0] = {paths}
import pathlib, retrieve_test
from hephaestus_jax.corpus.retrieve import retrieve, web
place = pathlib.Path({place!r})
small = web.Web(str(place / 'web'), 'fineweb', 4, 50, 5000)
retrieve.retrieve(
  **retrieve_test.arguments(place, web=small), output_dir={output!r}
)
"""


def test_a_kill_costs_one_shard_and_changes_no_byte(place, tmp_path):
  folders = pathlib.Path(__file__).parent, pathlib.Path(__file__).parents[3]
  output = tmp_path / 'output'
  script = RUN.format(
    paths=[str(folder) for folder in folders],
    place=str(place),
    output=str(output),
  )
  process = subprocess.Popen(
    [sys.executable, '-c', script],
    stderr=subprocess.DEVNULL,
    start_new_session=True,
  )
  deadline = time.monotonic() + 300
  while not list(tmp_path.glob('output.work-*/shard-000002')):
    assert process.poll() is None, 'it ended before it could be killed'
    assert time.monotonic() < deadline
    time.sleep(0.01)
  os.killpg(process.pid, signal.SIGKILL)
  process.wait()
  assert not output.exists()
  (work,) = tmp_path.glob('output.work-*')
  done = {path: path.stat().st_mtime_ns for path in work.glob('shard-??????')}
  assert 3 <= len(done) < 17
  seen = []
  encode = arguments(place)['encode']

  class Watched:
    dim, identity = encode.dim, encode.identity

    def __call__(self, texts):
      seen.extend(texts)
      return encode(texts)

  small = web.Web(str(place / 'web'), 'fineweb', 4, 50, 5000)
  changes = {'web': small, 'encode': Watched()}
  retrieve.retrieve(**arguments(place, **changes), output_dir=str(output))
  # 60 records are encoded in all; those of finished shards were not again.
  assert len(seen) <= 60 - 4 * (len(done) - 1)
  straight = tmp_path / 'straight'
  retrieve.retrieve(**arguments(place, web=small), output_dir=str(straight))
  assert content(output) == content(straight)
  assert not list(tmp_path.glob('*.work-*'))


@pytest.mark.parametrize(
  ('changes', 'said'),
  [
    ({'web': web.Web('nowhere')}, 'no folder nowhere'),
    ({'web': web.Web('.', 'botocore_docs')}, 'is read from packages'),
    ({'web': web.Web('.', 'finweb')}, 'Did you mean fineweb'),
    ({'seeds': stored.Selection(['nowhere'], ['text'])}, 'does not exist'),
    ({'encode': encoder.Encoder('nowhere', 'cls')}, 'no encoder checkpoint'),
  ],
)
def test_what_is_not_there_is_named(place, changes, said, tmp_path):
  with pytest.raises(errors.UserError, match=said):
    retrieve.retrieve(
      **arguments(place, **changes), output_dir=str(tmp_path / 'output')
    )
  assert list(tmp_path.iterdir()) == []


def test_a_folder_without_seeds_or_web_files_is_named(place, tmp_path):
  output = str(tmp_path / 'output')
  code = stored.Selection([str(place / 'seeds')], ['code'])
  with pytest.raises(errors.UserError, match='no documents to encode as seeds'):
    retrieve.retrieve(**arguments(place, seeds=code), output_dir=output)
  empty = web.Web(str(place / 'seeds' / '..' / 'bert'))
  with pytest.raises(errors.UserError, match='no file that fineweb'):
    retrieve.retrieve(**arguments(place, web=empty), output_dir=output)


def test_a_seed_without_near_text_gets_none(place, tmp_path):
  near = search.Search(neighbours.Index(), top_k=K, least_score=1.01)
  output = tmp_path / 'output'
  returned = retrieve.retrieve(
    **arguments(place, near=near, draw=None), output_dir=str(output)
  )
  assert returned['documents'] == returned['neighbours'] == 0
  assert returned['mean_score'] is None
  assert returned['drops']['not_retrieved'] == 60
  assert not (output / 'embedding_map.json').exists()


def test_best_scores_are_by_number():
  nearest = neighbours.Nearest(
    np.array([[0.9, 0.6], [0.7, -np.inf]]), np.array([[4, 2], [2, -1]])
  )
  numbers, scores = retrieve.best_scores(nearest)
  assert numbers.tolist() == [2, 4]
  assert scores.tolist() == [0.7, 0.9]
