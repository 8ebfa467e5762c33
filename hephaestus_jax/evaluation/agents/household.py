"""AgentBench's HH: a household in words, on ALFWorld's own text engine.

The engine is `alfworld` over TextWorld's PDDL games and the Fast Downward
planner (extra `household`). The games are those that AgentBench names, in a
folder with ALFWorld's data, or ours of `our_house`; the turns, the choice of
the action that is meant and the ends are AgentBench's.
"""

import contextlib
import dataclasses
import hashlib
import math
import pathlib
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hephaestus_jax import errors
from hephaestus_jax.evaluation.agents import episode, our_house

LIKE = 0.01  # an action is taken for the one most like it, if it is more so
SAME = 3  # so many equal replies end a task that went on for longer
AVAILABLE = 'AVAILABLE ACTIONS'
# Start of the name of a game's folder -> name of the example.
KINDS: Mapping[str, str] = {
  'pick_and_place': 'put',
  'pick_clean_then_place': 'clean',
  'pick_heat_then_place': 'heat',
  'pick_cool_then_place': 'cool',
  'look_at_obj': 'examine',
  'pick_two_obj': 'puttwo',
}

INSTRUCTIONS = """\
You act in a household to fulfil a task. First I describe the room and what \
your task is; after each of your turns I tell you what has happened, and which \
actions are available now. Answer with a thought and an action, or with the \
action alone:

THOUGHT: what you think
ACTION: what you do next

The action must be one of those that are available. If I answer "Nothing \
happens", it was none: try another. Act rather than think for long."""
FINE = 'Ok. I do my best to fulfil the task.'
_ROOM = (
  'You are in the middle of a room. Looking quickly around you, you see {}.\n'
  'Your task is to: {}.\n'
)
# An example of each kind: words of the environment and the agent by turns.
EXAMPLES: Mapping[str, Sequence[str]] = {
  'put': (
    _ROOM.format('a desk 1, a drawer 1, and a shelf 1', 'put a pen in drawer'),
    'THOUGHT: A pen may lie on the desk.\nACTION: go to desk 1',
    'On the desk 1, you see a book 1, and a pen 1.',
    'ACTION: take pen 1 from desk 1',
    'You pick up the pen 1 from the desk 1.',
    'ACTION: go to drawer 1',
    'The drawer 1 is closed.',
    'ACTION: open drawer 1',
    'You open the drawer 1. The drawer 1 is open. In it, you see nothing.',
    'ACTION: move pen 1 to drawer 1',
  ),
  'clean': (
    _ROOM.format(
      'a sinkbasin 1, a shelf 1, and a toilet 1', 'put a clean cloth in shelf'
    ),
    'THOUGHT: First I need a cloth.\nACTION: go to toilet 1',
    'On the toilet 1, you see a cloth 1.',
    'ACTION: take cloth 1 from toilet 1',
    'You pick up the cloth 1 from the toilet 1.',
    'ACTION: go to sinkbasin 1',
    'On the sinkbasin 1, you see nothing.',
    'ACTION: clean cloth 1 with sinkbasin 1',
    'You clean the cloth 1 using the sinkbasin 1.',
    'ACTION: go to shelf 1',
    'On the shelf 1, you see nothing.',
    'ACTION: move cloth 1 to shelf 1',
  ),
  'heat': (
    _ROOM.format(
      'a microwave 1, a countertop 1, and a diningtable 1',
      'put a hot tomato in diningtable',
    ),
    'THOUGHT: First I need a tomato.\nACTION: go to countertop 1',
    'On the countertop 1, you see a knife 1, and a tomato 1.',
    'ACTION: take tomato 1 from countertop 1',
    'You pick up the tomato 1 from the countertop 1.',
    'ACTION: go to microwave 1',
    'The microwave 1 is closed.',
    'ACTION: heat tomato 1 with microwave 1',
    'You heat the tomato 1 using the microwave 1.',
    'ACTION: go to diningtable 1',
    'On the diningtable 1, you see nothing.',
    'ACTION: move tomato 1 to diningtable 1',
  ),
  'cool': (
    _ROOM.format(
      'a fridge 1, a countertop 1, and a diningtable 1',
      'put a cool lettuce in diningtable',
    ),
    'THOUGHT: First I need a lettuce.\nACTION: go to countertop 1',
    'On the countertop 1, you see a knife 1, and a lettuce 1.',
    'ACTION: take lettuce 1 from countertop 1',
    'You pick up the lettuce 1 from the countertop 1.',
    'ACTION: go to fridge 1',
    'The fridge 1 is closed.',
    'ACTION: cool lettuce 1 with fridge 1',
    'You cool the lettuce 1 using the fridge 1.',
    'ACTION: go to diningtable 1',
    'On the diningtable 1, you see nothing.',
    'ACTION: move lettuce 1 to diningtable 1',
  ),
  'examine': (
    _ROOM.format(
      'a desk 1, and a shelf 1', 'look at pencil under the desklamp'
    ),
    'THOUGHT: First I need a pencil.\nACTION: go to shelf 1',
    'On the shelf 1, you see a mug 1, and a pencil 1.',
    'ACTION: take pencil 1 from shelf 1',
    'You pick up the pencil 1 from the shelf 1.',
    'ACTION: go to desk 1',
    'On the desk 1, you see a desklamp 1.',
    'ACTION: use desklamp 1',
  ),
  'puttwo': (
    _ROOM.format('a bed 1, a desk 1, and a shelf 1', 'put two book in bed'),
    'THOUGHT: First I need a book.\nACTION: go to desk 1',
    'On the desk 1, you see a book 2, and a pen 1.',
    'ACTION: take book 2 from desk 1',
    'You pick up the book 2 from the desk 1.',
    'ACTION: go to bed 1',
    'On the bed 1, you see a pillow 1.',
    'ACTION: move book 2 to bed 1',
    'You move the book 2 to the bed 1.',
    'ACTION: go to shelf 1',
    'On the shelf 1, you see a book 1.',
    'ACTION: take book 1 from shelf 1',
    'You pick up the book 1 from the shelf 1.',
    'ACTION: go to bed 1',
    'On the bed 1, you see a book 2, and a pillow 1.',
    'ACTION: move book 1 to bed 1',
  ),
}


