"""Batches are a function of (mixture, seed, step); damage is named."""

import collections
import json
import subprocess
import sys

import numpy as np
import pytest
from array_record.python import array_record_module

from hephaestus_jax import artefacts, data, errors, mixing
from hephaestus_jax.corpus import document

LENGTH = 8


def write_task(cache_dir, task, files, split='train', **changes):
  """Caches rows whose tokens are (row number, row number, ...)."""
  folder = cache_dir / 'tasks' / task / split
  info = {
    'task': task,
    'split': split,
    'rows': sum(files),
    'sequence_length': LENGTH,
    'tokenizer': 'abc',
    'role_names': list(document.ROLES),
    'files': [],
    **changes,
  }
  number = 0
  with artefacts.written(folder, {'task': task}) as partial:
    for index, count in enumerate(files):
      path = partial / f'rows-{index:05d}.array_record'
      writer = array_record_module.ArrayRecordWriter(
        str(path), 'group_size:1,uncompressed'
      )
      for _ in range(count):
        row = np.zeros((), data.row_dtype(LENGTH))
        row['tokens'] = number
        row['segment_ids'] = [1, 1, 1, 2, 2, 3, 0, 0]
        row['roles'] = document.role_id('text')
        row['characters'][document.role_id('text')] = 2 * number
        writer.write(row.tobytes())
        number += 1
      writer.close()
      info['files'].append(
        {'name': path.name, 'rows': count, 'bytes': path.stat().st_size}
      )
    artefacts.write_json(partial / 'cache.json', info)
  return folder


def write_mixture(cache_dir, name, rates):
  (cache_dir / 'mixtures').mkdir(parents=True, exist_ok=True)
  artefacts.write_json(
    cache_dir / 'mixtures' / f'{name}.json', {'rates': rates}
  )


RATES = {'agent_v1': 0.36, 'code_v1': 0.3, 'text_v1': 0.34}
SIZES = {'agent_v1': [7, 4], 'code_v1': [50], 'text_v1': [1]}


@pytest.fixture
def cache_dir(tmp_path):
  for task, files in SIZES.items():
    write_task(tmp_path, task, files)
  write_mixture(tmp_path, 'mix_v1', RATES)
  return tmp_path


def open_mixture(cache_dir, **keywords):
  return data.Mixture(
    cache_dir=str(cache_dir), **{'mixture': 'mix_v1', **keywords}
  )


def same(a, b):
  return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_a_batch_holds_what_its_rows_hold(cache_dir):
  batch = open_mixture(cache_dir).batch(5, 16)
  assert batch['tokens_BL'].shape == (16, LENGTH)
  assert (batch['tokens_BL'] == batch['row_B'][:, None]).all()
  assert (batch['segment_ids_BL'] == [1, 1, 1, 2, 2, 3, 0, 0]).all()
  assert (batch['positions_BL'] == [0, 1, 2, 0, 1, 0, 0, 0]).all()
  assert (batch['roles_BL'] == document.role_id('text')).all()
  text_B = batch['characters_BR'][:, document.role_id('text')]
  assert (text_B == 2 * batch['row_B']).all()
  assert {name: array.dtype.name for name, array in batch.items()} == {
    'tokens_BL': 'int32',
    'segment_ids_BL': 'int32',
    'positions_BL': 'int32',
    'roles_BL': 'int32',
    'characters_BR': 'int32',
    'source_B': 'int32',
    'row_B': 'int64',
  }


def test_positions_start_again_in_every_document():
  ids = np.array([[1, 1, 1, 2, 2, 0, 0]])
  assert data.positions(ids).tolist() == [[0, 1, 2, 0, 1, 0, 0]]


def test_a_batch_depends_on_mixture_seed_and_step_alone(cache_dir):
  first, second = open_mixture(cache_dir), open_mixture(cache_dir)
  late = first.batch(1_000_000, 4)
  for step in range(3):
    first.batch(step, 4)
  assert same(second.batch(1_000_000, 4), late)
  assert not same(open_mixture(cache_dir, seed=1).batch(1_000_000, 4), late)


