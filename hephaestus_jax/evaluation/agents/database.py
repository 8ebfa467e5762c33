"""AgentBench's DB: questions to a MariaDB, and changes to be made in it.

Tasks are AgentBench's own files (data/dbbench/*.jsonl), a table in each. A task
gets a server of its own (Debian's MariaDB, in the sandbox, reached by a socket)
and the agent a database user with no right but those on the task's database:
SQL can read and write files, and so it is a program that a model wrote.

An answer is compared with the labels; a change is judged by the hash of the
whole table, computed by the server in the words of AgentBench. Scores are the
mean of the three groups SELECT, INSERT and UPDATE.
"""

import ast
import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hephaestus_jax import errors, sandbox
from hephaestus_jax.evaluation.agents import episode

CHANGES = ('INSERT', 'UPDATE', 'DELETE')
SHOWN = 800  # characters of a result; AgentBench cuts there
CUT = '[TRUNCATED]'
LONGEST = 20.0  # seconds for one statement
# MySQL's default, with which the published hashes were made; MariaDB's is more.
HASHED_BYTES = 1024
PROGRAMS = ('bwrap', 'mariadbd', 'mariadb-install-db', 'my_print_defaults')
SERVER = """
mkdir /tmp/files
cp -r "$1/." /tmp/data
exec mariadbd --no-defaults --datadir=/tmp/data --socket="$2" \\
  --pid-file=/tmp/pid --secure-file-priv=/tmp/files \\
  --skip-networking --skip-log-bin \\
  --character-set-server=utf8mb4 --performance-schema=OFF \\
  --innodb-buffer-pool-size=16M --innodb-flush-log-at-trx-commit=0 \\
  --max-connections=8 --local-infile=OFF
"""

INSTRUCTIONS = """\
I ask you a question about a MySQL database, or for a change in it, and you \
use SQL to answer or to do it. Explain your thoughts first; then end your \
reply with an operation or with the answer.

An operation looks like this, with one statement in one line and no comments:

Action: Operation
```sql
SELECT column FROM table WHERE condition;
```

Only the first statement is executed. I send you the database's raw response.

When you are sure of the answer, write it as a list:

Action: Answer
Final Answer: ["first", "second"]

It must be exactly the right one. After a change the list may hold anything. A \
reply in any other form counts as a failure."""
EXAMPLE = (INSTRUCTIONS, 'Ok.')


@dataclasses.dataclass(frozen=True)
class Database:
  """The environment (extra `agents`: `pymysql`).

  Attributes:
    file: AgentBench's dev.jsonl or standard.jsonl.
    prompt: see `episode.opening`.
    operations: statements that an agent has, AgentBench's 15.
  """

  file: str
  prompt: str | None = None
  operations: int = 15
  name: str = 'db'
  licence: str = 'Apache-2.0'

  @property
  def rounds(self) -> int:
    """Replies for a task: the operations and the answer."""
    return self.operations + 1

  def identity(self) -> dict[str, Any]:
    """What the scores depend on."""
    return {
      'data': episode.origin(self.file),
      'prompt': episode.origin(self.prompt),
      'operations': self.operations,
    }

  def tasks(self) -> list[episode.Task]:
    """The tasks, 'dev-00003' for the fourth line of dev.jsonl.

    Flaws: 'no_answer'; 'no_table' where there isn't exactly one;
    'column_without_name', which no server accepts.
    """
    stem = pathlib.Path(self.file).stem
    found = []
    for i, record in enumerate(episode.read_json(self.file)):
      kind = record['type'][0]
      answer = 'answer_md5' if kind in CHANGES else 'label'
      flaw = '' if record.get(answer) else 'no_answer'
      table = record.get('table')
      if not isinstance(table, dict):
        flaw = 'no_table'
      elif not all(one['name'] for one in table['table_info']['columns']):
        flaw = 'column_without_name'
      group = kind if kind in CHANGES else 'SELECT'
      found.append(episode.Task(f'{stem}-{i:05}', record, group, flaw))
    return found

  @contextlib.contextmanager
  def open(self, task: episode.Task) -> Iterator[episode.Episode]:
    """A server with the task's table in it.

    Raises:
      errors.UserError: MariaDB or PyMySQL isn't installed, or the sandbox isn't
        possible here.
    """
    with serving() as socket:
      server = _Server(socket, task.record['table'])
      server.fill()
      yield _episode(task, server, self.prompt, self.operations)


