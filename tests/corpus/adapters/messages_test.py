"""Every published spelling of a list of messages says the same."""

import json

import pytest

from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.adapters import entry, messages, parts

HELLO = (
  messages.Turn('system', ('Be kind.',)),
  messages.Turn('user', ('Hi.',)),
  messages.Turn('assistant', ('Hello.',)),
)


def reason(found: object) -> str:
  with pytest.raises(entry.MalformedError) as raised:
    messages.turns(found)
  return raised.value.reason


@pytest.mark.parametrize(
  'found',
  [
    [
      {'role': 'system', 'content': 'Be kind.'},
      {'role': 'user', 'content': 'Hi.', 'valid': True},
      {'role': 'assistant', 'content': 'Hello.', 'loss': True},
    ],
    [
      {'from': 'system', 'value': 'Be kind.'},
      {'from': 'human', 'value': 'Hi.'},
      {'from': 'gpt', 'value': 'Hello.', 'markdown': None},
    ],
    [
      {'from': 'System', 'value': 'Be kind.'},
      {'from': 'USER ', 'value': 'Hi.'},
      {'from': 'chatgpt', 'value': 'Hello.'},
    ],
    [
      {'role': 'developer', 'content': [{'type': 'text', 'text': 'Be kind.'}]},
      {'role': 'user', 'content': ['Hi.']},
      {'role': 'model', 'content': 'Hello.'},
    ],
    {
      'from': ['system', 'human', 'gpt'],
      'value': ['Be kind.', 'Hi.', 'Hello.'],
    },
    '[{"role": "system", "content": "Be kind."}, {"role": "user", "content": '
    '"Hi."}, {"role": "assistant", "content": "Hello."}]',
    '<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi.<|im_end|>\n'
    '<|im_start|>assistant\nHello.<|im_end|>\n',
    '<bos><start_of_turn>system\nBe kind.<end_of_turn>\n<start_of_turn>user\n'
    'Hi.<end_of_turn>\n<start_of_turn>model\nHello.<end_of_turn><eos>',
    '<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe kind.'
    '<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi.<|eot_id|>'
    '<|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>',
    '<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi. [/INST] Hello. </s>',
    'SYSTEM: Be kind.\nUSER: Hi.\n\n\nASSISTANT: Hello. <|endoftext|>',
    'Be kind.\n### Human: Hi.\n### Assistant: Hello.',
  ],
  ids=lambda found: json.dumps(found)[:40],
)
def test_all_spellings_of_a_chat_are_the_same_turns(found):
  assert messages.turns(found) == HELLO


def test_the_column_may_have_many_names_and_hold_more_than_one_layout():
  chat = [{'role': 'user', 'content': 'Hi.'}]
  for name in ('messages', 'conversations', 'conversation', 'dialog_history'):
    assert messages.column({'id': 1, name: chat}) == HELLO[1:2]
  assert messages.column({'messages': None, 'turns': chat}) == HELLO[1:2]
  assert messages.column(chat) == HELLO[1:2]


def test_calls_are_names_and_arguments_one_after_the_other():
  both = {
    'role': 'assistant',
    'content': 'I look.',
    'reasoning_content': 'Two cities.',
    'tool_calls': [
      {
        'id': 'c1',
        'type': 'function',
        'function': {'name': 'weather', 'arguments': '{"city": "Rome"}'},
      },
      {'name': 'weather', 'arguments': {'city': 'Oslo'}},
    ],
  }
  assert messages.turns([both]) == (
    messages.Turn(
      'assistant',
      ('I look.',),
      (
        'weather',
        '{"city": "Rome"}',
        '{"name": "weather", "arguments": {"city": "Oslo"}}',
      ),
      ('Two cities.',),
    ),
  )
  old = {'role': 'assistant', 'function_call': {'name': 'now', 'arguments': ''}}
  assert messages.turns([old])[0].calls == ('now', '')


def test_what_a_tool_gave_may_be_null_text_or_json():
  for content, texts in (
    (None, ()),
    ('', ('',)),
    ({'high': 8611}, ('{"high": 8611}',)),
    ([{'high': 8611}], ('{"high": 8611}',)),
  ):
    (turn,) = messages.turns([{'role': 'tool', 'content': content}])
    assert turn == messages.Turn('tool', texts)


def test_a_text_that_a_message_has_twice_is_told_once():
  message = {'from': 'gpt', 'value': 'Hi.', 'text': 'Hi.', 'message': None}
  assert messages.turns([message])[0].texts == ('Hi.',)
  message = {'from': 'gpt', 'value': None, 'text': 'Hi.'}
  assert messages.turns([message])[0].texts == ('Hi.',)


def test_every_flaw_has_its_reason():
  user = {'role': 'user', 'content': 'Hi.'}
  assert reason([]) == 'no_messages'
  assert reason(3) == 'messages_is_int'
  assert reason({'role': 'user'}) == 'no_messages'
  assert reason({'from': ['a', 'b'], 'value': ['c']}) == 'columns_differ'
  assert reason([user, 'Hi.']) == 'message_is_str'
  assert reason([{'content': 'Hi.'}]) == 'no_speaker'
  assert reason([{'role': 'moon', 'content': 'Hi.'}]) == 'unknown_speaker'
  assert reason([{'role': ['user'], 'content': 'Hi.'}]) == 'unknown_speaker'
  assert reason([{'role': 'user'}]) == 'no_content'
  assert reason([{'role': 'user', 'content': 3}]) == 'content_is_int'
  assert reason([user | {'tool_calls': 'now'}]) == 'tool_calls_is_str'
  assert reason('No chat.') == 'no_messages'
  assert reason('[' * 100_000) == 'no_messages'
  assert reason([user] * (parts.MAX_PARTS + 1)) == 'too_many_parts'


def test_a_text_with_one_mark_in_it_is_no_chat():
  assert not messages.is_marked('Write "USER: name" on it.')
  assert not messages.is_marked('USER: name')
  assert messages.is_marked('USER: name\nASSISTANT: Bob.')


def test_pieces_of_one_role_stay_together_and_blank_ones_go():
  cuts = [(0, 'text'), (3, 'action'), (6, 'action')]
  assert messages.pieces('   do it', cuts) == (
    document.Segment('action', 'do it'),
  )
