"""Asks BFCL's own code for its entries, its environments and its verdicts.

`bfcl.py` and `bfcl_multi_turn.py` start it as a program of its own, in a
sandbox, on an interpreter that sees none of our packages:

    python bfcl_checker.py FOLDER entries ASKING CATEGORY...   a line per entry
    python bfcl_checker.py FOLDER play                  a line per line of stdin
    python bfcl_checker.py FOLDER check                 a line per line of stdin

Lines are JSON. FOLDER is where `pip install --target` put bfcl-eval. What a
model wrote is the `result` of BFCL's result files, in one of two forms:

    ASKING = tools      [{name: arguments}], or text where there is no call
    ASKING = prompting  text: '[area(base=10, height=5)]'

Environments are state that calls change, so `play` makes all calls of an
episode again for each step of it: what one process forgets, nobody misses.
The official code evaluates parts of what a model wrote.
"""

import functools
import importlib
import itertools
import json
import os
import pathlib
import sys
import types
from typing import Any, TextIO

READY = {'ready': True}
TOOLS, PROMPTING = 'tools', 'prompting'
# How the official table of models would describe ours: names keep their dots.
MODEL = 'hephaestus'
# What the official code imports and needs for its tables, or for the network.
NOT_NEEDED = ('numpy', 'pandas', 'requests')
# What executable questions are about, and judged by, in the release before.
FUNCTIONS = 'bfcl.eval_checker.executable_eval.data.executable_python_function'
_NUMBERS = itertools.count()


class Tools:
  """Reads calls that are calls already, as official handlers do."""

  def decode_ast(self, result: Any, *_: Any, **__: Any) -> Any:
    """As the official `MistralFCHandler`."""
    if not isinstance(result, list):
      raise ValueError(f'Model did not return a list of calls: {result}')
    return result

  def decode_execute(self, result: Any, *_: Any, **__: Any) -> list[str]:
    """Calls as Python's source text."""
    from bfcl_eval.model_handler import utils

    calls: list[str] = utils.convert_to_function_call(self.decode_ast(result))
    return calls


class Prompting:
  """Reads text, as official handlers do for models that are prompted."""

  def decode_ast(self, result: Any, language: Any, *_: Any, **__: Any) -> Any:
    """As the official `OSSHandler`."""
    from bfcl_eval.model_handler import utils

    return utils.default_decode_ast_prompting(result, language)

  def decode_execute(self, result: Any, *_: Any, **__: Any) -> list[str]:
    """Calls as Python's source text."""
    from bfcl_eval.model_handler import utils

    calls: list[str] = utils.default_decode_execute_prompting(result)
    return calls


HANDLERS: dict[str, Tools | Prompting] = {
  TOOLS: Tools(),
  PROMPTING: Prompting(),
}


def main() -> None:
  """Answers on stdout; what the official code prints goes to stderr."""
  answers, sys.stdout = sys.stdout, sys.stderr
  folder, command, *arguments = sys.argv[1:]
  sys.path.insert(0, folder)
  os.environ['BFCL_PROJECT_ROOT'] = '/tmp'  # where it makes folders on import
  _stand_in()
  if command == 'entries':
    asking, *categories = arguments
    for category in categories:
      for entry in _entries(asking, category):
        _write(answers, entry)
  else:
    # What is not installed shall not pass for what an answer broke.
    import bfcl_eval.eval_checker.eval_runner  # noqa: F401

    answer = {'check': _verdict, 'play': _step}[command]
    _write(answers, READY)
    for line in sys.stdin:
      _write(answers, answer(json.loads(line)))


def _write(answers: TextIO, value: dict[str, Any]) -> None:
  # Line by line, so that what was answered before a crash counts.
  print(json.dumps(value), file=answers, flush=True)


def _stand_in() -> None:
  """Stands in for the imports that would need every vendor's client."""
  for name in NOT_NEEDED:
    sys.modules[name] = types.ModuleType(name)
  table = types.ModuleType('bfcl_eval.constants.model_config')
  config = types.SimpleNamespace(underscore_to_dot=False)
  table.MODEL_CONFIG_MAPPING = {MODEL: config}  # type: ignore[attr-defined]
  sys.modules[table.__name__] = table


