"""Texts become segments, and are cut where their marks stand."""

import pytest

from hephaestus_jax.corpus.adapters import entry, parts


def reason(function, *arguments, **named) -> str:
  with pytest.raises(entry.MalformedError) as raised:
    function(*arguments, **named)
  return raised.value.reason


def test_a_record_without_a_word_is_empty():
  assert reason(parts.segments) == 'empty_record'
  assert reason(parts.segments, ('user', ' \n')) == 'empty_record'


def test_a_record_of_too_many_parts_is_refused():
  many = [('user', 'a')] * (parts.MAX_PARTS + 1)
  assert reason(parts.segments, *many) == 'too_many_parts'
  text = 'Q:' * (parts.MAX_PARTS + 1)
  assert reason(parts.marked, text, {'Q:': 'user'}, before='text') == (
    'too_many_parts'
  )


def test_the_pieces_of_a_marked_text_are_the_text():
  text = 'Rules.\nQ: Who?\n Q: When?\nA: Now.'
  pieces = parts.marked(text, {'^Q:': 'user', 'A:': 'answer'}, before='system')
  assert pieces == [
    ('system', 'Rules.'),
    ('user', 'Q: Who?\n Q: When?'),
    ('answer', 'A: Now.'),
  ]
  assert ''.join(''.join(piece for _, piece in pieces).split()) == (
    ''.join(text.split())
  )


def test_a_text_without_marks_is_one_piece():
  assert parts.marked('Hi.', {'Q:': 'user'}, before='text') == [('text', 'Hi.')]
  assert parts.marked('', {'Q:': 'user'}, before='text') == []


def test_of_two_marks_that_fit_the_first_counts():
  marks = {'Q: *\\Z': 'system', 'Q:': 'user'}
  assert parts.marked('Q: a Q: ', marks, before='text') == [
    ('user', 'Q: a'),
    ('system', 'Q:'),
  ]


def test_a_blank_mark_ends_what_was_before_and_opens_nothing_of_its_own():
  marks = {'^Do:': 'action', '\n\n': 'user'}
  text = 'Task\n\nwith a gap\nDo: it\n\nNext\n\ntask'
  assert parts.marked(text, marks, before='user') == [
    ('user', 'Task\n\nwith a gap'),
    ('action', 'Do: it'),
    ('user', 'Next\n\ntask'),
  ]


def test_a_field_is_found_under_any_of_its_names():
  assert parts.loose({'doc': '', 'docs': ['a']}, 'doc', 'docs') == '["a"]'
  assert parts.loose({'doc': 0}, 'doc') == '0'
  assert parts.loose({'doc': {}}, 'doc') == ''
  assert parts.loose({}, 'doc') == ''
  assert reason(parts.loose, ['doc'], 'doc') == 'record_is_list'
