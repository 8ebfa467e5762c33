"""Gin, made strict: files and overrides in, a checked configuration out.

T5X's conventions hold (a run file, `--gin_file=`, `--gin.NAME=VALUE`,
`%gin.REQUIRED`), without their quoting: a value that is no gin literal is a
string. Added to gin: every value is checked against the annotation of the
parameter that it reaches, an override that nothing reads is an error, unknown
names come with the nearest known one, '{RUN_DIR}/cache' has its macro filled
in, and each value's origin is known.

Bindings are read twice: as text (`read`), which imports nothing and knows where
each one stands, and by gin, which does the work.
"""

import collections.abc
import dataclasses
import difflib
import inspect
import pathlib
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import gin
import typeguard
from gin import config as gin_config
from gin import config_parser

from hephaestus_jax import errors

MACRO = re.compile(r'[A-Z][A-Z0-9_]*')
INTERPOLATED = re.compile(r'\{([A-Z][A-Z0-9_]*)\}')
REQUIRED = 'gin.REQUIRED'
DYNAMIC = 'from __gin__ import dynamic_registration'


@dataclasses.dataclass(frozen=True)
class Macro:
  """A reference to a macro, as written: %NAME."""

  name: str

  def __repr__(self) -> str:
    return f'%{self.name}'


@dataclasses.dataclass(frozen=True)
class Reference:
  """A reference to a function or its result, as written: @scope/name()."""

  name: str
  evaluate: bool

  def __repr__(self) -> str:
    return f'@{self.name}' + ('()' if self.evaluate else '')


@dataclasses.dataclass(frozen=True)
class Binding:
  """One line of configuration.

  Attributes:
    name: 'TRAIN_STEPS' for a macro, else 'scope/module.function.parameter'.
    value: a literal, with Macro and Reference where those stand.
    origin: 'file.gin:12', or the override as the user typed it.
  """

  name: str
  value: Any
  origin: str

  @property
  def is_macro(self) -> bool:
    """Whether it binds a macro, not a parameter."""
    return MACRO.fullmatch(self.name) is not None


@dataclasses.dataclass(frozen=True)
class Text:
  """What the files and overrides say, before gin resolves any of it."""

  bindings: tuple[Binding, ...]
  imports: tuple[str, ...]

  @property
  def final(self) -> dict[str, Binding]:
    """The last binding of each name: the one that holds."""
    last: dict[str, Binding] = {}
    for binding in self.bindings:
      last.pop(binding.name, None)  # so that the order is that of the last
      last[binding.name] = binding
    return last

  @property
  def macros(self) -> dict[str, Binding]:
    """The macros among `final`."""
    return {name: b for name, b in self.final.items() if b.is_macro}


class _Delegate(config_parser.ParserDelegate):
  """Makes gin's parser leave references as they are written."""

  def configurable_reference(self, name: str, evaluate: bool) -> Reference:
    return Reference(name, evaluate)

  def macro(self, name: str) -> Macro:
    return Macro(name)


def read(
  files: Sequence[str], overrides: Sequence[str], root: pathlib.Path
) -> Text:
  """Files (then what they include, in place) and overrides as text.

  Args:
    files: paths, looked for here and then in `root`.
    overrides: 'NAME=VALUE' each.
    root: the checkout; `include 'gin/models/tiny.gin'` is relative to it.

  Raises:
    errors.UserError: a file is absent or is no gin; an override has no '='.
  """
  bindings: list[Binding] = []
  imports: dict[str, None] = {}
  for name in files:
    _read_file(find(name, root), root, bindings, imports)
  for override in overrides:
    name, separator, value = override.partition('=')
    if not separator:
      raise errors.UserError(
        f'--gin.{override} has no value. Write --gin.NAME=VALUE.'
      )
    bindings.append(Binding(name.strip(), literal(value), f'--gin.{override}'))
  return Text(tuple(bindings), tuple(imports))


def find(name: str, root: pathlib.Path) -> pathlib.Path:
  """The file `name`, here or in the checkout.

  Raises:
    errors.UserError: it is in neither; the message names near ones.
  """
  for path in (pathlib.Path(name), root / name):
    if path.is_file():
      return path
  there = [str(p.relative_to(root)) for p in root.glob('gin/**/*.gin')]
  raise errors.UserError(f'There is no file {name!r}.{nearest(name, there)}')


def _read_file(
  path: pathlib.Path,
  root: pathlib.Path,
  bindings: list[Binding],
  imports: dict[str, None],
) -> None:
  with path.open() as file:
    parser = config_parser.ConfigParser(file, _Delegate())
    try:
      for statement in parser:
        if isinstance(statement, config_parser.IncludeStatement):
          _read_file(find(statement.filename, root), root, bindings, imports)
        elif isinstance(statement, config_parser.ImportStatement):
          imports[statement.format()] = None
        elif isinstance(statement, config_parser.BindingStatement):
          scope, selector, parameter, value, location = statement
          name = '/'.join(part for part in (scope, selector) if part)
          if parameter:
            name = f'{name}.{parameter}'
          origin = f'{_shown(path, root)}:{location.line_num}'
          bindings.append(Binding(name, value, origin))
    except (SyntaxError, ValueError) as error:
      reason = str(error).splitlines()[0]
      line = getattr(error, 'lineno', None)
      where = _shown(path, root) + (f':{line}' if line else '')
      raise errors.UserError(f'{where} is no gin: {reason}.') from error


