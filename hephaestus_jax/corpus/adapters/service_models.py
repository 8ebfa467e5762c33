"""Machine-readable service descriptions: botocore models, Google discovery.

Both describe operations over shapes that refer to each other; `Tool` is the
common form. One level of nested fields is kept: the models are recursive.
"""

import dataclasses
import functools
import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.adapters import calls, entry, groups, markup, tool
from hephaestus_jax.corpus.files import archive

_BOTOCORE_TYPES = {
  'structure': 'object',
  'map': 'object',
  'list': 'array',
  'integer': 'integer',
  'long': 'integer',
  'float': 'number',
  'double': 'number',
  'boolean': 'boolean',
}


# --- botocore


def newest(names: Sequence[str], file: str) -> list[str]:
  """The path of `file` in the newest version of each service that has it.

  >>> newest(['botocore/data/s3/2005/service-2.json',
  ...         'botocore/data/s3/2006/service-2.json.gz'], 'service-2.json')
  ['botocore/data/s3/2006/service-2.json.gz']
  """
  pattern = re.compile(
    r'(?:awscli/)?botocore/data/([^/]+)/[^/]+/' + re.escape(file) + r'(\.gz)?'
  )
  paths = {}
  for name in sorted(names):
    if match := pattern.fullmatch(name):
      paths[match[1]] = name
  return sorted(paths.values())


def botocore_models(names: Sequence[str]) -> list[str]:
  """The newest service model of each service."""
  return newest(names, 'service-2.json')


def botocore_examples(names: Sequence[str]) -> list[str]:
  """The newest recorded examples of each service."""
  return newest(names, 'examples-1.json')


def botocore_docs(
  opened: archive.Opened, member: str
) -> Iterator[entry.Entry | entry.Flaw]:
  """A service model -> a documentation page per operation."""
  model = Model.read(opened, member)
  folder = member.rsplit('/', 1)[0]
  examples = _examples(opened, folder)
  for operation in sorted(model.operations):
    group, name = groups.aws(model.service), f'{model.service}.{operation}'
    try:
      described = model.describe(operation)
      recorded = examples.get(operation, [])
      text = tool.markdown(
        _with_example(described, model.service, operation, recorded)
      )
    except entry.MalformedError as error:
      yield entry.Flaw(group, name, error.reason)
      continue
    yield entry.Entry(
      group,
      name,
      (document.Segment('documentation', text),),
      url='https://docs.aws.amazon.com/boto3/latest/reference/services/'
      f'{model.service}.html',
    )


class Model:
  """A botocore service model: operations over shapes."""

  def __init__(self, service: str, content: Mapping[str, Any]) -> None:
    """Raises entry.MalformedError where there are no operations or shapes."""
    try:
      self.service = service
      self.operations: dict[str, Any] = dict(content['operations'])
      self.shapes: dict[str, Any] = dict(content['shapes'])
    except (KeyError, TypeError, ValueError):
      raise entry.MalformedError('no_service_model') from None

  @classmethod
  def read(cls, opened: archive.Opened, member: str) -> 'Model':
    """The model in 'botocore/data/<service>/<version>/service-2.json[.gz]'."""
    return cls(member.split('/')[-3], load_json(opened, member))

  def describe(self, operation: str) -> tool.Tool:
    """An operation's Tool, named 'service.Operation'.

    Raises:
      entry.MalformedError: it refers to a shape that doesn't exist.
    """
    try:
      found = self.operations[operation]
      members = self.fields(found['input']['shape']) if 'input' in found else ()
      result = (
        self.fields(found['output']['shape']) if 'output' in found else ()
      )
      errors = [error['shape'] for error in found.get('errors', [])]
      raised = f'Raises {", ".join(errors[:12])}.' if errors else ''
      if not result:
        raised = ' '.join(['Nothing.', raised]).strip()
      return tool.Tool(
        name=f'{self.service}.{operation}',
        description=markup.html_text(found.get('documentation', '')),
        parameters=members,
        returns=raised,
        result=result,
      )
    except (KeyError, TypeError, AttributeError):
      raise entry.MalformedError('malformed_operation') from None

  def fields(self, shape: str, depth: int = 1) -> tuple[tool.Parameter, ...]:
    """A structure's members; those below `depth` stay closed."""
    structure = self.shapes[shape]
    required = structure.get('required', ())
    return tuple(
      self._parameter(name, member, name in required, depth)
      for name, member in structure.get('members', {}).items()
    )

  def _parameter(
    self, name: str, member: Mapping[str, Any], required: bool, depth: int
  ) -> tool.Parameter:
    shape = self.shapes[member['shape']]
    element = member['shape']
    kind = _BOTOCORE_TYPES.get(shape['type'], shape['type'])
    if shape['type'] == 'list':
      element = shape['member']['shape']
      inner = self.shapes[element]['type']
      kind = f'array of {_BOTOCORE_TYPES.get(inner, inner)}'
    words = member.get('documentation') or shape.get('documentation', '')
    text = markup.html_text(words)
    nested = (
      self.fields(element, depth - 1)
      if depth and self.shapes[element]['type'] == 'structure'
      else ()
    )
    return tool.Parameter(
      name=name,
      type=kind,
      description=text if depth else tool.first_sentence(text, 160),
      required=required,
      choices=tuple(self.shapes[element].get('enum', ())),
      fields=nested,
    )


