"""BFCL's published answers, as a model would have to write them."""

import ast
import functools
import json

from hephaestus_jax import chat
from hephaestus_jax.corpus import document
from hephaestus_jax.evaluation import bfcl_answers, bfcl_scores

CHECKED = [c for c in bfcl_scores.SINGLE_TURN if 'relevance' not in c]
SEVERAL = list(bfcl_scores.MULTI_TURN)


@functools.cache
def lines(folder, name):
  path = folder / 'bfcl_eval' / 'data' / name
  return [json.loads(line) for line in path.read_text().splitlines()]


@functools.cache
def references(folder, category):
  """{id: ({function name: description}, accepted calls)}, as published."""
  name = f'BFCL_v4_{category}.json'
  return {
    question['id']: (
      {function['name']: function for function in question['function']},
      answer['ground_truth'],
    )
    for question, answer in zip(
      lines(folder, name), lines(folder, f'possible_answer/{name}'), strict=True
    )
  }


def calls(folder, entry):
  """The first accepted answer: [(name, arguments)]."""
  functions, accepted_calls = references(folder, entry['category'])[entry['id']]
  found = []
  for call in accepted_calls:
    ((name, accepted),) = call.items()
    parameters = functions[name]['parameters']
    arguments = {}
    for parameter, values in accepted.items():
      # '' says that it may be left out.
      if '' in values and parameter not in parameters['required']:
        continue
      value = first_of_each(next((v for v in values if v != ''), ''))
      if entry['category'] == 'simple_java':
        value = java(value, parameters['properties'][parameter])
      elif entry['category'] == 'simple_javascript':
        value = javascript(value, parameters['properties'][parameter])
      arguments[parameter] = value
    found.append((name, arguments))
  return found


def first_of_each(value):
  """In an object of the answer, too, every value is a list of accepted ones."""
  if isinstance(value, list):
    return [first_of_each(item) for item in value]
  if isinstance(value, dict):
    return {key: item[0] for key, item in value.items() if '' not in item}
  return value


def java(value, schema):
  kind = schema['type']
  if isinstance(value, bool):
    return str(value).lower()
  if isinstance(value, str):
    return value
  if isinstance(value, list):
    inside = schema['items']
    items = ', '.join(
      f'"{item}"'
      if kind == 'ArrayList' and inside['type'] == 'String'
      else java(item, inside)
      for item in value
    )
    if kind == 'ArrayList':
      return f'new ArrayList<Object>(Arrays.asList({items}))'
    return f'new Object[]{{{items}}}'
  if isinstance(value, dict):
    puts = ' '.join(
      f'put("{key}", {json.dumps(item)});' for key, item in value.items()
    )
    return f'new HashMap<String, Object>() {{{{ {puts} }}}}'
  return str(value) + {'long': 'L', 'float': 'f'}.get(kind, '')


def javascript(value, schema):
  if isinstance(value, str):
    return value
  return json.dumps(value) + ('n' if schema['type'] == 'Bigint' else '')


def prompted(found):
  """Calls as BFCL's own text asks for them.

  >>> prompted([('area', {'base': 10})])
  '[area(base=10)]'
  """
  return '[' + ', '.join(python(*call) for call in found) + ']'


def python(name, arguments):
  given = ', '.join(f'{key}={value!r}' for key, value in arguments.items())
  return f'{name}({given})'


# Formats whose templates make one call a turn, and what their readers, like
# BFCL's own, take to stand between several.
BETWEEN_CALLS = {'llama3': '; ', 'react': '\n'}


def written(entry, found, chat_format):
  """Calls as a model of a format writes them, by the format itself."""
  asked = bfcl_answers.opening(entry)
  before = chat.generation_prompt(asked, chat_format)
  each = [document.Segment('action', chat.call_text(*call)) for call in found]
  alone = chat_format in BETWEEN_CALLS
  texts = []
  for answer in [[action] for action in each] if alone else [each]:
    spans = chat.render([*asked, *answer], chat_format)
    text = ''.join(span.text for span in spans)
    prompt = ''.join(span.text for span in before)
    assert text.startswith(prompt)
    texts.append(text[len(prompt) :])
  if not alone:
    return texts[0]
  for stop in chat.stops(chat_format):
    texts = [text.removesuffix(stop) for text in texts]
  return BETWEEN_CALLS[chat_format].join(texts)


def answered(text, entry, chat_format, finish='stop'):
  answer = bfcl_answers.Answer(text, finish)
  result, _ = bfcl_answers.read(
    answer, entry['category'], entry['asking'], chat_format
  )
  return bfcl_answers.Said(result, ((answer,),))


def truth(folder, entry):
  """The published calls of a question of several turns: by turns."""
  name = f'possible_answer/BFCL_v4_{entry["category"]}.json'
  (answer,) = (
    line for line in lines(folder, name) if line['id'] == entry['id']
  )
  documents = {
    function['name']: function
    for file in (folder / 'bfcl_eval/data/multi_turn_func_doc').iterdir()
    for function in lines(folder, f'multi_turn_func_doc/{file.name}')
  }
  return [
    [by_name(call, documents) for call in turn]
    for turn in answer['ground_truth']
  ]


def by_name(call, documents):
  """A call of Python's as name and arguments: official readers know no others.

  >>> by_name("sort('a.txt')", documents)
  ('sort', {'file_name': 'a.txt'})
  """
  node = ast.parse(call, mode='eval').body
  name = node.func.id
  names = list(documents[name]['parameters']['properties'])
  given = dict(zip(names, node.args, strict=False))
  given |= {keyword.arg: keyword.value for keyword in node.keywords}
  return name, {key: ast.literal_eval(value) for key, value in given.items()}


def played(turns, asking):
  """An episode of these calls: all of a turn at once, then words."""
  results, answers = [], []
  for calls in turns:
    call = prompted(calls)
    result = call if asking == 'prompting' else [{n: a} for n, a in calls]
    said = [result, 'Done.'] if calls else ['Done.']
    results.append(said)
    texts = [call, 'Done.'] if calls else ['Done.']
    answers.append(tuple(bfcl_answers.Answer(text) for text in texts))
  return bfcl_answers.Said(results, tuple(answers))


def executable(folder, category):
  """The lines of an executable category of the release before."""
  path = folder / 'bfcl' / 'data' / f'BFCL_v3_{category}.json'
  return [json.loads(line) for line in path.read_text().splitlines()]
