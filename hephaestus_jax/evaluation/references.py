"""Questions and their reference answers, from benchmarks' published files.

The paper measures its models by their loss on Nexus, API-Bank, API-Bench and
MMLU (sections 4 and 5, figures 3 and 5) and prints no prompt. Here a question
is plain text in the words of its benchmark, without examples before it: what a
base model can continue, whatever its vocabulary. An answer begins with the
white space between it and its prompt. Which files there are, and that the
corpus is kept clear of the same ones, see `corpus.filters.benchmarks`.
"""

import dataclasses
import json
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hephaestus_jax import errors
from hephaestus_jax.corpus.filters import benchmarks


@dataclasses.dataclass(frozen=True)
class Reference:
  """A prompt, and the answer to it that counts as right."""

  prompt: str
  answer: str


def read(path: str, name: str) -> list[Reference]:
  """The references of one benchmark, in the order of its files.

  Args:
    path: a folder of its files, a zip file of them, or one of them.
    name: of READERS.

  Raises:
    errors.UserError: there is none, one can't be read or is of another form, or
      a record lacks its question or answer: what is read in part would be
      measured in part.
  """
  folder, reader = READERS[name]
  found: list[Reference] = []
  for file, records in benchmarks.published(path, folder):
    try:
      found += reader(file, records)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
      raise errors.UserError(
        f'{file} is no published file of {name} ({type(error).__name__}: '
        f'{error}). Download it again, or take it out of {path}.'
      ) from error
  if not found:
    raise errors.UserError(
      f'{path} has files of {name}, and no question with its answer in them.'
    )
  return found


def nexus(file: str, records: list[Any]) -> Iterator[Reference]:
  """Nexus: a request, the functions on offer where they are told, the call.

  >>> list(nexus('cve_queries.json', [
  ...   {'query': 'Is it up?', 'reference': 'ping(host="a")'}]))
  [Reference(prompt='Query: Is it up?\\nCall:', answer=' ping(host="a")')]

  Of ToolAlpaca's part each of the up to five requests of a record stands alone;
  several calls that answer one are joined by '; '. On the hub a record is JSON
  text in `query_dict`.
  """
  for record in records:
    if 'query_dict' in record:
      record = json.loads(record['query_dict'])
    if 'reference' in record:
      yield _nexus('', record['query'], record['reference'])
    elif 'Output' in record:
      functions = '\n\n'.join(record['context'])
      yield _nexus(functions, record['Input'], record['Output'])
    else:
      for name in sorted(record):
        turn = record[name]
        if name.startswith('turns_') and turn['golden_answer'] is not None:
          calls = json.loads(turn['golden_answer'])
          yield _nexus(
            turn['docstring'].strip(), turn['instruction'], '; '.join(calls)
          )


def _nexus(functions: str, query: str, call: str) -> Reference:
  before = f'{functions}\n\n' if functions else ''
  return Reference(f'{before}Query: {query}\nCall:', f' {call}')


def api_bank(file: str, records: list[Any]) -> Iterator[Reference]:
  """API-Bank: what was said and returned so far, and the next API request.

  >>> list(api_bank('Add-level-1-1.jsonl', [
  ...   {'role': 'User', 'text': '2+3?'},
  ...   {'role': 'API', 'api_name': 'Add', 'param_dict': {'formula': '2+3'},
  ...    'result': {'output': 5}}]))
  [Reference(prompt='User: 2+3?\\nAPI-Request:',
   answer=" [Add(formula='2+3')]")]

  Of levels 1 and 2 every request of a dialogue is asked for; of level 3, the
  scenes, all calls at once. The rows of the hub are asked as they stand.
  """
  if file.endswith('.txt'):
    (text,) = (record['text'] for record in records)
    before, mark, calls = re.split(r'(API Calls?:)', text, maxsplit=1)
    yield Reference(before + mark, '\n' + calls.strip())
  elif all('role' in record for record in records):
    yield from _dialogue(records)
  else:
    for record in records:
      answer = record.get('expected_output') or record['output']
      asked = f'{record["instruction"]}\n{record["input"]}'
      yield Reference(asked.rstrip(), '\n' + answer.strip())


def _dialogue(turns: list[Any]) -> Iterator[Reference]:
  said = ''
  for turn in turns:
    if turn['role'] != 'API':
      said += f'{turn["role"]}: {turn["text"]}\n'
      continue
    given = ', '.join(f'{k}={v!r}' for k, v in turn['param_dict'].items())
    call = f' [{turn["api_name"]}({given})]'
    yield Reference(f'{said}API-Request:', call)
    said += f'API-Request:{call}->{turn["result"]["output"]}\n'


def api_bench(file: str, records: list[Any]) -> Iterator[Reference]:
  """API-Bench (Gorilla): an instruction, and the call that answers it.

  >>> list(api_bench('torchhub_eval.json', [
  ...   {'code': '###Instruction: Find birds.\\n###Output: ...',
  ...    'api_call': 'load("bird")'}]))
  [Reference(prompt='###Instruction: Find birds.\\n###Output: <<<api_call>>>:',
   answer=' load("bird")')]

  The documentation beside a record, and the words around its call, are left
  out: with them the call would be copied.
  """
  for record in records:
    # A few are written '### Output', or stop before it.
    asked = re.split('### ?Output', record['code'])[0].rstrip()
    yield Reference(
      f'{asked}\n###Output: <<<api_call>>>:', f' {record["api_call"]}'
    )


def mmlu(file: str, records: list[Any]) -> Iterator[Reference]:
  """MMLU: a question with four choices, and the letter of the right one.

  >>> list(mmlu('high_school_physics_test.csv', [
  ...   ['What falls?', 'Up', 'Down', 'Left', 'Right', 'B']]))
  [Reference(prompt='The following are multiple choice questions (with answers)
    about high school physics.\\n\\nWhat falls?\\nA. Up\\nB. Down\\nC. Left\\n
    D. Right\\nAnswer:', answer=' B')]

  Of the test split alone.
  """
  subject, is_test, _ = pathlib.PurePath(file).name.partition('_test')
  for question, *choices, letter in records if is_test else ():
    if len(choices) != len('ABCD') or letter not in 'ABCD':
      raise ValueError(f'{letter!r} of {len(choices)} choices')
    lines = [
      'The following are multiple choice questions (with answers) about '
      f'{subject.replace("_", " ")}.\n\n{question}',
      *(f'{a}. {choice}' for a, choice in zip('ABCD', choices, strict=True)),
      'Answer:',
    ]
    yield Reference('\n'.join(lines), f' {letter}')


# By the name of the results: the name in `benchmarks.LAYOUTS`, and how a file
# and its records become references.
READERS: Mapping[
  str, tuple[str, Callable[[str, list[Any]], Iterator[Reference]]]
] = {
  'nexus': ('nexusraven', nexus),
  'api_bank': ('api_bank', api_bank),
  'api_bench': ('apibench', api_bench),
  'mmlu': ('mmlu', mmlu),
}
