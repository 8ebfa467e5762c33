"""AgentBench's WB: Mind2Web's next action on a page, by multiple choice.

Tasks are Mind2Web's own files (test_domain_*.json) with ranks of the elements
on each page. The ten best are shown five at a time, each time with a view of
the page around them; what the agent chooses goes on to the last round. A step
succeeds when element, action and value are right.
"""

import contextlib
import dataclasses
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import lxml.etree

from hephaestus_jax.evaluation.agents import episode, page_view

CHOICES = 5  # elements at a time
PREVIOUS = 5  # actions that are told
SHOWN = 10  # words of an element in the list
NONE = 'A'

EXAMPLE = (
  """\
You are shown a web page, a task and elements of the page. Choose the element \
that the next action of the task is done to, and the action: CLICK, SELECT or \
TYPE, the last two with a value. Think first.

'''
<html> <form> <input id=0 text search for a boat /> <select id=1 harbour> \
<option> Oban </option> <option> Mallaig </option> </select> </form> </html>
'''

Based on the HTML webpage above, try to complete the following task:
Task: Find a boat that leaves from Mallaig
Previous actions:
None
What should be the next action? Please select from the following choices (If \
the correct action is not in the page above, please select A. 'None of the \
above'):

A. None of the above
B. <input id=0 text search for a boat />
C. <select id=1 harbour> <option> Oban </option> <option> Mallaig
""",
  """\
Thought: The harbour is chosen from a list.
Answer: C.
Action: SELECT
Value: Mallaig""",
)


@dataclasses.dataclass(frozen=True)
class WebPages:
  """The environment.

  Attributes:
    files: Mind2Web's .json files of tasks.
    ranks: a .json file {'<annotation_id>_<action_uid>': {backend_node_id:
      rank}}, Mind2Web's scores_all_data as JSON; None: the candidates in the
      files have a 'rank' each.
    prompt: see `episode.opening`; its last message is replaced by the question.
    top: elements of a page that take part.
    seed: of their order.
  """

  files: Sequence[str]
  ranks: str | None = None
  prompt: str | None = None
  top: int = 10
  seed: int = 123
  name: str = 'wb'
  licence: str = 'CC-BY-4.0'

  @property
  def rounds(self) -> int:
    """More than the choices that so many elements can need."""
    return 2 * self.top

  def identity(self) -> dict[str, Any]:
    """What the scores depend on."""
    return {
      'data': ', '.join(episode.origin(file) for file in self.files),
      'prompt': episode.origin(self.prompt),
      'ranks': episode.origin(self.ranks),
      'top': self.top,
      'seed': self.seed,
    }

  def tasks(self) -> list[episode.Task]:
    """A task per action: '<annotation_id>-2' for the third.

    Flaw: 'no_ranks' where an element has none.
    """
    ranks = {} if self.ranks is None else episode.read_json(self.ranks)
    found = []
    for file in self.files:
      for record in episode.read_json(file):
        for i, action in enumerate(record['actions']):
          own = ranks.get(f'{record["annotation_id"]}_{action["action_uid"]}')
          step = {
            'task': record['confirmed_task'],
            'previous': record['action_reprs'][:i],
            'page': action['cleaned_html'],
            'operation': action['operation'],
            'right': _best(action['pos_candidates'], own, self.top),
            'wrong': _best(action['neg_candidates'], own, self.top),
          }
          flaw = 'no_ranks' if None in (step['right'], step['wrong']) else ''
          name = f'{record["annotation_id"]}-{i}'
          found.append(episode.Task(name, step, flaw=flaw))
    return found

  @contextlib.contextmanager
  def open(self, task: episode.Task) -> Iterator[episode.Episode]:
    """The page of one action."""
    order = random.Random(f'{self.seed} {task.name}')
    yield _episode(task, self.prompt, order)


def _best(
  candidates: Sequence[Mapping[str, Any]],
  ranks: Mapping[str, int] | None,
  top: int,
) -> list[str] | None:
  """Ids of the candidates that take part; None where one has no rank."""
  names = [str(one['backend_node_id']) for one in candidates]
  found = [
    one.get('rank') if ranks is None else ranks.get(name)
    for name, one in zip(names, candidates, strict=True)
  ]
  if any(rank is None for rank in found):
    return None
  return [
    name
    for name, rank in zip(names, found, strict=True)
    if rank is not None and rank < top
  ]


