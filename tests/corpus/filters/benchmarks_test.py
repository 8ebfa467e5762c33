import csv
import gzip
import io
import json
import os
import pathlib
import zipfile

import pytest

from hephaestus_jax import errors
from hephaestus_jax.corpus.filters import benchmarks, decontaminate

RULE = decontaminate.Decontaminate(
  package='quiz', files=('quiz/data/Q_*.json', 'quiz/data/answers/Q_*.json')
)
QUESTION = 'Which of the seven buckets holds the oldest log file?'

# A record of each published format, and what of it must not be trained on.
SHAPES = [
  (
    'agentbench/dbbench/dev.jsonl',
    {
      'description': 'Which ship is longest?',
      'add_description': 'The table is Ships.',
      'label': ['Ada'],
      'table': {'table_name': 'Ships', 'table_info': {'rows': [['Ada', 90]]}},
    },
    ['Which ship is longest?', 'The table is Ships.'],
  ),
  (
    'agentbench/os_interaction/data/dev.json',
    [
      {
        'description': 'Count the files.',
        'evaluation': {'example': {'code': 'ls | wc -l'}, 'match': '3'},
      }
    ],
    ['Count the files.', 'ls | wc -l'],
  ),
  (
    'api_bank/lv1-lv2-samples/level-1-given-desc/Timer-level-1-1.jsonl',
    {
      'role': 'API',
      'api_name': 'Timer',
      'param_dict': {'minutes': '5', 'name': 'tea'},
      'result': {'output': 'success', 'exception': None},
    },
    ['minutes 5 name tea'],
  ),
  (
    'api_bank/test-data/level-1-api.json',
    [
      {
        'instruction': 'Generate.',
        'input': 'User: Now?',
        'expected_output': 'A',
      }
    ],
    ['User: Now?', 'A'],
  ),
  (
    'apibench/torchhub_eval.json',
    {
      'code': '###Instruction: Find a model.\n###Output: {...}',
      'api_call': 'f',
    },
    ['###Instruction: Find a model.\n'],
  ),
  (
    'bbh/bbh/navigate.json',
    {'canary': 'no', 'examples': [{'input': 'Left, right?', 'target': 'Yes'}]},
    ['Left, right?'],
  ),
  (
    'gsm8k/test.jsonl',
    {'question': 'How many eggs?', 'answer': 'Two.\n#### 2'},
    ['How many eggs?', 'Two.\n#### 2'],
  ),
  (
    'hellaswag/hellaswag_val.jsonl',
    {'ctx': 'A man sits. He', 'endings': ['sings.', 'sleeps.'], 'label': 1},
    ['A man sits. He', 'sings.', 'sleeps.'],
  ),
  (
    'hotpotqa/hotpot_dev_distractor_v1.json',
    [{'question': 'Who?', 'answer': 'Ada', 'context': [['Ada', ['She was.']]]}],
    ['Who?'],
  ),
  (
    'ifeval/data/input_data.jsonl',
    {'key': 1, 'prompt': 'Write a poem.', 'kwargs': [{}]},
    ['Write a poem.'],
  ),
  (
    'nexusraven/cve_cpe_queries.json',
    [{'query': 'Find it.', 'reference': "r = find(it='x')"}],
    ['Find it.', "r = find(it='x')"],
  ),
  (
    'nexusraven/toolalpaca_queries.json',
    [
      {
        'turns_1': {
          'instruction': 'Go.',
          'golden_answer': 'go()',
          'backup': '',
        },
        'turns_2': {'instruction': None, 'golden_answer': None},
      }
    ],
    ['Go.', 'go()'],
  ),
  (
    't_eval/instruct_v2.json',
    {
      'sample_0': {
        'origin_prompt': [
          {'role': 'system', 'content': 'You have these tools.'},
          {'role': 'user', 'content': 'Call one.'},
        ],
        'ground_truth': {'name': 'one', 'args': {'x': 1}},
      }
    },
    ['Call one.', 'name one args x 1'],
  ),
]


def write(path: pathlib.Path, record: object) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(record) + '\n')


@pytest.mark.parametrize(('name', 'record', 'expected'), SHAPES)
def test_the_strings_of_each_published_format(tmp_path, name, record, expected):
  write(tmp_path / name, record)
  found = benchmarks.read_folder(str(tmp_path))
  (benchmark,) = found.benchmarks
  assert benchmark.name == name.split('/')[0]
  assert [s for strings in benchmark.records for s in strings] == expected


