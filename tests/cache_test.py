"""Tasks become rows once, whole or not at all, the same bytes every time."""

import functools
import json
import pathlib
import re
import shutil
import sys
import textwrap

import numpy as np
import pytest
import seqio
import tensorflow_datasets as tfds

from hephaestus_jax import (
  artefacts,
  cache,
  cache_shard,
  chat,
  data,
  errors,
  tokenizer,
)
from hephaestus_jax.corpus import catalogue, document, forge
from hephaestus_jax.corpus.catalogue import packages

MODULES = ('data_tasks.mixtures', 'data_tasks.instruction')
WORDS = 'list create delete describe bucket instance queue größe <|im_end|>'
LENGTH = 64

ACTION = document.role_id('action')

# Five lines, as a user would write them, and a Task without our roles.
THEIRS = """
import seqio
import tensorflow as tf
from data_tasks import preprocessors, sources, vocabularies

seqio.TaskRegistry.add(
  'their_news_v1',
  source=sources.CorpusSource(['news'], ['train']),
  preprocessors=[preprocessors.tokenize_documents],
  output_features=vocabularies.OUTPUT_FEATURES,
)
seqio.MixtureRegistry.add(
  'their_mixture_v1', [('their_news_v1', 3.0), ('wikipedia_v1', 1.0)]
)
seqio.MixtureRegistry.add(
  'their_nested_v1', [('their_mixture_v1', 1.0), ('wikipedia_v1', 1.0)]
)

TEXTS = ['abc', 'de', 'f' * 200]
seqio.TaskRegistry.add(
  'their_bytes_v1',
  source=seqio.FunctionDataSource(
    lambda split, shuffle_files, seed=None: tf.data.Dataset.from_tensor_slices(
      {'targets': TEXTS}
    ),
    splits=['train'],
  ),
  preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
  output_features={'targets': seqio.Feature(seqio.ByteVocabulary())},
)
seqio.TaskRegistry.add(
  'their_wrong_roles_v1',
  source=seqio.FunctionDataSource(
    lambda split, shuffle_files, seed=None: tf.data.Dataset.from_tensors(
      {'targets': [5, 6, 7], 'roles': [9, 9]}
    ),
    splits=['train'],
  ),
  output_features={'targets': seqio.Feature(seqio.PassThroughVocabulary(10))},
)
seqio.TaskRegistry.add(
  'their_wild_targets_v1',
  source=seqio.FunctionDataSource(
    lambda split, shuffle_files, seed=None: tf.data.Dataset.from_tensors(
      {'targets': [5, 60, 7]}
    ),
    splits=['train'],
  ),
  output_features={'targets': seqio.Feature(seqio.PassThroughVocabulary(10))},
)
"""


def documents(source, split, count):
  """Documents of a source; number 3 of each split is long."""
  words = WORDS.split()
  for i in range(count):
    said = [words[(i * j) % len(words)] for j in range(5, 25 if i == 3 else 12)]
    text = f'{" ".join(said)}.\n' * (8 if i == 3 else 1)
    if source.kind in ('instruction', 'trajectory'):
      segments = [
        document.Segment('user', text),
        document.Segment('action', chat.call_text('call', {'number': i}))
        if i % 2
        else document.Segment('answer', f'Number {i}.'),
      ]
    else:
      segments = [document.Segment(source.kind, text)]
    yield document.Document(
      id=f'{source.name}/{split}-service/{i}',
      source=source.name,
      kind=source.kind,
      licence='MIT',
      url='',
      segments=tuple(segments),
    )


def write_corpus(folder, sources, inputs):
  for source in sources:
    splits = {'train': 20, 'validation': 2}
    if source.grouped:
      splits['heldout'] = 6
    if source.name == 'books':  # no book happened to fall into validation
      del splits['validation']
    forge.Forge(
      source=source.name,
      description='Made up.',
      homepage=source.home,
      documents={
        split: functools.partial(documents, source, split, count)
        for split, count in splits.items()
      },
      data_dir=str(folder),
    ).download_and_prepare()
  artefacts.write_json(folder / artefacts.INPUTS, inputs)


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
  folder = tmp_path_factory.mktemp('corpus')
  write_corpus(folder, packages.SOURCES, {'seed': 1})
  return folder


