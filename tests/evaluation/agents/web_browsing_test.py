"""WB: pages as Mind2Web shows them, choices five at a time, its step score."""

import json
import pathlib
import sys

import lxml.etree
import pytest

from hephaestus_jax.evaluation.agents import page_view, web_browsing

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE))

import scripts  # noqa: E402

LINKS = ' '.join(
  f'<li backend_node_id="{i}"> <a backend_node_id="{100 + i}" title="Isle {i}">'
  f' <text backend_node_id="{200 + i}">to isle {i}</text> </a> </li>'
  for i in range(10, 22)
)
PAGE = f"""<html backend_node_id="1"> <body backend_node_id="2">
<div backend_node_id="3"> <form backend_node_id="4">
<input backend_node_id="5" type="text" placeholder="Where to? &quot;Isle&quot;"
 class="none"/>
<select backend_node_id="6" name="day"> <option backend_node_id="7"
 value="mon"> <text backend_node_id="8">Monday</text> </option> </select>
</form> </div> <ul backend_node_id="9"> {LINKS} </ul> </body> </html>"""


def candidates(ids, first=0):
  return [
    {'backend_node_id': str(name), 'rank': first + i}
    for i, name in enumerate(ids)
  ]


def action(uid, op, value, right, wrong):
  return {
    'action_uid': uid,
    'operation': {'op': op, 'value': value},
    'cleaned_html': PAGE,
    'pos_candidates': right,
    'neg_candidates': wrong,
  }


TASK = {
  'annotation_id': 'ferry',
  'confirmed_task': 'Go to isle 13 on Monday',
  'action_reprs': ['[select] day -> SELECT: Monday', '[a] Isle 13 -> CLICK'],
  'actions': [
    action(
      'u0',
      'SELECT',
      'Monday',
      candidates([6], 3),
      candidates([*range(110, 113), *range(114, 122)]),
    ),
    action('u1', 'CLICK', '', candidates([113], 9), candidates([5, 6, 110])),
    action('u2', 'CLICK', '', candidates([113], 10), candidates([5, 6])),
    action('u3', 'CLICK', '', [{'backend_node_id': '113'}], []),
  ],
}


@pytest.fixture
def environment(tmp_path):
  path = tmp_path / 'test_domain_0.json'
  path.write_text(json.dumps([TASK]))
  return web_browsing.WebPages([str(path)])


def scores(results):
  return [(one.status, one.score) for one in results.values()]


def test_the_oracle_solves_what_can_be_solved(environment):
  assert scores(scripts.oracle_played(environment)) == [
    *(('completed', 1.0), ('completed', 1.0)),
    ('unknown', 0.0),  # the right element is not among the ten best
  ]


def test_elements_without_ranks_are_left_out_and_a_file_of_ranks_helps(
  environment, tmp_path
):
  assert [task.flaw for task in environment.tasks()][3] == 'no_ranks'
  path = tmp_path / 'ranks.json'
  path.write_text(json.dumps({'ferry_u3': {'113': 0}}))
  ranked = web_browsing.WebPages(environment.files, str(path))
  assert ranked.tasks()[3].flaw == ''


@pytest.mark.parametrize(
  'reply, status',
  [
    ('Answer: A.', 'agent invalid action'),
    ('I click it.', 'agent invalid action'),
    ('', 'agent invalid action'),
    ('Answer: F.\nAction: CLICK', 'agent invalid action'),  # of three, at last
    ('Answer: B.', 'completed'),
  ],
)
def test_who_does_nothing_useful_scores_nothing(environment, reply, status):
  tasks = environment.tasks()[:1]
  results = scripts.played(environment, scripts.always(reply), tasks)
  assert scores(results) == [(status, 0.0)]


def test_a_crashing_agent_scores_nothing(environment):
  results = scripts.played(environment, scripts.crashing)
  assert scores(results) == [('unknown', 0.0)] * 3


@pytest.mark.parametrize(
  'action, score',
  [
    ('SELECT\nValue: Monday', 1.0),
    ('SELECT\nValue: Tuesday', 0.0),
    ('CLICK', 0.0),
    ('TYPE\nValue: Monday', 0.0),
  ],
)
def test_a_step_needs_element_action_and_value(environment, action, score):
  def agent(asked):
    lines = asked[0][-1]['content'].splitlines()
    letter = next((line[0] for line in lines if '. <select' in line), 'A')
    return scripts.always(f'Answer: {letter}.\nAction: {action}')(asked)

  results = scripts.played(environment, agent, environment.tasks()[:1])
  assert scores(results) == [('completed', score)]


def test_each_question_stands_alone_and_shows_five_elements(environment):
  asked = []

  def agent(conversations):
    asked.append(conversations[0])
    return scripts.always('Answer: A.')(conversations)

  scripts.played(environment, agent, environment.tasks()[:1])
  assert [len(messages) for messages in asked] == [
    3,
    3,
  ]  # one that is left is no choice
  for messages in asked:
    listed = messages[-1]['content'].split('A. None of the above\n')[1]
    assert len(listed.strip().splitlines()) == 5


def test_a_page_is_cut_to_what_is_near(environment):
  page = lxml.etree.fromstring(PAGE)
  view, choices = web_browsing.viewed(page, ['5', '7'])
  assert view == (
    '<html> <form> <input id=0 text where to? "isle" /> '
    '<select day> <option id=1 mon> Monday </option> </select> '
    '</form> </html>'
  )
  assert choices == [
    ('5', '<input id=0 text where to? "isle" />'),
    ('7', '<option id=1 mon> Monday </option>'),
  ]


def test_neighbours_are_kept_three_to_each_side():
  page = lxml.etree.fromstring(PAGE)
  view = page_view.text(page_view.pruned(page, ['15']), {'15': 0})
  kept = [i for i in range(10, 22) if f'isle {i}' in view]
  assert kept == [15]  # the neighbours' own links are not near
  assert view.count('<li') == 1


@pytest.mark.parametrize(
  'reply, expected',
  [
    ('Answer: C.\nAction: TYPE\nValue: Oban Bay', ('C', 'TYPE Oban Bay')),
    ('Click it.', ('A', '')),
    ('Answer: G.', ('A', '')),
    ('Answer: B\nAction: HOVER', ('B', '')),
    ('answer: B', ('A', '')),
  ],
)
def test_replies_are_read_as_the_protocol_does(reply, expected):
  assert web_browsing.parse(reply) == expected


def test_a_prompt_file_ends_with_the_place_of_the_question(
  environment, tmp_path
):
  path = tmp_path / 'llm_prompt.json'
  path.write_text(
    json.dumps(
      [
        {'role': 'user', 'content': 'Example.'},
        {'role': 'agent', 'content': 'Answer: B.'},
        {'role': 'user', 'content': ''},
      ]
    )
  )
  prompted = web_browsing.WebPages(environment.files, prompt=str(path))
  with prompted.open(prompted.tasks()[1]) as opened:
    said = [message['content'] for message in opened.conversation]
  assert said[:2] == ['Example.', 'Answer: B.']
  assert 'Task: Go to isle 13 on Monday' in said[2]
  assert '[select] day -> SELECT: Monday' in said[2]