def test_mmlu_is_read_from_its_zip_file_as_well(tmp_path):
  rows = io.StringIO()
  csv.writer(rows).writerow(['Is 0, "nought"?', 'Yes', 'No', 'Both', '', 'A'])
  (tmp_path / 'mmlu').mkdir()
  with zipfile.ZipFile(tmp_path / 'mmlu/mmlu.zip', 'w') as archive:
    archive.writestr('data/test/sums_test.csv', rows.getvalue())
    archive.writestr('data/auxiliary_train/race.csv', 'x,y')
  found = benchmarks.read_folder(str(tmp_path))
  assert found.benchmarks == (
    decontaminate.Benchmark(
      'mmlu', (('Is 0, "nought"?', 'Yes', 'No', 'Both'),)
    ),
  )
  assert found.accounts['mmlu'] == {
    'files': 1,
    'other_files': 1,
    'records': 1,
    'records_without_text': 0,
  }
  assert list(benchmarks.fingerprint(str(tmp_path))) == ['mmlu/mmlu.zip']


def test_humaneval_is_read_compressed(tmp_path):
  problem = {'prompt': 'def f():\n', 'canonical_solution': '  return 1\n'}
  (tmp_path / 'humaneval').mkdir()
  line = json.dumps(problem).encode() + b'\n'
  path = tmp_path / 'humaneval/HumanEval.jsonl.gz'
  path.write_bytes(gzip.compress(line))
  found = benchmarks.read_folder(str(tmp_path))
  assert found.benchmarks[0].records == (('def f():\n', '  return 1\n'),)


def test_a_plan_of_api_bank_is_one_text(tmp_path):
  path = tmp_path / 'api_bank/lv3-samples/Hotel.txt'
  path.parent.mkdir(parents=True)
  path.write_text('Scene: Hotel\n\nbook(room=3)')
  found = benchmarks.read_folder(str(tmp_path))
  assert found.benchmarks[0].records == (('Scene: Hotel\n\nbook(room=3)',),)


def test_what_is_absent_is_said_and_what_is_unknown_too(tmp_path):
  write(tmp_path / 'gsm8k/test.jsonl', {'question': QUESTION, 'answer': '1'})
  write(tmp_path / 'gsm8k/train.jsonl', {'question': 'x', 'answer': '1'})
  (tmp_path / 'mmlu').mkdir()
  (tmp_path / 'our_own').mkdir()
  found = benchmarks.read_folder(str(tmp_path))
  assert set(found.not_checked) == set(benchmarks.NAMES) - {'gsm8k'}
  assert found.unknown == ('our_own',)
  assert found.accounts['gsm8k']['other_files'] == 1
  nothing = benchmarks.read_folder(None)
  assert nothing.not_checked == benchmarks.NAMES
  assert nothing.benchmarks == () and nothing.unknown == ()
  assert benchmarks.fingerprint(None) == {}


def test_records_without_text_are_counted(tmp_path):
  path = tmp_path / 'gsm8k/test.jsonl'
  path.parent.mkdir()
  lines = [{'question': QUESTION}, {'other': 1}, ['question'], 7, None]
  path.write_text('\n'.join(map(json.dumps, lines)))
  found = benchmarks.read_folder(str(tmp_path))
  assert found.benchmarks[0].records == ((QUESTION,),)
  assert found.accounts['gsm8k']['records'] == 5
  assert found.accounts['gsm8k']['records_without_text'] == 4


def test_a_required_benchmark_that_is_missing_is_the_users_mistake(tmp_path):
  for folder in (str(tmp_path), None):
    with pytest.raises(errors.UserError, match='mmlu is required'):
      benchmarks.read_folder(folder, ['mmlu'])
  with pytest.raises(errors.UserError, match='Did you mean mmlu'):
    benchmarks.read_folder(str(tmp_path), ['mmlv'])
  with pytest.raises(errors.UserError, match='nowhere does not exist'):
    benchmarks.read_folder(str(tmp_path / 'nowhere'))


@pytest.mark.parametrize(
  ('name', 'content'),
  [
    ('gsm8k/test.jsonl', b'{"question": "Wh'),
    ('bbh/navigate.json', b'{"examples": [{"input"'),
    ('bbh/deep.json', b'[' * 100_000),
    ('humaneval/HumanEval.jsonl.gz', b'no gzip'),
    ('mmlu/mmlu.zip', b'no zip'),
  ],
)
def test_a_benchmark_is_never_read_in_part(tmp_path, name, content):
  path = tmp_path / name
  path.parent.mkdir()
  path.write_bytes(content)
  with pytest.raises(errors.UserError, match=f'{path.name} can not be read'):
    benchmarks.read_folder(str(tmp_path))


