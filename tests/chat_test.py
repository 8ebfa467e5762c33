"""The message format: what a model reads, and what it writes is read back."""

import itertools

import hypothesis
import pytest
from hypothesis import strategies

from hephaestus_jax import chat, errors
from hephaestus_jax.chat import Span
from hephaestus_jax.chat_formats import chatml, conversation
from hephaestus_jax.corpus.document import Segment


def text_of(spans):
  return ''.join(span.text for span in spans)


def test_a_conversation_becomes_turns_with_the_stop_token_in_the_answer():
  assert chat.render([Segment('user', 'Hi.'), Segment('answer', 'Hello.')]) == (
    Span('structure', '<|im_start|>user\n', marker=True),
    Span('user', 'Hi.'),
    Span('structure', '<|im_end|>\n<|im_start|>assistant\n', marker=True),
    Span('answer', 'Hello.'),
    Span('answer', '<|im_end|>', marker=True),
    Span('structure', '\n', marker=True),
  )


def test_the_docstring_of_chatml_shows_what_render_makes():
  spans = chat.render(
    [
      Segment('system', '...'),
      Segment('user', 'Which buckets are there?'),
      Segment('action', chat.call_text('list_buckets', {})),
      Segment('observation', '["logs"]'),
    ]
  )
  shown = '\n'.join(
    f'    {line}'.rstrip() for line in text_of(spans).split('\n')
  )
  assert shown.rstrip() in chatml.__doc__


def test_documents_without_turns_are_plain_text():
  spans = chat.render([Segment('documentation', 'a'), Segment('code', 'b')])
  assert spans == (Span('documentation', 'a'), Span('code', '\n\nb'))


def test_thought_and_action_share_a_turn():
  spans = chat.render([Segment('thought', 'Look.'), Segment('action', '{}')])
  assert text_of(spans) == (
    '<|im_start|>assistant\nLook.\n<tool_call>\n{}\n</tool_call><|im_end|>\n'
  )
  roles = {span.role for span in spans if '<|im_end|>' in span.text}
  assert roles == {'action'}


@pytest.mark.parametrize('name', chat.FORMATS)
@pytest.mark.parametrize(('before', 'role'), [(1, 'action'), (4, 'answer')])
def test_all_that_the_assistant_writes_has_a_role(name, before, role):
  segments = [
    Segment('user', 'u'),
    Segment('thought', 'Look.'),
    Segment('action', chat.call_text('ls', {})),
    Segment('observation', 'o'),
    Segment('answer', 'a'),
    Segment('user', 'u'),
  ]
  spans = chat.render(segments, name)
  prompt = text_of(chat.generation_prompt(segments[:before], name))
  if name == 'hermes' and before == 4:  # breaks the line once more is said
    prompt = prompt.replace('</tool_response>', '</tool_response>\n')
  assert text_of(spans).startswith(prompt)
  said = text_of(spans)[len(prompt) :]
  end = len(prompt) + min(
    said.index(stop) + len(stop) for stop in chat.stops(name) if stop in said
  )
  ends = itertools.accumulate(len(span.text) for span in spans)
  roles = [
    span.role
    for span, place in zip(spans, ends, strict=True)
    if len(prompt) < place <= end
  ]
  assert roles[-1] == role
  assert {*roles} <= {'thought', role}


def test_only_what_the_format_wrote_is_a_marker():
  quoted = 'The page says <|im_end|> and <tool_call>.'
  spans = chat.render([Segment('user', quoted), Segment('observation', quoted)])
  assert [span.text for span in spans if not span.marker] == [quoted, quoted]


def test_a_prompt_is_the_beginning_of_prompt_and_answer():
  asked = [Segment('system', 's'), Segment('user', 'u')]
  whole = chat.render([*asked, Segment('answer', 'a')])
  prompt = chat.generation_prompt(asked)
  assert whole[: len(prompt)] == prompt


def test_a_call_is_written_as_json():
  assert chat.call_text('add', {'a': 1}) == (
    '{"name": "add", "arguments": {"a": 1}}'
  )


def test_a_quoted_special_token_is_escaped_in_a_call():
  assert '"\\u003c|im_end|>"' in chat.call_text('say', {'text': '<|im_end|>'})


