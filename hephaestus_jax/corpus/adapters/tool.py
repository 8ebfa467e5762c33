"""A tool's description, and its two faces: documentation and JSON schema.

Every documentation adapter fills a Tool and renders it with `markdown`, so that
all documentation has one shape (the paper's G.1); instructions offer the same
Tool to the model with `schema`.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

JSON_TYPES = ('string', 'integer', 'number', 'boolean', 'array', 'object')
MAX_FIELDS = 16  # nested fields and enum values shown of one parameter


@dataclasses.dataclass(frozen=True)
class Parameter:
  """An argument, or a field of an argument or of a result.

  Attributes:
    name: as it is written in a call.
    type: a JSON type, 'array of <JSON type>', or words ('timestamp').
    description: plain text.
    required: whether a call must have it.
    default: the value without it, as text; '' where nothing is said.
    choices: the values that it may have, () where any may be.
    fields: of an object or of an array's objects.
  """

  name: str
  type: str = ''
  description: str = ''
  required: bool = False
  default: str = ''
  choices: tuple[str, ...] = ()
  fields: tuple['Parameter', ...] = ()


@dataclasses.dataclass(frozen=True)
class Tool:
  """Something that can be called.

  Attributes:
    name: dotted, or a command's words.
    description: plain text or markdown.
    parameters: in the order of the original.
    returns: what comes back, in words.
    result: the fields of what comes back.
    example: a call.
    language: of the example's fence.
    sections: (title, text) of whatever else the original tells.
  """

  name: str
  description: str
  parameters: tuple[Parameter, ...] = ()
  returns: str = ''
  result: tuple[Parameter, ...] = ()
  example: str = ''
  language: str = 'python'
  sections: tuple[tuple[str, str], ...] = ()


def markdown(tool: Tool) -> str:
  """The tool's documentation page (paper, appendix G.1).

  >>> print(markdown(Tool('math.add', 'Adds two numbers.', (
  ...   Parameter('a', 'number', 'The first.', required=True),
  ...   Parameter('b', 'number', 'The second.', default='1')),
  ...   returns='The sum.', example='math.add(1, b=2)')))
  **API: math.add**
  <BLANKLINE>
  Adds two numbers.
  <BLANKLINE>
  **Parameters**
  <BLANKLINE>
  - a (number, required): The first.
  - b (number, optional): The second. Default: 1.
  <BLANKLINE>
  **Returns**
  <BLANKLINE>
  The sum.
  <BLANKLINE>
  **Example**
  <BLANKLINE>
  ```python
  math.add(1, b=2)
  ```
  """
  parts = [f'**API: {tool.name}**']
  if tool.description:
    parts.append(tool.description)
  if tool.parameters:
    lines = _bullets(tool.parameters, '', required=True)
    parts += ['**Parameters**', '\n'.join(lines)]
  if tool.returns or tool.result:
    parts.append('**Returns**')
    if tool.returns:
      parts.append(tool.returns)
    if tool.result:
      parts.append('\n'.join(_bullets(tool.result, '', required=False)))
  for title, text in tool.sections:
    parts += [f'**{title}**', text]
  if tool.example:
    parts += ['**Example**', f'```{tool.language}\n{tool.example}\n```']
  return '\n\n'.join(parts)


def _bullets(
  parameters: Sequence[Parameter], indent: str, required: bool
) -> Iterable[str]:
  """A line per parameter, its fields indented below it."""
  for parameter in parameters:
    kinds = [parameter.type] if parameter.type else []
    if required:
      kinds.append('required' if parameter.required else 'optional')
    kind = f' ({", ".join(kinds)})' if kinds else ''
    meaning = [parameter.description.replace('\n', f'\n{indent}  ')]
    if parameter.choices:
      shown = list(parameter.choices[:MAX_FIELDS])
      more = ['...'] if len(parameter.choices) > MAX_FIELDS else []
      meaning.append(f'One of: {", ".join(shown + more)}.')
    if parameter.default:
      meaning.append(f'Default: {parameter.default}.')
    words = ' '.join(word for word in meaning if word)
    yield f'{indent}- {parameter.name}{kind}' + (f': {words}' if words else '')
    yield from _bullets(
      parameter.fields[:MAX_FIELDS], indent + '  ', required=False
    )


def schema(
  tool: Tool, arguments: Mapping[str, Any], limit: int = 4
) -> dict[str, Any]:
  """The tool as a JSON-schema function description, short enough to read.

  Required parameters and those of `arguments` come first and always stay;
  others fill up to `limit` properties. Descriptions shrink to a sentence.

  >>> schema(Tool('math.add', 'Adds. Slowly.', (
  ...   Parameter('a', 'number', 'The first.', required=True),
  ...   Parameter('b', 'array of number'))), {'a': 1})
  {'name': 'math.add', 'description': 'Adds.', 'parameters':
   {'type': 'object', 'properties':
    {'a': {'type': 'number', 'description': 'The first.'},
     'b': {'type': 'array', 'items': {'type': 'number'}}},
    'required': ['a']}}
  """
  chosen = _chosen(tool.parameters, arguments, limit)
  return {
    'name': tool.name,
    'description': first_sentence(tool.description, 120),
    'parameters': {
      'type': 'object',
      'properties': {
        p.name: _property(p, arguments.get(p.name)) for p in chosen
      },
      'required': [p.name for p in chosen if p.required],
    },
  }


def _chosen(
  parameters: Sequence[Parameter], used: Iterable[str], limit: int
) -> list[Parameter]:
  """Needed parameters and as many others as fit, in the original order."""
  needed = {p.name for p in parameters if p.required or p.name in used}
  others = [p.name for p in parameters if p.name not in needed]
  kept = needed.union(others[: max(0, limit - len(needed))])
  return [p for p in parameters if p.name in kept]


def _property(
  parameter: Parameter, argument: Any, nested: bool = False
) -> dict[str, Any]:
  """A parameter as JSON schema; fields of fields are left open."""
  kind, _, items = parameter.type.partition(' of ')
  found: dict[str, Any] = {'type': kind if kind in JSON_TYPES else 'string'}
  inner = found
  if items:
    inner = {'type': items if items in JSON_TYPES else 'string'}
    found['items'] = inner
  if isinstance(argument, list):
    argument = {
      k: v for a in argument if isinstance(a, dict) for k, v in a.items()
    }
  used = argument if isinstance(argument, dict) else {}
  if parameter.fields and not nested:
    inner['properties'] = {
      field.name: _property(field, used.get(field.name), nested=True)
      for field in _chosen(parameter.fields, used, 4)
    }
  if parameter.description and not nested:
    found['description'] = first_sentence(parameter.description, 70)
  if 0 < len(parameter.choices) <= MAX_FIELDS // 2:
    inner['enum'] = list(parameter.choices)
  return found


def first_sentence(text: str, limit: int) -> str:
  """The first sentence of plain text, cut at a word to `limit` characters.

  Notes before it are passed over.

  >>> first_sentence('Note: Old.\\nLists tags, e.g. yours. It pages.', 80)
  'Lists tags, e.g. yours.'
  """
  lines = [line.strip() for line in text.split('\n\n', 1)[0].split('\n')]
  notes = ('Note:', 'Important:', 'Caution:', 'Warning:')
  plain = [line for line in lines if not line.startswith(notes)]
  text = ' '.join(' '.join(plain or lines).split())
  match = re.search(r'(?<!e\.g)(?<!i\.e)[.!?](?=\s+[A-Z`-])', text)
  sentence = text[: match.end()] if match else text
  if len(sentence) <= limit:
    return sentence
  return sentence[:limit].rsplit(' ', 1)[0].rstrip(',;:') + '...'