@dataclasses.dataclass(frozen=True)
class Household:
  """The environment.

  Attributes:
    file: AgentBench's data/alfworld/dev.json or standard.json, the games' names
      by kind; None: our own games.
    folder: ALFWorld's data, which holds json_2.1.1; given with `file`.
    prompt: AgentBench's file of examples by kind (prompts/*.json of its task),
      which may hold "instructions" too; None: ours.
    rounds: AgentBench's 35.
  """

  file: str | None = None
  folder: str | None = None
  prompt: str | None = None
  rounds: int = 35
  name: str = 'hh'
  licence: str = 'MIT'

  def __post_init__(self) -> None:
    if (self.file is None) != (self.folder is None):
      raise errors.UserError(
        f'household.Household.file = {self.file!r} and folder = '
        f"{self.folder!r} go together: AgentBench's list of games, and the "
        'folder that `alfworld-download` made. Without both, the games are '
        'ours.'
      )

  def identity(self) -> dict[str, Any]:
    """What the scores depend on. 'games' are the contents of the user's."""
    return {
      'data': episode.origin(self.file),
      'games': _fingerprint(self.tasks()) if self.file else episode.OURS,
      'prompt': episode.origin(self.prompt),
      'rounds': self.rounds,
    }

  def tasks(self) -> list[episode.Task]:
    """The games: 'dev-003' for the fourth that dev.json names.

    Flaws: 'no_game' where the folder lacks it.
    """
    if self.file is None or self.folder is None:
      return [
        episode.Task(one.name, dataclasses.asdict(one))
        for one in our_house.HOUSEHOLDS
      ]
    stem = pathlib.Path(self.file).stem
    names = [
      name for games in episode.read_json(self.file).values() for name in games
    ]
    found = []
    for i, name in enumerate(names):
      path = pathlib.Path(self.folder, name)
      record = {'kind': path.parts[-3], 'path': str(path)}
      flaw = '' if path.is_file() else 'no_game'
      found.append(episode.Task(f'{stem}-{i:03}', record, flaw=flaw))
    return found

  @contextlib.contextmanager
  def open(self, task: episode.Task) -> Iterator[episode.Episode]:
    """A game at its beginning.

    Raises:
      errors.UserError: ALFWorld or one of its parts isn't installed, or the
        prompt's file holds something else.
    """
    if 'path' in task.record:
      game = episode.read_json(task.record['path'])
    else:
      game = our_house.game(our_house.Household(**task.record), rules())
    opening = _opening(self.prompt, _example(task.record['kind']))
    with _played(game) as (engine, state):
      yield _episode(game, engine, state, opening)


