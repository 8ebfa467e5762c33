"""Literal artefacts in, literal numbers out."""

import json
import pathlib

import pytest

from hephaestus_jax import errors
from hephaestus_jax.report import results

STAGES = ('stage1', 'stage2', 'stage3')


def summary_of(run_dir: pathlib.Path) -> dict:
  found = results.read(str(run_dir), ('forge', 'control'), STAGES)
  return results.summary(found, 'function_calls')


def test_corpus_tokens_are_those_of_the_training_split_by_kind(
  run_dir: pathlib.Path,
) -> None:
  assert summary_of(run_dir)['corpus_tokens'] == {
    'documentation': 9_437_184 + 6_291_456,
    'code': 7_340_032,
    'text': 4_194_304,
    'instruction': 2_097_152,
    'trajectory': 1_048_576,
  }


def test_drops_are_summed_over_sources_by_step_and_reason(
  run_dir: pathlib.Path,
) -> None:
  assert summary_of(run_dir)['drops'] == {
    'read': {'no_name': 10},
    'length': {'too_long': 10, 'too_short': 2_390},
    'deduplicate': {'exact': 4_050, 'near': 2_500},
  }


def test_a_document_lost_without_a_reason_is_seen() -> None:
  drops = [
    {
      'step': 'length',
      'source': 'a',
      'in': 9,
      'out': 7,
      'drops': {'too_short': 2},
    },
    {
      'step': 'length',
      'source': 'b',
      'in': 5,
      'out': 4,
      'drops': {'too_long': 1},
    },
  ]
  balanced = {
    'step': 'length',
    'in': 14,
    'out': 11,
    'drops': {'too_long': 1, 'too_short': 2},
    'unaccounted': 0,
  }
  assert results.drops_by_step(drops) == [balanced]
  drops[1]['out'] = 2
  (row,) = results.drops_by_step(drops)
  assert row['unaccounted'] == 2


def test_a_document_lost_between_two_steps_is_seen() -> None:
  read, length = results.drops_by_step(
    [
      {'step': 'read', 'source': 'a', 'in': 9, 'out': 7, 'drops': {'no': 2}},
      {'step': 'length', 'source': 'a', 'in': 6, 'out': 6, 'drops': {}},
    ]
  )
  assert (read['unaccounted'], length['unaccounted']) == (0, 1)


def test_benchmark_loss_is_that_before_and_after_each_stage(
  tmp_path: pathlib.Path,
) -> None:
  (tmp_path / 'corpus').mkdir()
  key = 'evaluation/calls/nll_per_'
  lines = {
    'stage1': [(0, 9.5), (10, 6.0), (20, 4.25)],
    'stage2': [(0, 4.25)],
  }
  for stage, points in lines.items():
    (tmp_path / 'forge' / stage).mkdir(parents=True)
    (tmp_path / 'forge' / stage / 'metrics.jsonl').write_text(
      ''.join(
        json.dumps(
          {
            'step': step,
            'tokens': 8 * step,
            f'{key}token': loss,
            f'{key}character': loss / 4,
          }
        )
        + '\n'
        for step, loss in points
      )
    )
  found = results.read(str(tmp_path), ('forge',), STAGES)
  summary = results.summary(found, 'calls')
  assert summary['benchmark_loss'] == {
    'forge': {
      'stage1': {'before': 9.5, 'after': 4.25},
      'stage2': {'before': 4.25, 'after': None},
      'stage3': None,
    }
  }
  assert summary['benchmark_loss_per_character']['forge']['stage1'] == {
    'before': 2.375,
    'after': 1.0625,
  }
  assert results.final_loss(found.runs[0], 'calls', 'token') == 4.25
  assert results.final_loss(found.runs[0], 'others', 'token') is None
  assert summary['steps'] == {
    'forge': {'stage1': 20, 'stage2': 0, 'stage3': None}
  }
  assert summary['training_tokens'] == {
    'forge': {'stage1': 160, 'stage2': 0, 'stage3': None}
  }
  assert found.runs[0].offsets() == {'stage1': 0, 'stage2': 160}


def test_bfcl_and_seconds_are_those_of_the_files(run_dir: pathlib.Path) -> None:
  summary = summary_of(run_dir)
  assert summary['bfcl']['forge'] == {
    'simple': {'n': 40, 'accuracy': 0.3},
    'multiple': {'n': 20, 'accuracy': 0.15},
    'irrelevance': {'n': 24, 'accuracy': 0.75},
  }
  assert summary['bfcl']['control']['multiple'] == {'n': 20, 'accuracy': 0.0}
  assert summary['seconds'] == {
    'corpus demo': 171.3,
    'cache demo': 88.0,
    'train demo': 312.5,
    'train demo_control': 305.9,
    'evaluate demo': 61.2,
  }


def test_a_line_that_was_cut_off_is_no_line(run_dir: pathlib.Path) -> None:
  path = run_dir / 'forge/stage3/metrics.jsonl'
  with path.open('a') as file:
    file.write('{"step": 41, "tok')
  assert summary_of(run_dir)['steps']['forge']['stage3'] == 40


@pytest.mark.parametrize(
  'name', ['forge/stage1/metrics.jsonl', 'corpus/drops.json', 'road.json']
)
def test_a_damaged_file_is_named(run_dir: pathlib.Path, name: str) -> None:
  (run_dir / name).write_text('{"step": \n')
  with pytest.raises(errors.UserError, match=name):
    summary_of(run_dir)


def test_a_corpus_may_be_that_of_another_run(
  run_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  elsewhere = tmp_path / 'other' / 'corpus'
  elsewhere.parent.mkdir()
  (run_dir / 'corpus').rename(elsewhere)
  with pytest.raises(errors.UserError, match='corpus does not exist'):
    summary_of(run_dir)
  found = results.read(
    str(run_dir), ('forge',), STAGES, corpus_dir=str(elsewhere)
  )
  assert found.composition is not None
  assert 'corpus/config.gin' in found.configs


def test_a_run_that_does_not_exist_is_named(tmp_path: pathlib.Path) -> None:
  with pytest.raises(errors.UserError, match='nowhere does not exist'):
    results.read(str(tmp_path / 'nowhere'), ('forge',), STAGES)
