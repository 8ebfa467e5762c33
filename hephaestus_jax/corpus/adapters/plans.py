"""NL Plan: a goal, and the steps to it in words or as commands.

Steps that are words are thoughts; what an environment executes is an action.
"""

import re
from typing import Any

from hephaestus_jax.corpus.adapters import entry, fields, parts


def alexa_arena(record: Any) -> parts.Segments:
  """A mission: its definition, then instructions with the robot's actions.

  Several people annotated the same actions; each annotation repeats them.
  Left out: what belongs to the pictures (file names, masks).

  >>> alexa_arena({
  ...   'CDF': {'task_description': 'Heat the mug.'},
  ...   'human_annotations': [{'instructions': [
  ...     {'instruction': 'find it', 'actions': [0], 'question_answers': [
  ...       {'question': 'Where?', 'answer': 'Left.'}]}]}],
  ...   'synthetic_annotations': [],
  ...   'actions': [{'id': 0, 'type': 'Goto', 'goto': {'object': {
  ...     'id': 'Mug_1', 'mask': [[5, 1]]}}}]})
  (Segment(role='observation', text='{"task_description": "Heat the mug."}'),
   Segment(role='user', text='Heat the mug.'),
   Segment(role='user', text='find it'),
   Segment(role='answer', text='Where?'),
   Segment(role='user', text='Left.'),
   Segment(role='action', text='Goto'),
   Segment(role='action', text='Mug_1'))
  """
  said: list[parts.Part] = []
  actions = [_robot_action(found) for found in _list(record, 'actions')]
  seen: set[int] = set()
  for kind in ('human_annotations', 'synthetic_annotations'):
    for annotation in _list(record, kind):
      for step in _list(annotation, 'instructions'):
        said.append(('user', fields.text(step, 'instruction')))
        for asked in _list(step, 'question_answers'):
          said.append(('answer', parts.loose(asked, 'question')))
          said.append(('user', parts.loose(asked, 'answer')))
        for index in _list(step, 'actions'):
          if not (type(index) is int and 0 <= index < len(actions)):
            raise entry.MalformedError('no_such_action')
          said += actions[index]
          seen.add(index)
        if len(said) > parts.MAX_PARTS:
          raise entry.MalformedError('too_many_parts')
  for index, unnamed in enumerate(actions):
    said += [] if index in seen else unnamed
  definition = record.get('CDF')
  scene = [] if definition is None else _mission(definition)
  return parts.segments(*scene, *said)


def alexa_mission(record: Any) -> parts.Segments:
  """A mission's definition file: the scene and what shall be reached in it."""
  return parts.segments(*_mission(record))


def _mission(definition: Any) -> list[parts.Part]:
  goal = parts.loose(definition, 'task_description')
  text = parts.loose(definition, 'goal_text')
  return [
    ('observation', fields.json_text(definition)),
    ('user', goal),
    ('user', '' if text == goal else text),
  ]


def _robot_action(found: Any) -> list[parts.Part]:
  """('Goto', 'Mug_1') of an action; 'Look' and the like have parameters."""
  kind = fields.text(found, 'type')
  how = found.get(kind.lower())
  thing = how.get('object') if isinstance(how, dict) else None
  if isinstance(thing, dict):
    return [('action', kind), ('action', parts.loose(thing, 'id', 'name'))]
  return [('action', kind), ('action', parts.loosely(how))]


def _list(record: Any, name: str) -> list[Any]:
  """The list `record[name]`; [] where it is missing or null."""
  fields.value({'record': record}, 'record', dict)
  return [] if record.get(name) is None else fields.items(record, name)


def taskbench(record: Any) -> parts.Segments:
  """The tools of a task, the request, its steps, and the calls as a graph.

  The Hugging Face release names the columns otherwise, and keeps lists as JSON
  texts; there a list is one part.

  >>> taskbench({'id': '1', 'user_request': 'Call Jo at 5.',
  ...   'sampled_nodes': [{'task': 'call'}], 'task_steps': ['Step 1: Call Jo'],
  ...   'task_nodes': [{'task': 'call', 'arguments': ['Jo', '5']}],
  ...   'task_links': []})
  (Segment(role='documentation', text='{"task": "call"}'),
   Segment(role='user', text='Call Jo at 5.'),
   Segment(role='thought', text='Step 1: Call Jo'),
   Segment(role='action', text='{"task": "call", "arguments": ["Jo", "5"]}'))
  """
  found = record
  if isinstance(record, dict) and isinstance(record.get('result'), dict):
    # The columns repeat what is inside; the tools stand outside alone.
    found = record['result'] | {k: v for k, v in record.items() if v}
  asked = parts.present(found, 'user_request', 'instruction')
  return parts.segments(
    *_several('documentation', found.get('sampled_nodes')),
    *_several('documentation', found.get('sampled_links')),
    ('user', fields.text(found, asked)),
    *_several('thought', found.get('task_steps', found.get('tool_steps'))),
    *_several('action', found.get('task_nodes', found.get('tool_nodes'))),
    *_several('action', found.get('task_links', found.get('tool_links'))),
  )


