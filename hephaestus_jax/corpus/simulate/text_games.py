"""TextWorld games as environments (extra `simulate`: `textworld`).

TextWorld makes a game from a seed and plays it with its own interpreter; it
knows after every move which commands are admissible and which would win.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import threading
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from hephaestus_jax import artefacts, errors
from hephaestus_jax.corpus.simulate import environment

# The kinds of games, and their settings where nothing else is said. See
# `tw-make KIND --help` for what they mean.
KINDS: Mapping[str, Mapping[str, int | str | bool]] = {
  'cooking': {
    **{'recipe': 2, 'take': 2, 'go': 6, 'open': True, 'cook': True},
    **{'cut': True, 'drop': False, 'split': 'train'},
  },
  'coin_collector': {'level': 5},
  'treasure_hunter': {'level': 5},
  'simple': {'rewards': 'dense', 'goal': 'brief', 'test': False},
}
INSTRUCTIONS = """\
You play a text adventure: write a command, and the game tells what happens. \
It understands such commands as: {commands}."""
GAME = 'game.z8'
# TextWorld makes games with one random generator for the whole process.
_MAKING = threading.Lock()

_LOGO = re.compile(r'\A(?:[ $\\/|_>]*\n)+')
_MENU = re.compile(r'\s*Would you like to RESTART[^\n]*\Z')
# The interpreter's prompt and its status line: '>   -= Kitchen =-0/1'.
_PROMPT = re.compile(r'\s*>[^\n]*\s*\Z')


@dataclasses.dataclass(frozen=True)
class Games:
  """Games of one kind, a seed each.

  Attributes:
    kind: one of KINDS.
    settings: those that differ from the kind's in KINDS.
    count: how many.
    first_seed: that of the first; the others follow.
    folder: where the made games are kept.
  """

  kind: str = 'cooking'
  settings: Mapping[str, int | str | bool] = dataclasses.field(
    default_factory=dict
  )
  count: int = 10
  first_seed: int = 0
  folder: str = 'games'
  licence: str = 'MIT'  # TextWorld's, whose grammar the texts are made of

  def identity(self) -> Mapping[str, Any]:
    """What the games depend on, TextWorld's version included."""
    return {
      'kind': self.kind,
      'settings': dict(self.settings),
      'count': self.count,
      'first_seed': self.first_seed,
      'textworld': _textworld().__version__,
    }

  def tasks(self) -> Iterator[environment.Task]:
    """A task per seed: 'textworld-cooking-7'.

    Raises:
      errors.UserError: `kind` is unknown.
    """
    if self.kind not in KINDS:
      raise errors.UserError(
        f'Games.kind = {self.kind!r} is unknown; choose one of {sorted(KINDS)}.'
      )
    for seed in range(self.first_seed, self.first_seed + self.count):
      yield environment.Task(f'textworld-{self.kind}-{seed}')

  def open(self, name: str) -> 'Game':
    """The game of a task, made if it isn't in the folder yet.

    Raises:
      errors.UserError: TextWorld can't make a game of these settings.
    """
    seed = int(name.rpartition('-')[2])
    settings = {**KINDS[self.kind], **self.settings}
    path = pathlib.Path(
      self.folder, f'{name}-{artefacts.fingerprint(settings)}'
    )
    with _MAKING:
      if not path.exists():
        _make(self.kind, settings, seed, path)
      return Game(path / GAME)


def _textworld() -> Any:
  """The library, which not every installation has.

  Raises:
    errors.UserError: this one hasn't.
  """
  try:
    import textworld
    import textworld.challenges
  except ImportError as error:
    raise errors.UserError(
      'TextWorld is not installed. Run `pip install -e .[simulate]`, or leave '
      'text games out of WORLDS.'
    ) from error
  return textworld


def _make(
  kind: str, settings: Mapping[str, Any], seed: int, path: pathlib.Path
) -> None:
  """Makes a game. `path` is there when it is whole, and not before."""
  textworld = _textworld()
  make = textworld.challenges.CHALLENGES[f'tw-{kind}'][1]
  options = textworld.GameOptions()
  options.seeds = seed
  partial = path.with_name(f'{path.name}.partial-{os.getpid()}')
  shutil.rmtree(partial, ignore_errors=True)
  partial.mkdir(parents=True)
  options.path = str(partial / GAME)
  try:
    with _quiet():
      made = make({'recipe_seed': seed, **settings}, options)
      textworld.generator.compile_game(made, options)
  except (AssertionError, KeyError, TypeError, ValueError) as error:
    shutil.rmtree(partial)
    raise errors.UserError(
      f'TextWorld makes no {kind!r} game of the settings {dict(settings)}: '
      f'{error}.'
    ) from error
  partial.replace(path)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Keeps back that the interpreter knows the scores of famous games alone."""
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    yield


class Game:
  """A TextWorld game as an `environment.Environment`."""

  def __init__(self, path: pathlib.Path) -> None:
    textworld = _textworld()
    wanted = textworld.EnvInfos(
      admissible_commands=True,
      command_templates=True,
      lost=True,
      max_score=True,
      objective=True,
      policy_commands=True,
      score=True,
      won=True,
    )
    with _quiet():
      self._game = textworld.start(str(path), wanted)
      self._state = self._game.reset()
    commands = ', '.join(sorted(set(self._state.command_templates)))
    self.instructions = INSTRUCTIONS.format(commands=commands)
    self.task = ' '.join(self._state.objective.split())

  def reset(self) -> str:
    """Begins the game anew."""
    self._state = self._game.reset()
    return plain(self._state.feedback)

  def step(self, action: str) -> environment.Outcome:
    """Types a command. The reward is the share of the points, 1.0 if won."""
    self._state, score, done = self._game.step(' '.join(action.split()))
    reward = score / max(1, self._state.max_score)
    return environment.Outcome(
      plain(self._state.feedback),
      1.0 if self._state.won else min(reward, 0.99),
      bool(done),
    )

  def admissible(self) -> tuple[str, ...]:
    """The commands that do something now, in alphabetical order."""
    return tuple(self._state.admissible_commands)

  def solution(self) -> tuple[str, ...]:
    """The commands that win from here; () where the game is lost."""
    return tuple(self._state.policy_commands or ())

  def close(self) -> None:
    """Ends the interpreter."""
    self._game.close()


def plain(feedback: str) -> str:
  """A game's words without the logo before and the prompt or menu after.

  Of more than one empty line in a row, one stays.

  >>> plain(' $$$$ |\\n\\n\\n-= Attic =-\\nIt is dark.\\n\\n>  -= Attic =-0/1')
  '-= Attic =-\\nIt is dark.'
  """
  text = _MENU.sub('', _PROMPT.sub('', feedback))
  return re.sub(r'\n\s*\n', '\n\n', _LOGO.sub('', text + '\n')).strip()
