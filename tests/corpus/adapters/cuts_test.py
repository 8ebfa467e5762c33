"""Whatever takes a text apart keeps every character but white space."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hephaestus_jax.corpus.adapters import (
  dialog,
  question_answer,
  react,
  text_games,
)

MARKS = (
  *('Thought:', 'Action 1:', 'Action Input:', 'Observation:', 'ACTION:'),
  *('Answer:', 'Final Answer:', 'Question:', '**Thought:**', 'Act: finish'),
  *('<execute>', '</execute>', '<solution>', '</solution>', '<think>'),
  *('<functioncall>', '</think>', '```python', '```', 'Step 1:', 'Step 2:'),
  *('Tool available:', 'Solve ', '> think: ', '> go', 'Your task is to: '),
  *('STATUS: OK', '#####', 'def f():', '  return', '[Tea(', ')]', '\n', '\n'),
  *('\n\n', ' ', '. ', 'tea', 'Zürich', '茶'),
)
TEXTS = st.lists(st.sampled_from(MARKS), max_size=40).map(''.join)


def whole_program(text: str):
  return text_games.program({'text': text}) if text.strip() else ()


def whole_turns(text: str):
  record = {'instruction': text, 'response': 'Step 1: Tea.'}
  if not text.strip():
    return ()
  return question_answer.ultra_interact(record)[:-1]


@pytest.mark.parametrize(
  'function',
  [
    react.split,
    react.written,
    lambda text: react.split(text, react.EPISODE, lead='user'),
    dialog.spoken,
    dialog.code_act,
    text_games.played,
    whole_program,
    whole_turns,
  ],
  ids=lambda function: function.__name__,
)
@settings(max_examples=200, deadline=None)
@given(text=TEXTS)
def test_the_segments_are_the_text(function, text):
  found = function(text)
  assert all(segment.text in text for segment in found)
  joined = ''.join(segment.text for segment in found)
  assert ''.join(joined.split()) == ''.join(text.split())
