"""The published formats: what their templates write, as literals.

`tests/chat_templates.py` holds them to the templates themselves, which are too
large for the suite.
"""

import json

import hypothesis
import pytest
from hypothesis import strategies
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers import mistral as mistral_common

from hephaestus_jax import chat, tokenizer
from hephaestus_jax.chat_formats import hermes, llama3, mistral, react
from hephaestus_jax.corpus.document import Segment

TOOL = {
  'name': 'ls',
  'description': 'Lists "files".',
  'parameters': {
    'type': 'object',
    'properties': {
      'path': {'type': 'string', 'description': ' Where. '},
      'tags': {'type': 'array'},
    },
  },
}
SEGMENTS = (
  Segment('system', chat.system_prompt([TOOL])),
  Segment('system', 'Be brief.'),
  Segment('user', 'What is there?'),
  Segment('action', chat.call_text('ls', {'path': 'ä'})),
  Segment('observation', '["logs"]'),
  Segment('answer', 'Logs.'),
)


def text_of(spans):
  return ''.join(span.text for span in spans)


def test_hermes_offers_tools_as_python_in_a_turn_of_their_own():
  offer, rest = text_of(chat.render(SEGMENTS, 'hermes')).split(
    '<|im_end|>\n', 1
  )
  assert offer == (
    '<|im_start|>system\n'
    + hermes._BEFORE_TOOLS
    + '{"type": "function", "function": {"name": "ls", "description": '
    '"ls(path: str, tags: list[Union[]]) - Lists "files".\n\n'
    '    Args:\n        path(str): Where.        tags(list[Union[]]): ", '
    '"parameters": {"type": "object", "properties": {"path": {"type": '
    '"string", "description": " Where. "}, "tags": {"type": "array"}}}}'
    + hermes._AFTER_TOOLS
  )
  assert rest == (
    '<|im_start|>system\nBe brief.<|im_end|>\n'
    '<|im_start|>user\nWhat is there?<|im_end|>\n'
    '<|im_start|>assistant\n<tool_call>\n'
    '{"name": "ls", "arguments": {"path": "ä"}}\n</tool_call><|im_end|>\n'
    '<|im_start|>tool\n<tool_response>\n["logs"]\n</tool_response>\n<|im_end|>'
    '<|im_start|>assistant\nLogs.<|im_end|>\n'
  )


def test_hermes_breaks_no_line_after_the_last_result():
  prompt = text_of(chat.generation_prompt(SEGMENTS[2:5], 'hermes'))
  assert prompt.endswith(
    '["logs"]\n</tool_response><|im_end|><|im_start|>assistant\n'
  )


def test_hermes_describes_as_the_docstrings_show():
  field = {'type': 'integer', 'description': 'One.'}
  schema = {'type': 'object', 'properties': {'a': field}}
  assert hermes.tool_text(
    {'name': 'add', 'description': 'Adds.', 'parameters': schema}
  ) == (
    '{"type": "function", "function": {"name": "add", "description": "add(a: '
    'int) - Adds.\n\n    Args:\n        a(int): One.", "parameters": {"type": '
    '"object", "properties": {"a": {"type": "integer", "description": "One."'
    '}}}}'
  )


@pytest.mark.parametrize(
  ('field', 'wanted'),
  [
    ({'type': 'integer'}, 'int'),
    ({'type': 'array', 'items': {'type': 'string'}}, 'list[Union[]]'),
    ({'type': 'object'}, 'dict'),
    (
      {'type': 'object', 'additionalProperties': {'type': 'number'}},
      'dict[str, float]',
    ),
    ({'type': ['string', 'integer']}, 'Union[str,int]'),
    ({'enum': [1]}, 'Union[]'),
    ({'type': 'wonder'}, 'Any'),
    ({'type': 7}, 'Any'),
    (True, 'Union[]'),
  ],
)
def test_hermes_types_are_those_of_the_template(field, wanted):
  assert hermes.python_type(field) == wanted


def test_llama3_offers_tools_in_the_first_user_turn():
  shown = text_of(chat.render(SEGMENTS, 'llama3'))
  assert shown.startswith(
    '<|start_header_id|>system<|end_header_id|>\n\nEnvironment: ipython\n'
    'Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n'
    'Be brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n'
    + llama3._REQUEST
    + '{\n    "type": "function",\n    "function": {\n        "name": "ls",\n'
  )
  assert shown.endswith(
    '    }\n}\n\nWhat is there?<|eot_id|>'
    '<|start_header_id|>assistant<|end_header_id|>\n\n'
    '{"name": "ls", "parameters": {"path": "ä"}}<|eot_id|>'
    '<|start_header_id|>ipython<|end_header_id|>\n\n"[\\"logs\\"]"<|eot_id|>'
    '<|start_header_id|>assistant<|end_header_id|>\n\nLogs.<|eot_id|>'
  )


