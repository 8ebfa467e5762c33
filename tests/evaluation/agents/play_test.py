"""The loop: how tasks end, what is told of them, and what an agent is asked."""

import contextlib
import dataclasses
import json
import pathlib
import sys

import pytest

from hephaestus_jax import errors, language_model, replies
from hephaestus_jax.corpus import document
from hephaestus_jax.evaluation.agents import episode, models

HERE = pathlib.Path(__file__).parent
sys.path += [str(HERE), str(HERE.parents[1])]

import chat_server  # noqa: E402
import scripts  # noqa: E402


@dataclasses.dataclass
class Counting:
  """Count up to the task's number: '+' adds, 'done' ends it."""

  name: str = 'counting'
  licence: str = 'Apache-2.0'
  rounds: int = 5
  closed: list = dataclasses.field(default_factory=list)

  def identity(self):
    return {'data': episode.OURS, 'prompt': episode.OURS}

  def tasks(self):
    return [episode.Task(f'to-{n}', {'n': n}) for n in (1, 2, 3)]

  @contextlib.contextmanager
  def open(self, task):
    count = 0

    def act(reply, conversation):
      nonlocal count
      if reply == 'done':
        return episode.Turn(answer='done', status=episode.COMPLETED)
      if not reply.startswith('+'):
        return episode.Turn(thought=reply, status=episode.INVALID_FORMAT)
      if reply != '+':
        return episode.Turn(action=reply, status=episode.INVALID_ACTION)
      count += 1
      return episode.Turn(action='+', observation=f'It is {count}.')

    yield episode.Episode(
      (episode.user(f'Count to {task.record["n"]}.'),),
      f'To {task.record["n"]}!',
      act,
      lambda status: float(
        status == episode.COMPLETED and count == task.record['n']
      ),
      lambda: '+' if count < task.record['n'] else 'done',
    )
    self.closed.append(task.name)


def statuses(agent):
  results = scripts.played(Counting(), agent).values()
  assert all(one.score == 0.0 for one in results)
  return {(one.status, one.rounds, one.failure) for one in results}


@pytest.mark.parametrize(
  'agent, status, rounds, failure',
  [
    (scripts.always('+'), 'task limit reached', 5, ''),
    (scripts.always('hm'), 'agent validation failed', 1, ''),
    (scripts.always(''), 'agent validation failed', 1, ''),
    (scripts.always('+7'), 'agent invalid action', 1, ''),
    (scripts.always('done'), 'completed', 1, ''),
    (scripts.forgetful, 'agent context limit', 1, 'request_rejected'),
    (scripts.crashing, 'unknown', 1, 'connection_lost'),
  ],
)
def test_tasks_end_in_the_words_of_the_protocol(agent, status, rounds, failure):
  assert statuses(agent) == {(status, rounds, failure)}


def test_an_oracle_scores_one_and_everything_is_closed():
  environment = Counting()
  results = scripts.oracle_played(environment)
  assert [one.score for one in results.values()] == [1.0] * 3
  assert [one.rounds for one in results.values()] == [2, 3, 4]
  assert environment.closed == ['to-1', 'to-2', 'to-3']


def test_the_agent_is_asked_about_all_that_are_under_way_and_no_others():
  asked = []

  def agent(conversations):
    asked.append([messages[0]['content'] for messages in conversations])
    return [
      replies.Reply(
        'done' if f'to {len(asked)}.' in messages[0]['content'] else '+'
      )
      for messages in conversations
    ]

  results = scripts.played(Counting(), agent)
  assert asked == [
    ['Count to 1.', 'Count to 2.', 'Count to 3.'],
    ['Count to 2.', 'Count to 3.'],
    ['Count to 3.'],
  ]
  assert [one.rounds for one in results.values()] == [1, 2, 3]


def test_a_question_holds_all_that_was_said():
  seen = []

  def agent(conversations):
    seen.append(conversations[0])
    return [replies.Reply('+' if len(seen) < 3 else 'done')]

  scripts.played(Counting(), agent, [episode.Task('to-2', {'n': 2})])
  assert seen[-1] == (
    {'role': 'user', 'content': 'Count to 2.'},
    {'role': 'assistant', 'content': '+'},
    {'role': 'user', 'content': 'It is 1.'},
    {'role': 'assistant', 'content': '+'},
    {'role': 'user', 'content': 'It is 2.'},
  )


def test_a_trajectory_is_a_document():
  found = scripts.oracle_played(Counting())['to-1'].trajectory
  assert found == document.Document(
    'evaluation_trajectories/counting/to-1',
    'evaluation_trajectories',
    'trajectory',
    'Apache-2.0',
    '',
    (
      document.Segment('system', 'Count to 1.'),
      document.Segment('user', 'To 1!'),
      document.Segment('action', '+'),
      document.Segment('observation', 'It is 1.'),
      document.Segment('answer', 'done'),
    ),
  )


def test_an_endpoint_acts_and_one_that_breaks_off_is_the_agents_failure(
  tmp_path,
):
  def server(body, handler):
    said = body['messages'][-1]['content']
    if 'to 3' in body['messages'][0]['content']:
      handler.close_connection = True
      return None  # no answer at all
    if 'to 2' in body['messages'][0]['content']:
      handler.send(400, {'error': 'maximum context length'})
      return None
    return 'done' if said == 'It is 1.' else '+'

  with chat_server.serving(server) as served:
    endpoint = language_model.Endpoint(
      served.url,
      'model',
      str(tmp_path / 'answers.sqlite'),
      key_variable='',
      attempts=1,
    )
    with language_model.Client(endpoint) as client:
      results = scripts.played(Counting(), models.asking(client))
  assert [(one.status, one.score) for one in results.values()] == [
    ('completed', 1.0),
    ('agent context limit', 0.0),
    ('unknown', 0.0),
  ]


def test_a_prompt_of_the_user_takes_the_place_of_ours(tmp_path):
  path = tmp_path / 'prompt.json'
  path.write_text(
    json.dumps(
      [{'role': 'user', 'content': 'Do.'}, {'role': 'agent', 'content': 'Ok.'}]
    )
  )
  assert episode.opening(str(path), ['x']) == (
    {'role': 'user', 'content': 'Do.'},
    {'role': 'assistant', 'content': 'Ok.'},
  )
  assert episode.origin(str(path)).startswith('prompt.json ')
  path.write_text('{"role": 1}')
  with pytest.raises(errors.UserError, match='no list of messages'):
    episode.opening(str(path), [])


def test_a_file_that_is_not_there_is_the_users_to_mend():
  with pytest.raises(errors.UserError, match="nowhere.json can't be read"):
    episode.read_json('nowhere.json')
