"""The command: every attempt a Document or a drop, whatever kills it."""

import json
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from hephaestus_jax import errors, language_model
from hephaestus_jax.corpus import document, lines
from hephaestus_jax.corpus.simulate import agents, questions, simulate

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / 'tests'))
import chat_server  # noqa: E402

METHODS = ['react', 'reflexion', 'adaplanner', 'ste']


def question(number):
  answer = f'Town {number}'
  return {
    'question': f'Where does the mayor of bridge {number} live?',
    'answer': answer,
    'supporting_facts': [[f'Bridge {number}', 0], [f'Mayor {number}', 0]],
    'context': [
      [f'Bridge {number}', [f'Its mayor is Mayor {number}.', 'It is long.']],
      [f'Mayor {number}', [f'The mayor lives in {answer}.']],
      ['Somebody else', ['Somebody else lives elsewhere.']],
    ],
  }


@pytest.fixture
def file(tmp_path):
  path = tmp_path / 'questions.json'
  records = [question(number) for number in range(6)]
  records[4].pop('supporting_facts')
  path.write_text(json.dumps([*records, {'question': 'Who?'}]))
  return path


def run(file, folder, **changes):
  return simulate.simulate(
    **{
      'worlds': [questions.Questions(str(file))],
      'methods': METHODS,
      'endpoint': language_model.Endpoint(None),
      'output_dir': str(folder),
      'limits': agents.Limits(steps=7, episodes=1, trials=2),
      'noise': 0.3,
      **changes,
    }
  )