def _fingerprint(tasks: Sequence[episode.Task]) -> str:
  digest = hashlib.sha256()
  for task in tasks:
    if not task.flaw:
      digest.update(pathlib.Path(task.record['path']).read_bytes())
  return digest.hexdigest()[:16]


def _example(kind: str) -> str:
  return next(name for start, name in KINDS.items() if kind.startswith(start))


def _opening(prompt: str | None, example: str) -> episode.Conversation:
  """The instructions, and an example of the task's kind."""
  examples: Mapping[str, Any] = EXAMPLES if prompt is None else {}
  if prompt is not None:
    examples = episode.read_json(prompt)
    if not isinstance(examples, dict) or example not in examples:
      raise errors.UserError(
        f'{prompt} (household.Household.prompt) holds no example {example!r}. '
        "Name one of AgentBench's prompts/alfworld_multiturn*.json, or leave "
        'it None for ours.'
      )
  first, *others = examples[example]
  return episode.opening(
    None,
    [
      examples.get('instructions', INSTRUCTIONS),
      FINE,
      f'Here is one example.\n{first}',
      *others,
    ],
  )


def rules() -> our_house.Rules:
  """The rules of ALFWorld's package.

  Raises:
    errors.UserError: it isn't installed.
  """
  _installed()
  import alfworld.info
  from alfworld.gen import constants, goal_library

  return our_house.Rules(
    pathlib.Path(alfworld.info.ALFRED_PDDL_PATH).read_text(),
    pathlib.Path(alfworld.info.ALFRED_TWL2_PATH).read_text(),
    goal_library.gdict,
    constants.VAL_RECEPTACLE_OBJECTS,
    constants.VAL_ACTION_OBJECTS,
    constants.OPENABLE_CLASS_SET,
  )


def _installed() -> None:
  try:
    import alfworld.info  # noqa: F401
    import fast_downward  # noqa: F401
    import textworld  # noqa: F401
  except ImportError as error:
    raise errors.UserError(
      f'The HH environment needs {error.name}. Run `pip install -e '
      '.[household]` (it compiles a planner: CMake and a C++ compiler), or '
      'leave the environment out.'
    ) from error


