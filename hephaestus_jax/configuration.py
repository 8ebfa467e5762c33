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
import importlib
import inspect
import pathlib
import pkgutil
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gin
import typeguard
from gin import config as gin_config
from gin import config_parser

from hephaestus_jax import artefacts, errors

MACRO = re.compile(r'[A-Z][A-Z0-9_]*')
INTERPOLATED = re.compile(r'\{([A-Z][A-Z0-9_]*)\}')
REQUIRED = 'gin.REQUIRED'
# The checkout: what a run file includes is relative to it.
ROOT = pathlib.Path(__file__).resolve().parents[1]
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
  """What the files and overrides say, before gin resolves any of it.

  Attributes:
    bindings: in the order in which they are read.
    imports: lines, each once, and where each is written first.
    includes: macros that an include takes its path from.
  """

  bindings: tuple[Binding, ...]
  imports: Mapping[str, str]
  includes: frozenset[str] = frozenset()

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
  given: list[Binding] = []
  for override in overrides:
    name, separator, value = override.partition('=')
    if not separator:
      raise errors.UserError(
        f'--gin.{override} has no value. Write --gin.NAME=VALUE.'
      )
    given.append(Binding(name.strip(), literal(value), f'--gin.{override}'))
  reader = _Reader(root, given)
  for name in files:
    reader.read(find(name, root))
  return Text(
    tuple(reader.bindings + given),
    reader.imports,
    frozenset(reader.includes),
  )


def find(name: str, root: pathlib.Path) -> pathlib.Path:
  """The file `name`, here or in the checkout.

  Raises:
    errors.UserError: it is in neither; the message names near ones.
  """
  for path in (pathlib.Path(name), root / name):
    if path.is_file():
      return path
  there = [str(p.relative_to(root)) for p in root.glob('gin/**/*.gin')]
  raise errors.UserError(
    f'There is no file {name!r}.{errors.nearest(name, there)}'
  )


class _Reader:
  """Collects what files say, and the files that they include, in place."""

  def __init__(self, root: pathlib.Path, given: Sequence[Binding]):
    self._root = root
    self._given = given
    self.bindings: list[Binding] = []
    self.imports: dict[str, str] = {}
    self.includes: set[str] = set()

  def read(self, path: pathlib.Path) -> None:
    """Takes in one file."""
    with path.open() as file:
      parser = config_parser.ConfigParser(file, _Delegate())
      try:
        for statement in parser:
          if isinstance(statement, config_parser.IncludeStatement):
            self.read(find(self._included(statement, path), self._root))
          elif isinstance(statement, config_parser.ImportStatement):
            line = statement.location.line_num
            origin = f'{shown(path, self._root)}:{line}'
            self.imports.setdefault(statement.format(), origin)
          elif isinstance(statement, config_parser.BindingStatement):
            scope, selector, parameter, value, location = statement
            name = '/'.join(part for part in (scope, selector) if part)
            if parameter:
              name = f'{name}.{parameter}'
            origin = f'{shown(path, self._root)}:{location.line_num}'
            self.bindings.append(Binding(name, value, origin))
      except (SyntaxError, ValueError) as error:
        reason = str(error).splitlines()[0]
        line = getattr(error, 'lineno', None)
        where = shown(path, self._root) + (f':{line}' if line else '')
        raise errors.UserError(f'{where} is no gin: {reason}.') from error

  def _included(
    self, statement: config_parser.IncludeStatement, path: pathlib.Path
  ) -> str:
    """The path of an include; the macro in '{BASE}' must be set above it.

    An override counts as set above: it is what chooses another file.
    """
    macros = {b.name: b for b in (*self.bindings, *self._given) if b.is_macro}
    for name in uses(statement.filename):
      self.includes.add(name)
      if name not in macros:
        raise errors.UserError(
          f'{shown(path, self._root)}:{statement.location.line_num} includes '
          f'{statement.filename!r}, and nothing above it sets {name}.'
          f'{errors.nearest(name, macros)}'
        )
    return str(interpolate(statement.filename, macros))


def shown(path: pathlib.Path, root: pathlib.Path) -> str:
  """A path relative to the checkout, if it is in it."""
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


