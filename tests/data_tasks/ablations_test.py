"""What an ablation reads instead: one thing is changed, the shares are kept."""

import pytest
import seqio
import tensorflow as tf

from data_tasks import ablations, sources
from hephaestus_jax import configuration
from hephaestus_jax.corpus.catalogue import packages, seed

CORPORA = (ablations.DEMO, ablations.WHOLE)
SOURCE_OF = {
  sources.task_name(of.name): of for corpus in CORPORA for of in corpus.sources
}


@pytest.fixture(autouse=True)
def sized(monkeypatch):
  """Every source has 1000 bytes, and one of them ten times as many."""
  monkeypatch.setattr(
    sources.CorpusSource,
    'num_bytes',
    lambda self, split: 10_000 if 'toolbench' in self.names else 1000,
  )


def shares(name):
  """The share of every source in a mixture, and the Tasks' names."""
  mixture = seqio.get_mixture_or_task(name)
  rates = {task.name: mixture.get_rate(task) for task in mixture.tasks}
  total = sum(rates.values())
  return {task: rate / total for task, rate in rates.items()}


def named(task):
  return task.replace(ablations.WITHOUT_OBSERVATIONS, 'v1')


def agent_share(corpus, found):
  return sum(
    share
    for task, share in found.items()
    if ablations.is_agent(corpus, SOURCE_OF[named(task)])
  )


@pytest.mark.parametrize('corpus', CORPORA, ids=['demo', 'whole'])
@pytest.mark.parametrize('choice', ablations.AGENT_CHOICES)
def test_agent_data_keeps_its_share_whatever_is_left_out(corpus, choice):
  stage1 = shares(f'{corpus.prefix}forge_stage1_{choice}_v1')
  assert agent_share(corpus, stage1) == pytest.approx(0.36)
  stage2 = shares(f'{corpus.prefix}forge_stage2_{choice}_v1')
  assert agent_share(corpus, stage2) == pytest.approx(1)
  kinds = {SOURCE_OF[named(task)].kind for task in stage2}
  assert kinds <= set(ablations.AGENT_KINDS)
  full = shares(f'{corpus.prefix}forge_stage1_v1')
  assert {named(t) for t in stage1} <= {*full}
  assert stage1 != full


@pytest.mark.parametrize('corpus', CORPORA, ids=['demo', 'whole'])
def test_what_is_left_out_is_what_the_name_says(corpus):
  def left_out(choice, stage='stage1'):
    found = shares(f'{corpus.prefix}forge_{stage}_{choice}_v1')
    full = shares(f'{corpus.prefix}forge_{stage}_v1')
    return {SOURCE_OF[task] for task in {*full} - {*map(named, found)}}

  assert {of.name for of in left_out('without_retrieval')} == {
    *corpus.retrieved
  }
  agent = [of for of in corpus.sources if ablations.is_agent(corpus, of)]
  by_family = {name: left_out(f'without_{name}') for name in ablations.FAMILIES}
  assert all(by_family.values())
  # Every agent source is in one family, but for web text that was retrieved.
  together = [of for family in by_family.values() for of in family]
  assert len(together) == len({*together})
  assert {*agent} - {*together} == {
    of for of in agent if of.kind not in ablations.AGENT_KINDS
  }
  assert {of.kind for of in left_out('only_trajectories', 'stage2')} == {
    'documentation'
  }
  assert {of.kind for of in left_out('without_code')} == {'code'}


def test_a_source_that_is_larger_has_a_larger_share_of_its_part():
  found = shares('whole_forge_stage1_v1')
  ratio = found['toolbench_v1'] / found['api_bank_v1']
  assert ratio == pytest.approx(10)


def test_families_of_the_docstring():
  docs = next(s for s in packages.SOURCES if s.name == 'botocore_docs')
  toolbench = next(s for s in seed.SOURCES if s.name == 'toolbench')
  assert ablations.family(ablations.DEMO, docs) == 'api_reference'
  assert ablations.family(ablations.WHOLE, toolbench) == 'sessions'


@pytest.mark.parametrize('corpus', CORPORA, ids=['demo', 'whole'])
@pytest.mark.parametrize('ratio', ablations.RATIOS)
def test_a_mix_has_the_ratio_of_its_name(corpus, ratio):
  found = shares(f'{corpus.prefix}forge_stage1_{ratio}_v1')
  wanted = [int(number) for number in ratio.split('_')]
  agent = agent_share(corpus, found)
  code = sum(
    share for task, share in found.items() if SOURCE_OF[task].kind == 'code'
  )
  assert [agent, 1 - agent - code, code] == pytest.approx(
    [number / sum(wanted) for number in wanted]
  )


def test_the_shares_of_the_docstrings():
  given = {'documentation': 0.3, 'trajectory': 0.1, 'text': 0.6}
  left = frozenset({'trajectory', 'text'})
  found = ablations.shares(ablations.DEMO, given, left)
  assert found == pytest.approx({'trajectory': 0.4, 'text': 0.6})
  assert ablations.ratio(ablations.WHOLE, 2, 1, 1) == pytest.approx(
    {'agent': 0.5, 'text': 0.25, 'code': 0.25}
  )


def test_observations_are_taken_out_and_what_has_no_other_is_dropped():
  records = tf.data.Dataset.from_generator(
    lambda: [
      {'roles': ['action', 'observation'], 'texts': ['ls', 'a.txt']},
      {'roles': ['observation'], 'texts': ['alone']},
    ],
    output_signature={
      name: tf.TensorSpec([None], tf.string) for name in ('roles', 'texts')
    },
  )
  (record,) = ablations.without_roles(records, ('observation',))
  assert record['roles'].numpy().tolist() == [b'action']
  assert record['texts'].numpy().tolist() == [b'ls']


@pytest.mark.parametrize('prefix', ['', 'whole_'])
def test_every_mixture_that_the_ablations_cache_is_registered(prefix):
  text = configuration.read(['gin/ablations/all.gin'], [], configuration.ROOT)
  known = {*seqio.MixtureRegistry.names(), *seqio.TaskRegistry.names()}
  for name in text.macros['CONCAT'].value:
    assert name.replace('{MIXTURES}', prefix) in known, name


def test_the_whole_forge_is_what_its_corpus_is_built_of():
  text = configuration.read(
    ['gin/runs/whole_forge.gin'], [], configuration.ROOT
  )
  built = {*text.macros['SOURCES'].value, *text.macros['FOLDERS'].value}
  mixed = {of.name for of in ablations.WHOLE.sources}
  heldout = {of for of in built if of.endswith('_requests')}
  assert mixed == built - heldout
