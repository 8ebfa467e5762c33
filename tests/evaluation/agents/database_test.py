"""DB: a real MariaDB, AgentBench's format, hash and comparison."""

import json
import os
import pathlib
import shutil
import sys
import time

import pytest

from hephaestus_jax import errors, sandbox
from hephaestus_jax.evaluation.agents import database, episode

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE))

import scripts  # noqa: E402

pytest.importorskip('pymysql')

TABLE = {
  'table_name': 'Lighthouses_of`the North',
  'table_info': {
    'columns': [{'name': 'Name', 'type': 'TEXT'}, {'name': 'H / m'}],
    'rows': [['Ærø', '21'], ['Brandon', '33'], ['Corran', '33']],
  },
}
NAME = '`Lighthouses_of``the North`'
# Computed by hand below, from the rows after the change.
AFTER = [['Ærø', '21'], ['Brandon', '33'], ['Corran', '33'], ["D'Or", '5']]


def digest(rows):
  """The published rule in Python."""
  import hashlib

  def md5(text):
    return hashlib.md5(text.encode()).hexdigest()

  joined = ','.join(sorted(md5(','.join(row))[:5] for row in rows))
  return f"[('{md5(joined[:1024])}',)]"


def record(kind, label, **more):
  return {
    'description': 'What of the lighthouses?',
    'add_description': 'The table is Lighthouses.',
    'type': [kind],
    'label': label,
    'table': TABLE,
    **more,
  }


RECORDS = [
  record('counting', ['2']),
  record('other', ['Brandon', 'Corran']),
  record(
    'INSERT',
    [f"INSERT INTO {NAME} VALUES ('D''Or', '5')"],
    answer_md5=digest(AFTER),
  ),
  record(
    'UPDATE',
    [f"UPDATE {NAME} SET `H / m` = '22' WHERE Name = 'Ærø'"],
    answer_md5=digest([['Ærø', '22'], *AFTER[1:3]]),
  ),
  record('INSERT', ['x']),
  record(
    'other',
    ['x'],
    table={
      'table_name': 't',
      'table_info': {'columns': [{'name': ''}], 'rows': [['a']]},
    },
  ),
]


def operation(sql):
  return f'I try.\nAction: Operation\n```sql\n{sql}\n```'


@pytest.fixture(scope='module')
def environment(tmp_path_factory):
  missing = [one for one in database.PROGRAMS if not shutil.which(one)]
  if missing or sandbox.available() != 'bubblewrap':
    pytest.skip(f'{missing or "namespaces"} are not here')
  path = tmp_path_factory.mktemp('db') / 'tasks.jsonl'
  path.write_text('\n'.join(json.dumps(record) for record in RECORDS))
  return database.Database(str(path), operations=3)


def scores(results):
  return [(one.status, one.score) for one in results.values()]


def heard(environment, *statements):
  """What an agent is told after each of three statements."""
  said = iter([*map(operation, statements), 'Action: Answer\nFinal Answer: []'])

  def agent(asked):
    return scripts.always(next(said))(asked)

  (one,) = scripts.played(environment, agent, environment.tasks()[:1]).values()
  return [s.text for s in one.trajectory.segments if s.role == 'observation']


def test_tasks_have_the_groups_that_scores_are_averaged_over(environment):
  assert [(task.group, task.flaw) for task in environment.tasks()] == [
    *(('SELECT', ''), ('SELECT', ''), ('INSERT', ''), ('UPDATE', '')),
    *(('INSERT', 'no_answer'), ('SELECT', 'column_without_name')),
  ]


def test_the_oracle_solves_every_task(environment):
  results = scripts.oracle_played(environment)
  assert scores(results) == [('completed', 1.0)] * 4


@pytest.mark.parametrize(
  'agent, status',
  [
    (scripts.always('Action: Answer\nFinal Answer: []'), 'completed'),
    (scripts.always(operation('SELECT 1')), 'task limit reached'),
    (scripts.always('SELECT 1'), 'agent validation failed'),
    (scripts.always('Action: Operation\nSELECT 1'), 'agent validation failed'),
    (scripts.crashing, 'unknown'),
  ],
)
def test_who_does_nothing_useful_scores_nothing(environment, agent, status):
  assert scores(scripts.played(environment, agent)) == [(status, 0.0)] * 4


