"""The paper regenerated: theirs beside ours, and no blank for what was not run.

Whether its page is well-formed is page_test.py's.
"""

import pathlib
import re

import pytest

from hephaestus_jax.report import paper, published, results

STAGES = ('stage1', 'stage2', 'stage3')
STAND_INS = {'Hephaestus-8B-IFT': 'forge', 'LLaMA-3-8B-IFT': 'control'}


def sections(run_dir: pathlib.Path, stand_ins=STAND_INS) -> dict[str, str]:
  found = results.read(str(run_dir), ('forge', 'control'), STAGES)
  return paper.sections(found, {}, stand_ins)


def cells(html: str, row: str) -> list[str]:
  """The text of a table's row, found by the text of its first cell."""
  for line in re.findall(r'<tr>(.*?)</tr>', html, re.DOTALL):
    texts = [
      re.sub('<.*?>', '', cell)
      for cell in re.findall(r'<t[dh].*?>(.*?)</t[dh]>', line, re.DOTALL)
    ]
    if texts[0] == row:
      return texts[1:]
  raise AssertionError(f'no row {row}')


def test_every_row_of_the_papers_tables_has_every_column() -> None:
  for name, table in published.paper()['tables'].items():
    for model, values in table['rows'].items():
      assert len(values) == len(table['columns']), f'{name}, {model}'


def test_every_value_of_the_paper_has_its_place() -> None:
  content = published.paper()
  for name in ('composition', 'classifier', 'scaling', 'recipe'):
    assert re.search('table|section|appendix', content[name]['place'])
  assert all(re.fullmatch(r'table \d', name) for name in content['tables'])


def test_every_figure_and_table_has_a_section(whole_run: pathlib.Path) -> None:
  assert [*sections(whole_run)] == [
    'What is here',
    *(f'Figure {i}' for i in (1, 2)),
    *('Table 1', 'Figure 3', 'Figure 4', 'Appendix E', 'Figure 5'),
    *(f'Table {i}' for i in range(2, 9)),
    *('Tables 9 and 10', 'Figure 6'),
  ]


def test_ours_stand_below_the_row_they_stand_in_for(
  run_dir: pathlib.Path,
) -> None:
  table = sections(run_dir)['Table 7']
  assert cells(table, 'Hephaestus-8B-IFT') == [
    *('below', '66.39', '69.82', '70.78')
  ]
  # None of its categories was run whole.
  assert cells(table, 'forge') == ['this run', *['not run'] * 3]
  path = run_dir / 'forge/evaluation/bfcl.json'
  text = path.read_text().replace(
    '"live_ast": null', '"non_live_ast": 0.125, "v2_ast": 0.25, "v3_live": 0.5'
  )
  path.write_text(text)
  scores = sections(run_dir)
  assert cells(scores['Table 7'], 'forge') == [
    *('this run', '25.0', 'not run', 'not run')
  ]
  ours = cells(scores['Table 2'], 'forge')
  assert ours.index('12.5') == 1 + 8  # v3 NL-AST is the ninth column
  assert ours.index('50.0') == 1 + 10  # v3 L-AST


def test_a_model_that_nothing_stands_in_for_is_not_run(
  whole_run: pathlib.Path,
) -> None:
  table = sections(whole_run, {})['Table 2']
  assert 'forge' not in table
  assert cells(table, 'Hephaestus-8B-IFT')[0] == 'not run'


@pytest.mark.parametrize('name', ['Table 2', 'Table 3', 'Table 5', 'Table 8'])
def test_no_cell_is_blank_or_a_dash(whole_run: pathlib.Path, name: str) -> None:
  for line in re.findall(r'<tr>(.*?)</tr>', sections(whole_run)[name])[1:]:
    for cell in re.findall(r'<td.*?>(.*?)</td>', line):
      assert re.sub('<.*?>', '', cell).strip() not in ('', '–')


def test_the_recipe_is_read_from_what_the_stages_were_made_from(
  whole_run: pathlib.Path, run_dir: pathlib.Path
) -> None:
  recipe = sections(whole_run)['Appendix E']
  assert cells(recipe, 'updates')[:3] == ['55,000', '55,000', '24,000']
  assert cells(recipe, 'updates')[3:] == ['120', '60', '40']
  assert cells(recipe, 'sequences of an update')[3:] == ['8'] * 3
  assert cells(recipe, 'weight decay')[3:] == ['0.01'] * 3
  assert cells(recipe, 'tokens of a sequence') == [
    *['not printed'] * 3,
    *['512'] * 3,
  ]
  assert cells(recipe, 'hardware')[3:] == ['not kept'] * 3
  (run_dir / 'forge/stage2/metrics.jsonl').unlink()
  assert cells(sections(run_dir)['Appendix E'], 'updates')[4] == 'not run'


def test_the_overview_says_what_was_not_run(run_dir: pathlib.Path) -> None:
  assert cells(sections(run_dir)['What is here'], 'Figure 3') == ['drawn']
  (run_dir / 'fits/fits.json').unlink()
  without = sections(run_dir)
  assert cells(without['What is here'], 'Figure 3') == ['not run']
  assert cells(without['What is here'], 'Figure 1') == ['no data known']
  assert 'Scaling study: not run.' in without['Figure 3']
  assert cells(without['Figure 3'], 'best share of agent data') == [
    *('36 %', 'not run')
  ]
