"""What a configured object was configured with, as plain JSON.

An optimizer is a closure over numbers and other closures: two of them can't be
compared, their descriptions can.
"""

import dataclasses
import functools
import inspect
import types
from collections.abc import Mapping
from typing import Any


def describe(value: Any) -> Any:
  """JSON that is equal for two objects made alike, and differs otherwise.

  >>> describe({'schedule': step, 'shape': (2, 3)})  # def step(...): ...
  {'schedule': {'function': 'step'}, 'shape': [2, 3]}

  A function is its name and what it closes over; a dataclass or a named tuple
  its fields.

  Raises:
    TypeError: there is no telling what `value` holds.
  """
  if value is None or isinstance(value, bool | int | float | str):
    return value
  if dataclasses.is_dataclass(value) and not isinstance(value, type):
    fields = dataclasses.fields(value)
    return {
      field.name: describe(getattr(value, field.name)) for field in fields
    }
  if isinstance(value, Mapping):
    return {str(key): describe(item) for key, item in value.items()}
  if isinstance(value, tuple) and hasattr(value, '_asdict'):
    return describe(value._asdict())
  if isinstance(value, list | tuple):
    if all(isinstance(item, bool | int | float | str) for item in value):
      return list(value)
    # By position, so that a difference inside has a path.
    return {str(i): describe(item) for i, item in enumerate(value)}
  if isinstance(value, functools.partial):
    given = {'arguments': value.args, **value.keywords}
    return {'partial': describe(value.func), **describe(given)}
  if hasattr(value, '__wrapped__'):
    return describe(value.__wrapped__)
  if isinstance(value, types.FunctionType):
    closed = inspect.getclosurevars(value).nonlocals
    return {
      'function': value.__qualname__.replace('<locals>.', ''),
      **{name: describe(item) for name, item in closed.items()},
    }
  if isinstance(value, type | types.BuiltinFunctionType):
    return value.__name__
  raise TypeError(f'{value!r} can not be described.')
