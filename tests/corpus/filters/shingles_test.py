import numpy as np

from hephaestus_jax.corpus.filters import shingles


def test_words_are_lower_case_and_without_punctuation():
  found = shingles.words('List the `S3` buckets, please!')
  assert found == ['list', 'the', 's3', 'buckets', 'please']


def test_hashes_never_change():
  # Sketches and benchmark look-ups of other machines rely on these numbers.
  hashes = shingles.word_hashes(['list', 'the', 'buckets'])
  assert hashes.tolist() == [1154021400, 1011183078, 610072288]
  assert shingles.ngram_hashes(hashes, 2).tolist() == [
    8187432360135302166,
    14257913080685971424,
  ]


def test_equal_runs_have_equal_hashes_and_others_do_not():
  hashes = shingles.ngram_hashes(
    shingles.word_hashes(['a', 'b', 'c', 'a', 'b', 'd', 'b', 'a']), 2
  )
  assert hashes.dtype == np.uint64
  assert hashes[0] == hashes[3]
  assert len(set(hashes.tolist())) == 6


def test_a_text_that_is_too_short_has_no_ngrams():
  hashes = shingles.word_hashes(['a', 'b'])
  assert shingles.ngram_hashes(hashes, 3).tolist() == []
  assert shingles.ngram_hashes(shingles.word_hashes([]), 1).tolist() == []
