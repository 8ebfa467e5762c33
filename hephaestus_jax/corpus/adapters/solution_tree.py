"""ToolBench: tool docs, a request, and the search tree of ways to answer it.

A depth-first search over thoughts and calls: where a way ends, the model is
told what it has tried and goes another. The Document tells the whole search in
its order, dead ends and errors included, and ends as the search does.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.adapters import dialog, entry, fields, messages

# A search has up to 200 queries; a record with more than this is none.
MAX_MESSAGES = 20_000
_NODES = {'Thought': 'thought', 'Action': 'action', 'Action Input': 'action'}


def answer(record: Any) -> messages.Segments:
  """An answer file: `answer_generation` and the `tree` that led to it.

  `train_messages` are beginnings of the dialog up to each reply; together with
  the tree's other branches they are the search. Left out: scores (Elo), flags,
  token counts, settings, and `compare_candidates`, which repeats nodes.

  Raises:
    entry.MalformedError: 'no_answer_generation', 'no_text',
      'too_many_messages', 'unknown_node', or a reason of `fields` and
      `messages.turns`.
  """
  made = fields.value(record, 'answer_generation', dict)
  tree = record.get('tree')
  root = tree.get('tree') if isinstance(tree, dict) else None
  # A search without branches has its nodes in a list, and no tree.
  is_node = isinstance(root, dict) and {'node_type', 'children'} & set(root)
  nodes = [root] if is_node else made.get('chain') or []
  if not isinstance(nodes, list):
    raise fields.wrong_kind('chain', nodes)
  walked = tuple(_walked(nodes))
  # The answer proper is the call of 'Finish'; words before it are thoughts.
  said = dialog.conversation(
    _dialog(made.get('train_messages') or []),
    lambda text: messages.segments('thought', text),
  )
  found = dialog.prologue(made) + tuple(_merged(said, walked))
  found = _asked(found, fields.optional_text(made, 'query'))
  final = fields.optional_text(made, 'final_answer')
  if not any(final in segment.text for segment in found):
    found += messages.segments('answer', final)
  return messages.told(found)


def _walked(roots: Sequence[Any]) -> Iterator[document.Segment]:
  """The nodes of trees as segments, each before its children."""
  waiting = list(reversed(roots))
  while waiting:
    node = waiting.pop()
    kind = fields.value(node, 'node_type', str)
    if kind not in _NODES:
      raise entry.MalformedError('unknown_node')
    yield from messages.segments(
      _NODES[kind], fields.optional_text(node, 'description')
    )
    observation = node.get('observation')
    if observation is not None and observation != '':
      yield from messages.segments('observation', fields.as_text(observation))
    children = node.get('children') or []
    if not isinstance(children, list):
      raise fields.wrong_kind('children', children)
    waiting += reversed(children)


def _dialog(beginnings: Any) -> list[messages.Turn]:
  """The messages of all beginnings of a dialog, each once, in their order.

  A later beginning may leave out what an earlier one has: that a way failed is
  told only to the reply that comes next.
  """
  whole: list[messages.Turn] = []
  if not isinstance(beginnings, list):
    raise fields.wrong_kind('train_messages', beginnings)
  count = 0
  for beginning in beginnings:
    turns = messages.turns(beginning)
    count += len(turns)
    if count > MAX_MESSAGES:
      raise entry.MalformedError('too_many_messages')
    at = 0
    for turn in turns:
      # A few messages may be missing in between, not whole stretches.
      ahead = whole[at : at + 8]
      if turn in ahead:
        at += ahead.index(turn) + 1
      else:
        whole.insert(at, turn)
        at += 1
  return whole


def _merged(
  said: Sequence[document.Segment], walked: Sequence[document.Segment]
) -> Iterator[document.Segment]:
  """The dialog with the branches that it left, where they were left.

  What is in both is told once. A message of the dialog alone (the request; what
  failed) comes just before the reply to it.
  """
  places: dict[document.Segment, list[int]] = {}
  for i in reversed(range(len(walked))):
    places.setdefault(walked[i], []).append(i)
  done = 0
  held: list[document.Segment] = []
  for segment in said:
    found = places.get(segment, [])
    while found and found[-1] < done:
      found.pop()
    if not found:
      held.append(segment)
      continue
    yield from walked[done : found[-1]]
    yield from held
    yield segment
    held = []
    done = found[-1] + 1
  yield from held
  yield from walked[done:]


def _asked(found: messages.Segments, query: str) -> messages.Segments:
  """The request after the documentation, where no message has it."""
  if any(query in segment.text for segment in found):
    return found
  docs = [s for s in found if s.role == 'documentation']
  rest = [s for s in found if s.role != 'documentation']
  return (*docs, *messages.segments('user', query), *rest)


def query(record: Any) -> messages.Segments:
  """An instruction file's record: the tools, the request, the right tools.

  >>> query({'api_list': [{'tool_name': 'Cats', 'api_name': 'Fact'}],
  ...        'query': 'Tell me about cats.',
  ...        'relevant APIs': [['Cats', 'Fact']], 'query_id': 7})
  (Segment(role='documentation',
           text='{"tool_name": "Cats", "api_name": "Fact"}'),
   Segment(role='user', text='Tell me about cats.'),
   Segment(role='answer', text='[["Cats", "Fact"]]'))
  """
  relevant = record.get('relevant APIs') if isinstance(record, dict) else None
  return (
    _each(fields.items(record, 'api_list'))
    + messages.segments('user', fields.text(record, 'query'))
    + messages.segments(
      'answer', fields.json_text(relevant) if relevant else ''
    )
  )


def tool(record: Any) -> messages.Segments:
  """A tool and its APIs: files of toolenv, or their responses; T-Eval's docs.

  Its host, price and popularity are left out.

  >>> tool({'name': 'Cats', 'tool_description': 'About cats.',
  ...       'api_list': [{'name': 'fact'}]})
  (Segment(role='documentation', text='Cats'),
   Segment(role='documentation', text='About cats.'),
   Segment(role='documentation', text='{"name": "fact"}'))
  """
  about = [
    fields.optional_text(record, name)
    for name in ('tool_name', 'name', 'title', 'tool_description')
  ]
  return messages.told(
    messages.segments('documentation', *about)
    + _each(fields.items(record, 'api_list'))
  )


def _each(described: Sequence[Any]) -> messages.Segments:
  return messages.segments(
    'documentation', *(fields.as_text(api) for api in described)
  )
