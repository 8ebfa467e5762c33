"""A share of agent data becomes rates: seed first, then what was retrieved."""

import json

import pytest

from hephaestus_jax import errors
from hephaestus_jax.experiments import shares

KNOWN = {'docs': 0.3, 'calls': 0.1, 'web': 0.2, 'books': 0.1, 'code': 0.3}
KINDS = {
  'docs': 'seed',
  'calls': 'seed',
  'web': 'retrieved',
  'books': 'general',
  'code': 'general',
}
CACHED = {
  'docs': ('documentation', 300),
  'calls': ('trajectory', 100),
  'web': ('text', 900),
  'books': ('text', 500),
  'code': ('code', 500),
}


def test_rates_of_the_docstring():
  assert shares.rates(KNOWN, KINDS, 0.6, 0.4) == pytest.approx(KNOWN)


@pytest.mark.parametrize('share', [0.0, 0.2, 0.4, 0.7, 1.0])
def test_seed_first_then_retrieved_and_the_rest_shrinks_in_proportion(share):
  found = shares.rates(KNOWN, KINDS, share, 0.4)
  assert sum(found.values()) == pytest.approx(1)
  assert found['docs'] + found['calls'] == pytest.approx(min(share, 0.4))
  assert found['web'] == pytest.approx(max(share - 0.4, 0))
  assert found['docs'] == pytest.approx(3 * found['calls'])
  assert found['code'] == pytest.approx(3 * found['books'])


def test_without_retrieved_text_the_seed_is_read_again():
  known = {name: rate for name, rate in KNOWN.items() if name != 'web'}
  found = shares.rates(known, KINDS, 1.0, 0.4)
  assert found['docs'] + found['calls'] == pytest.approx(1)


@pytest.mark.parametrize(
  ('left', 'share', 'message'),
  [
    (('books', 'code'), 0.5, 'takes 0.500 of seed data'),
    (('docs', 'calls'), 0.5, 'takes 0.500 of general data'),
    (('docs', 'code'), 1.5, 'not from 0 to 1'),
  ],
)
def test_a_share_that_can_not_be_is_refused(left, share, message):
  known = {name: KNOWN[name] for name in left}
  with pytest.raises(errors.UserError, match=message):
    shares.rates(known, KINDS, share, 1.0)


@pytest.fixture
def cache_dir(tmp_path):
  (tmp_path / 'mixtures').mkdir()
  (tmp_path / 'mixtures' / 'base_v1.json').write_text(
    json.dumps({'rates': KNOWN})
  )
  for task, (kind, tokens) in CACHED.items():
    folder = tmp_path / 'tasks' / task / 'train'
    folder.mkdir(parents=True)
    info = {'tokens': tokens, 'tokens_by_kind': {kind: tokens}}
    (folder / 'cache.json').write_text(json.dumps(info))
  return tmp_path


def test_the_seed_is_read_as_often_as_it_is_said(cache_dir):
  # 400 tokens of seed, twice, of a run of 2,000.
  mixtures = shares.Shares(str(cache_dir), 'base_v1', ['web'], seed_epochs=2.0)
  mixtures.write('run', 0.6, tokens=2000)
  written = json.loads((cache_dir / 'mixtures' / 'run.json').read_text())
  rates = written['rates']
  assert rates['docs'] + rates['calls'] == pytest.approx(0.4)
  assert rates['web'] == pytest.approx(0.2)
  mixtures.write('run', 0.6, tokens=2000)  # the same again


def test_a_mixture_that_runs_have_read_is_not_written_over(cache_dir):
  mixtures = shares.Shares(str(cache_dir), 'base_v1', ['web'])
  mixtures.write('run', 0.5, tokens=2000)
  with pytest.raises(errors.UserError, match='other rates: rates.books was'):
    mixtures.write('run', 0.4, tokens=2000)
  with pytest.raises(errors.UserError, match='SWEEP_MIXTURE'):
    shares.Shares(str(cache_dir), 'none_v1').write('run', 0.5, tokens=1)
