import json
import os
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hephaestus_jax import errors
from hephaestus_jax.corpus import document, lines
from hephaestus_jax.corpus.adapters import entry
from hephaestus_jax.corpus.simulate import (
  agents,
  articles,
  planner,
  policies,
  questions,
)

ROOT = pathlib.Path(__file__).resolve().parents[3]
SAMPLES = pathlib.Path(
  os.environ.get('HEPHAESTUS_SAMPLES', ROOT.parent / 'shared/samples')
)
# The published format, with a world of our own.
RECORD = {
  '_id': '5a7a',
  'question': 'In which town was the builder of the Lantern Bridge born?',
  'answer': 'Oldhaven',
  'type': 'bridge',
  'level': 'easy',
  'supporting_facts': [['Lantern Bridge', 1], ['Mira Holt', 6]],
  'context': [
    ['Lantern Bridge', ['It spans the Ysel. ', 'Mira Holt built it.']],
    [
      'Mira Holt',
      [
        *('Mira Holt was an engineer.', 'She built bridges.', 'She wrote.'),
        *('She taught.', 'She sailed.', 'She retired.'),
        'Her birthplace is Oldhaven.',
      ],
    ],
    ['Mira Holm', ['Mira Holm is a singer.']],
  ],
}


def search(record=RECORD, shelf=None):
  return questions.Search(questions.parse(record), shelf)


def said(environment, *actions):
  return [environment.step(action).observation for action in actions]


def test_a_record_becomes_a_question():
  assert questions.parse(
    {
      'question': 'Who wrote A?',
      'answer': 'B',
      'supporting_facts': [['A', 0]],
      'context': [['A', ['B did.']]],
    }
  ) == questions.Question(
    text='Who wrote A?',
    answer='B',
    facts=(('A', 0),),
    context={'A': ('B did.',)},
  )


def test_a_search_shows_the_beginning_and_a_lookup_the_next_hit():
  environment = search()
  assert environment.reset() == f'Question: {RECORD["question"]}'
  assert said(
    environment,
    'Lookup[bridge]',
    'Search[mira  holt]',
    'Lookup[she]',
    'Lookup[She]',
    'Lookup[oldhaven]',
    'Lookup[oldhaven]',
  ) == [
    'There is no article to look it up in. Search for one first.',
    'Mira Holt was an engineer. She built bridges. She wrote. She taught. '
    'She sailed.',
    '(1 of 5) She built bridges.',
    '(2 of 5) She wrote.',
    '(1 of 1) Her birthplace is Oldhaven.',
    'No more sentences of "Mira Holt" hold "oldhaven".',
  ]


def test_a_wrong_title_and_a_wrong_action_are_told():
  environment = search()
  assert said(environment, 'Search[Mira Hold]', 'open fridge') == [
    'There is no article "Mira Hold". Titles like it: Mira Holt; Mira Holm; '
    'Lantern Bridge.',
    '"open fridge" is no action. Write Search[title], Lookup[words] or '
    'Finish[answer].',
  ]


@pytest.mark.parametrize(
  ('answer', 'reward'),
  [('Oldhaven', 1.0), (' the OLDHAVEN. ', 1.0), ('Newhaven', 0.0)],
)
def test_the_answer_is_compared_as_hotpotqa_does(answer, reward):
  outcome = search().step(f'Finish[{answer}]')
  assert (outcome.reward, outcome.done) == (reward, True)


def test_the_solution_shows_every_supporting_fact_and_then_answers():
  environment = search()
  assert environment.solution() == (
    'Search[Lantern Bridge]',
    'Search[Mira Holt]',
    'Lookup[birthplace]',
    'Finish[Oldhaven]',
  )
  environment.step('Search[Mira Holt]')
  assert environment.solution() == (
    'Search[Lantern Bridge]',
    'Search[Mira Holt]',
    'Lookup[birthplace]',
    'Finish[Oldhaven]',
  )
  environment.step('Lookup[birthplace]')
  assert environment.solution() == (
    'Search[Lantern Bridge]',
    'Finish[Oldhaven]',
  )


def test_the_oracle_answers_by_every_loop_and_its_mistakes_are_answered():
  trials = set()
  for seed in map(str, range(20)):
    policy = policies.oracle(search(), search(), noise=0.0, seed=seed)
    world, twin = search(), search()
    policy = policies.oracle(world, twin, noise=0.4, seed=seed)
    attempt = agents.reflecting(policy, world, agents.Limits(steps=7))
    trials.add((attempt.trials, attempt.success))
    policy = policies.oracle(world, twin, noise=0.4, seed=seed)
    planner.planning(policy, world, agents.Limits(), [])
    agents.exploring(policy, world, agents.Limits())
  assert {(1, True), (2, True)} <= trials


