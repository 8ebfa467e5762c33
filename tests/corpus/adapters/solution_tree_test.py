"""A ToolBench search becomes one story, dead ends and all."""

import copy
import json
from typing import Any

import pytest

from hephaestus_jax.corpus.adapters import entry, messages, solution_tree

FINISH = '{"return_type": "give_answer", "final_answer": "No tea."}'
AGAIN = 'This is not the first time you try this task.'


def pairs(found: messages.Segments) -> list[tuple[str, str]]:
  return [(segment.role, segment.text) for segment in found]


def node(kind: str, text: str, *children: Any, **more: Any) -> dict[str, Any]:
  return {
    'node_type': kind,
    'description': text,
    'Elo': 1000.0,
    'children': list(children),
    **more,
  }


def call(name: str, arguments: str, seen: str, *after: Any) -> dict[str, Any]:
  inner = node('Action Input', arguments, *after, observation=seen)
  return node('Action', name, inner)


def said(name: str, arguments: str, content: str | None) -> dict[str, Any]:
  wanted = {'name': name, 'arguments': arguments}
  return {'role': 'assistant', 'content': content, 'function_call': wanted}


def record() -> dict[str, Any]:
  """find -> (dead end: brew) and (told so: Finish)."""
  beginning = [
    {'role': 'system', 'content': 'You are AutoGPT.'},
    {'role': 'user', 'content': '\nTea?\nBegin!\n'},
    said('find', '{"q": "tea"}', None),
  ]
  middle = [
    *beginning,
    {'role': 'function', 'name': 'find', 'content': '{"error": "none"}'},
    {'role': 'user', 'content': AGAIN, 'valid': False},
    said('Finish', FINISH, 'I give up.'),
  ]
  dead = node('Thought', 'I brew.', call('brew', '{}', 'no water'))
  finish = node('Thought', 'I give up.', call('Finish', FINISH, 'done'))
  root = node(
    'Action Input', '', call('find', '{"q": "tea"}', '{"error": "none"}')
  )
  root['children'][0]['children'][0]['children'] = [dead, finish]
  return {
    'win': True,
    'tree': {'size': 9, 'tree': root},
    'forward_args': {'answer': 1},
    'compare_candidates': [[{'description': 'brew'}]],
    'answer_generation': {
      'valid_data': True,
      'query': 'Tea?',
      'final_answer': FINISH,
      'function': [{'name': 'find'}, {'name': 'Finish'}],
      'chain': [],
      'train_messages': [beginning, middle],
    },
  }


GOLDEN = [
  ('documentation', '{"name": "find"}'),
  ('documentation', '{"name": "Finish"}'),
  ('system', 'You are AutoGPT.'),
  ('user', '\nTea?\nBegin!\n'),
  ('action', 'find'),
  ('action', '{"q": "tea"}'),
  ('observation', '{"error": "none"}'),
  ('thought', 'I brew.'),
  ('action', 'brew'),
  ('action', '{}'),
  ('observation', 'no water'),
  ('user', AGAIN),
  ('thought', 'I give up.'),
  ('action', 'Finish'),
  ('action', FINISH),
  ('observation', 'done'),
]


def test_the_search_is_told_in_its_order_and_nothing_twice():
  assert pairs(solution_tree.answer(record())) == GOLDEN


def test_a_message_that_only_an_early_beginning_has_stays():
  found = record()
  first, second = found['answer_generation']['train_messages']
  first.insert(2, {'role': 'user', 'content': AGAIN, 'valid': False})
  second.pop(4)
  told = pairs(solution_tree.answer(found))
  assert told[4] == ('user', AGAIN)
  assert sorted(told) == sorted(GOLDEN)


def test_without_a_tree_the_dialog_is_the_search():
  found = record()
  found['tree']['tree'] = {}
  told = pairs(solution_tree.answer(found))
  assert told == GOLDEN[:7] + GOLDEN[11:15]


def test_a_search_that_failed_is_its_tree_and_the_request():
  found = record()
  made = found['answer_generation']
  del made['train_messages']
  made['final_answer'] = ''
  told = pairs(solution_tree.answer(found))
  assert told == [
    *GOLDEN[:2],
    ('user', 'Tea?'),
    *GOLDEN[4:11],
    *GOLDEN[12:],
  ]


def test_a_chain_without_a_tree_and_an_answer_of_its_own_are_told():
  found = record()
  made = found['answer_generation']
  made['chain'] = [node('Thought', 'Tea.'), node('Action', 'Finish')]
  made['final_answer'] = 'Green tea.'
  del made['train_messages'], found['tree']
  assert pairs(solution_tree.answer(found)) == [
    *GOLDEN[:2],
    ('user', 'Tea?'),
    ('thought', 'Tea.'),
    ('action', 'Finish'),
    ('answer', 'Green tea.'),
  ]


def test_a_deep_tree_is_walked_without_recursion():
  found = record()
  leaf = node('Thought', 'end')
  for _ in range(20_000):
    leaf = node('Thought', 'go', leaf)
  found['tree']['tree'] = leaf
  assert pairs(solution_tree.answer(found))[-1] == ('thought', 'end')


def test_every_flaw_of_a_search_has_its_reason():
  def reason(change: Any) -> str:
    found = copy.deepcopy(record())
    change(found)
    with pytest.raises(entry.MalformedError) as raised:
      solution_tree.answer(found)
    return raised.value.reason

  def root(found: dict[str, Any]) -> dict[str, Any]:
    return found['tree']['tree']

  def made(found: dict[str, Any]) -> dict[str, Any]:
    return found['answer_generation']

  assert reason(lambda r: r.pop('answer_generation')) == 'no_answer_generation'
  assert reason(lambda r: root(r).pop('node_type')) == 'no_node_type'
  assert reason(lambda r: root(r).update(node_type='Dream')) == 'unknown_node'
  assert reason(lambda r: root(r).update(children={'a': 1})) == (
    'children_is_dict'
  )
  assert reason(lambda r: root(r).update(children=[7])) == 'record_is_int'
  assert reason(lambda r: made(r).update(train_messages='a')) == (
    'train_messages_is_str'
  )
  many = [[{'role': 'user', 'content': 'a'}] * 30_000]
  assert reason(lambda r: made(r).update(train_messages=many)) == (
    'too_many_messages'
  )


def test_instructions_are_tools_a_request_and_the_right_tools():
  api = {'tool_name': 'Tea', 'api_name': 'Find', 'required_parameters': []}
  found = {'api_list': [api], 'query': 'Tea?', 'query_id': 1}
  assert pairs(solution_tree.query(found)) == [
    ('documentation', json.dumps(api)),
    ('user', 'Tea?'),
  ]
  found['relevant APIs'] = [['Tea', 'Find']]
  assert pairs(solution_tree.query(found))[2:] == [
    ('answer', '[["Tea", "Find"]]')
  ]


def test_tools_of_toolenv_responses_and_t_eval_document():
  for record in (
    {'tool_name': 'Tea', 'tool_description': 'Finds.', 'api_list': []},
    {'name': 'Tea', 'tool_description': 'Finds.', 'api_list': []},
  ):
    assert pairs(solution_tree.tool(record)) == [
      ('documentation', 'Tea'),
      ('documentation', 'Finds.'),
    ]
  schema = {'name': 'find', 'schema': {'tea': 'str'}}
  assert pairs(solution_tree.tool({'api_list': [schema]})) == [
    ('documentation', json.dumps(schema))
  ]
