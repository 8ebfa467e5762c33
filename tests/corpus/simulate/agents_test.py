"""The loops against a server that plays a model: what is said to whom, when."""

import contextlib
import json
import pathlib
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hephaestus_jax import language_model
from hephaestus_jax.corpus.adapters import entry
from hephaestus_jax.corpus.simulate import agents, planner, policies

sys.path.append(str(pathlib.Path(__file__).parents[2]))
sys.path.append(str(pathlib.Path(__file__).parent))
import boxes  # noqa: E402
import chat_server  # noqa: E402

LIMITS = agents.Limits(steps=6, trials=3, episodes=1)
SEEN = 'You see a red, a green and a blue box.'


@contextlib.contextmanager
def scripted(tmp_path, *answers):
  """(policy, requests): a model that gives these answers in order."""
  waiting = list(answers)

  def play(body, handler):
    return waiting.pop(0)

  with chat_server.serving(play) as server:
    where = language_model.Endpoint(
      base_url=server.url,
      model='script',
      key_variable='',
      cache=str(tmp_path / 'cache.sqlite'),
    )
    with language_model.Client(where) as client:
      yield policies.language_model_policy(client), server.seen
  assert not waiting


def told(request):
  """All that a request's messages say."""
  return '\n'.join(m['content'] for m in request['body']['messages'])


def pairs(attempt):
  return [(step.role, step.text) for step in attempt.steps]


def oracle(noise=0.0, seed='0'):
  world, twin = boxes.Boxes(), boxes.Boxes()
  return policies.oracle(world, twin, noise=noise, seed=seed), world


def test_react_alternates_thoughts_actions_and_the_environments_words(tmp_path):
  with scripted(
    tmp_path,
    'Thought: Keys lie in boxes.\nAction: open red box\nObservation: A cat.',
    'Action: take key',
  ) as (policy, seen):
    attempt = agents.acting(policy, boxes.Boxes(), LIMITS)
  assert pairs(attempt) == [
    ('observation', SEEN),
    ('thought', 'Keys lie in boxes.'),
    ('action', 'open red box'),
    ('observation', 'In the red box lies a key.'),
    ('action', 'take key'),
    ('observation', 'You have the key.'),
  ]
  assert attempt.success
  assert seen[0]['body']['stop'] == ['\nObservation:']
  # The second request shows what was done and what came of it.
  roles = [m['role'] for m in seen[1]['body']['messages']]
  assert roles == ['system', 'user', 'assistant', 'user']
  assert 'Observation: In the red box lies a key.' in told(seen[1])
  assert 'A cat.' not in told(seen[1])


def test_a_failed_trials_reflection_stands_in_the_next_trials_prompt(tmp_path):
  lesson = 'The green box is a trap; I try the red one.'
  with scripted(
    tmp_path,
    'Action: open green box',
    f'Reflection: {lesson}',
    'Action: open red box',
    'Action: take key',
  ) as (policy, seen):
    attempt = agents.reflecting(policy, boxes.Boxes(), LIMITS)
  assert lesson not in told(seen[0])
  assert 'A trap! You are out.' in told(seen[1])
  assert lesson in told(seen[2])
  assert lesson in told(seen[3])
  # The second trial begins anew: nothing of the first but the lesson.
  assert 'A trap! You are out.' not in told(seen[2])
  assert pairs(attempt) == [
    ('observation', SEEN),
    ('action', 'open green box'),
    ('observation', 'A trap! You are out.'),
    ('thought', lesson),
    ('observation', SEEN),
    ('action', 'open red box'),
    ('observation', 'In the red box lies a key.'),
    ('action', 'take key'),
    ('observation', 'You have the key.'),
  ]
  assert (attempt.success, attempt.trials) == (True, 2)


def test_reflexion_stops_after_its_trials_and_shows_the_newest_lessons(
  tmp_path,
):
  fail = 'Action: open green box'
  with scripted(
    tmp_path, f'{fail}', 'One.', f'{fail} ', 'Two.', f'{fail}  '
  ) as (policy, seen):
    limits = agents.Limits(trials=3, reflections=1)
    attempt = agents.reflecting(policy, boxes.Boxes(), limits)
  assert (attempt.success, attempt.trials) == (False, 3)
  assert '- Two.' in told(seen[4])
  assert '- One.' not in told(seen[4])
  assert pairs(attempt)[-1] == ('observation', 'A trap! You are out.')


def test_a_trial_that_goes_in_circles_is_over(tmp_path):
  def again(purpose, situation):
    return 'Action: open blue box'

  trial = agents.react(again, boxes.Boxes(), agents.Limits())
  assert len([s for s in trial.steps if s.role == 'action']) == 3
  assert not trial.success


def test_a_trial_has_no_more_actions_than_allowed():
  numbers = iter(range(99))
  trial = agents.react(
    lambda purpose, situation: f'Action: count {next(numbers)}',
    boxes.Boxes(),
    LIMITS,
  )
  assert len([s for s in trial.steps if s.role == 'action']) == LIMITS.steps


