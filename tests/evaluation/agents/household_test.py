"""HH: our rooms by ALFWorld's rules, its engine, and AgentBench's turns."""

import dataclasses
import importlib.util
import json
import pathlib
import sys

import pytest

from hephaestus_jax import errors
from hephaestus_jax.evaluation.agents import (
  agent_bench,
  episode,
  household,
  our_house,
)

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE))

import scripts  # noqa: E402

HOUSE = household.Household()
PARTS = ('alfworld', 'fast_downward', 'textworld')
needs_alfworld = pytest.mark.skipif(
  any(importlib.util.find_spec(part) is None for part in PARTS),
  reason='needs requirements/household.txt',
)


def one(name):
  return next(task for task in HOUSE.tasks() if task.name.startswith(name))


def scores(results):
  return {(one.status, one.score) for one in results.values()}


@needs_alfworld
@pytest.mark.slow  # TextWorld parses the wording of every command, every turn
def test_the_planner_solves_every_household():
  arguments = list(sys.argv)
  results = scripts.oracle_played(HOUSE)
  assert len(results) == 12
  assert scores(results) == {('completed', 1.0)}
  assert sys.argv == arguments


def test_there_are_two_households_of_each_kind():
  kinds = [one.kind for one in our_house.HOUSEHOLDS]
  assert [kinds.count(kind) for kind in dict.fromkeys(kinds)] == [2] * 6
  examples = {household._example(kind) for kind in kinds}
  assert examples == set(household.EXAMPLES)
  assert {one.room for one in our_house.HOUSEHOLDS} == set(our_house.ROOMS)


@needs_alfworld
def test_things_lie_where_alfworld_lets_them():
  rules = household.rules()
  for room in our_house.ROOMS.values():
    for place, things in room:
      lying = set(things) - rules.abilities['Toggleable']  # lamps stand
      assert lying <= rules.holds[place], place


@needs_alfworld
@pytest.mark.parametrize(
  'agent, status, rounds',
  [
    # Three equal replies end a task, from the fourth on.
    (scripts.always('ACTION: look'), 'agent invalid action', 4),
    (scripts.always('THOUGHT: Well.'), 'agent invalid action', 1),
    (scripts.crashing, 'unknown', 1),
  ],
)
def test_who_does_nothing_useful_scores_nothing(agent, status, rounds):
  task = one('pick_two_obj_and_place-CellPhone')
  results = scripts.played(HOUSE, agent, [task])
  (found,) = results.values()
  assert (found.status, found.score, found.rounds) == (status, 0.0, rounds)


@needs_alfworld
def test_who_goes_round_in_circles_reaches_the_limit():
  turns = iter(range(1000))

  def agent(asked):
    action = ('look', 'inventory')[next(turns) % 2]
    return scripts.always(f'ACTION: {action}')(asked)

  assert HOUSE.rounds == 35
  short = dataclasses.replace(HOUSE, rounds=6)
  results = scripts.played(short, agent, [one('look_at_obj_in_light-CD')])
  (found,) = results.values()
  assert found.status == 'task limit reached'
  assert (found.score, found.rounds) == (0.0, 6)


@needs_alfworld
def test_the_turns_are_agentbenchs():
  with HOUSE.open(one('pick_and_place_simple-SprayBottle')) as opened:
    first = opened.conversation
    assert first[2]['content'].startswith('Here is one example.\nYou are in')
    task = first[-1]['content']
    assert task.startswith(
      'Here is your task. You are in the middle of a room. Looking quickly '
      'around you, you see a bathtubbasin 1, a cabinet 3, a cabinet 2, a '
      'cabinet 1, '
    )
    assert 'Your task is to: put a spraybottle in toilet.' in task
    assert ' AVAILABLE ACTIONS: go to bathtubbasin 1\n' in task
    turn = opened.act('THOUGHT: There?\nACTION: go to shelf 1', first)
    assert (turn.thought, turn.action) == ('There?', 'go to shelf 1')
    assert turn.observation == (
      'You arrive at shelf 1. On the shelf 1, you see a soapbar 2, and a '
      'spraybottle 1.'
    )
    # What was available before is no longer told.
    *_, asked, said, told = turn.conversation
    assert len(turn.conversation) == len(first) + 2
    assert asked['content'] == task.split('AVAILABLE ACTIONS')[0]
    assert said['content'] == 'THOUGHT: There?\nACTION: go to shelf 1'
    assert 'take spraybottle 1 from shelf 1\n' in told['content']
    # What is like nothing available does nothing.
    turn = opened.act('ACTION: fly', turn.conversation)
    assert (turn.action, turn.observation) == ('fly', 'Nothing happens.')


def test_an_action_stands_for_the_one_that_it_is_most_like():
  admissible = ['go to bed 1', 'go to desk 1', 'look']
  reply = 'THOUGHT: There?\nACTION: Go to the bed 1\nACTION: look'
  assert household.parse(reply, admissible) == ('There?', 'go to bed 1')
  assert household.parse('ACTION: sleep', admissible) == ('', 'sleep')
  assert household.parse('go to bed 1', admissible) == ('', '')
  assert household.parse('ACTION:\nlook', admissible) == ('', '')


