"""Simulated agent data (paper, section 4.1 and appendix D.1.4).

Agents act in text environments, and o0, a1, o1, ..., aT, oT become Documents,
with their thoughts, plans and reflections between.

<output_dir>/documents-*.jsonl, drops.json   as `lines` says
<output_dir>/episodes.jsonl                  how each went: {"id", "task",
                                             "method", "policy", "success",
                                             "reward", "trials", "actions"}
<output_dir>/account.json                    questions, tokens, dollars
"""

import concurrent.futures
import contextlib
import dataclasses
import json
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import tqdm

from hephaestus_jax import artefacts, errors, language_model
from hephaestus_jax.corpus import document, lines
from hephaestus_jax.corpus.adapters import entry
from hephaestus_jax.corpus.simulate import (
  agents,
  environment,
  planner,
  policies,
)

SOURCE = 'simulated_agents'
# The loops, and how many tasks in a row share what an agent learns by them.
METHODS = {'react': 1, 'reflexion': 1, 'adaplanner': 5, 'ste': 1}
ORACLE = 'oracle'
EPISODES = 'episodes.jsonl'


@dataclasses.dataclass(frozen=True)
class _Session:
  """Tasks that one agent goes through in order.

  Attributes:
    number: of all sessions; its file is named after it.
    world: of its tasks.
    method: one of METHODS.
    tasks: of the world.
  """

  number: int
  world: environment.World
  method: str
  tasks: tuple[environment.Task, ...]


def simulate(
  *,
  worlds: Sequence[environment.World],
  methods: Sequence[str],
  endpoint: language_model.Endpoint,
  output_dir: str,
  limits: agents.Limits,
  noise: float = 0.15,
  seed: int = 0,
  max_characters: int = 100_000,
  success_only: bool = False,
) -> dict[str, Any]:
  """Sends agents through worlds.

  Args:
    worlds: where they act.
    methods: how; of METHODS, each on every task.
    endpoint: who decides. Without a base_url an oracle does, which knows the
      way and errs on purpose.
    output_dir: where the Documents go.
    limits: bounds of the loops.
    noise: the share of the oracle's steps that are mistakes: 0.0 to 0.9.
    seed: decides which.
    max_characters: longer Documents are dropped.
    success_only: whether attempts without success are dropped.

  Returns:
    {'reused': whether it was all there, 'account': {...}, 'records': 40,
     'documents': 38, 'drops': {'too_long': 2},
     'success': {'react': {'attempts': 10, 'successes': 9}}}

  Raises:
    errors.UserError: a method is unknown, a world can't be opened, two have
      the same task, the noise is no share, or as `Client.ask` says.
  """
  for method in methods:
    if method not in METHODS:
      raise errors.UserError(
        f'simulate.methods: there is no {method!r}; choose of {list(METHODS)}.'
      )
  if not worlds or not methods or not 0.0 <= noise <= 0.9:
    raise errors.UserError(
      f'simulate has {len(worlds)} worlds, {len(methods)} methods and '
      f'noise = {noise}: give one of each at least, and a noise from 0 to 0.9.'
    )
  asks = endpoint.base_url is not None
  folder = pathlib.Path(output_dir)
  inputs = {
    'worlds': [
      {'licence': world.licence, **world.identity()} for world in worlds
    ],
    'methods': list(methods),
    'policy': endpoint.identity() if asks else {'noise': noise, 'seed': seed},
    'formats': artefacts.fingerprint([*policies.FORMATS.values()]),
    'limits': dataclasses.asdict(limits),
    'max_characters': max_characters,
    'success_only': success_only,
  }
  # What a killed run has finished; named after what it was made from.
  kept = folder.with_name(
    f'{folder.name}.sessions-{artefacts.fingerprint(inputs)}'
  )
  reused = artefacts.reusable(folder, inputs)
  if reused:
    print(f'reused {folder}')
  else:
    with contextlib.ExitStack() as stack:
      client = None
      if asks:
        client = stack.enter_context(language_model.Client(endpoint))
      target = stack.enter_context(artefacts.written(folder, inputs))
      run = _Run(client, limits, noise, seed, kept)
      _write(
        run.results(list(_sessions(worlds, methods)), endpoint.concurrency),
        target,
        endpoint.model if asks else ORACLE,
        max_characters,
        success_only,
      )
      account = client.account() if client else {'questions': 0, 'dollars': 0.0}
      artefacts.write_json(target / 'account.json', account)
  shutil.rmtree(kept, ignore_errors=True)
  account = json.loads((folder / 'account.json').read_text())
  counts = json.loads((folder / lines.DROPS).read_text())
  success = _success(folder)
  print(
    f'{counts["documents"]:,} of {counts["records"]:,} attempts became '
    f'Documents for ${account["dollars"]:.4f}; dropped: {counts["drops"]}; '
    f'success: {success}'
  )
  return {'reused': reused, 'account': account, 'success': success, **counts}


def _sessions(
  worlds: Sequence[environment.World], methods: Sequence[str]
) -> Iterator[_Session]:
  number = 0
  seen: set[str] = set()
  for world in worlds:
    tasks = tuple(world.tasks())
    for task in tasks:
      if task.name in seen:
        raise errors.UserError(
          f'Two worlds have a task {task.name!r}. Give games of one kind '
          'different seeds, and files of questions different names.'
        )
      seen.add(task.name)
    for method in methods:
      size = METHODS[method]
      for i in range(0, len(tasks), size):
        yield _Session(number, world, method, tasks[i : i + size])
        number += 1


