"""Ansible modules: three YAML texts inside a Python file."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.adapters import calls, entry, groups, tool
from hephaestus_jax.corpus.files import archive

MAX_EXAMPLE = 1_500  # characters of example tasks on a page

_TYPES = {
  'bool': 'boolean',
  'dict': 'object',
  'float': 'number',
  'int': 'integer',
  'list': 'array',
}


def modules(names: Sequence[str]) -> list[str]:
  """The modules that are part of ansible-core."""
  pattern = r'ansible/modules/[a-z]\w*\.py'
  return [name for name in sorted(names) if re.fullmatch(pattern, name)]


def docs(
  opened: archive.Opened, member: str
) -> Iterator[entry.Entry | entry.Flaw]:
  """A module -> its manual page."""
  name = _name(member)
  texts = _texts(opened, member)
  described = _tool(name, texts)
  page = tool.Tool(
    **{
      **vars(described),
      'result': _result(texts.get('RETURN', '')),
      'example': _first_tasks(texts.get('EXAMPLES', '')),
    }
  )
  yield entry.Entry(
    groups.ansible(name),
    name,
    (document.Segment('documentation', tool.markdown(page)),),
    url='https://docs.ansible.com/ansible/latest/collections/ansible/builtin/'
    f'{name}_module.html',
  )


def requests(
  opened: archive.Opened, member: str
) -> Iterator[entry.Entry | entry.Flaw]:
  """A module -> tools to choose from, request and call per example task."""
  name = _name(member)
  group = groups.ansible(name)
  texts = _texts(opened, member)
  described = _tool(name, texts)
  others = [
    _tool(_name(path), _texts(opened, path))
    for path in calls.others(modules(opened.names()), member)
  ]
  for i, task in enumerate(_tasks(texts.get('EXAMPLES', ''))):
    try:
      arguments = _arguments(described, name, task)
      said = calls.request(task['name'], arguments)
    except entry.MalformedError as error:
      yield entry.Flaw(group, f'{name}/{i}', error.reason)
      continue
    segments = calls.instruction(described, others, arguments, said)
    yield entry.Entry(group, f'{name}/{i}', segments)


def _name(member: str) -> str:
  return member.rsplit('/', 1)[1].removesuffix('.py')


def _texts(opened: archive.Opened, member: str) -> dict[str, str]:
  """The module's string constants: DOCUMENTATION, EXAMPLES, RETURN."""
  try:
    tree = ast.parse(opened.read(member))
  except (SyntaxError, ValueError):
    raise entry.MalformedError('not_python') from None
  found = {}
  for node in tree.body:
    match node:
      case ast.Assign(
        targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))
      ):
        found[name] = text
  if 'DOCUMENTATION' not in found:
    raise entry.MalformedError('no_documentation')
  return found


def _yaml(text: str) -> Any:
  try:
    return yaml.load(text, Loader=yaml.CSafeLoader)
  except yaml.YAMLError:
    raise entry.MalformedError('not_yaml') from None


def _tool(name: str, texts: Mapping[str, str]) -> tool.Tool:
  """The module as a Tool named 'ansible.builtin.<module>'."""
  content = _yaml(texts['DOCUMENTATION'])
  if not isinstance(content, dict) or 'description' not in content:
    raise entry.MalformedError('no_description')
  notes = _plain(content.get('notes'), '- ')
  return tool.Tool(
    name=f'ansible.builtin.{name}',
    description=_plain(content['description']),
    parameters=tuple(_parameters(content.get('options') or {})),
    language='yaml',
    sections=(('Notes', notes),) if notes else (),
  )


def _parameters(options: Mapping[str, Any]) -> Iterator[tool.Parameter]:
  for name, option in options.items():
    kind = _TYPES.get(option.get('type', 'str'), 'string')
    if kind == 'array':
      elements = option.get('elements', 'str')
      kind = f'array of {_TYPES.get(elements, "string")}'
    default = option.get('default')
    yield tool.Parameter(
      name=name,
      type=kind,
      description=_plain(option.get('description')),
      required=bool(option.get('required')),
      default='' if default is None else str(default),
      choices=tuple(map(str, option.get('choices') or ())),
      fields=tuple(_parameters(option.get('suboptions') or {})),
    )


def _result(text: str) -> tuple[tool.Parameter, ...]:
  """What a module returns, from its RETURN text."""
  content = _yaml(text) or {}
  if not isinstance(content, dict):
    raise entry.MalformedError('malformed_return')
  return tuple(
    tool.Parameter(
      name=str(name),
      type=_TYPES.get(found.get('type', ''), 'string'),
      description=_plain(found.get('description')),
    )
    for name, found in content.items()
    if isinstance(found, dict)
  )


def _plain(text: Any, bullet: str = '') -> str:
  """Ansible's markup as text: V(true) -> `true`, L(words,url) -> words."""
  lines = text if isinstance(text, list) else [text]
  joined = '\n'.join(
    bullet + ' '.join(str(line).split()) for line in lines if line
  )
  joined = re.sub(r'\b[LR]\(([^,()]*),[^()]*\)', r'\1', joined)
  joined = re.sub(r'\bU\(([^()]*)\)', r'\1', joined)
  return re.sub(r'\b[A-Z]\(([^()]*(?:\([^()]*\)[^()]*)*)\)', r'`\1`', joined)


def _tasks(text: str) -> list[Any]:
  content = _yaml(text)
  return content if isinstance(content, list) else []


def _first_tasks(text: str) -> str:
  """Whole example tasks up to MAX_EXAMPLE characters, comments included."""
  kept = ''
  for task in re.split(r'\n\s*\n', text.strip()):
    if kept and len(kept) + len(task) > MAX_EXAMPLE:
      break
    kept += ('\n\n' if kept else '') + task
  return kept


def _arguments(described: tool.Tool, name: str, task: Any) -> dict[str, Any]:
  """The arguments of an example task.

  Raises:
    entry.MalformedError: it has no name, or calls something else.
  """
  if not isinstance(task, dict) or not isinstance(task.get('name'), str):
    raise entry.MalformedError('no_request')
  arguments = task.get(f'ansible.builtin.{name}', task.get(name))
  if not isinstance(arguments, dict):
    raise entry.MalformedError('another_command')
  if not set(arguments) <= {p.name for p in described.parameters}:
    raise entry.MalformedError('unknown_option')
  return arguments