def test_the_batch_size_does_not_change_the_order(cache_dir):
  mixture = open_mixture(cache_dir)
  small = [mixture.batch(step, 4) for step in range(6)]
  large = [mixture.batch(step, 8) for step in range(3)]
  joined = [np.concatenate([b['row_B'] for b in bs]) for bs in (small, large)]
  assert np.array_equal(*joined)


@pytest.mark.parametrize('hosts', [1, 2, 4])
def test_hosts_read_disjoint_shares_of_one_global_batch(cache_dir, hosts):
  mixture = open_mixture(cache_dir)
  loaders = [
    data.loader(
      open_mixture(cache_dir),
      batch_size=8,
      start_step=3,
      rows_B=rows_B,
    )
    for rows_B in np.split(np.arange(8), hosts)
  ]
  for step in range(3, 8):
    shares = [next(loader) for loader in loaders]
    assert all(len(share['row_B']) == 8 // hosts for share in shares)
    joined = {
      name: np.concatenate([share[name] for share in shares])
      for name in shares[0]
    }
    assert same(joined, mixture.batch(step, 8))


def test_the_loader_reads_a_capped_mixture_to_its_last_whole_batch(cache_dir):
  mixture = open_mixture(cache_dir, max_epochs=2)
  size = 7
  whole = mixture.end // size
  batches = data.loader(mixture, batch_size=size, start_step=whole - 3)
  for step in range(whole - 3, whole):
    assert same(next(batches), mixture.batch(step, size))
  with pytest.raises(IndexError):
    next(batches)


def test_every_source_keeps_its_rate_in_any_window(cache_dir):
  mixture = open_mixture(cache_dir)
  source_B, _ = mixture.rows_at(np.arange(5000))
  for source, task in enumerate(mixture.sources):
    seen = np.convolve(source_B == source, np.ones(mixing.WINDOW), 'valid')
    assert np.abs(seen - mixing.WINDOW * RATES[task]).max() < 1


def test_an_epoch_is_a_permutation_and_the_next_is_another(cache_dir):
  mixture = open_mixture(cache_dir)
  source_B, row_B = mixture.rows_at(np.arange(2000))
  orders = collections.defaultdict(list)
  for source, row in zip(source_B, row_B, strict=True):
    orders[mixture.sources[source]].append(int(row))
  for task, files in SIZES.items():
    size = sum(files)
    epochs = [
      orders[task][start : start + size]
      for start in range(0, len(orders[task]) - size + 1, size)
    ]
    assert all(sorted(epoch) == list(range(size)) for epoch in epochs)
    if size > 10:
      assert len({tuple(epoch) for epoch in epochs}) > 1
      assert sorted(epochs[0]) != epochs[0]


@pytest.mark.parametrize('size', [1, 2, 3, 4, 5, 16, 17, 1000, 65537])
def test_permuted_is_a_permutation(size):
  index = np.arange(size)
  found = data.permuted(
    index, np.full(size, size), np.full(size, 12345, np.uint64)
  )
  assert np.array_equal(np.sort(found), index)


def test_a_permutation_leaves_no_order_behind():
  size = 10_000
  found = data.permuted(
    np.arange(size), np.full(size, size), np.full(size, 7, np.uint64)
  )
  assert abs(np.corrcoef(np.arange(size), found)[0, 1]) < 0.05
  assert abs(np.corrcoef(found[1:], found[:-1])[0, 1]) < 0.05


def test_a_permutation_needs_no_table():
  huge = 10**12
  found = data.permuted(
    np.array([0, huge - 1]), np.full(2, huge), np.full(2, 1, np.uint64)
  )
  assert ((found >= 0) & (found < huge)).all()


def test_rows_are_read_in_the_order_asked_for(cache_dir):
  rows = data.Rows(str(cache_dir), 'agent_v1', 'train')
  assert len(rows) == 11
  found = rows.read([10, 0, 7, 6, 0])
  assert found['tokens'][:, 0].tolist() == [10, 0, 7, 6, 0]


def test_epochs_say_how_often_a_task_was_read(cache_dir):
  mixture = open_mixture(cache_dir)
  source_B, _ = mixture.rows_at(np.arange(1100))
  seen = np.bincount(source_B).tolist()
  assert mixture.rows_of(1100) == dict(zip(RATES, seen, strict=True))
  assert mixture.epochs(1100)['agent_v1'] == seen[0] / 11


def test_rates_change_at_a_row_and_a_mixture_stands_for_its_tasks(cache_dir):
  write_mixture(cache_dir, 'half_v1', {'agent_v1': 0.25, 'text_v1': 0.75})
  write_task(cache_dir, 'late_v1', [3])
  changes = {1000: {'half_v1': 0.5, 'code_v1': 0.5}, 1500: {'late_v1': 7}}
  mixture = open_mixture(cache_dir, rates=changes)
  assert mixture.sources == (*RATES, 'late_v1')
  assert mixture.phases == {
    0: {**RATES, 'late_v1': 0.0},
    1000: {'agent_v1': 0.125, 'code_v1': 0.5, 'text_v1': 0.375, 'late_v1': 0.0},
    1500: {'agent_v1': 0.0, 'code_v1': 0.0, 'text_v1': 0.0, 'late_v1': 1.0},
  }
  plain = open_mixture(cache_dir).rows_at(np.arange(1000))
  assert np.array_equal(mixture.rows_at(np.arange(1000)), plain)
  source_B, row_B = mixture.rows_at(np.arange(3000))
  assert np.bincount(source_B[1000:1500]).tolist() == [62, 250, 188]
  assert (source_B[1500:] == 3).all()
  # Every source goes on where it was: no row comes twice in an epoch.
  code_B = row_B[source_B == 1]
  assert all(
    sorted(code_B[start : start + 50]) == list(range(50))
    for start in range(0, len(code_B) - 49, 50)
  )


def test_a_cap_leaves_a_source_out_and_all_caps_end_the_mixture(cache_dir):
  mixture = open_mixture(cache_dir, max_epochs={'agent_v1': 2.5, 'text_v1': 3})
  source_B, _ = mixture.rows_at(np.arange(1000))
  assert np.bincount(source_B).tolist() == [27, 1000 - 27 - 3, 3]
  assert mixture.end is None
  # Both caps are reached, one after the other: three phases.
  assert [rates['text_v1'] > 0 for rates in mixture.phases.values()] == [
    True,
    False,
    False,
  ]
  whole = open_mixture(cache_dir, max_epochs=2)
  assert whole.end == 2 * (11 + 50 + 1)
  _, row_B = whole.rows_at(np.arange(whole.end))
  assert sorted(row_B) == sorted([*range(11), *range(50), 0] * 2)
  assert whole.rows_of(10**9) == {'agent_v1': 22, 'code_v1': 100, 'text_v1': 2}


def test_a_budget_of_tokens_is_a_cap(cache_dir):
  write_task(cache_dir, 'half_v1', [10], tokens=40)  # 4 of a row's 8
  write_mixture(cache_dir, 'two_v1', {'half_v1': 0.5, 'code_v1': 0.5})
  mixture = open_mixture(
    cache_dir, mixture='two_v1', max_tokens={'half_v1': 99}
  )
  assert mixture.rows_of(10_000)['half_v1'] == 24


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'rates': {5: {'agent_v2': 1.0}}}, 'Did you mean agent_v1'),
    ({'rates': {5: {'agent_v1': -1.0}}}, "'agent_v1' has -1.0"),
    ({'rates': {5: {'agent_v1': 0.0}}}, 'or rate 0'),
    ({'max_epochs': {'other_v1': 1.0}}, 'does not read'),
    ({'max_epochs': 0.0}, 'leave no row'),
  ],
)
def test_rates_and_caps_that_make_no_sense_are_refused(
  cache_dir, changes, message
):
  write_task(cache_dir, 'other_v1', [3])
  with pytest.raises(errors.UserError, match=message):
    open_mixture(cache_dir, **changes)


