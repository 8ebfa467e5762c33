import pathlib
import random
import sys

import numpy as np
import pyarrow as pa
import pytest

from hephaestus_jax.corpus import document, facts
from hephaestus_jax.corpus.filters import deduplicate

sys.path.append(str(pathlib.Path(__file__).parents[3] / 'benchmarks'))
import planted_duplicates  # noqa: E402

NEAR = deduplicate.NearDuplicates()
SOURCES = ('first', 'second')


def text(seed: int, words: int = 300) -> str:
  draw = random.Random(seed)
  return ' '.join(
    ''.join(draw.choice('abcdefghij') for _ in range(4)) for _ in range(words)
  )


def edited(original: str, share: float, seed: int) -> str:
  """The text with a passage of that share of its words rewritten."""
  words = original.split()
  length = int(len(words) * share)
  start = (len(words) - length) // 2
  return ' '.join(
    [*words[:start], *text(seed, length).split(), *words[start + length :]]
  )


def a_document(
  name: str,
  body: str,
  source: str = 'first',
  *system: str,
  kind: str = 'text',
  licence: str = 'MIT',
):
  segments = [document.Segment('system', s) for s in system]
  return document.Document(
    f'{source}/g/{name}',
    source,
    kind,
    licence,
    '',
    (*segments, document.Segment('text', body)),
  )


def a_print(
  name: str,
  body: str,
  split: str = 'train',
  source: str = 'first',
  kind: str = 'text',
  licence: str = 'MIT',
):
  printed = a_document(name, body, source, kind=kind, licence=licence)
  return deduplicate.fact(printed, split, NEAR)


def gathered(prints):
  schema = facts.schema(NEAR.bands * NEAR.rows)
  known = facts.gather(pa.Table.from_pylist(prints, schema))
  return known, np.arange(len(known))


def pairs(known, found):
  return {
    known.id(loser): known.id(found.winner(loser))
    for loser in found.losers_M.tolist()
  }


def exact(prints, licences=()):
  known, rows_D = gathered(prints)
  found = deduplicate.exact_duplicates(known, rows_D, SOURCES, licences)
  return pairs(known, found)


def near(prints, licences=()):
  known, rows_D = gathered(prints)
  found = deduplicate.near_duplicates(known, rows_D, NEAR, licences)
  return pairs(known, found)


def test_case_and_space_make_no_difference_words_do():
  base = deduplicate.digest('to be,\n or not')
  assert base == deduplicate.digest('to be, or NOT')
  assert base != deduplicate.digest('to be, or now')


def test_of_exact_copies_stays_the_first_source_then_the_smallest_id():
  prints = [
    a_print('b', 'To be.', source='second'),
    a_print('c', 'to  be.'),
    a_print('b', 'To BE.'),
    a_print('d', 'Not to be.'),
  ]
  assert exact(prints) == {
    'first/g/c': 'first/g/b',
    'second/g/b': 'first/g/b',
  }


@pytest.mark.parametrize('find_losers', [exact, near])
def test_held_out_documents_never_lose_and_validation_ones_always_do(
  find_losers,
):
  prints = [
    a_print('a', text(1) + ' and one more', 'train'),
    a_print('b', text(1) + ' and one more', 'validation'),
    a_print('z', text(1) + ' and one more', 'heldout', 'second'),
  ]
  assert find_losers(prints) == {
    'first/g/a': 'second/g/z',
    'first/g/b': 'second/g/z',
  }
  assert find_losers(prints[:2]) == {'first/g/b': 'first/g/a'}


def find_both(prints):
  found = exact(prints)
  assert near(prints) == found
  return found


def test_kinds_are_compared_only_with_what_is_held_out():
  page = a_print('page', text(1), kind='documentation')
  session = a_print('session', text(1), kind='trajectory')
  asked = a_print('z', text(1), 'heldout', kind='instruction')
  told = a_print('y', text(1), 'heldout', kind='documentation')
  assert find_both([page, session]) == {}
  assert find_both([page, session, asked]) == {
    'first/g/page': 'first/g/z',
    'first/g/session': 'first/g/z',
  }
  assert find_both([asked, told]) == {}


def test_copies_with_a_tenth_rewritten_are_found_and_strangers_are_not():
  originals = [text(seed) for seed in range(60)]
  prints = [a_print(f'o{i}', t) for i, t in enumerate(originals)]
  prints += [
    a_print(f'e{i}', edited(t, 0.08, 1000 + i), source='second')
    for i, t in enumerate(originals)
  ]
  found = near(prints)
  right = {frozenset((f'first/g/o{i}', f'second/g/e{i}')) for i in range(60)}
  # Their Jaccard similarity is 0.83 on average.
  assert {frozenset(pair) for pair in found.items()} == right


def test_copies_with_a_third_rewritten_stay():
  prints = [a_print('o', text(1)), a_print('e', edited(text(1), 0.33, 2))]
  assert not near(prints)


def test_the_longest_stays_then_the_smallest_id():
  longer = text(1) + ' with three words'
  prints = [a_print('c', text(1)), a_print('b', longer), a_print('a', text(1))]
  assert near(prints) == {
    'first/g/a': 'first/g/b',
    'first/g/c': 'first/g/b',
  }


