"""AgentBench's OS: a task for somebody who is root on a Linux machine.

Tasks are AgentBench's own files (data/os_interaction/data); the scripts that
they name lie in its folder scripts/. What AgentBench has Docker for is done by
`machine`: each task gets a new one, in which its `init` has run. The agent
writes Bash or commits an answer; then the task's check scripts, run beside the
agent's shell, decide.
"""

import contextlib
import dataclasses
import json
import pathlib
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hephaestus_jax import machine
from hephaestus_jax.evaluation.agents import episode, shell_server

SILENT = 5  # seconds without output after which AgentBench reads no more
LONGEST = 30  # seconds for one action, script or check
SHOWN, KEPT = 800, 780  # characters: longer output is cut
CUT = '\n[truncated because the output is too long]'
INTERPRETERS = {'bash': ('bash', '-c'), 'python': ('python3', '-c')}

INSTRUCTIONS = """\
You are root on a Linux machine. Do what you are told to do on it, or find the \
answer to the question. In each turn, think first and then take exactly one of \
three actions.

To run Bash code, write:

Think: why

Act: bash

```bash
# the code
```

When what was to be done is done, write:

Think: why

Act: finish

When you know the answer to the question, write:

Think: why

Act: answer(the answer)

You see what the code writes. Long output is cut, so have the machine count \
and search for you. The code must not ask for input."""
EXAMPLE = (
  f'{INSTRUCTIONS}\n\nThe problem is:\n\n'
  'How many lines does the longest file in /etc/skel have?',
  'Think: I look at the files and their numbers of lines.\n\nAct: bash\n\n'
  '```bash\nwc -l $(find /etc/skel -type f) | sort -n\n```',
  'The output of the OS:\n\n   7 /etc/skel/.bash_logout\n'
  '  27 /etc/skel/.profile\n 113 /etc/skel/.bashrc\n 147 total',
  'Think: The longest one is .bashrc with 113 lines.\n\nAct: answer(113)',
)


@dataclasses.dataclass(frozen=True)
class Shell:
  """The environment.

  Attributes:
    files: AgentBench's .json files of tasks.
    scripts: the folder that the tasks' "file" entries are relative to; None:
      tasks with such an entry are left out.
    prompt: see `episode.opening`.
    rounds: AgentBench's 8.
  """

  files: Sequence[str]
  scripts: str | None = None
  prompt: str | None = None
  rounds: int = 8
  name: str = 'os'
  licence: str = 'Apache-2.0'

  def identity(self) -> dict[str, Any]:
    """What the scores depend on."""
    return {
      'data': ', '.join(episode.origin(file) for file in self.files),
      'prompt': episode.origin(self.prompt),
      'rounds': self.rounds,
      'scripts': _scripts(self.scripts),
    }

  def tasks(self) -> list[episode.Task]:
    """The tasks, 'dev-00003' for the fourth of dev.json.

    Flaws: 'no_script' where a script isn't in the folder, 'no_interpreter'
    where it is in neither Bash nor Python, 'no_evaluation'.
    """
    found = []
    for file in self.files:
      records = episode.read_json(file)
      records = records if isinstance(records, list) else [records]
      stem = pathlib.Path(file).stem
      for i, record in enumerate(records):
        try:
          flaw = '' if _Checks.of(record, self.scripts) else 'no_evaluation'
        except _FlawError as error:
          flaw = str(error)
        found.append(episode.Task(f'{stem}-{i:05}', record, flaw=flaw))
    return found

  @contextlib.contextmanager
  def open(self, task: episode.Task) -> Iterator[episode.Episode]:
    """A machine in which the task's `init` and `start` have run.

    Raises:
      errors.UserError: see `machine.check`.
    """
    checks = _Checks.of(task.record, self.scripts)
    server = pathlib.Path(shell_server.__file__).read_text()
    with machine.opened(['/usr/bin/python3', '-I', '-c', server]) as process:
      yield _episode(task, checks, _Machine(process), self.prompt)