@pytest.fixture(scope='module')
def theirs(tmp_path_factory):
  folder = tmp_path_factory.mktemp('theirs')
  (folder / 'their_tasks.py').write_text(THEIRS)
  sys.path.insert(0, str(folder))
  yield 'their_tasks'
  sys.path.remove(str(folder))


@pytest.fixture(scope='module')
def vocabulary(corpus, tmp_path_factory):
  path = tmp_path_factory.mktemp('vocabulary') / 'tokenizer.model'
  texts = cache.sample_texts(str(corpus), 10**6)
  tokenizer.train(texts, path, 340)
  return str(path)


def run(corpus, vocabulary, folder, **changes):
  return cache.cache(
    **{
      'modules': MODULES,
      'concat': ['wikipedia_v1', 'botocore_docs_v1', 'books_v1'],
      'best_fit': ['chatterbot_v1', 'botocore_requests_v1'],
      'corpus_dir': str(corpus),
      'cache_dir': str(folder),
      'tokenizer_path': vocabulary,
      'sequence_length': LENGTH,
      **changes,
    }
  )


def files_of(folder):
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in sorted(folder.rglob('*'))
    if path.is_file()
  }


def different(one, other):
  """Names of the files that only one folder has, or that differ."""
  a, b = files_of(one), files_of(other)
  return [name for name in sorted({*a, *b}) if a.get(name) != b.get(name)]


@pytest.fixture(scope='module')
def cached(corpus, vocabulary, tmp_path_factory):
  folder = tmp_path_factory.mktemp('cache')
  run(corpus, vocabulary, folder)
  return folder


def stored_documents(task, split):
  """Token ids of a Task's documents, tokenised one by one, in stored order."""
  tokens = cache_vocabulary()
  dataset = seqio.get_mixture_or_task(task).source.get_dataset(split)
  found = []
  for record in dataset.as_numpy_iterator():
    spans = chat.render(document.from_record(record).segments)
    ids = [
      tokens.encode_markers(span.text)
      if span.marker
      else tokens.encode(span.text)
      for span in spans
    ]
    found.append([tokens.bos_id, *sum(ids, []), tokens.eos_id])
  return found


def cache_vocabulary():
  feature = seqio.get_mixture_or_task('wikipedia_v1').output_features['targets']
  return feature.vocabulary.tokenizer


def test_concat_rows_hold_every_token_of_every_document_once(cached):
  rows = data.Rows(str(cached), 'wikipedia_v1', 'train')
  stored = rows.read(range(len(rows)))
  tokens = stored['tokens'][stored['segment_ids'] > 0]
  wanted = stored_documents('wikipedia_v1', 'train')
  assert tokens.tolist() == sum(wanted, [])
  assert rows.info['documents'] == len(wanted) == 20
  assert rows.info['tokens'] == len(tokens)
  assert rows.info['tokens_by_kind'] == {'text': len(tokens)}
  assert rows.info['fill'] == len(tokens) / (len(rows) * LENGTH) > 0.9


def test_best_fit_rows_hold_whole_conversations_and_count_the_others(cached):
  rows = data.Rows(str(cached), 'botocore_requests_v1', 'train')
  stored = rows.read(range(len(rows)))
  found = [
    row['tokens'][row['segment_ids'] == segment].tolist()
    for row in stored
    for segment in range(1, int(row['segment_ids'].max()) + 1)
  ]
  wanted = stored_documents('botocore_requests_v1', 'train')
  fitting = [tokens for tokens in wanted if len(tokens) <= LENGTH]
  assert sorted(found) == sorted(fitting)
  assert 0 < len(fitting) < len(wanted)
  assert rows.info['documents'] == len(fitting)
  assert rows.info['dropped'] == {'longer_than_row': len(wanted) - len(fitting)}


