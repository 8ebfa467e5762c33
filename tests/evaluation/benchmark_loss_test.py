import json
import math
import pathlib
import sys

import jax
import numpy as np
import pytest
from array_record.python import array_record_module

from hephaestus_jax import artefacts, data, errors, model, partitioning
from hephaestus_jax.corpus import document
from hephaestus_jax.evaluation import benchmark_loss

sys.path.append(str(pathlib.Path(__file__).parents[1]))
import tiny  # noqa: E402

USER, ACTION = document.role_id('user'), document.role_id('action')
CONFIG = tiny.network(20)
# (tokens, roles, characters of role action) per document, documents per row.
ROWS = [
  [
    ([3, 4, 5, 6], [USER, USER, ACTION, ACTION], 7),
    ([7, 8, 9], [USER, ACTION, ACTION], 5),
  ],
  [([10, 11, 12, 13, 14, 15], [USER, 0, 0, ACTION, ACTION, ACTION], 9)],
  [([16, 17], [USER, USER], 0), ([18, 19, 3], [USER, ACTION, USER], 4)],
]


def write_cache(folder, rows=ROWS, length=8):
  made = np.zeros(len(rows), data.row_dtype(length))
  for row, documents in zip(made, rows, strict=True):
    used = 0
    for segment, (tokens, roles, characters) in enumerate(documents, start=1):
      here = slice(used, used + len(tokens))
      row['tokens'][here] = tokens
      row['segment_ids'][here] = segment
      row['roles'][here] = roles
      row['characters'][ACTION] += characters
      used += len(tokens)
  path = folder / 'tasks' / 'calls_v1' / 'heldout' / 'rows.array_record'
  path.parent.mkdir(parents=True)
  writer = array_record_module.ArrayRecordWriter(str(path), 'group_size:1')
  for row in made:
    writer.write(row.tobytes())
  writer.close()
  info = {
    'rows': len(rows),
    'role_names': list(document.ROLES),
    'sequence_length': length,
    'tokenizer': 'aaaa',
    'files': [
      {'name': path.name, 'rows': len(rows), 'bytes': path.stat().st_size}
    ],
  }
  path.with_name('cache.json').write_text(json.dumps(info))
  artefacts.write_json(path.with_name(artefacts.INPUTS), {})
  return str(folder)


@pytest.fixture(scope='module')
def params():
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda shape: rng.normal(0, 0.3, shape.shape).astype(np.float32),
    model.abstract(CONFIG),
  )


def benchmark(folder, **settings):
  return benchmark_loss.BenchmarkLoss(
    name='calls', cache_dir=folder, task='calls_v1', **settings
  )


@jax.jit
def logits_of(params, tokens_BL):
  positions_BL = jax.numpy.arange(tokens_BL.shape[1])[None]
  hidden_BLD = model.forward(
    CONFIG, params, tokens_BL, jax.numpy.ones_like(tokens_BL), positions_BL
  )
  return model.unembed(CONFIG, params, hidden_BLD)


def nll_by_hand(params, documents):
  """-log p of each action token, from each document on its own."""
  total = 0.0
  for tokens, roles, _ in documents:
    tokens_BL = np.zeros((1, 8), np.int32)  # what follows changes nothing
    tokens_BL[0, : len(tokens)] = tokens
    logits_BLV = logits_of(params, tokens_BL)
    for place, role in enumerate(roles):
      if role == ACTION:
        logits_V = np.asarray(logits_BLV[0, place - 1], np.float64)
        probability = np.exp(logits_V[tokens[place]]) / np.exp(logits_V).sum()
        total -= math.log(probability)
  return total


def test_the_loss_is_that_of_the_action_tokens_alone(params, tmp_path):
  folder = write_cache(tmp_path)
  nll = sum(nll_by_hand(params, documents) for documents in ROWS)
  assert nll > 10
  assert benchmark(folder, batch_size=2)(CONFIG, params) == pytest.approx(
    {
      'nll_per_token': nll / 8,
      'nll_per_character': nll / 25,
      'tokens': 8,
      'characters': 25,
      'examples': 4,
    },
    rel=1e-4,
  )


def test_the_batch_size_changes_nothing(params, tmp_path):
  folder = write_cache(tmp_path)
  results = [
    benchmark(folder, batch_size=size)(CONFIG, params) for size in (1, 3, 16)
  ]
  assert results[0] == pytest.approx(results[1], rel=1e-6)
  assert results[0] == pytest.approx(results[2], rel=1e-6)


def test_few_rows_are_spread_over_all(params, tmp_path):
  folder = write_cache(tmp_path, ROWS * 2)
  few = benchmark(folder, max_rows=3)(CONFIG, params)
  assert few['tokens'] == 4 + 1 + 3  # rows 0, 2 and 4
  nll = sum(nll_by_hand(params, ROWS[row]) for row in (0, 2, 1))
  assert few['nll_per_token'] == pytest.approx(nll / 8, rel=1e-4)
  every = benchmark(folder, max_rows=99)(CONFIG, params)
  assert every['tokens'] == 16


def test_another_role_can_be_asked_for(params, tmp_path):
  folder = write_cache(tmp_path, [[([3, 4, 5], [ACTION, USER, USER], 1)]])
  rows = benchmark(folder)
  with pytest.raises(errors.UserError, match="no token of role 'action'"):
    rows(CONFIG, params)
  with pytest.raises(errors.UserError, match="role = 'tool'"):
    benchmark(folder, role='tool')


def test_a_model_with_fewer_words_is_refused(params, tmp_path):
  small = tiny.network(15)
  with pytest.raises(errors.UserError, match='token 19, and'):
    benchmark(write_cache(tmp_path))(small, params)


def test_the_identity_changes_with_what_is_measured(tmp_path):
  first = write_cache(tmp_path / 'first')
  second = write_cache(tmp_path / 'second', ROWS[:2])
  plain = benchmark(first).identity()
  assert plain == benchmark(first, batch_size=3).identity()
  assert plain != benchmark(second).identity()
  assert plain != benchmark(first, max_rows=1).identity()
  assert plain['tokenizer'] == 'aaaa'


def test_documents_with_the_role_are_counted():
  segment_ids_BL = np.array([[1, 1, 2, 3, 0]])
  roles_BL = np.array([[3, 5, 5, 3, 5]])
  assert benchmark_loss.num_examples(segment_ids_BL, roles_BL, 5) == 2


@pytest.mark.skipif(jax.device_count() < 4, reason='one device')
def test_a_mesh_gives_the_same_loss(params, tmp_path):
  folder = write_cache(tmp_path)
  expected = benchmark(folder)(CONFIG, params)
  mesh = partitioning.make_mesh(data=2, fsdp=-1)
  places = partitioning.shardings(
    mesh, model.logical_axes(CONFIG), model.abstract(CONFIG)
  )
  with jax.set_mesh(mesh):
    spread = jax.device_put(params, places)
    assert benchmark(folder, batch_size=3)(CONFIG, spread) == pytest.approx(
      expected, rel=1e-5
    )
