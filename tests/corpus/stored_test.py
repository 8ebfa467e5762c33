"""What is held out is never read, and the order is always the same."""

import json

import pytest

from hephaestus_jax import artefacts, errors
from hephaestus_jax.corpus import document, forge, lines, stored


def page(name: str, kind: str = 'documentation') -> document.Document:
  source = name.split('/')[0]
  segments = (
    document.Segment('documentation', f'Says {name}.'),
    document.Segment('code', 'é'),
  )
  return document.Document(name, source, kind, 'MIT', '', segments)


def built(folder):
  """A corpus as `hephaestus corpus` leaves it, as far as it is read here."""
  datasets = {
    ('docs', 'documentation'): {
      'train': [page(f'docs/ec2/{i}') for i in range(9)],
      'heldout': [page('docs/s3/0')],
    },
    ('books', 'text'): {'train': [page('books/x/0', 'text')]},
    ('news', 'text'): {},
  }
  composition = []
  for (source, kind), splits in datasets.items():
    if splits:
      forge.Forge(
        source=source,
        description='',
        homepage='',
        documents={
          split: lambda found=found: found for split, found in splits.items()
        },
        data_dir=str(folder),
      ).download_and_prepare(download_dir=str(folder / 'downloads'))
    composition += [
      {
        'source': source,
        'kind': kind,
        'split': split,
        'documents': len(splits.get(split, [])),
      }
      for split in ('train', 'validation', 'heldout')
    ]
  artefacts.write_json(folder / 'composition.json', composition)
  artefacts.write_json(folder / 'inputs.json', {'made_from': 'this'})
  return folder


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
  return built(tmp_path_factory.mktemp('corpus'))


@pytest.fixture
def folder(tmp_path):
  lines.write(
    tmp_path,
    [
      page('docs/a/1'),
      page('docs/heldout/2'),
      page('docs/b/3', 'code'),
      *(page(f'more/a/{i}') for i in range(9)),
    ],
  )
  return tmp_path


def test_a_built_corpus_gives_its_train_documents_of_the_kinds(corpus):
  docs = list(stored.Selection([str(corpus)], ['documentation', 'code']))
  assert {found.id for found in docs} == {f'docs/ec2/{i}' for i in range(9)}
  assert page(docs[0].id) == docs[0]
  assert docs == list(stored.Selection([str(corpus)], ['documentation']))
  texts = list(stored.Selection([str(corpus)], ['text']))
  assert texts == [page('books/x/0', 'text')]


def test_a_folder_of_lines_gives_what_is_not_held_out(folder):
  found = stored.Selection([str(folder)], ['documentation'])
  assert [one.id for one in found] == [
    *('docs/a/1', *(f'more/a/{i}' for i in range(9)))
  ]


def test_folders_follow_each_other_and_each_source_has_its_limit(
  corpus, folder
):
  both = [str(corpus), str(folder)]
  found = [one.id for one in stored.Selection(both, ['documentation'], 3)]
  assert [name.split('/')[0] for name in found] == ['docs'] * 3 + ['more'] * 3
  assert found == [
    one.id for one in stored.Selection(both, ['documentation'], 3)
  ]
  more = {one.id for one in stored.Selection(both, ['documentation'], 4)}
  assert set(found) < more


def test_what_documents_they_are_is_told_by_content(corpus, folder):
  both = stored.Selection([str(corpus), str(folder)], ['text'])
  before = both.identity()
  assert before == both.identity()
  lines.write(folder, [page('docs/a/1')])
  assert both.identity() != before


def test_a_damaged_line_is_named(folder):
  with (folder / lines.FILE).open('a') as file:
    file.write('{}\n')
  with pytest.raises(errors.UserError, match=r'jsonl:13 is no Document'):
    list(stored.Selection([str(folder)], ['text']))


@pytest.mark.parametrize(
  ('changes', 'said'),
  [
    ({'folders': ['nowhere']}, 'nowhere does not exist'),
    ({'kinds': ['prose']}, "names 'prose'"),
    ({'per_source': 0}, 'per_source = 0'),
  ],
)
def test_a_mistake_is_named(changes, said):
  with pytest.raises(errors.UserError, match=said):
    stored.Selection(**{'folders': [], 'kinds': [], **changes}).identity()


def test_documents_come_back_as_they_were_written(folder):
  raw = (folder / lines.FILE).read_text().splitlines()
  found = list(stored.Selection([str(folder)], document.KINDS))
  kept = [json.loads(line) for line in raw if '/heldout/' not in line]
  assert [document.to_record(one) for one in found] == kept