def test_a_flipped_byte_in_a_row_is_found_when_it_is_read(cache_dir):
  path = cache_dir / 'tasks' / 'code_v1' / 'train' / 'rows-00000.array_record'
  content = bytearray(path.read_bytes())
  marker = np.full(LENGTH, 25, '<i4').tobytes()  # the tokens of row 25
  content[content.index(marker) + 3] ^= 1
  path.write_bytes(content)
  rows = data.Rows(str(cache_dir), 'code_v1', 'train')
  assert rows.read([24])['tokens'].tolist() == [[24] * LENGTH]
  with pytest.raises(errors.UserError, match='code_v1.* is damaged') as found:
    rows.read([25])
  assert f'Delete {path.parent}' in str(found.value)
  with pytest.raises(errors.UserError, match='is damaged'):
    mixture = open_mixture(cache_dir)
    for batch in data.loader(mixture, batch_size=50):
      del batch


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ('cut', 'bytes, and'),
    ('grown', 'bytes, and'),
    ('emptied', 'is damaged'),
    ('lost', 'is missing'),
    ('no cache.json', 'can not be read'),
  ],
)
def test_damaged_files_are_found_on_opening(cache_dir, change, message):
  folder = cache_dir / 'tasks' / 'code_v1' / 'train'
  path = folder / 'rows-00000.array_record'
  if change == 'cut':
    path.write_bytes(path.read_bytes()[:-1])
  elif change == 'grown':
    path.write_bytes(path.read_bytes() + b'0')
  elif change == 'emptied':
    path.write_bytes(bytes(path.stat().st_size))
  elif change == 'lost':
    path.unlink()
  else:
    (folder / 'cache.json').unlink()
  with pytest.raises(errors.UserError, match=message) as found:
    open_mixture(cache_dir)
  assert f'Delete {folder} and run `hephaestus cache`' in str(found.value)