@contextlib.contextmanager
def _played(game: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
  """(engine, its first state) of a game.

  The state holds a way to win: the game file's own, or else the planner's.
  """
  _installed()
  import fast_downward
  import textworld
  from alfworld.agents.environment import alfred_tw_env
  from textworld import envs

  infos = textworld.EnvInfos(
    admissible_commands=True, won=True, extras=['walkthrough']
  )
  arguments = sys.argv
  inner = envs.PddlEnv(infos)
  try:
    engine = alfred_tw_env.AlfredDemangler(inner)
    engine.load(game)
    state = engine.reset()
    sys.argv = arguments  # the planner's reader sets them for itself
    yield engine, state
  finally:
    sys.argv = arguments
    # Each game has a copy of the planner's library, which nobody else unloads.
    fast_downward.close_lib(inner.downward_lib)


def _episode(
  game: Mapping[str, Any],
  engine: Any,
  state: Any,
  opening: episode.Conversation,
) -> episode.Episode:
  # A title stands before the room.
  described = '\n'.join(state.feedback.split('\n\n')[1:])
  said: list[str] = []
  won = False
  plan: list[str] = state['extra.walkthrough']

  def act(reply: str, conversation: episode.Conversation) -> episode.Turn:
    nonlocal state, won
    thought, action = parse(reply, state.admissible_commands)
    if not action:
      return episode.Turn(thought=reply, status=episode.INVALID_ACTION)
    state, _, done = engine.step(action)
    said.append(reply)
    told = _without_place(state.feedback)
    status = ''
    if len(said) > SAME and len(set(said[-SAME:])) == 1:
      status = episode.INVALID_ACTION
    elif done:
      won, status = bool(state.won), episode.COMPLETED
    asked = conversation[-1]['content'].split(AVAILABLE)[0]
    return episode.Turn(
      thought,
      action,
      observation=told,
      status=status,
      conversation=(
        *conversation[:-1],
        episode.user(asked),  # what was available then is long
        episode.agent(reply),
        episode.user(told + _available(state.admissible_commands)),
      ),
    )

  def score(status: str) -> float:
    return float(status == episode.COMPLETED and won)

  def solution() -> str:
    return f'ACTION: {plan[len(said)]}'

  available = _available(state.admissible_commands)
  return episode.Episode(
    (*opening, episode.user(f'Here is your task. {described}{available}')),
    described,
    act,
    score,
    solution,
  )


def _available(actions: Sequence[str]) -> str:
  return f' {AVAILABLE}: {chr(10).join(actions)}\n'


def _without_place(told: str) -> str:
  """Published games begin with 'You arrive at loc 7. ', which says nothing."""
  if told.startswith('You arrive at loc '):
    return told[told.find('. ') + 2 :]
  return told


_ACTION = re.compile(r'ACTION:(.*)')


def parse(reply: str, admissible: Sequence[str]) -> tuple[str, str]:
  r"""(thought, action) of a reply; the action is '' where there is none.

  An action that isn't admissible stands for the one that it is most like, by
  BLEU; one that is like none stays as it is.

  >>> parse('THOUGHT: There?\nACTION: Go to the bed 1', ['go to bed 1', 'look'])
  ('There?', 'go to bed 1')
  >>> parse('ACTION: sleep', ['go to bed 1', 'look'])
  ('', 'sleep')
  >>> parse('go to bed 1', ['go to bed 1'])
  ('', '')
  """
  found = _ACTION.search(reply)
  if not found:
    return '', ''
  thought = reply[: found.start()].strip().removeprefix('THOUGHT:').strip()
  action = found[1].strip().lower()
  if not admissible or action in admissible:
    return thought, action
  best, likeness = max(
    ((one, bleu(one, action)) for one in admissible), key=lambda pair: pair[1]
  )
  return thought, best if likeness > LIKE else action


def bleu(wanted: str, said: str) -> float:
  """How much words are like others: BLEU of four n-grams, as AgentBench's.

  Smoothed by NLTK's method 4 (Chen and Cherry 2014, section 3.4): of two or
  more words, the n-grams that share none count for less and less. NLTK itself
  would bring SciPy into the process for these lines.

  >>> round(bleu('go to bed 1', 'go to the bed 1'), 4), bleu('look', 'sleep')
  (0.1714, 0.0)
  """
  reference, words = wanted.split(), said.split()
  precisions = []
  without = 0
  for n in range(1, 5):
    ours, theirs = _ngrams(words, n), _ngrams(reference, n)
    shared: float = (ours & theirs).total()
    if not shared and n == 1:
      return 0.0
    if not shared and len(words) > 1:
      without += 1
      shared = math.log(len(words)) / (2**without * 5)
    precisions.append(shared / max(1, ours.total()))
  logarithms = [math.log(one) for one in precisions if one]
  brevity = min(0.0, 1 - len(reference) / len(words))
  return math.exp(brevity + sum(logarithms) / 4)


def _ngrams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
  return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