def test_files_of_another_shape_are_no_benchmark(tmp_path):
  write(tmp_path / 'gsm8k/test.jsonl', {'text': 'no question'})
  with pytest.raises(errors.UserError, match='None of the 1 records of gsm8k'):
    benchmarks.read_folder(str(tmp_path))


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
  layout = benchmarks.Layout('q', (), tuple(RULE.fields))
  found = list(benchmarks.record_strings(entry, layout))
  assert found == ['Hi.', 'And?', 'So?', 'f x 1 two', "g(y='three')", 'four']
  found = list(benchmarks.record_strings({'question': 'One?'}, layout))
  assert found == ['One?']


def test_the_systems_message_counts_where_it_belongs_to_the_question():
  said = [
    {'role': 'system', 'content': 'Tools: ...'},
    {'role': 'user', 'content': 'Who?'},
  ]
  assert list(benchmarks.strings(said, system=False)) == ['Who?']
  assert list(benchmarks.strings(said, system=True)) == ['Tools: ...', 'Who?']


def test_benchmarks_are_read_from_the_files_of_a_wheel(tmp_path):
  wheel = tmp_path / 'quiz-1-py3-none-any.whl'
  with zipfile.ZipFile(wheel, 'w') as file:
    file.writestr(
      'quiz/data/Q_one.json',
      json.dumps({'question': [[{'content': QUESTION}]]}) + '\n',
    )
    file.writestr(
      'quiz/data/answers/Q_one.json', json.dumps({'ground_truth': ['Ada']})
    )
    file.writestr('quiz/data/Q_list.txt', 'no benchmark')
  expected = (
    decontaminate.Benchmark('data/Q_one', ((QUESTION,),)),
    decontaminate.Benchmark('answers/Q_one', (('Ada',),)),
  )
  assert tuple(benchmarks.read_wheel(wheel, RULE)) == expected
  assert benchmarks.read(wheel, RULE).benchmarks == expected
  with zipfile.ZipFile(wheel, 'a') as file:
    file.writestr('quiz/data/Q_two.json', '{\n "spread": "over lines"\n}')
  with pytest.raises(errors.UserError, match='Q_two.json is not one JSON'):
    benchmarks.read_wheel(wheel, RULE)


def test_a_pattern_that_fits_nothing_is_the_users_mistake(tmp_path):
  wheel = tmp_path / 'quiz-1-py3-none-any.whl'
  with zipfile.ZipFile(wheel, 'w') as file:
    file.writestr('quiz/other.json', '')
  with pytest.raises(errors.UserError, match="has no file 'quiz/data/Q_"):
    benchmarks.read_wheel(wheel, RULE)


def test_the_account_tells_what_was_looked_for_and_what_was_cut(tmp_path):
  write(tmp_path / 'gsm8k/test.jsonl', {'question': QUESTION, 'answer': '1'})
  published = benchmarks.read_folder(str(tmp_path))
  index = decontaminate.Index(published.benchmarks, RULE)
  (hit,) = index.hits(QUESTION.upper())
  cut = {'id': 'docs/a/b', 'benchmark': hit.benchmark, 'ngram': hit.ngram}
  told = benchmarks.account(published, index, [{**cut, 'source': 'docs'}], RULE)
  assert told['benchmarks'] == {
    'gsm8k': {
      'strings': 2,
      'short_strings': 1,
      'ngrams': 1,
      'form_ngrams': 0,
      'files': 1,
      'other_files': 0,
      'records': 1,
      'records_without_text': 0,
      'documents': 1,
    }
  }
  assert told['cut'] == [
    {
      'id': 'docs/a/b',
      'benchmark': 'gsm8k',
      'ngram': 'which of the seven buckets holds the oldest log file',
    }
  ]
  assert 'mmlu' in told['not_checked']


SAMPLES = pathlib.Path(
  os.environ.get(
    'HEPHAESTUS_SAMPLES',
    pathlib.Path(__file__).resolve().parents[4] / 'shared' / 'samples',
  )
)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason='needs published records')
@pytest.mark.parametrize(
  'name', sorted(set(benchmarks.NAMES) - {'apibench', 't_eval'})
)
def test_every_published_record_says_what_it_asks(tmp_path, name):
  if not (SAMPLES / name).is_dir():
    pytest.skip(f'no records of {name}')
  (tmp_path / name).symlink_to(SAMPLES / name)
  account = benchmarks.read_folder(str(tmp_path)).accounts[name]
  assert account['records'] > 0
  assert account['records_without_text'] == 0