def prepare(
  files: Sequence[str],
  overrides: Sequence[str],
  elsewhere: Mapping[str, str],
  shared: bool,
) -> Text:
  """Reads a command's configuration and makes every check that needs no code.

  Raises:
    errors.UserError: as in `read`, and in the checks below.
  """
  text = read(files, overrides, ROOT)
  check_files(text, elsewhere)
  text = check_overrides(text, elsewhere, shared)
  check_macros(text)
  return text


def check_files(text: Text, elsewhere: Mapping[str, str]) -> None:
  """Every macro that a file sets must be one that some command knows.

  Args:
    text: what files and overrides say.
    elsewhere: macros of the other commands -> the command that reads them.

  Raises:
    errors.UserError: nothing reads one; the message names what is near.
  """
  used = {name for b in text.bindings for name in uses(b.value)}
  used |= {*text.includes, *elsewhere}
  for binding in text.final.values():
    name = binding.name
    ours = not binding.origin.startswith('--gin.')
    if ours and binding.is_macro and name not in used:
      raise errors.UserError(
        f'{binding.origin} sets {name}, which nothing reads.'
        f'{errors.nearest(name, used - {REQUIRED})}'
      )


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
          f'{errors.nearest(name, {*known, *elsewhere})}'
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
  return dataclasses.replace(text, bindings=tuple(kept))


def read_by(text: Text) -> set[str]:
  """The macros that some parameter takes, directly or through another macro.

  And those that an include takes its path from.
  """
  macros = text.macros
  found: set[str] = set(text.includes)
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
          f'nothing sets.{errors.nearest(name, macros)}'
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


def load(text: Text, function: str | None = None) -> None:
  """Hands the bindings to gin and checks what comes of them.

  Args:
    text: what files and overrides say.
    function: the command's, 'package.module.function': then an override must be
      of a parameter that it, or what it is given, has.

  Raises:
    errors.UserError: gin refuses a binding, a value has the wrong type, or
      nothing reads an override.
  """
  gin.clear_config()
  macros = text.macros
  imports = [line for line in text.imports if line != DYNAMIC]
  for line in imports:
    try:
      gin.parse_config([DYNAMIC, line])
    except ImportError as error:
      raise errors.UserError(_absent(text.imports[line], error)) from error
  readable = read_by(text)
  for binding in text.final.values():
    if binding.is_macro and binding.name not in readable:
      continue  # another command's, which may name what isn't imported here
    value = interpolate(binding.value, macros)
    lines = [DYNAMIC, *imports, f'{binding.name} = {value!r}']
    try:
      gin.parse_config(lines)
    except Exception as error:  # gin raises whatever its parts raise
      raise errors.UserError(_refusal(text, binding, error)) from error
  check_types(text)
  if function is not None:
    _check_parameters(text, function)


def _absent(origin: str, error: ImportError) -> str:
  """Says that an import found no module, and which one is near."""
  reason = str(error).splitlines()[0].rstrip('.')
  hint = ''
  if match := re.search(r"No module named '([\w.]+)\.(\w+)'", reason):
    parent = importlib.import_module(match[1])
    there = [one.name for one in pkgutil.iter_modules(parent.__path__)]
    hint = errors.nearest(match[2], there)
  return f'{origin}: {reason}.{hint}'


def _refusal(text: Text, binding: Binding, error: Exception) -> str:
  """Gin's complaint about a binding, with what is near the unknown name."""
  reason = str(error).splitlines()[0].rstrip('.')
  hint = ''
  if match := re.search(r"doesn't have a parameter named '(\w+)'", reason):
    selector = binding.name.rpartition('/')[2].rpartition('.')[0]
    configurable = gin_config._REGISTRY.get_match(selector)
    hint = errors.nearest(match[1], _parameters(configurable.wrapped))
  elif match := re.search(r"<module '([\w.]+)'.*no attribute (\w+)", reason):
    reason = f'{match[1]} has no {match[2]!r}'
    module = importlib.import_module(match[1])
    hint = errors.nearest(match[2], [n for n in vars(module) if n[0] != '_'])
  elif match := re.search(r"'(\w+)' was not provided by an import", reason):
    reason = f'no file of this run imports a module {match[1]!r}'
    aliases = [line.split()[-1] for line in text.imports if line != DYNAMIC]
    hint = errors.nearest(match[1], aliases)
  return f'{binding.origin}: {reason}.{hint}'