def _several(role: str, found: Any) -> list[parts.Part]:
  """A part per element of a list; anything else is one part, '[]' none."""
  several = found if isinstance(found, list) else [found]
  return parts.each(role, (each for each in several if each != '[]'))


_ORACLE_PLAN = {
  r'(?:^\[(?:Seed|Scene)\][^\n]*\n)?^\[Goal\]': 'user',
  r'^\[Initial State\]': 'observation',
  r'^\[Observation\]': 'observation',
  r'^\[Description\]': 'thought',
  r'^\[Step \d+\]': 'action',
}


def saycanpay(record: Any) -> parts.Segments:
  """An oracle plan: its goal, the first state, steps and what they led to.

  >>> saycanpay({'path': 'train/1', 'text':
  ...   '[Seed] 1\\n[Goal] pick up a ball.\\n[Initial State] Room 1 has a ball.'
  ...   '\\n[Step 1] pick up ball\\n[Observation] picked ball\\n[Step 2] done'})
  (Segment(role='user', text='[Seed] 1\\n[Goal] pick up a ball.'),
   Segment(role='observation', text='[Initial State] Room 1 has a ball.'),
   Segment(role='action', text='[Step 1] pick up ball'),
   Segment(role='observation', text='[Observation] picked ball'),
   Segment(role='action', text='[Step 2] done'))

  Raises:
    entry.MalformedError: 'no_goal', ...
  """
  text = fields.text(record, 'text')
  if '[Goal]' not in text:
    raise entry.MalformedError('no_goal')
  return parts.segments(*parts.marked(text, _ORACLE_PLAN, before='text'))


# How a prompt ends that asks for a verdict on a plan (task 3), or for the state
# that actions lead to (task 7), and not for a plan.
_QUESTIONS = ('[VERIFICATION]', '[RESULTING STATE]')


def planbench(record: Any) -> parts.Segments:
  """PlanBench: a problem in words, with an example, and what is right.

  Left out: what models answered where the results are published in the same
  format, if it was wrong; right answers are other plans, and kept.

  >>> planbench({'instance_id': 2, 'query': 'Stack a on b.\\n[PLAN]',
  ...            'ground_truth_plan': '(pick-up a)\\n(stack a b)\\n'})
  (Segment(role='user', text='Stack a on b.\\n[PLAN]'),
   Segment(role='action', text='(pick-up a)\\n(stack a b)\\n'))
  """
  query = fields.text(record, 'query')
  asked = query[-80:].rstrip().endswith(_QUESTIONS)
  role = 'answer' if asked else 'action'
  right = record.get('llm_correct') is True
  return parts.segments(
    ('user', query),
    *_several(role, record.get('ground_truth_plan')),
    (role, parts.loose(record, 'llm_raw_response') if right else ''),
  )


def jericho(record: Any) -> parts.Segments:
  """JerichoWorld: a state, an action, the state after it; or a state alone.

  Left out: object numbers, world diffs, scores, the path of the saved game.

  >>> jericho({'rom': 'zork1', 'action': 'open window', 'reward': 0,
  ...   'state': {'obs': 'A window.', 'inv_desc': 'You are empty-handed.',
  ...             'valid_acts': {'((1,),)': 'open window'}, 'graph': []},
  ...   'next_state': {'obs': 'It opens.'}})
  (Segment(role='observation', text='A window.'),
   Segment(role='observation', text='You are empty-handed.'),
   Segment(role='documentation', text='open window'),
   Segment(role='action', text='open window'),
   Segment(role='observation', text='It opens.'))
  """
  fields.value({'record': record}, 'record', dict)
  if 'next_state' not in record:
    shown = _game_state(record)
    return parts.segments(*shown, ('action', _walkthrough(record)))
  state = fields.value(record, 'state', dict)
  after = fields.value(record, 'next_state', dict)
  action = fields.text(record, 'action')
  advice = _walkthrough(state), _walkthrough(after)
  return parts.segments(
    *_game_state(state),
    # What the walkthrough would do, where the agent did something else.
    ('thought', '' if advice[0] == action else advice[0]),
    ('action', action),
    *_game_state(after),
    ('thought', advice[1]),
  )


