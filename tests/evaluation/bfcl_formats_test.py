"""The published answers in every format, and what is made wrong of them."""

import collections
import pathlib
import random
import sys

import pytest

from hephaestus_jax import chat
from hephaestus_jax.evaluation import bfcl, bfcl_official, bfcl_scores
from hephaestus_jax.evaluation.bfcl_checker import PROMPTING

sys.path.append(str(pathlib.Path(__file__).parent))
import bfcl_published as published  # noqa: E402

# Published answers that the official checker refuses however they are written.
REFUSED = {
  # Arrays of mixed types, which the checker reads as strings.
  'simple_java_36': 'value_error:list/tuple',
  'simple_java_65': 'value_error:list/tuple',
  # The only accepted value of an array is ''.
  'live_simple_106-63-0': 'type_error:simple',
  'live_simple_112-68-0': 'type_error:simple',
  # The answer and the function's description name other parameters.
  'live_multiple_862-181-3': 'simple_function_checker:unexpected_param',
  'live_multiple_964-207-0': 'simple_function_checker:missing_required',
}
# BFCL's reader of JavaScript leaves the backslashes of a string that holds both
# kinds of quotes.
REFUSED_AS_TEXT = {'simple_javascript_5': 'value_error:dict_value'}
ONE = 'simple_function_checker'
NO_MATCH = 'parallel_function_checker_no_order:cannot_find_match'
WRONG_COUNT = (
  f'{ONE}:wrong_count',
  'multiple_function_checker:wrong_count',
  'parallel_function_checker_no_order:wrong_count',
)
UNREAD = 'ast_decoder:decoder_failed'
FEW = 3  # of each category; the long test takes all


@pytest.fixture(scope='module')
def prompting(folder, isolation):
  return bfcl_official.read_entries(
    folder, published.CHECKED, isolation, PROMPTING
  )


def refused(folder, entries, prompting, isolation):
  """{format: {id: reason}} of the published answers that score nothing."""
  given = {'prompting': [], **{name: [] for name in chat.FORMATS}}
  checked = [e for e in entries if e['category'] in published.CHECKED]
  for entry in prompting:
    text = published.prompted(published.calls(folder, entry))
    said = published.answered(text, entry, 'chatml')
    given['prompting'].append((entry, said))
  for entry in checked:
    calls = published.calls(folder, entry)
    for name in chat.FORMATS:
      text = published.written(entry, calls, name)
      given[name].append((entry, published.answered(text, entry, name)))
  found = {}
  everything = [pair for pairs in given.values() for pair in pairs]
  records = iter(bfcl.judge(folder, *zip(*everything, strict=True), isolation))
  for name, pairs in given.items():
    verdicts = [next(records) for _ in pairs]
    found[name] = {r['id']: r['reason'] for r in verdicts if not r['valid']}
  return found


def test_published_answers_are_right_in_every_format(
  folder, entries, prompting, isolation
):
  few = bfcl.subset(entries, FEW), bfcl.subset(prompting, FEW)
  for name, wrong in refused(folder, *few, isolation).items():
    assert wrong.items() <= (REFUSED | REFUSED_AS_TEXT).items(), name


@pytest.mark.long
def test_every_published_answer_is_right_in_every_format(
  folder, entries, prompting, isolation
):
  found = refused(folder, entries, prompting, isolation)
  assert found == {
    'prompting': REFUSED | REFUSED_AS_TEXT,
    **dict.fromkeys(chat.FORMATS, REFUSED),
  }


def wrong_name(calls, chance, functions):
  place = chance.randrange(len(calls))
  name, arguments = calls[place]
  calls[place] = (f'{name}_once_more', arguments)


def missing_argument(calls, chance, functions):
  place, name = argument(calls, chance, functions, only_required=True)
  del calls[place][1][name]


def extra_argument(calls, chance, functions):
  calls[chance.randrange(len(calls))][1]['not_a_parameter'] = 1


def wrong_type(calls, chance, functions):
  place, name = argument(calls, chance, functions)
  calls[place][1][name] = [[{'wrong': 'type'}]]


def wrong_value(calls, chance, functions):
  place, name = argument(calls, chance, functions)
  value = calls[place][1][name]
  calls[place][1][name] = {
    bool: lambda: not value,
    int: lambda: value + 7919,
    float: lambda: value + 7919.5,
    str: lambda: 'seven',
    list: lambda: [*value, *(value[:1] or ['seven'])],
    dict: lambda: {**value, 'seven': 7},
  }[type(value)]()


def missing_call(calls, chance, functions):
  del calls[chance.randrange(len(calls))]


def one_call_too_many(calls, chance, functions):
  calls.append(chance.choice(calls))


def argument(calls, chance, functions, only_required=False):
  """A call's place, and the name of one of its arguments."""
  choices = [
    (place, name)
    for place, (function, arguments) in enumerate(calls)
    for name in arguments
    if name in required(functions[function]) or not only_required
  ]
  return chance.choice(choices)