class _FlawError(Exception):
  """Why a record can't be a task here."""


class _EndedError(Exception):
  """The machine is no more: it took too much, or the agent ended it."""


@dataclasses.dataclass(frozen=True)
class _Machine:
  """A shell_server to talk to."""

  process: subprocess.Popen[bytes]

  def shell(self, text: str) -> str:
    """What the agent's shell says to a piece of Bash."""
    answer = self._ask({'shell': text, 'silent': SILENT, 'longest': LONGEST})
    return str(answer['output'])

  def run(self, script: '_Script', *parameters: str) -> tuple[int, str]:
    """(exit status, output) of a script beside the agent's shell."""
    words = [*INTERPRETERS[script.language], script.code]
    if parameters and script.language == 'bash':
      words.append('--')  # $0
    answer = self._ask({'command': [*words, *parameters], 'longest': LONGEST})
    return int(answer['status']), str(answer['output'])

  def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
    assert self.process.stdin and self.process.stdout
    try:
      self.process.stdin.write(json.dumps(request).encode() + b'\n')
      self.process.stdin.flush()
      return json.loads(self.process.stdout.readline())
    # What the agent does to the server is its doing, not our bug.
    except (BrokenPipeError, ValueError) as error:
      raise _EndedError from error


@dataclasses.dataclass(frozen=True)
class _Script:
  language: str
  code: str

  @classmethod
  def of(cls, entry: Any, folder: str | None) -> '_Script':
    """A script as a record has it: text, {"code": ...} or {"file": ...}."""
    if isinstance(entry, str):
      return cls('bash', entry)
    language = entry.get('language', 'bash')
    if language not in INTERPRETERS:
      raise _FlawError('no_interpreter')
    if 'code' in entry:
      return cls(language, entry['code'])
    path = pathlib.Path(folder, entry['file']) if folder else None
    if path is None or not path.is_file():
      raise _FlawError('no_script')
    return cls(language, path.read_text())


@dataclasses.dataclass(frozen=True)
class _Checks:
  """How a task is set up and judged.

  Attributes:
    init: what runs first, beside the shell.
    start: what runs in the shell then.
    check: scripts, each given the answer and the output of those before; None
      stands for `example`.
    match: {'answer': ..., 'strip': bool} or {'regex': ...} instead.
    example: what an agent could have run.
  """

  init: tuple[_Script, ...]
  start: str
  check: tuple[_Script | None, ...]
  match: Mapping[str, Any] | None
  example: _Script | None

  @classmethod
  def of(
    cls, record: Mapping[str, Any], folder: str | None
  ) -> '_Checks | None':
    """Those of a record; None where it has none."""
    create, evaluation = record.get('create'), record.get('evaluation', {})
    init = create.get('init') if isinstance(create, Mapping) else None
    start = record.get('start', '')
    example = evaluation.get('example', record.get('example'))
    match, check = evaluation.get('match'), evaluation.get('check')
    if check is None and match is None:
      return None
    if isinstance(match, str):
      match = {'answer': match, 'strip': True}
    return cls(
      init=tuple(_Script.of(one, folder) for one in _listed(init)),
      start=_Script.of(start, folder).code,
      check=tuple(
        one if one is None else _Script.of(one, folder)
        for one in ([] if check is None else _listed(check))
      ),
      match=match,
      example=None if example is None else _Script.of(example, folder),
    )


def _listed(value: Any) -> list[Any]:
  if value is None:
    return []
  return value if isinstance(value, list) else [value]


