"""Model Context Protocol: answers to `tools/list` -> a page per tool.

The answer may be whole (`{"jsonrpc": ..., "result": {"tools": [...]}}`), bare
(`{"tools": [...]}`), a list of tools, or lines of any of these, as a log of
several pages has them.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.adapters import entry, fields, json_schema, tool

# What a server says of its tool, and the words for it.
_HINTS = {
  ('readOnlyHint', True): 'It changes nothing.',
  ('destructiveHint', True): 'It may destroy.',
  ('destructiveHint', False): 'It destroys nothing.',
  ('idempotentHint', True): 'Calling it again with the same arguments does '
  'nothing more.',
  ('openWorldHint', True): 'It reaches beyond the server.',
  ('openWorldHint', False): 'It stays within the server.',
}


def tools(path: str, content: bytes) -> Iterator[entry.Entry | entry.Flaw]:
  """The tools of one file, in its order.

  Args:
    path: of the file, whose name is taken for the server's.
    content: JSON, or lines of JSON.

  Raises:
    entry.MalformedError: the file holds no list of tools.
  """
  file = path.rsplit('.', 1)[0]
  group = file.rsplit('/', 1)[-1] or 'unnamed'
  listed = [found for answer in _answers(content) for found in _listed(answer)]
  for i, found in enumerate(listed):
    name = f'{file}/{i}'
    try:
      said = fields.text(found, 'name')
      text = tool.markdown(describe(found))
    except entry.MalformedError as error:
      yield entry.Flaw(group, name, error.reason)
      continue
    segments = (document.Segment('documentation', text),)
    yield entry.Entry(group, f'{name}/{said}', segments)


def _answers(content: bytes) -> list[Any]:
  try:
    text = content.decode('utf-8-sig')
  except UnicodeDecodeError:
    raise entry.MalformedError('not_utf8') from None
  try:
    return [json.loads(text)]
  except RecursionError:
    raise entry.MalformedError('nested_too_deep') from None
  except ValueError:
    pass  # then each line is an answer, or the file is no JSON
  try:
    return [json.loads(line) for line in text.splitlines() if line.strip()]
  except RecursionError:
    raise entry.MalformedError('nested_too_deep') from None
  except ValueError:
    raise entry.MalformedError('not_json') from None


def _listed(answer: Any) -> list[Any]:
  """The tools of one answer."""
  if isinstance(answer, dict) and isinstance(answer.get('result'), dict):
    answer = answer['result']
  if isinstance(answer, dict):
    answer = answer.get('tools')
  if not isinstance(answer, list):
    raise entry.MalformedError('no_tools')
  return answer


def describe(found: Mapping[str, Any]) -> tool.Tool:
  """A tool's Tool.

  >>> describe({'name': 'add', 'description': 'Adds.', 'inputSchema': {
  ...   'type': 'object', 'properties': {'a': {'type': 'number'}},
  ...   'required': ['a']}, 'annotations': {'readOnlyHint': True}})
  Tool('add', 'Adds.', (Parameter('a', 'number', required=True),),
       sections=(('Behaviour', 'It changes nothing.'),))

  Raises:
    entry.MalformedError: a part isn't what the protocol promises.
  """
  schema = fields.value(found, 'inputSchema', dict)
  answer = found.get('outputSchema')
  title = json_schema.words(found, 'title')
  description = json_schema.words(found, 'description')
  if title in (found['name'], description):
    title = ''
  outputs = json_schema.Schemas(answer)
  hints = found.get('annotations')
  hints = hints if isinstance(hints, dict) else {}
  said = ' '.join(
    words for (key, value), words in _HINTS.items() if hints.get(key) is value
  )
  return tool.Tool(
    name=found['name'],
    description='\n\n'.join(text for text in (title, description) if text),
    parameters=json_schema.Schemas(schema).fields(schema),
    returns=json_schema.words(answer, 'description')
    if isinstance(answer, dict)
    else '',
    result=outputs.fields(answer) if answer is not None else (),
    sections=(('Behaviour', said),) if said else (),
  )