def test_roles_and_characters_are_those_of_the_text(cached):
  rows = data.Rows(str(cached), 'chatterbot_v1', 'train')
  stored = rows.read(range(len(rows)))
  vocabulary = cache_vocabulary()
  for row in stored:
    spoken = vocabulary.decode(row['tokens'][row['roles'] == ACTION])
    assert row['characters'][ACTION] == len(spoken)
    calls = [turn for turn in spoken.split('<|im_end|>') if turn]
    assert all(len(chat.parse(turn).calls) == 1 for turn in calls)
  total = stored['characters'].sum(axis=0)
  assert rows.info['characters_by_role'] == {
    role: int(total[i]) for i, role in enumerate(document.ROLES) if total[i]
  }


def test_a_quoted_special_token_is_no_control_token_in_rows(cached):
  rows = data.Rows(str(cached), 'wikipedia_v1', 'train')
  stored = rows.read(range(len(rows)))
  vocabulary = cache_vocabulary()
  assert '<|im_end|>' in vocabulary.decode(stored['tokens'].reshape(-1))
  assert vocabulary.token_id('<|im_end|>') not in stored['tokens']


def test_a_second_run_reuses_everything(corpus, vocabulary, cached, capsys):
  before = files_of(cached)
  result = run(corpus, vocabulary, cached)
  assert result['reused'] is True
  assert 'reused 10 of 10' in capsys.readouterr().out
  assert files_of(cached) == before


def test_a_cut_off_command_goes_on_and_gives_the_same_bytes(
  corpus, vocabulary, cached, tmp_path
):
  run(corpus, vocabulary, tmp_path, concat=['wikipedia_v1'], best_fit=[])
  folder = tmp_path / 'tasks' / 'wikipedia_v1' / 'train'
  folder.rename(folder.with_name('train.partial-1'))  # as a kill leaves it
  (tmp_path / 'tasks' / 'books_v1' / 'train.partial-1').mkdir(parents=True)
  result = run(corpus, vocabulary, tmp_path)
  assert result['reused'] is False
  assert different(tmp_path, cached) == []


def test_processes_make_the_same_rows(
  corpus, vocabulary, cached, theirs, tmp_path
):
  run(corpus, vocabulary, tmp_path / 'a', workers=2)
  assert different(tmp_path / 'a', cached) == []
  # What a process says of the data reaches the person who asked.
  with pytest.raises(errors.UserError, match='their_wild_targets_v1.* 5 to 60'):
    run(
      *(corpus, vocabulary, tmp_path / 'b'),
      modules=[*MODULES, theirs],
      concat=['their_wild_targets_v1', 'wikipedia_v1'],
      best_fit=[],
      workers=2,
    )


def test_the_counts_of_shards_are_added():
  assert cache_shard.summed(
    [
      {'rows': 2, 'longest_document': 7, 'dropped': {'empty': 1}},
      {'rows': 3, 'longest_document': 9, 'dropped': {}},
    ]
  ) == {'rows': 5, 'longest_document': 9, 'dropped': {'empty': 1}}


@pytest.fixture(scope='module')
def sharded(tmp_path_factory):
  """A corpus of one source in three files."""
  folder = tmp_path_factory.mktemp('sharded')
  (source,) = (one for one in packages.SOURCES if one.name == 'wikipedia')
  forge.Forge(
    source=source.name,
    description='Made up.',
    homepage=source.home,
    documents={
      'train': functools.partial(documents, source, 'train', 20),
      'validation': functools.partial(documents, source, 'validation', 3),
    },
    data_dir=str(folder),
  ).download_and_prepare(
    download_config=tfds.download.DownloadConfig(num_shards=3)
  )
  artefacts.write_json(folder / artefacts.INPUTS, {'seed': 1})
  return folder


