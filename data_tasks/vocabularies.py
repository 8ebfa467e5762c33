"""The vocabulary of every Task here: a tokenizer that the cache puts in.

SeqIO registers Tasks at import time, before anyone has said which tokenizer a
run uses; `hephaestus_jax.cache` calls `use` before it reads a Task.
"""

from collections.abc import Sequence

import seqio
import tensorflow as tf

from hephaestus_jax import errors, tokenizer


class TokenizerVocabulary(seqio.Vocabulary):
  """A `tokenizer.Tokenizer` as SeqIO knows vocabularies.

  Id 0 is an ordinary token unless the tokenizer says that it is padding;
  nothing here or in the cache tells padding from the id.
  """

  def __init__(self) -> None:
    super().__init__(extra_ids=0)
    self._tokenizer: tokenizer.Tokenizer | None = None
    self.chat_format = 'chatml'

  def use(
    self, tokens: tokenizer.Tokenizer, chat_format: str = 'chatml'
  ) -> None:
    """Chooses for all Tasks that share this vocabulary.

    Args:
      tokens: the tokenizer.
      chat_format: how conversations are written; one of chat.FORMATS.
    """
    self._tokenizer, self.chat_format = tokens, chat_format

  @property
  def tokenizer(self) -> tokenizer.Tokenizer:
    """The tokenizer in use.

    Raises:
      errors.UserError: nobody has chosen one.
    """
    if self._tokenizer is None:
      raise errors.UserError(
        'The Tasks of data_tasks have no tokenizer yet. `hephaestus cache` '
        'chooses it; in a notebook call '
        'data_tasks.vocabularies.CORPUS.use(tokenizer.load(PATH)).'
      )
    return self._tokenizer

  @property
  def bos_id(self) -> int | None:
    """What opens a document, None where there is no such token."""
    return self.tokenizer.bos_id

  @property
  def eos_id(self) -> int:
    """What closes a document."""
    return self.tokenizer.eos_id

  @property
  def unk_id(self) -> int | None:
    """None: every byte can be encoded."""
    return None

  @property
  def pad_id(self) -> int:
    """What fills a row."""
    return self.tokenizer.pad_id

  @property
  def _base_vocab_size(self) -> int:
    return self.tokenizer.vocab_size

  def _encode(self, s: str) -> Sequence[int]:
    return self.tokenizer.encode(s)

  def _decode(self, ids: Sequence[int]) -> str:
    # What closes a document is no text of it; SeqIO reads to it, and with it.
    closed = list(ids[-1:]) == [self.eos_id]
    return self.tokenizer.decode(ids[:-1] if closed else ids)

  def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
    ids = tf.py_function(
      lambda text: tf.constant(self._encode(text.numpy().decode()), tf.int32),
      [s],
      tf.int32,
    )
    return tf.ensure_shape(ids, [None])

  def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
    text = tf.py_function(
      lambda numbers: self._decode(numbers.numpy().tolist()), [ids], tf.string
    )
    return tf.ensure_shape(text, [])


CORPUS = TokenizerVocabulary()

# Every Task's output features. Roles, characters and kind travel beside the
# targets, so a Task of your own that has only targets mixes with these.
OUTPUT_FEATURES = {
  'targets': seqio.Feature(
    vocabulary=CORPUS, add_eos=False, dtype=tf.int32, rank=1
  )
}