def test_a_cache_that_was_cut_off_is_refused(cache_dir):
  folder = cache_dir / 'tasks' / 'code_v1'
  (folder / 'train').rename(folder / 'train.partial')
  with pytest.raises(errors.UserError, match='code_v1.*cache.* again'):
    open_mixture(cache_dir)


def test_an_unknown_mixture_names_its_neighbours(cache_dir):
  with pytest.raises(errors.UserError, match='Did you mean mix_v1'):
    open_mixture(cache_dir, mixture='mix_v2')


def test_an_unknown_split_names_those_there_are(cache_dir):
  with pytest.raises(errors.UserError, match=r"'valid'.*\['train'\]"):
    open_mixture(cache_dir, split='valid')


def test_tasks_of_two_tokenizers_do_not_mix(cache_dir):
  write_task(cache_dir, 'other_v1', [3], tokenizer='xyz')
  write_mixture(cache_dir, 'both_v1', {'other_v1': 0.5, 'code_v1': 0.5})
  with pytest.raises(errors.UserError, match='tokenizer_fingerprint.*xyz'):
    open_mixture(cache_dir, mixture='both_v1')


def test_rows_of_other_roles_are_refused(cache_dir):
  write_task(cache_dir, 'old_v1', [3], role_names=['structure', 'text'])
  with pytest.raises(errors.UserError, match='cached with the roles'):
    data.Rows(str(cache_dir), 'old_v1', 'train')


def test_a_task_without_rows_can_not_be_trained_on(cache_dir):
  write_task(cache_dir, 'empty_v1', [])
  write_mixture(cache_dir, 'hole_v1', {'empty_v1': 0.5, 'code_v1': 0.5})
  with pytest.raises(errors.UserError, match=r"\['empty_v1'\].* no rows"):
    open_mixture(cache_dir, mixture='hole_v1')


def test_a_task_without_rows_has_no_share_of_a_validation(cache_dir):
  write_task(cache_dir, 'empty_v1', [], split='validation')
  write_task(cache_dir, 'code_v1', [2], split='validation')
  write_mixture(cache_dir, 'hole_v1', {'empty_v1': 0.5, 'code_v1': 0.5})
  mixture = open_mixture(cache_dir, mixture='hole_v1', split='validation')
  assert mixture.rates == {'code_v1': 1.0, 'empty_v1': 0.0}


def test_training_loads_neither_tensorflow_nor_seqio():
  program = (
    'import sys, hephaestus_jax.data\n'
    "heavy = {'tensorflow', 'seqio', 'tensorflow_datasets'} & {*sys.modules}\n"
    'assert not heavy, heavy'
  )
  subprocess.run([sys.executable, '-c', program], check=True)


def test_mixtures_are_stored_as_plain_json(cache_dir):
  text = (cache_dir / 'mixtures' / 'mix_v1.json').read_text()
  assert json.loads(text) == {'rates': RATES}
