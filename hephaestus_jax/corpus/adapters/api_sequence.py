"""API Seq: a request and the calls that answer it (paper, Tables 9 and 10).

A call is kept as its data set writes it: as code, as JSON, or as 'GET /path'.
"""

from typing import Any

from hephaestus_jax.corpus.adapters import entry, fields, parts

# Gorilla's and API-Pack's training text. Their answer is a chain of fields, in
# three spellings: <<<api_call>>>: ..., 'api_call': ..., and "api_call": ...
_ANSWER_FIELDS = {
  'domain': 'thought',
  'api_call': 'action',
  'api_provider': 'thought',
  'explanation': 'thought',
  'lang': 'thought',
  'code': 'action',
}
_TRAINING_TEXT = {
  r'###\s*Instruction:': 'user',
  r'(?:###\s*Output:|[\'"]Output[\'"]:)\s*'
  r'(?:<<<domain>>>|\{ *[\'"]domain[\'"]:)?': 'thought',
  r'<<<code>>>:?\s*\Z': 'thought',  # API-Pack leaves it empty
  **{
    rf'<<<{name}>>>|[{{,] *[\'"]{name}[\'"]:': role
    for name, role in _ANSWER_FIELDS.items()
  },
}


def documentation(record: Any) -> parts.Segments:
  """An API's description as JSON, with its fields' names, as it is published.

  Gorilla's api/ and apizoo/, API-Pack's api_db, TaskBench's tools, ToolEyes'
  configurations, Seal-Tools' tools, RestBench's OpenAPI files.

  >>> documentation({'name': 'add', 'description': 'Adds.'})
  (Segment(role='documentation',
   text='{"name": "add", "description": "Adds."}'),)

  Raises:
    entry.MalformedError: 'empty_record', 'record_is_str'.
  """
  if not isinstance(record, dict | list):
    raise fields.wrong_kind('record', record)
  return parts.segments(('documentation', parts.loosely(record)))


def gorilla(record: Any) -> parts.Segments:
  """APIBench: `code` is the training text, `api_data` the API behind it.

  A record without `api_data` is an API's description (api/, apizoo/).

  >>> gorilla({'code': '###Instruction: Find birds.\\n###Output: '
  ...            '<<<domain>>>: Vision\\n<<<api_call>>>: load("bird")',
  ...          'api_call': 'load("bird")', 'provider': 'Hub',
  ...          'api_data': {'api_name': 'bird'}})
  (Segment(role='documentation', text='{"api_name": "bird"}'),
   Segment(role='user', text='###Instruction: Find birds.'),
   Segment(role='thought', text='###Output: <<<domain>>>: Vision'),
   Segment(role='action', text='<<<api_call>>>: load("bird")'))
  """
  if isinstance(record, dict) and 'api_data' not in record:
    return documentation(record)
  text = fields.text(record, 'code')
  call = parts.loose(record, 'api_call')
  return parts.segments(
    ('documentation', parts.loose(record, 'api_data')),
    *parts.marked(text, _TRAINING_TEXT, before='user'),
    # Torch Hub's texts spell the call in another way than its answer key.
    ('action', '' if call in text else call),
  )


def api_pack(record: Any) -> parts.Segments:
  """API-Pack's instructions: as APIBench, but the API comes in two parts.

  A record without `code` and `instruction` is an API's description (api_dbs/).
  Left out: the candidates that the instruction was chosen from, with the
  prompts and scores of that choice.

  >>> api_pack({'code': '###Instruction:Get it.\\n###Output:\\n'
  ...                   "<<<domain>>>:['a']\\n<<<api_call>>>:curl a",
  ...           'instruction': {'idx': 1, 'candidate': 'Get it.'},
  ...           'api_data': {'api_name': 'A'},
  ...           'api_call_data': {'path': '/a'}})
  (Segment(role='documentation', text='{"api_name": "A"}'),
   Segment(role='documentation', text='{"path": "/a"}'),
   Segment(role='user', text='###Instruction:Get it.'),
   Segment(role='thought', text="###Output:\\n<<<domain>>>:['a']"),
   Segment(role='action', text='<<<api_call>>>:curl a'))
  """
  if isinstance(record, dict) and not {'code', 'instruction'} & record.keys():
    return documentation(record)
  text = fields.text(record, 'code')
  chosen = record.get('instruction')
  if isinstance(chosen, dict):
    chosen = chosen.get('candidate')
  said = parts.loosely(chosen)
  return parts.segments(
    ('documentation', parts.loose(record, 'api_data')),
    ('documentation', parts.loose(record, 'api_call_data')),
    ('user', '' if said in text else said),
    *parts.marked(text, _TRAINING_TEXT, before='user'),
  )


