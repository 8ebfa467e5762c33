"""Labels for the learned filter (paper, section 4.3 and appendix H.2).

A model says of each document whether it is about tools (Agent) or not
(General), after two examples of the one and one of the other; `classify` learns
from what it said.

<output_dir>/labels.jsonl   {"id": ..., "text": ..., "label": "agent"} a line
<output_dir>/drops.json     {"records": 3, "documents": 2, "drops": {...}}
<output_dir>/account.json   questions, tokens, dollars
"""

import collections
import json
import pathlib
import re
from typing import Any

import tqdm

from hephaestus_jax import artefacts, errors, language_model
from hephaestus_jax.corpus import document, lines, stored
from hephaestus_jax.corpus.filters import classify

# Appendix H.2's layout; the instruction and the examples are ours.
PROMPT = """\
Sort the text into one of two categories.
Agent: it documents a tool, an API, a command or a device's functions so that \
someone could use it, or it shows the steps or actions that somebody takes to \
reach a goal.
General: everything else.
Answer with the category's name alone. Where you are unsure, answer General.

[TEXT]
**weather.forecast(city, days=3)** Returns the forecast for a city. \
Parameters: city (string): its name. days (integer, optional): how many days \
ahead, at most ten. Returns a high and a low in degrees Celsius for each day.
[CATEGORY]
Agent

[TEXT]
Task: put a clean cup on the shelf. Step 1: open the cupboard. The cupboard is \
open; in it is a cup. Step 2: take the cup. Step 3: wash the cup in the sink. \
Step 4: put the cup on the shelf. Done.
[CATEGORY]
Agent

[TEXT]
The old harbour fell silent after the fish moved north. By 1931 only two of \
its nine inns were still open, and the church had sold its second bell.
[CATEGORY]
General

[TEXT]
{text}
[CATEGORY]
"""


def annotate(
  *,
  documents: str,
  endpoint: language_model.Endpoint,
  output_dir: str,
  characters: int = 4_000,
) -> dict[str, Any]:
  """Has a model label Documents as Agent or General.

  Args:
    documents: folder of Documents (`stored`).
    endpoint: the model.
    output_dir: where the labels go.
    characters: only the beginning of a text is shown, and written.

  Returns:
    {'reused': whether it was all there, 'account': {...}, 'labels': {'agent':
     1, 'general': 1}, 'records': 3, 'documents': 2, 'drops': {'no_label': 1}}

  Raises:
    errors.UserError: `documents` is no such folder, or as `Client.ask` says.
  """
  if characters < 1:
    raise errors.UserError(
      f'annotate.characters = {characters} leaves nothing to label.'
    )
  origin = pathlib.Path(documents)
  folder = pathlib.Path(output_dir)
  inputs = {
    'documents': stored.identity(origin, document.KINDS),
    'endpoint': endpoint.identity(),
    'prompt': artefacts.fingerprint(PROMPT),
    'characters': characters,
  }
  reused = artefacts.reusable(folder, inputs)
  if reused:
    print(f'reused {folder}')
  else:
    with (
      language_model.Client(endpoint) as client,
      artefacts.written(folder, inputs) as target,
    ):
      _write_labels(origin, client, characters, target)
  account = json.loads((folder / 'account.json').read_text())
  counts = json.loads((folder / lines.DROPS).read_text())
  print(
    f'{counts["documents"]:,} of {counts["records"]:,} documents labelled '
    f'{counts["labels"]} for ${account["dollars"]:.4f}; '
    f'dropped: {counts["drops"]}'
  )
  return {'reused': reused, 'account': account, **counts}


def _write_labels(
  origin: pathlib.Path,
  client: language_model.Client,
  characters: int,
  target: pathlib.Path,
) -> None:
  labels: collections.Counter[str] = collections.Counter()
  drops: collections.Counter[str] = collections.Counter()
  records = tqdm.tqdm(stored.read(origin, document.KINDS), desc='annotate')
  with (target / 'labels.jsonl').open('w', encoding='utf-8') as file:
    for record, reply in client.ask_all(
      (record, question(record, characters)) for record in records
    ):
      if isinstance(record, document.Drop):
        drops[record.reason] += 1
        continue
      label = read_label(reply.text) if reply else ''
      if not label:
        failure = reply.failure or 'no_label' if reply else 'empty_text'
        drops[failure] += 1
        continue
      labels[label] += 1
      text = record.text[:characters]
      line = {'id': record.id, 'text': text, 'label': label}
      file.write(json.dumps(line, ensure_ascii=False) + '\n')
  artefacts.write_json(target / 'account.json', client.account())
  artefacts.write_json(
    target / lines.DROPS,
    {
      'records': labels.total() + drops.total(),
      'documents': labels.total(),
      'labels': dict(sorted(labels.items())),
      'drops': dict(sorted(drops.items())),
    },
  )


def question(
  record: document.Document | document.Drop, characters: int
) -> language_model.Question | None:
  """What the model is asked; None where there is nothing to ask."""
  if isinstance(record, document.Drop) or not record.text.strip():
    return None
  said = PROMPT.format(text=record.text[:characters].strip())
  return language_model.Question(({'role': 'user', 'content': said},))


def read_label(answer: str) -> str:
  """The one label that the first line of an answer holds, else ''.

  >>> read_label('[CATEGORY] **Agent**\\nIt documents a command.')
  'agent'
  >>> read_label('Agent or General')
  ''
  """
  first = answer.strip().partition('\n')[0].lower()
  words = [word for word in re.findall('[a-z]+', first) if word != 'category']
  return words[0] if len(words) == 1 and words[0] in classify.LABELS else ''
