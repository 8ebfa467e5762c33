"""Questions and answers, requests and what answers them, in columns.

A new data set of this family is `pair`, which goes by the columns' names.
"""

import re
from typing import Any

from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.adapters import (
  columns,
  entry,
  fields,
  messages,
  react,
)

# --- Data sets of unknown columns


def pair(record: Any) -> messages.Segments:
  """A forum's question and answer, by the names of its columns.

  >>> pair({'Id': 3, 'Title': 'Read a CSV?', 'Body': 'How do I?',
  ...       'Answer': 'Use csv.reader.'})
  (Segment(role='user', text='Read a CSV?'),
   Segment(role='user', text='How do I?'),
   Segment(role='answer', text='Use csv.reader.'))
  """
  return columns.by_name(
    record, body='user', question_body='user', answer_body='answer'
  )


def any_layout(record: Any) -> messages.Segments:
  """A row of messages, of one text that holds a whole chat, or of columns.

  For data sets whose columns nobody has seen: it takes the layout that is
  there, a model's Thought and Action apart where it writes them.

  Raises:
    entry.MalformedError: a reason of `messages.turns` or `columns.by_name`.
  """
  if not isinstance(record, dict):
    raise fields.wrong_kind('record', record)
  if any(record.get(name) for name in messages.COLUMNS):
    return react.episode(record)
  for name in ('text', 'content', 'prompt'):
    text = record.get(name)
    if isinstance(text, str) and messages.is_marked(text):
      return messages.told(react.replies(messages.turns(text)))
  return columns.by_name(record)


# --- One source each


def xlam(record: Any) -> messages.Segments:
  """xLAM: tools and calls are JSON texts; no call answers some requests.

  >>> xlam({'id': 1, 'query': 'Add 1 and 2.', 'tools': '[{"name": "add"}]',
  ...       'answers': '[{"name": "add", "arguments": {"a": 1, "b": 2}}]'})
  (Segment(role='documentation', text='[{"name": "add"}]'),
   Segment(role='user', text='Add 1 and 2.'),
   Segment(role='action',
           text='[{"name": "add", "arguments": {"a": 1, "b": 2}}]'))
  """
  query = fields.text(record, 'query')
  tools, answers = (_json_column(record, name) for name in ('tools', 'answers'))
  return (
    messages.segments('documentation', tools)
    + messages.segments('user', query)
    + messages.segments('action', answers)
  )


def _json_column(record: dict[str, Any], name: str) -> str:
  """JSON text, or the value where a copy of the set has it parsed."""
  if record.get(name) is None:
    raise entry.MalformedError(f'no_{name}')
  return fields.as_text(record[name])


def wiki_qa(record: Any) -> messages.Segments:
  """WikiQA: a sentence of an article, which answers the question or doesn't.

  Both spellings: Microsoft's ('Question', 'Label') and the hub's ('question',
  'label'). The test file has no labels: its sentences are text.

  >>> wiki_qa({'Question': 'how high is k2', 'DocumentTitle': 'K2',
  ...          'Sentence': 'It is 8,611 m high.', 'Label': '1'})
  (Segment(role='user', text='how high is k2'),
   Segment(role='text', text='K2'),
   Segment(role='answer', text='It is 8,611 m high.'))
  """
  hub = isinstance(record, dict) and 'question' in record
  names = (
    ('question', 'document_title', 'answer', 'label')
    if hub
    else ('Question', 'DocumentTitle', 'Sentence', 'Label')
  )
  question, title, sentence = (fields.text(record, n) for n in names[:3])
  answers = str(record.get(names[3])) == '1'
  return (
    messages.segments('user', question)
    + messages.segments('text', title)
    + messages.segments('answer' if answers else 'text', sentence)
  )


