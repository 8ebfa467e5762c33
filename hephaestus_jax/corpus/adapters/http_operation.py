"""One operation of an OpenAPI 3 or Swagger 2 description, as a Tool.

The versions differ in where things lie: `Operation` asks for parameters, body,
answers and servers, and says where each version has them.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from hephaestus_jax.corpus.adapters import entry, json_schema, tool

# An example that is longer, such as a recorded list of everything, is left out.
EXAMPLE_LIMIT = 4_000


def server(*places: Mapping[str, Any]) -> str:
  """The first server's address that one of the places names, '' if none does.

  >>> server({'servers': [{'url': 'https://{r}.a.b/v1/',
  ...                       'variables': {'r': {'default': 'eu'}}}]})
  'https://eu.a.b/v1'
  >>> server({'host': 'a.b', 'basePath': '/v1', 'schemes': ['http']})
  'http://a.b/v1'
  """
  for place in places:
    servers = place.get('servers')
    first = servers[0] if isinstance(servers, list) and servers else None
    if isinstance(first, dict) and isinstance(first.get('url'), str):
      url = first['url']
      variables = first.get('variables')
      if isinstance(variables, dict):
        for name, variable in variables.items():
          if isinstance(variable, dict) and 'default' in variable:
            url = url.replace(
              f'{{{name}}}', json_schema.as_json(variable['default'])
            )
      return str(url).rstrip('/')
    if isinstance(place.get('host'), str):
      schemes = place.get('schemes')
      usable = (
        [s for s in schemes if s in ('https', 'http')]
        if isinstance(schemes, list)
        else []
      )
      base = place.get('basePath')
      base = base.rstrip('/') if isinstance(base, str) else ''
      return f'{(usable or ["https"])[0]}://{place["host"]}{base}'
  return ''


class Operation:
  """One operation, and where its version of the format keeps things."""

  def __init__(
    self,
    api: Mapping[str, Any],
    schemas: json_schema.Schemas,
    template: str,
    method: str,
    item: Mapping[str, Any],
  ) -> None:
    """Raises entry.MalformedError where the operation is no object."""
    self._api = api
    self._schemas = schemas
    self._template = template
    self._method = method
    self._item = item
    self._found = item[method]
    if not isinstance(self._found, dict):
      raise entry.MalformedError('malformed_operation')
    self._sent = list(self._parameters())
    self._media, self._body = self._request_body()

  def url(self) -> str:
    """Where a person reads on, '' where nothing is named."""
    for place in (self._found, self._api):
      link = place.get('externalDocs')
      if isinstance(link, dict) and isinstance(link.get('url'), str):
        return str(link['url'])
    return ''

  def describe(self) -> tool.Tool:
    """The operation as a Tool.

    Raises:
      entry.MalformedError: a part isn't what the format promises.
    """
    name = json_schema.words(self._found, 'operationId')
    summary = json_schema.words(self._found, 'summary')
    description = json_schema.words(self._found, 'description')
    if summary and description.startswith(summary.rstrip('.')):
      summary = ''
    deprecated = self._found.get('deprecated') is True
    said = (summary, description, 'Deprecated.' if deprecated else '')
    returns, result, answers, shown = self._answers()
    example = self._example()
    request = '\n'.join([self._line(), *self._content_type()])
    sections = [
      ('Request', f'```http\n{request}\n```'),
      ('Authentication', '\n'.join(self._security())),
      ('Responses', '\n'.join(answers)),
      ('Response example', f'```json\n{shown}\n```' if shown else ''),
    ]
    return tool.Tool(
      name=name or f'{self._method.upper()} {self._template}',
      description='\n\n'.join(text for text in said if text),
      parameters=self._all_parameters(),
      returns=returns,
      result=result,
      example=example,
      language='http',
      sections=tuple((title, text) for title, text in sections if text),
    )

  def _line(self) -> str:
    base = server(self._found, self._item, self._api)
    return f'{self._method.upper()} {base}{self._template}'

  def _content_type(self) -> list[str]:
    return [f'Content-Type: {self._media}'] if self._media else []

  # --- what is sent

  def _parameters(self) -> Iterator[dict[str, Any]]:
    """The path's parameters and the operation's, which win over them."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for place in (self._item, self._found):
      listed = place.get('parameters')
      if listed is None:
        continue
      if not isinstance(listed, list):
        raise entry.MalformedError('parameters_not_a_list')
      for node in listed:
        parameter = self._schemas.resolve(node)
        name, where = parameter.get('name'), parameter.get('in')
        if not isinstance(name, str) or not isinstance(where, str):
          raise entry.MalformedError('malformed_parameter')
        found[name, where] = parameter
    yield from found.values()

  def _request_body(self) -> tuple[str, dict[str, Any]]:
    """(media type, what describes the body), ('', {}) where there is none."""
    body = self._found.get('requestBody')
    if body is not None:
      body = self._schemas.resolve(body)
      media, content = _media(body.get('content'))
      return media, {**body, **content}
    consumes = _first(self._found.get('consumes'), self._api.get('consumes'))
    for parameter in self._sent:
      if parameter['in'] == 'body':
        return consumes or 'application/json', parameter
    if any(parameter['in'] == 'formData' for parameter in self._sent):
      return consumes or 'application/x-www-form-urlencoded', {}
    return '', {}

  def _all_parameters(self) -> tuple[tool.Parameter, ...]:
    """Parameters of path, query and headers, then the fields of the body."""
    found = []
    for sent in self._sent:
      if sent['in'] == 'body':
        continue
      schema, _ = self._schema(sent)
      where = '' if sent['in'] == 'formData' else f'In {sent["in"]}.'
      said = json_schema.words(sent, 'description')
      found.append(
        self._schemas.parameter(
          sent['name'],
          schema,
          required=sent.get('required') is True,
          description=f'{where} {said}'.strip(),
          hidden='readOnly',
        )
      )
    known = {parameter.name for parameter in found}
    for field in self._body_fields():
      # A body may have a field named as one of the path's parameters.
      clash = field.name in known
      name = f'body.{field.name}' if clash else field.name
      found.append(tool.Parameter(**{**vars(field), 'name': name}))
    return tuple(found)

  def _body_fields(self) -> tuple[tool.Parameter, ...]:
    schema = self._body.get('schema')
    if schema is None:
      return ()
    fields = self._schemas.fields(schema, hidden='readOnly')
    if fields and 'array' not in self._schemas.kind(schema):
      return fields
    return (
      self._schemas.parameter(
        'body',
        schema,
        required=self._body.get('required') is True,
        description=json_schema.words(self._body, 'description'),
        hidden='readOnly',
      ),
    )

  def _schema(self, place: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
    """A parameter's or answer's schema, and what stands around it.

    OpenAPI 3 has it below 'schema' or below a media type, Swagger 2 has a
    parameter's schema in the parameter itself.
    """
    if 'schema' in place:
      return place['schema'], place
    if 'content' in place:
      _, content = _media(place['content'])
      return content.get('schema'), content
    bare = {k: v for k, v in place.items() if k not in ('required', 'name')}
    bare.pop('description', None)
    return bare, place

  # --- what comes back

  def _answers(
    self,
  ) -> tuple[str, tuple[tool.Parameter, ...], list[str], str]:
    """The good answer in words and fields, a line per other, an example."""
    answers = self._found.get('responses', {})
    if not isinstance(answers, dict):
      raise entry.MalformedError('malformed_responses')
    by_code = {
      str(code): self._schemas.resolve(answer)
      for code, answer in answers.items()
      if not str(code).startswith('x-')
    }
    good = next((c for c in sorted(by_code) if c[0:1] == '2'), 'default')
    answer = by_code.pop(good, {})
    said = json_schema.words(answer, 'description')
    schema: Any = None
    around: Mapping[str, Any] = answer
    if 'schema' in answer or 'content' in answer:
      schema, around = self._schema(answer)
    kind = self._schemas.kind(schema) if schema is not None else ''
    fields: tuple[tool.Parameter, ...] = ()
    if schema is not None:
      whole = self._schemas.parameter('', schema, hidden='writeOnly')
      fields = self._schemas.fields(schema, depth=1, hidden='writeOnly')
      fields = fields or whole.fields
    returns = (
      f'{said} ({kind})' if said and kind not in ('', 'object') else said
    )
    others = []
    for code, other in by_code.items():
      meaning = json_schema.words(other, 'description')
      line = ' '.join(meaning.split())
      others.append(f'- {code}: {line}' if line else f'- {code}')
    return returns or kind, fields, others, _shown(self._recorded(around))

  def _recorded(self, place: Mapping[str, Any]) -> Any:
    """The first recorded value of a body, answer or parameter, else None."""
    schema = place.get('schema')
    merged = self._schemas.merge(schema) if schema is not None else {}
    several = place.get('examples')
    if isinstance(several, dict) and several:
      # OpenAPI 3 names its examples; Swagger 2 files them by media type.
      first = self._schemas.resolve(next(iter(several.values())))
      return (
        first.get('value')
        if 'value' in first
        else (first or next(iter(several.values())))
      )
    for found in (
      place.get('example'),
      place.get('x-example'),
      merged.get('example'),
    ):
      if found is not None:
        return found
    listed = merged.get('examples')
    return listed[0] if isinstance(listed, list) and listed else None

  # --- a call

  def _example(self) -> str:
    """The call that the description records, '' where it records none.

    It needs a value of each required parameter, and of the body if there is
    one.
    """
    line, headers, query, any_value = self._line(), [], [], False
    for sent in self._sent:
      if sent['in'] in ('body', 'formData'):
        continue
      value = self._recorded({'schema': sent, **sent})
      if value is None or isinstance(value, dict | list):
        if sent.get('required') is True:
          return ''
        continue
      any_value = True
      text = json_schema.as_json(value)
      if sent['in'] == 'path':
        line = line.replace(f'{{{sent["name"]}}}', text)
      elif sent['in'] == 'query':
        query.append(f'{sent["name"]}={text}')
      elif sent['in'] == 'header':
        headers.append(f'{sent["name"]}: {text}')
    body = ''
    if self._media:
      body = _shown(self._recorded(self._body))
      if not body:
        return ''
    if not any_value and not body:
      return ''
    head = line + ('?' + '&'.join(query) if query else '')
    found = '\n'.join([head, *headers, *self._content_type()])
    found += f'\n\n{body}' if body else ''
    return found if len(found) <= EXAMPLE_LIMIT else ''

  # --- who may call

  def _security(self) -> Iterator[str]:
    """A line per way to authenticate."""
    ways = self._found.get('security', self._api.get('security'))
    if ways is None:
      return
    if not isinstance(ways, list):
      raise entry.MalformedError('malformed_security')
    components = self._api.get('components')
    defined = (
      components.get('securitySchemes')
      if isinstance(components, dict)
      else self._api.get('securityDefinitions')
    )
    for way in ways:
      if not isinstance(way, dict):
        raise entry.MalformedError('malformed_security')
      parts = [
        self._scheme(
          name, scopes, defined.get(name) if isinstance(defined, dict) else None
        )
        for name, scopes in way.items()
      ]
      yield '- ' + (' and '.join(parts) or 'none')

  def _scheme(self, name: str, scopes: Any, defined: Any) -> str:
    """'oauth: OAuth 2 (scopes read, write)' of one security scheme."""
    scheme = self._schemas.resolve(defined)
    place, key = (json_schema.words(scheme, n) for n in ('in', 'name'))
    words = {
      'apiKey': f'API key in {place} {key}',
      'http': f'HTTP {json_schema.words(scheme, "scheme")}',
      'basic': 'HTTP basic',
      'oauth2': 'OAuth 2',
      'openIdConnect': 'OpenID Connect',
      'mutualTLS': 'mutual TLS',
    }.get(json_schema.words(scheme, 'type'), '')
    if isinstance(scopes, list) and scopes:
      words += f' (scopes {", ".join(json_schema.as_json(s) for s in scopes)})'
    return f'{name}: {words.strip()}' if words.strip() else str(name)


def _first(*lists: Any) -> str:
  """The first text of the first list that has one, '' where none has."""
  for found in lists:
    if isinstance(found, list) and found and isinstance(found[0], str):
      return found[0]
  return ''


def _media(content: Any) -> tuple[str, dict[str, Any]]:
  """The media type of a body that is shown, JSON before all others."""
  if not isinstance(content, dict) or not content:
    return '', {}
  names = sorted(content, key=lambda name: 'json' not in str(name))
  found = content[names[0]]
  return str(names[0]), found if isinstance(found, dict) else {}


def _shown(value: Any) -> str:
  """A recorded value as indented JSON; '' for none or a very long one."""
  if value is None or value == '':
    return ''
  if isinstance(value, str) and value.lstrip()[:1] in ('{', '['):
    # Many a file holds JSON as a text.
    text = value.strip()
  else:
    text = json_schema.as_json(value, indent=2)
  return text if len(text) <= EXAMPLE_LIMIT else ''