def _questions(category: str, hint: bool) -> list[dict[str, Any]]:
  """The official entries; of executable ones those that run without network.

  They have no answers that are written down: what the published call returns
  here is `execution_result`.

  Args:
    hint: whether functions say of which language they are.
  """
  from bfcl_eval import utils

  found: list[dict[str, Any]]
  if not category.startswith('exec_'):
    found = utils.load_dataset_entry(
      category, include_language_specific_hint=hint
    )
    return found
  import bfcl

  data = pathlib.Path(bfcl.__file__).parent / 'data'
  found = []
  for entry in utils.load_file(data / f'BFCL_v3_{category}.json'):
    try:
      entry['execution_result'] = [*map(_returned, entry['ground_truth'])]
    except Exception:  # it asks a server
      continue
    found.append(entry)
  if hint:
    found = utils.add_language_specific_hint_to_function_doc(found)
  return found


def _returned(call: str) -> Any:
  """What a published call returns."""
  functions = dict(vars(importlib.import_module(FUNCTIONS)))
  return eval(call, functions)  # noqa: S307 - it may hold a sum


def _entries(asking: str, category: str) -> list[dict[str, Any]]:
  """A category as a model sees it: see `bfcl_official.read_entries`."""
  from bfcl_eval.constants import default_prompts as said
  from bfcl_eval.model_handler import utils as prompts

  found = []
  for entry in _questions(category, hint=True):
    turns, functions = entry['question'], entry['function']
    added = entry.get('missed_function', {})
    more = said.DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_FC
    if asking == PROMPTING:
      turns[0] = prompts.system_prompt_pre_processing_chat_model(
        turns[0], functions, entry['id']
      )
      functions = []
      more = said.DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_PROMPTING
    for turn, missed in added.items():
      text = more.format(functions=missed)
      turns[int(turn)] = [{'role': 'user', 'content': text}]
    found.append(
      {
        'id': entry['id'],
        'category': category,
        'asking': asking,
        'turns': turns,
        'functions': functions,
        'added': added if asking == TOOLS else {},
        'environments': {
          name: entry.get('initial_config', {}).get(name, {})
          for name in entry.get('involved_classes', ())
        },
      }
    )
  return found


@functools.cache
def _data(category: str) -> dict[str, str]:
  """Of each entry what the official runner has of it, and the answer.

  As JSON, since the official code changes what it is given.
  """
  from bfcl_eval import utils

  entries = _questions(category, hint=False)
  if utils.is_relevance_or_irrelevance(category) or (
    utils.is_executable(category)
  ):
    return {entry['id']: json.dumps([entry, None]) for entry in entries}
  answers = utils.load_ground_truth_entry(category)
  # Some answers have an id of another form; their order is that of the entries.
  return {
    entry['id']: json.dumps([entry, answer['ground_truth']])
    for entry, answer in zip(entries, answers, strict=True)
  }


def _verdict(request: dict[str, Any]) -> dict[str, Any]:
  """Whether a result is right, by the official runner's own functions.

  For {'id', 'category', 'asking', 'result'}: {'id', 'valid', 'reason',
  'message'}. Where the official code itself fails, the result is wrong, for the
  reason 'checker_error:<exception>'.
  """
  entry, answer = json.loads(_data(request['category'])[request['id']])
  try:
    found = _official(request, entry, answer)
  except Exception as error:
    # The official checker was written for tidy answers: some that a model
    # makes raise in it. That is the answer's fault, and is counted.
    found = {
      'valid': False,
      'error_type': f'checker_error:{type(error).__name__}',
      'error': [str(error)],
    }
  valid, reason, message = bool(found['valid']), '', ''
  if not valid:
    # Of several turns the error is an object of its own.
    told = found['error']
    nested = told if isinstance(told, dict) else {}
    reason = found.get('error_type') or nested['error_type']
    message = str(nested.get('error_message', told))[:500]
  return {
    'id': request['id'],
    'valid': valid,
    'reason': reason,
    'message': message,
  }