_GAME_FACTS = (
  *('inv_desc', 'inv_objs', 'inv_attrs', 'surrounding_objs'),
  *('surrounding_attrs', 'prev_graph', 'graph'),
)


def _walkthrough(state: Any) -> str:
  return parts.loose(state, 'walkthrough_act')


def _game_state(state: Any) -> list[parts.Part]:
  seen = parts.loose(state, 'obs')
  look = parts.loose(state, 'loc_desc')
  place = state.get('location')
  where = parts.loose(place, 'name') if isinstance(place, dict) else ''
  valid = state.get('valid_acts')
  commands = valid.values() if isinstance(valid, dict) else [valid]
  return [
    ('observation', seen),
    ('observation', '' if look in seen else look),
    ('observation', '' if where in seen + look else where),
    *parts.each('observation', (state.get(name) for name in _GAME_FACTS)),
    *parts.each('documentation', commands),
  ]


def ultratool(record: Any) -> parts.Segments:
  """UltraTool: tools, question, a plan whose steps may have a call.

  The six test views ask for a part of it: `input` is the question or a plan,
  `reference` what is to be said. Left out: that a step needs no tool.

  >>> ultratool({'question': 'Log me in.', 'domain': 'Bank',
  ...   'tools': [{'name': 'login'}],
  ...   'plan': [{'step': '1. Log in', 'tool': 'null'},
  ...            {'step': '1.1 Use login', 'tool': "login(user='a')"}]})
  (Segment(role='documentation', text='{"name": "login"}'),
   Segment(role='user', text='Log me in.'),
   Segment(role='thought', text='1. Log in'),
   Segment(role='thought', text='1.1 Use login'),
   Segment(role='action', text="login(user='a')"))

  Raises:
    entry.MalformedError: 'no_plan': it has neither plan nor reference.
  """
  tools = parts.present(record, 'tools', 'toolset')
  if not record.get('plan') and not record.get('reference'):
    raise entry.MalformedError('no_plan')
  return parts.segments(
    *_several('documentation', record.get(tools)),
    ('user', parts.loose(record, 'question')),
    *_steps('user', record.get('input')),
    *_steps('thought', record.get('plan')),
    *_steps('thought', record.get('reference')),
  )


# What UltraTool writes where a step has no tool.
_NO_TOOL = re.compile(
  r'\s*(?:null|none|no tools?\b.*|不需要.*|无需.*)\s*',
  re.IGNORECASE | re.DOTALL,
)


def _steps(role: str, found: Any) -> list[parts.Part]:
  """Steps and their calls; a text has the role.

  Whether a step needs a tool ('0', '1'), and a new tool's documentation, are
  answers.
  """
  if not isinstance(found, list):
    return [(role, parts.loosely(found))]
  said: list[parts.Part] = []
  for step in found:
    said.append(('thought', parts.loose(step, 'step')))
    used = step.get('tool')
    if isinstance(used, dict) or used in ('0', '1'):
      said.append(('answer', parts.loosely(used)))
    elif not _NO_TOOL.fullmatch(parts.loosely(used)):
      said.append(('action', parts.loosely(used)))
    said.append(('action', parts.loose(step, 'param')))
  return said


_SCENE_TABLE = {r'\bSCENE DESCRIPTION:': 'observation'}


def g_planet(record: Any) -> parts.Segments:
  """G-PlanET: a household goal, perhaps with the table of objects; the plan.

  >>> g_planet({'id': 'trial-1', 'input': 'Wash a rag SCENE DESCRIPTION: id',
  ...           'output': ['STEP 1: Walk to the tub | STEP 2: Grab it | END']})
  (Segment(role='user', text='Wash a rag'),
   Segment(role='observation', text='SCENE DESCRIPTION: id'),
   Segment(role='thought', text='STEP 1: Walk to the tub |'),
   Segment(role='thought', text='STEP 2: Grab it | END'))
  """
  asked = parts.marked(
    fields.text(record, 'input'), _SCENE_TABLE, before='user'
  )
  return parts.segments(
    *asked,
    *(
      part
      for plan in fields.items({'output': _as_list(record)}, 'output')
      for part in parts.marked(
        parts.loosely(plan), {r'\bSTEP \d+:': 'thought'}, before='thought'
      )
    ),
  )


def _as_list(record: Any) -> Any:
  found = record.get('output')
  return [found] if isinstance(found, str) else found
