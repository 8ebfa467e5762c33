"""What decides: a language model, or an oracle that knows the way.

Both are policies of `agents`: a purpose and a situation go in, text comes out.
"""

import hashlib
import random
from collections.abc import Callable

from hephaestus_jax import language_model
from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.adapters import entry
from hephaestus_jax.corpus.simulate import agents, environment

FORMATS = {
  agents.ACT: (
    "Answer with a line 'Thought: ' and what you make of the situation, which "
    "may be left out, and then a line 'Action: ' and one action."
  ),
  agents.REFLECT: (
    'The task was not accomplished. Say in a few sentences what went wrong in '
    'these steps and what you will do differently the next time. Begin with '
    "'Reflection: '."
  ),
  agents.PLAN: (
    'Write a plan as lines of code and nothing else. '
    "act('ACTION', expect='WORDS') does an action and names words that its "
    "observation will contain. name = ask('QUESTION') has you answer a "
    'question from the observations so far, and then the answer can stand in '
    "an action: act(f'take {name}', expect='take'). Begin with a comment that "
    'says how you mean to go about it.'
  ),
  agents.REFINE: (
    'Something did not go as this plan expected. Write the whole plan anew in '
    'the same language. Steps that are done stay done: begin with '
    'start(NUMBER) to go on from that step of the new plan.'
  ),
  agents.ASK: 'Answer the question from the observations, in a few words.',
  agents.PROPOSE: (
    'Imagine a request that a user could make and that these actions can '
    "fulfil, unlike those listed. Answer with one line 'Request: ' and the "
    "request, or 'none' where all was tried."
  ),
  agents.JUDGE: (
    "Was the request fulfilled? Answer 'Fulfilled: yes' or 'Fulfilled: no', "
    'and why in one sentence.'
  ),
}
# How the oracle asks itself for an action.
REQUEST = 'Please try "'
ENDING = '" and tell me what comes of it.'
# A request of the explorer's own ends with an answer, not with a goal reached.
ANSWERING = "When you can answer the request, write 'Answer: ' instead."


def messages(
  purpose: str, situation: agents.Situation
) -> tuple[language_model.Message, ...]:
  """A situation as a conversation: observations are the user's turns."""
  system = [situation.instructions]
  if purpose == agents.ACT:
    system.append(FORMATS[agents.ACT])
  if situation.open_ended:
    system.append(ANSWERING)
  opening = [f'Task: {situation.task}'] if situation.task else []
  if situation.memory:
    opening.append('From before:')
    opening += [f'- {memory}' for memory in situation.memory]
  turns: list[tuple[str, str]] = [('user', '\n'.join(opening))]
  for step in situation.steps:
    label = f'{step.role.capitalize()}: {step.text}'
    turns.append(('user' if step.role == 'observation' else 'assistant', label))
  if situation.matter:
    turns.append(('user', situation.matter))
  if purpose != agents.ACT:
    turns.append(('user', FORMATS[purpose]))
  joined: list[dict[str, str]] = [
    {'role': 'system', 'content': '\n\n'.join(system)}
  ]
  for role, text in turns:
    if joined[-1]['role'] == role:
      joined[-1]['content'] = f'{joined[-1]["content"]}\n{text}'.strip()
    else:
      joined.append({'role': role, 'content': text})
  return tuple(joined)


def language_model_policy(client: language_model.Client) -> agents.Policy:
  """Asks a model. What it fails to answer is raised as a MalformedError."""

  def policy(purpose: str, situation: agents.Situation) -> str:
    stop = ('\nObservation:',) if purpose == agents.ACT else ()
    question = language_model.Question(messages(purpose, situation), stop)
    reply = client.ask(question)
    if reply.failure:
      raise entry.MalformedError(reply.failure)
    if reply.finish == 'length':
      raise entry.MalformedError('truncated')
    if not reply.text.strip():
      raise entry.MalformedError('empty_answer')
    return reply.text

  return policy