def _shown(path: pathlib.Path, root: pathlib.Path) -> str:
  path = path.resolve()
  return str(path.relative_to(root) if path.is_relative_to(root) else path)


def literal(text: str) -> Any:
  """The value of an override: a gin literal, or else the text itself.

  >>> [literal(t) for t in ('3', 'abc', '[1, 2]', '%N', 'a=b')]
  [3, 'abc', [1, 2], %N, 'a=b']
  """
  try:
    parser = config_parser.ConfigParser(f'value = {text}', _Delegate())
    statements = list(parser)
  except (SyntaxError, ValueError):
    return text
  return statements[0].value if len(statements) == 1 else text


def nearest(name: str, known: Iterable[str]) -> str:
  """' Did you mean X?', or '' where nothing known is near."""
  found = difflib.get_close_matches(name, list(known), n=2, cutoff=0.6)
  return f' Did you mean {" or ".join(found)}?' if found else ''


def check_overrides(
  text: Text, elsewhere: Mapping[str, str], shared: bool
) -> Text:
  """`text` without the overrides that belong to another command.

  Args:
    text: what files and overrides say.
    elsewhere: macros of the other commands -> the command that reads them.
    shared: whether the overrides were given for several commands (`hephaestus
      run` hands all of its own to each step), so that one of them may read
      what another doesn't.

  Raises:
    errors.UserError: an override names a macro that no file knows, or one that
      this command doesn't read.
  """
  from_files = [b for b in text.bindings if not b.origin.startswith('--gin.')]
  known = {b.name for b in from_files if b.is_macro}
  readable = read_by(text)
  kept = list(from_files)
  for binding in text.bindings[len(from_files) :]:
    name = binding.name
    if binding.is_macro and name not in readable:
      if name not in known and name not in elsewhere:
        raise errors.UserError(
          f'{binding.origin}: no file of this run knows the macro {name}.'
          f'{nearest(name, {*known, *elsewhere})}'
        )
      if not shared:
        reader = elsewhere.get(name)
        hint = f' `hephaestus {reader}` does.' if reader else ''
        raise errors.UserError(
          f'{binding.origin}: this command does not read {name}.{hint}'
        )
      if name not in known:
        continue
    kept.append(binding)
  return Text(tuple(kept), text.imports)


def read_by(text: Text) -> set[str]:
  """The macros that some parameter takes, directly or through another macro."""
  macros = text.macros
  found: set[str] = set()
  waiting = [m for b in text.bindings if not b.is_macro for m in uses(b.value)]
  while waiting:
    name = waiting.pop()
    if name not in found:
      found.add(name)
      if name in macros:
        waiting.extend(uses(macros[name].value))
  return found


def uses(value: Any) -> Iterator[str]:
  """Names of the macros inside a value: %NAME and '{NAME}' alike."""
  if isinstance(value, Macro):
    yield value.name
  elif isinstance(value, str):
    yield from INTERPOLATED.findall(value)
  elif isinstance(value, dict):
    for item in (*value.keys(), *value.values()):
      yield from uses(item)
  elif isinstance(value, list | tuple):
    for item in value:
      yield from uses(item)


def check_macros(text: Text) -> None:
  """Every macro that is read must be set.

  Raises:
    errors.UserError: one is undefined, or still %gin.REQUIRED.
  """
  macros = text.macros
  for binding in text.bindings:
    for name in uses(binding.value):
      if name != REQUIRED and name not in macros:
        raise errors.UserError(
          f'{binding.origin}: {binding.name} reads the macro {name}, which '
          f'nothing sets.{nearest(name, macros)}'
        )
  for name in sorted(read_by(text) - {REQUIRED}):
    if macros[name].value == Macro(REQUIRED):
      raise errors.UserError(
        f'{name} must be set ({macros[name].origin} requires it): '
        f'add --gin.{name}=VALUE, or bind it in the run file.'
      )


def interpolate(value: Any, macros: Mapping[str, Binding]) -> Any:
  """`value` with each '{NAME}' of its strings filled in.

  >>> interpolate('{D}/x', {'D': Binding('D', 'runs', 'a.gin:1')})
  'runs/x'
  """
  if isinstance(value, str):
    return INTERPOLATED.sub(
      lambda match: str(interpolate(macros[match[1]].value, macros)), value
    )
  if isinstance(value, dict):
    return {k: interpolate(v, macros) for k, v in value.items()}
  if isinstance(value, list | tuple):
    return type(value)(interpolate(v, macros) for v in value)
  return value


def load(text: Text) -> None:
  """Hands the bindings to gin and checks what comes of them.

  Raises:
    errors.UserError: gin refuses a binding, or a value has the wrong type.
  """
  gin.clear_config()
  macros = text.macros
  imports = [line for line in text.imports if line != DYNAMIC]
  for binding in text.final.values():
    value = interpolate(binding.value, macros)
    lines = [DYNAMIC, *imports, f'{binding.name} = {value!r}']
    try:
      gin.parse_config(lines)
    except Exception as error:  # gin raises whatever its parts raise
      raise errors.UserError(_refusal(binding, error)) from error
  check_types(text)


