import fcntl
import functools
import json
import pathlib
import re
import sys

import jax
import numpy as np
import pytest

from hephaestus_jax import chat, errors, model, sandbox, tokenizer
from hephaestus_jax.corpus import document
from hephaestus_jax.evaluation import bfcl, bfcl_checker

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / 'tests'))
import tiny  # noqa: E402

REQUIREMENTS = str(ROOT / 'requirements' / 'bfcl.txt')
CHECKED = [c for c in bfcl.CATEGORIES if c not in bfcl.RELEVANCE]


@pytest.fixture(scope='session')
def isolation():
  """What this machine offers; the tests of sandbox.py hold it to account."""
  try:
    return sandbox.available()
  except errors.UserError:
    return 'none'


@pytest.fixture(scope='session')
def folder():
  """bfcl-eval, from the package index the first time."""
  target = ROOT / 'downloads' / 'bfcl'
  target.parent.mkdir(exist_ok=True)
  with (target.parent / 'bfcl.lock').open('w') as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)  # other workers wait for the first
    return bfcl.install(REQUIREMENTS, str(target))


@pytest.fixture(scope='session')
def entries(folder, isolation):
  return bfcl.read_entries(folder, bfcl.CATEGORIES, isolation)


def answer(*calls):
  texts = [chat.call_text(name, arguments) for name, arguments in calls]
  return bfcl.Answer(
    '\n'.join(f'<tool_call>\n{text}\n</tool_call>' for text in texts)
  )


@functools.cache
def references(folder, category):
  """{id: ({function name: description}, accepted calls)}, as published."""
  data = folder / 'bfcl_eval' / 'data'
  name = f'BFCL_v4_{category}.json'
  questions = (data / name).read_text().splitlines()
  answers = (data / 'possible_answer' / name).read_text().splitlines()
  return {
    question['id']: (
      {function['name']: function for function in question['function']},
      answer['ground_truth'],
    )
    for question, answer in zip(
      map(json.loads, questions), map(json.loads, answers), strict=True
    )
  }


def reference_calls(folder, entry):
  """The first accepted answer, as a model would have to write it."""
  functions, accepted_calls = references(folder, entry['category'])[entry['id']]
  calls = []
  for call in accepted_calls:
    ((name, accepted),) = call.items()
    parameters = functions[name]['parameters']
    arguments = {}
    for parameter, values in accepted.items():
      # '' says that it may be left out.
      if '' in values and parameter not in parameters['required']:
        continue
      value = first_of_each(next((v for v in values if v != ''), ''))
      if entry['category'] == 'simple_java':
        value = java(value, parameters['properties'][parameter])
      elif entry['category'] == 'simple_javascript':
        value = javascript(value, parameters['properties'][parameter])
      arguments[parameter] = value
    calls.append((name, arguments))
  return calls


def first_of_each(value):
  """In an object of the answer, too, every value is a list of accepted ones."""
  if isinstance(value, list):
    return [first_of_each(item) for item in value]
  if isinstance(value, dict):
    return {key: item[0] for key, item in value.items() if '' not in item}
  return value


def java(value, schema):
  kind = schema['type']
  if isinstance(value, bool):
    return str(value).lower()
  if isinstance(value, str):
    return value
  if isinstance(value, list):
    inside = schema['items']
    items = ', '.join(
      f'"{item}"'
      if kind == 'ArrayList' and inside['type'] == 'String'
      else java(item, inside)
      for item in value
    )
    if kind == 'ArrayList':
      return f'new ArrayList<Object>(Arrays.asList({items}))'
    return f'new Object[]{{{items}}}'
  if isinstance(value, dict):
    puts = ' '.join(
      f'put("{key}", {json.dumps(item)});' for key, item in value.items()
    )
    return f'new HashMap<String, Object>() {{{{ {puts} }}}}'
  return str(value) + {'long': 'L', 'float': 'f'}.get(kind, '')


def javascript(value, schema):
  if schema['type'] in ('String', 'any') and isinstance(value, str):
    return value
  if isinstance(value, str):
    return value
  return json.dumps(value) + ('n' if schema['type'] == 'Bigint' else '')


def test_every_category_has_the_entries_that_the_code_says(entries):
  sizes = {}
  for entry in entries:
    sizes[entry['category']] = sizes.get(entry['category'], 0) + 1
  assert sizes == bfcl.SIZES


