"""A source reads the corpus' folder that it is given, whole and in order."""

import pytest
import seqio

from data_tasks import sources
from hephaestus_jax import errors
from hephaestus_jax.corpus import document, forge


def write(folder, name, splits):
  forge.Forge(
    source=name,
    description='Made up.',
    homepage='https://example.org',
    documents={
      split: lambda split=split, count=count: (
        document.Document(
          id=f'{name}/{split}/{i}',
          source=name,
          kind='text',
          licence='MIT',
          url='',
          segments=(document.Segment('text', f'{i}'),),
        )
        for i in range(count)
      )
      for split, count in splits.items()
    },
    data_dir=str(folder),
  ).download_and_prepare()


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
  folder = tmp_path_factory.mktemp('corpus')
  write(folder, 'first', {'train': 3, 'heldout': 2})
  write(folder, 'second', {'train': 4, 'validation': 1})
  return folder


def ids(source, split, shard_info=None):
  dataset = source.get_dataset(split, shard_info=shard_info)
  return [record['id'] for record in dataset.as_numpy_iterator()]


def test_several_sources_are_read_one_after_the_other(corpus):
  both = sources.CorpusSource(['first', 'second'], ['train'])
  both.read_from(str(corpus))
  found = ids(both, 'train')
  assert [i.split(b'/')[0] for i in found] == [b'first'] * 3 + [b'second'] * 4
  assert ids(both, 'train') == found
  assert both.num_input_examples('train') == len(set(found)) == 7
  assert both.num_bytes('train') > 7 * 20


def test_the_shards_of_several_sources_hold_each_record_once(corpus):
  both = sources.CorpusSource(['first', 'second'], ['train'])
  both.read_from(str(corpus))
  shards = [ids(both, 'train', seqio.ShardInfo(i, 2)) for i in range(2)]
  assert [len(shard) for shard in shards] == [4, 3]
  assert sorted(sum(shards, [])) == sorted(ids(both, 'train'))


def test_a_split_that_a_source_lacks_is_empty(corpus):
  both = sources.CorpusSource(['first', 'second'], ['heldout'])
  both.read_from(str(corpus))
  assert len(ids(both, 'heldout')) == both.num_input_examples('heldout') == 2
  second = sources.CorpusSource(['second'], ['heldout'])
  second.read_from(str(corpus))
  assert ids(second, 'heldout') == []


def test_a_source_that_the_corpus_lacks_is_named(corpus):
  source = sources.CorpusSource(['third'], ['train'])
  source.read_from(str(corpus))
  with pytest.raises(errors.UserError, match="no source 'third'"):
    source.get_dataset('train')


def test_a_source_without_a_corpus_says_what_to_do():
  with pytest.raises(errors.UserError, match='read_from'):
    sources.CorpusSource(['first'], ['train']).get_dataset('train')


def test_an_order_is_not_this_sources_matter(corpus):
  source = sources.CorpusSource(['first'], ['train'])
  source.read_from(str(corpus))
  with pytest.raises(ValueError, match='stored order'):
    source.get_dataset('train', shuffle=True)
