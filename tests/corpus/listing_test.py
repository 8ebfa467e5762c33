import json

import pytest

from hephaestus_jax import main
from hephaestus_jax.corpus import catalogue, document, source
from hephaestus_jax.corpus.catalogue import general, seed
from hephaestus_jax.corpus.files import records

DATA_SETS = [s for s in catalogue.SOURCES if isinstance(s, source.DataSet)]


def test_the_seed_is_that_of_the_papers_tables():
  assert len(seed.SOURCES) == 61
  tokens = {kind: 0.0 for kind in document.KINDS}
  for of in seed.SOURCES:
    tokens[of.kind] += of.tokens_billion
  # Section 1 of the tables: 47 rows of trajectories, 14 of documentation.
  assert tokens['trajectory'] == pytest.approx(9.769)
  assert sum(tokens.values()) == pytest.approx(10.593)
  assert sum(of.kind == 'trajectory' for of in seed.SOURCES) == 47
  by_format = dict.fromkeys(source.FORMATS, 0.0)
  for of in seed.SOURCES:
    by_format[of.format] += of.tokens_billion
  assert by_format == pytest.approx(
    {
      'Code': 6.147,
      'JSON': 1.246,
      'API Seq': 1.203,
      'Plain Text': 0.868,
      'Dialog': 0.835,
      'QA': 0.187,
      'NL Plan': 0.100,
      'ReAct': 0.007,
    }
  )


def test_names_are_unique_and_kinds_and_formats_known():
  names = [of.name for of in catalogue.SOURCES]
  assert len(set(names)) == len(names)
  assert {of.kind for of in catalogue.SOURCES} <= set(document.KINDS)
  assert {of.format for of in DATA_SETS} <= set(source.FORMATS)
  assert all(of.licence and of.home for of in DATA_SETS)


def test_every_source_of_the_paper_has_who_reads_it():
  unread = [of.name for of in (*seed.SOURCES, *general.SOURCES) if not of.files]
  assert not unread


@pytest.mark.parametrize(
  ('name', 'splits'),
  [
    ('api_bank', {source.TRAIN, source.HELDOUT}),
    ('gorilla_apibench', {source.TRAIN, source.HELDOUT}),
    ('t_eval', {source.TRAIN, source.HELDOUT}),
    ('agentinstruct', {source.TRAIN, source.HELDOUT}),
    ('seq_mind2web', {source.TRAIN, source.HELDOUT}),
    # Its published files are the Nexus benchmark and nothing else.
    ('nexusraven', {source.HELDOUT}),
  ],
)
def test_a_source_that_is_a_benchmark_too_says_what_is_held_out(name, splits):
  assert {f.split for f in catalogue.by_name(name).files} == splits


def test_units_are_such_as_the_format_has():
  for of in DATA_SETS:
    for files in of.files:
      suffix = records.format_of(files.pattern)
      if files.unit == 'paragraphs':
        assert suffix in ('', '.txt'), (of.name, files)
      elif files.unit not in ('items', 'whole', 'bytes'):
        assert suffix == '.json', (of.name, files)


def test_the_command_line_lists_the_catalogue(capsys):
  result = main.execute(['corpus', '--list', '--json'])
  captured = capsys.readouterr()
  assert json.loads(captured.out) == result
  rows = {row['name']: row for row in result['sources']}
  assert list(rows) == [of.name for of in catalogue.SOURCES]
  mnms = rows['mnms']
  assert mnms['title'] == 'MNMs' and mnms['tokens_billion'] == 0.001
  assert mnms['where'] == 'https://huggingface.co/datasets/zixianma/mnms'
  assert rows['botocore_docs']['packages'] == {'botocore': 'Apache-2.0'}
  table = captured.err.splitlines()
  assert table[0].split()[:3] == ['name', 'kind', 'format']
  assert len(table) == len(rows) + 2
  assert max(map(len, table)) <= 170