def _parameters(function: Callable[..., Any]) -> dict[str, Any]:
  """Annotated parameters of a function or constructor."""
  signature = inspect.signature(function, eval_str=True)
  return {
    name: parameter.annotation
    for name, parameter in signature.parameters.items()
  }


def _check_parameters(text: Text, function: str) -> None:
  """Every override must be of something that the command is given.

  Raises:
    errors.UserError: one is of a function, or in a scope, that the command's
      function has no reference to.
  """
  reached = {('', _selected(function))}
  waiting = list(reached)
  bound = [b for b in text.final.values() if not b.is_macro]
  while waiting:
    scope, configurable = waiting.pop()
    for binding in bound:
      if _reads(scope, configurable, binding):
        for reference in _references(fill(binding.value, text.macros)):
          inner, _, selector = reference.name.rpartition('/')
          found = (inner or scope, _selected(selector))
          if found not in reached:
            reached.add(found)
            waiting.append(found)
  for binding in bound:
    if binding.origin.startswith('--gin.') and not any(
      _reads(scope, configurable, binding) for scope, configurable in reached
    ):
      name = binding.name.rpartition('/')[2]
      configurable = _selected(name.rpartition('.')[0])
      known = [
        f'{scope}/{name}' for scope, one in reached if one == configurable
      ]
      raise errors.UserError(
        f'{binding.origin}: this command does not read {binding.name}.'
        f'{errors.nearest(binding.name, known)}'
      )


def _selected(selector: str) -> str:
  """The full name of what a selector stands for."""
  return str(gin_config._REGISTRY.get_match(selector).selector)


def _reads(scope: str, configurable: str, binding: Binding) -> bool:
  """Whether what is called in a scope takes a binding's value.

  'a/b' takes what is bound for 'a/b', for 'a' and for no scope.
  """
  bound_for, _, name = binding.name.rpartition('/')
  inside = not bound_for or f'{scope}/'.startswith(f'{bound_for}/')
  return inside and _selected(name.rpartition('.')[0]) == configurable


def _references(value: Any) -> Iterator[Reference]:
  if isinstance(value, Reference):
    yield value
  elif isinstance(value, dict):
    for item in value.values():
      yield from _references(item)
  elif isinstance(value, list | tuple):
    for item in value:
      yield from _references(item)


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
  return any(True for _ in _references(value))


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


def recorded(path: pathlib.Path) -> Text:
  """A config.gin as text, each value with the origin that it had."""
  text = read([str(path)], [], path.parent)
  lines = path.read_text().splitlines()
  bindings = []
  for binding in text.bindings:
    line = lines[int(binding.origin.rpartition(':')[2]) - 1]
    origin = line.rpartition('  # ')[2]
    bindings.append(dataclasses.replace(binding, origin=origin))
  return dataclasses.replace(text, bindings=tuple(bindings))


def reached(text: Text, name: str) -> list[str]:
  """The parameters that take a macro, directly or through other macros.

  >>> reached(text, 'TRAIN_STEPS')
  ['stage1/optimizer.cosine.steps', 'stage1/update.Stage.steps']
  """
  found, waiting = {name}, [name]
  while waiting:
    macro = waiting.pop()
    for binding in text.final.values():
      if binding.name not in found and macro in uses(binding.value):
        found.add(binding.name)
        if binding.is_macro:
          waiting.append(binding.name)
  return sorted(one for one in found if not MACRO.fullmatch(one))


def config_hash(text: Text) -> str:
  """Sixteen hex digits that change when a parameter's value does.

  Macros that no parameter takes, and where values come from, have no part in
  it. They are the first line of every config.gin.
  """
  values = {name: row['value'] for name, row in resolved(text).items()}
  return artefacts.fingerprint(values)


def as_gin(text: Text) -> str:
  """The whole configuration as one gin file that repeats the run."""
  lines = [f'# {config_hash(text)}', DYNAMIC]
  lines += [*(line for line in text.imports if line != DYNAMIC), '']
  for name, binding in sorted(text.final.items()):
    lines.append(f'{name} = {binding.value!r}  # {binding.origin}')
  return '\n'.join(lines) + '\n'
