"""KG: the seven functions, our graph, and the same over an endpoint."""

import http.server
import itertools
import json
import pathlib
import sys
import threading
import urllib.parse

import pytest

from hephaestus_jax import errors
from hephaestus_jax.evaluation.agents import (
  episode,
  knowledge_graph,
  our_graph,
)

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE))

import scripts  # noqa: E402

pytest.importorskip('pyoxigraph')

OURS = knowledge_graph.KnowledgeGraph()


def scores(results):
  return [(one.status, one.score) for one in results.values()]


def heard(*actions, number=2):
  """What an agent is told after each action on a task of ours."""
  said = itertools.chain(actions, itertools.repeat('Final Answer: #0'))

  def agent(asked):
    return scripts.always(next(said))(asked)

  tasks = OURS.tasks()[number : number + 1]
  (one,) = scripts.played(OURS, agent, tasks).values()
  return [s.text for s in one.trajectory.segments if s.role == 'observation']


def test_the_oracle_solves_every_task():
  assert scores(scripts.oracle_played(OURS)) == [('completed', 1.0)] * 9


@pytest.mark.parametrize(
  'agent, status',
  [
    (scripts.always('Action: get_relations(Ada Moss)'), 'task limit reached'),
    (scripts.always('Final Answer: #0'), 'task limit reached'),
    (scripts.always('I do not know.'), 'task limit reached'),
    (scripts.always(''), 'task limit reached'),
    (scripts.crashing, 'unknown'),
    (scripts.forgetful, 'agent context limit'),
  ],
)
def test_who_does_nothing_useful_scores_nothing(agent, status):
  results = scripts.played(OURS, agent)
  assert scores(results) == [(status, 0.0)] * 9


def test_what_is_told():
  told = heard(
    'Thought: Let me see.\nAction: get_relations(Ada Moss)',
    'Action: get_neighbors(Ada Moss, people.keeper.lighthouses)\n'
    'Observation: what I imagine',
    'Action 3: get_attributes(variable #0)',
    'Action: argmin(#0, architecture.lighthouse.height)',
    'Action: count(#1)',
  )
  assert told == [
    'Observation: [people.keeper.lighthouses, people.keeper.place_of_birth]',
    'Observation: variable #0, which are instances of architecture.lighthouse',
    'Observation: [architecture.lighthouse.first_light, '
    'architecture.lighthouse.height]',
    'Observation: variable #1, which are instances of architecture.lighthouse',
    'Observation: variable #2, which is a number',
  ]


@pytest.mark.parametrize(
  'action',
  [
    'get_neighbors(Ada Moss, people.keeper.lighthouses)',  # not yet shown
    'get_relations(Nobody)',
    'get_relations(#7)',
    'get_relations(m.ada } DELETE WHERE { ?s ?p ?o)',
    'argmax(Ada Moss, people.keeper.year_of_birth)',
    'intersection(#0)',
    'count(Ada Moss)',
    'drop(#0)',
    '__import__(os)',
  ],
)
def test_calls_that_make_no_sense_are_told_so(action):
  assert "can't be done" in heard(f'Action: {action}')[0]


def test_sets_of_different_types_have_no_intersection():
  told = heard(
    'Action: get_relations(Ada Moss)',
    'Action: get_neighbors(Ada Moss, people.keeper.lighthouses)',
    'Action: get_neighbors(Ada Moss, people.keeper.place_of_birth)',
    'Action: intersection(#0, #1)',
  )
  assert "can't be done" in told[-1]


def test_a_part_of_the_answer_has_a_part_of_the_score():
  said = iter(OURS.tasks()[2].record['actions'][:2] + ['x'])
  agent = lambda asked: scripts.always(f'Action: {next(said)}')(asked)  # noqa: E731

  def answering(conversations):
    return (
      scripts.always('Final Answer: #0')(conversations)
      if len(conversations[0]) > len(knowledge_graph.EXAMPLE) + 4
      else agent(conversations)
    )

  results = scripts.played(OURS, answering, OURS.tasks()[2:3])
  assert scores(results) == [('completed', pytest.approx(2 / 3))]


def test_the_graph_has_each_relation_and_attribute():
  used = {relation for _, relation, _ in our_graph.triples()}
  assert used == {*our_graph.RELATIONS, *our_graph.ATTRIBUTES}
  assert ('m.skelf', 'geography.island.area', 33) in [*our_graph.triples()]


@pytest.fixture
def endpoint():
  """Our graph behind the SPARQL protocol, as Freebase would be."""

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
      length = int(self.headers['Content-Length'])
      form = urllib.parse.parse_qs(self.rfile.read(length).decode())
      found = knowledge_graph._our_query()(form['query'][0])
      rows = [
        {
          'value': {
            'value': v if v.isdigit() else knowledge_graph.NAMESPACE + v
          }
        }
        for v in found
      ]
      data = json.dumps({'results': {'bindings': rows}}).encode()
      self.send_response(200)
      self.send_header('Content-Length', str(len(data)))
      self.end_headers()
      self.wfile.write(data)

    def log_message(self, *arguments):
      pass

  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f'http://127.0.0.1:{server.server_port}/sparql'
    server.shutdown()
    thread.join()


def test_published_files_and_an_endpoint_give_the_same(endpoint, tmp_path):
  (tmp_path / 'std.json').write_text(json.dumps(our_graph.TASKS))
  (tmp_path / 'vocab.json').write_text(
    json.dumps(
      {
        'relations': [*our_graph.RELATIONS],
        'attributes': [*our_graph.ATTRIBUTES],
      }
    )
  )
  (tmp_path / 'fb_roles').write_text(
    '\n'.join(f'x {name} {kind}' for name, kind in our_graph.RELATIONS.items())
  )
  freebase = knowledge_graph.KnowledgeGraph(
    str(tmp_path / 'std.json'), endpoint, str(tmp_path)
  )
  assert freebase.identity()['data'].startswith('std.json ')
  assert OURS.identity()['data'] == episode.OURS
  assert scores(scripts.oracle_played(freebase)) == [('completed', 1.0)] * 9


def test_an_endpoint_that_does_not_answer_is_the_users_to_mend():
  with pytest.raises(errors.UserError, match='SPARQL endpoint'):
    knowledge_graph.ask_endpoint('http://127.0.0.1:9/sparql', 'x')


def test_half_of_freebase_is_refused():
  with pytest.raises(errors.UserError, match='belong together'):
    knowledge_graph.KnowledgeGraph(file='std.json')


def test_the_docstrings_hold():
  reply = 'Thought: Up.\nAction: get_relations(#0)'
  assert knowledge_graph.parse(reply) == ('Up.', 'get_relations(#0)', None)
  assert knowledge_graph.parse('Final Answer: #3') == ('', None, 3)
  assert knowledge_graph.split_call('get_neighbors(#0, a.b.c)') == (
    'get_neighbors',
    ['#0', 'a.b.c'],
  )
  assert knowledge_graph.f1({'a', 'b'}, {'a'}) == 2 / 3