FIRST = "# Blue, I think.\nact('open blue box', expect='key')\nact('take key')"
SECOND = (
  "# Then red.\nstart(2)\nact('open blue box')\n"
  "act('open red box', expect='lies')\n"
  "thing = ask('What lies in it?')\nact(f'take {thing}', expect='have')"
)


def test_a_plan_that_meets_the_unexpected_is_refined_and_goes_on_from_there(
  tmp_path,
):
  skills = []
  with scripted(tmp_path, f'```python\n{FIRST}\n```', SECOND, 'key\n') as (
    policy,
    seen,
  ):
    attempt = planner.planning(policy, boxes.Boxes(), LIMITS, skills)
  assert pairs(attempt) == [
    ('observation', SEEN),
    ('thought', f'```python\n{FIRST}\n```'),
    ('action', 'open blue box'),
    ('observation', 'The blue box is empty.'),
    ('thought', SECOND),
    ('action', 'open red box'),
    ('observation', 'In the red box lies a key.'),
    ('thought', 'What lies in it? key'),
    ('action', 'take key'),
    ('observation', 'You have the key.'),
  ]
  assert (attempt.success, attempt.trials) == (True, 2)
  # The refining prompt names the plan, the step and the observation.
  assert FIRST in told(seen[1])
  assert "Step 1 expected 'key'." in told(seen[1])
  assert 'The blue box is empty.' in told(seen[1])
  assert 'What lies in it?' in told(seen[2])
  assert skills == [f'Task: Take the key.\n{SECOND}']


def test_a_plan_that_worked_is_shown_with_the_next_task(tmp_path):
  plan = "act('open red box')\nact('take key')"
  skills = []
  with scripted(tmp_path, plan, f'{plan}\n') as (policy, seen):
    planner.planning(policy, boxes.Boxes(), LIMITS, skills)
    planner.planning(policy, boxes.Boxes(), LIMITS, skills)
  assert plan not in told(seen[0])
  assert plan in told(seen[1])


def test_a_plan_that_is_not_changed_is_no_refinement(tmp_path):
  plan = "act('open blue box', expect='key')"
  with (
    scripted(tmp_path, plan, f' {plan}') as (policy, _),
    pytest.raises(entry.MalformedError, match='plan_unchanged'),
  ):
    planner.planning(policy, boxes.Boxes(), LIMITS, [])


def test_trial_and_error_remembers_its_requests_and_then_uses_what_worked(
  tmp_path,
):
  limits = agents.Limits(episodes=2, trials=1, demonstrations=2)
  with scripted(
    tmp_path,
    'Request: Take the key of the red box.',
    'Action: open red box',
    'Answer: There is a key in it.',
    'Fulfilled: yes, the key was found.',
    'Request: What is in the blue box?',
    'Action: ask blue box',
    'Answer: I do not know.',
    'Fulfilled: no, nothing was learnt.',
    'Action: open red box',
    'Action: take key',
  ) as (policy, seen):
    attempts = agents.exploring(policy, boxes.Boxes(), limits)
  assert [a.name for a in attempts] == [
    '-explore-1-1', '-explore-2-1', '-exploit'
  ]  # fmt: skip
  assert [a.success for a in attempts] == [True, False, True]
  # Long-term memory: the second episode's proposal sees the first's request.
  assert 'key of the red box' not in told(seen[0])
  assert '- Take the key of the red box. (fulfilled)' in told(seen[4])
  # Exploitation: the fulfilled request is shown in full, the other is not.
  assert 'Request: Take the key of the red box.\nObservation:' in told(seen[8])
  assert 'What is in the blue box?' not in told(seen[8])
  assert "'Answer: '" in told(seen[1])
  assert "'Answer: '" not in told(seen[8])
  assert pairs(attempts[0]) == [
    ('observation', SEEN),
    ('action', 'open red box'),
    ('observation', 'In the red box lies a key.'),
    ('answer', 'There is a key in it.'),
    ('thought', 'yes, the key was found.'),
  ]


def test_within_an_episode_the_trials_before_are_shown(tmp_path):
  limits = agents.Limits(episodes=1, trials=2)
  with scripted(
    tmp_path,
    'Request: Open a box.',
    'Answer: I will not.',
    'Fulfilled: no',
    'Request: none',
    'Action: open green box',
  ) as (policy, seen):
    attempts = agents.exploring(policy, boxes.Boxes(), limits)
  assert 'Request: Open a box.\nObservation:' in told(seen[3])
  assert [a.name for a in attempts] == ['-explore-1-1', '-exploit']


@pytest.mark.parametrize(
  ('finish', 'text', 'reason'),
  [
    ('stop', 'I would open a box.', 'malformed_action'),
    ('stop', 'Answer: 42', 'malformed_action'),
    ('stop', ' ', 'empty_answer'),
    ('length', 'Action: open', 'truncated'),
    ('content_filter', '', 'refused'),
  ],
)
def test_what_a_model_gets_wrong_is_a_reason(tmp_path, finish, text, reason):
  with chat_server.serving(
    lambda body, h: h.send(200, chat_server.completion(text, finish))
  ) as server:
    where = language_model.Endpoint(
      server.url, 'script', str(tmp_path / 'cache.sqlite'), key_variable=''
    )
    with language_model.Client(where) as client:
      policy = policies.language_model_policy(client)
      with pytest.raises(entry.MalformedError) as error:
        agents.acting(policy, boxes.Boxes(), LIMITS)
  assert error.value.reason == reason


