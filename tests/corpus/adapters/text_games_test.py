"""Golden episodes of text games in their published formats."""

import pytest

from hephaestus_jax.corpus.adapters import entry, messages, text_games

EPISODE = (
  'You see a shelf 1.\nYour task is to: take tea.\n> think: The shelf.\nOK.\n'
  '> go to shelf 1\nA tea 1.\nAnd a cup.\n> take tea 1\nNothing happens.\n'
)
GOLDEN = [
  ('observation', 'You see a shelf 1.'),
  ('user', 'Your task is to: take tea.'),
  ('thought', '> think: The shelf.'),
  ('observation', 'OK.'),
  ('action', '> go to shelf 1'),
  ('observation', 'A tea 1.\nAnd a cup.'),
  ('action', '> take tea 1'),
  ('observation', 'Nothing happens.'),
]


def pairs(found: messages.Segments) -> list[tuple[str, str]]:
  return [(segment.role, segment.text) for segment in found]


def reason(function, record) -> str:
  with pytest.raises(entry.MalformedError) as raised:
    function(record)
  return raised.value.reason


def test_alfworld_lines_that_begin_with_an_arrow_are_the_players():
  assert pairs(text_games.episode(EPISODE)) == GOLDEN


def test_swiftsage_has_several_prompts_in_an_object():
  record = {'3': EPISODE, '12': EPISODE}
  assert pairs(text_games.episode(record)) == GOLDEN * 2
  assert reason(text_games.episode, {'3': [EPISODE]}) == 'episode_is_list'
  assert reason(text_games.episode, '\n') == 'no_text'


def test_a_log_tells_its_environments_apart():
  text = f'#####\n\nEnvironment #0:\n{EPISODE}\nSTATUS: OK\n\n#####\n'
  record = {'path': 'trial_0.log', 'text': text}
  assert pairs(text_games.log_file(record)) == [
    ('text', '#####'),
    ('text', 'Environment #0:'),
    *GOLDEN,
    ('text', 'STATUS: OK'),
    ('text', '#####'),
  ]


def test_reflections_are_thoughts_and_none_are_a_drop():
  record = {'name': 'env_1', 'memory': [' I looped.'], 'is_success': False}
  assert pairs(text_games.reflections(record)) == [('thought', ' I looped.')]
  assert reason(text_games.reflections, {'memory': []}) == 'empty_memory'
  assert reason(text_games.reflections, {'memory': [1]}) == 'memory_is_no_text'


def test_scienceworld_tells_a_room_where_it_changed():
  def step(action: str, seen: str, room: str) -> dict[str, str]:
    return {
      'action': action,
      'observation': seen,
      'score': '0.1',
      'freelook': room,
      'inventory': 'A cup.',
    }

  record = {
    'episodeIdx': 6,
    'history': {
      'taskDescription': 'Your task is to boil tea.',
      'taskName': 'boil',
      'history': [
        step('look around', 'A kitchen.', 'A kitchen.\n'),
        step('wait', 'You wait.', 'A kitchen.\n'),
        step('go out', 'You go.', 'A garden.\n'),
      ],
    },
  }
  assert pairs(text_games.science_world(record)) == [
    ('user', 'Your task is to boil tea.'),
    ('action', 'look around'),
    ('observation', 'A kitchen.'),
    ('observation', 'A cup.'),
    ('action', 'wait'),
    ('observation', 'You wait.'),
    ('action', 'go out'),
    ('observation', 'You go.'),
    ('observation', 'A garden.'),
  ]
  assert reason(text_games.science_world, {}) == 'no_taskdescription'
  assert reason(text_games.science_world, {'history': {}}) == (
    'no_taskdescription'
  )
  del record['history']['history'][1]['observation']
  assert reason(text_games.science_world, record) == 'no_observation'


def test_a_demonstration_has_its_result_behind_the_arrow():
  lines = [
    'Your task is to boil tea.',
    '- (in hall) Action: TELEPORT(kitchen) --> You are in the kitchen.',
    '- (in kitchen) Action: WAIT',
  ]
  golden = [
    ('user', 'Your task is to boil tea.'),
    ('action', '- (in hall) Action: TELEPORT(kitchen)'),
    ('observation', '--> You are in the kitchen.'),
    ('action', '- (in kitchen) Action: WAIT'),
  ]
  assert pairs(text_games.demonstrations([lines, lines])) == golden * 2
  assert pairs(text_games.demonstrations(lines)) == golden
  assert reason(text_games.demonstrations, [[1]]) == 'line_is_int'
  assert reason(text_games.demonstrations, 'a') == 'record_is_str'


def test_a_program_acts_and_what_it_met_stands_below_it():
  text = (
    'Your task is to: put tea on shelf 1.\n'
    'def solution(agent, start_from=1):\n'
    '  # [Step 1] Find tea.\n'
    '\n'
    '  assert agent.goto("shelf 1")\n'
    'Error in [Step 1]: nothing there.\n'
    'def solution(agent, start_from=1):\n'
    '  agent.goto("shelf 2")\n'
    'Success.'
  )
  assert pairs(text_games.program({'path': 'a', 'text': text})) == [
    ('user', 'Your task is to: put tea on shelf 1.'),
    (
      'action',
      'def solution(agent, start_from=1):\n  # [Step 1] Find tea.\n\n'
      '  assert agent.goto("shelf 1")',
    ),
    ('observation', 'Error in [Step 1]: nothing there.'),
    (
      'action',
      'def solution(agent, start_from=1):\n  agent.goto("shelf 2")',
    ),
    ('observation', 'Success.'),
  ]