def required(function):
  return function['parameters']['required']


def cut_off(text, chance):
  return text[: -chance.randrange(len(text) // 3, len(text) // 2)]


def prose(text, chance):
  return 'Surely, that is easily done: ' + text.replace('{', '(')


OF_CALLS = (
  *(wrong_name, missing_argument, extra_argument, wrong_type, wrong_value),
  *(missing_call, one_call_too_many),
)
OF_TEXT = (cut_off, prose)


def corrupted(folder, entries, count, chat_format):
  """[(kind, entry, text)] of wrong answers, the same on every machine."""
  chance = random.Random(chat_format)
  right = [entry for entry in entries if entry['id'] not in REFUSED]
  found = []
  while len(found) < count:
    kind = (*OF_CALLS, *OF_TEXT)[len(found) % 9]
    category = chance.choice(published.CHECKED)
    entry = chance.choice([e for e in right if e['category'] == category])
    functions, _ = published.references(folder, entry['category'])[entry['id']]
    calls = published.calls(folder, entry)
    if not all(
      any(name in arguments for name in required(functions[function]))
      for function, arguments in calls
    ):
      continue
    if kind in OF_CALLS:
      kind(calls, chance, functions)
    if entry['asking'] == PROMPTING:
      text = published.prompted(calls)
    else:
      text = published.written(entry, calls, chat_format) if calls else ''
    if kind in OF_TEXT:
      text = kind(text, chance)
    found.append((kind.__name__, entry, text))
  return found


def test_two_hundred_corrupted_answers_score_nothing(
  folder, entries, prompting, isolation
):
  checked = [e for e in entries if e['category'] in published.CHECKED]
  wrong = [
    *corrupted(folder, checked, 100, 'hermes'),
    *corrupted(folder, prompting, 100, 'prompting'),
  ]
  records = bfcl.judge(
    folder,
    [entry for _, entry, _ in wrong],
    [published.answered(text, entry, 'hermes') for _, entry, text in wrong],
    isolation,
    'hermes',
  )
  assert [r for r in records if r['valid']] == []
  reasons = collections.defaultdict(set)
  for (kind, _, _), record in zip(wrong, records, strict=True):
    reasons[kind].add(record['reason'])
    assert record['message']
  assert reasons == {
    'wrong_name': {NO_MATCH, f'{ONE}:wrong_func_name'},
    'missing_argument': {NO_MATCH, f'{ONE}:missing_required'},
    'extra_argument': {NO_MATCH, f'{ONE}:unexpected_param'},
    'wrong_type': {
      NO_MATCH,
      *(f'type_error:{kind}' for kind in ('java', 'js', 'nested', 'simple')),
    },
    'wrong_value': {
      NO_MATCH,
      *('type_error:simple', 'value_error:list/tuple', 'value_error:string'),
    },
    'missing_call': {
      *WRONG_COUNT,
      *(UNREAD, 'ast_decoder:decoder_wrong_output_format'),
    },
    # BFCL's readers of Java and JavaScript know one call.
    'one_call_too_many': {*WRONG_COUNT, UNREAD},
    'cut_off': {UNREAD, 'malformed:not_closed'},
    'prose': {UNREAD, 'malformed:not_json'},
  }


def test_executable_questions_are_judged_by_what_calls_return(
  folder, isolation
):
  categories = [c for c in bfcl_scores.CATEGORIES if c.startswith('exec_')]
  found = bfcl_official.read_entries(folder, categories, isolation, PROMPTING)
  sizes = collections.Counter(entry['category'] for entry in found)
  # The others call servers.
  assert sizes == {
    'exec_simple': 62,
    'exec_multiple': 31,
    'exec_parallel': 31,
    'exec_parallel_multiple': 10,
  }
  answers = {
    line['id']: line['ground_truth']
    for category in categories
    for line in published.executable(folder, category)
  }
  asked, texts = [], []
  for entry in found:
    right = answers[entry['id']]
    asked += [entry] * 4
    texts += [
      f'[{", ".join(right)}]',
      f'[{", ".join([*right, right[0]])}]',
      '[calculate_mean(numbers=[7919])]',
      'I can not.',
    ]
  said = [
    published.answered(text, entry, 'chatml')
    for text, entry in zip(texts, asked, strict=True)
  ]
  records = bfcl.judge(folder, asked, said, isolation)
  wrong = [r['id'] for r in records[::4] if not r['valid']]
  assert wrong == []
  reasons = {
    tuple(sorted({r['reason'] for r in records[start::4]}))
    for start in (1, 2, 3)
  }
  assert reasons == {
    ('simple_exec_checker:wrong_count', 'value_error:exec_result_count'),
    (
      'executable_checker:cannot_find_match',
      'executable_checker:wrong_result',
      'value_error:exec_result_count',
    ),
    ('executable_decoder:decoder_failed',),
  }
