"""Records become tokens with the role and the length of what they encode."""

import numpy as np
import pytest
import seqio
import tensorflow as tf

from data_tasks import preprocessors, vocabularies
from hephaestus_jax import chat, tokenizer
from hephaestus_jax.corpus import document


class Bytes(tokenizer.Tokenizer):
  """A token per byte; 2 opens a document, 3 closes it; markers from 256 on."""

  vocab_size, bos_id, eos_id, pad_id = 300, 2, 3, 0
  special_tokens, fingerprint = chat.SPECIAL_TOKENS, 'bytes'

  def token_id(self, token):
    if token in chat.SPECIAL_TOKENS:
      return 256 + chat.SPECIAL_TOKENS.index(token)
    return None

  def decode(self, ids):
    return ''.join(
      chat.SPECIAL_TOKENS[i - 256] if i >= 256 else chr(i) for i in ids
    )

  def _encode_batch(self, texts):
    found = []
    for text in texts:
      for token in chat.SPECIAL_TOKENS:
        text = text.replace(token, chr(self.token_id(token)))
      found.append([ord(character) for character in text])
    return found


@pytest.fixture
def features():
  vocabulary = vocabularies.TokenizerVocabulary()
  vocabulary.use(Bytes())
  return {'targets': seqio.Feature(vocabulary, add_eos=False)}


def records(*documents):
  return tf.data.Dataset.from_generator(
    lambda: iter(
      {'id': 's/g/n', 'kind': kind, 'roles': roles, 'texts': texts}
      for kind, roles, texts in documents
    ),
    output_signature={
      'id': tf.TensorSpec([], tf.string),
      'kind': tf.TensorSpec([], tf.string),
      'roles': tf.TensorSpec([None], tf.string),
      'texts': tf.TensorSpec([None], tf.string),
    },
  )


def test_a_record_becomes_what_the_docstring_shows(features):
  dataset = preprocessors.tokenize_documents(
    records(('text', ['text'], ['Hi.'])), features
  )
  seqio.test_utils.assert_dataset(
    dataset,
    [
      {
        'targets': [2, 72, 105, 46, 3],
        'roles': [0, 9, 9, 9, 9],
        'characters': [0, 1, 1, 1, 0],
        'kind': 'text',
        'refused': '',
      }
    ],
  )


def test_encode_documents_shows_what_its_docstring_shows():
  [found] = preprocessors.encode_documents(
    Bytes(), [[document.Segment('text', 'Hi.')]]
  )
  assert [part.tolist() for part in found[:3]] == [
    [2, 72, 105, 46, 3],
    [0, 9, 9, 9, 9],
    [0, 1, 1, 1, 0],
  ]


def test_characters_spread_as_the_docstring_shows():
  found = preprocessors._spread(np.array([7, 1]), np.array([3, 2]))
  assert found.tolist() == [2, 2, 3, 0, 1]


def test_the_stop_token_after_a_call_belongs_to_the_call():
  segments = [document.Segment('user', 'u'), document.Segment('action', '{}')]
  [(targets, roles, characters, _)] = preprocessors.encode_documents(
    Bytes(), [segments]
  )
  action = document.role_id('action')
  learned = Bytes().decode(targets[roles == action])
  assert learned == '<tool_call>\n{}\n</tool_call><|im_end|>'
  assert characters[roles == action].sum() == len(learned)
  assert targets[-1] == 3
  assert roles[-1] == 0  # what EOS ends is the newline after the turn


def test_a_conversation_is_the_template_alone_where_bos_and_eos_are_of_turns():
  tokens = Bytes()
  tokens.bos_id, tokens.eos_id = None, tokens.token_id('<|im_end|>')
  segments = [document.Segment('user', 'u'), document.Segment('answer', 'a')]
  [found] = preprocessors.encode_documents(tokens, [segments])
  assert tokens.decode(found.targets) == (
    '<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n'
  )
  plain = [document.Segment('text', 'Hi.')]
  [found] = preprocessors.encode_documents(tokens, [plain])
  assert tokens.decode(found.targets) == 'Hi.<|im_end|>'


def test_batches_do_not_mix_documents(features, monkeypatch):
  monkeypatch.setattr(preprocessors, 'DOCUMENTS_PER_CALL', 2)
  dataset = preprocessors.tokenize_documents(
    records(
      ('text', ['text'], ['a']),
      ('code', ['code', 'code'], ['b', 'c']),
      ('text', ['text'], ['d']),
    ),
    features,
  )
  found = list(dataset.as_numpy_iterator())
  assert [item['targets'].tolist() for item in found] == [
    [2, 97, 3],
    [2, 98, 10, 10, 99, 3],
    [2, 100, 3],
  ]
  assert [item['kind'] for item in found] == [b'text', b'code', b'text']


def test_an_unknown_role_stops_the_program(features):
  dataset = preprocessors.tokenize_documents(
    records(('text', ['poem'], ['a'])), features
  )
  with pytest.raises(tf.errors.InvalidArgumentError, match="role 'poem'"):
    list(dataset)


def test_what_a_format_has_no_words_for_is_refused_and_the_rest_stays(features):
  features['targets'].vocabulary.use(Bytes(), 'hermes')
  dataset = preprocessors.tokenize_documents(
    records(
      ('trajectory', ['user', 'action'], ['u', 'search[tea]']),
      ('text', ['text'], ['Hi.']),
    ),
    features,
  )
  refused, kept = dataset.as_numpy_iterator()
  assert refused['refused'] == b'call_not_json'
  assert len(refused['targets']) == len(refused['roles']) == 0
  assert kept['refused'] == b''
  assert kept['targets'].tolist() == [2, 72, 105, 46, 3]


def test_a_format_that_writes_eos_itself_gets_no_second_one():
  vocabulary = tokenizer.load('mistral-common:v3')
  segments = [document.Segment('user', 'u'), document.Segment('answer', 'a')]
  [found] = preprocessors.encode_documents(vocabulary, [segments], 'mistral')
  assert found.targets[-1] == vocabulary.eos_id != found.targets[-2]
  assert found.roles[-1] == document.role_id('answer')
  [found] = preprocessors.encode_documents(vocabulary, [segments], 'react')
  assert found.targets[-1] == vocabulary.eos_id
  assert found.roles[-1] == document.role_id('answer')
