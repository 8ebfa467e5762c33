"""Which library functions a piece of Python code calls.

Names are followed to where they were imported from, and to the class that a
variable was made of, as far as the text itself tells; nothing is imported or
run.
"""

import ast
import warnings
from collections.abc import Iterator

from hephaestus_jax.corpus.adapters import entry


def find(code: str) -> tuple[str, ...]:
  """Full names of the library functions that `code` calls, in its order.

  >>> find('import numpy as np\\n'
  ...      'from json import dumps\\n'
  ...      'generator = np.random.Generator(bits)\\n'
  ...      'print(dumps(generator.normal(size=2)))\\n')
  ('numpy.random.Generator', 'json.dumps', 'numpy.random.Generator.normal')

  Raises:
    entry.MalformedError: 'code_not_python', 'code_nested_too_deep'.
  """
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # about escapes in the snippet's strings
      tree = ast.parse(code)
    origins = _imported(tree)
    for name, value in _assigned(tree):
      if isinstance(value, ast.Call):
        made_of = _full_name(value.func, origins)
        # What a function returns isn't told by its name; a class, by its
        # capital, makes itself.
        if made_of.rpartition('.')[2][:1].isupper():
          origins.setdefault(name, made_of)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    calls.sort(key=lambda call: (call.lineno, call.col_offset))
    names = [_full_name(call.func, origins) for call in calls]
  except (SyntaxError, ValueError):  # ValueError: a null character
    raise entry.MalformedError('code_not_python') from None
  except (MemoryError, RecursionError):
    raise entry.MalformedError('code_nested_too_deep') from None
  return tuple(dict.fromkeys(name for name in names if name))


def _imported(tree: ast.AST) -> dict[str, str]:
  """Local names that imports make -> what they stand for."""
  origins = {}
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      for alias in node.names:
        first = alias.name.partition('.')[0]
        origins[alias.asname or first] = alias.name if alias.asname else first
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
      for alias in node.names:
        origins[alias.asname or alias.name] = f'{node.module}.{alias.name}'
  return origins


def _assigned(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
  """(name, value) of `name = value` and `with value as name`."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
      target = node.targets[0]
      if isinstance(target, ast.Name):
        yield target.id, node.value
    if isinstance(node, ast.withitem) and isinstance(
      node.optional_vars, ast.Name
    ):
      yield node.optional_vars.id, node.context_expr


def _full_name(function: ast.expr, origins: dict[str, str]) -> str:
  """'numpy.linalg.norm' of `np.linalg.norm`; '' where the root is unknown."""
  parts: list[str] = []
  while isinstance(function, ast.Attribute):
    parts.append(function.attr)
    function = function.value
  if not isinstance(function, ast.Name) or function.id not in origins:
    return ''
  return '.'.join([origins[function.id], *reversed(parts)])