# {'task', 'method', 'licence', 'reason'}, and where there is no reason to drop
# it: 'attempt', an agents.Attempt as JSON.
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class _Run:
  """What all sessions share; `client` is None where an oracle decides."""

  client: language_model.Client | None
  limits: agents.Limits
  noise: float
  seed: int
  kept: pathlib.Path

  def results(
    self, sessions: Sequence[_Session], concurrency: int
  ) -> Iterator[Row]:
    """The rows of all sessions in their order, some under way at once."""
    self.kept.mkdir(parents=True, exist_ok=True)
    # An oracle computes, and Python does that in one thread at a time.
    workers = concurrency if self.client else 1
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
      try:
        waiting = [pool.submit(self._finish, session) for session in sessions]
        for done in tqdm.tqdm(waiting, desc='simulate'):
          yield from json.loads(done.result().read_text())
      finally:
        pool.shutdown(wait=True, cancel_futures=True)

  def _finish(self, session: _Session) -> pathlib.Path:
    """The file of a session's rows, from an earlier run or made now."""
    path = self.kept / f'{session.number:06}.json'
    # A model's answers are kept by their content, and counted when they are
    # asked for: with them a session is gone through again.
    if self.client or not path.exists():
      artefacts.write_json(path, list(self._rows(session)))
    return path

  def _rows(self, session: _Session) -> Iterator[Row]:
    skills: list[str] = []
    for task in session.tasks:
      row: Row = {
        'task': task.name,
        'method': session.method,
        'licence': session.world.licence,
        'reason': task.flaw,
      }
      attempts: list[agents.Attempt] = []
      if not task.flaw:
        try:
          attempts = self._attempts(session, task.name, skills)
        except entry.MalformedError as error:
          row['reason'] = error.reason
      if row['reason']:
        yield row
      for attempt in attempts:
        yield {**row, 'attempt': dataclasses.asdict(attempt)}

  def _attempts(
    self, session: _Session, name: str, skills: list[str]
  ) -> list[agents.Attempt]:
    with contextlib.ExitStack() as stack:
      world = stack.enter_context(contextlib.closing(session.world.open(name)))
      if self.client:
        policy = policies.language_model_policy(self.client)
      else:
        twin = stack.enter_context(contextlib.closing(session.world.open(name)))
        seed = f'{self.seed} {session.method} {name}'
        policy = policies.oracle(world, twin, noise=self.noise, seed=seed)
      match session.method:
        case 'react':
          return [agents.acting(policy, world, self.limits)]
        case 'reflexion':
          return [agents.reflecting(policy, world, self.limits)]
        case 'adaplanner':
          return [planner.planning(policy, world, self.limits, skills)]
      return agents.exploring(policy, world, self.limits)


def _write(
  rows: Iterator[Row],
  target: pathlib.Path,
  policy: str,
  max_characters: int,
  success_only: bool,
) -> None:
  """Documents, drops and a line per attempt."""
  with (target / EPISODES).open('w', encoding='utf-8') as episodes:

    def found() -> Iterator[document.Document | document.Drop]:
      for row in rows:
        if not row['reason']:
          line = told(row, policy)
          episodes.write(json.dumps(line, ensure_ascii=False) + '\n')
        yield to_document(row, max_characters, success_only)

    lines.write(target, found())


def to_document(
  row: Row, max_characters: int, success_only: bool
) -> document.Document | document.Drop:
  """An attempt as a Document: instructions, task, and all that followed.

  Reasons to drop it: those of the loops and policies, 'too_long', 'no_success'.
  """
  name = f'{SOURCE}/{row["task"]}/{row["method"]}'
  if row['reason']:
    return document.Drop(name, SOURCE, row['reason'])
  attempt = row['attempt']
  name += attempt['name']
  segments = (
    document.Segment('system', attempt['instructions']),
    document.Segment('user', attempt['task']),
    *(document.Segment(s['role'], s['text']) for s in attempt['steps']),
  )
  if sum(len(segment.text) for segment in segments) > max_characters:
    return document.Drop(name, SOURCE, 'too_long')
  if success_only and not attempt['success']:
    return document.Drop(name, SOURCE, 'no_success')
  return document.Document(
    name, SOURCE, 'trajectory', row['licence'], '', segments
  )


def told(row: Row, policy: str) -> dict[str, Any]:
  """A line about an attempt."""
  attempt = row['attempt']
  return {
    'id': f'{SOURCE}/{row["task"]}/{row["method"]}{attempt["name"]}',
    'task': row['task'],
    'method': row['method'],
    'policy': policy,
    'success': attempt['success'],
    'reward': attempt['reward'],
    'trials': attempt['trials'],
    'actions': sum(step['role'] == 'action' for step in attempt['steps']),
  }


def _success(folder: pathlib.Path) -> dict[str, dict[str, int]]:
  """{'react': {'attempts': 10, 'successes': 9}} of the folder's episodes."""
  found: dict[str, dict[str, int]] = {}
  with (folder / EPISODES).open(encoding='utf-8') as file:
    for line in file:
      episode = json.loads(line)
      counts = found.setdefault(
        episode['method'], {'attempts': 0, 'successes': 0}
      )
      counts['attempts'] += 1
      counts['successes'] += episode['success']
  return found
