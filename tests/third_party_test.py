"""SeqIO as its users know it: somebody else's module works as it is.

Nothing in THEIRS knows of this project. Its Tasks read TFDS and a function,
have preprocessors of their own, and two levels of mixtures whose rates are
numbers and functions; one brings its metrics along.
"""

import json
import pathlib
import sys

import jax
import numpy as np
import pytest
import seqio
import tensorflow as tf
import tensorflow_datasets as tfds

from hephaestus_jax import (
  artefacts,
  cache,
  checkpoints,
  data,
  errors,
  model,
  tokenizer,
)
from hephaestus_jax.corpus import document
from hephaestus_jax.decode import generate
from hephaestus_jax.evaluation import evaluate, task_metrics

sys.path.append(str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402

THEIRS = """
import functools
import os

import seqio
import tensorflow as tf

VOCABULARY = seqio.SentencePieceVocabulary(os.environ['THEIR_MODEL'])
TARGETS = {'targets': seqio.Feature(VOCABULARY, add_eos=True)}
BOTH = {'inputs': seqio.Feature(VOCABULARY, add_eos=True), **TARGETS}


def shout(dataset, mark):
  return dataset.map(
    lambda x: {'targets': tf.strings.join([tf.strings.upper(x['note']), mark])}
  )


@seqio.map_over_dataset
def repeat(x):
  return {'targets': tf.strings.join([x['text'], x['text']], ' ')}


seqio.TaskRegistry.add(
  'their_notes',
  source=seqio.TfdsDataSource(
    'their_notes:1.0.0', os.environ['THEIR_DATA'], splits=['train']
  ),
  preprocessors=[
    functools.partial(shout, mark='!'),
    seqio.preprocessors.tokenize,
    seqio.CacheDatasetPlaceholder(),
    seqio.preprocessors.append_eos,
  ],
  output_features=TARGETS,
)


def lines(split, shuffle_files, seed=None):
  texts = ['one two', 'three', 'four five six'] * 5
  return tf.data.Dataset.from_tensor_slices({'text': texts})


for name in ('their_lines', 'their_other_lines'):
  seqio.TaskRegistry.add(
    name,
    source=seqio.FunctionDataSource(
      lines, splits=['train'], num_input_examples={'train': 15}
    ),
    preprocessors=[
      repeat, seqio.preprocessors.tokenize, seqio.preprocessors.append_eos
    ],
    output_features=TARGETS,
  )

seqio.MixtureRegistry.add(
  'their_inner',
  ['their_lines', ('their_other_lines', lambda task: 2.0)],
  default_rate=functools.partial(seqio.mixing_rate_num_examples, maximum=4),
)
seqio.MixtureRegistry.add(
  'their_mixture', [('their_inner', 3), ('their_notes', 1)]
)


def questions(split, shuffle_files, seed=None):
  return tf.data.Dataset.from_tensor_slices(
    {'inputs': ['one', 'four five'], 'targets': ['TWO', 'SIX']}
  )


def lower(text, example, is_target):
  return (text.lower(), is_target)


def heard(targets, predictions):
  return {
    'pairs': seqio.metrics.Text(repr([*zip(targets, predictions)])),
    'exact': sum(t[0] == p[0] for t, p in zip(targets, predictions)) / 2,
  }


def likelihood(targets, scores):
  return {'first': scores[0], 'second': scores[1], 'asked': len(targets)}


seqio.TaskRegistry.add(
  'their_questions',
  source=seqio.FunctionDataSource(questions, splits=['validation']),
  preprocessors=[
    seqio.preprocessors.tokenize, seqio.preprocessors.append_eos
  ],
  output_features=BOTH,
  postprocess_fn=lower,
  metric_fns=[heard, likelihood],
)
"""

# An SFT Task that does know of roles, and the format's refusals.
TALKS = """
import seqio
import tensorflow as tf
from data_tasks import preprocessors, vocabularies

TALKS = [
  (['user', 'answer'], ['Hi.', 'Hello.']),
  (['system', 'user'], ['Be brief.', 'Hi.']),
  (['user', 'action'], ['Tea?', 'search[tea]']),
]


def talks(split, shuffle_files, seed=None):
  return tf.data.Dataset.from_generator(
    lambda: (
      {'kind': 'instruction', 'roles': roles, 'texts': texts}
      for roles, texts in TALKS
    ),
    output_signature={
      'kind': tf.TensorSpec([], tf.string),
      'roles': tf.TensorSpec([None], tf.string),
      'texts': tf.TensorSpec([None], tf.string),
    },
  )


seqio.TaskRegistry.add(
  'their_talks_v1',
  source=seqio.FunctionDataSource(
    talks, splits=['train'], num_input_examples={'train': 3}
  ),
  preprocessors=[preprocessors.tokenize_documents],
  output_features=vocabularies.OUTPUT_FEATURES,
)
"""

LENGTH = 32


class TheirNotes(tfds.core.GeneratorBasedBuilder):
  """Three notes."""

  name = 'their_notes'
  VERSION = tfds.core.Version('1.0.0')

  def _info(self):
    return tfds.core.DatasetInfo(
      builder=self, features=tfds.features.FeaturesDict({'note': tf.string})
    )

  def _split_generators(self, dl_manager):
    return {'train': self._generate_examples()}

  def _generate_examples(self):
    for i, note in enumerate(['milk', 'tea and honey', 'bread']):
      yield i, {'note': note}


@pytest.fixture(scope='module')
def theirs(tmp_path_factory):
  """A folder with their data, their vocabulary and their two modules."""
  folder = tmp_path_factory.mktemp('theirs')
  words = 'one two three four five six milk tea and honey bread ONE TWO TEA'
  texts = [f'{a} {b}' for a in words.split() for b in words.split()]
  tokenizer.train(texts, folder / 'their.model', 320)
  TheirNotes(data_dir=str(folder / 'data')).download_and_prepare()
  (folder / 'their_module.py').write_text(THEIRS)
  (folder / 'their_talks.py').write_text(TALKS)
  (folder / 'corpus').mkdir()
  artefacts.write_json(folder / 'corpus' / artefacts.INPUTS, {})
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('THEIR_MODEL', str(folder / 'their.model'))
    patch.setenv('THEIR_DATA', str(folder / 'data'))
    patch.setattr(sys, 'path', [str(folder), *sys.path])
    yield folder


def run(folder, **changes):
  settings = {
    'modules': ['their_module'],
    'concat': ['their_mixture'],
    'best_fit': [],
    'corpus_dir': str(folder / 'corpus'),
    'cache_dir': str(folder / 'cache'),
    'tokenizer_path': str(folder / 'their.model'),
    'sequence_length': LENGTH,
  }
  return cache.cache(**(settings | changes))


@pytest.fixture(scope='module')
def cached(theirs):
  run(theirs)
  return str(theirs / 'cache')


def documents_of(folder, task):
  """What the rows of a Task say, a text per document."""
  rows = data.Rows(folder, task, 'train')
  read = rows.read(range(len(rows)))
  tokens = read['tokens'][read['segment_ids'] > 0].tolist()
  vocabulary = seqio.get_mixture_or_task(task).output_features
  end, found = vocabulary['targets'].vocabulary.eos_id, [[]]
  for token in tokens:
    if token == end:
      found.append([])
    else:
      found[-1].append(token)
  decode = vocabulary['targets'].vocabulary.decode
  return [decode(part) for part in found[:-1]]


def test_a_tfds_task_is_cached_with_its_own_preprocessors(cached):
  assert sorted(documents_of(cached, 'their_notes')) == [
    *('BREAD!', 'MILK!', 'TEA AND HONEY!')
  ]


def test_a_task_of_a_function_is_cached_whole(cached):
  assert (
    documents_of(cached, 'their_lines')
    == [*('one two one two', 'three three', 'four five six four five six')] * 5
  )


def test_rates_of_nested_mixtures_are_seqios_own(cached, theirs):
  mixture = seqio.get_mixture_or_task('their_mixture')
  rates = {task.name: mixture.get_rate(task) for task in mixture.tasks}
  # 3 of 4 rows are the inner mixture's: 4 parts of its first Task to 2.
  share = {'their_notes': 1 / 4, 'their_lines': 1 / 2}
  share['their_other_lines'] = 1 / 4
  total = sum(rates.values())
  assert {n: r / total for n, r in rates.items()} == pytest.approx(share)
  written = json.loads(
    (theirs / 'cache' / 'mixtures' / 'their_mixture.json').read_text()
  )
  assert written['rates'] == pytest.approx(share)
  drawn = data.Mixture(cache_dir=cached, mixture='their_mixture', seed=0)
  source_B, _ = drawn.rows_at(np.arange(400))
  assert {
    name: int((source_B == i).sum()) for i, name in enumerate(drawn.sources)
  } == {name: 400 * part for name, part in share.items()}


def test_what_nobody_can_learn_from_is_refused_and_counted(theirs):
  found = run(
    theirs,
    modules=['their_talks'],
    concat=[],
    best_fit=['their_talks_v1'],
    cache_dir=str(theirs / 'talks'),
    chat_format='hermes',
    trained_roles=['thought', 'action', 'answer'],
  )
  info = found['tasks']['their_talks_v1/train']
  assert info['documents'] == 1
  assert info['dropped'] == {'no_trained_token': 1, 'call_not_json': 1}
  row = data.Rows(str(theirs / 'talks'), 'their_talks_v1', 'train').read([0])[0]
  learned = row['tokens'][row['roles'] == document.role_id('answer')]
  vocabulary = tokenizer.load(str(theirs / 'their.model'))
  assert vocabulary.decode(learned) == 'Hello.<|im_end|>'


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'chat_format': 'herms'}, 'mean hermes'),
    ({'trained_roles': ['actor']}, "names 'actor'"),
  ],
)
def test_settings_that_name_nothing_are_refused(theirs, changes, message):
  with pytest.raises(errors.UserError, match=message):
    run(theirs, **changes)