def restbench(record: Any) -> parts.Segments:
  """A request and the ordered REST calls; or the OpenAPI file of a service.

  >>> restbench({'query': 'Play it.', 'solution': ['GET /search']})
  (Segment(role='user', text='Play it.'),
   Segment(role='action', text='GET /search'))
  """
  if isinstance(record, dict) and 'openapi' in record:
    return documentation(record)
  return parts.segments(
    ('user', fields.text(record, 'query')),
    *parts.each('action', fields.items(record, 'solution')),
  )


def seal_tools(record: Any) -> parts.Segments:
  """Seal-Tools in all its layouts: calls, pairs, prompts, tools.

  Calls may be nested: one uses 'API_call_0', what an earlier one returned. The
  old layout is [calls, request]. For fine-tuning a prompt has rules, tools and
  request. Tools and fields stand in files of their own.

  >>> seal_tools({'id': 'dev-1', 'query': 'Who sang it?',
  ...             'calling': [{'api': 'getSinger', 'parameters': {'song': 'X'},
  ...                          'responses': ['API_call_0']}]})
  (Segment(role='user', text='Who sang it?'),
   Segment(role='action', text='{"api": "getSinger", "parameters":
    {"song": "X"}, "responses": ["API_call_0"]}'))
  """
  match record:
    case {'query': _} | {'calling': _}:
      calls: Any = fields.items(record, 'calling')
      said = fields.text(record, 'query')
    case [calls, str(said)]:
      pass
    case {'conversations': _}:
      return _seal_tools_prompt(record)
    case dict():
      return documentation(record)
    case _:
      raise entry.MalformedError('not_a_pair')
  listed = calls if isinstance(calls, list) else [calls]
  return parts.segments(('user', said), *parts.each('action', listed))


_SEAL_PROMPT = {
  r'^Input:\s*api_list *=|^api_list *=': 'documentation',
  r'^task_instruction *=': 'user',
  r'^Output:\s*\Z': 'system',
}


def _seal_tools_prompt(record: Any) -> parts.Segments:
  said: list[parts.Part] = []
  for turn in fields.items(record, 'conversations'):
    text = fields.text(turn, 'value')
    if fields.text(turn, 'from') == 'gpt':
      said.append(('action', text))
    else:
      said += parts.marked(text, _SEAL_PROMPT, before='system')
  return parts.segments(*said)


_SOLUTION = {
  r'<llm-code>': 'action',
  r'<llm-code-output>': 'observation',
  r'(?<=</llm-code>)': 'thought',
  r'(?<=</llm-code-output>)': 'thought',
}


def openmath(record: Any) -> parts.Segments:
  """OpenMathInstruct: words, code that is run, its output, in one string.

  >>> openmath({'question': 'Half of 18?', 'expected_answer': '9',
  ...           'is_correct': True, 'error_message': '',
  ...           'generated_solution': 'By code.\\n<llm-code>\\n18 / 2\\n'
  ...             '</llm-code>\\n<llm-code-output>\\n9.0\\n</llm-code-output>'
  ...             '\\nIt is 9.'})
  (Segment(role='user', text='Half of 18?'),
   Segment(role='thought', text='By code.'),
   Segment(role='action', text='<llm-code>\\n18 / 2\\n</llm-code>'),
   Segment(role='observation',
    text='<llm-code-output>\\n9.0\\n</llm-code-output>'),
   Segment(role='answer', text='It is 9.'))

  Raises:
    entry.MalformedError: 'incorrect_solution': the release marks it as wrong.
  """
  if not fields.value(record, 'is_correct', bool):
    raise entry.MalformedError('incorrect_solution')
  solution = fields.text(record, 'generated_solution')
  worked = parts.marked(solution, _SOLUTION, before='thought')
  if worked[-1][0] == 'thought':
    worked[-1] = ('answer', worked[-1][1])
  expected = parts.loose(record, 'expected_answer')
  error = parts.loose(record, 'error_message')
  seen = error in solution or error == '<not_executed>'
  return parts.segments(
    ('user', fields.text(record, 'question')),
    *worked,
    ('observation', '' if seen else error),
    ('answer', '' if expected in solution else expected),
  )


