"""Rows whose columns are known by their names alone.

The family for data sets that nobody has described, and the first try for a new
one: every column with words gets the role that its name suggests, in the order
in which a reader needs them. What names can't say, the function does: the same
'output' answers in one data set and calls in another.
"""

import re
from collections.abc import Mapping
from typing import Any

from hephaestus_jax.corpus.adapters import (
  dialog,
  entry,
  fields,
  messages,
  parts,
)

ROLES: Mapping[str, str] = {
  name: role
  for role, names in {
    'system': 'system system_prompt sys_prompt system_message',
    'documentation': 'documentation doc docs tool tools toolset tool_list api '
    'apis api_list api_doc api_docs api_description functions function_list '
    'function_descriptions available_tools description parameters arguments '
    'signature schema',
    'user': 'user human instruction instructions prompt question query request '
    'user_request user_query user_input utterance task goal intent objective '
    'command_nl problem title input inputs context confirmed_task nl',
    'thought': 'thought thoughts reasoning rationale plan plans planner steps '
    'explanation analysis cot chain_of_thought',
    'action': 'action actions action_reprs operation operations api_call '
    'api_calls api_sequence call calls calling function_call function_calls '
    'tool_call tool_calls command commands sequence script scripts',
    'observation': 'observation observations state html cleaned_html '
    'tool_response function_response execution_result feedback environment',
    'answer': 'answer answers output outputs response responses completion '
    'completions assistant gpt reply chosen target final_answer label',
    'code': 'code snippet source_code program',
    'text': 'text content body page_content raw_content document doc_content '
    'passage article markdown',
  }.items()
  for name in names.split()
}
# What a reader needs first; columns of one rank keep the record's order.
_RANKS = {'system': 0, 'documentation': 1, 'user': 2}
# Names of columns that say something about the row and nothing to a reader.
_ABOUT = re.compile(
  r'(?:.*_)?(?:id|ids|uid|uuid|index|idx|hash|sha|sha1|sha256|md5|url|urls|uri|'
  r'link|path|paths|file|filename|file_name|repo|repository|repo_name|source|'
  r'split|subset|lang|language|licen[sc]e|licen[sc]es|date|datetime|time|'
  r'timestamp|created_at|updated_at|version|commit|author|score|scores|rating|'
  r'count|stars|length|size|tokens|token|embedding|dataset|provenance|type)'
)


def by_name(record: Any, **known: str) -> parts.Segments:
  """A row by its columns' names; `known` says what this data set means.

  Numbers, and columns that say where a row is from, are left out; a column of
  messages is read as a dialog; unknown columns with words are text.

  >>> by_name({'id': 7, 'output': 'add(1)', 'Instruction': 'Add 1.',
  ...          'Available Tools': [{'name': 'add'}]}, output='action')
  (Segment(role='documentation', text='[{"name": "add"}]'),
   Segment(role='user', text='Add 1.'),
   Segment(role='action', text='add(1)'))

  Raises:
    entry.MalformedError: 'record_is_list', 'no_text_column', or what is wrong
      with a column of messages.
  """
  fields.value({'record': record}, 'record', dict)
  said: list[tuple[int, list[parts.Part]]] = []
  for name, found in record.items():
    plain = '_'.join(re.findall(r'[a-z0-9]+', str(name).lower()))
    if plain in messages.COLUMNS and isinstance(found, list | dict) and found:
      turns = dialog.chat({plain: found})
      said.append((2, [(turn.role, turn.text) for turn in turns]))
      continue
    role = known.get(plain) or ROLES.get(plain, '')
    if not role and _ABOUT.fullmatch(plain):
      continue
    text = _words(found)
    if text:
      said.append((_RANKS.get(role, 3), [(role or 'text', text)]))
  if not said:
    raise entry.MalformedError('no_text_column')
  said.sort(key=lambda ranked: ranked[0])
  return parts.segments(*(part for _, group in said for part in group))


def _words(found: Any) -> str:
  """Text of a column, JSON of a nested one that holds text; '' of the rest."""
  if isinstance(found, str):
    return found if found.strip() else ''
  text = fields.json_text(found) if isinstance(found, list | dict) else ''
  return text if '"' in text else ''


def calls(record: Any) -> parts.Segments:
  """Rows of an API-sequence data set: what comes out are calls."""
  return by_name(
    record, text='action', code='action', output='action', response='action'
  )


def plans(record: Any) -> parts.Segments:
  """Rows of a planning data set: what comes out is a plan in words."""
  return by_name(record, text='thought', output='thought', response='thought')


def documentation(record: Any) -> parts.Segments:
  """Rows of documentation: pages, chunks of pages, questions about them."""
  return by_name(
    record,
    text='documentation',
    content='documentation',
    title='documentation',
    input='documentation',
  )


def code(record: Any) -> parts.Segments:
  """Rows of code: the code, and beside it the APIs that it calls."""
  return by_name(record, text='code', content='code', body='code')
