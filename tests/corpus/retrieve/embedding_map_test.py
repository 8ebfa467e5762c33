"""A map keeps neighbours together, and is the same every time."""

import json

import numpy as np
import pytest

from hephaestus_jax import errors
from hephaestus_jax.corpus.retrieve import embedding_map, vectors

POINTS = 40


def write_group(folder, name, centre, seed):
  rng = np.random.default_rng(seed)
  rows = centre + 0.1 * rng.normal(size=(POINTS, 8))
  rows /= np.linalg.norm(rows, axis=1, keepdims=True)
  path = folder / 'vectors' / f'{name}.npy'
  path.parent.mkdir(exist_ok=True)
  vectors.write(path, [rows[:7], rows[7:]], 8)
  vectors.write_ids(path, [f'{name}_source/g/{i}\n' for i in range(POINTS)])


@pytest.fixture
def folder(tmp_path):
  write_group(tmp_path, 'seeds', np.eye(8)[0], 0)
  write_group(tmp_path, 'retrieved', np.eye(8)[0] + 0.3 * np.eye(8)[1], 1)
  write_group(tmp_path, 'general', np.eye(8)[5], 2)
  return tmp_path


def drawn(folder, **settings):
  embedding_map.EmbeddingMap(**settings)(folder)
  return json.loads((folder / 'embedding_map.json').read_text())


def test_what_is_alike_lies_together_and_each_point_says_what_it_is(folder):
  found = drawn(folder, points=30, perplexity=10.0)
  assert len(found['points']) == len(found['sources']) == 90
  assert set(found['sources']) == {
    *('seeds_source', 'retrieved_source', 'general_source')
  }
  centres = {
    group: np.mean(
      [[x, y] for x, y, g in found['points'] if g == group], axis=0
    )
    for group in ('seed', 'retrieved', 'general')
  }
  near = np.linalg.norm(centres['seed'] - centres['retrieved'])
  far = np.linalg.norm(centres['seed'] - centres['general'])
  assert 2 * near < far
  assert (found['perplexity'], found['seed']) == (10.0, 0)


def test_the_same_vectors_give_the_same_map(folder):
  assert drawn(folder, points=20) == drawn(folder, points=20)


def test_few_points_have_a_smaller_perplexity_or_none(folder):
  assert drawn(folder, points=2)['perplexity'] == 5 / 3
  for name in ('retrieved', 'general'):
    (folder / 'vectors' / f'{name}.npy').unlink()
  assert drawn(folder, points=2)['points'] == [[0.0, 0.0, 'seed']] * 2


def test_the_sample_depends_on_the_ids_alone():
  ids = [f's/g/{i}' for i in range(50)]
  rows = embedding_map.sample(ids, 10)
  assert len(rows) == 10
  back = embedding_map.sample(ids[::-1], 10)
  assert {ids[row] for row in rows} == {ids[::-1][row] for row in back}
  assert embedding_map.sample(['a', 'b', 'c'], 2) == [1, 2]


@pytest.mark.parametrize('name', ['points', 'perplexity'])
def test_a_map_of_nothing_is_refused(name):
  with pytest.raises(errors.UserError, match=name):
    embedding_map.EmbeddingMap(**{name: 0})
