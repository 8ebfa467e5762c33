"""Tasks for a documented tool: ToolAlpaca and STE.

A record documents a tool and says what was asked of it, how it was called, what
came back and what was answered.
"""

from typing import Any

from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.adapters import (
  dialog,
  entry,
  fields,
  messages,
  react,
)

# Functions whose descriptions are looked for in the others, one by one.
MAX_FUNCTIONS = 200
# 'ASSISTANT Response:' is how ToolAlpaca's agent ends.
_LOG = react.TURN | {'response': 'answer'}


# --- ToolAlpaca


def tool_alpaca(record: Any) -> messages.Segments:
  """A tool with its tasks: golden answers, or sessions with observations.

  `Link`, `Category`, `Authentication` and `external_tools` are the tool's entry
  in a directory, and left out.

  >>> tool_alpaca({'Name': 'add', 'Description': 'Adds.',
  ...     'NLDocumentation': 'add: Adds a and b.',
  ...     'Instructions': ['What is 1 + 2?'], 'Golden_Answers': [[
  ...         {'Action': 'add', 'Action_Input': '{"a": 1, "b": 2}'}]]})
  (Segment(role='documentation', text='add'),
   Segment(role='documentation', text='Adds.'),
   Segment(role='documentation', text='add: Adds a and b.'),
   Segment(role='user', text='What is 1 + 2?'),
   Segment(role='action', text='add'),
   Segment(role='action', text='{"a": 1, "b": 2}'))

  Raises:
    entry.MalformedError: 'no_tasks', or a reason of `fields`.
  """
  found = list(_documented(record))
  instructions = _texts(record, 'Instructions')
  golden = _list(record, 'Golden_Answers')
  sessions = _list(record, 'Instances')
  if not instructions and not sessions:
    raise entry.MalformedError('no_tasks')
  for i in range(max(len(instructions), len(sessions), len(golden))):
    instruction = instructions[i] if i < len(instructions) else ''
    session = sessions[i] if i < len(sessions) else {}
    # A session's input repeats the instruction that it follows.
    if instruction.strip() not in fields.optional_text(session, 'input'):
      found += messages.segments('user', instruction)
    found += _session(session)
    found += _golden((golden[i] if i < len(golden) else None) or [])
  return messages.told(tuple(found))


def _documented(record: Any) -> messages.Segments:
  """The descriptions, and those functions' that they don't quote."""
  names = ('Name', 'Description', 'Introduction', 'Functions')
  texts = [
    text
    for name in (*names, 'Documentation', 'NLDocumentation')
    if (text := fields.optional_text(record, name)).strip()
  ]
  described = record.get('Function_Description')
  if isinstance(described, dict):
    whole = '\0'.join(texts)
    few = len(described) <= MAX_FUNCTIONS
    for name, text in described.items():
      if isinstance(text, str) and not (few and text in whole):
        texts += [name, text]
  elif described:
    texts.append(fields.as_text(described))
  if record.get('Function_Projection'):
    texts.append(fields.json_text(record['Function_Projection']))
  return messages.segments('documentation', *texts)


def _session(session: Any) -> messages.Segments:
  """An instance: steps of [[action, input, log], observation], an answer."""
  found = list(
    messages.segments('user', fields.optional_text(session, 'input'))
  )
  for step in _list(session, 'intermediate_steps'):
    match step:
      case [[str(action), call, str(log)], observation]:
        written = react.split(log, _LOG, unmarked='thought')
        found += written
        # The log has both as the model wrote them.
        for text in (action, fields.as_text(call)):
          if not any(text in segment.text for segment in written):
            found += messages.segments('action', text)
        found += messages.segments('observation', fields.as_text(observation))
      case [[str(action), call], observation]:
        found += messages.segments('action', action, fields.as_text(call))
        found += messages.segments('observation', fields.as_text(observation))
      case _:
        raise entry.MalformedError('malformed_step')
  for name, role in (
    ('Final Thought', 'thought'),
    ('error', 'observation'),
    ('output', 'answer'),
  ):
    text = fields.optional_text(session, name)
    if text.strip():
      found += messages.segments(role, text)
  return tuple(found)


