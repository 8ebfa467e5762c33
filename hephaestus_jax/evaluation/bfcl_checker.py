"""Asks BFCL's own code for its entries, and whether calls are right.

`bfcl.py` starts it as a program of its own, in a sandbox, on an interpreter
that sees none of our packages:

    python bfcl_checker.py FOLDER entries CATEGORY...   a line per entry
    python bfcl_checker.py FOLDER check                 a line per line of stdin

Lines are JSON. FOLDER is where `pip install --target` put bfcl-eval. The calls
to check are data from end to end: on this road the official checker compares
values and matches patterns, it evaluates nothing.
"""

import functools
import json
import os
import sys
import types
from typing import Any, TextIO

READY = {'ready': True}
# How the official table of models would describe ours: names keep their dots.
MODEL = 'hephaestus'


def main() -> None:
  """Answers on stdout; what the official code prints goes to stderr."""
  answers, sys.stdout = sys.stdout, sys.stderr
  folder, command, *categories = sys.argv[1:]
  sys.path.insert(0, folder)
  os.environ['BFCL_PROJECT_ROOT'] = '/tmp'  # where it makes folders on import
  if command == 'entries':
    for category in categories:
      for entry in _entries(category):
        _write(answers, entry)
  else:
    _stub_model_table()
    _write(answers, READY)
    for line in sys.stdin:
      _write(answers, _verdict(line))


def _write(answers: TextIO, value: dict[str, Any]) -> None:
  # Line by line, so that what was answered before a crash counts.
  print(json.dumps(value), file=answers, flush=True)


def _entries(category: str) -> list[dict[str, Any]]:
  """A category as a model that is given function documents sees it."""
  from bfcl_eval import utils

  return [
    {
      'id': entry['id'],
      'category': category,
      'question': entry['question'][0],
      'functions': entry['function'],
    }
    for entry in utils.load_dataset_entry(category)
  ]


def _stub_model_table() -> None:
  """Stands in for the one import that would need every vendor's client."""
  table = types.ModuleType('bfcl_eval.constants.model_config')
  config = types.SimpleNamespace(underscore_to_dot=False)
  table.MODEL_CONFIG_MAPPING = {MODEL: config}  # type: ignore[attr-defined]
  sys.modules[table.__name__] = table


@functools.cache
def _references(category: str) -> dict[str, tuple[Any, Any]]:
  """Of each entry the functions as the checker wants them, and the answer."""
  from bfcl_eval import utils

  entries = utils.load_dataset_entry(
    category, include_language_specific_hint=False
  )
  answers = utils.load_ground_truth_entry(category)
  # Some answers have an id of another form; their order is that of the entries.
  return {
    entry['id']: (entry['function'], answer['ground_truth'])
    for entry, answer in zip(entries, answers, strict=True)
  }


def _verdict(line: str) -> dict[str, Any]:
  """Whether the calls are right, by the official checker.

  For '{"id": ..., "category": ..., "calls": [{"name": ..., "arguments":
  {...}}]}': {'id', 'valid', 'reason', 'message'}. Where the checker itself
  fails, the calls are wrong, for the reason 'checker_error:<exception>'.
  """
  from bfcl_eval.constants import enums
  from bfcl_eval.eval_checker.ast_eval import ast_checker

  languages = {
    'simple_java': enums.Language.JAVA,
    'simple_javascript': enums.Language.JAVASCRIPT,
  }
  request = json.loads(line)
  category = request['category']
  functions, answer = _references(category)[request['id']]
  calls = [{call['name']: call['arguments']} for call in request['calls']]
  language = languages.get(category, enums.Language.PYTHON)
  try:
    result = ast_checker.ast_checker(
      functions, calls, answer, language, category, MODEL
    )
  except Exception as error:
    # The official checker was written for tidy answers: some that a model
    # makes raise in it. That is the answer's fault, and is counted.
    result = {
      'valid': False,
      'error_type': f'checker_error:{type(error).__name__}',
      'error': [str(error)],
    }
  return {
    'id': request['id'],
    'valid': bool(result['valid']),
    'reason': '' if result['valid'] else result['error_type'],
    'message': '' if result['valid'] else str(result['error'])[:500],
  }


if __name__ == '__main__':
  main()
