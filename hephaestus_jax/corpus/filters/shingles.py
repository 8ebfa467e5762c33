"""Words and hashes of word n-grams: how texts are compared.

Everything runs in numpy on 64-bit hashes, so that a corpus can be compared
with itself and with the benchmarks at tens of megabytes a second. Axes: W
words, N n-grams.
"""

import functools
import re
import zlib
from collections.abc import Sequence

import numpy as np

WORD = re.compile(r'\w+')
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio, odd
_MIXER = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)


def words(text: str) -> list[str]:
  """The words of a text, in lower case and without punctuation.

  >>> words('List the `S3` buckets, please!')
  ['list', 'the', 's3', 'buckets', 'please']
  """
  return list(_words(text))


@functools.lru_cache(maxsize=1)
def _words(text: str) -> tuple[str, ...]:
  """Remembers the last text: one step after another asks for its words."""
  return tuple(WORD.findall(text.lower()))


def word_hashes(text_words: Sequence[str]) -> np.ndarray:
  """A number per word, the same on every machine: uint64 of shape [W]."""
  return np.fromiter(
    map(zlib.crc32, map(str.encode, text_words)), np.uint64, len(text_words)
  )


def ngram_hashes(hashes_W: np.ndarray, n: int) -> np.ndarray:
  """A number per run of `n` words: uint64 of shape [max(W - n + 1, 0)].

  Args:
    hashes_W: from `word_hashes`.
    n: how many words an n-gram has.
  """
  count = len(hashes_W) - n + 1
  if count <= 0:
    return np.zeros(0, np.uint64)
  hashes_N = hashes_W[:count].copy()
  for i in range(1, n):
    hashes_N *= _MULTIPLIER
    hashes_N += hashes_W[i : i + count]
  # The low bits of a sum of products know only low bits: mix the high ones in.
  hashes_N ^= hashes_N >> _HALF
  hashes_N *= _MIXER
  hashes_N ^= hashes_N >> _HALF
  return hashes_N