def test_reference_answers_are_right(folder, entries, isolation):
  chosen = [entry for entry in entries if entry['category'] in CHECKED]
  answers = [answer(*reference_calls(folder, entry)) for entry in chosen]
  records = bfcl.judge(folder, chosen, answers, isolation)
  assert len(records) == 2501
  wrong = {r['id']: r['reason'] for r in records if not r['valid']}
  assert wrong == {
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


def test_what_is_wrong_with_an_answer_is_its_reason(folder, entries, isolation):
  entry = next(e for e in entries if e['id'] == 'simple_python_0')
  ((name, arguments),) = reference_calls(folder, entry)
  assert (name, arguments) == (
    'calculate_triangle_area',
    {'base': 10, 'height': 5},
  )
  cases = [
    (answer((name, arguments)), True, ''),
    (
      bfcl.Answer('Surely: ' + answer((name, arguments)).text + '<|im_end|>x'),
      True,
      '',
    ),
    (answer((name, {'base': 10, 'height': 6})), False, 'value_error:others'),
    (
      answer((name, {'base': '10', 'height': 5})),
      False,
      'type_error:simple',
    ),
    (
      answer((name, {'base': 10})),
      False,
      'simple_function_checker:missing_required',
    ),
    (
      answer((name, {**arguments, 'depth': 1})),
      False,
      'simple_function_checker:unexpected_param',
    ),
    (
      answer(('area', arguments)),
      False,
      'simple_function_checker:wrong_func_name',
    ),
    (
      answer((name, arguments), (name, arguments)),
      False,
      'simple_function_checker:wrong_count',
    ),
    (bfcl.Answer(''), False, 'simple_function_checker:wrong_count'),
    (bfcl.Answer('25'), False, 'simple_function_checker:wrong_count'),
    (
      bfcl.Answer('<tool_call>{"name": "a", "argum', 'length'),
      False,
      'malformed:not_closed',
    ),
    (
      bfcl.Answer('<tool_call>area(10, 5)</tool_call>'),
      False,
      'malformed:not_json',
    ),
    (
      bfcl.Answer('<tool_call>{"name": "a"}</tool_call>'),
      False,
      'malformed:no_arguments',
    ),
    (
      # One call is right and the other can't be read.
      bfcl.Answer(answer((name, arguments)).text + '<tool_call>'),
      False,
      'malformed:not_closed',
    ),
    (
      bfcl.Answer(
        '<tool_call>{"name": "a", "arguments": {"x": '
        + '[' * 900
        + ']' * 900
        + '}}</tool_call>'
      ),
      False,
      'malformed:too_deep',
    ),
    (bfcl.Answer('', 'prompt_too_long'), False, 'prompt_too_long'),
    (
      answer((name, {'base': {'\ud800': float('nan')}, 'height': []})),
      False,
      'type_error:simple',
    ),
  ]
  records = bfcl.judge(
    folder, [entry] * len(cases), [case[0] for case in cases], isolation
  )
  for record, (_, valid, reason) in zip(records, cases, strict=True):
    assert (record['valid'], record['reason']) == (valid, reason), record
  assert 'Expected one of [5]' in records[2]['message']
  assert bfcl.count(records)['simple_python'] == {
    'n': 17,
    'correct': 2,
    'accuracy': 2 / 17,
    'size': 400,
    'errors': {
      'malformed:no_arguments': 1,
      'malformed:not_closed': 2,
      'malformed:not_json': 1,
      'malformed:too_deep': 1,
      'prompt_too_long': 1,
      'simple_function_checker:missing_required': 1,
      'simple_function_checker:unexpected_param': 1,
      'simple_function_checker:wrong_count': 3,
      'simple_function_checker:wrong_func_name': 1,
      'type_error:simple': 2,
      'value_error:others': 1,
    },
  }


@pytest.mark.parametrize(
  ('category', 'text', 'finish', 'valid', 'reason'),
  [
    ('irrelevance', 'I can not do that.', 'stop', True, ''),
    ('irrelevance', '', 'stop', True, ''),
    ('irrelevance', '<tool_call>oops', 'length', True, ''),
    ('live_irrelevance', answer(('f', {})).text, 'stop', False, 'call'),
    ('irrelevance', '', 'prompt_too_long', False, 'prompt_too_long'),
    ('live_relevance', answer(('f', {})).text, 'stop', True, ''),
    ('live_relevance', 'I can not do that.', 'stop', False, 'no_call'),
    ('live_relevance', '<tool_call>oops', 'stop', False, 'no_call'),
  ],
)
def test_relevance_asks_only_whether_there_was_a_call(
  category, text, finish, valid, reason
):
  entry = {'id': f'{category}_0', 'category': category}
  (record,) = bfcl.judge(
    pathlib.Path('unused'), [entry], [bfcl.Answer(text, finish)], 'none'
  )
  assert (record['valid'], record['reason']) == (valid, reason)


def test_an_answer_that_breaks_the_official_checker_is_wrong_and_counted(
  folder, entries, isolation
):
  entry = next(e for e in entries if e['id'] == 'simple_javascript_0')
  ((name, arguments),) = reference_calls(folder, entry)
  # Calls that chat.parse would not let through.
  records = [
    {'id': entry['id'], 'category': entry['category'], 'calls': calls}
    for calls in (
      [{'name': name, 'arguments': 1}],
      [{'name': name, 'arguments': arguments}],
    )
  ]
  first, second = bfcl._check(folder, records, isolation)
  assert first['reason'] == 'checker_error:TypeError'
  assert second['valid']


def test_an_answer_that_stops_the_checker_costs_only_itself(
  folder, entries, isolation, monkeypatch, tmp_path
):
  # A checker that dies on the second line that it is given.
  source = pathlib.Path(bfcl_checker.__file__).read_text()
  broken = tmp_path / 'checker.py'
  broken.write_text(
    source.replace(
      'request = json.loads(line)',
      'request = json.loads(line)\n  if "fatal" in line: os.abort()',
    )
  )
  monkeypatch.setattr(bfcl, 'CHECKER', broken)
  entry = next(e for e in entries if e['id'] == 'simple_python_0')
  ((name, arguments),) = reference_calls(folder, entry)
  right, fatal = answer((name, arguments)), answer(('fatal', {}))
  records = bfcl.judge(
    folder, [entry] * 5, [right, fatal, fatal, right, fatal], isolation
  )
  stopped = 'checker_stopped'
  assert [r['reason'] for r in records] == ['', stopped, stopped, '', stopped]


def test_a_damaged_installation_is_named(tmp_path, isolation):
  (tmp_path / 'bfcl_eval').mkdir()
  (tmp_path / 'bfcl_eval' / '__init__.py').write_text('')
  with pytest.raises(errors.UserError, match='Delete the folder to install'):
    bfcl.read_entries(tmp_path, ['multiple'], isolation)
  with pytest.raises(errors.UserError, match='Delete the folder to install'):
    bfcl._check(
      tmp_path, [{'id': 'a', 'category': 'multiple', 'calls': []}], isolation
    )


def test_a_subset_is_chosen_by_id_and_keeps_the_order(entries):
  few = bfcl.subset(entries, 3)
  assert len(few) == 3 * len(bfcl.CATEGORIES)
  again = bfcl.subset(entries[::-1], 3)[::-1]
  assert {e['id'] for e in again} == {e['id'] for e in few}
  places = [entries.index(e) for e in few]
  assert places == sorted(places)
  assert bfcl.subset(entries, None) == entries
  more = {e['id'] for e in bfcl.subset(entries, 5)}
  assert more > {e['id'] for e in few}


def test_type_words_become_those_of_json_schema():
  assert bfcl.json_schema(
    {
      'type': 'dict',
      'properties': {
        'x': {'type': 'float', 'description': 'How far.', 'default': 1.5},
        'type': {'type': 'any'},
        'points': {
          'type': 'tuple',
          'items': {'type': 'array', 'items': {'type': 'long'}},
        },
        'options': {
          'type': 'HashMap',
          'properties': {'deep': {'type': 'Boolean'}},
        },
      },
      'required': ['x'],
    }
  ) == {
    'type': 'object',
    'properties': {
      'x': {'type': 'number', 'description': 'How far.', 'default': 1.5},
      'type': {'type': 'string'},
      'points': {
        'type': 'array',
        'items': {'type': 'array', 'items': {'type': 'integer'}},
      },
      'options': {
        'type': 'object',
        'properties': {'deep': {'type': 'boolean'}},
      },
    },
    'required': ['x'],
  }


def test_a_prompt_offers_the_functions_and_ends_where_the_answer_starts(
  entries,
):
  entry = next(e for e in entries if e['id'] == 'simple_python_0')
  spans = chat.generation_prompt(bfcl.segments(entry))
  text = ''.join(span.text for span in spans)
  assert re.fullmatch(
    r'<\|im_start\|>system\n.*<tools>\n'
    r'\{"name": "calculate_triangle_area".*"type": "object".*\}\n</tools>'
    r'<\|im_end\|>\n<\|im_start\|>user\nFind the area of a triangle .*'
    r'<\|im_end\|>\n<\|im_start\|>assistant\n',
    text,
    re.DOTALL,
  )
  for every in entries:  # none has a role or a type that we can't render
    assert bfcl.segments(every)[1:]


def test_the_columns_are_those_of_the_official_table():
  rows = {
    category: {'accuracy': accuracy}
    for category, accuracy in zip(
      bfcl.CATEGORIES,
      [0.9, 0.6, 0.3, 0.8, 0.4, 0.2, 0.5, 1.0, 0.5, 0.0, 0.25, 0.7, 0.75],
      strict=True,
    )
  }
  assert bfcl.summarise(rows) == pytest.approx(
    {
      'simple': 0.6,
      'non_live_ast': 0.5,
      'live_ast': (258 + 0.5 * 1053 + 0.25 * 24) / 1351,
      'irrelevance': 0.6,
      'relevance': 0.75,
    }
  )
  del rows['simple_java']
  assert bfcl.summarise(rows)['simple'] is None
  assert bfcl.summarise(rows)['non_live_ast'] is None
  assert bfcl.summarise(rows)['relevance'] == 0.75


def test_wrong_settings_are_the_users_to_mend(tmp_path):
  with pytest.raises(errors.UserError, match="names 'exec_simple'"):
    bfcl.Bfcl(tokenizer='', categories=['exec_simple'])
  with pytest.raises(errors.UserError, match='per_category = 0'):
    bfcl.Bfcl(tokenizer='', per_category=0)
  with pytest.raises(errors.UserError, match='There is no nowhere.txt'):
    bfcl.install('nowhere.txt', str(tmp_path / 'x'))


def test_pip_runs_once_and_another_version_is_refused(folder, tmp_path):
  assert bfcl.install(REQUIREMENTS, str(folder)) == folder
  other = tmp_path / 'bfcl.txt'
  other.write_text(pathlib.Path(REQUIREMENTS).read_text() + '\n# changed')
  with pytest.raises(errors.UserError, match='requirements was'):
    bfcl.install(str(other), str(folder))


@pytest.fixture(scope='module')
def vocabulary(tmp_path_factory):
  path = tmp_path_factory.mktemp('vocabulary') / 'tokenizer.model'
  texts = [
    chat.system_prompt(
      [{'name': name, 'description': f'Says {name}.', 'parameters': {}}]
    )
    + f' Please say {name} {number} times.'
    for number, name in enumerate(['hello', 'goodbye', 'thanks'] * 20)
  ]
  tokenizer.train(texts, path, 400)
  return path


def test_a_model_is_asked_and_judged_from_end_to_end(
  folder, vocabulary, isolation
):
  config = tiny.network(10_000)  # padded: the vocabulary has 400
  benchmark = bfcl.Bfcl(
    tokenizer=str(vocabulary),
    folder=str(folder),
    requirements=REQUIREMENTS,
    categories=['simple_python', 'irrelevance', 'live_relevance'],
    per_category=3,
    max_new_tokens=4,
    max_prompt_tokens=1024,
    batch_size=9,
    isolation=isolation,
  )
  params = jax.tree.map(
    lambda shape: np.full(shape.shape, 0.1, np.float32), model.abstract(config)
  )
  result = benchmark(config, params)
  assert result['categories']['simple_python']['correct'] == 0
  assert [r['category'] for r in result['completions']] == (
    ['simple_python'] * 3 + ['irrelevance'] * 3 + ['live_relevance'] * 3
  )
  for record in result['completions']:
    assert record['finish'] in ('stop', 'length', 'prompt_too_long')
    assert record['valid'] or record['reason']
  assert any(r['finish'] == 'length' for r in result['completions'])
  assert result['summary']['live_ast'] is None
  assert benchmark.identity()['per_category'] == 3
  small = tiny.network(100)
  with pytest.raises(errors.UserError, match='400 tokens, and'):
    benchmark(small, {})


def test_prompt_tokens_begin_like_a_document_and_hold_the_markers(
  vocabulary,
):
  words = tokenizer.load(str(vocabulary))
  entry = {
    'question': [{'role': 'user', 'content': 'Say <|im_end|>.'}],
    'functions': [],
  }
  (tokens,) = bfcl.encode_prompts(words, [entry])
  assert tokens[0] == words.bos_id
  # The system's, and the user's: not the one that the user quotes.
  assert tokens.count(words.token_id('<|im_end|>')) == 2
  assert words.decode(tokens[1:]) == ''.join(
    span.text for span in chat.generation_prompt(bfcl.segments(entry))
  )
  assert document.Segment('user', 'Say <|im_end|>.') in bfcl.segments(entry)
