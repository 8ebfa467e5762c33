import numpy as np
import pyarrow as pa
import pytest

from hephaestus_jax.corpus import facts, ledger


def counted():
  counts = ledger.Ledger()
  counts.add('read', 'docs', ledger.IN, 3)
  counts.add('read', 'docs', ledger.OUT, 2)
  counts.add('read', 'docs', 'no_text', 1)
  for step in ledger.STEPS[1:]:
    counts.add(step, 'docs', ledger.IN, 2)
    counts.add(step, 'docs', ledger.OUT, 2)
  return counts


def test_a_lost_document_stops_the_build():
  counts = counted()
  counts.check()
  counts.add('quality', 'docs', ledger.IN, 1)
  with pytest.raises(RuntimeError, match='2 documents came to the step'):
    counts.check()


def test_what_steps_saved_adds_up(tmp_path):
  counts = counted()
  counts.show('read', 'no_text', 'docs/g/a', 'what was there')
  counts.save(tmp_path / 'one.json')
  both = ledger.Ledger()
  both.load(tmp_path / 'one.json')
  assert both.to_json() == counts.to_json()
  both.load(tmp_path / 'one.json')
  row = both.rows()[0]
  assert (row['in'], row['out'], row['drops']) == (6, 4, {'no_text': 2})


def test_dropped_rows_are_counted_by_source_and_shown_in_order_of_ids():
  rows = [
    {
      'id': f'{source}/g/{i}',
      'source': source,
      'kind': 'text',
      'licence': 'MIT',
      'split': 'train',
      'characters': 1,
      'digest': bytes(16),
      'words': True,
      'sketch': b'',
    }
    for source in ('docs', 'code')
    for i in range(5)
  ]
  known = facts.gather(pa.Table.from_pylist(rows, facts.schema(0)))
  left_D = np.ones(10, bool)
  left_D[9] = False
  counts = ledger.Ledger()
  left_D = counts.drop(
    'quality',
    known,
    left_D,
    {'too_short': np.array([8, 5, 4]), 'unbroken': np.array([0])},
    lambda row: f'row {row}',
  )
  assert left_D.tolist() == [False, *[True] * 3, *[False] * 2] + [
    *(True, True, False, False)
  ]
  code, docs, both = (r for r in counts.rows() if r['step'] == 'quality')
  assert (code['in'], code['out']) == (5, 3)
  assert code['drops'] == {'too_short': 1, 'unbroken': 1}
  assert (docs['in'], docs['out'], docs['drops']) == (4, 2, {'too_short': 2})
  assert (both['in'], both['out']) == (9, 5)
  assert counts.to_json()['examples']['quality']['too_short'] == [
    ['code/g/4', 'row 4'],
    ['docs/g/0', 'row 5'],
    ['docs/g/3', 'row 8'],
  ]
