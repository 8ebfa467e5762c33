"""Evaluation-only Tasks, made of what the corpus held out."""

import seqio
import tensorflow as tf

from data_tasks import preprocessors, sources, vocabularies
from hephaestus_jax.corpus import catalogue


def with_calls(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """Keeps the conversations in which a function is called.

  {'roles': ['user', 'action'], ...} stays, {'roles': ['user', 'answer'], ...}
  goes.
  """
  return dataset.filter(
    lambda record: tf.reduce_any(record['roles'] == 'action')
  )


# The stand-in for the paper's benchmark loss: requests to services that no
# document of the training splits is about.
seqio.TaskRegistry.add(
  'function_calls_v1',
  source=sources.CorpusSource(
    [
      source.name
      for source in catalogue.SOURCES
      if source.kind == 'instruction' and source.grouped
    ],
    splits=('heldout',),
  ),
  preprocessors=[with_calls, preprocessors.tokenize_documents],
  output_features=vocabularies.OUTPUT_FEATURES,
)
