"""OpenAPI 3 and Swagger 2 descriptions -> a documentation page per operation.

Both come as JSON or YAML; `http_operation` reads an operation of either.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.adapters import (
  entry,
  groups,
  http_operation,
  json_schema,
  tool,
)

METHODS = (
  *('get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'),
  'query',  # since OpenAPI 3.2
)
MAX_DEPTH = 500  # of a YAML file; JSON's reader has its own


def operations(path: str, content: bytes) -> Iterator[entry.Entry | entry.Flaw]:
  """The operations of one file, in its order.

  Args:
    path: of the file; what the operations' names begin with.
    content: JSON or YAML.

  Raises:
    entry.MalformedError: the file is no description of an API.
  """
  api = load(content)
  if not isinstance(api, dict):
    raise entry.MalformedError('no_openapi')
  new = json_schema.words(api, 'openapi').startswith('3')
  if not new and not json_schema.words(api, 'swagger').startswith('2'):
    raise entry.MalformedError('no_openapi')
  file = path.rsplit('.', 1)[0]
  schemas = json_schema.Schemas(api)
  group = _group(api, file)
  paths = api.get('paths')
  if not isinstance(paths, dict):
    raise entry.MalformedError('no_paths')
  for template, item in paths.items():
    template = str(template)
    if template.startswith('x-'):
      continue
    if not isinstance(item, dict):
      yield entry.Flaw(group, f'{file}{template}', 'malformed_path')
      continue
    item = schemas.resolve(item)
    for method in item:
      if method not in METHODS:
        continue
      name = f'{file}/{method.upper()} {template}'
      try:
        operation = http_operation.Operation(
          api, schemas, template, method, item
        )
        text = tool.markdown(operation.describe())
        url = operation.url()
      except entry.MalformedError as error:
        yield entry.Flaw(group, name, error.reason)
        continue
      segments = (document.Segment('documentation', text),)
      yield entry.Entry(group, name, segments, url)
  # What a service calls at its clients' end is nothing that an agent can call.
  hooks = api.get('webhooks')
  for hook in hooks if isinstance(hooks, dict) else ():
    yield entry.Flaw(group, f'{file}/{hook}', 'webhook')


class _Loader(yaml.CSafeLoader):
  """YAML with JSON's types: 'on' is a word and 2020-01-01 no date."""


_Loader.yaml_implicit_resolvers = {
  first: [
    (tag, pattern)
    for tag, pattern in rules
    if tag.endswith((':float', ':null', ':merge'))
  ]
  for first, rules in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
  'tag:yaml.org,2002:bool',
  re.compile('(true|True|TRUE|false|False|FALSE)$'),
  list('tTfF'),
)
_Loader.add_implicit_resolver(
  'tag:yaml.org,2002:int', re.compile('-?[0-9]+$'), list('-0123456789')
)
# No hexadecimal ones: Python reads them, and refuses to write long ones.
_Loader.add_constructor(
  'tag:yaml.org,2002:int',
  lambda loader, node: int(loader.construct_scalar(node)),
)


def load(content: bytes) -> Any:
  """What a JSON or YAML file says.

  Raises:
    entry.MalformedError: 'not_utf8', 'not_json', 'not_yaml', 'nested_too_deep'.
  """
  try:
    text = content.decode('utf-8-sig')
  except UnicodeDecodeError:
    raise entry.MalformedError('not_utf8') from None
  # YAML's reader takes JSON as well, a hundred times slower.
  kind = 'json' if text.lstrip()[:1] in ('{', '[') else 'yaml'
  try:
    if kind == 'json':
      return json.loads(text)
    _check_depth(text)
    return yaml.load(text, _Loader)
  except RecursionError:
    raise entry.MalformedError('nested_too_deep') from None
  # ValueError: no JSON; the rest: a list as a key, `!!bool maybe` and the like.
  except (ValueError, TypeError, LookupError, AttributeError, yaml.YAMLError):
    raise entry.MalformedError(f'not_{kind}') from None


def _check_depth(text: str) -> None:
  """Raises RecursionError of YAML that the C library would crash on.

  It puts nodes together by recursion without a limit, but reads them one after
  the other.
  """
  depth = 0
  for event in yaml.parse(text, _Loader):
    if isinstance(event, yaml.CollectionStartEvent):
      depth += 1
      if depth > MAX_DEPTH:
        raise RecursionError
    elif isinstance(event, yaml.CollectionEndEvent):
      depth -= 1


def _group(api: Mapping[str, Any], file: str) -> str:
  """The service: the provider's name, else the server's, else the title's.

  Services that other sources describe too keep the group that they have there.
  """
  info = api.get('info')
  info = info if isinstance(info, dict) else {}
  provider, service = info.get('x-providerName'), info.get('x-serviceName')
  elsewhere = ''
  if isinstance(service, str):
    elsewhere = {
      'amazonaws.com': groups.aws(service),
      'googleapis.com': groups.google(service),
      'azure.com': 'azure-' + service.split('-', 1)[0].lower(),
    }.get(provider if isinstance(provider, str) else '', '')
  host = re.match(r'(?:https?:)?//([\w.-]*\w)', http_operation.server(api))
  found = (
    elsewhere
    or (provider if isinstance(provider, str) else '')
    or (host[1] if host else '')
    or (info['title'] if isinstance(info.get('title'), str) else '')
    or file
  )
  return re.sub(r'[^\w.-]+', '-', found).strip('-').lower() or 'unnamed'