def _refusal(binding: Binding, error: Exception) -> str:
  """Gin's complaint about a binding, with the nearest parameter's name."""
  reason = str(error).splitlines()[0].rstrip('.')
  hint = ''
  match = re.search(r"doesn't have a parameter named '(\w+)'", reason)
  if match:
    selector = binding.name.rpartition('/')[2].rpartition('.')[0]
    configurable = gin_config._REGISTRY.get_match(selector)
    hint = nearest(match[1], _parameters(configurable.wrapped))
  return f'{binding.origin}: {reason}.{hint}'


def _parameters(function: Callable[..., Any]) -> dict[str, Any]:
  """Annotated parameters of a function or constructor."""
  signature = inspect.signature(function, eval_str=True)
  return {
    name: parameter.annotation
    for name, parameter in signature.parameters.items()
  }


def check_types(text: Text) -> None:
  """Compares every bound value with its parameter's annotation.

  Raises:
    errors.UserError: the first that doesn't fit, with where it came from.
  """
  macros = text.macros
  for binding in text.final.values():
    if binding.is_macro:
      continue
    selector, _, parameter = binding.name.rpartition('/')[2].rpartition('.')
    configurable = gin_config._REGISTRY.get_match(selector)
    annotation = _parameters(configurable.wrapped).get(parameter)
    value, origin = _resolved(binding, macros)
    if annotation in (None, inspect.Parameter.empty) or _has_reference(value):
      continue
    if not _fits(value, annotation):
      takes = inspect.formatannotation(annotation).replace(
        'collections.abc.', ''
      )
      raise errors.UserError(
        f'{origin}: {value!r} goes to {binding.name}, which takes {takes}. '
        'Give it a value of that type.'
      )


def _fits(value: Any, annotation: Any) -> bool:
  """Whether a value is what an annotation says; no text is a Sequence."""
  if isinstance(value, str):
    origin = typing.get_origin(annotation)
    if origin is collections.abc.Sequence:
      return False
    if origin in (typing.Union, types.UnionType):
      return any(_fits(value, one) for one in typing.get_args(annotation))
  try:
    typeguard.check_type(
      value,
      annotation,
      collection_check_strategy=typeguard.CollectionCheckStrategy.ALL_ITEMS,
    )
  except typeguard.TypeCheckError:
    return False
  return True


def _resolved(
  binding: Binding, macros: Mapping[str, Binding]
) -> tuple[Any, str]:
  """A binding's value with macros filled in, and where it was written."""
  value, origin = binding.value, binding.origin
  while isinstance(value, Macro):
    origin = macros[value.name].origin
    value = macros[value.name].value
  return fill(value, macros), origin


def fill(value: Any, macros: Mapping[str, Binding]) -> Any:
  """`value` with macros and '{NAME}' replaced by what they stand for."""
  if isinstance(value, Macro):
    return fill(macros[value.name].value, macros)
  if isinstance(value, dict):
    return {k: fill(v, macros) for k, v in value.items()}
  if isinstance(value, list | tuple):
    return type(value)(fill(v, macros) for v in value)
  return interpolate(value, macros)


def _has_reference(value: Any) -> bool:
  if isinstance(value, dict):
    return any(_has_reference(v) for v in value.values())
  if isinstance(value, list | tuple):
    return any(_has_reference(v) for v in value)
  return isinstance(value, Reference)


def resolved(text: Text) -> dict[str, dict[str, str]]:
  """Each parameter's final value and origin, for a person to read."""
  table = {}
  for name, binding in text.final.items():
    if not binding.is_macro:
      value, origin = _resolved(binding, text.macros)
      table[name] = {'value': repr(value), 'origin': origin}
  return table


def macro_help(
  path: pathlib.Path, root: pathlib.Path
) -> list[tuple[str, str, str]]:
  """(name, default, comment) of each macro that a stage file sets.

  Those of the files that it includes come last.

  >>> # TRAIN_STEPS = 400  # updates of stage I
  >>> macro_help(path, root)
  [('TRAIN_STEPS', '400', 'updates of stage I')]
  """
  rows, included = [], []
  for line in path.read_text().splitlines():
    if match := re.match(r'([A-Z][A-Z0-9_]*) = (.*?)(?:\s+# (.*))?$', line):
      rows.append((match[1], match[2], match[3] or ''))
    elif match := re.match(r"include '(.+)'", line):
      included += macro_help(find(match[1], root), root)
  return rows + included


def as_gin(text: Text) -> str:
  """The whole resolved configuration as one gin file that repeats the run."""
  lines = [DYNAMIC, *(line for line in text.imports if line != DYNAMIC), '']
  for name, binding in sorted(text.final.items()):
    value = interpolate(binding.value, text.macros)
    lines.append(f'{name} = {value!r}  # {binding.origin}')
  return '\n'.join(lines) + '\n'
