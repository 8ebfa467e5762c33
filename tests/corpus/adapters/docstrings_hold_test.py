import doctest
import types

import pytest

from hephaestus_jax.corpus import archive
from hephaestus_jax.corpus.adapters import (
  calls,
  command_line,
  groups,
  markup,
  prose,
  python_source,
  service_models,
  tool,
  wording,
)

MODULES = (
  archive,
  calls,
  command_line,
  groups,
  markup,
  prose,
  python_source,
  service_models,
  tool,
  wording,
)


@pytest.mark.parametrize('module', MODULES, ids=lambda module: module.__name__)
def test_what_the_docstrings_show_is_what_the_functions_give(
  module: types.ModuleType,
) -> None:
  tested = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
  assert tested.attempted > 0
  assert tested.failed == 0
