"""The catalogue beside a run of literal numbers."""

import dataclasses
import pathlib
import re

from matplotlib import text as text_of

from hephaestus_jax.corpus import catalogue, source
from hephaestus_jax.report import figures, results, sources


def read(run_dir: pathlib.Path) -> results.Results:
  return results.read(str(run_dir), (), ())


def cells(table: str) -> dict[str, list[str]]:
  """The texts of a table's rows by that of the first cell."""
  rows = {}
  for row in re.findall(r'<tr>(.*?)</tr>', table):
    found = [
      re.sub(r'<[^>]*>', '', cell)
      for cell in re.findall(r'<td[^>]*>(.*?)</td>', row)
    ]
    if found:
      rows[found[0]] = found[1:]
  return rows


def test_a_source_has_the_papers_format_or_its_kinds() -> None:
  assert sources.format_of('toolbench', 'trajectory') == 'Dialog'
  assert sources.format_of('mine', 'code') == 'Code'


def test_sizes_are_tokens_or_without_a_cache_characters(
  run_dir: pathlib.Path,
) -> None:
  sizes, unit = sources.sizes(read(run_dir))
  assert (sizes['service_docs'], unit) == (9_437_184, 'tokens')
  (run_dir / 'cache').rename(run_dir / 'elsewhere')
  sizes, unit = sources.sizes(read(run_dir))
  assert (sizes['service_docs'], unit) == (
    2_000 * 9_437_184 // 512,
    'characters',
  )


def test_agent_data_is_summed_by_kind_and_format(run_dir: pathlib.Path) -> None:
  assert sources.sizes_by_format(read(run_dir)) == {
    'documentation': {'Plain Text': 9_437_184 + 6_291_456},
    'trajectory': {'Dialog': 1_048_576},
  }


def test_the_whole_stands_beside_the_papers(run_dir: pathlib.Path) -> None:
  rows = cells(sources.beside_paper(read(run_dir)) or '')
  assert rows['pre-training tokens'] == ['103 B', '30,408,704']
  assert rows['share of agent data'] == ['36 %', '55 %']
  assert rows['agent : text : code'] == ['1 : 1 : 1', '1 : 0.25 : 0.44']
  assert rows['seed sources'] == ['61', '6']
  assert rows['of them retrieved from the web'][1] == 'none in this corpus'


def test_the_source_table_has_every_row_of_the_catalogue_and_of_the_run(
  run_dir: pathlib.Path,
) -> None:
  rows = cells(sources.table(read(run_dir)))
  # The run's books are those of the catalogue.
  assert len(rows) == len(catalogue.SOURCES) + 5
  toolbench = catalogue.by_name('toolbench')
  assert isinstance(toolbench, source.DataSet)
  tried = 'yes' if toolbench.verified else 'no'
  assert rows['ToolBench toolbench'] == [
    *('trajectory', 'Dialog', 'Apache-2.0', tried, '0.530', '–', '–')
  ]
  assert rows['service_docs'][-2:] == ['19,728', '9,437,184']
  assert list(rows)[:6] == [
    *('service_docs', 'command_docs', 'python_code', 'service_calls'),
    *('shell_sessions', 'books'),
  ]


def test_pies_are_drawn_where_a_kind_has_several_formats(
  run_dir: pathlib.Path,
) -> None:
  def composed(*names: str) -> results.Results:
    rows = [
      {'source': name, 'kind': 'trajectory', 'split': 'train', 'characters': 9}
      for name in names
    ]
    return dataclasses.replace(read(run_dir), composition=rows, caches=[])

  assert figures.agent_formats(composed('toolbench', 'codeact')) is None
  drawn = figures.agent_formats(composed('toolbench', 'fireact'))
  assert drawn is not None
  shown = ' '.join(
    ' '.join(text.get_text().split()) for text in drawn.findobj(text_of.Text)
  )
  assert 'Dialog 50 %' in shown and 'ReAct 50 %' in shown
