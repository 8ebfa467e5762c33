"""What the stages learn from, and what none of them may see."""

import pytest
import seqio
import tensorflow as tf

from data_tasks import (
  benchmarks,
  instruction,  # noqa: F401 (registers the Tasks of stage III)
  mixtures,
  sources,
)
from hephaestus_jax.corpus import catalogue, document
from hephaestus_jax.corpus.catalogue import packages

STAGES = (*mixtures.RATES, 'instruction_v1')
KIND_OF = {sources.task_name(s.name): s.kind for s in packages.SOURCES}


@pytest.fixture
def sized(monkeypatch):
  """Sources of sizes that we chose: 1000, 2000, 3000, ... bytes."""
  sizes = {s.name: 1000 * (i + 1) for i, s in enumerate(packages.SOURCES)}
  monkeypatch.setattr(
    sources.CorpusSource,
    'num_bytes',
    lambda self, split: sum(sizes[name] for name in self.names),
  )
  return sizes


def shares(name):
  """The share of every Task of a mixture."""
  mixture = seqio.get_mixture_or_task(name)
  rates = {task.name: mixture.get_rate(task) for task in mixture.tasks}
  total = sum(rates.values())
  return {task: rate / total for task, rate in rates.items()}


@pytest.mark.parametrize('name', list(mixtures.RATES))
def test_kinds_have_the_shares_of_the_table(sized, name):
  found = dict.fromkeys(document.KINDS, 0.0)
  for task, share in shares(name).items():
    found[KIND_OF[task]] += share
  assert sum(mixtures.RATES[name].values()) == pytest.approx(1)
  wanted = dict.fromkeys(document.KINDS, 0.0) | mixtures.RATES[name]
  assert found == pytest.approx(wanted)


def test_within_a_kind_shares_follow_size(sized):
  found = shares('forge_stage1_v1')
  texts = [s.name for s in packages.SOURCES if s.kind == 'text']
  ratio = [found[sources.task_name(name)] / sized[name] for name in texts]
  assert ratio == pytest.approx([ratio[0]] * len(ratio))


def test_stage_one_holds_the_papers_share_of_agent_data():
  rates = mixtures.RATES['forge_stage1_v1']
  assert rates['documentation'] + rates['trajectory'] == pytest.approx(0.36)
  assert rates['text'] == rates['code']


def test_the_control_sees_no_agent_data():
  tasks = seqio.get_mixture_or_task('control_stage1_v1').tasks
  assert {KIND_OF[task.name] for task in tasks} == {'text', 'code'}


def test_every_source_of_registry_packages_is_in_some_stage():
  used = {
    task.name
    for name in STAGES
    for task in seqio.get_mixture_or_task(name).tasks
  }
  assert used == set(KIND_OF)


@pytest.mark.parametrize('name', STAGES)
def test_no_stage_can_reach_what_was_held_out(name):
  mixture = seqio.get_mixture_or_task(name)
  assert set(mixture.splits) == {'train', 'validation'}


def test_the_benchmark_reaches_nothing_else():
  task = seqio.get_mixture_or_task('function_calls_v1')
  assert task.splits == ('heldout',)
  kinds = {catalogue.by_name(name).kind for name in task.source.names}
  assert kinds == {'instruction'}
  assert all(catalogue.by_name(name).grouped for name in task.source.names)


def test_the_benchmark_keeps_conversations_that_call():
  dataset = tf.data.Dataset.from_tensor_slices(
    {'roles': [['user', 'action'], ['user', 'answer']]}
  )
  found = list(benchmarks.with_calls(dataset).as_numpy_iterator())
  assert [record['roles'].tolist() for record in found] == [
    [b'user', b'action']
  ]
