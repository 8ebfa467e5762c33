"""Questions as conversations, and answers as results."""

import pytest

from hephaestus_jax import errors
from hephaestus_jax.evaluation import bfcl_answers
from hephaestus_jax.evaluation.bfcl_answers import Answer
from hephaestus_jax.evaluation.bfcl_checker import PROMPTING, TOOLS

CALL = '<tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>'


@pytest.mark.parametrize(
  ('chosen', 'chat_format', 'served', 'asking'),
  [
    (None, 'hermes', False, TOOLS),
    (None, 'react', False, TOOLS),
    (None, 'smollm2', False, PROMPTING),
    (TOOLS, 'smollm2', False, TOOLS),
    (PROMPTING, 'hermes', False, PROMPTING),
    (None, 'hermes', True, PROMPTING),
  ],
)
def test_the_chat_format_decides_how_bfcl_asks(
  chosen, chat_format, served, asking
):
  found = bfcl_answers.way_of_asking(chosen, chat_format, served)
  assert found == asking


def test_a_way_that_there_is_not_is_named():
  with pytest.raises(errors.UserError, match="asking = 'fc'; there are"):
    bfcl_answers.way_of_asking('fc', 'hermes', False)
  with pytest.raises(errors.UserError, match='needs a checkpoint'):
    bfcl_answers.way_of_asking(TOOLS, 'hermes', True)
  with pytest.raises(errors.UserError, match="no chat format 'herms'"):
    bfcl_answers.way_of_asking(None, 'herms', False)


@pytest.mark.parametrize(
  ('answer', 'category', 'asking', 'result', 'reason'),
  [
    (Answer(CALL), 'multiple', TOOLS, [{'f': {'x': 1}}], ''),
    (Answer(CALL), 'multiple', PROMPTING, CALL, ''),
    (Answer('No.'), 'multiple', TOOLS, 'No.', ''),
    (
      Answer(CALL + '<tool_call>'),
      'multiple',
      TOOLS,
      CALL + '<tool_call>',
      'malformed:not_closed',
    ),
    # Of relevance the one that can be read counts.
    (Answer(CALL + '<tool_call>'), 'irrelevance', TOOLS, [{'f': {'x': 1}}], ''),
    (Answer('<tool_call>'), 'irrelevance', TOOLS, '<tool_call>', ''),
    # What was never asked is wrong wherever silence would be right.
    (
      Answer('', 'prompt_too_long'),
      'irrelevance',
      TOOLS,
      [{'prompt_too_long': {}}],
      'prompt_too_long',
    ),
    (
      Answer('', 'unfit:no_user'),
      'live_irrelevance',
      PROMPTING,
      '[unfit()]',
      'unfit:no_user',
    ),
    (
      Answer('', 'prompt_too_long'),
      'live_relevance',
      TOOLS,
      'prompt_too_long',
      'prompt_too_long',
    ),
    (Answer('\ud800', 'length'), 'multiple', PROMPTING, '?', ''),
    (
      Answer(r"[f(x='\ud83d\U0000DE00\u00e9')]"),
      'multiple',
      PROMPTING,
      r"[f(x='??\u00e9')]",
      '',
    ),
  ],
)
def test_an_answer_is_a_result(answer, category, asking, result, reason):
  found = bfcl_answers.read(answer, category, asking, 'hermes')
  assert found == (result, reason)


def test_what_a_server_failed_to_answer_is_not_kept():
  for finish, lasting in (
    ('stop', True),
    ('length', True),
    ('prompt_too_long', True),
    ('unfit:no_user', True),
    ('endpoint_unavailable', False),
  ):
    said = bfcl_answers.Said('x', ((Answer('', finish),),))
    assert said.lasting == lasting


def test_type_words_become_those_of_json_schema():
  assert bfcl_answers.json_schema(
    {
      'type': 'dict',
      'properties': {
        'x': {'type': 'float', 'description': 'How far.', 'default': 1.5},
        'type': {'type': 'any'},
        'points': {
          'type': 'tuple',
          'items': {'type': 'array', 'items': {'type': 'long'}},
        },
        'options': {
          'type': 'HashMap',
          'properties': {'deep': {'type': 'Boolean'}},
        },
      },
      'required': ['x'],
    }
  ) == {
    'type': 'object',
    'properties': {
      'x': {'type': 'number', 'description': 'How far.', 'default': 1.5},
      'type': {'type': 'string'},
      'points': {
        'type': 'array',
        'items': {'type': 'array', 'items': {'type': 'integer'}},
      },
      'options': {
        'type': 'object',
        'properties': {'deep': {'type': 'boolean'}},
      },
    },
    'required': ['x'],
  }