def _episode(
  task: episode.Task,
  checks: '_Checks | None',
  system: _Machine,
  prompt: str | None,
) -> episode.Episode:
  assert checks is not None, 'a task with a flaw is never opened'
  answer: str | None = None
  written: str | None = None  # by the last code that ran

  with contextlib.suppress(_EndedError):  # the first action will tell
    for script in checks.init:
      system.run(script)
    if checks.start:
      system.shell(checks.start)

  def act(reply: str, conversation: episode.Conversation) -> episode.Turn:
    nonlocal answer, written
    thought, action, content = parse(reply)
    if not action:
      return episode.Turn(thought=reply, status=episode.INVALID_ACTION)
    if action == 'commit':
      answer = content
      return episode.Turn(
        thought=thought,
        answer='finish' if content is None else content,
        status=episode.COMPLETED,
      )
    try:
      output = system.shell(content or '')
    except _EndedError:
      return episode.Turn(thought, content or '', status=episode.UNKNOWN)
    written = output
    if len(output) > SHOWN:
      output = output[:KEPT] + CUT
    said = f'The output of the OS:\n\n{output}'
    return episode.Turn(
      thought,
      content or '',
      observation=said if output else 'The output of the OS is empty.',
    )

  def score(status: str) -> float:
    if status != episode.COMPLETED:
      return 0.0
    try:
      return float(judged(system, checks, answer))
    except _EndedError:
      return 0.0

  def solution() -> str:
    if checks.match and not checks.check:
      return f'Act: answer({checks.match.get("answer", "")})'
    if checks.example and written is None:
      return f'Act: bash\n\n```bash\n{checks.example.code}\n```'
    return f'Act: answer({written.strip()})' if written else 'Act: finish'

  problem = str(task.record['description'])
  return episode.Episode(
    (
      *episode.opening(prompt, EXAMPLE),
      episode.user(f'Now a new problem on a new machine:\n\n{problem}'),
    ),
    problem,
    act,
    score,
    solution,
  )


_ACT = re.compile(r'Act:[ \t]*(.+)')
_THINK = re.compile(r'Think:\s*(.+)')
_CODE = re.compile(r'```bash\n(.*?)\n```', re.DOTALL)


def parse(reply: str) -> tuple[str, str, str | None]:
  r"""(thought, action, content) of a reply.

  The action is that of the last line that names one: 'bash' with its code,
  'commit' with the answer (None for 'finish'), or '' where none does.

  >>> parse('Think: I look.\n\nAct: bash\n\n```bash\nls /\n```')
  ('I look.', 'bash', 'ls /')
  >>> parse('Think: Seven.\nAct: answer(7 (seven))')
  ('Seven.', 'commit', '7 (seven)')
  >>> parse('ls /')
  ('', '', None)
  """
  thought = '\n'.join(_THINK.findall(reply))
  for named in reversed(_ACT.findall(reply)):
    word = named.strip().lower()
    if word.startswith('bash'):
      return thought, 'bash', '\n\n'.join(_CODE.findall(reply))
    if word.startswith('finish'):
      return thought, 'commit', None
    inside = re.search(r'\((.*)\)', named)
    if word.startswith('answer') and inside:
      return thought, 'commit', inside[1]
  return thought, '', None


def judged(system: Any, checks: Any, answer: str | None) -> bool:
  """Whether a task's checks accept the answer and what was done.

  Each script gets the answer and what the scripts before it wrote, and says no
  by its exit status.
  """
  if not checks.check:
    if answer is None:
      return False
    if 'regex' in checks.match:
      return re.search(checks.match['regex'], answer) is not None
    answer = answer.strip() if checks.match.get('strip') else answer
    return answer == checks.match['answer']
  parameters = [str(answer)]
  for script in checks.check:
    status, output = system.run(script or checks.example, *parameters)
    if status:
      return False
    parameters.append(output)
  return True


def _scripts(folder: str | None) -> str:
  """What tells the scripts of one folder from those of another."""
  if folder is None:
    return episode.OURS
  files = sorted(path for path in pathlib.Path(folder).rglob('*.*'))
  return ' '.join(episode.origin(str(path)) for path in files if path.is_file())