def _golden(calls: Any) -> messages.Segments:
  """[{'Action': name, 'Action_Input': JSON text or an object}, ...]."""
  if not isinstance(calls, list):
    raise fields.wrong_kind('golden_answer', calls)
  found: list[document.Segment] = []
  for call in calls:
    name = fields.text(call, 'Action')
    found += messages.segments('action', name, *_given(call, 'Action_Input'))
  return tuple(found)


def evaluations(record: Any) -> messages.Segments:
  """ToolAlpaca's outputs for a tool: what a judge was told, what it said.

  Ids and the two verdicts, which the judge's text ends with, are left out.
  """
  if not isinstance(record, list):
    raise fields.wrong_kind('record', record)
  found: list[document.Segment] = []
  for judged in record:
    turns = messages.turns(fields.items(judged, 'input'))
    found += dialog.conversation(turns)
    found += messages.segments('answer', fields.text(judged, 'output'))
  return messages.told(tuple(found))


def directory(record: Any) -> messages.Segments:
  """An entry of public_apis.json: API, Description, Auth, Link, Category."""
  fields.text(record, 'API')
  return messages.segments('documentation', fields.json_text(record))


# --- STE (simulated trial and error)


def trials(record: Any) -> messages.Segments:
  """STE's tasks: one, a list of those for a tool, or an object of batches.

  >>> trials({'query': 'What is 1 + 2?', 'action': 'add',
  ...         'action_input': '{"a": 1, "b": 2}', 'observation': '3',
  ...         'final_ans': 'It is 3.'})
  (Segment(role='user', text='What is 1 + 2?'),
   Segment(role='action', text='add'),
   Segment(role='action', text='{"a": 1, "b": 2}'),
   Segment(role='observation', text='3'),
   Segment(role='answer', text='It is 3.'))

  Raises:
    entry.MalformedError: 'no_tasks', or a reason of `fields`.
  """
  tasks = record if isinstance(record, list) else [record]
  if isinstance(record, dict) and 'query' not in record:
    batches = [batch for batch in record.values() if isinstance(batch, list)]
    if len(batches) != len(record):
      raise entry.MalformedError('no_query')
    tasks = [task for batch in batches for task in batch]
  if not tasks:
    raise entry.MalformedError('no_tasks')
  found: list[document.Segment] = []
  documented = ''
  for task in tasks:
    query = fields.text(task, 'query')
    described = fields.optional_text(task, 'api_descriptions')
    if described != documented:
      found += messages.segments('documentation', described)
      documented = described
    found += messages.segments('user', query)
    action = fields.text(task, 'action')
    found += messages.segments('action', action, *_given(task, 'action_input'))
    # Models' files (saved_results) have their output beside the right call;
    # their verdicts (err, api_match, args_correct, ..._jud) are left out.
    found += react.split(
      fields.optional_text(task, 'model_output'), unmarked='action'
    )
    found += messages.segments('observation', *_given(task, 'observation'))
    found += messages.segments(
      'answer', fields.optional_text(task, 'final_ans')
    )
  return tuple(found)


def descriptions(record: Any) -> messages.Segments:
  """STE's API_descriptions.json, the whole file: names and documentation."""
  if not isinstance(record, dict):
    raise fields.wrong_kind('record', record)
  return messages.told(
    tuple(
      segment
      for name, text in record.items()
      for segment in messages.segments(
        'documentation', name, fields.as_text(text)
      )
    )
  )


def response(record: Any) -> messages.Segments:
  """A dialog and the reply to it: STE's training and flan_v2 files.

  The reply is 'Action: <tool> Action Input: {...}', or an answer.
  """
  turns = messages.turns(fields.items(record, 'dialog_history'))
  return react.replies(turns) + react.split(fields.text(record, 'response'))


def _given(record: dict[str, Any], name: str) -> tuple[str, ...]:
  """The text or JSON value of this name; () where it is missing or null."""
  found = record.get(name)
  return () if found is None else (fields.as_text(found),)


def _list(record: Any, name: str) -> list[Any]:
  """The list of this name; [] where it is missing or null."""
  if isinstance(record, dict) and record.get(name) is None:
    return []
  return fields.items(record, name)


def _texts(record: Any, name: str) -> list[str]:
  found = _list(record, name)
  if not all(isinstance(text, str) for text in found):
    raise entry.MalformedError(f'{name.lower()}_are_no_texts')
  return found
