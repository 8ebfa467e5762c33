import pathlib

import numpy as np
import pyarrow as pa
import pytest

from hephaestus_jax.corpus import facts


def a_row(name, source='docs', **changes):
  return {
    'id': f'{source}/g/{name}',
    'source': source,
    'kind': 'text',
    'licence': 'MIT',
    'split': 'train',
    'characters': len(name),
    'digest': name.encode()[:1] * 16,
    'words': name != '+',
    'sketch': bytes(range(8)),
    **changes,
  }


def table(*rows):
  return pa.Table.from_pylist(list(rows), facts.schema(8))


ROWS = (a_row('née'), a_row('b', 'code'), a_row('+'), a_row('a', split='held'))


def test_rows_are_sorted_by_id_whoever_wrote_them():
  pieces = pa.concat_tables([table(*ROWS[2:]), table(), table(*ROWS[:2])])
  known = facts.gather(pieces)
  ids = [known.id(row) for row in range(len(known))]
  assert ids == ['code/g/b', 'docs/g/+', 'docs/g/a', 'docs/g/née']
  assert known.names['source'] == ('code', 'docs')
  assert [known.name('split', row) for row in range(4)] == [
    *('train', 'train', 'held', 'train')
  ]
  assert known['characters'].tolist() == [1, 1, 1, 3]
  assert known['words'].tolist() == [True, False, True, True]
  assert known['sketch'].tolist() == [list(range(8))] * 4
  assert known['digest'][0].tobytes() == b'b' * 16
  assert known.is_named('source', ['docs']).tolist() == [False, *[True] * 3]


def test_what_was_saved_is_loaded_and_its_rows_are_found(tmp_path):
  known = facts.gather(table(*ROWS))
  known.save(tmp_path / 'facts')
  loaded = facts.load(tmp_path / 'facts')
  assert loaded.names == known.names
  for name, array in known.arrays.items():
    assert np.array_equal(loaded[name], array)
    assert isinstance(loaded[name], np.memmap)
  for row in range(4):
    assert loaded.row(known.id(row)) == row
  for missing in ('a', 'docs/g/b', 'z'):
    with pytest.raises(KeyError):
      loaded.row(missing)


def test_no_documents_are_no_trouble(tmp_path):
  facts.gather(table()).save(tmp_path / 'facts')
  loaded = facts.load(tmp_path / 'facts')
  assert len(loaded) == 0
  assert not loaded.is_named('source', ['docs']).size


def test_an_id_that_occurs_twice_is_told():
  with pytest.raises(RuntimeError, match='Two documents have the id docs/g/+'):
    facts.gather(table(*ROWS, a_row('+')))


def test_a_set_of_ids_is_eight_bytes_each(tmp_path: pathlib.Path):
  ids = [f'docs/g/{i}' for i in range(1000)]
  path = tmp_path / 'gone.npy'
  facts.write_keys(path, ids[::2])
  assert path.stat().st_size == 128 + 500 * 8
  gone = facts.Keys(path)
  assert [i in gone for i in ids] == [True, False] * 500
  facts.write_keys(path, [])
  assert 'docs/g/0' not in facts.Keys(path)


def test_the_docstrings_example():
  assert facts.key('docs/s3/ListBuckets') == 12171856842778757142