@contextlib.contextmanager
def serving() -> Iterator[str]:
  """A MariaDB in the sandbox; the path of its socket.

  Raises:
    errors.UserError: see `_installed` and `sandbox.service`.
  """
  seed = _installed().name
  with tempfile.TemporaryDirectory() as folder:
    pathlib.Path(folder).chmod(0o777)
    socket = str(pathlib.Path(folder, 'socket'))
    with sandbox.service(
      ['sh', '-c', SERVER, 'sh', seed, socket],
      address=socket,
      failure='MariaDB does not start.',
      readable=[seed],
      memory_bytes=2 << 30,
    ):
      yield socket


@functools.cache
def _installed() -> tempfile.TemporaryDirectory[str]:
  """An empty database, which each server begins with.

  Raises:
    errors.UserError: MariaDB isn't installed or can't make one.
  """
  missing = [program for program in PROGRAMS if not shutil.which(program)]
  if missing:
    raise errors.UserError(
      f'The DB environment needs {", ".join(missing)}. Run `apt-get install '
      'bubblewrap mariadb-server-core mariadb-client-core`, or leave the '
      'environment out.'
    )
  folder = tempfile.TemporaryDirectory(prefix='mariadb-')
  pathlib.Path(folder.name).chmod(0o755)
  command = ['mariadb-install-db', '--no-defaults', '--skip-test-db', '--force']
  command += ['--auth-root-authentication-method=normal']
  command += [f'--datadir={folder.name}']
  if os.geteuid() == 0:  # a server run by root refuses to start
    command += ['--user=nobody']
  made = subprocess.run(command, capture_output=True)
  if made.returncode:
    raise errors.UserError(
      'mariadb-install-db failed: '
      f'{(made.stderr + made.stdout)[-300:].decode(errors="replace")}'
    )
  # The server is nobody in particular, and makes a copy of its own.
  for path in pathlib.Path(folder.name).rglob('*'):
    path.chmod(0o755 if path.is_dir() else 0o644)
  return folder


def _pymysql() -> Any:
  """The client, which not every installation has.

  Raises:
    errors.UserError: this one hasn't.
  """
  try:
    import pymysql
  except ImportError as error:
    raise errors.UserError(
      'PyMySQL is not installed. Run `pip install -e .[agents]`, or leave the '
      'DB environment out.'
    ) from error
  return pymysql


@dataclasses.dataclass(frozen=True)
class _Server:
  """A server and the one table that it is about."""

  socket: str
  table: Mapping[str, Any]

  @property
  def name(self) -> str:
    """The table's, quoted; the database is called the same."""
    return quoted(self.table['table_name'])

  @property
  def columns(self) -> list[str]:
    """Their quoted names."""
    return [quoted(one['name']) for one in self.table['table_info']['columns']]

  def fill(self) -> None:
    """Makes the database, the table and the agent's user."""
    rows = self.table['table_info']['rows']
    texts = ', '.join(f'{column} TEXT' for column in self.columns)
    marks = f'({", ".join(["%s"] * len(self.columns))})'
    with self._connected('root') as cursor:
      cursor.execute(f'CREATE DATABASE {self.name}')
      cursor.execute(f'USE {self.name}')
      cursor.execute(f'CREATE TABLE {self.name} ({texts})')
      if rows:
        cursor.execute(
          f'INSERT INTO {self.name} VALUES {", ".join([marks] * len(rows))}',
          [value for row in rows for value in row],
        )
      cursor.execute("CREATE USER 'agent'@'localhost'")
      # In a grant the name is a pattern.
      pattern = re.sub(r'([_%\\])', r'\\\1', self.name)
      cursor.execute(f"GRANT ALL ON {pattern}.* TO 'agent'@'localhost'")

  def execute(self, statement: str) -> str:
    """What the agent is told of a statement's result: rows or an error."""
    pymysql = _pymysql()
    try:
      with self._connected('agent') as cursor:
        cursor.execute(f'USE {self.name}')
        cursor.execute(statement)
        told = str(list(cursor.fetchall()))
    except (pymysql.Error, UnicodeError) as error:
      told = str(error)
    return told if len(told) <= SHOWN else told[:SHOWN] + CUT

  def digest(self) -> str:
    """The hash of the table's rows in any order, '[(None,)]' of none.

    '[(hash,)]', as AgentBench's files have it; '' where the table has gone.
    """
    joined = ', '.join(self.columns)
    pymysql = _pymysql()
    try:
      with self._connected('root') as cursor:
        cursor.execute(f'SET SESSION group_concat_max_len = {HASHED_BYTES}')
        cursor.execute(f'USE {self.name}')
        cursor.execute(
          'SELECT MD5(GROUP_CONCAT(one ORDER BY one)) FROM (SELECT SUBSTRING('
          f"MD5(CONCAT_WS(',', {joined})), 1, 5) AS one FROM {self.name}) AS t"
        )
        return str(list(cursor.fetchall()))
    except pymysql.Error:
      return ''

  @contextlib.contextmanager
  def _connected(self, user: str) -> Iterator[Any]:
    """A cursor; what was done is kept, and what takes too long is ended."""
    connection = _pymysql().connect(
      unix_socket=self.socket,
      user=user,
      charset='utf8mb4',
      autocommit=True,
      read_timeout=LONGEST,
    )
    number = connection.thread_id()
    try:
      with connection.cursor() as cursor:
        yield cursor
    finally:
      if connection.open:
        connection.close()
      elif user != 'root':
        with self._connected('root') as cursor:
          cursor.execute(f'KILL {number}')


