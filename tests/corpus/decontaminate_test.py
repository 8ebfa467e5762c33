import copy
import json
import zipfile

import pytest

from hephaestus_jax import errors
from hephaestus_jax.corpus import decontaminate, document

RULE = decontaminate.Decontaminate(
  package='quiz', files=('quiz/data/Q_*.json', 'quiz/data/answers/Q_*.json')
)
QUESTION = (
  'Which of the seven buckets in the northern region holds the oldest log '
  'file that nobody has opened since spring?'
)
SHORT = 'How many rows does the table of orders have?'
TINY = 'List all buckets.'


def index():
  return decontaminate.Index(
    [decontaminate.Benchmark('quiz', (QUESTION, SHORT, TINY))], RULE
  )


def found(text: str) -> list[str]:
  return [hit.ngram for hit in index().hits(text)]


def test_a_planted_question_is_found_whatever_its_case_and_punctuation():
  start = 'which of the seven buckets in the northern region holds the oldest'
  assert found('Sure: ' + QUESTION.upper().replace(' ', '\n- ')) == [
    f'{start} log'
  ]


def test_thirteen_words_are_an_overlap_twelve_are_not():
  words = QUESTION.split()
  assert found('so ' + ' '.join(words[4:17]) + ' indeed')
  assert not found('so ' + ' '.join(words[4:16]) + ' indeed')


def test_a_near_miss_is_kept():
  words = QUESTION.split()
  words[6], words[13] = 'a', 'some'
  assert not found(' '.join(words))


def test_a_short_string_counts_only_whole_and_a_tiny_one_never():
  assert found(f'Answer: {SHORT} Now.') == [
    'how many rows does the table of orders have'
  ]
  assert not found('How many rows does the table of orders show?')
  assert not found('Please list all buckets. List all buckets.')


def test_what_is_looked_for_is_counted():
  assert index().counts == {
    'quiz': {'strings': 3, 'ngrams': 9, 'short_strings': 1}
  }


def test_numbers_alone_are_no_overlap():
  numbers = ' '.join(map(str, range(20)))
  numbered = decontaminate.Index(
    [decontaminate.Benchmark('b', (numbers,))], RULE
  )
  assert numbered.counts['b']['ngrams'] == 0
  assert not numbered.hits(numbers)


def test_every_benchmark_that_is_hit_is_told():
  both = decontaminate.Index(
    [
      decontaminate.Benchmark('b', (QUESTION,)),
      decontaminate.Benchmark('a', (SHORT,)),
    ],
    RULE,
  )
  assert [h.benchmark for h in both.hits(QUESTION + SHORT)] == ['a', 'b']


def test_an_index_works_after_travelling_to_a_worker():
  travelled = copy.deepcopy(index())  # which asks for its state, as Beam does
  assert travelled.hits(QUESTION) == index().hits(QUESTION)


def test_a_held_out_document_is_its_requests_and_calls():
  tested = document.Document(
    's/g/n',
    's',
    'instruction',
    'MIT',
    '',
    (
      document.Segment('system', 'tools'),
      document.Segment('user', 'ask'),
      document.Segment('action', 'call'),
      document.Segment('answer', 'reply'),
    ),
  )
  assert decontaminate.benchmark_strings(tested) == ('ask', 'call')


def test_strings_of_a_benchmark_entry():
  entry = {
    'id': 'q1',
    'question': [
      [{'role': 'user', 'content': 'Hi.'}],
      [{'role': 'user', 'content': 'And?'}, {'role': 'user', 'content': 'So?'}],
    ],
    'ground_truth': [{'f': {'x': [1, 'two']}}, ["g(y='three')"], 'four'],
    'function': [{'name': 'not a question'}],
  }
  found = list(decontaminate.field_strings(entry, RULE.fields))
  assert found == ['Hi.', 'And?', 'So?', 'f x 1 two', "g(y='three')", 'four']
  assert list(
    decontaminate.field_strings({'question': 'One?'}, ['question'])
  ) == ['One?']


def test_benchmarks_are_read_from_the_files_of_a_wheel(tmp_path):
  wheel = tmp_path / 'quiz-1-py3-none-any.whl'
  with zipfile.ZipFile(wheel, 'w') as file:
    file.writestr(
      'quiz/data/Q_one.json',
      json.dumps({'question': [[{'content': QUESTION}]]}) + '\n',
    )
    file.writestr(
      'quiz/data/answers/Q_one.json', json.dumps({'ground_truth': [SHORT]})
    )
    file.writestr('quiz/data/Q_list.txt', 'no benchmark')
  assert decontaminate.read_benchmarks(wheel, RULE) == [
    decontaminate.Benchmark('data/Q_one', (QUESTION,)),
    decontaminate.Benchmark('answers/Q_one', (SHORT,)),
  ]
  with zipfile.ZipFile(wheel, 'a') as file:
    file.writestr('quiz/data/Q_two.json', '{\n "spread": "over lines"\n}')
  with pytest.raises(errors.UserError, match='Q_two.json is not one JSON'):
    decontaminate.read_benchmarks(wheel, RULE)


def test_a_pattern_that_fits_nothing_is_the_users_mistake(tmp_path):
  wheel = tmp_path / 'quiz-1-py3-none-any.whl'
  with zipfile.ZipFile(wheel, 'w') as file:
    file.writestr('quiz/other.json', '')
  with pytest.raises(errors.UserError, match="has no file 'quiz/data/Q_"):
    decontaminate.read_benchmarks(wheel, RULE)
