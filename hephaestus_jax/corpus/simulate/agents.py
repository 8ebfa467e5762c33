"""How an agent goes about a task: ReAct, Reflexion, simulated trial and error.

An agent is a policy, a function from a purpose and a situation to text, and a
loop that carries its text to the environment and back. The loops are those of
the papers; the policy can be a language model or an oracle (`policies`), whose
text is read by the same parser.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence

from hephaestus_jax import errors
from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.adapters import entry
from hephaestus_jax.corpus.simulate import environment

# What a policy is asked for.
ACT = 'act'  # Thought: ... Action: ...
REFLECT = 'reflect'  # what went wrong and what to do about it
PLAN = 'plan'  # a plan in the language of `planner`
REFINE = 'refine'  # another plan, after something unexpected
ASK = 'ask'  # what a plan left open
PROPOSE = 'propose'  # Request: something that the actions can do
JUDGE = 'judge'  # Fulfilled: yes or no
PURPOSES = (ACT, REFLECT, PLAN, REFINE, ASK, PROPOSE, JUDGE)

NOTHING = 'none'  # what is proposed when all was tried
STUCK_AFTER = 3  # the same action with the same outcome, so often in a row


@dataclasses.dataclass(frozen=True)
class Limits:
  """Bounds of the loops.

  Attributes:
    steps: actions in a trial (ReAct: 7 for questions, 50 for ALFWorld).
    trials: of Reflexion, and of one episode of trial and error.
    reflections: how many of the newest a trial is shown (Reflexion: 3).
    refinements: how often a plan may be replaced (AdaPlanner).
    skills: how many plans that worked are shown with later tasks (AdaPlanner).
    episodes: of exploration (trial and error).
    demonstrations: explored requests that are shown when the acquired skill is
      put to use (trial and error).
  """

  steps: int = 50
  trials: int = 3
  reflections: int = 3
  refinements: int = 4
  skills: int = 2
  episodes: int = 2
  demonstrations: int = 2

  def __post_init__(self) -> None:
    ones = (self.steps, self.trials, self.reflections, self.skills)
    if min(ones) < 1 or min(dataclasses.astuple(self)) < 0:
      raise errors.UserError(
        f'{self}: steps, trials, reflections and skills must be 1 at least, '
        'and nothing below 0.'
      )


@dataclasses.dataclass(frozen=True)
class Situation:
  """All that a policy sees.

  Attributes:
    instructions: the environment's.
    task: what is to be done.
    memory: what earlier trials, plans and explorations left, oldest first.
    steps: this trial's observations, thoughts and actions.
    matter: what a purpose is about: the plan that failed, the open question.
    open_ended: whether the task ends with an answer, not with a goal reached.
  """

  instructions: str
  task: str
  memory: tuple[str, ...] = ()
  steps: tuple[document.Segment, ...] = ()
  matter: str = ''
  open_ended: bool = False


Policy = Callable[[str, Situation], str]


@dataclasses.dataclass(frozen=True)
class Trial:
  """One way through an environment.

  Attributes:
    steps: o0, (thought), a1, o1, ..., aT, oT.
    reward: at the end.
    success: whether the goal was reached.
  """

  steps: tuple[document.Segment, ...]
  reward: float
  success: bool


@dataclasses.dataclass(frozen=True)
class Attempt:
  """What a loop made of a task: what a Document is made of.

  Attributes:
    name: '' or what tells it from the loop's other attempts: '-exploit'.
    instructions: the environment's.
    task: what was to be done.
    steps: of all its trials, with reflections and plans between.
    trials: how many; a new plan counts as one.
    reward: of the last trial.
    success: whether the goal was reached in the end.
  """

  name: str
  instructions: str
  task: str
  steps: tuple[document.Segment, ...]
  trials: int
  reward: float
  success: bool


def react(
  policy: Policy,
  world: environment.Environment,
  limits: Limits,
  *,
  task: str = '',
  memory: tuple[str, ...] = (),
) -> Trial:
  """Thoughts and actions by turns (Yao et al. 2023), until the task has ended.

  Args:
    policy: what to do next.
    world: where to do it; it is reset.
    limits: after `steps` actions, or STUCK_AFTER that changed nothing, the
      trial is over.
    task: another task than the environment's; it ends with an answer.
    memory: what the policy is told beside the task.

  Raises:
    entry.MalformedError: 'malformed_action', or as the policy says.
  """
  steps = [document.Segment('observation', world.reset())]
  reward, repeated = 0.0, 0
  for _ in range(limits.steps):
    situation = Situation(
      world.instructions,
      task or world.task,
      memory,
      tuple(steps),
      open_ended=bool(task),
    )
    thought, action, answer = parse_step(policy(ACT, situation))
    if thought:
      steps.append(document.Segment('thought', thought))
    if answer:
      if not task:
        raise entry.MalformedError('malformed_action')
      steps.append(document.Segment('answer', answer))
      break
    before = steps[-3:]
    outcome = world.step(action)
    steps.append(document.Segment('action', action))
    steps.append(document.Segment('observation', outcome.observation))
    reward = outcome.reward
    if outcome.done:
      return Trial(tuple(steps), reward, reward >= 1.0)
    same = all(segment in before for segment in steps[-2:])
    repeated = repeated + 1 if same else 1
    if repeated == STUCK_AFTER:
      break
  return Trial(tuple(steps), reward, False)


_LABEL = re.compile(
  r'\s*(thought|action|answer|observation)\s{0,9}\d{0,9}:(.*)', re.IGNORECASE
)


def parse_step(text: str) -> tuple[str, str, str]:
  r"""(thought, action, answer) that a policy wrote; one of the last two is ''.

  What follows the action is ignored: the environment speaks next, whatever the
  model imagines it to say.

  >>> parse_step('Thought: It is shut.\nAction: open box\nObservation: ...')
  ('It is shut.', 'open box', '')
  >>> parse_step('Answer: 42')
  ('', '', '42')

  Raises:
    entry.MalformedError: 'malformed_action'.
  """
  thought: list[str] = []
  for line in text.splitlines():
    labelled = _LABEL.fullmatch(line)
    label = labelled[1].lower() if labelled else 'thought'
    said = labelled[2].strip() if labelled else line
    if label == 'thought':
      thought.append(said)
    elif label == 'observation' or not said:
      break
    elif label == 'action':
      return '\n'.join(thought).strip(), said, ''
    else:
      return '\n'.join(thought).strip(), '', said
  raise entry.MalformedError('malformed_action')


def acting(
  policy: Policy, world: environment.Environment, limits: Limits
) -> Attempt:
  """ReAct on the environment's own task."""
  trial = react(policy, world, limits)
  return Attempt(
    '',
    world.instructions,
    world.task,
    trial.steps,
    1,
    trial.reward,
    trial.success,
  )


