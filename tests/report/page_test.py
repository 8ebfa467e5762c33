"""The whole page: from artefacts of literal numbers to what a reader sees."""

import html.parser
import json
import pathlib
import re
import shutil
from collections.abc import Sequence
from typing import Any

import pytest

from hephaestus_jax import artefacts, errors
from hephaestus_jax.report import page, results, versions

SECTIONS = (
  'Benchmark loss',
  'Function calls',
  'Training',
  'Scaling',
  'Corpus',
  'Sources',
  'Formats',
  'What was dropped',
  'Classifier',
  'Decontamination',
  'Time',
  'How to run this again',
)
VOID = {'meta', 'br', 'link', 'img', 'hr'}


class Reader(html.parser.HTMLParser):
  """Reads a page strictly: every tag closed in order, every id once."""

  def __init__(self) -> None:
    super().__init__()
    self.open: list[str] = []
    self.tags: list[str] = []
    self.headings: list[str] = []
    self.ids: list[str] = []
    self.links: list[str] = []
    self.outside: list[str] = []

  def handle_starttag(
    self, tag: str, attrs: list[tuple[str, str | None]]
  ) -> None:
    self.tags.append(tag)
    if tag not in VOID:
      self.open.append(tag)
    for name, value in attrs:
      if name == 'id':
        self.ids.append(value or '')
      if name in ('href', 'xlink:href', 'src') and value:
        (self.links if value.startswith('#') else self.outside).append(value)

  def handle_startendtag(
    self, tag: str, attrs: list[tuple[str, str | None]]
  ) -> None:
    self.handle_starttag(tag, attrs)
    if tag not in VOID:
      self.handle_endtag(tag)

  def handle_endtag(self, tag: str) -> None:
    assert self.open, f'</{tag}> closes nothing.'
    assert self.open.pop() == tag

  def handle_data(self, data: str) -> None:
    if self.open and self.open[-1] == 'h2':
      self.headings.append(data)


def write(run_dir: pathlib.Path) -> dict[str, Any]:
  with pytest.MonkeyPatch.context() as patch:
    # Another commit may be made while the tests run.
    patch.setattr(versions, 'versions', lambda: {'commit': 'abc', 'jax': '1'})
    return page.report(
      run_dir=str(run_dir),
      output_dir=str(run_dir / 'report'),
      regenerate_paper=True,
    )


def without_figures(
  run_dir: pathlib.Path, runs: Sequence[str] = ('forge', 'control')
) -> str:
  """The page's text and tables: what is quick to make."""
  found = results.read(str(run_dir), runs, ('stage1', 'stage2', 'stage3'))
  return page.html_page(found, 'function_calls', {}, {'commit': None})


def read(text: str) -> Reader:
  reader = Reader()
  reader.feed(text)
  reader.close()
  return reader


@pytest.fixture(scope='module')
def report(whole_run: pathlib.Path) -> pathlib.Path:
  write(whole_run)
  return whole_run / 'report'


def test_the_page_is_well_formed_and_has_every_section(
  report: pathlib.Path,
) -> None:
  reader = read((report / 'index.html').read_text())
  assert reader.open == []
  assert reader.headings == list(SECTIONS)
  assert len(set(reader.ids)) == len(reader.ids)
  assert {link.removeprefix('#') for link in reader.links} <= set(reader.ids)


def test_the_papers_page_is_well_formed(report: pathlib.Path) -> None:
  reader = read((report / 'paper.html').read_text())
  assert reader.open == []
  assert len(set(reader.ids)) == len(reader.ids)
  assert {link.removeprefix('#') for link in reader.links} <= set(reader.ids)


@pytest.mark.parametrize('name', ['index.html', 'paper.html'])
def test_the_page_needs_no_other_file_and_no_script(
  report: pathlib.Path, name: str
) -> None:
  text = (report / name).read_text()
  reader = read(text)
  assert reader.outside == []
  assert not {'script', 'link', 'img', 'iframe'} & set(reader.tags)
  # References inside SVGs are to the page itself.
  assert set(re.findall(r'url\((.)', text)) <= {'#'}
  assert '@import' not in text


def test_a_finished_run_has_nothing_that_was_not_run(
  report: pathlib.Path,
) -> None:
  assert 'not run' not in (report / 'index.html').read_text()


def test_what_was_said_in_files_is_shown_and_escaped(
  report: pathlib.Path,
) -> None:
  text = (report / 'index.html').read_text()
  assert 'build.build.seed = 0 # &lt;&#x27;&amp;&#x27;&gt;' in text
  assert 'hephaestus train gin/runs/demo_control.gin' in text
  assert '3 of 20' in text
  assert 'git checkout abc' in text
  assert '15 min 39 s' in text
  assert 'Over 812 examples, 20,311 tokens.' in text


def test_a_document_of_each_kind_and_format_is_shown_and_cut(
  report: pathlib.Path,
) -> None:
  text = (report / 'index.html').read_text()
  assert 'documentation: Plain Text' in text
  assert 'trajectory: Dialog' in text
  assert 'Returns &lt;all&gt; buckets.\nline\n' in text
  assert 'Not shown' not in text
  assert 'x' * 400 + ' …' in text and 'x' * 401 not in text
  assert '<b>answer</b>\nDone.</pre>' in text
  assert text.count('\nline\n') >= 5 and 'line …</pre>' in text


