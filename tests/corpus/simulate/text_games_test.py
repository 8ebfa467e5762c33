"""Real games, where TextWorld is installed."""

import pytest

from hephaestus_jax import errors
from hephaestus_jax.corpus.simulate import agents, policies, text_games

pytest.importorskip('textworld', reason='an extra: .[simulate]')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return str(tmp_path_factory.mktemp('games'))


def games(folder, **changes):
  return text_games.Games(
    **{'kind': 'simple', 'count': 2, 'folder': folder, **changes}
  )


def test_a_game_is_won_by_its_solution_and_told_in_plain_words(folder):
  world = games(folder)
  tasks = [task.name for task in world.tasks()]
  assert tasks == ['textworld-simple-0', 'textworld-simple-1']
  game = world.open(tasks[0])
  first = game.reset()
  assert '-= Bedroom =-' in first
  assert '$$' not in first
  assert '\n>' not in first
  assert 'dinner' in game.task
  assert 'open' in game.instructions
  solution = game.solution()
  assert set(solution[:1]) <= set(game.admissible())
  for action in solution:
    outcome = game.step(action)
  assert (outcome.reward, outcome.done) == (1.0, True)
  assert 'RESTART' not in outcome.observation
  # After a reset the same actions have the same outcomes.
  assert game.reset() == first
  assert game.solution() == solution
  game.close()


def test_a_mistake_is_answered_and_the_solution_leads_back(folder):
  game = games(folder).open('textworld-simple-0')
  right = game.solution()
  assert 'verb' in game.step('fly away').observation
  assert game.solution() == right
  game.step('open antique trunk')
  assert game.step(' look ').observation == game.step('look').observation
  game.close()


def test_the_oracle_wins_games_and_its_noise_is_the_same_each_time(folder):
  world = games(folder)

  def attempt(noise):
    game = world.open('textworld-simple-1')
    twin = world.open('textworld-simple-1')
    policy = policies.oracle(game, twin, noise=noise, seed='7')
    return agents.reflecting(policy, game, agents.Limits())

  assert attempt(0.0).success
  noisy = attempt(0.3)
  assert noisy == attempt(0.3)
  assert len(noisy.steps) > len(attempt(0.0).steps)


def test_what_textworld_cannot_make_is_the_users_to_mend(folder, tmp_path):
  with pytest.raises(errors.UserError, match="kind = 'chess'"):
    list(games(folder, kind='chess').tasks())
  bad = games(str(tmp_path), kind='coin_collector', settings={'level': 999})
  with pytest.raises(errors.UserError, match='level'):
    bad.open('textworld-coin_collector-0')
  assert not list(tmp_path.iterdir())


def test_a_games_words_are_cut_out_of_what_the_interpreter_prints():
  assert text_games.plain(
    ' $$$$ |\n\n\n-= Attic =-\nIt is dark.\n\n>  -= Attic =-0/1'
  ) == '-= Attic =-\nIt is dark.'  # fmt: skip