@pytest.mark.parametrize(
  ('changes', 'reason'),
  [
    ({'question': None}, 'question_is_null'),
    ({'question': ''}, 'empty_question'),
    ({'answer': 7}, 'answer_is_int'),
    ({'context': 7}, 'context_is_int'),
    ({'context': [['A']]}, 'context_malformed'),
    ({'context': [['A', [7]]]}, 'context_malformed'),
    ({'context': ['AB']}, 'context_malformed'),
    ({'supporting_facts': [['A', -1]]}, 'supporting_facts_malformed'),
    ({'supporting_facts': {'title': ['A']}}, 'supporting_facts_is_dict'),
  ],
)
def test_a_record_that_is_no_question_has_a_reason(changes, reason):
  with pytest.raises(entry.MalformedError) as error:
    questions.parse(RECORD | changes)
  assert error.value.reason == reason


JSON = st.recursive(
  st.none() | st.booleans() | st.integers() | st.text(),
  lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON | st.dictionaries(st.sampled_from(sorted(RECORD)), JSON))
def test_every_record_is_a_question_or_malformed(record):
  try:
    found = questions.parse(record)
  except entry.MalformedError:
    return
  environment = questions.Search(found, None)
  environment.solution()
  environment.admissible()


@given(st.text() | st.sampled_from(['Search', 'Lookup']).flatmap(
  lambda name: st.text().map(lambda words: f'{name}[{words}]')))  # fmt: skip
def test_no_action_is_an_exception(action):
  environment = search()
  environment.step('Search[Mira Holt]')
  assert environment.step(action).observation


def test_a_file_gives_a_task_or_a_flaw_per_record(tmp_path):
  path = tmp_path / 'hotpot dev.json'
  path.write_text(json.dumps([RECORD, {'question': 'Who?'}, 7, RECORD]))
  world = questions.Questions(str(path), count=3)
  found = [(task.name, task.flaw) for task in world.tasks()]
  assert found == [
    ('hotpot_dev-0', ''),
    ('hotpot_dev-1', 'no_answer'),
    ('hotpot_dev-2', 'record_is_int'),
  ]
  assert world.open('hotpot_dev-0').task == RECORD['question']
  with pytest.raises(errors.UserError, match='no file'):
    list(questions.Questions('nowhere.json').tasks())


def test_a_folder_of_articles_is_searched_too(tmp_path):
  def page(name, text):
    return document.Document(
      f'wiki/{name}/{name}', 'wiki', 'text', 'CC0-1.0', '',
      (document.Segment('text', text),),
    )  # fmt: skip

  lines.write(
    tmp_path,
    [
      page('a', '# Oldhaven\n\nOldhaven is a town. It lies on the Ysel.'),
      page('b', 'Ysel\nThe Ysel is a river.'),
      page('c', 'Mira Holt\nShe is in the question, too.'),
    ],
  )
  with (tmp_path / lines.FILE).open('a') as file:
    file.write('no json\n')
  shelf = articles.Articles(tmp_path)
  assert shelf.sentences('oldhaven') == (
    'Oldhaven is a town.',
    'It lies on the Ysel.',
  )
  environment = search(shelf=shelf)
  assert said(environment, 'Search[Ysel]', 'Search[Old Ysel]') == [
    'The Ysel is a river.',
    'There is no article "Old Ysel". Titles like it: Ysel; Lantern '
    'Bridge; Mira Holt; Mira Holm.',
  ]
  # A question's own article goes before the folder's.
  assert said(environment, 'Search[Mira Holt]')[0].startswith('Mira Holt was')
  # A question without articles of its own is offered those of the folder.
  bare = {'question': 'Where is Oldhaven?', 'answer': 'on the Ysel'}
  assert search(bare, shelf).admissible() == ('Search[Oldhaven]',)
  assert search(bare, shelf).solution() == ()


def test_titles_and_sentences_are_found():
  assert articles.likest(
    'Ada Lovelce', ['Charles Babbage', 'Ada Lovelace']
  ) == ('Ada Lovelace', 'Charles Babbage')
  assert articles.key(' ada  Lovelace') == 'ada lovelace'
  assert articles.split(
    'Ada wrote. She was\nborn in 1815.\n\n## Life\nLong.'
  ) == ('Ada wrote.', 'She was born in 1815.', '## Life Long.')
  assert questions.normalised('The  Holston-River.') == 'holstonriver'


@pytest.mark.skipif(not SAMPLES.is_dir(), reason='no samples here')
@pytest.mark.parametrize(
  ('file', 'flaw'),
  [
    ('sim_react/hotpot_dev_v1_simplified.json', ''),
    ('hotpotqa/hotpot_test_v1_simplified.json', 'no_answer'),
  ],
)
def test_published_questions_are_read(file, flaw):
  tasks = list(questions.Questions(str(SAMPLES / file)).tasks())
  assert len(tasks) >= 10
  assert {task.flaw for task in tasks} == {flaw}