@pytest.mark.parametrize('shards', [2, 3])
def test_a_split_in_shards_has_each_document_once(
  sharded, vocabulary, tmp_path, monkeypatch, shards
):
  files = sharded.glob('forge/*/*/*-train.*')
  size = sum(path.stat().st_size for path in files)
  monkeypatch.setattr(cache_shard, 'BYTES_PER_SHARD', size // shards)
  only = {'concat': ['wikipedia_v1'], 'best_fit': []}
  write, made = cache_shard.write, []

  def cut_off_once(shard, task, progress):
    made.append((shard.key['split'], shard.index))
    if len(made) == 2:
      raise KeyboardInterrupt
    write(shard, task, progress)

  monkeypatch.setattr(cache_shard, 'write', cut_off_once)
  with pytest.raises(KeyboardInterrupt):
    run(sharded, vocabulary, tmp_path, **only)
  info = run(sharded, vocabulary, tmp_path, **only)['tasks'][
    'wikipedia_v1/train'
  ]
  # What was under way is made again, and nothing else.
  wanted = [*(('train', shard) for shard in range(shards)), ('validation', 0)]
  assert made == [wanted[0], wanted[1], *wanted[1:]]
  assert len(info['files']) == shards and info['documents'] == 20
  rows = data.Rows(str(tmp_path), 'wikipedia_v1', 'train')
  rows = rows.read(range(len(rows)))
  found = rows['tokens'][rows['segment_ids'] > 0]
  stored = stored_documents('wikipedia_v1', 'train')
  assert sorted(found) == sorted(sum(stored, []))
  assert not list(tmp_path.glob('tasks/*/*.shard-*'))


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'sequence_length': 32}, 'sequence_length was 64, now 32'),
    (
      {
        'concat': ['wikipedia_v1', 'botocore_docs_v1', 'chatterbot_v1'],
        'best_fit': [],
      },
      'packing was "best_fit", now "concat"',
    ),
    ({'tokenizer_path': 'mistral-common:v3'}, 'tokenizer was'),
  ],
)
def test_a_stale_cache_is_refused_with_the_difference(
  corpus, vocabulary, cached, change, message
):
  before = files_of(cached)
  with pytest.raises(errors.UserError, match=message) as found:
    run(corpus, vocabulary, cached, **change)
  assert 'Delete' in str(found.value)
  assert files_of(cached) == before


def test_a_new_source_costs_its_own_rows_and_nobody_elses(
  corpus, vocabulary, cached, tmp_path, capsys
):
  shutil.copytree(cached, tmp_path, dirs_exist_ok=True)
  inputs = corpus / artefacts.INPUTS
  before = inputs.read_text()
  # The corpus was built again, with a source that the cache doesn't have.
  artefacts.write_json(inputs, {'seed': 1, 'sources': 'one more'})
  try:
    concat = ['wikipedia_v1', 'botocore_docs_v1', 'books_v1', 'news_v1']
    run(corpus, vocabulary, tmp_path, concat=concat)
  finally:
    inputs.write_text(before)
  assert 'reused 10 of 12' in capsys.readouterr().out
  assert {name.split('/')[1] for name in different(tmp_path, cached)} == {
    'news_v1',
    'news_v1.json',
  }


def test_other_documents_are_another_cache(
  corpus, vocabulary, cached, tmp_path
):
  shutil.copytree(corpus, tmp_path, dirs_exist_ok=True)
  (path,) = tmp_path.glob('forge/wikipedia/*/*-train.*')
  (other,) = tmp_path.glob('forge/news/*/*-train.*')
  shutil.copy(other, path)
  with pytest.raises(errors.UserError, match='wikipedia.* source.shards was'):
    run(tmp_path, vocabulary, cached)


