"""Records of the corpus -> tokens, each with its role: what a Task maps.

How segments become text is `chat`'s matter; here text becomes ids.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import seqio
import tensorflow as tf

from hephaestus_jax import chat, tokenizer
from hephaestus_jax.corpus import document

# Documents that are encoded in one call: enough to keep all cores busy.
DOCUMENTS_PER_CALL = 64


def encode_documents(
  tokens: tokenizer.Tokenizer,
  documents: Sequence[Sequence[document.Segment]],
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
  """Token ids of documents, with the role and the length of what they encode.

  A document opens with BOS, which is structure, if the vocabulary has one; EOS
  closes it, with the role of what it ends. `characters` spreads the characters
  of a span evenly over its tokens, so that any cut keeps their sum.

  With 'Hi.' encoded as [72, 105, 46], BOS 2, EOS 3, [[Segment('text', 'Hi.')]]
  becomes, with 'text' the role 9:
    [([2, 72, 105, 46, 3], [0, 9, 9, 9, 9], [0, 1, 1, 1, 0])]

  Args:
    tokens: the vocabulary.
    documents: segments of each.

  Returns:
    (targets, roles, characters) per document, int32 arrays of one length.
  """
  rendered = [chat.render(segments) for segments in documents]
  opening = [] if tokens.bos_id is None else [tokens.bos_id]
  found = []
  for spans, ids in zip(rendered, tokens.encode_spans(rendered), strict=True):
    last_role = document.role_id(spans[-1].role) if spans else 0
    counts = [len(opening), *map(len, ids), 1]
    roles = [0, *(document.role_id(span.role) for span in spans), last_role]
    targets = [*opening, *(i for part in ids for i in part), tokens.eos_id]
    characters = [0, *(len(span.text) for span in spans), 0]
    found.append(
      (
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
  """Maps the corpus' records to targets, roles, characters and kind.

  With the vocabulary of `encode_documents`' example
    {'kind': 'text', 'roles': ['text'], 'texts': ['Hi.'], 'id': ..., ...}
  becomes
    {'targets': [2, 72, 105, 46, 3], 'roles': [0, 9, 9, 9, 9],
     'characters': [0, 1, 1, 1, 0], 'kind': 'text'}
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
    )
    columns = [np.concatenate(column) for column in zip(*encoded, strict=True)]
    return *columns, np.array([len(part[0]) for part in encoded], np.int64)

  # Plain TensorFlow calls: there is nothing for AutoGraph to convert.
  @tf.autograph.experimental.do_not_convert
  def encode_batch(batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    texts = batch['texts']
    *columns, lengths = tf.numpy_function(
      encode,
      [batch['roles'].flat_values, texts.flat_values, texts.row_lengths()],
      [tf.int32, tf.int32, tf.int32, tf.int64],
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
    return {'kind': batch['kind'], **encoded}

  return (
    dataset.ragged_batch(DOCUMENTS_PER_CALL)
    .map(encode_batch)
    .unbatch()
    .prefetch(DOCUMENTS_PER_CALL)
  )
