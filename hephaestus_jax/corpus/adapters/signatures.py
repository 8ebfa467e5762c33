"""Signatures as documentation writes them -> a Tool's parameters."""

import ast
import re

from hephaestus_jax.corpus.adapters import tool

MAX_SIGNATURE = 5_000  # characters; more is no signature


def parameters(signature: str) -> tuple[tool.Parameter, ...]:
  """The parameters between a signature's brackets.

  Python's own syntax, or the older one with optional parts in brackets.

  >>> parameters('heappush(heap, item, /, *, key: str = None)')
  (Parameter('heap', required=True), Parameter('item', required=True),
   Parameter('key', 'str', default='None'))
  >>> parameters('range(start, stop[, step])')
  (Parameter('start', required=True), Parameter('stop', required=True),
   Parameter('step'))
  """
  start, end = signature.find('('), signature.rfind(')')
  if start < 0 or end < start or len(signature) > MAX_SIGNATURE:
    return ()
  inside = signature[start + 1 : end]
  try:
    function = ast.parse(f'def f({inside}): pass').body[0]
  except (SyntaxError, ValueError, RecursionError, MemoryError):
    return _older(inside)
  if not isinstance(function, ast.FunctionDef):
    return ()
  given = function.args
  positional = [*given.posonlyargs, *given.args]
  missing = len(positional) - len(given.defaults)
  found = [
    _parameter(a, given.defaults[i - missing] if i >= missing else None)
    for i, a in enumerate(positional)
    if i or a.arg not in ('self', 'cls')
  ]
  if given.vararg:
    found.append(tool.Parameter('*' + given.vararg.arg))
  found += [
    _parameter(a, default)
    for a, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)
  ]
  if given.kwarg:
    found.append(tool.Parameter('**' + given.kwarg.arg))
  return tuple(found)


def _parameter(written: ast.arg, default: ast.expr | None) -> tool.Parameter:
  return tool.Parameter(
    name=written.arg,
    type=ast.unparse(written.annotation) if written.annotation else '',
    required=default is None,
    default=ast.unparse(default) if default is not None else '',
  )


def _older(inside: str) -> tuple[tool.Parameter, ...]:
  """'start, stop[, step]': what follows a bracket is optional."""
  found, optional = [], False
  for part in re.split(r'([\[\],])', inside):
    if part == '[':
      optional = True
    name, _, default = part.partition('=')
    if re.fullmatch(r'\s*\*{0,2}[A-Za-z_][\w.]*\s*', name):
      found.append(
        tool.Parameter(
          name.strip(),
          required=not optional and not default,
          default=default.strip(),
        )
      )
  return tuple(found)


def described(
  signature: str, told: tuple[tool.Parameter, ...]
) -> tuple[tool.Parameter, ...]:
  """A signature's parameters with what the text below it tells of them.

  Whether one is required is the signature's to say.

  >>> described('f(a, b=1)', (tool.Parameter('b', 'int', 'Slow.'),))
  (Parameter('a', required=True), Parameter('b', 'int', 'Slow.', default='1'))
  """
  by_name = {parameter.name.lstrip('*'): parameter for parameter in told}
  found = []
  for written in parameters(signature):
    text = by_name.pop(written.name.lstrip('*'), tool.Parameter(''))
    found.append(
      tool.Parameter(
        name=written.name,
        type=written.type or text.type,
        description=text.description,
        required=written.required,
        default=written.default or text.default,
        choices=text.choices,
        fields=text.fields,
      )
    )
  return (*found, *by_name.values())