def test_long_conversations_are_cut_if_asked(
  corpus, vocabulary, cached, tmp_path
):
  task = 'chatterbot_v1'
  run(
    *(corpus, vocabulary, tmp_path),
    concat=[],
    best_fit=[task],
    too_long='split',
    sequence_length=48,
  )
  rows = data.Rows(str(tmp_path), task, 'train')
  whole = stored_documents(task, 'train')
  long = [tokens for tokens in whole if len(tokens) > 48]
  assert rows.info['cut_documents'] == len(long) > 0
  assert rows.info['parts'] == sum(-(-len(tokens) // 48) for tokens in long)
  assert rows.info['tokens'] == sum(map(len, whole))
  assert rows.info['dropped'] == {}
  # What is measured on stays whole.
  held_out = data.Rows(str(tmp_path), task, 'validation').info
  assert held_out['cut_documents'] == 0


def test_parts_that_teach_nothing_are_left_out_and_counted(
  corpus, vocabulary, tmp_path
):
  task = 'botocore_requests_v1'
  run(
    *(corpus, vocabulary, tmp_path),
    concat=[],
    best_fit=[task],
    too_long='split',
    trained_roles=['action'],
    sequence_length=48,
  )
  rows = data.Rows(str(tmp_path), task, 'train')
  stored = rows.read(range(len(rows)))
  taught = [
    (row['roles'][row['segment_ids'] == segment] == ACTION).any()
    for row in stored
    for segment in range(1, int(row['segment_ids'].max()) + 1)
  ]
  assert all(taught)
  call = cache_vocabulary().token_id(chat.CALL_START)
  parts = sum(
    -(-len(tokens) // 48)
    for tokens in stored_documents(task, 'train')
    if call in tokens
  )
  assert rows.info['untrained_parts'] == parts - len(taught) > 0
  assert rows.info['tokens'] == int((stored['segment_ids'] > 0).sum())
  spoken = int((stored['roles'] == ACTION).sum())
  assert rows.info['tokens_by_role']['action'] == spoken


def test_the_mixtures_of_a_mixture_can_be_named_too(
  corpus, vocabulary, theirs, tmp_path
):
  run(
    *(corpus, vocabulary, tmp_path),
    modules=[*MODULES, theirs],
    concat=['their_nested_v1'],
    best_fit=[],
  )
  mixture = data.Mixture(
    cache_dir=str(tmp_path),
    mixture='their_nested_v1',
    rates={8: {'their_mixture_v1': 1.0}},
  )
  assert mixture.rates == {'their_news_v1': 0.375, 'wikipedia_v1': 0.625}
  assert mixture.phases[8] == {'their_news_v1': 0.75, 'wikipedia_v1': 0.25}


def test_a_split_without_documents_has_no_rows(cached):
  assert len(data.Rows(str(cached), 'books_v1', 'validation')) == 0


def test_a_mixture_from_outside_is_cached(corpus, vocabulary, theirs, tmp_path):
  run(
    corpus,
    vocabulary,
    tmp_path,
    modules=[*MODULES, theirs],
    concat=['their_mixture_v1'],
    best_fit=[],
  )
  mixture = data.Mixture(cache_dir=str(tmp_path), mixture='their_mixture_v1')
  assert mixture.rates == {'their_news_v1': 0.75, 'wikipedia_v1': 0.25}
  assert mixture.batch(0, 4)['source_B'].tolist().count(0) == 3
  assert mixture.tokenizer_fingerprint == tokenizer.load(vocabulary).fingerprint


def test_the_readmes_examples_work_from_outside(
  corpus, vocabulary, tmp_path, monkeypatch
):
  readme = pathlib.Path(__file__).parents[1] / 'data_tasks' / 'README.md'
  blocks = re.findall(r'(?:^ {4}.*\n|^\n)+', readme.read_text(), re.MULTILINE)
  code = [block for block in blocks if 'seqio.' in block]
  assert len(code) == 2
  (tmp_path / 'my_tasks.py').write_text(
    'from data_tasks import vocabularies\n'
    + ''.join(textwrap.dedent(block) for block in code)
  )
  (tmp_path / 'notes.txt').write_text('a note\nanother <|im_end|> note\n')
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(str(tmp_path))
  mine = {
    'modules': ['my_tasks'],
    'concat': ['half_agent_v1', 'my_notes_v1'],
    'best_fit': [],
  }
  run(corpus, vocabulary, tmp_path / 'cache', **mine)
  mixture = data.Mixture(
    cache_dir=str(tmp_path / 'cache'), mixture='half_agent_v1'
  )
  assert mixture.rates['package_code_v1'] == pytest.approx(0.5)
  notes = data.Rows(str(tmp_path / 'cache'), 'my_notes_v1', 'train')
  row = notes.read([0])[0]
  tokens = tokenizer.load(vocabulary)
  first, second = (
    [*tokens.encode(text), tokens.eos_id]
    for text in ('a note', 'another <|im_end|> note')
  )
  assert row['tokens'][row['segment_ids'] == 1].tolist() == first
  assert row['tokens'][row['segment_ids'] == 2].tolist() == second
  # Another text is another cache, though names and lengths are the same.
  (tmp_path / 'notes.txt').write_text('A note\nanother <|im_end|> note\n')
  with pytest.raises(errors.UserError, match='source.shards was'):
    run(corpus, vocabulary, tmp_path / 'cache', **mine)


def test_a_plain_task_has_role_text_and_its_own_vocabulary(
  corpus, vocabulary, theirs, tmp_path
):
  run(
    corpus,
    vocabulary,
    tmp_path,
    modules=[theirs],
    concat=['their_bytes_v1'],
    best_fit=[],
  )
  rows = data.Rows(str(tmp_path), 'their_bytes_v1', 'train')
  stored = rows.read(range(len(rows)))
  used = stored['segment_ids'] > 0
  # ByteVocabulary: three special ids, then the bytes; 1 closes a text.
  wanted = [[*(ord(c) + 3 for c in t), 1] for t in ('abc', 'de', 'f' * 200)]
  assert stored['tokens'][used].tolist() == sum(wanted, [])
  text = document.role_id('text')
  assert (stored['roles'][used] == text).all()
  assert stored['characters'][:, text].sum() == 205
  assert rows.info['tokens_by_kind'] == {'unknown': 208}
  assert rows.tokenizer_fingerprint.startswith('ByteVocabulary')


@pytest.mark.parametrize(
  ('task', 'message'),
  [
    ('their_wrong_roles_v1', "3 'targets', 2 'roles'"),
    ('their_wild_targets_v1', '5 to 60, and the vocabulary has 10'),
  ],
)
def test_a_task_that_breaks_the_contract_is_named(
  corpus, vocabulary, theirs, tmp_path, task, message
):
  with pytest.raises(errors.UserError, match=message) as found:
    run(
      corpus,
      vocabulary,
      tmp_path,
      modules=[theirs],
      concat=[task],
      best_fit=[],
    )
  assert task in str(found.value)
  assert not (tmp_path / 'tasks' / task / 'train').exists()


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'concat': ['wikipedia_v2']}, "'wikipedia_v2'.*Did you mean wikipedia_v1"),
    ({'concat': ['chatterbot_v1']}, "'chatterbot_v1' would be packed in two"),
    ({'modules': ['data_tasks.mixtuers']}, "no Python module 'data_tasks.mix"),
    ({'sequence_length': 1}, 'sequence_length 1 leaves no next token'),
    ({'workers': 0}, 'cache.cache.workers = 0 is below 1'),
    ({'corpus_dir': '/nowhere'}, '/nowhere does not exist'),
    ({'tokenizer_path': '/nowhere/a.model'}, 'no tokenizer at /nowhere'),
  ],
)
def test_a_mistake_is_named(corpus, vocabulary, tmp_path, change, message):
  with pytest.raises(errors.UserError, match=message):
    run(corpus, vocabulary, tmp_path, **change)