# What NLTK 3.10.4 says: sentence_bleu with SmoothingFunction().method4.
@pytest.mark.parametrize(
  'wanted, said, likeness',
  [
    ('look', 'sleep', 0.0),
    ('go to bed 1', '', 0.0),
    ('go to bed 1', 'go to bed 1', 1.0),
    ('look', 'look', 1.0),
    ('go to bed 1', 'go to the bed 1', 0.171418),
    ('take mug 1 from shelf 2', 'take the mug 1 from shelf', 0.537285),
    ('go to countertop 1', 'go countertop', 0.029550),
    ('look', 'look around', 0.067544),
    ('examine cabinet 3', 'examine', 0.135335),
  ],
)
def test_likeness_is_nltks(wanted, said, likeness):
  assert household.bleu(wanted, said) == pytest.approx(likeness, abs=1e-6)


@needs_alfworld
def test_games_at_once_are_judged_each_by_what_is_where():
  # On the counter, and never washed; and a lamp that is used with empty hands.
  dirty = (
    *('go to bathtubbasin 1', 'take cloth 1 from bathtubbasin 1'),
    *('go to countertop 1', 'move cloth 1 to countertop 1'),
  )
  dark = ('go to desk 1', 'use desklamp 1', 'look', 'go to bed 1')
  with (
    HOUSE.open(one('pick_clean_then_place_in_recep-Cloth')) as bathroom,
    HOUSE.open(one('look_at_obj_in_light-CD')) as bedroom,
  ):
    for there, here in zip(dirty, dark, strict=True):
      washed = bathroom.act(f'ACTION: {there}', bathroom.conversation)
      looked = bedroom.act(f'ACTION: {here}', bedroom.conversation)
      assert (washed.status, looked.status) == ('', '')
  assert washed.observation == 'You move the cloth 1 to the countertop 1.'
  assert looked.observation == (
    'You arrive at bed 1. On the bed 1, you see a laptop 1, and a pillow 1.'
  )


@needs_alfworld
def test_games_of_the_users_bear_agentbenchs_name(tmp_path):
  task = one('pick_and_place_simple-SprayBottle')
  game = our_house.game(our_house.Household(**task.record), household.rules())
  kind = (
    'json_2.1.1/valid_unseen/pick_and_place_simple-SprayBottle-None-Toilet-1'
  )
  names = [f'{kind}/trial_{i}/game.tw-pddl' for i in (1, 2)]
  path = tmp_path / 'data' / names[0]
  path.parent.mkdir(parents=True)
  path.write_text(json.dumps(game))
  listed = tmp_path / 'dev.json'
  listed.write_text(json.dumps({'pick_and_place': names}))
  environment = household.Household(str(listed), str(tmp_path / 'data'))
  assert [(one.name, one.flaw) for one in environment.tasks()] == [
    ('dev-000', ''),
    ('dev-001', 'no_game'),
  ]
  assert scores(scripts.oracle_played(environment)) == {('completed', 1.0)}
  identity = environment.identity()
  assert identity['data'].startswith('dev.json ')
  assert agent_bench.called('hh', identity['data']) == 'agentbench_hh'
  path.write_text(json.dumps({**game, 'solvable': True}))
  assert environment.identity()['games'] != identity['games']


def test_a_score_in_our_households_is_not_agentbenchs():
  data = HOUSE.identity()['data']
  assert agent_bench.called('hh', data) == 'hh_on_tasks_of_ours'


def test_a_file_of_games_goes_with_a_folder():
  with pytest.raises(errors.UserError, match='go together'):
    household.Household(file='dev.json')


def test_examples_of_agentbenchs_take_the_place_of_ours(tmp_path):
  path = tmp_path / 'prompt.json'
  path.write_text(json.dumps({'heat': ['Cook.\n', 'ACTION: heat it\n']}))
  assert household._opening(str(path), 'heat') == (
    episode.user(household.INSTRUCTIONS),
    episode.agent(household.FINE),
    episode.user('Here is one example.\nCook.\n'),
    episode.agent('ACTION: heat it\n'),
  )
  environment = dataclasses.replace(HOUSE, prompt=str(path))
  assert environment.identity()['prompt'].startswith('prompt.json ')
  path.write_text(json.dumps({'heat': ['Cook.'], 'instructions': 'Go.'}))
  assert household._opening(str(path), 'heat')[0] == episode.user('Go.')
  with pytest.raises(errors.UserError, match="no example 'cool'"):
    household._opening(str(path), 'cool')


def test_a_published_place_says_nothing():
  told = 'You arrive at loc 7. On the bed 1, you see nothing.'
  assert household._without_place(told) == 'On the bed 1, you see nothing.'
