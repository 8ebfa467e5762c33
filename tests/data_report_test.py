"""Planned and realised are counts of rows; a row shows what is learned."""

import json
import pathlib
import sys

import numpy as np
import pytest

from hephaestus_jax import (
  artefacts,
  checkpoints,
  data,
  data_report,
  errors,
  main,
  tokenizer,
)
from hephaestus_jax.corpus import document

sys.path.append(str(pathlib.Path(__file__).parent))
import small_vocabulary  # noqa: E402
import tiny  # noqa: E402

COUNTED = {
  'documents': 80,
  'dropped': {'longer_than_row': 2},
  'cut_documents': 1,
  'untrained_parts': 4,
  'repeated_tokens': 3,
  'fill': 0.8,
  'tokens': 500,
  'tokens_by_role': {'user': 300, 'answer': 200},
}


@pytest.fixture
def folder(tmp_path):
  tiny.write_cache(tmp_path / 'cache', {'a': 0.75, 'b': 0.25})
  for path in tmp_path.glob('cache/tasks/*/*/cache.json'):
    info = json.loads(path.read_text())
    rows = path.parent / info['files'][0]['name']
    info['files'][0]['sha256'] = artefacts.file_fingerprint(rows)
    path.write_text(json.dumps(info | COUNTED))
  return tmp_path


def report(folder, **changes):
  return data_report.report(
    **{
      'stages': [tiny.stage(role_weights={'answer': 1.0})],
      'cache_dir': str(folder / 'cache'),
      'model_dir': str(folder / 'run'),
      'tokenizer_path': 'none',
      **changes,
    }
  )


def test_planned_and_realised_are_what_the_order_says(folder, capsys):
  step = folder / 'run' / 'stage1' / checkpoints.FOLDER / '2'
  step.mkdir(parents=True)
  (step / checkpoints.COMMITTED).touch()
  told = report(folder)['stage1']
  assert (told['steps'], told['steps_done']) == (4, 2)
  assert told['phases'] == {0: {'a': 0.75, 'b': 0.25}}
  assert told['sources']['a'] == {
    'planned': {
      'rows': 24,
      'share': 0.75,
      'tokens': 300,
      'trainable_tokens': 120,
      'epochs': 0.6,
    },
    'realised': {
      'rows': 12,
      'share': 0.75,
      'tokens': 150,
      'trainable_tokens': 60,
      'epochs': 0.3,
    },
    'documents': 80,
    'dropped': {'longer_than_row': 2},
    'cut_documents': 1,
    'untrained_parts': 4,
    'repeated_tokens': 3,
    'fill': 0.8,
  }
  said = capsys.readouterr().out
  assert '2 longer_than_row, 1 cut, 4 parts without a target' in said
  assert '2 of 4 steps done' in said


def test_rates_that_change_are_told_by_step(folder):
  stage = tiny.stage(rates={2: {'b': 1.0}})
  told = report(folder, stages=[stage])['stage1']
  assert told['phases'] == {
    0: {'a': 0.75, 'b': 0.25},
    2: {'a': 0.0, 'b': 1.0},
  }
  assert told['sources']['b']['planned']['rows'] == 4 + 16


def test_the_rows_of_a_step_are_those_of_its_batch(folder):
  told = report(folder, rows=3)['stage1']
  mixture = data.Mixture(
    cache_dir=str(folder / 'cache'), mixture='mixture_v1', seed=0
  )
  batch = mixture.batch(3, 8)
  sources = [mixture.sources[source] for source in batch['source_B']]
  wanted = zip(sources, batch['row_B'].tolist(), strict=True)
  assert told['rows'] == [list(one) for one in wanted]
  assert report(folder, rows=4) == {}  # the stage has no such step


def test_a_file_that_changed_is_found_by_its_checksum(folder):
  report(folder, verify=True)
  path = folder / 'cache' / 'tasks' / 'b' / 'train' / 'rows-00000.array_record'
  content = bytearray(path.read_bytes())
  content[-1] ^= 1
  path.write_bytes(content)
  rows = data.Rows(str(folder / 'cache'), 'a', 'train')
  rows.verify()
  with pytest.raises(errors.UserError, match=r'damaged|magic|records'):
    report(folder, verify=True)


class Letters:
  """A vocabulary of the alphabet: what `spans` asks of a tokenizer."""

  def decode(self, ids):
    return ''.join(chr(ord('a') + i) for i in ids)


def test_a_row_is_told_by_document_role_and_use():
  user, answer = document.role_id('user'), document.role_id('answer')
  row = np.zeros((), data.row_dtype(8))
  row['tokens'] = range(8)
  row['segment_ids'] = [1, 1, 1, 1, 2, 2, 2, 0]
  again = document.REPEATED
  row['roles'] = [user, user, answer, answer, answer, again + 3, answer, 0]
  weights = [float(role == 'answer') for role in document.ROLES]
  told = data_report.spans(row, weights, Letters())
  assert [tuple(span.values()) for span in told] == [
    (1, 'user', 'context', 'ab'),
    (1, 'answer', 'trained', 'cd'),
    (2, 'answer', 'context', 'e'),  # the first of a document is no target
    (2, 'user', 'repeated', 'f'),
    (2, 'answer', 'trained', 'g'),
  ]
  assert data_report.tagged(told) == (
    '\n── document 1 ──\n[user]ab[answer+]cd'
    '\n── document 2 ──\n[answer]e[user=]f[answer+]g'
  )
  seen = data_report.coloured(told)
  assert '\x1b[1;38;5;226mcd\x1b[0m' in seen
  assert '\x1b[2;9;38;5;208mf\x1b[0m' in seen


def test_the_command_prints_one_json_value(folder, capsys):
  run = folder / 'run.gin'
  run.write_text(
    f"RUN_DIR = '{folder}'\n"
    "STAGE1_MIXTURE = 'mixture_v1'\n"
    'STAGE1_BATCH_SIZE = 8\n'
    'STAGES = [@stage1/update.Stage()]\n'
  )
  told = main.execute(['data', str(run), '--rows', '1', '--json'])
  assert json.loads(capsys.readouterr().out) == told
  assert len(told['stage1']['rows']) == 8


def test_the_text_of_a_row_is_that_of_its_tokens(folder):
  small_vocabulary.write(folder)
  path = str(folder / 'tokenizer.json')
  tokens = tokenizer.load(path)
  told = report(folder, rows=0, show=2, tokenizer_path=path)['stage1']
  (task, number), _ = told['rows'][:2]
  row = data.Rows(str(folder / 'cache'), task, 'train').read([number])[0]
  text = ''.join(span['text'] for span in told['shown'][0])
  assert len(told['shown']) == 2
  assert text
  assert {span['document'] for span in told['shown'][0]} == {1, 2}
  first = told['shown'][0][0]['text']
  assert tokens.decode(row['tokens'].tolist()).startswith(first)
