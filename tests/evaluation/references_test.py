import json
import os
import pathlib
import zipfile

import pytest

from hephaestus_jax import errors
from hephaestus_jax.corpus.filters import benchmarks
from hephaestus_jax.evaluation import references
from hephaestus_jax.evaluation.references import Reference

# Where real files lie, a folder per benchmark, for who has them.
REAL = os.environ.get('HEPHAESTUS_BENCHMARKS')


def write(folder, name, records):
  path = folder / name
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(records if isinstance(records, str) else json.dumps(records))
  return str(folder)


def lines(records):
  return ''.join(json.dumps(record) + '\n' for record in records)


def test_nexus_in_its_four_forms(tmp_path):
  write(
    tmp_path,
    'cve_queries.json',
    [{'query': 'Is it up?', 'reference': 'ping(host="a")'}],
  )
  none = {'instruction': None, 'docstring': None, 'golden_answer': None}
  write(
    tmp_path,
    'toolalpaca_queries.json',
    [
      {
        'turns_2': {
          'instruction': 'A fact and a pun.',
          'docstring': '\ndef fact()\n',
          'golden_answer': '["fact()", "pun(n=1)"]',
        },
        'turns_1': none,
      }
    ],
  )
  write(
    tmp_path,
    'toolllm_queries.json',
    [
      {
        'context': ['def a(): ...', 'def b(): ...'],
        'Input': 'Do b.',
        'Output': 'b()',
      }
    ],
  )
  write(
    tmp_path,
    'z_queries.jsonl',
    lines([{'query_dict': json.dumps({'query': 'Do c.', 'reference': 'c()'})}]),
  )
  assert references.read(str(tmp_path), 'nexus') == [
    Reference('Query: Is it up?\nCall:', ' ping(host="a")'),
    Reference(
      'def fact()\n\nQuery: A fact and a pun.\nCall:', ' fact(); pun(n=1)'
    ),
    Reference('def a(): ...\n\ndef b(): ...\n\nQuery: Do b.\nCall:', ' b()'),
    Reference('Query: Do c.\nCall:', ' c()'),
  ]


def test_every_request_of_a_dialogue_follows_all_that_was_said(tmp_path):
  turns = [
    {'role': 'User', 'text': 'Sum 1, 2, then 4.'},
    {'role': 'AI', 'text': 'Yes.'},
    {
      'role': 'API',
      'api_name': 'Add',
      'param_dict': {'a': '1', 'b': 2},
      'result': {'output': 3.0, 'exception': None},
    },
    {
      'role': 'API',
      'api_name': 'Add',
      'param_dict': {},
      'result': {'output': 7},
    },
  ]
  folder = write(tmp_path, 'lv1/level-1-given-desc/Add-level-1-1.jsonl', '')
  write(tmp_path, 'lv1/level-1-given-desc/Add-level-1-1.jsonl', lines(turns))
  said = 'User: Sum 1, 2, then 4.\nAI: Yes.\nAPI-Request:'
  call = " [Add(a='1', b=2)]"
  assert references.read(folder, 'api_bank') == [
    Reference(said, call),
    Reference(f'{said}{call}->3.0\nAPI-Request:', ' [Add()]'),
  ]


def test_scenes_and_rows_of_api_bank(tmp_path):
  scene = 'Scene: Sums\n\nKey Info: 1\n\n- GT API Call:\nA(b=1)\nC()\n'
  write(tmp_path, 'lv3-samples/Sums.txt', scene)
  row = {
    'instruction': 'Generate an API request.',
    'input': 'User: 1+1?\nGenerate API Request: ',
    'output': '',
    'expected_output': 'API-Request: [Add(a=1)]',
  }
  write(tmp_path, 'test-data/level-1-api.json', [row])
  assert references.read(str(tmp_path), 'api_bank') == [
    Reference('Scene: Sums\n\nKey Info: 1\n\n- GT API Call:', '\nA(b=1)\nC()'),
    Reference(
      'Generate an API request.\nUser: 1+1?\nGenerate API Request:',
      '\nAPI-Request: [Add(a=1)]',
    ),
  ]


def test_api_bench_leaves_the_words_around_the_call_out(tmp_path):
  path = tmp_path / 'torchhub_eval.json'
  write(
    tmp_path,
    path.name,
    lines(
      [
        {
          'code': f'###Instruction: Find birds.{rest}',
          'api_call': 'load("bird")',
        }
        for rest in ('\n###Output: load', '\n### Output: load', '')
      ]
    ),
  )
  # One file is enough: it need not be named by its folder.
  assert references.read(str(path), 'api_bench') == 3 * [
    Reference(
      '###Instruction: Find birds.\n###Output: <<<api_call>>>:',
      ' load("bird")',
    )
  ]


def test_mmlu_asks_the_test_split_of_a_zip_file(tmp_path):
  path = tmp_path / 'mmlu.zip'
  row = '"What, then, falls?",Up,Down,Left,Right,B\n'
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('data/test/high_school_physics_test.csv', row)
    archive.writestr('data/dev/high_school_physics_dev.csv', 2 * row)
  assert references.read(str(path), 'mmlu') == [
    Reference(
      'The following are multiple choice questions (with answers) about high '
      'school physics.\n\nWhat, then, falls?\nA. Up\nB. Down\nC. Left\n'
      'D. Right\nAnswer:',
      ' B',
    )
  ]


@pytest.mark.parametrize(
  ('name', 'file', 'content', 'said'),
  [
    ('nexus', 'a_queries.json', '[{"query": "So?"}]', 'golden|no question'),
    ('nexus', 'a_queries.json', '[{"reference": "f()"}]', "KeyError: 'query'"),
    ('api_bank', 'lv3-samples/A.txt', 'Scene: A', 'ValueError'),
    ('api_bench', 'a_eval.json', '{"code": "Do it."}', "'api_call'"),
    ('mmlu', 'a_test.csv', 'Is it?,Yes,No,B\n', '2 choices'),
    ('mmlu', 'a_dev.csv', 'So?,a,b,c,d,B\n', 'no question with its answer'),
    ('mmlu', 'a.csv', 'So?,a,b,c,d,B\n', 'no file of mmlu'),
    ('api_bench', 'a_eval.json', '{"code": ', 'can not be read'),
  ],
)
def test_what_is_of_another_form_is_refused(
  tmp_path, name, file, content, said
):
  folder = write(tmp_path, file, content)
  with pytest.raises(errors.UserError, match=said):
    references.read(folder, name)


def test_the_corpus_is_kept_clear_of_the_same_files():
  assert {name for name, _ in references.READERS.values()} <= set(
    benchmarks.NAMES
  )


@pytest.mark.skipif(REAL is None, reason='HEPHAESTUS_BENCHMARKS is not set')
@pytest.mark.parametrize('name', references.READERS)
def test_real_files_are_read(name):
  path = pathlib.Path(REAL) / references.READERS[name][0]
  if not path.exists():
    pytest.skip(f'no {path}')
  found = references.read(str(path), name)
  assert len(found) > 10
  assert all(each.prompt and each.answer.strip() for each in found)