def test_the_oracle_reaches_the_goal_by_every_loop():
  policy, world = oracle()
  assert agents.acting(policy, world, LIMITS).success
  assert agents.reflecting(policy, world, LIMITS).trials == 1
  assert planner.planning(policy, world, LIMITS, []).trials == 1
  assert agents.exploring(policy, world, LIMITS)[-1].success


def test_a_noisy_oracle_errs_and_mends_it_the_same_way_each_time():
  runs = []
  for seed in map(str, range(30)):
    for _ in range(2):
      policy, world = oracle(0.6, seed)
      runs.append(agents.reflecting(policy, world, LIMITS))
  assert runs[::2] == runs[1::2]
  runs = runs[::2]
  assert len({run.trials for run in runs}) > 1
  assert sum(run.success for run in runs) > 15
  mended = [run for run in runs if run.success and run.trials > 1]
  assert mended
  for run in mended:
    roles = [step.role for step in run.steps]
    again = [i for i, step in enumerate(run.steps) if step.text == SEEN]
    assert all(roles[i - 1] == 'thought' for i in again[1:])


def test_a_noisy_oracles_refined_plan_is_another_and_says_where_to_go_on():
  refined = 0
  for seed in map(str, range(30)):
    policy, world = oracle(0.6, seed)
    attempt = planner.planning(policy, world, LIMITS, [])
    plans = [s.text for s in attempt.steps if s.role == 'thought']
    assert len(set(plans)) == len(plans) == attempt.trials
    for before, after in zip(plans, plans[1:], strict=False):
      refined += 1
      assert 'start(' in after
      assert after != before
  assert refined > 5


@pytest.mark.parametrize(
  ('text', 'expected'),
  [
    ('Thought: It is shut.\nAction: open box\nObservation: ...',
     ('It is shut.', 'open box', '')),
    ('Answer: 42', ('', '', '42')),
    ('I think so.\naction 3: go', ('I think so.', 'go', '')),
    ('Thought 1: a\nb\nAction 1: Search[x: y]', ('a\nb', 'Search[x: y]', '')),
  ],
)  # fmt: skip
def test_a_step_is_read(text, expected):
  assert agents.parse_step(text) == expected


@pytest.mark.parametrize(
  'text', ['', 'Action:', 'Observation: x\nAction: y', 'Thought: x', 'open']
)
def test_what_is_no_step_has_a_reason(text):
  with pytest.raises(entry.MalformedError, match='malformed_action'):
    agents.parse_step(text)


@given(st.text() | st.from_regex(r'(Thought|Action|Answer) ?\d?:.*\n.*'))
def test_every_text_is_a_step_or_malformed(text):
  try:
    thought, action, answer = agents.parse_step(text)
  except entry.MalformedError as error:
    assert error.reason == 'malformed_action'
  else:
    assert bool(action) != bool(answer)


def test_a_plan_is_parsed_and_not_run():
  assert planner.parse("act('open box', expect='open')") == planner.Plan(
    steps=(planner.Step(parts=('open box',), expect='open', result=''),),
    start=0,
  )


@pytest.mark.parametrize(
  'text',
  [
    '',
    '# Only a comment.',
    "import os\nact('x')",
    "act(open('/etc/passwd').read())",
    "act(f'{().__class__}')",
    "act(f'{name!r}')",
    "act('x', expect=len('y'))",
    "act('x', 'y')",
    "print('x')",
    "for i in 'ab': act(i)",
    "start(9)\nact('x')",
    "start(0)\nact('x')",
    'act(7)',
    '(' * 5_000,
    'act("\0")',
    '```python\nnot code\n```',
  ],
)
def test_what_is_no_plan_has_a_reason(text):
  with pytest.raises(entry.MalformedError, match='malformed_plan'):
    planner.parse(text)


@given(st.text())
def test_every_text_is_a_plan_or_malformed(text):
  with contextlib.suppress(entry.MalformedError):
    planner.parse(text)


def test_a_plan_may_use_only_what_it_asked(tmp_path):
  with (
    scripted(tmp_path, "act(f'take {thing}')") as (policy, _),
    pytest.raises(entry.MalformedError, match='malformed_plan'),
  ):
    planner.planning(policy, boxes.Boxes(), LIMITS, [])


def test_a_trial_is_shown_as_text():
  steps = [agents.document.Segment('action', 'look')]
  assert agents.shown('Look.', steps) == 'Request: Look.\nAction: look'
  known = [('Eat.', 'a'), ('A box.', 'b')]
  assert agents.most_similar('Open the red box.', known, 1) == ('b',)
  assert agents.after_label(' Reflection: I was slow. ', 'Reflection') == (
    'I was slow.'
  )
  assert json.dumps(agents.words('A b, a.') == {'a', 'b'}) == 'true'
