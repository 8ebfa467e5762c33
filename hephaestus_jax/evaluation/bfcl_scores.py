"""BFCL's categories, and the columns of its tables and the paper's.

A column is None where a category of it was left out: of a part there is no
score of the whole. Of a subset of a category the accuracy stands for all of it.
"""

import collections
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Category -> how many entries the release that is pinned has.
SINGLE_TURN: Mapping[str, int] = {
  'simple_python': 400,
  'simple_java': 100,
  'simple_javascript': 50,
  'multiple': 200,
  'parallel': 200,
  'parallel_multiple': 200,
  'irrelevance': 240,
  'live_simple': 258,
  'live_multiple': 1053,
  'live_parallel': 16,
  'live_parallel_multiple': 24,
  'live_irrelevance': 884,
  'live_relevance': 16,
}
MULTI_TURN: Mapping[str, int] = {
  'multi_turn_base': 200,
  'multi_turn_miss_func': 200,
  'multi_turn_miss_param': 200,
  'multi_turn_long_context': 200,
}
# Of the releases before: calls that are made and judged by what they return.
EXECUTABLE: Mapping[str, int] = {
  'exec_simple': 100,
  'exec_multiple': 50,
  'exec_parallel': 50,
  'exec_parallel_multiple': 40,
  'rest': 70,
}
SIZES: Mapping[str, int] = {**SINGLE_TURN, **MULTI_TURN, **EXECUTABLE}
# What can be asked. `rest` calls servers, whose answers are long outdated.
CATEGORIES = tuple(name for name in SIZES if name != 'rest')
SIMPLE = ('simple_python', 'simple_java', 'simple_javascript')
OTHER = ('multiple', 'parallel', 'parallel_multiple')
LIVE_AST = (
  'live_simple',
  'live_multiple',
  'live_parallel',
  'live_parallel_multiple',
)
LIVE = (*LIVE_AST, 'live_irrelevance', 'live_relevance')


def count(records: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
  """Per category {'n', 'correct', 'accuracy', 'size', 'errors': {reason: n}}.

  `size` is how many entries the category has altogether.
  """
  table: dict[str, dict[str, Any]] = {}
  for record in records:
    category = record['category']
    row = table.setdefault(
      category,
      {
        'n': 0,
        'correct': 0,
        'size': SIZES[category],
        'errors': collections.Counter(),
      },
    )
    row['n'] += 1
    row['correct'] += record['valid']
    if not record['valid']:
      row['errors'][record['reason']] += 1
  for row in table.values():
    row['accuracy'] = row['correct'] / row['n']
    row['errors'] = dict(sorted(row['errors'].items()))
  return table


def mean(*values: float | None) -> float | None:
  """The mean; None where a value is missing.

  >>> mean(0.5, 1.0), mean(0.5, None)
  (0.75, None)
  """
  known = [value for value in values if value is not None]
  return sum(known) / len(values) if len(known) == len(values) else None


def by_size(
  accuracies: Mapping[str, float], names: Sequence[str]
) -> float | None:
  """The mean over the entries of several categories.

  >>> by_size({'irrelevance': 0.5, 'live_relevance': 1.0},
  ...         ['irrelevance', 'live_relevance'])
  0.53125
  """
  if any(name not in accuracies for name in names):
    return None
  total = sum(accuracies[name] * SIZES[name] for name in names)
  return total / sum(SIZES[name] for name in names)


def summarise(
  categories: Mapping[str, Mapping[str, Any]],
) -> dict[str, float | None]:
  """The columns.

  >>> columns = summarise({name: {'accuracy': 0.5} for name in SINGLE_TURN})
  >>> columns['non_live_ast'], columns['v3_live'], columns['v3_overall']
  (0.5, 0.5, None)

  The official table's of this release:

    simple         mean of Python, Java and JavaScript
    non_live_ast   mean of simple, multiple, parallel and parallel_multiple
    live_ast       mean over the entries of the four live ones
    irrelevance    mean of both
    relevance      the live one
    multi_turn     mean of the four

  The paper's (tables 2 and 7), by the official code of the time:

    v3_overall       mean of v3_non_live, v3_live and multi_turn: its v3 OA
    v3_non_live      mean of simple, multiple, parallel, parallel_multiple, the
                     same four of executable questions, and irrelevance
    v3_exec          mean of the executable four: its v3 Exec; simple is the
                     mean of exec_simple and rest
    v3_live          mean over the entries of all six live ones: its v3 L-AST,
                     as its base models show, which have 4.3 % of NL-AST and
                     39.1 % of this, which they get for calling nothing
    v2_simple        mean over the entries of Python, Java and JavaScript
    v2_ast           as non_live_ast, of v2_simple: its v2 AST OA
    v2_exec_simple   mean over the entries of exec_simple and rest
    v2_exec          as v3_exec, of v2_exec_simple: its v2 Exec OA
    v2_overall       mean of v2_ast, v2_exec and irrelevance: its v2 OA. It
                     prints no formula; by this one each of its rows leaves
                     irrelevance between 0 and 100 %, which the mean of nine
                     categories does not

  Of executable questions `rest` and some of the others ask servers, so that
  the columns which count it stay None. What can be run is in one of ours:

    exec_offline     mean of the executable four without rest, over those of
                     their questions that ask no server
  """
  known = {name: row['accuracy'] for name, row in categories.items()}
  simple = mean(*map(known.get, SIMPLE))
  others = [known.get(name) for name in OTHER]
  executed = [known.get(f'exec_{name}') for name in OTHER]
  exec_simple = mean(known.get('exec_simple'), known.get('rest'))
  irrelevance = known.get('irrelevance')
  multi_turn = mean(*map(known.get, MULTI_TURN))
  live = by_size(known, LIVE)
  non_live = mean(simple, *others, exec_simple, *executed, irrelevance)
  v2_simple = by_size(known, SIMPLE)
  v2_ast = mean(v2_simple, *others)
  v2_exec_simple = by_size(known, ('exec_simple', 'rest'))
  v2_exec = mean(v2_exec_simple, *executed)
  return {
    'simple': simple,
    'non_live_ast': mean(simple, *others),
    'live_ast': by_size(known, LIVE_AST),
    'irrelevance': mean(irrelevance, known.get('live_irrelevance')),
    'relevance': known.get('live_relevance'),
    'multi_turn': multi_turn,
    'exec_offline': mean(known.get('exec_simple'), *executed),
    'v3_overall': mean(non_live, live, multi_turn),
    'v3_non_live': non_live,
    'v3_exec': mean(exec_simple, *executed),
    'v3_live': live,
    'v2_simple': v2_simple,
    'v2_ast': v2_ast,
    'v2_exec_simple': v2_exec_simple,
    'v2_exec': v2_exec,
    'v2_overall': mean(v2_ast, v2_exec, irrelevance),
  }
