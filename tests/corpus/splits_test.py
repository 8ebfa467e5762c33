import pytest

from hephaestus_jax.corpus import splits


def rule(**changes):
  return splits.Splits(
    **{
      'heldout_share': 0.1,
      'heldout_groups': ('s3',),
      'validation_share': 0.05,
      'grouped': ('docs', 'code'),
      **changes,
    }
  )


def test_a_named_group_is_held_out_of_every_grouped_source():
  assert rule().of('docs/s3/List') == 'heldout'
  assert rule().of('code/s3/client.py') == 'heldout'
  assert rule().of('books/s3/one') != 'heldout'


def test_the_docstrings_example():
  rule = splits.Splits(0.0, ['s3'], 0.0, ['docs'])
  assert rule.of('docs/s3/ListBuckets') == 'heldout'
  assert rule.of('docs/s4/ListBuckets') == 'train'
  assert rule.of('toolbench/heldout/G1-0') == 'heldout'


def test_what_a_publisher_held_out_stays_held_out_in_every_source():
  for source in ('docs', 'books', 'toolbench'):
    none = rule(heldout_share=0, heldout_groups=(), validation_share=1)
    assert none.of(f'{source}/heldout/one-1') == 'heldout'
    assert none.of(f'{source}/train/one-1') == 'validation'


def test_all_documents_of_a_group_share_its_fate():
  for group in range(200):
    found = {rule().of(f'docs/g{group}/{i}') == 'heldout' for i in range(20)}
    found |= {rule().of(f'code/g{group}/{i}') == 'heldout' for i in range(20)}
    assert len(found) == 1


def test_shares_are_kept_about():
  found = [rule().of(f'docs/g{i}/n') for i in range(5000)]
  assert found.count('heldout') / 5000 == pytest.approx(0.1, abs=0.02)
  assert found.count('validation') / 4500 == pytest.approx(0.05, abs=0.02)


def test_a_larger_share_only_adds_groups():
  ids = [f'docs/g{i}/n' for i in range(500)]
  small = {i for i in ids if rule(heldout_share=0.05).of(i) == 'heldout'}
  large = {i for i in ids if rule(heldout_share=0.2).of(i) == 'heldout'}
  assert small < large