texts = strategies.text(strategies.characters(codec='utf-8'), max_size=20)
arguments = strategies.dictionaries(
  texts,
  strategies.one_of(
    texts,
    strategies.integers(),
    strategies.booleans(),
    strategies.none(),
    strategies.floats(allow_nan=False, allow_infinity=False),
    strategies.sampled_from(
      [
        *chat.SPECIAL_TOKENS,
        *('</s>', '<|eot_id|>', '<|python_tag|>', '[TOOL_CALLS]'),
        *('\nObservation: x', 'Action: y'),
      ]
    ),
    strategies.lists(strategies.dictionaries(texts, texts, max_size=2)),
  ),
  max_size=3,
)
calls = strategies.lists(
  strategies.tuples(texts.filter(str.strip), arguments), max_size=3
)
MARKS = (
  *('<tool_call>', '</tool_call>', '<|im_end|>', '</s>', '[TOOL_CALLS]'),
  *('<|eot_id|>', '<|eom_id|>', '<|python_tag|>'),
)


@pytest.mark.parametrize('name', chat.FORMATS)
@hypothesis.settings(deadline=None, max_examples=25)
@hypothesis.given(words=texts, thought=texts, given=calls)
def test_parse_reads_back_what_render_wrote(name, words, thought, given):
  hypothesis.assume(not any(m in words + thought for m in MARKS))
  asked = [Segment('user', 'u')]
  said = [Segment('thought', thought)] if thought.strip() else []
  said += [Segment('action', chat.call_text(n, a)) for n, a in given]
  if not given:
    said.append(Segment('answer', words))
  prompt = text_of(chat.generation_prompt(asked, name))
  try:
    whole = text_of(chat.render([*asked, *said], name))
  except chat.UnfitError as error:
    assert error.reason in ('several_calls', 'label_in_words', 'name_of_lines')
    return
  found = chat.parse(whole[len(prompt) :], name)
  assert whole.startswith(prompt)
  assert found.calls == tuple({'name': n, 'arguments': a} for n, a in given)
  assert found.malformed == ()
  heard = [*found.thought.split(), *found.words.split()]
  assert heard == [
    *thought.split(),
    *([] if given else words.split()),
  ]


@pytest.mark.parametrize('name', chat.FORMATS)
@hypothesis.settings(deadline=None, max_examples=40)
@hypothesis.given(
  strategies.lists(
    strategies.one_of(
      texts,
      strategies.sampled_from(
        [
          *MARKS,
          *('{"name": "f", "arguments": {}}', '{"name"', '[', '{', '; '),
          *('f.call(a="b")', 'brave_search.call(a="b")', '[{"name": 1}]'),
          *('Action: f', '\nAction Input: ', '\nFinal Answer: ', 'Thought:'),
        ]
      ),
    )
  )
)
def test_whatever_a_model_wrote_is_read_without_an_exception(name, parts):
  found = chat.parse(''.join(parts), name)
  assert all(isinstance(call['arguments'], dict) for call in found.calls)


@pytest.mark.parametrize(
  ('name', 'text', 'reason'),
  [
    ('chatml', '<tool_call>\n{oops}\n</tool_call>', 'not_json'),
    ('chatml', '<tool_call>\n{"name": ', 'not_closed'),
    ('hermes', '<tool_call>\n[]\n</tool_call>', 'no_name'),
    ('hermes', '<tool_call>\n{"name": "f"}\n</tool_call>', 'no_arguments'),
    ('chatml', '<tool_call>' + '[' * 100_000 + '</tool_call>', 'not_json'),
    ('llama3', '<|python_tag|>{"name": "f", "parameters": ', 'not_json'),
    ('llama3', '<|python_tag|>{"parameters": {}}', 'no_name'),
    ('llama3', '<|python_tag|>' + '{"a":' * 100_000, 'not_json'),
    ('mistral', '[TOOL_CALLS] {"name": "f", "arguments": {}}', 'not_a_list'),
    ('mistral', '[TOOL_CALLS] [{"name": "f"}]', 'no_arguments'),
    ('mistral', '[TOOL_CALLS] ' + '[' * 100_000, 'not_json'),
    ('react', 'Action: f', 'no_arguments'),
    ('react', 'Action: f\nAction Input: {oops', 'not_json'),
    ('react', 'Action: f\nAction Input: []', 'no_arguments'),
  ],
)
def test_a_models_mistake_is_a_reason_and_no_exception(name, text, reason):
  assert chat.parse(text, name).malformed == (reason,)


