"""Code-to-text synthesis (paper, section 4.1 and appendix H.1).

A snippet of code shows how an API is used and doesn't say what it is: a model
writes the API's documentation, and the snippet becomes its usage example.

<output_dir>/documents-*.jsonl, drops.json   as `lines` says
<output_dir>/origins.jsonl                   where each Document came from:
                                             {"id", "origin", "apis", "model"}
<output_dir>/account.json                    questions, tokens, dollars
"""

import json
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import tqdm

from hephaestus_jax import artefacts, language_model, replies
from hephaestus_jax.corpus import document, lines, stored
from hephaestus_jax.corpus.adapters import entry
from hephaestus_jax.corpus.synthesise import api_calls

SOURCE = 'code_to_text'
NAMED = 8  # APIs of a snippet that the model is asked about

# Appendix H.1's layout, in our words.
PROMPT = """\
Write reference documentation for the API that the code below calls: what it \
is for, its parameters with types and defaults as far as the code or your \
knowledge of the library tells, what it returns, and what can go wrong. Use \
Markdown, begin with **API: dotted.name**, and take the code as the usage \
example without repeating it. Invent no parameter.

API: {apis}
Code:
{code}
API Documentation:
"""
_APOLOGIES = (
  *("i'm sorry", 'i am sorry', 'sorry,', 'i apologize', 'i cannot', "i can't"),
  *('i am unable', "i'm unable", 'as an ai', 'i will not', "i won't"),
)


def synthesise(
  *,
  code: str,
  endpoint: language_model.Endpoint,
  output_dir: str,
  max_code: int = 8_000,
  min_documentation: int = 200,
) -> dict[str, Any]:
  """Has a model document the APIs that snippets call.

  Args:
    code: folder of Documents (`stored`); snippets are of the kind 'code'.
    endpoint: the model.
    output_dir: where the Documents go.
    max_code: characters; a longer snippet is dropped.
    min_documentation: characters; a shorter answer is dropped.

  Returns:
    {'reused': whether it was all there, 'account': {...}, 'records': 3,
     'documents': 2, 'drops': {'refused': 1}}

  Raises:
    errors.UserError: `code` is no such folder, or as `Client.ask` says.
  """
  origin = pathlib.Path(code)
  folder = pathlib.Path(output_dir)
  inputs = {
    'code': stored.identity(origin, ['code']),
    'endpoint': endpoint.identity(),
    'prompt': artefacts.fingerprint(PROMPT),
    'max_code': max_code,
    'min_documentation': min_documentation,
  }
  reused = artefacts.reusable(folder, inputs)
  if reused:
    print(f'reused {folder}')
  else:
    with (
      language_model.Client(endpoint) as client,
      artefacts.written(folder, inputs) as target,
      (target / 'origins.jsonl').open('w') as origins,
    ):
      records = tqdm.tqdm(stored.read(origin, ['code']), desc='synthesise')
      answers = client.ask_all(_asked(record, max_code) for record in records)

      def documents() -> Iterator[document.Document | document.Drop]:
        for (record, apis), reply in answers:
          if isinstance(record, document.Drop) or reply is None:
            yield record
            continue
          found = judge(record, apis, reply, min_documentation)
          if isinstance(found, document.Document):
            told = {'id': found.id, 'origin': record.id, 'apis': apis}
            told |= {'model': endpoint.model}
            origins.write(json.dumps(told) + '\n')
          yield found

      lines.write(target, documents())
      artefacts.write_json(target / 'account.json', client.account())
  account = json.loads((folder / 'account.json').read_text())
  counts = json.loads((folder / lines.DROPS).read_text())
  print(
    f'{counts["documents"]:,} of {counts["records"]:,} snippets documented '
    f'for ${account["dollars"]:.4f}; dropped: {counts["drops"]}'
  )
  return {'reused': reused, 'account': account, **counts}


class _Snippet(NamedTuple):
  """A record of the folder: to be documented, or dropped already."""

  record: document.Document | document.Drop
  apis: tuple[str, ...] = ()


def _asked(
  record: document.Document | document.Drop, max_code: int
) -> tuple[_Snippet, language_model.Question | None]:
  if isinstance(record, document.Drop):
    return _Snippet(record), None
  try:
    apis = snippet_apis(record, max_code)
  except entry.MalformedError as error:
    drop = document.Drop(record.id, record.source, error.reason)
    return _Snippet(drop), None
  return _Snippet(record, apis), question(record, apis)


def snippet_apis(snippet: document.Document, max_code: int) -> tuple[str, ...]:
  """The APIs to ask about, the first NAMED.

  Raises:
    entry.MalformedError: 'not_code', 'code_too_long', 'no_api_call', or as
      `api_calls.find` says.
  """
  if snippet.kind != 'code':
    raise entry.MalformedError('not_code')
  if len(snippet.text) > max_code:
    raise entry.MalformedError('code_too_long')
  apis = api_calls.find(snippet.text)
  if not apis:
    raise entry.MalformedError('no_api_call')
  return apis[:NAMED]


def question(
  snippet: document.Document, apis: Iterable[str]
) -> language_model.Question:
  """What the model is asked about a snippet."""
  said = PROMPT.format(apis=', '.join(apis), code=snippet.text.strip('\n'))
  return language_model.Question(({'role': 'user', 'content': said},))


def judge(
  snippet: document.Document,
  apis: Iterable[str],
  reply: replies.Reply,
  min_documentation: int,
) -> document.Document | document.Drop:
  """The Document that an answer makes, or why it makes none.

  Its group is the snippet's, so that the held-out split keeps the two together.
  Reasons: replies.FAILURES, 'refused', 'truncated', 'empty_answer',
  'answer_too_short', 'names_no_api'.
  """
  name = (
    f'{SOURCE}/{snippet.group}/{snippet.source}.{snippet.id.split("/", 2)[2]}'
  )
  text = reply.text.strip()
  start = text[:40].lower().replace('\u2019', "'")
  reason = reply.failure
  if reason:
    pass
  elif reply.finish == 'length':
    reason = 'truncated'
  elif not text:
    reason = 'empty_answer'
  elif start.startswith(_APOLOGIES):
    reason = 'refused'
  elif len(text) < min_documentation:
    reason = 'answer_too_short'
  elif not any(api.rpartition('.')[2] in text for api in apis):
    reason = 'names_no_api'
  if reason:
    return document.Drop(name, SOURCE, reason)
  return document.Document(
    id=name,
    source=SOURCE,
    kind='documentation',
    licence=snippet.licence,
    url=snippet.url,
    segments=(
      document.Segment('documentation', text),
      document.Segment('code', snippet.text),
    ),
  )
