"""The page's sections about the corpus: what it is, and how it came to be."""

import html
from typing import Any

from hephaestus_jax.report import markup, plots, results, sources, tables

EXAMPLE_CHARACTERS = 900  # of a Document: what a screen shows
SEGMENT_CHARACTERS = 400  # of one of several segments: each gets its share
EXAMPLE_LINES = 16  # of a segment
CUTS_SHOWN = 30


def corpus(found: results.Results, drawings: dict[str, plots.Drawing]) -> str:
  """Figure 2 and Table 1 of the paper, from this run."""
  return (
    '<p>Tokens are counted in the cached rows, documents where the corpus '
    'was written.</p>'
    + markup.figure(
      drawings,
      'kinds_and_sources',
      'Training split: kinds inside, their sources outside (paper, figure 2a). '
      'Small sources have no label: the tables below have them all.',
      'wide',
    )
    + _formats(drawings)
    + markup.figure(
      drawings,
      'embedding_map',
      't-SNE of the vectors that retrieval compares by (figure 2d): seed data, '
      'what was retrieved for it, and general text.',
    )
    + '<h3>Beside the paper (table 1)</h3>'
    + markup.or_not_run(sources.beside_paper(found), 'Composition')
    + '<h3>Tokens</h3>'
    + markup.pair(
      markup.figure(
        drawings, 'tokens_by_kind', 'Training split, by kind of text.'
      ),
      markup.figure(
        drawings,
        'tokens_by_source',
        'Training split, by source, in the colour of its kind.',
      ),
    )
    + markup.or_not_run(tables.corpus(found), 'Cache')
    + '<h3>Documents</h3>'
    + markup.or_not_run(tables.composition(found), 'Composition')
  )


def source_table(found: results.Results) -> str:
  """Tables 9 and 10."""
  return (
    '<p>All that the catalogue knows (paper, tables 9 and 10), what this run '
    'built first. A source whose adapter was not tried on records that it '
    'publishes was written after its documentation.</p>'
    + markup.details('The table', sources.table(found))
  )


def _formats(drawings: dict[str, plots.Drawing]) -> str:
  """The pies, if any kind has more than one format."""
  if 'agent_formats' not in drawings:
    return ''
  return markup.figure(
    drawings,
    'agent_formats',
    'Tool documentation and trajectories by format (figures 2b and 2c).',
    'wide',
  )


def examples(found: results.Results) -> str:
  """Figure 6: a Document of each kind and format."""
  if found.examples is None:
    return markup.not_run('Examples')
  shown: dict[tuple[str, str], str] = {}
  for name, record in found.examples.items():
    kind = record['kind']
    key = (kind, sources.format_of(name, kind))
    if key not in shown:
      shown[key] = _example(record, *key)
  ordered = sorted(
    shown, key=lambda key: (list(plots.KIND_COLOURS).index(key[0]), key[1])
  )
  return (
    '<p>One Document of each kind and format, as the model sees it without the '
    'markers of its turns (figure 6); long segments are cut.</p>'
    + '<div class="pair">'
    + '\n'.join(f'<div>{shown[key]}</div>' for key in ordered)
    + '</div>'
  )


def _example(record: dict[str, Any], kind: str, format_label: str) -> str:
  """A Document's segments under their roles, at most a screen of them."""
  parts, left = [], EXAMPLE_CHARACTERS
  segments = list(zip(record['roles'], record['texts'], strict=True))
  most = SEGMENT_CHARACTERS if len(segments) > 1 else EXAMPLE_CHARACTERS
  for i, (role, text) in enumerate(segments):
    if left <= 0:
      parts.append(f'<i>… {len(segments) - i} more segments</i>')
      break
    lines = text.strip('\n')[: min(left, most)].split('\n')
    shown = '\n'.join(lines[:EXAMPLE_LINES])
    left -= len(shown)
    end = '' if shown == text.strip('\n') else ' …'
    parts.append(f'<b>{html.escape(role)}</b>\n{html.escape(shown)}{end}')
  colour = plots.KIND_COLOURS[kind]
  return (
    f'<h3 style="border-left: .5rem solid {colour}; padding-left: .5rem">'
    f'{kind}: {html.escape(format_label)}</h3>'
    f'<p class="faint"><code>{html.escape(record["id"])}</code>, '
    f'{html.escape(record["licence"])}</p>'
    f'<pre class="example">{chr(10).join(parts)}</pre>'
  )