CONFIG = tiny.network(320)


def asked(theirs, **changes):
  settings = {
    'task': 'their_questions',
    'tokenizer': str(theirs / 'their.model'),
    'modules': ['their_module'],
    'max_new_tokens': 4,
    'batch_size': 3,
  }
  return task_metrics.TaskMetrics(**(settings | changes))


@pytest.fixture(scope='module')
def params():
  random = np.random.default_rng(0)
  return jax.tree.map(
    lambda shape: random.normal(0, 0.3, shape.shape).astype(np.float32),
    model.abstract(CONFIG),
  )


def test_a_tasks_metrics_are_computed_by_evaluate(theirs, params, tmp_path):
  tokens = tokenizer.load(str(theirs / 'their.model'))
  stage = tmp_path / 'stage3'
  writer = checkpoints.Writer(
    stage / checkpoints.FOLDER, keep=2, items=[checkpoints.PARAMETERS]
  )
  writer.save(
    1, {checkpoints.PARAMETERS: jax.tree.map(jax.numpy.array, params)}
  )
  writer.wait()
  writer.close()
  artefacts.write_json(
    stage / artefacts.INPUTS, {'data': {'tokenizer': tokens.fingerprint}}
  )
  found = evaluate.evaluate(
    model=CONFIG,
    checkpoint=str(stage),
    benchmarks=[asked(theirs)],
    output_dir=str(tmp_path / 'evaluation'),
  )['results']['their_questions']

  prompts = [[tokens.bos_id, *tokens.encode(t)] for t in ('one', 'four five')]
  said = generate.generate(
    CONFIG,
    params,
    prompts,
    max_new_tokens=4,
    stop_ids=[tokens.eos_id],
    batch_size=2,
    max_prompt_tokens=99,
  )
  texts = [tokens.decode(one.tokens).lower() for one in said]
  # Decoded, postprocessed, and told apart as SeqIO does it.
  wanted = ['two', 'six']
  assert found['pairs'] == repr(
    [
      ((target, True), (text, False))
      for target, text in zip(wanted, texts, strict=True)
    ]
  )
  right = [a == b for a, b in zip(texts, wanted, strict=True)]
  assert found['exact'] == sum(right) / 2
  assert found['examples'] == found['asked'] == 2
  for name, prompt, target in zip(
    ('first', 'second'), prompts, ('TWO', 'SIX'), strict=True
  ):
    whole = [*prompt, *tokens.encode(target), tokens.eos_id]
    row_BL = np.array([whole], np.int32)
    hidden_BLD = model.forward(
      CONFIG,
      params,
      row_BL,
      np.ones_like(row_BL),
      np.arange(len(whole), dtype=np.int32)[None],
    )
    logits_BLV = hidden_BLD @ model.output_matrix(CONFIG, params)
    each_BLV = jax.nn.log_softmax(logits_BLV)
    likelihood = sum(
      float(each_BLV[0, i - 1, whole[i]])
      for i in range(len(prompt), len(whole))
    )
    assert found[name] == pytest.approx(likelihood, rel=1e-4)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'task': 'their_question'}, "No Task 'their_question'"),
    ({'task': 'their_notes'}, "no output feature 'inputs'"),
    ({'split': 'train'}, "no split 'train'"),
  ],
)
def test_a_task_that_measures_nothing_is_refused(theirs, changes, message):
  with pytest.raises(errors.UserError, match=message):
    asked(theirs, **changes).identity()
