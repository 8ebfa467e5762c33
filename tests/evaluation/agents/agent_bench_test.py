"""The benchmark: what its scores are called, and how they are averaged."""

import dataclasses
import pathlib
import sys

import pytest

from hephaestus_jax import errors, language_model
from hephaestus_jax.corpus import document, lines
from hephaestus_jax.evaluation import evaluate
from hephaestus_jax.evaluation.agents import agent_bench, episode, play

HERE = pathlib.Path(__file__).parent
sys.path += [str(HERE), str(HERE.parents[1])]

import chat_server  # noqa: E402
from play_test import Counting  # noqa: E402


def played(score, group='', status=episode.COMPLETED):
  task = episode.Task('t', {}, group)
  return play.Played(task, status, score, 2, '', None)


def test_scores_are_averaged_in_the_groups_first():
  found = agent_bench.summarise(
    [
      *(played(1.0, 'SELECT'), played(1.0, 'SELECT'), played(0.0, 'SELECT')),
      *(played(0.0, 'INSERT', 'task limit reached'), played(1.0, 'UPDATE')),
    ]
  )
  assert found == {
    'score': pytest.approx(100 * (2 / 3 + 0 + 1) / 3),
    'tasks': 5,
    'rounds': 2.0,
    'completed': 4,
    'task_limit_reached': 1,
  }


def test_what_was_not_played_is_told():
  tasks = [episode.Task(str(i), {}) for i in range(4)]
  tasks += [episode.Task('x', {}, flaw='no_script')]
  assert agent_bench.left_out(tasks, 2) == {
    'left_out': 3,
    'no_script': 1,
    'beyond_the_limit': 2,
  }
  assert agent_bench.left_out(tasks[:4], 4) == {'left_out': 0}


# The paper's table 2: OS, DB, HH, KG, WB, WS and the overall score.
PAPER = {
  'Hephaestus-8B-Base': (20.8, 32.3, 30.0, 16.0, 16.0, 60.5, 1.87),
  'Hephaestus-8B-IFT': (20.8, 41.7, 46.0, 21.2, 17.0, 63.9, 2.29),
  'LLaMA-3.1-8B': (15.3, 5.3, 8.0, 12.7, 18.0, 41.9, 1.05),
}


@pytest.mark.parametrize('name', PAPER)
def test_the_overall_score_is_that_of_the_papers_rows(name):
  *scores, wanted = PAPER[name]
  environments = {
    f'agentbench_{key}': {'score': score}
    for key, score in zip(
      ('os', 'db', 'hh', 'kg', 'wb', 'ws'), scores, strict=True
    )
  }
  environments['tau2_retail'] = {'score': 99.0}  # has no part in it
  assert agent_bench.overall(environments) == pytest.approx(wanted, abs=0.02)
  environments['agentbench_os']['beyond_the_limit'] = 3
  assert agent_bench.overall(environments) is None
  del environments['agentbench_os']
  assert agent_bench.overall(environments) is None
  environments['os_on_tasks_of_ours'] = {'score': 99.0}
  assert agent_bench.overall(environments) is None


def test_a_score_on_tasks_of_ours_does_not_bear_the_benchmarks_name():
  assert agent_bench.called('os', 'dev.json 03aa') == 'agentbench_os'
  assert agent_bench.called('kg', episode.OURS) == 'kg_on_tasks_of_ours'
  assert agent_bench.called('tau2_retail', 'tau2.txt 5b') == 'tau2_retail'


def endpoint(tmp_path, url):
  return language_model.Endpoint(
    url, 'model', str(tmp_path / 'answers.sqlite'), key_variable=''
  )


def test_evaluate_measures_a_served_model_and_keeps_what_it_did(tmp_path):
  def counting(body, handler):
    wanted = int(body['messages'][0]['content'].split()[-1].strip('.'))
    if wanted == 3:
      return 'What?'
    count = sum(m['role'] == 'assistant' for m in body['messages'])
    return '+' if count < wanted else 'done'

  with chat_server.serving(counting) as server:
    benchmark = agent_bench.AgentBench(
      [Counting()], endpoint(tmp_path, server.url), tokenizer='none'
    )
    found = evaluate.evaluate(
      model=None,
      checkpoint=None,
      benchmarks=[benchmark],
      output_dir=str(tmp_path / 'out'),
    )
  assert found['results']['agents'] == {
    'environments': {
      'counting_on_tasks_of_ours': {
        'score': pytest.approx(200 / 3),
        'tasks': 3,
        'left_out': 0,
        'rounds': 2.0,
        'completed': 2,
        'agent_validation_failed': 1,
        'data': 'ours',
        'prompt': 'ours',
      }
    },
    'overall': None,
  }
  told = list(lines.read(tmp_path / 'out' / 'agents_trajectories'))
  assert [one.id.split('/')[-1] for one in told] == ['to-1', 'to-2', 'to-3']
  assert told[2].segments[-1] == document.Segment('thought', 'What?')
  completions = (tmp_path / 'out' / 'agents_completions.jsonl').read_text()
  assert completions.splitlines()[0] == (
    '{"id": "counting/to-1", "status": "completed", "score": 1.0, '
    '"rounds": 2, "failure": ""}'
  )


def test_without_endpoint_a_checkpoint_is_needed(tmp_path):
  @dataclasses.dataclass
  class OfACheckpoint:
    name: str = 'loss'

    def identity(self):
      return {'tokenizer': 'aaaa'}

  with pytest.raises(errors.UserError, match='loss measures a checkpoint'):
    evaluate.evaluate(
      model=None,
      checkpoint=None,
      benchmarks=[OfACheckpoint()],
      output_dir=str(tmp_path / 'out'),
    )


@pytest.mark.parametrize(
  'environments, limit',
  [([], None), ([Counting(), Counting()], None), ([Counting()], 0)],
)
def test_what_makes_no_sense_is_refused(tmp_path, environments, limit):
  with pytest.raises(errors.UserError, match='AgentBench'):
    agent_bench.AgentBench(
      environments, endpoint(tmp_path, None), 'none', limit=limit
    )