def reflecting(
  policy: Policy, world: environment.Environment, limits: Limits
) -> Attempt:
  """Reflexion (Shinn et al. 2023): fails, says why in words, tries again.

  The environment's reward is the evaluator; what the policy wrote about failed
  trials stands in the prompt of the next.

  Raises:
    entry.MalformedError: as `react`; 'empty_reflection'.
  """
  steps: list[document.Segment] = []
  memory: list[str] = []
  for number in range(1, limits.trials + 1):
    shown = tuple(memory[-limits.reflections :])
    trial = react(policy, world, limits, memory=shown)
    steps += trial.steps
    if trial.success or number == limits.trials:
      break
    situation = Situation(world.instructions, world.task, shown, trial.steps)
    reflection = after_label(policy(REFLECT, situation), 'Reflection')
    if not reflection:
      raise entry.MalformedError('empty_reflection')
    steps.append(document.Segment('thought', reflection))
    memory.append(reflection)
  return Attempt(
    '',
    world.instructions,
    world.task,
    tuple(steps),
    number,
    trial.reward,
    trial.success,
  )


def exploring(
  policy: Policy, world: environment.Environment, limits: Limits
) -> list[Attempt]:
  """Simulated trial and error (Wang et al. 2024): explores, then exploits.

  Exploration: in each episode the policy imagines requests that the
  environment's actions could fulfil, and tries. Within an episode it sees the
  trials before (short-term memory); across episodes, which requests it tried
  and whether they were fulfilled (long-term memory), so that it asks for
  something else. Exploitation: the environment's own task, shown with the
  fulfilled requests that are most like it.

  Raises:
    entry.MalformedError: as `react`; 'malformed_request', 'malformed_verdict'.
  """
  explored: list[tuple[str, bool, Trial]] = []
  attempts = []
  for episode in range(1, limits.episodes + 1):
    long_term = tuple(_recalled(*one[:2]) for one in explored)
    short_term: list[str] = []
    for number in range(1, limits.trials + 1):
      situation = Situation(world.instructions, '', (*long_term, *short_term))
      request = after_label(policy(PROPOSE, situation), 'Request')
      if not request:
        raise entry.MalformedError('malformed_request')
      if request.lower() == NOTHING:
        break
      trial = react(
        policy, world, limits, task=request, memory=tuple(short_term)
      )
      situation = Situation(world.instructions, request, (), trial.steps)
      verdict = after_label(policy(JUDGE, situation), 'Fulfilled')
      judged = re.match(r'(yes|no)\b', verdict, re.IGNORECASE)
      if not judged:
        raise entry.MalformedError('malformed_verdict')
      fulfilled = judged[1].lower() == 'yes'
      explored.append((request, fulfilled, trial))
      short_term.append(shown(request, trial.steps))
      attempts.append(
        Attempt(
          f'-explore-{episode}-{number}',
          world.instructions,
          request,
          (*trial.steps, document.Segment('thought', verdict)),
          number,
          float(fulfilled),
          fulfilled,
        )
      )
  usable = [(r, shown(r, t.steps)) for r, fulfilled, t in explored if fulfilled]
  memory = most_similar(world.task, usable, limits.demonstrations)
  trial = react(policy, world, limits, memory=memory)
  last = Attempt(
    '-exploit',
    world.instructions,
    world.task,
    trial.steps,
    1,
    trial.reward,
    trial.success,
  )
  return [*attempts, last]


