"""Records of the corpus -> tokens, each with its role: what a Task maps.

How segments become text is `chat`'s matter; here text becomes ids.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import seqio
import tensorflow as tf

from hephaestus_jax import chat, tokenizer
from hephaestus_jax.corpus import document

# Documents that are encoded in one call: enough to keep all cores busy.
DOCUMENTS_PER_CALL = 64


class Encoded(NamedTuple):
  """A document as int32 arrays of one length, a value per token.

  Attributes:
    targets: token ids.
    roles: `document.role_id` of each.
    characters: how long the text is that each stands for.
    refused: why there are none: the chat format's reason; '' where there are.
  """

  targets: np.ndarray
  roles: np.ndarray
  characters: np.ndarray
  refused: str = ''


def encode_documents(
  tokens: tokenizer.Tokenizer,
  documents: Sequence[Sequence[document.Segment]],
  chat_format: str = 'chatml',
) -> list[Encoded]:
  """Token ids of documents, with the role and the length of what they encode.

  A document opens with BOS, which is structure, if the vocabulary has one; EOS
  closes it, with the role of what it ends, if the chat format hasn't written it
  there. `characters` spreads the characters of a span evenly over its tokens,
  so that any cut keeps their sum.

  With 'Hi.' encoded as [72, 105, 46], BOS 2, EOS 3, [[Segment('text', 'Hi.')]]
  becomes, with 'text' the role 9:
    [Encoded([2, 72, 105, 46, 3], [0, 9, 9, 9, 9], [0, 1, 1, 1, 0])]

  Args:
    tokens: the vocabulary.
    documents: segments of each.
    chat_format: how conversations are written; one of chat.FORMATS.
  """
  rendered: list[Sequence[chat.Span]] = []
  reasons: list[str] = []
  for segments in documents:
    try:
      rendered.append(chat.render(segments, chat_format))
      reasons.append('')
    except chat.UnfitError as error:
      rendered.append(())
      reasons.append(error.reason)
  nothing = np.zeros(0, np.int32)
  opening = [] if tokens.bos_id is None else [tokens.bos_id]
  found = []
  for spans, ids, reason in zip(
    rendered, tokens.encode_spans(rendered), reasons, strict=True
  ):
    if reason:
      found.append(Encoded(nothing, nothing, nothing, reason))
      continue
    last_role = document.role_id(spans[-1].role) if spans else 0
    # A line break may follow what ends the last turn.
    closed = any(tokens.eos_id in part for part in ids[-2:])
    closing = [] if closed else [tokens.eos_id]
    counts = [len(opening), *map(len, ids), len(closing)]
    roles = [0, *(document.role_id(span.role) for span in spans), last_role]
    targets = [*opening, *(i for part in ids for i in part), *closing]
    characters = [0, *(len(span.text) for span in spans), 0]
    found.append(
      Encoded(
        np.array(targets, np.int32),
        np.repeat(np.array(roles, np.int32), counts),
        _spread(np.array(characters), np.array(counts)),
      )
    )
  return found


def _spread(totals: np.ndarray, counts: np.ndarray) -> np.ndarray:
  """Each total as `count` integers that sum to it.

  >>> _spread(np.array([7, 1]), np.array([3, 2]))
  array([2, 2, 3, 0, 1])
  """
  total = np.repeat(totals, counts)
  count = np.repeat(counts, counts)
  place = np.arange(len(total)) - np.repeat(np.cumsum(counts) - counts, counts)
  spread = (place + 1) * total // count - place * total // count
  return spread.astype(np.int32)


def tokenize_documents(
  dataset: tf.data.Dataset, output_features: Mapping[str, seqio.Feature]
) -> tf.data.Dataset:
  """Maps the corpus' records to targets, roles, characters, kind, refused.

  With the vocabulary of `encode_documents`' example
    {'kind': 'text', 'roles': ['text'], 'texts': ['Hi.'], 'id': ..., ...}
  becomes
    {'targets': [2, 72, 105, 46, 3], 'roles': [0, 9, 9, 9, 9],
     'characters': [0, 1, 1, 1, 0], 'kind': 'text', 'refused': ''}
  """
  vocabulary = output_features['targets'].vocabulary

  def encode(
    roles: np.ndarray, texts: np.ndarray, lengths: np.ndarray
  ) -> tuple[np.ndarray, ...]:
    segments = [
      document.Segment(role.decode(), text.decode())
      for role, text in zip(roles, texts, strict=True)
    ]
    ends = np.cumsum(lengths)
    encoded = encode_documents(
      vocabulary.tokenizer,
      [
        segments[end - length : end]
        for end, length in zip(ends, lengths, strict=True)
      ],
      vocabulary.chat_format,
    )
    *columns, refused = zip(*encoded, strict=True)
    return (
      *map(np.concatenate, columns),
      np.array([len(one.targets) for one in encoded], np.int64),
      np.array([reason.encode() for reason in refused], object),
    )

  # Plain TensorFlow calls: there is nothing for AutoGraph to convert.
  @tf.autograph.experimental.do_not_convert
  def encode_batch(batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    texts = batch['texts']
    *columns, lengths, refused = tf.numpy_function(
      encode,
      [batch['roles'].flat_values, texts.flat_values, texts.row_lengths()],
      [tf.int32, tf.int32, tf.int32, tf.int64, tf.string],
      stateful=False,
    )
    encoded = {
      name: tf.RaggedTensor.from_row_lengths(
        tf.ensure_shape(column, [None]),
        tf.ensure_shape(lengths, [None]),
        validate=False,
      )
      for name, column in zip(
        ('targets', 'roles', 'characters'), columns, strict=True
      )
    }
    refused = tf.ensure_shape(refused, [None])
    return {'kind': batch['kind'], 'refused': refused, **encoded}

  return (
    dataset.ragged_batch(DOCUMENTS_PER_CALL)
    .map(encode_batch)
    .unbatch()
    .prefetch(DOCUMENTS_PER_CALL)
  )