def test_the_filter_tells_its_words_its_edge_and_its_mistakes(
  report: pathlib.Path,
) -> None:
  text = (report / 'index.html').read_text()
  assert '<code>&lt;required&gt;</code>' in text
  assert '400,500 of 1,000,000 characters (40.0&nbsp;%)' in text
  assert 'of services, packages and books that it never saw' in text
  assert 'call it &lt;again&gt;' in text
  assert '<td>kept</td><td>news/a/1</td>' in text


def test_what_was_cut_and_what_nobody_looked_for_is_told(
  report: pathlib.Path,
) -> None:
  text = (report / 'index.html').read_text()
  assert 'Not checked, for want of their files: hotpotqa, mmlu.' in text
  assert '2 of 2 overlaps' in text
  assert '<td>command_docs/s3/mv</td><td>data/simple</td>' in text


def test_the_same_run_makes_the_same_bytes(report: pathlib.Path) -> None:
  first = {path.name: path.read_bytes() for path in report.iterdir()}
  write(report.parent)
  second = {path.name: path.read_bytes() for path in report.iterdir()}
  assert first == second
  assert sorted(name for name in first if name.endswith('.png')) == [
    'base_models.png',
    'benchmark_loss.png',
    'bfcl.png',
    'embedding_map.png',
    'kinds_and_sources.png',
    'loss_by_role.png',
    'loss_by_source.png',
    'mixture.png',
    'seconds.png',
    'tokens_by_kind.png',
    'tokens_by_source.png',
    'training_loss.png',
  ]


@pytest.mark.parametrize(
  ('part', 'shown'),
  [
    ('cache', 'Cache: not run.'),
    ('corpus/composition.json', 'Composition: not run.'),
    ('corpus/drops.json', 'Drop table: not run.'),
    ('corpus/classifier.json', 'Classifier: not run.'),
    ('corpus/decontamination.json', 'Decontamination: not run.'),
    ('corpus/examples.json', 'Examples: not run.'),
    ('control/stage3', '<td>stage3</td><td class="number">–</td>'),
    ('road.json', 'Times: not run.'),
  ],
)
def test_what_is_missing_is_called_not_run_at_its_place(
  run_dir: pathlib.Path, part: str, shown: str
) -> None:
  assert shown not in without_figures(run_dir)
  _remove(run_dir / part)
  assert shown in without_figures(run_dir)


def test_a_run_with_a_corpus_alone_has_a_page(
  run_dir: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
  for part in ('cache', 'forge', 'control', 'road.json', 'retrieve'):
    _remove(run_dir / part)
  result = write(run_dir)
  summary = json.loads(pathlib.Path(result['summary']).read_text())
  assert summary['corpus_tokens'] is None
  assert summary['bfcl'] == {'forge': None, 'control': None}
  assert summary['benchmark_loss']['forge'] == {
    'stage1': None,
    'stage2': None,
    'stage3': None,
  }
  text = pathlib.Path(result['page']).read_text()
  assert read(text).headings == list(SECTIONS)
  assert 'Benchmark loss: not run.' in text
  assert 'Embedding map: not run.' in text
  missing = [
    'cache',
    *('forge/stage1', 'forge/stage2', 'forge/stage3', 'forge/evaluation'),
    *('control/stage1', 'control/stage2', 'control/stage3'),
    'control/evaluation',
  ]
  assert result['not_run'] == missing
  assert f'not run: {", ".join(missing)}' in capsys.readouterr().out


def test_one_run_alone_is_compared_with_nothing(run_dir: pathlib.Path) -> None:
  assert 'forge against control' in without_figures(run_dir)
  alone = without_figures(run_dir, ('forge',))
  assert 'against' not in alone
  assert '>2.525</b>' in alone


def test_a_run_without_corpus_is_refused(run_dir: pathlib.Path) -> None:
  _remove(run_dir / 'corpus')
  with pytest.raises(errors.UserError, match='corpus does not exist'):
    write(run_dir)


@pytest.mark.parametrize('folder', ['corpus', 'forge'])
def test_a_folder_that_holds_something_else_is_not_replaced(
  run_dir: pathlib.Path, folder: str
) -> None:
  artefacts.write_json(run_dir / 'corpus/inputs.json', {'sources': ['a']})
  with pytest.raises(errors.UserError, match='no report'):
    page.report(run_dir=str(run_dir), output_dir=str(run_dir / folder))
  assert any((run_dir / folder).iterdir())


def test_a_stand_in_that_is_no_run_of_the_report_is_refused(
  run_dir: pathlib.Path,
) -> None:
  with pytest.raises(errors.UserError, match="paper_runs names .'mistral'"):
    page.report(
      run_dir=str(run_dir),
      paper_runs={'Hephaestus-7B-IFT': 'mistral'},
      regenerate_paper=True,
      output_dir=str(run_dir / 'report'),
    )


def test_a_report_of_no_runs_is_refused(run_dir: pathlib.Path) -> None:
  with pytest.raises(errors.UserError, match='one or more'):
    page.report(
      run_dir=str(run_dir), runs=(), output_dir=str(run_dir / 'report')
    )


def _remove(path: pathlib.Path) -> None:
  assert path.exists()
  if path.is_dir():
    shutil.rmtree(path)
  else:
    path.unlink()
