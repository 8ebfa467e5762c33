import hypothesis
import hypothesis.strategies as strategies
import pytest

from hephaestus_jax import tokenizer
from hephaestus_jax.decode import text

MISTRAL = 'mistral-common:v3'


@pytest.fixture(scope='module')
def vocabulary():
  return tokenizer.load(MISTRAL)


def parts(vocabulary, words, stop=()):
  """What each token makes certain, and the reader after them."""
  reader = text.Reader(vocabulary, stop)
  said = [reader.push(token) for token in vocabulary.encode(words)]
  return [*said, reader.finish()], reader


@hypothesis.given(strategies.text(max_size=40))
def test_the_parts_are_the_whole(vocabulary, words):
  words = words.replace('\u2581', '')  # how SentencePiece writes a space
  said, _ = parts(vocabulary, words)
  assert ''.join(said) == words


def test_no_part_ends_in_half_a_character(vocabulary):
  said, _ = parts(vocabulary, '\U0001f9ff\U0001f9ff')
  assert [part for part in said if part] == ['\U0001f9ff', '\U0001f9ff']
  assert len(said) > 5


def test_bytes_that_are_no_character_do_not_wait_for_ever(vocabulary):
  token = vocabulary.token_id('<0x80>')
  reader = text.Reader(vocabulary)
  said = [reader.push(token) for _ in range(6)]
  assert ''.join([*said, reader.finish()]) == 6 * '\ufffd'
  assert any(said)


def test_a_stop_string_and_what_follows_are_not_said(vocabulary):
  said, reader = parts(vocabulary, 'one two\nUser: three', ['\nUser:', 'nope'])
  assert ''.join(said) == 'one two'
  assert reader.stopped
  said, reader = parts(vocabulary, 'a b c', ['c', 'b'])
  assert ''.join(said) == 'a '


def test_the_beginning_of_a_stop_string_waits_and_comes_back(vocabulary):
  said, reader = parts(vocabulary, 'see END', ['ENDING'])
  assert ''.join(said) == 'see END'
  assert 'E' not in ''.join(said[:-1])
  assert not reader.stopped
