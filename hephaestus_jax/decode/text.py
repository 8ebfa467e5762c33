"""Tokens as they come -> text as far as it is certain, up to a stop string."""

from collections.abc import Sequence

from hephaestus_jax import tokenizer

UNFINISHED = '\ufffd'  # what bytes decode to until their character is whole
# A character has four bytes at most; what stays unfinished longer is no UTF-8.
LONGEST_CHARACTER = 4


class Until:
  """Passes text on until one of some strings comes.

  Attributes:
    stopped: whether one came. It and what follows are not passed on.
  """

  def __init__(self, stop: Sequence[str]) -> None:
    self.stopped = False
    self._stop = tuple(stop)
    self._held = ''  # may be the beginning of one

  def push(self, text: str, final: bool = False) -> str:
    """What can be no part of a stop string.

    With the stop string 'END', 'a', 'E' and 'x' give 'a', '' and 'Ex'.

    Args:
      final: nothing follows, so that nothing is held back.
    """
    if self.stopped:
      return ''
    text = self._held + text
    found = [(text.find(stop), stop) for stop in self._stop if stop in text]
    if found:
      self.stopped, self._held = True, ''
      return text[: min(found)[0]]
    held = 0 if final else self._beginning(text)
    self._held = text[len(text) - held :]
    return text[: len(text) - held]

  def _beginning(self, text: str) -> int:
    """How long the longest end of `text` is that a stop string begins with."""
    longest = max((len(stop) - 1 for stop in self._stop), default=0)
    for size in range(min(longest, len(text)), 0, -1):
      if any(stop.startswith(text[-size:]) for stop in self._stop):
        return size
    return 0


class Reader:
  """Puts one completion's text together."""

  def __init__(
    self, vocabulary: tokenizer.Tokenizer, stop: Sequence[str] = ()
  ) -> None:
    self._vocabulary = vocabulary
    self._until = Until(stop)
    self._tokens: list[int] = []
    # Tokens [_start:_read] are decoded again with those that follow: how a
    # token reads may depend on the one before it.
    self._start = self._read = 0

  @property
  def stopped(self) -> bool:
    """Whether a stop string came."""
    return self._until.stopped

  def push(self, token: int) -> str:
    """The text that one more token makes certain."""
    self._tokens.append(token)
    return self._until.push(self._decoded(final=False))

  def finish(self) -> str:
    """The text that was held back: no token follows."""
    return self._until.push(self._decoded(final=True), final=True)

  def _decoded(self, final: bool) -> str:
    """Text of the tokens that were not read yet, unless a character is cut."""
    before = self._vocabulary.decode(self._tokens[self._start : self._read])
    whole = self._vocabulary.decode(self._tokens[self._start :])
    waiting = len(self._tokens) - self._read < LONGEST_CHARACTER
    if whole.endswith(UNFINISHED) and waiting and not final:
      return ''
    self._start, self._read = self._read, len(self._tokens)
    return whole[len(before) :]