def _official(
  request: dict[str, Any], entry: dict[str, Any], answer: Any
) -> dict[str, Any]:
  from bfcl_eval.constants import enums
  from bfcl_eval.eval_checker import eval_runner

  category, result = request['category'], request['result']
  handler = HANDLERS[request['asking']]
  found: dict[str, Any]
  if eval_runner.is_relevance_or_irrelevance(category):
    found = eval_runner._evaluate_single_relevance_entry(
      handler, entry['id'], result, entry, MODEL, category
    )
  elif eval_runner.is_executable(category):
    found = _executed(handler, result, entry, category)
  elif eval_runner.is_multi_turn(category):
    # Instances are kept by the model's name and the entry's.
    name = f'{MODEL}_{next(_NUMBERS)}'
    found = eval_runner._evaluate_single_multi_turn_entry(
      handler, entry['id'], result, answer, entry, name, category
    )
    _forget()
  else:
    languages = {
      'simple_java': (enums.Language.JAVA, enums.ReturnFormat.JAVA),
      'simple_javascript': (
        enums.Language.JAVASCRIPT,
        enums.ReturnFormat.JAVASCRIPT,
      ),
    }
    language, form = languages.get(
      category, (enums.Language.PYTHON, enums.ReturnFormat.PYTHON)
    )
    found = eval_runner._evaluate_single_ast_entry(
      *(handler, entry['id'], result, answer, entry, MODEL, category),
      language=language,
      return_format=form,
    )
  return found


def _executed(
  handler: Tools | Prompting, result: Any, entry: dict[str, Any], category: str
) -> dict[str, Any]:
  """As the official runner of the release before, which needs its clients."""
  from bfcl.eval_checker.executable_eval import executable_checker
  from bfcl_eval import utils

  try:
    calls = handler.decode_execute(result)
  except Exception as error:
    return {
      'valid': False,
      'error_type': 'executable_decoder:decoder_failed',
      'error': [f'Failed to decode executable. {error}'],
    }
  if not utils.is_executable_format_output(calls):
    return {
      'valid': False,
      'error_type': 'executable_decoder:wrong_output_format',
      'error': ['Did not output in the specified format.'],
    }
  found: dict[str, Any] = executable_checker.executable_checker_non_rest(
    calls, entry, category
  )
  return found


def _step(request: dict[str, Any]) -> dict[str, Any]:
  """What the last result of an episode does to its environments.

  For {'id', 'category', 'asking', 'environments': {class: its beginning},
  'results': [result, ...]}: {'id', 'observations': [text for each call],
  'told': them as one message to a model that is prompted, 'stopped': ''}; []
  where the last result holds no call that can be read, at which the official
  loop goes on to the next turn.
  """
  from bfcl_eval.eval_checker.multi_turn_eval import multi_turn_utils
  from bfcl_eval.model_handler import utils

  handler = HANDLERS[request['asking']]
  calls: list[str] = []
  observations: list[str] = []
  # Each step makes all calls again: from the beginning, under a new name.
  name = f'{MODEL}_{next(_NUMBERS)}'
  for result in request['results']:
    observations = []
    try:
      calls = handler.decode_execute(result)
    except Exception:
      calls = []
    if multi_turn_utils.is_empty_execute_response(calls):
      continue
    observations, _ = multi_turn_utils.execute_multi_turn_func_call(
      calls,
      request['environments'],
      list(request['environments']),
      name,
      request['id'],
      long_context='long_context' in request['category'],
    )
  _forget()
  told = ''
  if observations:
    told = utils.format_execution_results_prompting(
      {}, observations, {'model_responses_decoded': calls}
    )
  return {
    'id': request['id'],
    'observations': observations,
    'told': told,
    'stopped': '',
  }


def _forget() -> None:
  """Drops the instances that the official code keeps as its globals."""
  from bfcl_eval.eval_checker.multi_turn_eval import multi_turn_utils

  kept = vars(multi_turn_utils)
  for name in [name for name in kept if name.startswith(f'{MODEL}_')]:
    del kept[name]


if __name__ == '__main__':
  main()
