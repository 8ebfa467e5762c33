"""AdaPlanner (Sun et al. 2023): plans as code, refined where they err.

A plan is a little program, which is parsed and never executed:

    # The apple is likely in the fridge.
    act('open fridge', expect='You open')
    place = ask('Where is the apple?')
    act(f'take apple from {place}', expect='You take')

`act` does an action and says what its observation should contain. `ask` has the
policy read something out of the observations so far (in-plan refinement).
Where an expectation fails, or the plan ends before the task, the policy writes
the plan anew (out-of-plan refinement); `start(3)` in it says from which step to
go on, since what was done stays done. Plans that worked are shown with later
tasks.
"""

import ast
import dataclasses
import re
import textwrap

from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.adapters import entry
from hephaestus_jax.corpus.simulate import agents, environment

MAX_PLAN = 20_000  # characters


@dataclasses.dataclass(frozen=True)
class Step:
  """A line of a plan.

  Attributes:
    parts: text and names by turns, text first: `f'go to {place}'` is
      ('go to ', 'place', '').
    expect: what the observation should contain; '' expects nothing.
    result: the name that the answer of `ask` gets; '' for `act`.
  """

  parts: tuple[str, ...]
  expect: str = ''
  result: str = ''


@dataclasses.dataclass(frozen=True)
class Plan:
  """Steps, and the first of them to be done (0 is the plan's first)."""

  steps: tuple[Step, ...]
  start: int = 0


def parse(text: str) -> Plan:
  """A plan as the policy wrote it, with or without a code fence around.

  >>> parse("act('open box', expect='open')")
  Plan(steps=(Step(parts=('open box',), expect='open', result=''),), start=0)

  Raises:
    entry.MalformedError: 'malformed_plan'.
  """
  fenced = re.search(r'```(?:python)?\n(.*?)```', text, re.DOTALL)
  code = textwrap.dedent(fenced[1] if fenced else text)
  steps, start = [], 0
  try:
    for node in ast.parse(code[:MAX_PLAN]).body:
      match node:
        case ast.Expr(
          ast.Call(ast.Name('start'), [ast.Constant(int(number))], [])
        ):
          start = number - 1
        case ast.Expr(ast.Call(ast.Name('act'), [said], keywords)):
          steps.append(Step(_parts(said), _expected(keywords)))
        case ast.Assign(
          [ast.Name(name)], ast.Call(ast.Name('ask'), [said], [])
        ):
          steps.append(Step(_parts(said), result=name))
        case _:
          raise entry.MalformedError('malformed_plan')
  except (SyntaxError, ValueError, MemoryError, RecursionError):
    raise entry.MalformedError('malformed_plan') from None
  if not 0 <= start < len(steps):
    raise entry.MalformedError('malformed_plan')
  return Plan(tuple(steps), start)


def _parts(node: ast.expr) -> tuple[str, ...]:
  """Text and names by turns, of a string or an f-string of plain names."""
  match node:
    case ast.Constant(str(text)):
      return (text,)
    case ast.JoinedStr(values):
      parts = ['']
      for value in values:
        match value:
          case ast.Constant(str(text)):
            parts[-1] += text
          case ast.FormattedValue(ast.Name(name), -1, None):
            parts += [name, '']
          case _:
            raise entry.MalformedError('malformed_plan')
      return tuple(parts)
  raise entry.MalformedError('malformed_plan')


def _expected(keywords: list[ast.keyword]) -> str:
  match keywords:
    case []:
      return ''
    case [ast.keyword('expect', ast.Constant(str(text)))]:
      return text
  raise entry.MalformedError('malformed_plan')


def planning(
  policy: agents.Policy,
  world: environment.Environment,
  limits: agents.Limits,
  skills: list[str],
) -> agents.Attempt:
  """Plans, acts, and plans again from where something unexpected happened.

  Args:
    policy: writes plans.
    world: where they are carried out; it is reset.
    limits: `steps` bounds the actions of all plans together.
    skills: tasks and plans that worked; one that works here is added.

  Raises:
    entry.MalformedError: 'malformed_plan', 'plan_unchanged', or as the policy
      says.
  """
  memory = tuple(skills[-limits.skills :])
  steps = [document.Segment('observation', world.reset())]

  def situation(matter: str = '') -> agents.Situation:
    return agents.Situation(
      world.instructions, world.task, memory, tuple(steps), matter
    )

  text = policy(agents.PLAN, situation()).strip()
  answers: dict[str, str] = {}
  outcome = environment.Outcome('', 0.0, False)
  refinements, actions = 0, 0
  while True:
    plan = parse(text)
    steps.append(document.Segment('thought', text))
    surprise = 'The plan ended and the task has not.'
    for number, step in enumerate(plan.steps[plan.start :], plan.start + 1):
      said = ' '.join(_filled(step.parts, answers).split())
      if step.result:
        answer = ' '.join(policy(agents.ASK, situation(said)).split())
        answers[step.result] = answer
        steps.append(document.Segment('thought', f'{said} {answer}'))
        continue
      if actions == limits.steps:
        break
      actions += 1
      outcome = world.step(said)
      steps.append(document.Segment('action', said))
      steps.append(document.Segment('observation', outcome.observation))
      if outcome.done:
        break
      if step.expect.lower() not in outcome.observation.lower():
        surprise = f'Step {number} expected {step.expect!r}.'
        break
    success = outcome.done and outcome.reward >= 1.0
    ended = outcome.done or actions == limits.steps
    if ended or refinements == limits.refinements:
      break
    refinements += 1
    refined = policy(agents.REFINE, situation(f'{text}\n\n{surprise}')).strip()
    if refined == text:
      raise entry.MalformedError('plan_unchanged')
    text = refined
  if success:
    skills.append(f'Task: {world.task}\n{text}')
  return agents.Attempt(
    '',
    world.instructions,
    world.task,
    tuple(steps),
    1 + refinements,
    outcome.reward,
    success,
  )


def _filled(parts: tuple[str, ...], answers: dict[str, str]) -> str:
  """An action or question with the answers in it.

  Raises:
    entry.MalformedError: 'malformed_plan': it uses a name before `ask` gave it.
  """
  filled = list(parts)
  for i in range(1, len(parts), 2):
    if parts[i] not in answers:
      raise entry.MalformedError('malformed_plan')
    filled[i] = answers[parts[i]]
  return ''.join(filled)
