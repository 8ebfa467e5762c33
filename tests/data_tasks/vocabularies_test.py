"""Our tokenizers as SeqIO knows vocabularies."""

import pytest
import seqio
import tensorflow as tf

from data_tasks import vocabularies
from hephaestus_jax import errors, tokenizer


@pytest.fixture(scope='module')
def vocabulary():
  found = vocabularies.TokenizerVocabulary()
  found.use(tokenizer.load('mistral-common:v3'))
  return found


def test_seqio_encodes_and_decodes_with_our_tokenizer(vocabulary):
  ids = vocabulary.tokenizer.encode('list_buckets()')
  assert vocabulary.encode('list_buckets()') == ids
  assert vocabulary.encode_tf(
    tf.constant('list_buckets()')
  ).numpy().tolist() == (ids)
  assert vocabulary.decode(ids) == 'list_buckets()'
  assert vocabulary.decode_tf(tf.constant(ids)).numpy() == b'list_buckets()'


def test_the_vocabulary_says_what_the_tokenizer_says(vocabulary):
  assert vocabulary.vocab_size == 32768
  assert (vocabulary.bos_id, vocabulary.eos_id) == (1, 2)
  assert vocabulary.unk_id is None


def test_seqios_own_preprocessors_work_with_it(vocabulary):
  features = {'targets': seqio.Feature(vocabulary, add_eos=True)}
  dataset = tf.data.Dataset.from_tensors({'targets': 'a b'})
  dataset = seqio.preprocessors.tokenize(dataset, features, False)
  dataset = seqio.preprocessors.append_eos(dataset, features)
  ids = [*vocabulary.tokenizer.encode('a b'), 2]
  seqio.test_utils.assert_dataset(dataset, [{'targets': ids}])


def test_without_a_tokenizer_the_message_says_what_to_do():
  with pytest.raises(errors.UserError, match='CORPUS.use'):
    vocabularies.TokenizerVocabulary().encode('a')
