"""The message format: what a model reads, and what it writes is read back."""

import hypothesis
import pytest
from hypothesis import strategies

from hephaestus_jax import chat
from hephaestus_jax.chat import Span
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


def test_the_module_docstring_shows_what_render_makes():
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
  assert shown.rstrip() in chat.__doc__


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


arguments = strategies.dictionaries(
  strategies.text(),
  strategies.one_of(
    strategies.text(),
    strategies.integers(),
    strategies.sampled_from(chat.SPECIAL_TOKENS),
    strategies.lists(strategies.sampled_from(chat.SPECIAL_TOKENS)),
  ),
  max_size=3,
)


@hypothesis.settings(deadline=None)
@hypothesis.given(
  strategies.lists(
    strategies.tuples(strategies.text(min_size=1), arguments),
    min_size=1,
    max_size=3,
  )
)
def test_parse_reads_back_the_calls_that_render_wrote(calls):
  segments = [Segment('user', 'u')] + [
    Segment('action', chat.call_text(name, given)) for name, given in calls
  ]
  turn = text_of(chat.render(segments)).split('<|im_start|>assistant\n')[1]
  assert chat.parse(turn) == chat.Completion(
    words='',
    calls=tuple({'name': n, 'arguments': given} for n, given in calls),
    malformed=(),
  )


@pytest.mark.parametrize(
  ('text', 'reason'),
  [
    ('<tool_call>\n{oops}\n</tool_call>', 'not_json'),
    ('<tool_call>\n{"name": ', 'not_closed'),
    ('<tool_call>\n[]\n</tool_call>', 'no_name'),
    ('<tool_call>\n{"name": "f"}\n</tool_call>', 'no_arguments'),
    ('<tool_call>' + '[' * 100_000 + '</tool_call>', 'not_json'),
  ],
)
def test_a_models_mistake_is_a_reason_and_no_exception(text, reason):
  assert chat.parse('Well. ' + text).malformed == (reason,)


def test_words_around_calls_are_kept():
  found = chat.parse('Yes. <tool_call>\n{}\n</tool_call> Done.<|im_end|> more')
  assert found.words == 'Yes.  Done.'