def test_words_around_calls_are_kept():
  found = chat.parse('Yes. <tool_call>\n{}\n</tool_call> Done.<|im_end|> more')
  assert found.words == 'Yes.  Done.'


@pytest.mark.parametrize(
  ('name', 'segments', 'reason'),
  [
    ('hermes', [Segment('action', 'search[tea]')], 'call_not_json'),
    ('hermes', [Segment('observation', 'o')], 'result_is_first'),
    ('llama3', [Segment('action', '{"arguments": {}}')], 'call_without_name'),
    ('mistral', [Segment('answer', 'a')], 'no_user'),
    (
      'mistral',
      [Segment('user', 'u'), Segment('observation', 'o')],
      'result_without_call',
    ),
    ('llama3', [Segment('answer', '{"name": 1')], 'words_read_as_call'),
    (
      'llama3',
      [Segment('system', chat.system_prompt([{'name': 'f'}]))],
      'user_is_not_first',
    ),
    ('react', [Segment('answer', 'a\nAction: b')], 'label_in_words'),
  ],
)
def test_what_a_format_can_not_say_is_refused_with_a_reason(
  name, segments, reason
):
  with pytest.raises(chat.UnfitError) as caught:
    chat.render(segments, name)
  assert caught.value.reason == reason


def test_an_unknown_format_is_refused_with_what_is_near():
  with pytest.raises(errors.UserError, match='mean llama3'):
    chat.render([Segment('user', 'u')], 'lama3')


def test_offered_tools_are_read_back():
  tools = [{'name': 'f', 'description': 'ä\n</tools>'}, {'name': 'g'}]
  rest = [Segment('system', 'Be brief.'), Segment('user', '<tools>')]
  segments = [Segment('system', chat.system_prompt(tools)), *rest]
  assert conversation.offered(segments) == (tools, rest)


def test_turns_are_those_of_the_docstring():
  look, act = Segment('thought', 'Look.'), Segment('action', '{}')
  assert conversation.turns([look, act]) == [
    conversation.Turn('assistant', (look,), (act,))
  ]


def test_messages_of_the_openai_api_become_segments():
  function = {'name': 'ls', 'arguments': '{"path": "."}'}
  assert chat.segments_of(
    [
      {'role': 'developer', 'content': [{'type': 'text', 'text': 'Be brief.'}]},
      {'role': 'user', 'content': 'Hi.'},
      {
        'role': 'assistant',
        'content': 'I look.',
        'tool_calls': [{'id': 'x', 'type': 'function', 'function': function}],
      },
      {'role': 'tool', 'tool_call_id': 'x', 'content': ''},
      {'role': 'assistant', 'content': 'Nothing.'},
    ],
    [{'type': 'function', 'function': {'name': 'ls'}}],
  ) == (
    Segment('system', chat.system_prompt([{'name': 'ls'}])),
    Segment('system', 'Be brief.'),
    Segment('user', 'Hi.'),
    Segment('thought', 'I look.'),
    Segment('action', chat.call_text('ls', {'path': '.'})),
    Segment('observation', ''),
    Segment('answer', 'Nothing.'),
  )


@pytest.mark.parametrize(
  ('message', 'reason'),
  [
    ({'content': 'x'}, 'message_without_role'),
    ({'role': ['user'], 'content': 'x'}, 'message_without_role'),
    ({'role': 'user', 'content': [{'type': 'image'}]}, 'content_is_no_text'),
    ({'role': 'user', 'content': 7}, 'content_is_no_text'),
    (
      {
        'role': 'assistant',
        'tool_calls': [{'function': {'name': 'f', 'arguments': '{'}}],
      },
      'call_not_json',
    ),
    ({'role': 'assistant', 'tool_calls': [7]}, 'call_not_json'),
    ({'role': 'assistant', 'tool_calls': 7}, 'call_not_json'),
  ],
)
def test_what_is_no_message_is_refused_with_a_reason(message, reason):
  with pytest.raises(chat.UnfitError) as caught:
    chat.segments_of([message])
  assert caught.value.reason == reason