def test_llama3_calls_what_it_brings_along_after_the_python_tag():
  segments = [
    Segment('system', chat.system_prompt([{'name': 'brave_search'}])),
    Segment('user', 'Tea?'),
    Segment('action', chat.call_text('brave_search', {'query': 'green tea'})),
  ]
  shown = text_of(chat.render(segments, 'llama3'))
  assert 'Environment: ipython\nTools: brave_search\n\nCutting' in shown
  call = '<|python_tag|>brave_search.call(query="green tea")<|eom_id|>'
  assert shown.endswith(call)
  assert chat.parse(call, 'llama3').calls == (
    {'name': 'brave_search', 'arguments': {'query': 'green tea'}},
  )
  quoted = [
    *segments[:2],
    Segment('action', chat.call_text('brave_search', {'query': '"'})),
  ]
  with pytest.raises(chat.UnfitError, match='argument_not_plain'):
    chat.render(quoted, 'llama3')


@pytest.mark.parametrize(
  ('text', 'calls'),
  [
    (
      '{"name": "f", "parameters": {}}; {"name": "g", "parameters": {"a": 1}}',
      [('f', {}), ('g', {'a': 1})],
    ),
    (
      'Let me see.<|python_tag|>print(1)<|eom_id|>',
      [('code_interpreter', {'code': 'print(1)'})],
    ),
    ('{"answer": 1}', []),
  ],
)
def test_llama3_reads_what_models_write(text, calls):
  found = chat.parse(text, 'llama3').calls
  assert [(call['name'], call['arguments']) for call in found] == calls


def test_mistral_writes_what_the_docstring_shows():
  tool = {'name': 'ls', 'description': '', 'parameters': {}}
  segments = [
    Segment('system', chat.system_prompt([tool])),
    Segment('user', 'List ., please.'),
    Segment('action', chat.call_text('ls', {'path': '.'})),
    Segment('observation', '["a"]'),
    Segment('answer', 'There is a.'),
  ]
  shown = text_of(chat.render(segments, 'mistral'))
  start, end = shown.split(', "function": {"name"', 1)
  shown = f'{start}, ...{end[end.index("}]") :]}'
  assert shown in ' '.join(mistral.__doc__.split())


@pytest.fixture(scope='module')
def both():
  return tokenizer.load(
    'mistral-common:v3'
  ), mistral_common.MistralTokenizer.v3()


words = strategies.text(
  strategies.characters(codec='utf-8', exclude_characters='▁'), min_size=1
).filter(str.strip)


@hypothesis.settings(deadline=None, max_examples=50)
@hypothesis.given(
  system=strategies.none() | words,
  rounds=strategies.lists(
    strategies.tuples(words, words | strategies.dictionaries(words, words)),
    min_size=1,
    max_size=3,
  ),
  result=words | strategies.sampled_from(['[1, {"a": "ä"}]', '7', '"x"']),
)
def test_mistral_has_the_ids_of_mistral_common(both, system, rounds, result):
  ours, theirs = both
  messages = [{'role': 'system', 'content': system}] if system else []
  made = 0
  for asked, said in rounds:
    messages.append({'role': 'user', 'content': asked})
    if isinstance(said, str):
      messages.append({'role': 'assistant', 'content': said})
      continue
    function = {'name': 'ls', 'arguments': json.dumps(said)}
    calls = [
      {'id': f'{made + i:09d}', 'type': 'function', 'function': function}
      for i in range(2)
    ]
    messages.append({'role': 'assistant', 'tool_calls': calls})
    messages += [
      {'role': 'tool', 'tool_call_id': call['id'], 'content': result}
      for call in calls
    ]
    made += 2
    messages.append({'role': 'assistant', 'content': 'So.'})
  messages.append({'role': 'user', 'content': rounds[0][0]})
  tools = [{'type': 'function', 'function': TOOL}]
  prompt = chat.generation_prompt(chat.segments_of(messages, tools), 'mistral')
  [ids] = ours.encode_spans([prompt])
  request = ChatCompletionRequest.from_openai(messages=messages, tools=tools)
  assert [ours.bos_id, *(i for part in ids for i in part)] == (
    theirs.encode_chat_completion(request).tokens
  )


def test_react_writes_what_the_docstring_shows():
  tool = {
    'name': 'ls',
    'description': 'lists',
    'parameters': {'type': 'object'},
  }
  segments = [
    Segment('system', chat.system_prompt([tool])),
    Segment('user', 'What is there?'),
    Segment('thought', 'I look.'),
    Segment('action', chat.call_text('ls', {'path': '.'})),
    Segment('observation', '["logs"]'),
    Segment('answer', 'Logs.'),
  ]
  spans = chat.render(segments, 'react')
  shown = '\n'.join(f'    {line}' for line in text_of(spans).split('\n'))
  assert shown in react.__doc__
  assert [s.role for s in spans if 'Observation:' in s.text] == ['action']