def files(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_attempt_is_a_document_or_a_drop_with_a_reason(tmp_path, file):
  result = run(file, tmp_path / 'made')
  documents = list(lines.read(tmp_path / 'made'))
  assert len(documents) == result['documents']
  assert result['records'] == result['documents'] + sum(
    result['drops'].values()
  )
  # The question without facts has no solution, the last no answer.
  assert result['drops'] == {'no_answer': 4, 'no_solution': 4}
  assert {d.kind for d in documents} == {'trajectory'}
  assert {d.licence for d in documents} == {'CC-BY-SA-4.0'}
  react = next(d for d in documents if d.id.endswith('questions-0/react'))
  assert react.id == 'simulated_agents/questions-0/react'
  roles = [segment.role for segment in react.segments]
  assert roles[:3] == ['system', 'user', 'observation']
  assert roles[-1] == 'observation'
  # o0, a1, o1, ..., aT, oT: between two observations there is one action.
  assert roles.count('observation') == roles.count('action') + 1
  episodes = [
    json.loads(line)
    for line in (tmp_path / 'made/episodes.jsonl').read_text().splitlines()
  ]
  assert {e['id'] for e in episodes} == {d.id for d in documents}
  assert {e['policy'] for e in episodes} == {'oracle'}
  assert set(result['success']) == set(METHODS)


def test_the_same_seed_makes_the_same_bytes_and_another_seed_others(
  tmp_path, file
):
  run(file, tmp_path / 'a')
  run(file, tmp_path / 'b')
  run(file, tmp_path / 'c', seed=1)
  assert files(tmp_path / 'a') == files(tmp_path / 'b')
  assert files(tmp_path / 'a')[lines.FILE] != files(tmp_path / 'c')[lines.FILE]
  assert run(file, tmp_path / 'a')['reused'] is True
  with pytest.raises(errors.UserError, match=r'policy.seed was 0, now 1'):
    run(file, tmp_path / 'a', seed=1)


def test_what_is_too_long_or_failed_is_dropped_if_so_bound(tmp_path, file):
  result = run(file, tmp_path / 'a', max_characters=900)
  assert result['drops']['too_long'] > 0
  result = run(file, tmp_path / 'b', success_only=True, noise=0.9)
  assert result['drops']['no_success'] > 0
  documents = {d.id for d in lines.read(tmp_path / 'b')}
  for line in (tmp_path / 'b/episodes.jsonl').read_text().splitlines():
    episode = json.loads(line)
    assert (episode['id'] in documents) == episode['success']


@pytest.mark.parametrize(
  ('changes', 'text'),
  [
    ({'methods': ['act']}, "no 'act'"),
    ({'methods': []}, '0 methods'),
    ({'worlds': []}, '0 worlds'),
    ({'noise': 1.5}, 'noise = 1.5'),
  ],
)
def test_what_cannot_be_simulated_is_refused(tmp_path, file, changes, text):
  with pytest.raises(errors.UserError, match=text):
    run(file, tmp_path / 'made', **changes)
  assert not (tmp_path / 'made').exists()


def test_worlds_that_share_a_task_are_refused(tmp_path, file):
  twice = [questions.Questions(str(file)), questions.Questions(str(file))]
  with pytest.raises(errors.UserError, match="a task 'questions-0'"):
    run(file, tmp_path / 'made', worlds=twice)


@pytest.mark.parametrize('name', ['steps', 'trials', 'skills', 'reflections'])
def test_no_limit_is_zero_that_a_loop_needs(name):
  with pytest.raises(errors.UserError, match=f'{name}=0'):
    agents.Limits(**{name: 0})


RUN = """
import sys
from hephaestus_jax import language_model
from hephaestus_jax.corpus.simulate import agents, questions, simulate
import time
slow = questions.Search.step
def step(self, action):
  time.sleep(0.005)
  return slow(self, action)
questions.Search.step = step
simulate.simulate(
  worlds=[questions.Questions(sys.argv[1])],
  methods=['react', 'reflexion', 'adaplanner', 'ste'],
  endpoint=language_model.Endpoint(
    sys.argv[3] if len(sys.argv) > 3 else None, 'script',
    cache=sys.argv[2] + '.sqlite', key_variable='', prompt_price=1.0,
  ),
  output_dir=sys.argv[2],
  limits=agents.Limits(steps=7, episodes=1, trials=2),
  noise=0.3,
)
"""


def kill_until_done(command, folder):
  """Kills the run later and later, until it ends by itself; how often."""
  for kills in range(99):
    process = subprocess.Popen(
      command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    started = time.monotonic()
    while not list(folder.parent.glob(f'{folder.name}.sessions-*')):
      if process.poll() is not None or time.monotonic() - started > 60:
        break
      time.sleep(0.005)
    time.sleep(0.2 * kills)
    if process.poll() is not None:
      assert process.returncode == 0, process.communicate()[1]
      return kills
    process.send_signal(signal.SIGKILL)
    process.communicate()
  raise AssertionError


def test_an_oracles_run_that_is_killed_ends_in_the_same_bytes(tmp_path, file):
  run(file, tmp_path / 'straight')
  killed = tmp_path / 'killed'
  command = [sys.executable, '-c', RUN, str(file), str(killed)]
  assert kill_until_done(command, killed) > 1
  assert files(killed) == files(tmp_path / 'straight')
  assert sorted(p.name for p in tmp_path.iterdir()) == [
    'killed', 'questions.json', 'straight'
  ]  # fmt: skip


def model(body, handler):
  """Plays a model that knows little: it searches the first title it reads."""
  said = body['messages'][-1]['content']
  everything = ''.join(m['content'] for m in body['messages'])
  if 'Write a plan' in said or 'whole plan anew' in said:
    return f"# Plan {len(everything)}.\nact('Search[Somebody else]')"
  if 'Imagine a request' in said:
    return f'Request: Who lives elsewhere, after {len(everything)}?'
  if 'Was the request fulfilled' in said:
    return 'Fulfilled: yes.'
  if 'not accomplished' in said:
    return 'Reflection: I stopped too early.'
  if "'Answer: '" in everything and 'elsewhere.' in said:
    return 'Thought: I have it.\nAnswer: Somebody else.'
  if 'elsewhere.' in said:
    return 'Action: Finish[elsewhere]'
  return 'Thought: I look.\nAction: Search[Somebody else]'


@pytest.mark.slow
def test_a_models_run_that_is_killed_costs_and_says_the_same(tmp_path, file):
  with chat_server.serving(model) as server:
    straight, killed = tmp_path / 'straight', tmp_path / 'killed'
    for folder in (straight, killed):
      command = [sys.executable, '-c', RUN, str(file), str(folder), server.url]
      if folder == killed:
        assert kill_until_done(command, killed) > 1
      else:
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        asked = len(server.seen)
    # All but what was under way when it was killed was paid for once.
    assert len(server.seen) < 2.5 * asked
  assert files(killed) == files(straight)
  account = json.loads((straight / 'account.json').read_text())
  assert account['questions'] == asked
  assert account['dollars'] > 0
  documents = list(lines.read(straight))
  assert documents
  for found in documents:
    assert isinstance(found, document.Document)
    # Observations are the environment's own words.
    for segment in found.segments:
      if segment.role == 'observation':
        assert segment.text in {
          'Somebody else lives elsewhere.',
          'The answer is wrong.',
          f'Question: {found.segments[1].text}',
          *(f'Question: {question(n)["question"]}' for n in range(6)),
        }