def test_a_mixture_with_other_rates_is_refused(
  corpus, vocabulary, cached, tmp_path
):
  del cached
  run(corpus, vocabulary, tmp_path, concat=['wikipedia_v1'], best_fit=[])
  path = tmp_path / 'mixtures' / 'wikipedia_v1.json'
  artefacts.write_json(path, {'rates': {'wikipedia_v1': 0.5}})
  with pytest.raises(errors.UserError, match='was 0.5, now 1.0'):
    run(corpus, vocabulary, tmp_path, concat=['wikipedia_v1'], best_fit=[])


def test_a_damaged_corpus_file_is_named(vocabulary, tmp_path):
  corpus = tmp_path / 'corpus'
  write_corpus(corpus, [catalogue.by_name('news')], {})
  path = next(corpus.glob('forge/news/1.0.0/*train*'))
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)
  with pytest.raises(errors.UserError, match="'news_v1'.*is damaged"):
    run(corpus, vocabulary, tmp_path / 'c', concat=['news_v1'], best_fit=[])


@pytest.mark.slow
def test_the_road_from_nothing_trains_a_tokenizer_and_mixes_all(
  corpus, tmp_path
):
  new = cache.NewTokenizer(vocab_size=340, megabytes=0.1)
  arguments = {
    'modules': [*MODULES, 'data_tasks.benchmarks'],
    'concat': ['forge_stage1_v1', 'forge_stage2_v1', 'control_stage1_v1'],
    'best_fit': ['instruction_v1', 'function_calls_v1'],
    'new_tokenizer': new,
    'sequence_length': 256,
  }
  path = str(tmp_path / 'tokenizer' / 'tokenizer.model')
  result = run(corpus, path, tmp_path / 'cache', **arguments)
  assert result['tokens'] == sum(result['tokens_by_kind'].values())
  assert set(result['tokens_by_kind']) == set(document.KINDS)
  assert run(corpus, path, tmp_path / 'cache', **arguments)['reused'] is True
  shares = json.loads(
    (tmp_path / 'cache' / 'mixtures' / 'forge_stage1_v1.json').read_text()
  )['rates']
  assert sum(shares.values()) == pytest.approx(1)
  code = [s.name for s in packages.SOURCES if s.kind == 'code']
  assert sum(shares[f'{name}_v1'] for name in code) == pytest.approx(0.32)
  # A tokenizer of one's own is used as it is, wherever it lies.
  (tmp_path / 'own').mkdir()
  shutil.copy(path, tmp_path / 'own' / 'tokenizer.model')
  own = str(tmp_path / 'own' / 'tokenizer.model')
  assert run(corpus, own, tmp_path / 'cache', **arguments)['reused'] is True
  with pytest.raises(errors.UserError, match='no tokenizer at .*absent.model'):
    run(
      corpus,
      str(tmp_path / 'own' / 'absent.model'),
      tmp_path / 'cache',
      **arguments,
    )
  batch = data.Mixture(
    cache_dir=str(tmp_path / 'cache'), mixture='forge_stage1_v1'
  ).batch(0, 50)
  assert len(set(batch['source_B'].tolist())) > 5
  # Another request for the tokenizer in the same place is a mistake.
  other = cache.NewTokenizer(vocab_size=300, megabytes=0.1)
  with pytest.raises(errors.UserError, match='vocab_size was 340, now 300'):
    run(
      corpus,
      path,
      tmp_path / 'cache',
      **{**arguments, 'new_tokenizer': other},
    )


