import copy
import dataclasses
import random
import textwrap

from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.filters import decontaminate

RULE = decontaminate.Decontaminate()
QUESTION = (
  'Which of the seven buckets in the northern region holds the oldest log '
  'file that nobody has opened since spring?'
)
SHORT = 'How many rows does the table of orders have?'
TINY = 'List all buckets.'


def a_benchmark(name: str, *strings: str) -> decontaminate.Benchmark:
  """One with a record per string."""
  return decontaminate.Benchmark(name, tuple((s,) for s in strings))


def index():
  return decontaminate.Index([a_benchmark('quiz', QUESTION, SHORT, TINY)], RULE)


def found(text: str) -> list[str]:
  return [hit.ngram for hit in index().hits(text)]


def test_a_planted_question_is_found_whatever_its_case_and_punctuation():
  start = 'which of the seven buckets in the northern region holds the oldest'
  assert found('Sure: ' + QUESTION.upper().replace(' ', '\n- ')) == [
    f'{start} log'
  ]


def test_letters_that_capitals_change_are_the_same():
  text = (
    'An LC circuit of 100 \N{MICRO SIGN}F in the stra\xdfe hums at what tone'
  )
  looked_for = decontaminate.Index([a_benchmark('b', text)], RULE)
  assert text.upper().lower() != text.lower()
  assert looked_for.hits(text.upper())


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
    'quiz': {'strings': 3, 'ngrams': 9, 'short_strings': 1, 'form_ngrams': 0}
  }


def test_numbers_alone_are_no_overlap():
  numbers = ' '.join(map(str, range(20)))
  numbered = decontaminate.Index([a_benchmark('b', numbers)], RULE)
  assert numbered.counts['b']['ngrams'] == 0
  assert not numbered.hits(numbers)


def test_every_benchmark_that_is_hit_is_told():
  both = decontaminate.Index(
    [
      a_benchmark('b', QUESTION),
      a_benchmark('a', SHORT),
      a_benchmark('c', QUESTION),
    ],
    RULE,
  )
  assert [h.benchmark for h in both.hits(QUESTION + SHORT)] == ['a', 'b', 'c']


def test_an_index_works_after_travelling_to_a_worker():
  travelled = copy.deepcopy(index())  # which asks for its state, as Beam does
  assert travelled.hits(QUESTION) == index().hits(QUESTION)


def a_held_out_document(group: str, kind: str) -> document.Document:
  return document.Document(
    f's/{group}/n',
    's',
    kind,
    'MIT',
    '',
    (
      document.Segment('system', 'tools'),
      document.Segment('user', 'ask'),
      document.Segment('thought', 'think'),
      document.Segment('action', 'call'),
      document.Segment('observation', 'see'),
      document.Segment('answer', 'reply'),
    ),
  )


def test_a_held_out_instruction_is_its_request_and_call():
  tested = a_held_out_document('g', 'instruction')
  assert decontaminate.heldout_record(tested) == (
    'heldout_requests',
    ('ask', 'call'),
  )
  assert (
    decontaminate.heldout_record(a_held_out_document('g', 'trajectory')) is None
  )


def test_a_published_held_out_record_is_all_but_tools_and_environment():
  tested = a_held_out_document('heldout', 'trajectory')
  expected = ('s/heldout', ('ask', 'think', 'call', 'reply'))
  assert decontaminate.heldout_record(tested) == expected
  text = (document.Segment('text', 'A plain text.'),)
  plain = dataclasses.replace(tested, segments=text)
  assert decontaminate.heldout_record(plain) == (
    's/heldout',
    ('A plain text.',),
  )


def test_what_a_tenth_of_the_records_share_is_their_form():
  task = (
    'You are in a house of many rooms and your task is to find and to clean'
  )
  questions = [f'{task} {QUESTION} Number {i}.' for i in range(40)]
  form = 'which of these do you think is the right one and why do you think so'
  few = [f'{form} {i}' for i in range(10)]
  others = [' '.join(f'w{i}x{k}' for k in range(20)) for i in range(350)]
  found = decontaminate.Index(
    [a_benchmark('b', *questions, *few, *others)], RULE
  )
  # 40 of 400 records are a tenth, and one more of 401 would be above it.
  assert found.hits(task)
  found = decontaminate.Index(
    [a_benchmark('b', *questions, *few, *others[:300])], RULE
  )
  assert not found.hits(task)
  assert found.hits(form), 'ten records are few, whatever their share is'
  assert found.counts['b']['form_ngrams'] > 20


WORDS = [f'word{i}' for i in range(3_000)]


def disguised(question: str, draw: random.Random) -> str:
  """A question in other case, punctuation, white space and line breaks."""
  changed = []
  for word in question.split():
    word = draw.choice([str.upper, str.lower, str.title, str])(word)
    around = draw.choice(['{}', '"{}"', '*{}*', '{},', '({})', '{}...'])
    changed.append(around.format(word))
  text = draw.choice([' ', '  ', '\t', ' - ', ' \u00a0']).join(changed)
  return textwrap.fill(text, draw.choice([20, 40, 1_000]))


def test_all_planted_questions_are_found_and_all_near_misses_kept():
  draw = random.Random(7)
  questions = [
    ' '.join(draw.choices(WORDS, k=draw.randint(13, 60))) for _ in range(300)
  ]
  shorts = [
    ' '.join(draw.choices(WORDS, k=draw.randint(8, 12))) for _ in range(100)
  ]
  looked_for = decontaminate.Index(
    [a_benchmark('planted', *questions, *shorts)], RULE
  )

  def around(text: str) -> str:
    page = ' '.join(draw.choices(WORDS, k=200)) + '. '
    return page + text + '\n\n' + page

  for question in [*questions, *shorts]:
    assert looked_for.hits(around(disguised(question, draw))), question
    words = question.split()
    # One word less than what counts, at its beginning and at its end.
    n = min(len(words), RULE.ngram) - 1
    assert not looked_for.hits(around(' '.join(words[:n])))
    assert not looked_for.hits(around(' '.join(words[-n:])))
    # The same words in another order.
    assert not looked_for.hits(around(' '.join(words[::-1])))
    # A word changed in every run of thirteen.
    changed = [w if i % n else 'other' for i, w in enumerate(words)]
    assert not looked_for.hits(around(' '.join(changed)))
