"""The sources of a corpus beside the paper's: formats, counts, the tables.

What a source is (its title, format, the paper's tokens) is the catalogue's to
say, what was built the run's.
"""

import html
from collections import Counter
from collections.abc import Mapping
from typing import Any

from hephaestus_jax.corpus import catalogue, source
from hephaestus_jax.report import published, results, tables

# The kinds that the paper calls agent data.
AGENT_KINDS = ('documentation', 'trajectory')
# Sources that are read from packages have no label of the paper's: a page, a
# conversation with its environment, a file, a request with its call.
PACKAGE_FORMATS = {
  'documentation': 'Plain Text',
  'trajectory': 'Dialog',
  'code': 'Code',
  'text': 'Plain Text',
  'instruction': 'QA',
}


def format_of(name: str, kind: str) -> str:
  """The paper's label of a source's format, or its kind's.

  >>> format_of('toolbench', 'trajectory'), format_of('mine', 'code')
  ('Dialog', 'Code')
  """
  for found in catalogue.SOURCES:
    if found.name == name and isinstance(found, source.DataSet):
      return found.format
  return PACKAGE_FORMATS[kind]


def sizes(found: results.Results) -> tuple[dict[str, int], str]:
  """(size of each source's training split, 'tokens' or 'characters').

  Tokens where the corpus is cached. A source that no Task takes is then left
  out, as it is from training.
  """
  tokens = results.tokens_by_source(found)
  if tokens is not None:
    return tokens, 'tokens'
  return {
    row['source']: row['characters']
    for row in found.composition or ()
    if row['split'] == results.TRAIN_SPLIT and row['characters']
  }, 'characters'


def kinds(found: results.Results) -> dict[str, str]:
  """The kind of each source that was built or cached."""
  of_tasks = {
    results.source_of(task): kind
    for task, kind in results.kind_of_tasks(found).items()
  }
  built = {row['source']: row['kind'] for row in found.composition or ()}
  return {**of_tasks, **built}


def sizes_by_format(found: results.Results) -> dict[str, dict[str, int]]:
  """The agent data by kind and format: {'trajectory': {'Dialog': 900}}."""
  kind_of = kinds(found)
  by_kind: dict[str, Counter[str]] = {}
  for name, size in sizes(found)[0].items():
    kind = kind_of[name]
    if kind in AGENT_KINDS and size:
      by_kind.setdefault(kind, Counter())[format_of(name, kind)] += size
  return {
    kind: dict(by_kind[kind].most_common())
    for kind in AGENT_KINDS
    if kind in by_kind
  }


def beside_paper(found: results.Results) -> str | None:
  """Table 1: the corpus as a whole, beside the paper's."""
  if found.composition is None:
    return None
  tokens = results.tokens_by_kind(found)
  rows = [
    [name, paper, ours]
    for (name, paper), ours in zip(
      published.paper()['composition']['values'].items(),
      _ours(found, tokens),
      strict=True,
    )
  ]
  return tables.table(['', 'paper', 'this run'], rows)


def _ours(found: results.Results, tokens: dict[str, int] | None) -> list[Any]:
  """This run's cells of table 1, in the order of paper.yaml."""
  documents: Counter[str] = Counter()
  retrieved = False
  for row in found.composition or ():
    documents[row['kind']] += row['documents']
    retrieved |= row['source'] == 'retrieve'
  share = ratio = None
  if tokens:
    agent = sum(tokens.get(kind, 0) for kind in AGENT_KINDS)
    share = f'{100 * agent / sum(tokens.values()):.0f} %'
    text, code = tokens.get('text', 0), tokens.get('code', 0)
    if agent:
      ratio = f'1 : {text / agent:.2f} : {code / agent:.2f}'
  by_source = results.tokens_by_source(found) or {}
  named = {row['source'] for row in found.composition or ()}
  return [
    tokens and sum(tokens.values()),
    by_source.get('retrieve') if retrieved else 'none in this corpus',
    share,
    ratio,
    documents['documentation'],
    len(named),
    documents['instruction'],
  ]


def table(found: results.Results) -> str:
  """Tables 9 and 10: all of the catalogue, and what this run has of it.

  The run's own sources first; then what it doesn't have.
  """
  tokens = results.tokens_by_source(found) or {}
  documents: Counter[str] = Counter()
  built: dict[str, Mapping[str, Any]] = {}
  for row in found.composition or ():
    documents[row['source']] += row['documents']
    built[row['source']] = row
  rows = []
  known = {entry.name: entry for entry in catalogue.SOURCES}
  names = [*(n for n in built if n not in known), *known]
  for name in sorted(names, key=lambda name: name not in built):
    rows.append(
      [
        *_identity(name, known.get(name), built.get(name)),
        documents.get(name) if name in built else None,
        tokens.get(name),
      ]
    )
  head = [
    *('source', 'kind', 'format', 'licence', 'tried on real records'),
    *('paper, B tokens', 'documents', 'training tokens'),
  ]
  return tables.table(head, rows)


def _identity(
  name: str,
  known: source.Source | None,
  built: Mapping[str, Any] | None,
) -> list[Any]:
  """The cells that say what a source is."""
  kind = known.kind if known else (built or {})['kind']
  licence = known.licence if known else (built or {})['licence']
  if isinstance(known, source.DataSet):
    title = f'{html.escape(known.title)} <span class="faint">{name}</span>'
    tried = 'yes' if known.verified else 'no'
    paper = None if known.tokens_billion is None else known.tokens_billion
  else:
    title, tried, paper = html.escape(name), 'yes', None
  return [
    tables.Markup(title),
    kind,
    tables.Markup(f'<span class="reason">{format_of(name, kind)}</span>'),
    licence,
    tried,
    paper,
  ]