def _recalled(request: str, fulfilled: bool) -> str:
  return f'{request} ({"fulfilled" if fulfilled else "not fulfilled"})'


def shown(request: str, steps: Sequence[document.Segment]) -> str:
  """A trial as text for a prompt.

  >>> shown('Look.', [document.Segment('action', 'look')])
  'Request: Look.\\nAction: look'
  """
  lines = [f'Request: {request}']
  lines += [f'{step.role.capitalize()}: {step.text}' for step in steps]
  return '\n'.join(lines)


def most_similar(
  task: str, known: Sequence[tuple[str, str]], count: int
) -> tuple[str, ...]:
  """What is known under the requests that share most words with a task.

  >>> most_similar('Open the red box.', [('Eat.', 'a'), ('A box.', 'b')], 1)
  ('b',)
  """
  wanted = words(task)

  def similarity(request: str) -> float:
    own = words(request)
    return len(wanted & own) / (len(wanted | own) or 1)

  ranked = sorted(known, key=lambda one: -similarity(one[0]))  # stable
  return tuple(text for _, text in ranked[:count])


def words(text: str) -> set[str]:
  """The different words of a text, in lower case."""
  return set(re.findall(r'\w+', text.lower()))


def after_label(text: str, label: str) -> str:
  """A policy's text without the label in front, where there is one.

  >>> after_label(' Reflection: I was slow. ', 'Reflection')
  'I was slow.'
  """
  return re.sub(rf'^{label}\s*:\s*', '', text.strip(), flags=re.I).strip()