_EGO_ACTIONS = {r'(?i:\bactions *:)': 'action'}


def egocot(record: Any) -> parts.Segments:
  """EgoCOT: what a video shows, the plan for it in words, the plan as calls.

  Left out: the name of the video's features and its score.

  >>> egocot({'image': 'EGO_2.npy', 'caption': 'C opens the door', 'score': 0.3,
  ...         'planing': 'Open the door.\\nactions:\\n1. open(door)'})
  (Segment(role='user', text='C opens the door'),
   Segment(role='thought', text='Open the door.'),
   Segment(role='action', text='actions:\\n1. open(door)'))
  """
  # The release spells it 'planing', its description 'planning'.
  plan = fields.text(record, parts.present(record, 'planing', 'planning'))
  return parts.segments(
    ('user', fields.text(record, 'caption')),
    *parts.marked(plan, _EGO_ACTIONS, before='thought'),
  )


def mnms(record: Any) -> parts.Segments:
  """m&ms: a plan as Python literals, the same as a program, and other plans."""
  return parts.segments(
    ('user', fields.text(record, 'user_request')),
    ('action', parts.loose(record, 'plan_str')),
    ('action', parts.loose(record, 'code_str')),
    ('action', parts.loose(record, 'alt_plans_str')),
  )


def llm_robot(record: Any) -> parts.Segments:
  """A robot's objects and commands, a user's wish, the commands as JSON."""
  commands = parts.loose(record, 'output', 'response')
  if not commands:
    raise entry.MalformedError('no_output')
  return parts.segments(
    ('system', fields.optional_text(record, 'instruction')),
    ('user', fields.optional_text(record, 'input')),
    ('action', commands),
  )


def agent_trajectory(record: Any) -> parts.Segments:
  """Agent-Eval-Refine: an intent and the actions that a device was driven by.

  An action may stand in several spellings, raw and translated; all are kept.
  Left out: the names of the screenshots.
  """
  steps: list[parts.Part] = []
  for step in fields.items(record, 'steps'):
    fields.value({'step': step}, 'step', dict)
    steps.append(('observation', parts.loose(step, 'caption')))
    done = step.get('other')
    if isinstance(done, dict):
      names = ('raw_action', 'action', 'translated_action')
      steps += parts.each('action', (done.get(name) for name in names))
    else:
      steps.append(('action', parts.loosely(done)))
  return parts.segments(
    ('user', fields.text(record, 'intent')),
    *steps,
    ('answer', parts.loose(record, 'response')),
  )


_EXAMPLE = {
  r'^ *Actions?:': 'action',
  # An empty line ends the calls; the next request follows.
  r'\n[ \t]*\n': 'user',
}


def toolbench_example(record: Any) -> parts.Segments:
  """SambaNova's ToolBench, a file of examples/: 'Task: ...\\nAction:\\n...'."""
  return parts.segments(*_examples(fields.text(record, 'text')))


def _examples(text: str) -> list[parts.Part]:
  """Requests and calls in turn; an example without calls is code."""
  found = parts.marked(text, _EXAMPLE, before='user')
  if all(role == 'user' for role, _ in found):
    return [('code', text.strip())]
  return found


_FENCED = {
  r'^ *- Examples?\b[^\n]*\n *```[^\n]*\n': 'user',
  r'^ *```[ \t]*\n+ *</details>': 'documentation',
}


def toolbench_readme(record: Any) -> parts.Segments:
  """SambaNova's ToolBench, its README: per task APIs, then fenced examples."""
  said: list[parts.Part] = []
  text = fields.text(record, 'text')
  for role, piece in parts.marked(text, _FENCED, before='documentation'):
    if role == 'user':
      title, _, fenced = piece.partition('```')
      said.append(('documentation', title.strip()))
      said += _examples(fenced)
    else:
      said.append((role, piece))
  return parts.segments(*said)
