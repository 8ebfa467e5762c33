"""Cells, and the one table whose numbers must add up."""

import pathlib

import pytest

from hephaestus_jax.report import results, tables


@pytest.mark.parametrize(
  ('cell', 'shown'),
  [
    (1_234_567, '1,234,567'),
    (0.51234, '0.512'),
    (None, '–'),
    ('<b>', '&lt;b&gt;'),
    (tables.Markup('<b>'), '<b>'),
  ],
)
def test_a_cell_is_shown_as(cell: object, shown: str) -> None:
  assert tables.text(cell) == shown


def test_numbers_stand_to_the_right_and_words_to_the_left() -> None:
  assert tables.table(['source', 'tokens'], [['docs', 1200]]) == (
    '<div class="scroll"><table><thead><tr><th>source</th>'
    '<th class="number">tokens</th></tr></thead>\n<tbody>\n'
    '<tr><td>docs</td><td class="number">1,200</td></tr>\n'
    '</tbody></table></div>'
  )


def test_a_step_that_loses_documents_stands_out(tmp_path: pathlib.Path) -> None:
  row = {'step': 'length', 'source': 'a', 'in': 9, 'out': 6}
  found = results.Results(
    run_dir=tmp_path,
    runs=(),
    drops={'steps': [{**row, 'drops': {'too_short': 2}}], 'examples': {}},
    composition=None,
    classifier=None,
    decontamination=None,
    examples=None,
    embedding_map=None,
    fits=None,
    ablations=None,
    caches=(),
    road=None,
    configs={},
  )
  assert '<strong class="bad">+1 unaccounted</strong>' in (
    tables.drops(found) or ''
  )
  assert found.drops
  found.drops['steps'][0]['out'] = 7
  assert 'in = out + drops' in (tables.drops(found) or '')


def test_the_paper_stands_beside_our_classifier(run_dir: pathlib.Path) -> None:
  found = results.read(str(run_dir), (), ())
  table = tables.classifier(found) or ''
  assert (
    '<td>accuracy</td><td class="number">0.912</td>'
    '<td class="number">0.875</td>'
  ) in table