def test_a_benchmark_holds_what_was_held_out_and_calls_functions(
  corpus, vocabulary, tmp_path
):
  run(
    corpus,
    vocabulary,
    tmp_path,
    modules=['data_tasks.benchmarks'],
    concat=[],
    best_fit=['function_calls_v1'],
    sequence_length=512,
  )
  rows = data.Rows(str(tmp_path), 'function_calls_v1', 'heldout')
  sources = [
    s for s in packages.SOURCES if s.kind == 'instruction' and s.grouped
  ]
  # Numbers 1, 3 and 5 of 6 held-out conversations call a function.
  assert rows.info['documents'] == 3 * len(sources)
  assert not (tmp_path / 'tasks' / 'function_calls_v1' / 'train').exists()


def test_the_sample_is_balanced_over_kinds_and_the_same_every_time(corpus):
  first = list(cache.sample_texts(str(corpus), 20_000))
  assert first == list(cache.sample_texts(str(corpus), 20_000))
  size = sum(len(text.encode()) for text in first)
  assert 6_000 < size < 20_000  # ids and names are bytes too


def test_rows_over_several_files_are_one(corpus, vocabulary, cached, tmp_path):
  one_row = data.row_dtype(LENGTH).itemsize
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(cache_shard, 'BYTES_PER_FILE', 4 * one_row)
    run(corpus, vocabulary, tmp_path, concat=['wikipedia_v1'], best_fit=[])
  split = data.Rows(str(tmp_path), 'wikipedia_v1', 'train')
  whole = data.Rows(str(cached), 'wikipedia_v1', 'train')
  assert [file['rows'] for file in split.info['files']] == [4, 4, 1]
  order = np.random.default_rng(0).permutation(len(whole))
  assert split.read(order).tobytes() == whole.read(order).tobytes()
