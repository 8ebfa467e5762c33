"""OS: tasks in AgentBench's format, a real shell, its own checks."""

import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

from hephaestus_jax import errors, machine
from hephaestus_jax.evaluation.agents import operating_system

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE))

import scripts  # noqa: E402

EQUAL = 'import sys; sys.exit(int(sys.argv[1]) != int(sys.argv[2]))'
TASKS = [
  {
    'description': 'How many hidden files are in /home?',
    'create': {'init': 'touch /home/.a /home/.b /home/c'},
    'evaluation': {
      'check': [None, {'language': 'python', 'code': EQUAL}],
      'example': {'code': 'ls -A /home | grep -c "^[.]"'},
    },
  },
  {
    'description': 'Which word does the service write into /root/log?',
    'create': {'init': [{'code': 'mkdir /root/old'}]},
    'start': 'while :; do echo drum >> /root/log; sleep 0.2; done &',
    'evaluation': {'match': 'drum'},
  },
  {
    'description': 'Add a user named ada with a home of her own.',
    'evaluation': {
      'check': {'code': 'test "$(su - ada -c pwd)" = /home/ada'},
      'example': 'useradd -m ada',
    },
  },
  {
    'description': 'Make a command `twice` that doubles a number.',
    'evaluation': {
      'check': [{'file': 'check/twice.sh'}],
      'example': {'file': 'twice.sh'},
    },
  },
  {
    'description': 'Which script is missing?',
    'evaluation': {'check': [{'file': 'check/nowhere.sh'}]},
  },
  {
    'description': 'What is the answer in C?',
    'evaluation': {'check': [{'language': 'c++', 'code': 'int main() {}'}]},
  },
]


def bash(code):
  return f'Think: I try.\n\nAct: bash\n\n```bash\n{code}\n```'


@pytest.fixture(scope='module')
def shell(tmp_path_factory):
  try:
    machine.check()
  except errors.UserError as error:
    pytest.skip(str(error))
  folder = tmp_path_factory.mktemp('os')
  (folder / 'tasks.json').write_text(json.dumps(TASKS))
  (folder / 'check').mkdir()
  (folder / 'check' / 'twice.sh').write_text('test "$(twice 21)" = 42')
  (folder / 'twice.sh').write_text(
    'echo "echo \\$((2 * \\$1))" > /usr/local/bin/twice\n'
    'chmod +x /usr/local/bin/twice'
  )
  return operating_system.Shell([str(folder / 'tasks.json')], str(folder))


def scores(results):
  return [(one.status, one.score) for one in results.values()]


def test_records_that_cannot_run_are_left_out_with_a_reason(shell):
  assert [task.flaw for task in shell.tasks()] == [
    *('', '', '', ''),
    *('no_script', 'no_interpreter'),
  ]
  assert shell.tasks()[3].name == 'tasks-00003'


def test_the_oracle_solves_every_task(shell):
  assert scores(scripts.oracle_played(shell)) == [('completed', 1.0)] * 4


@pytest.mark.parametrize(
  'agent, status',
  [
    (scripts.always('Act: finish'), 'completed'),
    (scripts.always('Think: 0.\nAct: answer(0)'), 'completed'),
    (scripts.always(bash('true')), 'task limit reached'),
    (scripts.always('ls /home'), 'agent invalid action'),
    (scripts.always(''), 'agent invalid action'),
    (scripts.crashing, 'unknown'),
    (scripts.always(bash('kill -9 $PPID; sleep 1')), 'unknown'),
  ],
)
def test_who_does_nothing_useful_scores_nothing(shell, agent, status):
  assert scores(scripts.played(shell, agent)) == [(status, 0.0)] * 4