def test_rows_and_errors_are_told_in_the_servers_words(environment):
  rows, error, long = heard(
    environment,
    f"SELECT Name FROM {NAME} WHERE `H / m` = '33'",
    'SELECT nothing',
    "SELECT REPEAT('x', 1000)",
  )
  assert rows == "[('Brandon',), ('Corran',)]"
  assert 'Unknown column' in error
  assert long.endswith('[TRUNCATED]') and len(long) == 811


@pytest.mark.parametrize(
  'statement, told',
  [
    ("SELECT LOAD_FILE('/etc/passwd')", '[(None,)]'),
    ("SELECT 1 INTO OUTFILE '/tmp/x'", 'Access denied'),
    ("LOAD DATA INFILE '/etc/passwd' INTO TABLE t", 'Access denied'),
    ('SELECT user FROM mysql.user', 'denied'),
    ('SHUTDOWN', 'denied'),
    ('SET GLOBAL max_connections = 1', 'denied'),
    ('CREATE DATABASE other', 'denied'),
    ("CREATE FUNCTION f RETURNS INT SONAME 'x.so'", 'denied'),
  ],
)
def test_sql_has_no_rights_beyond_its_database(environment, statement, told):
  assert told in heard(environment, statement)[0]


def test_a_statement_that_takes_too_long_is_ended(environment, monkeypatch):
  monkeypatch.setattr(database, 'LONGEST', 1.0)
  start = time.monotonic()
  slow, listed = heard(environment, 'SELECT SLEEP(500)', 'SHOW PROCESSLIST')
  assert 'timed out' in slow
  assert 'SLEEP' not in listed
  assert time.monotonic() - start < 10


def test_dropping_the_table_is_a_wrong_change(environment):
  agent = scripts.always(operation(f'DROP TABLE {NAME}'))
  results = scripts.played(environment, agent, environment.tasks()[2:3])
  assert scores(results) == [('task limit reached', 0.0)]


def test_a_change_counts_however_the_task_has_ended(environment):
  said = iter([operation(RECORDS[3]['label'][0]), 'I am done.'])

  def agent(asked):
    return scripts.always(next(said))(asked)

  results = scripts.played(environment, agent, environment.tasks()[3:4])
  assert scores(results) == [('agent validation failed', 1.0)]


@pytest.mark.parametrize(
  'answer, label, expected',
  [
    ('["27"]', ['27.0'], True),
    ('[27]', ['27'], True),
    ('27', ['27'], True),
    ('["a"]', ['a'], True),
    ('["A"]', ['a'], False),
    ('["b", "a"]', ['a', 'b'], True),
    ('["a"]', ['a', 'b'], False),
    ('[]', ['a'], False),
    ('[["a"], ["b"]]', ['a', 'b'], False),
    ('__import__("os").getcwd()', ['x'], False),
    ('[' * 9999, ['a'], False),
  ],
)
def test_answers_are_compared_as_published(answer, label, expected):
  assert database.same(answer, label) is expected


def test_the_docstrings_hold():
  reply = 'I look.\nAction: Operation\n```sql\nSELECT 1\n```'
  assert database.parse(reply) == ('I look.', 'SELECT 1', None)
  reply = 'Action: Answer\nFinal Answer: ["1"]'
  assert database.parse(reply) == ('', None, '["1"]')
  assert database.quoted('S / G`s') == '`S / G``s`'


def test_what_is_not_installed_is_named(monkeypatch):
  database._installed.cache_clear()
  monkeypatch.setattr(database.shutil, 'which', lambda name: None)
  with pytest.raises(errors.UserError, match='mariadb-server-core'):
    database._installed()


def test_the_published_tasks():
  """AGENTBENCH_DB is a .jsonl file of AgentBench's data/dbbench."""
  file = os.environ.get('AGENTBENCH_DB')
  if not file:
    pytest.skip('AGENTBENCH_DB names no file of tasks')
  environment = database.Database(file)
  results = scripts.oracle_played(environment)
  failed = [name for name, one in results.items() if one.score < 1]
  print(len(results), 'played;', failed)
  assert all(one.status == episode.COMPLETED for one in results.values())
  assert len(failed) <= 0.02 * len(results), failed
