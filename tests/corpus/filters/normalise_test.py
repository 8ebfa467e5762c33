import pytest

from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.filters import normalise


def a_document(*segments: tuple[str, str]) -> document.Document:
  return document.Document(
    's/g/n',
    's',
    'trajectory',
    'MIT',
    '',
    tuple(document.Segment(role, text) for role, text in segments),
  )


def test_the_example_of_the_docstring():
  found = normalise.normalise(
    a_document(('text', 'One. \r\n\r\n\r\n\r\nTwo.\0\n'))
  )
  assert found == a_document(('text', 'One.\n\n\nTwo.'))
  text = 'Cafe\u0301 \r\nbar\n\n\n\n\nend\n'
  assert normalise.normalise_text(text) == 'Caf\u00e9\nbar\n\n\nend'


@pytest.mark.parametrize(
  ('text', 'expected'),
  [
    ('a\rb', 'a\nb'),
    ('\ufeffa\u200bb', 'a\u200bb'),
    ('half \ud83d of a pair', 'half  of a pair'),
    ('e\x00\u0301', '\u00e9'),
    ('\n\n  indented\n', '  indented'),
    ('tab\tstays \t\n\nhere', 'tab\tstays\n\nhere'),
    ('\x0c\x1b[0m', '[0m'),
  ],
)
def test_what_is_mended(text, expected):
  assert normalise.normalise_text(text) == expected


@pytest.mark.parametrize(
  'text', ['a \n\n\n\n\x00\n b', 'e\x00\u0301\r\r\n\r', '\n\x07\n x \u0344']
)
def test_twice_is_once(text):
  once = normalise.normalise_text(text)
  assert normalise.normalise_text(once) == once
  document_once = normalise.normalise(a_document(('text', text)))
  assert normalise.normalise(document_once) == document_once


def test_a_document_of_nothing_is_dropped():
  found = normalise.normalise(
    a_document(('text', ' \n\0'), ('observation', ''))
  )
  assert found == document.Drop('s/g/n', 's', 'empty')


def test_an_empty_segment_goes_but_an_empty_observation_stays():
  found = normalise.normalise(
    a_document(('thought', ' '), ('action', 'f()'), ('observation', '\n'))
  )
  assert found == a_document(('action', 'f()'), ('observation', ''))