def quoted(name: str) -> str:
  """An SQL name, whatever is in it.

  >>> quoted('S / G`s')
  '`S / G``s`'
  """
  return '`' + name.replace('`', '``') + '`'


def _episode(
  task: episode.Task, server: _Server, prompt: str | None, operations: int
) -> episode.Episode:
  record = task.record
  answer = ''
  done = 0

  def act(reply: str, conversation: episode.Conversation) -> episode.Turn:
    nonlocal answer, done
    thought, statement, given = parse(reply)
    if statement is not None:
      if not statement:
        return episode.Turn(thought=reply, status=episode.INVALID_FORMAT)
      if done == operations:
        return episode.Turn(thought, statement, status=episode.TASK_LIMIT)
      done += 1
      told = server.execute(statement)
      return episode.Turn(thought, statement, observation=told)
    if given is None:
      return episode.Turn(thought=reply, status=episode.INVALID_FORMAT)
    answer = given
    return episode.Turn(thought=thought, answer=given, status=episode.COMPLETED)

  def score(status: str) -> float:
    if task.group in CHANGES:  # the table counts, however the task has ended
      return float(server.digest() == record['answer_md5'])
    return float(status == episode.COMPLETED and same(answer, record['label']))

  def solution() -> str:
    if task.group in CHANGES and not done:
      return f'Action: Operation\n```sql\n{record["label"][0]}\n```'
    return f'Action: Answer\nFinal Answer: {json.dumps(record["label"])}'

  question = '\n'.join(
    str(record[key])
    for key in ('description', 'add_description')
    if record.get(key)
  )
  return episode.Episode(
    (*episode.opening(prompt, EXAMPLE), episode.user(question)),
    question,
    act,
    score,
    solution,
  )


_ACTION = re.compile(r'Action: (.*?)\n')
_SQL = re.compile(r'```sql\n(.*?)\n```', re.DOTALL)
_ANSWER = re.compile(r'\nFinal Answer:(.*)')


def parse(reply: str) -> tuple[str, str | None, str | None]:
  r"""(thought, statement, answer) of a reply.

  The statement is '' where an operation is announced and none follows; with
  neither statement nor answer both are None.

  >>> parse('I look.\nAction: Operation\n```sql\nSELECT 1\n```')
  ('I look.', 'SELECT 1', None)
  >>> parse('Action: Answer\nFinal Answer: ["1"]')
  ('', None, '["1"]')
  """
  action = _ACTION.search(reply)
  thought = reply[: action.start()].strip() if action else ''
  if action and action[1] == 'Operation':
    found = _SQL.search(reply)
    statement = found[1].strip().replace('\n', ' ') if found else ''
    return thought, statement, None
  answered = _ANSWER.search(reply)
  return thought, None, answered[1].strip() if answered else None


def same(answer: str, label: Sequence[str]) -> bool:
  """Whether an answer is the labels, by AgentBench's rule.

  One value is compared as a number if both are numbers; several as a set.

  >>> same('[27]', ['27.0']), same('["b", "a"]', ['a', 'b']), same('a', ['a'])
  (True, True, True)
  """
  try:
    given = list(ast.literal_eval(answer))
  except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
    given = [answer]
  if len(given) == 1 and len(label) == 1:
    try:
      return float(given[0]) == float(label[0])
    except (ValueError, TypeError, OverflowError):
      return bool(given[0] == label[0])
  try:
    return set(given) == set(label)
  except TypeError:  # lists in the list
    return False