def _episode(
  task: episode.Task, prompt: str | None, order: random.Random
) -> episode.Episode:
  step = task.record
  page = lxml.etree.fromstring(
    step['page'], lxml.etree.XMLParser(recover=True, huge_tree=True)
  )
  there = {node.get(page_view.ID) for node in page.iter()}
  right = [name for name in step['right'] if name in there]
  waiting = [*right, *(name for name in step['wrong'] if name in there)]
  order.shuffle(waiting)
  wanted = operation(
    step['operation']['op'],
    '' if step['operation']['op'] == 'CLICK' else step['operation']['value'],
  )
  chosen: tuple[str, str] | None = None
  shown: list[str] = []
  before = episode.opening(prompt, EXAMPLE)
  if prompt is not None:
    before = before[:-1]

  def asked() -> episode.Conversation:
    nonlocal waiting, shown
    group, waiting = waiting[:CHOICES], waiting[CHOICES:]
    view, choices = viewed(page, group)
    shown = [name for name, _ in choices]
    return (*before, episode.user(question(step, view, choices)))

  def act(reply: str, conversation: episode.Conversation) -> episode.Turn:
    nonlocal chosen
    letter, said = parse(reply)
    place = ord(letter) - ord('B')
    if 0 <= place < len(shown):
      waiting.append(shown[place])
      chosen = shown[place], said
    thought, did = reply.split('Answer:')[0], f'{letter} {said}'
    if len(waiting) > 1:
      following = asked()
      view = following[-1]['content']
      return episode.Turn(
        thought, did, observation=view, conversation=following
      )
    if chosen is None or not waiting:
      chosen = None
      return episode.Turn(thought, did, status=episode.INVALID_ACTION)
    return episode.Turn(thought, did, status=episode.COMPLETED)

  def score(status: str) -> float:
    if chosen is None:
      return 0.0
    element, said = chosen
    return float(element in right and set(said.split()) == set(wanted.split()))

  def solution() -> str:
    for name in right[:1]:
      if name in shown:
        op, _, value = wanted.partition(' ')
        letter = chr(ord('B') + shown.index(name))
        return f'Answer: {letter}.\nAction: {op}\nValue: {value}'
    return f'Answer: {NONE}.'

  # AgentBench counts a page whose right element was ranked too low as failed.
  status = '' if right else episode.UNKNOWN
  if right and len(waiting) < 2:
    status = episode.INVALID_ACTION
  conversation = before if status else asked()
  text = step['task'] if status else conversation[-1]['content']
  return episode.Episode(conversation, text, act, score, solution, status)


def viewed(
  page: Any, group: Sequence[str]
) -> tuple[str, list[tuple[str, str]]]:
  """(the page around some elements, [(id, first words)] of each)."""
  part = page_view.pruned(page, group)
  nodes = [node for node in part.iter() if node.get(page_view.ID)]
  numbers = {node.get(page_view.ID): i for i, node in enumerate(nodes)}
  return page_view.text(part, numbers), [
    (
      node.get(page_view.ID),
      ' '.join(page_view.text(node, numbers).split()[:SHOWN]),
    )
    for node in nodes
  ]


def question(
  step: Mapping[str, Any], view: str, choices: Sequence[tuple[str, str]]
) -> str:
  """What is asked about a page, in the words that Mind2Web's prompts show."""
  return '\n'.join(
    [
      f"'''\n{view}\n'''\n",
      'Based on the HTML webpage above, try to complete the following task:',
      f'Task: {step["task"]}',
      'Previous actions:',
      *(step['previous'][-PREVIOUS:] or ['None']),
      'What should be the next action? Please select from the following '
      'choices (If the correct action is not in the page above, please select '
      "A. 'None of the above'):\n",
      'A. None of the above',
      *(
        f'{chr(ord("B") + i)}. {words}' for i, (_, words) in enumerate(choices)
      ),
      '',
    ]
  )


_ANSWER = re.compile(r'Answer: ([A-F])')
_ACTION = re.compile(r'Action: (CLICK|SELECT|TYPE)')
_VALUE = re.compile(r'Value: (.*)$', re.MULTILINE)


def parse(reply: str) -> tuple[str, str]:
  r"""(letter, action and value) of a reply; 'A', none, where it has no letter.

  >>> parse('Answer: C.\nAction: TYPE\nValue: Oban Bay')
  ('C', 'TYPE Oban Bay')
  >>> parse('Click it.')
  ('A', '')
  """
  letter, action, value = (
    found[1] if (found := pattern.search(reply)) else ''
    for pattern in (_ANSWER, _ACTION, _VALUE)
  )
  return letter or NONE, operation(action, value)


def operation(action: str, value: str) -> str:
  """An action and its value as one text.

  >>> operation('SELECT', ' Oban '), operation('CLICK', '')
  ('SELECT Oban', 'CLICK')
  """
  return f'{action} {value.strip()}'.strip()
