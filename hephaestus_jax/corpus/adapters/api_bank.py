"""API-Bank: dialogues with API calls, scenes to plan for, and rows of both.

The repository's dialogues (levels 1 and 2) and scenes (level 3) are what it
evaluates on; its rows to train on are made of other dialogues.
"""

from typing import Any

from hephaestus_jax.corpus.adapters import entry, fields, parts


def dialogue(record: Any) -> parts.Segments:
  """API-Bank's levels 1 and 2: a file is a dialogue, a line a turn of it.

  >>> dialogue([
  ...   {'role': 'User', 'text': 'What is 2+3?'},
  ...   {'role': 'API', 'api_name': 'Calculator',
  ...    'param_dict': {'formula': '2+3'},
  ...    'result': {'output': 5.0, 'exception': None}},
  ...   {'role': 'AI', 'text': 'It is 5.'}])
  (Segment(role='user', text='What is 2+3?'),
   Segment(role='action', text='Calculator'),
   Segment(role='action', text='{"formula": "2+3"}'),
   Segment(role='observation', text='{"output": 5.0, "exception": null}'),
   Segment(role='answer', text='It is 5.'))

  Raises:
    entry.MalformedError: 'record_is_dict' (a line alone), 'unknown_role', ...
  """
  said: list[parts.Part] = []
  for turn in fields.items({'record': record}, 'record'):
    match fields.text(turn, 'role'):
      case 'User':
        said.append(('user', fields.value(turn, 'text', str)))
      case 'AI':
        said.append(('answer', fields.value(turn, 'text', str)))
      case 'API':
        said += [
          ('action', fields.text(turn, 'api_name')),
          ('action', parts.loose(turn, 'param_dict')),
          ('observation', parts.loose(turn, 'result')),
        ]
      case _:
        raise entry.MalformedError('unknown_role')
  return parts.segments(*said)


_SCENE = {
  r'^[- ]*First Utter[ae]nce:': 'user',
  r'^[- ]*Key Info(?:rmation)?:': 'system',
  r'^[- ]*(?:GT )?API Calls?:': 'action',
}


def scene(record: Any) -> parts.Segments:
  """API-Bank's level 3, a text: scene, request, facts and the right calls."""
  text = fields.text(record, 'text')
  return parts.segments(*parts.marked(text, _SCENE, before='system'))


def api(record: Any) -> parts.Segments:
  """A row of API-Bank's table of APIs; id and file path are left out."""
  fields.value({'record': record}, 'record', dict)
  described = [v for k, v in record.items() if k not in ('id', '路径')]
  return parts.segments(*parts.each('documentation', described))


_CONTEXT = {
  r'^User:': 'user',
  r'^AI:': 'answer',
  r'^API-Request:': 'action',
  # What a request returns stands behind it: API-Request: [F(a=1)]->{'b': 2}
  r'(?<=\])->': 'observation',
  r'^Generate (?:API Request|AI Response):': 'system',
}
_TOOL = {r'^\{"(?:name|apiCode)"': 'documentation'}


def row(record: Any) -> parts.Segments:
  """API-Bank's training and test rows: instruction, context, what comes next.

  >>> row({
  ...   'instruction': 'Generate an API request.',
  ...   'input': '{"apiCode": "Add"}\\nUser: 1 and 2?\\nAPI-Request: [Add(a=1)]'
  ...            '->{"sum": 1}\\nGenerate API Request: ',
  ...   'output': 'API-Request: [Add(a=1, b=2)]'})
  (Segment(role='system', text='Generate an API request.'),
   Segment(role='documentation', text='{"apiCode": "Add"}'),
   Segment(role='user', text='User: 1 and 2?'),
   Segment(role='action', text='API-Request: [Add(a=1)]'),
   Segment(role='observation', text='->{"sum": 1}'),
   Segment(role='system', text='Generate API Request:'),
   Segment(role='action', text='API-Request: [Add(a=1, b=2)]'))
  """
  # Test rows say 'expected_output', and may have an empty 'output' beside it.
  expected = fields.text(
    record, parts.present(record, 'output', 'expected_output')
  )
  return parts.segments(
    *parts.marked(fields.text(record, 'instruction'), _TOOL, before='system'),
    *parts.marked(
      fields.optional_text(record, 'input'),
      _CONTEXT,
      before='documentation',
    ),
    *parts.marked(expected, {r'^API-Request:': 'action'}, before='answer'),
  )