def _with_example(
  described: tool.Tool,
  service: str,
  operation: str,
  recorded: Sequence[Mapping[str, Any]],
) -> tool.Tool:
  """The tool with its first recorded example as a boto3 call."""
  if not recorded:
    return described
  arguments = recorded[0].get('input') or {}
  if not isinstance(arguments, dict):
    raise entry.MalformedError('malformed_example')
  lines = [f'  {name}={value!r},\n' for name, value in arguments.items()]
  inside = '\n' + ''.join(lines) if lines else ''
  return tool.Tool(
    **{
      **vars(described),
      'example': f"client = boto3.client('{service}')\n"
      f'client.{snake_case(operation)}({inside})',
    }
  )


def snake_case(operation: str) -> str:
  """Python's name of an operation: 'ListDBInstances' -> 'list_db_instances'."""
  name = re.sub(r'(.)([A-Z][a-z]+)', r'\1_\2', operation)
  return re.sub(r'([a-z0-9])([A-Z])', r'\1_\2', name).lower()


def _examples(
  opened: archive.Opened, folder: str
) -> dict[str, list[dict[str, Any]]]:
  """Recorded examples beside a service model; {} where there are none."""
  path = f'{folder}/examples-1.json'
  if path not in _name_set(opened):
    return {}
  content = load_json(opened, path)
  found = content.get('examples') if isinstance(content, dict) else None
  if not isinstance(found, dict):
    raise entry.MalformedError('no_examples')
  return found


@functools.lru_cache(maxsize=4)
def _name_set(opened: archive.Opened) -> frozenset[str]:
  return frozenset(opened.names())


def load_json(opened: archive.Opened, member: str) -> Any:
  """A JSON member, gunzipped if its name ends in .gz.

  Raises:
    entry.MalformedError: it is no JSON.
  """
  content = opened.read(member)
  try:
    if member.endswith('.gz'):
      content = gzip.decompress(content)
    return json.loads(content)
  except (ValueError, OSError, EOFError):
    raise entry.MalformedError('not_json') from None


# --- Google discovery documents


def google_documents(names: Sequence[str]) -> list[str]:
  """One discovery document per API: the highest stable version, else preview.

  >>> google_documents(['d/documents/drive.v2.json',
  ...                   'd/documents/drive.v3.json',
  ...                   'd/documents/drive.v4beta.json'])
  ['d/documents/drive.v3.json']
  """
  best: dict[str, tuple[tuple[Any, ...], str]] = {}
  for name in sorted(names):
    match = re.search(r'/documents/(.+?)[._]?(v\d[\w.]*)\.json$', name)
    if not match:
      continue
    stable = not re.search('alpha|beta|eap|p\\d', match[2])
    numbers = tuple(int(n) for n in re.findall(r'\d+', match[2]))
    found = ((stable, numbers), name)
    best[match[1]] = max(best.get(match[1], found), found)
  return sorted(name for _, name in best.values())


def google_docs(
  opened: archive.Opened, member: str
) -> Iterator[entry.Entry | entry.Flaw]:
  """A discovery document -> a documentation page per method."""
  api = load_json(opened, member)
  if not isinstance(api, dict) or 'name' not in api:
    raise entry.MalformedError('no_discovery_document')
  # 'admin.directory' and 'admin.reports' are both named 'admin' inside.
  group = groups.google(api['name'])
  file = member.rsplit('/', 1)[1].removesuffix('.json')
  for method in _google_methods(api):
    name = f'{file}/{method.get("id")}'
    try:
      described = _google_tool(method, api.get('schemas', {}))
    except (KeyError, TypeError, AttributeError):
      yield entry.Flaw(group, name, 'malformed_operation')
      continue
    text = tool.markdown(described)
    yield entry.Entry(
      group,
      name,
      (document.Segment('documentation', text),),
      url=api.get('documentationLink', ''),
    )


