"""JSON: functions to choose from, calls of them, and what is done to a page."""

import json
from collections.abc import Mapping
from typing import Any

from hephaestus_jax.corpus.adapters import (
  api_sequence,
  columns,
  dialog,
  entry,
  fields,
  parts,
)


def nexus(record: Any) -> parts.Segments:
  """A record of the Nexus evaluation, in each of its layouts.

  A request with its call; up to five independent requests (from ToolAlpaca); a
  request with Python stubs (from ToolLLM); on the hub one of these as JSON text
  in `query_dict`, or a function's name and arguments; descriptions of APIs.

  >>> nexus({'query': 'Is it up?', 'reference': 'r = ping(host="a")'})
  (Segment(role='user', text='Is it up?'),
   Segment(role='action', text='r = ping(host="a")'))
  >>> nexus({'turns_2': {
  ...     'instruction': 'A fact, please.', 'docstring': 'def fact()',
  ...     'golden_answer': '["fact()"]', 'backup': None},
  ...   'turns_1': {'instruction': None, 'docstring': None,
  ...               'golden_answer': None, 'backup': None}})
  (Segment(role='documentation', text='def fact()'),
   Segment(role='user', text='A fact, please.'),
   Segment(role='action', text='["fact()"]'))

  Raises:
    entry.MalformedError: 'query_dict_is_not_json', 'no_reference', ...
  """
  fields.value({'record': record}, 'record', dict)
  match record:
    case {'query_dict': found}:
      # Its layouts have no such field themselves: this ends.
      inner = fields.value({'query_dict': _parsed(found)}, 'query_dict', dict)
      return nexus({k: v for k, v in inner.items() if k != 'query_dict'})
    case {'query': _} | {'reference': _}:
      return parts.segments(
        ('user', fields.text(record, 'query')),
        ('action', fields.text(record, 'reference')),
      )
    case {'Input': _} | {'Output': _}:
      # Left out: the call before its quotes were repaired; the tool's name.
      return parts.segments(
        *parts.each('documentation', fields.items(record, 'context')),
        ('user', fields.text(record, 'Input')),
        ('action', fields.text(record, 'Output')),
      )
    case {'prompt': _}:
      context = record.get('context_functions')
      several = context if isinstance(context, list) else [context]
      return parts.segments(
        *parts.each('documentation', several),
        ('user', fields.text(record, 'prompt')),
        ('action', fields.text(record, 'python_function_name')),
        ('action', parts.loose(record, 'python_args_dict')),
      )
  if any(name.startswith('turns_') for name in record):
    return _nexus_turns(record)
  return api_sequence.documentation(record)


def _parsed(found: Any) -> Any:
  try:
    return json.loads(found) if isinstance(found, str) else found
  except (ValueError, RecursionError):
    raise entry.MalformedError('query_dict_is_not_json') from None


def _nexus_turns(record: Mapping[str, Any]) -> parts.Segments:
  said: list[parts.Part] = []
  for name in sorted(record):
    if record[name] is not None:
      said += [
        ('documentation', parts.loose(record[name], 'docstring')),
        ('user', parts.loose(record[name], 'instruction')),
        ('action', parts.loose(record[name], 'golden_answer')),
        # ToolAlpaca's own answer; it may go on after the golden call.
        ('action', parts.loose(record[name], 'backup')),
      ]
  return parts.segments(*said)


def tooleyes(record: Any) -> parts.Segments:
  """ToolEyes: descriptions of functions, prompts that have them, requests.

  Left out: the folder of a request's tools, and the name of its scenario.
  """
  match record:
    case {'conversations': _}:
      return dialog.chat(record)
    case {'query': _}:
      return parts.segments(('user', fields.text(record, 'query')))
  return api_sequence.documentation(record)


def mind2web(record: Any) -> parts.Segments:
  """Mind2Web: a task on a website, per step the page and what is done to it.

  A row with the steps' columns and no list of steps is read by their names.
  Left out: the page before it was cleaned, and the elements of the page that
  were offered to choose from (they stand in it).

  >>> mind2web({'confirmed_task': 'Find a bus.', 'website': 'bus',
  ...   'actions': [{'cleaned_html': '<a>Go</a>', 'raw_html': '<a id=1>Go</a>',
  ...                'operation': {'op': 'CLICK', 'value': ''}}],
  ...   'action_reprs': ['[link]  Go -> CLICK']})
  (Segment(role='user', text='Find a bus.'),
   Segment(role='observation', text='bus'),
   Segment(role='observation', text='<a>Go</a>'),
   Segment(role='action', text='{"op": "CLICK", "value": ""}'),
   Segment(role='action', text='[link]  Go -> CLICK'))
  """
  if not (isinstance(record, dict) and isinstance(record.get('actions'), list)):
    return columns.calls(record)
  told = record.get('action_reprs')
  named = list(told) if isinstance(told, list) else []
  said: list[parts.Part] = []
  for index, step in enumerate(record['actions']):
    page = parts.present(step, 'cleaned_html', 'raw_html')
    said += [
      ('observation', parts.loosely(step.get(page))),
      ('action', parts.loose(step, 'operation')),
      *parts.each('action', named[index : index + 1]),
    ]
  return parts.segments(
    ('user', fields.text(record, 'confirmed_task')),
    *(
      ('observation', parts.loose(record, name))
      for name in ('website', 'domain', 'subdomain')
    ),
    *said,
    *parts.each('action', named[len(record['actions']) :]),
  )
