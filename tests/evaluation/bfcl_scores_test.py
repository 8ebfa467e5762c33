"""The columns, against numbers that were worked out by hand."""

import pytest

from hephaestus_jax.evaluation import bfcl_scores

# What a model that never calls anything gets.
SILENT = {name: 0.0 for name in bfcl_scores.SIZES} | {
  'irrelevance': 1.0,
  'live_irrelevance': 1.0,
}


def columns(accuracies):
  return bfcl_scores.summarise(
    {name: {'accuracy': value} for name, value in accuracies.items()}
  )


def test_the_columns_are_those_of_the_official_table():
  found = columns(
    dict(
      zip(
        bfcl_scores.SINGLE_TURN,
        [0.9, 0.6, 0.3, 0.8, 0.4, 0.2, 0.5, 1.0, 0.5, 0.0, 0.25, 0.7, 0.75],
        strict=True,
      )
    )
  )
  assert {
    name: value for name, value in found.items() if value is not None
  } == (
    pytest.approx(
      {
        'simple': 0.6,
        'non_live_ast': 0.5,
        'live_ast': (258 + 0.5 * 1053 + 0.25 * 24) / 1351,
        'irrelevance': 0.6,
        'relevance': 0.75,
        'v3_live': (258 + 526.5 + 6 + 0.7 * 884 + 0.75 * 16) / 2251,
        'v2_simple': (0.9 * 400 + 0.6 * 100 + 0.3 * 50) / 550,
        'v2_ast': ((360 + 60 + 15) / 550 + 0.8 + 0.4 + 0.2) / 4,
      }
    )
  )


def test_a_column_needs_all_of_its_categories():
  accuracies = dict.fromkeys(bfcl_scores.SINGLE_TURN, 0.5)
  del accuracies['simple_java']
  found = columns(accuracies)
  assert found['simple'] is found['non_live_ast'] is found['v2_ast'] is None
  assert found['live_ast'] == found['relevance'] == 0.5


def test_the_papers_columns_fit_its_own_rows():
  """Hephaestus-8B-IFT on BFCL-v2 (table 7 and its detail)."""
  found = columns(
    {
      **{'simple_python': 0.8175, 'simple_java': 0.45},
      **{'simple_javascript': 0.54, 'multiple': 0.795, 'parallel': 0.705},
      **{'parallel_multiple': 0.43, 'exec_simple': 0.95, 'rest': 50 / 70},
      **{'exec_multiple': 0.88, 'exec_parallel': 0.66},
      'exec_parallel_multiple': 0.4,
    }
  )
  assert round(100 * found['v2_simple'], 1) == 72.5
  assert round(100 * found['v2_ast'], 2) == 66.39
  assert round(100 * found['v2_exec_simple'], 1) == 85.3
  assert round(100 * found['v2_exec'], 2) == 69.82
  # Irrelevance, which the paper does not print, from its overall score.
  assert 0 < 3 * 70.78 - 66.39 - 69.82 < 100
  # Of its LLaMA-3-8B: not by the mean of nine categories.
  assert 0 < 3 * 17.77 - 0.94 - 0.40 < 100 < 9 * 17.77 - 4 * (0.94 + 0.40)


def test_a_model_that_calls_nothing_gets_what_the_papers_base_model_gets():
  found = columns(SILENT)
  # LLaMA-3-8B: L-AST 39.1 and NL-AST 4.3, MT 0, overall 17.73.
  assert round(100 * found['v3_live'], 1) == 39.3
  assert round(100 * found['v3_overall'], 1) == 16.8
  assert found['live_ast'] == found['non_live_ast'] == found['v3_exec'] == 0.0


def test_verdicts_are_counted():
  records = [
    {'category': 'multiple', 'valid': True, 'reason': ''},
    {'category': 'multiple', 'valid': False, 'reason': 'why'},
  ]
  assert bfcl_scores.count(records) == {
    'multiple': {
      'n': 2,
      'correct': 1,
      'accuracy': 0.5,
      'size': 200,
      'errors': {'why': 1},
    }
  }