def oracle(
  world: environment.Environment,
  twin: environment.Environment,
  *,
  noise: float,
  seed: str,
) -> agents.Policy:
  """Follows the solution, and errs at a rate, so that errors can be mended.

  Args:
    world: the environment that the loop acts in.
    twin: the same task once more, where a plan is tried out before it is
      written; what came of it is what the plan expects.
    noise: the share of steps that are mistakes. Halved by every reflection and
      every plan that failed.
    seed: decides which.
  """
  chance = random.Random(hashlib.sha256(seed.encode()).digest())
  mistakes: list[str] = []

  def mistaken(place: environment.Environment, right: str) -> str:
    """A mistake: an action that leads nowhere, or a letter left out."""
    useful = {right, *place.solution()}
    choices = [action for action in place.admissible() if action not in useful]
    if choices and chance.random() < 0.7:
      return chance.choice(choices)
    at = chance.randrange(len(right))
    return right[:at] + right[at + 1 :] if len(right) > 1 else right * 2

  def errs(times: int) -> bool:
    return chance.random() < noise * 0.5**times

  def act(situation: agents.Situation) -> str:
    if situation.open_ended:
      right = situation.task.removeprefix(REQUEST).removesuffix(ENDING)
      if document.Segment('action', right) in situation.steps:
        return f'Answer: {_first_line(situation.steps[-1].text)}'
    else:
      right = _first(world.solution())
    first = len(situation.steps) == 1
    erred = bool(mistakes) and _last_action(situation) == mistakes[-1]
    if errs(len(situation.memory)):
      mistakes.append(mistaken(world, right))
      return f'Action: {mistakes[-1]}'
    if erred:
      return (
        f'Thought: "{mistakes[-1]}" brought me no closer. I go on with '
        f'"{right}".\nAction: {right}'
      )
    if first:
      return f'Thought: I start with "{right}".\nAction: {right}'
    return f'Action: {right}'

  def reflect(situation: agents.Situation) -> str:
    done = [step.text for step in situation.steps if step.role == 'action']
    wrong = [text for text in dict.fromkeys(mistakes) if text in done]
    twin.reset()
    right = _first(twin.solution())
    named = ', '.join(f'"{text}"' for text in wrong[-3:])
    missed = f'{named} did not bring me closer; I leave that out. '
    return (
      f'Reflection: After {len(done)} actions it ended with: '
      f'{_first_line(situation.steps[-1].text)} {missed if wrong else ""}'
      f'Next time I begin with "{right}".'
    )

  def plan(done: list[str]) -> str:
    """A plan: what was done, and what is left as the twin lives through it."""
    twin.reset()
    for action in done:
      twin.step(action)
    lines = [f'act({action!r})' for action in done]
    _first(twin.solution())
    failed = len(mistakes)
    for _ in range(2 * len(twin.solution())):
      right = written = _first(twin.solution())
      if errs(failed):
        written = mistaken(twin, right)
        mistakes.append(written)
      outcome = twin.step(right)
      expected = ' '.join(_first_line(outcome.observation).split()[:5])
      lines.append(f'act({written!r}, expect={expected!r})')
      if outcome.done:
        break
    begin = f'start({len(done) + 1})\n' if done else ''
    steps = len(lines) - len(done)
    return f'# {steps} steps lead to the goal.\n{begin}' + '\n'.join(lines)

  def refine(situation: agents.Situation) -> str:
    return plan([s.text for s in situation.steps if s.role == 'action'])

  def propose(situation: agents.Situation) -> str:
    world.reset()
    known = '\n'.join(situation.memory)
    choices = [
      request
      for action in world.admissible()
      if (request := f'{REQUEST}{action}{ENDING}') not in known
    ]
    return f'Request: {chance.choice(choices) if choices else agents.NOTHING}'

  def judge(situation: agents.Situation) -> str:
    if any(step.role == 'answer' for step in situation.steps):
      return 'Fulfilled: yes. The action was done and its outcome told.'
    return 'Fulfilled: no. The task ended before there was an answer.'

  said: dict[str, Callable[[agents.Situation], str]] = {
    agents.ACT: act,
    agents.REFLECT: reflect,
    agents.PLAN: lambda situation: plan([]),
    agents.REFINE: refine,
    agents.PROPOSE: propose,
    agents.JUDGE: judge,
  }
  return lambda purpose, situation: said[purpose](situation)


def _first(solution: tuple[str, ...]) -> str:
  """The next action of a solution.

  Raises:
    entry.MalformedError: 'no_solution'.
  """
  if not solution:
    raise entry.MalformedError('no_solution')
  return solution[0]


def _last_action(situation: agents.Situation) -> str:
  actions = [s.text for s in situation.steps if s.role == 'action']
  return actions[-1] if actions else ''


def _first_line(text: str) -> str:
  """The first line that says something, without white space around."""
  lines = [line.strip() for line in text.splitlines() if line.strip()]
  return lines[0] if lines else ''
