"""Result files, and that BFCL's own runner gives them our scores."""

import json
import pathlib
import sys

import pytest

from hephaestus_jax import errors, sandbox
from hephaestus_jax.evaluation import (
  bfcl,
  bfcl_answers,
  bfcl_checker,
  bfcl_official,
  bfcl_results,
  bfcl_scores,
)
from hephaestus_jax.evaluation.bfcl_checker import PROMPTING, TOOLS

sys.path.append(str(pathlib.Path(__file__).parent))
import bfcl_published as published  # noqa: E402

# The official function that scores a file, on every file of a folder.
OFFICIAL = """
import json, os, pathlib, sys
script, package, folder, asking = sys.argv[1:]
sys.path[:0] = [package, str(pathlib.Path(script).parent)]
import bfcl_checker
os.environ['BFCL_PROJECT_ROOT'] = '/tmp'
bfcl_checker._stand_in()
from bfcl_eval.eval_checker import eval_runner
answers, sys.stdout, table = sys.stdout, sys.stderr, {}
for path in sorted(pathlib.Path(folder).rglob(eval_runner.RESULT_FILE_PATTERN)):
  category = eval_runner.extract_test_category(path)
  eval_runner.evaluate_task(
    category, None, pathlib.Path('/tmp'),
    eval_runner.load_file(path, sort_by_id=True, use_lock=False), 'hephaestus',
    bfcl_checker.HANDLERS[asking], table, allow_missing=True)
print(json.dumps(table['hephaestus']), file=answers)
"""


def by_the_official_runner(folder, files, asking, isolation):
  """{category: (accuracy, entries)}"""
  result = sandbox.run(
    [
      *(str(bfcl_official._interpreter()), '-I', '-c', OFFICIAL),
      *(bfcl_checker.__file__, str(folder), str(files), asking),
    ],
    readable=[
      *(str(folder), str(files), sys.base_prefix),
      str(pathlib.Path(bfcl_checker.__file__).parent),
    ],
    method=isolation,
  )
  assert result.returncode == 0, result.stderr.decode()[-2000:]
  table = json.loads(result.stdout)
  return {
    category: (score['accuracy'], score['total_count'])
    for category, score in table.items()
    if category in bfcl_scores.SIZES
  }


def test_a_line_is_what_the_official_tool_reads_and_what_we_read_back(tmp_path):
  files = bfcl_results.ResultFiles(tmp_path / 'new', {'model': 1}, TOOLS)
  entry = {'id': 'live_simple_0-0-0', 'category': 'live_simple', 'turns': [[]]}
  text = '<tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>'
  said = bfcl_answers.Said(
    [{'f': {'x': 1}}], ((bfcl_answers.Answer(text, 'stop', 310, 27),),)
  )
  files.append(entry, said)
  path = tmp_path / 'new/result/mistralai_Ministral-8B-Instruct-2410'
  path = path / 'live/BFCL_v4_live_simple_result.json'
  assert json.loads(path.read_text()) == {
    'id': 'live_simple_0-0-0',
    'result': [{'f': {'x': 1}}],
    'input_token_count': 310,
    'output_token_count': 27,
    'answers': [
      [
        {
          'text': text,
          'finish': 'stop',
          'prompt_tokens': 310,
          'completion_tokens': 27,
        }
      ]
    ],
  }
  with path.open('a') as file:
    file.write('{"id": "live_simple_1-1-0", "resul')  # killed here
  again = bfcl_results.ResultFiles(tmp_path / 'new', {'model': 1}, TOOLS)
  assert again.read('live_simple') == {'live_simple_0-0-0': said}
  assert again.read('multiple') == {}
  again.append({**entry, 'id': 'live_simple_2-2-0'}, said)
  assert list(again.read('live_simple')) == [
    'live_simple_0-0-0',
    'live_simple_2-2-0',
  ]
  with pytest.raises(errors.UserError, match='model was 1, now 2'):
    bfcl_results.ResultFiles(tmp_path / 'new', {'model': 2}, TOOLS)


@pytest.mark.parametrize('asking', [TOOLS, PROMPTING])
def test_the_official_runner_gives_our_score_on_our_files(
  folder, isolation, tmp_path, asking
):
  categories = (*bfcl_scores.SINGLE_TURN, 'multi_turn_miss_func')
  chosen = bfcl.subset(
    bfcl_official.read_entries(folder, categories, isolation, asking), 6
  )
  files = bfcl_results.ResultFiles(tmp_path / 'new', {}, asking)
  said = [mixed(folder, entry, i % 6, asking) for i, entry in enumerate(chosen)]
  for entry, one in zip(chosen, said, strict=True):
    files.append(entry, one)
  records = bfcl.judge(folder, chosen, said, isolation)
  ours = {
    category: (row['accuracy'], row['n'])
    for category, row in bfcl_scores.count(records).items()
  }
  official = by_the_official_runner(folder, tmp_path / 'new', asking, isolation)
  assert official == ours
  assert len(ours) == 14
  assert ours['multiple'] == (2 / 6, 6)
  assert 2 / 6 <= ours['multi_turn_miss_func'][0] < 1


def mixed(folder, entry, i, asking):
  """A right answer, or one that is wrong in one of several ways."""
  if entry['category'] in bfcl_scores.MULTI_TURN:
    turns = published.truth(folder, entry)
    if i < 2:
      return published.played(turns, asking)
    if i == 2:
      return published.played([[] for _ in turns], asking)
    if i == 3:
      return published.played(turns[:-1], asking)
    if i == 4:
      return bfcl_answers.Said(
        'prompt_too_long', ((bfcl_answers.Answer('', 'prompt_too_long'),),)
      )
    return published.played([[('rm_all', {})], *turns[1:]], asking)
  if i == 2:
    return published.answered('I can not.', entry, 'chatml')
  if i == 3:
    return published.answered('', entry, 'chatml', 'prompt_too_long')
  if i == 4:
    return published.answered('<tool_call>[f(', entry, 'chatml', 'length')
  calls = [('f', {'x': float('nan'), 'y': '\ud800'})]
  if i < 2 and 'relevance' not in entry['category']:
    calls = published.calls(folder, entry)
  if asking == PROMPTING:
    return published.answered(published.prompted(calls), entry, 'chatml')
  text = published.written(entry, calls, 'chatml')
  return published.answered(text, entry, 'chatml')