def test_a_preferred_licence_stays_before_an_earlier_source_or_a_longer_text():
  free = a_print('z', text(1), source='second', licence='MIT')
  mixed = a_print('y', text(1), licence='MIT AND GPL-3.0-only')
  unknown = a_print('x', text(1), licence='NOASSERTION')
  for order, winner in (
    ((), 'first/g/x'),
    (('MIT',), 'second/g/z'),
    (('NOASSERTION', 'MIT'), 'first/g/x'),
    # An expression is as good as its last part.
    (('MIT', 'NOASSERTION', 'GPL-3.0-only'), 'second/g/z'),
  ):
    found = exact([free, mixed, unknown], order)
    assert set(found.values()) == {winner}
    assert len(found) == 2
  longer = a_print('a', text(1) + ' and one more', licence='NOASSERTION')
  assert near([longer, free]) == {'second/g/z': 'first/g/a'}
  assert near([longer, free], ('MIT',)) == {'first/g/a': 'second/g/z'}
  held = a_print('h', text(1), 'heldout', licence='NOASSERTION')
  assert near([held, free], ('MIT',)) == {'second/g/z': 'first/g/h'}


def test_a_document_goes_only_if_its_duplicate_stays():
  # A chain: each is like its neighbours, the first unlike the last.
  chain = [text(1, 400)]
  for i in range(8):
    words = chain[-1].split()
    words[i * 45 : i * 45 + 16] = text(50 + i, 16).split()
    chain.append(' '.join(words))
  prints = [a_print(f'{i}', t) for i, t in enumerate(chain)]
  found = near(prints)
  gone = set(found)
  assert 0 < len(gone) < len(chain) - 1
  assert not gone & set(found.values())


def test_a_document_that_is_like_two_others_goes_once():
  words = text(1, 400).split()
  start, end = words.copy(), words.copy()
  start[50:86] = text(2, 37).split()
  end[300:336] = text(3, 37).split()
  prints = [
    a_print('a', ' '.join(start)),
    a_print('b', ' '.join(end)),
    a_print('c', ' '.join(words)),
  ]
  for other in prints[:2]:
    assert near([other, prints[2]])
  assert not near(prints[:2])
  found = near(prints)
  assert list(found) == ['first/g/c']


def test_twice_is_once():
  prints = [
    a_print(f'{i}.{share}', edited(text(i), share, 500 + i))
    for i in range(40)
    for share in (0, 0.02, 0.05, 0.1, 0.2)
  ]
  gone = set(near(prints))
  kept = [p for p in prints if p['id'] not in gone]
  assert gone
  assert not near(kept)
  assert not exact(kept)


def test_planted_duplicates_are_found_and_strangers_kept():
  texts, kinds = planted_duplicates.plant(6_000, 300, seed=1)
  known, _ = planted_duplicates.facts_of(texts, kinds, NEAR)
  merged = planted_duplicates.merges(known, NEAR)
  recalls, false = planted_duplicates.judge(texts, kinds, merged)
  recall = {group['pairs']: group['recall'] for group in recalls}
  assert recall['exact copy'] == 1
  assert recall['Jaccard 0.8 and more'] >= 0.99
  assert recall['Jaccard 0.8 to 0.85'] >= 0.95
  assert recall['Jaccard 0 to 0.5'] == 0
  assert false['false_merges'] < 0.001


def test_the_order_of_the_documents_makes_no_difference():
  prints = [
    a_print(f'{i}.{share}', edited(text(i), share, 500 + i))
    for i in range(20)
    for share in (0, 0.05, 0.1)
  ]
  first = near(prints)
  random.Random(0).shuffle(prints)
  assert near(prints) == first


def test_the_estimate_is_near_the_true_similarity():
  for overlap in (0.5, 0.8, 0.95):
    estimates = []
    for seed in range(30):
      words = text(seed, 400).split()
      kept = int(len(words) * overlap)
      other = [*words[:kept], *text(seed + 999, 400 - kept).split()]
      shingles_of = [
        {tuple(w[i : i + 5]) for i in range(len(w) - 4)} for w in (words, other)
      ]
      true = len(shingles_of[0] & shingles_of[1]) / len(
        shingles_of[0] | shingles_of[1]
      )
      one, two = (
        np.frombuffer(deduplicate.sketch(' '.join(w), NEAR), np.uint8)
        for w in (words, other)
      )
      estimates.append(deduplicate.similarity(one, two[None])[0] - true)
    assert abs(np.mean(estimates)) < 0.02


def test_a_sketch_never_changes():
  # It decides what is in the corpus: the same on every machine and version.
  sketch = deduplicate.sketch(text(1), NEAR)
  assert len(sketch) == 140
  assert sketch[:8].hex() == '8e7c13e1b2b6a73b'
  of_the_demo = deduplicate.NearDuplicates(bands=16, rows=8)
  sketch = deduplicate.sketch(text(1), of_the_demo)
  assert len(sketch) == 128
  assert sketch[:8].hex() == '8e7cd2e1b6a73b92'


def test_system_segments_are_not_compared():
  tools = text(7, 500)
  one = a_document('a', text(1, 40), 'first', tools)
  two = a_document('b', text(2, 40), 'first', tools)
  prints = [deduplicate.fact(d, 'train', NEAR) for d in (one, two)]
  assert not near(prints)
  assert prints[0]['digest'] == a_print('c', text(1, 40))['digest']
  assert prints[0]['characters'] == len(one.text)


def test_texts_of_few_words_or_none_are_no_trouble():
  prints = [a_print('a', 'Hi there'), a_print('b', '+++'), a_print('c', '---')]
  assert not near(prints)
  assert not near([])
