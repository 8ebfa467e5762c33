"""BFCL's own result files, which grow as a model answers.

    <folder>/inputs.json       what the answers depend on
    <folder>/result/<MODEL>/non_live/BFCL_v4_multiple_result.json
                            live/...  multi_turn/...

Lines are JSON:

    {"id": "multiple_0", "result": [{"area": {"base": 10}}],
     "input_token_count": 310, "output_token_count": 27,
     "answers": [[{"text": "...", "finish": "stop"}]]}

`answers` is ours: what the model wrote, by turns and steps. The official tool
leaves it alone, and a run that was killed reads it and goes on.

The official tool knows models by a table, and MODEL is one of those that it
reads as ours write. So its own command scores these files:

    BFCL_PROJECT_ROOT=<folder> bfcl evaluate --model <MODEL, / for _> \\
        --test-category multiple --partial-eval
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from hephaestus_jax import artefacts
from hephaestus_jax.evaluation import bfcl_answers
from hephaestus_jax.evaluation.bfcl_checker import PROMPTING, TOOLS

MODELS: Mapping[str, str] = {
  TOOLS: 'mistralai_Ministral-8B-Instruct-2410',
  PROMPTING: 'google_gemma-3-1b-it',
}


class ResultFiles:
  """The files of one model that is asked in one way."""

  def __init__(
    self, folder: pathlib.Path, inputs: Mapping[str, Any], asking: str
  ) -> None:
    """Opens the folder, or makes it.

    Raises:
      errors.UserError: it holds answers that depend on something else.
    """
    self._folder = folder
    self._asking = asking
    if not artefacts.reusable(folder, inputs):
      with artefacts.written(folder, inputs):
        pass  # it grows from here

  def path(self, category: str) -> pathlib.Path:
    """A category's file.

    >>> files.path('live_simple').relative_to(folder).as_posix()
    'result/google_gemma-3-1b-it/live/BFCL_v4_live_simple_result.json'
    """
    return (
      self._folder
      / 'result'
      / MODELS[self._asking]
      / group(category)
      / f'BFCL_v4_{category}_result.json'
    )

  def read(self, category: str) -> dict[str, bfcl_answers.Said]:
    """What was said to each entry that was answered, by its id.

    A last line that was cut off is dropped from the file.
    """
    path = self.path(category)
    if not path.exists():
      return {}
    content = path.read_bytes()
    whole = content.rfind(b'\n') + 1
    if whole < len(content):
      os.truncate(path, whole)
    lines = [json.loads(line) for line in content[:whole].splitlines()]
    return {
      line['id']: bfcl_answers.Said(
        line['result'],
        tuple(
          tuple(bfcl_answers.Answer(**answer) for answer in turn)
          for turn in line['answers']
        ),
      )
      for line in lines
    }

  def append(self, entry: Mapping[str, Any], said: bfcl_answers.Said) -> None:
    """Adds an entry's line."""
    prompts = [[one.prompt_tokens for one in turn] for turn in said.answers]
    written = [[one.completion_tokens for one in turn] for turn in said.answers]
    several = group(entry['category']) == 'multi_turn'
    line = {
      'id': entry['id'],
      'result': said.result,
      'input_token_count': prompts if several else prompts[0][0],
      'output_token_count': written if several else written[0][0],
      'answers': [
        [dataclasses.asdict(answer) for answer in turn] for turn in said.answers
      ],
    }
    path = self.path(entry['category'])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('a') as file:
      file.write(json.dumps(line) + '\n')


def group(category: str) -> str:
  """The folder that the official tool puts a category into.

  >>> group('live_simple'), group('multi_turn_base'), group('irrelevance')
  ('live', 'multi_turn', 'non_live')
  """
  for prefix in ('live', 'multi_turn'):
    if category.startswith(prefix):
      return prefix
  return 'non_live'
