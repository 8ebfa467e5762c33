import doctest
import types

import pytest

from hephaestus_jax.corpus.adapters import (
  api_bank,
  api_sequence,
  calls,
  columns,
  command_line,
  dialog,
  groups,
  json_calls,
  markup,
  messages,
  pages,
  parts,
  plain,
  plans,
  prose,
  python_source,
  question_answer,
  react,
  service_models,
  solution_tree,
  text_games,
  tool,
  tool_tasks,
  wording,
)
from hephaestus_jax.corpus.files import archive

MODULES = (
  api_bank,
  api_sequence,
  archive,
  calls,
  columns,
  command_line,
  dialog,
  groups,
  json_calls,
  markup,
  messages,
  pages,
  parts,
  plain,
  plans,
  prose,
  python_source,
  question_answer,
  react,
  service_models,
  solution_tree,
  text_games,
  tool,
  tool_tasks,
  wording,
)


@pytest.mark.parametrize('module', MODULES, ids=lambda module: module.__name__)
def test_what_the_docstrings_show_is_what_the_functions_give(
  module: types.ModuleType,
) -> None:
  tested = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
  assert tested.attempted > 0
  assert tested.failed == 0