def drops(found: results.Results) -> str:
  """What each step took in and let go."""
  return (
    '<p>Every document that a step took in either leaves it or is counted '
    'under a reason.</p>'
    + markup.or_not_run(tables.drops(found), 'Drop table')
    + markup.details('By source', tables.drops_by_source(found))
    + markup.details('Examples', tables.drop_examples(found))
  )


def classifier(found: results.Results) -> str:
  """Table 6, and what a person needs to judge the filter."""
  account = found.classifier
  if account is None:
    return markup.not_run('Classifier')
  learned = ' and '.join(
    f'{n:,} {label}' for label, n in account['training_documents'].items()
  )
  labels = [f'{name} ({label})' for name, label in account['labels'].items()]
  return (
    '<p>The filter that tells text about tools from general text. Where its '
    "labels are given by a document's source, and the paper's by an annotating "
    "model, ours is the easier task, and the paper's column an orientation "
    'only.</p>'
    + markup.pair(
      tables.classifier(found) or '',
      f'<p>Learned from {learned} documents and measured on '
      f'{account["test"]["documents"]:,} others{_held_out(account)}. '
      f'{_threshold(account)}</p>',
    )
    + _ngrams(account)
    + markup.details(
      'Documents nearest the threshold, for a person to look at',
      tables.documents(account.get('nearest', ())),
    )
    + markup.details(
      'Test documents that it is most wrong about',
      tables.documents(account.get('mistakes', ())),
    )
    + markup.details(
      'Sources that it learns from',
      f'<p>{html.escape(", ".join(labels))}</p>',
    )
  )


def _held_out(account: dict[str, Any]) -> str:
  """', of groups that it never saw' where whole groups were held out."""
  if account.get('held_out_by') == 'group':
    return ', of services, packages and books that it never saw'
  return ''


def _threshold(account: dict[str, Any]) -> str:
  """From which score on a document stays, and how much text that is."""
  filtered = html.escape(', '.join(account['filtered'])) or 'no source'
  kept = ''
  if account.get('scored'):
    share = 100 * account['kept'] / account['scored']
    kept = (
      f': {account["kept"]:,} of {account["scored"]:,} '
      f'{account["counted_in"]} ({share:.1f}&nbsp;%)'
    )
  return (
    f'A document of {filtered} stays from a score of '
    f'{account["threshold"]:.4f} on{kept}.'
  )


def _ngrams(account: dict[str, Any]) -> str:
  """The telling n-grams of both labels, side by side."""
  if 'ngrams' not in account:
    return ''
  parts = [
    f'<h3>Most telling for <i>{label}</i></h3>{tables.ngrams(rows)}'
    for label, rows in account['ngrams'].items()
  ]
  return markup.pair(*parts) + (
    '<p class="faint">In how many test documents of either label an n-gram '
    'stands; its weight: the log of the odds ratio, less what chance may '
    'account for; its score: what the classifier says of it alone (1: agent, '
    '0: general).</p>'
  )


def decontamination(found: results.Results) -> str:
  """What was looked for, what was cut, and what nobody looked for."""
  account = found.decontamination
  if account is None:
    return markup.not_run('Decontamination')
  missing = account.get('not_checked', ())
  cut = account.get('cut', ())
  shown = tables.cuts(cut[:CUTS_SHOWN])
  return (
    f'<p>A document is dropped when it shares a run of '
    f'{account["ngram"]} words with a benchmark, or holds the '
    'whole of a shorter string. Strings too short to mean anything, and runs '
    "that a benchmark's records share as their form, are not looked for.</p>"
    + (tables.decontamination(found) or '')
    + (
      f'<p class="not-run">Not checked, for want of their files: '
      f'{html.escape(", ".join(missing))}.</p>'
      if missing
      else ''
    )
    + markup.details(
      f'What was cut, and why: {min(len(cut), CUTS_SHOWN):,} of {len(cut):,} '
      'overlaps (all are in decontamination.json)',
      shown,
    )
  )