def test_the_shell_keeps_its_folder_and_shows_errors_and_cuts(shell):
  said = iter(
    [
      bash('cd /usr; word=here'),
      bash('pwd; echo $word; nonsense'),
      bash('seq 1000'),
      bash('echo "unclosed'),
      bash('exit 3'),
      bash('pwd; cat'),
      'Act: finish',
    ]
  )

  def agent(conversations):
    return scripts.always(next(said))(conversations)

  (one,) = scripts.played(shell, agent, shell.tasks()[:1]).values()
  heard = [s.text for s in one.trajectory.segments if s.role == 'observation']
  assert heard[0] == 'The output of the OS is empty.'
  assert heard[1].startswith('The output of the OS:\n\n/usr\nhere\n')
  assert 'nonsense: command not found' in heard[1]
  assert heard[2].endswith('[truncated because the output is too long]')
  assert len(heard[2]) == len('The output of the OS:\n\n') + 780 + 43
  assert 'unexpected EOF' in heard[3]
  assert heard[4] == 'The output of the OS is empty.'
  assert heard[5] == 'The output of the OS:\n\n/root'


def test_a_command_that_never_ends_costs_seconds_and_ends_the_task(
  shell, monkeypatch
):
  monkeypatch.setattr(operating_system, 'SILENT', 0.2)
  monkeypatch.setattr(operating_system, 'LONGEST', 0.5)
  start = time.monotonic()
  for code in ('sleep 999', 'yes'):
    results = scripts.played(
      shell, scripts.always(bash(code)), shell.tasks()[:1]
    )
    assert scores(results) == [('task limit reached', 0.0)]
  assert time.monotonic() - start < 20


def test_a_fork_bomb_stays_in_its_machine(shell, monkeypatch):
  monkeypatch.setattr(operating_system, 'SILENT', 0.2)
  monkeypatch.setattr(operating_system, 'LONGEST', 0.5)
  agent = scripts.always(bash(':(){ :|:& };:'))
  results = scripts.played(shell, agent, shell.tasks()[:1])
  assert scores(results) == [('task limit reached', 0.0)]
  assert subprocess.run(['/bin/true']).returncode == 0


def test_what_an_agent_does_in_one_task_is_not_in_the_next(shell):
  first, second = shell.tasks()[0], shell.tasks()[2]
  said = iter([bash('touch /root/x; useradd -m ada'), 'Act: finish'] * 2)
  agent = lambda asked: scripts.always(next(said))(asked)  # noqa: E731
  scripts.played(shell, agent, [first])
  results = scripts.oracle_played(shell, [second])
  assert scores(results) == [('completed', 1.0)]
  assert not os.path.exists('/home/ada')  # noqa: PTH110


@pytest.mark.parametrize(
  'reply, expected',
  [
    ('Act: answer(1) no: Act: answer', ('', 'commit', '1')),
    ('Act: answer(a)\nAct: answer(b)', ('', 'commit', 'b')),
    ('Think: x\nAct: finish', ('x', 'commit', None)),
    ('Act: bash\n```bash\na\n```\n```bash\nb\n```', ('', 'bash', 'a\n\nb')),
    ('Act: bash ls', ('', 'bash', '')),
    ('act: bash', ('', '', None)),
    ('Act: dance', ('', '', None)),
  ],
)
def test_replies_are_read_as_the_protocol_does(reply, expected):
  assert operating_system.parse(reply) == expected


def test_the_docstring_holds():
  reply = 'Think: I look.\n\nAct: bash\n\n```bash\nls /\n```'
  assert operating_system.parse(reply) == ('I look.', 'bash', 'ls /')


def test_the_published_tasks():
  """AGENTBENCH_OS is a folder with dev.json and AgentBench's scripts/ in it."""
  folder = os.environ.get('AGENTBENCH_OS')
  if not folder:
    pytest.skip('AGENTBENCH_OS names no folder of tasks and scripts')
  files = sorted(str(path) for path in pathlib.Path(folder).glob('*.json'))
  environment = operating_system.Shell(files, f'{folder}/scripts')
  results = scripts.oracle_played(environment)
  failed = {name: one for name, one in results.items() if one.score < 1}
  print(len(results), 'played;', {n: o.status for n, o in failed.items()})
  assert len(failed) <= 0.06 * len(results), list(failed)
