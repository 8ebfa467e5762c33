import random

import pytest

from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.filters import quality

WORDS = ['list', 'delete', 'the', 'bucket', 'queue', 'name', 'of', 'a', 'new']


def prose(count: int, seed: int = 0) -> str:
  draw = random.Random(seed)
  return ' '.join(draw.choice(WORDS) for _ in range(count))


BAD = {
  'too_short': 'Deletes a bucket.',
  'too_long': prose(300_000),
  'few_letters': '+---+ | |' * 40 + prose(9),
  'unbroken': prose(20) + ' ' + 'QUJD' * 500,
  'repetitive': 'All rights of this page are reserved by its many owners. '
  * 40,
}


@pytest.mark.parametrize('reason', BAD)
def test_a_document_for_every_reason(reason):
  assert quality.fault(BAD[reason], quality.Limits()) == reason


def test_the_filter_drops_with_the_reason_and_keeps_the_rest():
  bad = document.Document(
    's/g/n', 's', 'text', 'MIT', '', (document.Segment('text', 'Too short.'),)
  )
  good = document.Document(
    's/g/n', 's', 'text', 'MIT', '', (document.Segment('text', prose(50)),)
  )
  assert quality.Quality()(bad) == document.Drop('s/g/n', 's', 'too_short')
  assert quality.Quality()(good) is good


def test_a_kind_may_have_limits_of_its_own():
  spoken = document.Document(
    's/g/n',
    's',
    'instruction',
    'MIT',
    '',
    (document.Segment('user', 'Hello?'), document.Segment('answer', 'Hi.')),
  )
  assert isinstance(quality.Quality()(spoken), document.Drop)
  loose = quality.Quality({'instruction': quality.Limits(min_words=2)})
  assert loose(spoken) is spoken


@pytest.mark.parametrize(
  'text',
  [
    # What API documentation looks like, and a careless filter drops.
    '**API: frame.mean**\n\nMean of each column.\n\n```\n'
    + '┌─────┬─────┐\n│ foo ┆ bar │\n╞═════╪═════╡\n│ 2.0 ┆ 7.0 │\n'
    + '└─────┴─────┘\n```\n',
    'Deletes a listener by its name:\n'
    '{"Resource":"arn:aws:elasticloadbalancing:us-west-2:123456789012:listener/'
    'app/my-load-balancer/50dc6c495c0c9188/0467ef3c8400ae65"}',
    'Sets contacts.\n'
    + ''.join(
      f'- {who} (object, required): first name, last name, organization, '
      'address line, city, state, country code, zip code, phone number, email\n'
      for who in ('AdminContact', 'RegistrantContact', 'TechContact')
    ),
    '{"a": 1, "b": {"c": [true, null, 0.5], "d": "e"}, "f": {"g": {"h": "i"}}}',
    'def add(a: int, b: int) -> int:\n  """Adds."""\n  return a + b\n',
  ],
)
def test_documentation_json_and_code_pass(text):
  assert quality.fault(text, quality.Limits()) == ''


def test_the_share_of_repeated_runs():
  found = quality.repeated_share(['to', 'be', 'or', 'not', 'to', 'be'], n=2)
  assert found == pytest.approx(0.2)
  assert quality.repeated_share(['too', 'short']) == 0