def hotpot_qa(record: Any) -> messages.Segments:
  """HotpotQA: paragraphs to read, a question, its answer.

  The full files have `context` ([title, sentences] each; the hub's rows a
  struct of two lists), the simplified ones none, and tests no answer.
  Supporting facts are titles and numbers of the context's sentences.
  """
  found: list[document.Segment] = []
  context = record.get('context') if isinstance(record, dict) else None
  if isinstance(context, dict):
    titles = fields.items(context, 'title')
    bodies = fields.items(context, 'sentences')
    if len(titles) != len(bodies):
      raise entry.MalformedError('columns_differ')
    context = [list(pair) for pair in zip(titles, bodies, strict=True)]
  if not isinstance(context, list | None):
    raise fields.wrong_kind('context', context)
  for paragraph in context or ():
    match paragraph:
      case [str(title), [*sentences]]:
        if not all(isinstance(sentence, str) for sentence in sentences):
          raise entry.MalformedError('sentence_is_no_text')
        found += messages.segments('text', title, *sentences)
      case _:
        raise entry.MalformedError('malformed_context')
  found += messages.segments('user', fields.text(record, 'question'))
  found += messages.segments('answer', fields.optional_text(record, 'answer'))
  return tuple(found)


def strategy_qa(record: Any) -> messages.Segments:
  """StrategyQA (NAT's questions): facts, sub-questions, yes or no.

  >>> strategy_qa({'qid': '7', 'question': 'Can a cat read?', 'answer': False,
  ...              'facts': ['Cats are animals.'],
  ...              'decomposition': ['What is a cat?']})
  (Segment(role='user', text='Can a cat read?'),
   Segment(role='text', text='Cats are animals.'),
   Segment(role='thought', text='What is a cat?'),
   Segment(role='answer', text='false'))
  """
  found = messages.segments(
    'text',
    fields.optional_text(record, 'term'),
    fields.optional_text(record, 'description'),
  )
  found += messages.segments('user', fields.text(record, 'question'))
  for name, role in (('facts', 'text'), ('decomposition', 'thought')):
    texts = record.get(name) or []
    if not isinstance(texts, list):
      raise fields.wrong_kind(name, texts)
    found += messages.segments(role, *(fields.as_text(t) for t in texts))
  # `evidence` numbers paragraphs of Wikipedia, which the file does not have.
  answer = record.get('answer')
  if answer is None:
    return found
  return found + messages.segments('answer', fields.as_text(answer))


# --- UltraInteract

_STEP = re.compile(r'^Step 1:', re.MULTILINE)
_TURN = re.compile(
  r'^(?:(?P<code>```)|(?P<thought>Step \d{1,4}:)|(?P<answer>Answer:)'
  r'|(?P<observation>Observation:))',
  re.MULTILINE,
)


def ultra_interact(record: Any) -> messages.Segments:
  """UltraInteract: steps in words, blocks of code that run, an answer.

  Later turns' instructions tell the earlier ones: what follows a block there
  is what it printed.
  """
  instruction = fields.text(record, 'instruction')
  response = fields.text(record, 'response')
  step = _STEP.search(instruction)
  start = step.start() if step else len(instruction)
  return (
    _request(instruction[:start])
    + _turns(instruction[start:], after_code='observation')
    + _turns(response, after_code='thought')
  )


def _request(text: str) -> messages.Segments:
  """'Tool available: ...' documents; from the line 'Solve ...' on, it asks."""
  task = re.search(r'^Solve ', text, re.MULTILINE)
  start = task.start() if task and text.startswith('Tool available') else 0
  return messages.segments(
    'documentation', text[:start].strip()
  ) + messages.segments('user', text[start:].strip())


def _turns(text: str, after_code: str) -> messages.Segments:
  """Steps, code, what it printed, the answer: each from its mark on."""
  cuts = [(0, 'thought')]
  inside = False
  for mark in messages.bounded(_TURN.finditer(text)):
    if mark['code']:
      end = mark.end()
      cuts.append((end, after_code) if inside else (mark.start(), 'action'))
      inside = not inside
    elif not inside:
      cuts.append((mark.start(), mark.lastgroup or 'thought'))
  return messages.pieces(text, cuts)