def _google_methods(resource: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
  """All methods of a resource and of the resources in it."""
  yield from resource.get('methods', {}).values()
  for inner in resource.get('resources', {}).values():
    yield from _google_methods(inner)


def _google_tool(
  method: Mapping[str, Any], schemas: Mapping[str, Any]
) -> tool.Tool:
  """A method's Tool: its own parameters, then the fields of its body."""
  parameters = [
    _google_parameter(name, found, schemas, depth=1)
    for name, found in method.get('parameters', {}).items()
    if not found.get('deprecated')
  ]
  body = method.get('request', {}).get('$ref')
  if body:
    # A body may repeat what the path already says.
    known = {parameter.name for parameter in parameters}
    parameters += [
      field
      for field in _google_fields(schemas[body], schemas, depth=1)
      if field.name not in known
    ]
  result = method.get('response', {}).get('$ref')
  return tool.Tool(
    name=method['id'],
    description=clean(method.get('description', '')),
    parameters=tuple(parameters),
    returns=f'{result}: {clean(schemas[result].get("description", ""))}'.strip(
      ' :'
    )
    if result
    else '',
    result=_google_fields(schemas[result], schemas, depth=0) if result else (),
  )


def _google_fields(
  schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int
) -> tuple[tool.Parameter, ...]:
  """A schema's properties that a caller may set."""
  return tuple(
    _google_parameter(name, found, schemas, depth)
    for name, found in schema.get('properties', {}).items()
    if not found.get('deprecated') and not (depth and found.get('readOnly'))
  )


def _google_parameter(
  name: str,
  found: Mapping[str, Any],
  schemas: Mapping[str, Any],
  depth: int,
) -> tool.Parameter:
  element = found.get('items', found)
  reference = element.get('$ref')
  inner = 'object' if reference else element.get('type', 'object')
  text = clean(found.get('description', ''))
  required = bool(found.get('required')) or text.startswith('Required.')
  text = re.sub(r'^(Required|Optional)\.\s*', '', text)
  return tool.Parameter(
    name=name,
    type=f'array of {inner}' if 'items' in found else inner,
    description=text if depth else tool.first_sentence(text, 160),
    required=required,
    default=found.get('default', ''),
    choices=tuple(element.get('enum', ())),
    fields=_google_fields(schemas[reference], schemas, depth - 1)
    if depth and reference
    else (),
  )


def clean(text: str) -> str:
  """Trailing blanks and runs of empty lines removed."""
  lines = [line.rstrip() for line in text.strip().split('\n')]
  return re.sub(r'\n{3,}', '\n\n', '\n'.join(lines))


# --- Recorded botocore calls


@dataclasses.dataclass(frozen=True)
class Recorded:
  """A call that AWS's documentation records.

  Attributes:
    group: of the service.
    name: unique in its service.
    request: what a user would ask for.
    arguments: of the call.
    called: the operation.
    others: operations of the same service, for choosing between.
    response: JSON text, '' where the operation answers nothing.
  """

  group: str
  name: str
  request: str
  arguments: dict[str, Any]
  called: tool.Tool
  others: tuple[tool.Tool, ...]
  response: str


def botocore_sessions(
  opened: archive.Opened, member: str
) -> Iterator[entry.Entry | entry.Flaw]:
  """Recorded examples -> tool, request, call, response."""
  for found in _recorded(opened, member):
    if isinstance(found, entry.Flaw):
      yield found
      continue
    try:
      segments = calls.session(
        found.called, found.arguments, found.request, found.response
      )
    except entry.MalformedError as error:
      yield entry.Flaw(found.group, found.name, error.reason)
      continue
    yield entry.Entry(found.group, found.name, segments)


def botocore_requests(
  opened: archive.Opened, member: str
) -> Iterator[entry.Entry | entry.Flaw]:
  """Recorded examples -> tools to choose from, request, call."""
  for found in _recorded(opened, member):
    if isinstance(found, entry.Flaw):
      yield found
      continue
    segments = calls.instruction(
      found.called, found.others, found.arguments, found.request
    )
    yield entry.Entry(found.group, found.name, segments)


def _recorded(
  opened: archive.Opened, member: str
) -> Iterator[Recorded | entry.Flaw]:
  """The examples of an examples-1.json, with the service model beside it."""
  folder = member.rsplit('/', 1)[0]
  service = member.split('/')[-3]
  group = groups.aws(service)
  (model_path,) = newest(
    [n for n in opened.names() if n.startswith(f'{folder}/')],
    'service-2.json',
  ) or ['']
  if not model_path:
    raise entry.MalformedError('no_service_model')
  model = Model.read(opened, model_path)
  for operation, recorded in sorted(_examples(opened, folder).items()):
    for i, example in enumerate(recorded):
      name = f'{service}.{operation}/{i}'
      try:
        yield _record(model, group, name, operation, example)
      except entry.MalformedError as error:
        yield entry.Flaw(group, name, error.reason)


def _record(
  model: Model, group: str, name: str, operation: str, example: Any
) -> Recorded:
  """One example; raises entry.MalformedError where it does not fit."""
  arguments = example.get('input') or {}
  if not isinstance(arguments, dict):
    raise entry.MalformedError('malformed_example')
  described = model.describe(operation)
  if not set(arguments) <= {p.name for p in described.parameters}:
    raise entry.MalformedError('unknown_argument')
  caption = example.get('description') or example.get('title') or ''
  response = example.get('output')
  names = calls.others(sorted(model.operations), operation)
  return Recorded(
    group,
    name,
    calls.request(markup.html_text(caption), arguments),
    arguments,
    described,
    tuple(model.describe(other) for other in names),
    json.dumps(response, ensure_ascii=False) if response else '',
  )
