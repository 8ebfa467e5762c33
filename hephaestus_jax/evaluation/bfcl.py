"""Function calls on BFCL's single-turn questions, by BFCL's official checker.

    bfcl-eval (pip, into a folder of its own)
      |  bfcl_checker.py entries, in the sandbox
    entries: question and function documents
      |  chat.generation_prompt, generate.generate
    completions
      |  chat.parse
    calls, or the reason why there are none
      |  bfcl_checker.py check, in the sandbox
    verdicts -> accuracy per category

What a model wrote is data on the whole road; whatever is wrong with it ends as
a counted reason. The benchmark is never part of the corpus.
"""

import collections
import dataclasses
import hashlib
import json
import pathlib
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hephaestus_jax import (
  artefacts,
  chat,
  errors,
  model,
  sandbox,
  tokenizer,
)
from hephaestus_jax.corpus import document
from hephaestus_jax.decode import generate, prompts
from hephaestus_jax.evaluation import bfcl_checker

# Category -> how many entries the release that is pinned has.
SIZES: Mapping[str, int] = {
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
CATEGORIES = tuple(SIZES)
SIMPLE = ('simple_python', 'simple_java', 'simple_javascript')
MULTIPLE = ('multiple', 'parallel', 'parallel_multiple')
LIVE = (
  'live_simple',
  'live_multiple',
  'live_parallel',
  'live_parallel_multiple',
)
RELEVANCE = ('irrelevance', 'live_irrelevance', 'live_relevance')

# BFCL's type words -> JSON schema's; words that are in neither mean a string.
JSON_TYPES: Mapping[str, str] = {
  **{
    word: word
    for word in ('string', 'integer', 'number', 'boolean', 'array', 'object')
  },
  **dict.fromkeys(('byte', 'short', 'long', 'Bigint'), 'integer'),
  **dict.fromkeys(('float', 'double'), 'number'),
  **dict.fromkeys(('bool', 'Boolean'), 'boolean'),
  **dict.fromkeys(('list', 'tuple', 'Array', 'ArrayList', 'Set'), 'array'),
  **dict.fromkeys(('Queue', 'Stack'), 'array'),
  **dict.fromkeys(('dict', 'HashMap', 'Hashtable'), 'object'),
}
ROLE_OF_MESSAGE = {'system': 'system', 'user': 'user', 'assistant': 'answer'}

CHECKER = pathlib.Path(bfcl_checker.__file__)
DEEPEST = 32  # how deeply a call's arguments may nest; BFCL's own need 4
CHECK_SECONDS = 60  # for a batch of calls; thousands take one or two


@dataclasses.dataclass(frozen=True)
class Bfcl:
  """The benchmark, ready to measure a model.

  Attributes:
    tokenizer: path of the vocabulary, see `tokenizer.load`.
    folder: where bfcl-eval is, or where pip puts it the first time.
    requirements: the pinned file that pip installs.
    categories: some of CATEGORIES.
    per_category: how many entries of each, chosen by the hash of their id;
      None: all.
    max_new_tokens: length limit of a completion.
    max_prompt_tokens: entries with a longer prompt count as wrong.
    batch_size: prompts at once.
    isolation: see `sandbox.run`.
    chat_format: how the model reads and writes conversations: chat.FORMATS.
    name: what the results are called.
  """

  tokenizer: str
  folder: str = 'downloads/bfcl'
  requirements: str = 'requirements/bfcl.txt'
  categories: Sequence[str] = CATEGORIES
  per_category: int | None = None
  max_new_tokens: int = 256
  max_prompt_tokens: int = 4096
  batch_size: int = 16
  isolation: str = 'auto'
  chat_format: str = 'chatml'
  name: str = 'bfcl'

  def __post_init__(self) -> None:
    chat.of_name(self.chat_format)
    for category in self.categories:
      if category not in CATEGORIES:
        raise errors.UserError(
          f'bfcl.Bfcl.categories names {category!r}; there are '
          f'{", ".join(CATEGORIES)}.'
        )
    if self.per_category is not None and self.per_category < 1:
      raise errors.UserError(
        f'bfcl.Bfcl.per_category = {self.per_category} is below 1.'
      )

  def identity(self) -> dict[str, Any]:
    """What the result depends on besides the model."""
    requirements = _requirements_file(self.requirements)
    return {
      'bfcl': artefacts.file_fingerprint(requirements),
      'categories': list(self.categories),
      'per_category': self.per_category,
      'max_new_tokens': self.max_new_tokens,
      'max_prompt_tokens': self.max_prompt_tokens,
      'chat_format': self.chat_format,
      'tokenizer': tokenizer.load(self.tokenizer).fingerprint,
    }

  def __call__(
    self, config: model.Config, params: dict[str, Any]
  ) -> dict[str, Any]:
    """Asks a model all questions.

    Returns:
      {'categories': see `count`, 'summary': see `summarise`, 'completions':
      [{'id', 'category', 'completion', 'finish', 'calls', 'valid', 'reason',
      'message'}]}.

    Raises:
      errors.UserError: the vocabulary doesn't fit the model, pip can't install
        bfcl-eval, or the machine can't isolate its checker.
    """
    vocabulary = tokenizer.load(self.tokenizer)
    if vocabulary.vocab_size > config.vocab_size:
      raise errors.UserError(
        f'{self.tokenizer} has {vocabulary.vocab_size} tokens, and '
        f'model.Config.vocab_size = {config.vocab_size}. Use the vocabulary '
        'that the model was trained with.'
      )
    folder = install(self.requirements, self.folder)
    entries = read_entries(folder, self.categories, self.isolation)
    entries = subset(entries, self.per_category)
    stop_ids, _ = prompts.stops(vocabulary, self.chat_format)
    completions = generate.generate(
      config,
      params,
      encode_prompts(vocabulary, entries, self.chat_format),
      max_new_tokens=self.max_new_tokens,
      stop_ids=stop_ids,
      batch_size=self.batch_size,
      max_prompt_tokens=self.max_prompt_tokens,
      vocab_size=vocabulary.vocab_size,
      description=self.name,
    )
    answers = [
      Answer(vocabulary.decode(completion.tokens), completion.finish)
      for completion in completions
    ]
    records = judge(folder, entries, answers, self.isolation, self.chat_format)
    categories = count(records)
    return {
      'categories': categories,
      'summary': summarise(categories),
      'completions': records,
    }


def install(requirements: str, folder: str) -> pathlib.Path:
  """bfcl-eval in a folder of its own; pip runs only if it isn't there.

  Raises:
    errors.UserError: pip failed, or the folder holds other versions.
  """
  path = pathlib.Path(folder)
  file = _requirements_file(requirements)
  inputs = {'requirements': artefacts.file_fingerprint(file)}
  if artefacts.reusable(path, inputs):
    print(f'reused {path}')
    return path
  with artefacts.written(path, inputs) as target:
    command = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps']
    command += ['--require-hashes', '--disable-pip-version-check']
    command += ['--target', str(target), '-r', str(file)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
      raise errors.UserError(
        f'pip could not install {file} into {path}: '
        f'{result.stderr.strip().splitlines()[-1:]}. Check the network, and '
        'start again.'
      )
  return path


def _requirements_file(path: str) -> pathlib.Path:
  file = pathlib.Path(path)
  if not file.is_file():
    raise errors.UserError(
      f'There is no {path} (bfcl.Bfcl.requirements). Start from the folder '
      'that holds requirements/, or name the file.'
    )
  return file


def read_entries(
  folder: pathlib.Path, categories: Sequence[str], isolation: str
) -> list[dict[str, Any]]:
  """The entries of these categories, in the order of their files.

  Returns:
    [{'id', 'category', 'question': [{'role', 'content'}], 'functions':
    [{'name', 'description', 'parameters'}]}]. Java and JavaScript functions
    take their arguments as source text, and say so: that is how BFCL asks
    models that are given function documents.
  """
  result = _run_checker(folder, ['entries', *categories], b'', isolation)
  if result.returncode:
    raise _broken(folder, result)
  return [json.loads(line) for line in result.stdout.splitlines()]


def subset(
  entries: Sequence[dict[str, Any]], per_category: int | None
) -> list[dict[str, Any]]:
  """The same few entries on every machine: those whose ids hash lowest."""

  def rank(entry: Mapping[str, Any]) -> str:
    return hashlib.sha256(entry['id'].encode()).hexdigest()

  chosen: list[dict[str, Any]] = []
  for category in dict.fromkeys(entry['category'] for entry in entries):
    ours = [entry for entry in entries if entry['category'] == category]
    kept = {rank(entry) for entry in sorted(ours, key=rank)[:per_category]}
    chosen += [entry for entry in ours if rank(entry) in kept]
  return chosen


def encode_prompts(
  vocabulary: tokenizer.Tokenizer,
  entries: Sequence[Mapping[str, Any]],
  chat_format: str = 'chatml',
) -> list[list[int]]:
  """The tokens of each prompt, opened like a document of the corpus."""
  return prompts.tokens(vocabulary, [*map(segments, entries)], chat_format)


def segments(entry: Mapping[str, Any]) -> list[document.Segment]:
  """What is said before the answer: the functions, then the conversation."""
  tools = [
    {**tool, 'parameters': json_schema(tool['parameters'])}
    for tool in entry['functions']
  ]
  return [
    document.Segment('system', chat.system_prompt(tools)),
    *(
      document.Segment(ROLE_OF_MESSAGE[message['role']], message['content'])
      for message in entry['question']
    ),
  ]


def json_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
  """BFCL's description of a parameter, with JSON schema's type words.

  >>> json_schema({'type': 'dict', 'properties': {'x': {'type': 'float'}}})
  {'type': 'object', 'properties': {'x': {'type': 'number'}}}
  """
  result = dict(schema)
  if 'type' in schema:
    result['type'] = JSON_TYPES.get(schema['type'], 'string')
  if isinstance(schema.get('items'), dict):
    result['items'] = json_schema(schema['items'])
  if isinstance(schema.get('properties'), dict):
    result['properties'] = {
      name: json_schema(value) for name, value in schema['properties'].items()
    }
  return result


@dataclasses.dataclass(frozen=True)
class Answer:
  """A model's turn as text, and why it ended: see `generate.Completion`."""

  text: str
  finish: str = 'stop'


def judge(
  folder: pathlib.Path,
  entries: Sequence[Mapping[str, Any]],
  answers: Sequence[Answer],
  isolation: str,
  chat_format: str = 'chatml',
) -> list[dict[str, Any]]:
  """The verdict on each answer.

  An answer is wrong without being checked if its prompt was too long, or if
  one of its calls can't be read ('malformed:<reason of chat.parse>'); BFCL's
  own readers would skip such a call. Of relevance it is only asked, as BFCL
  does, whether there was a call that can be read.

  Returns:
    See `Bfcl.__call__`; 'reason' and 'message' are '' for a right answer.
  """
  records = []
  for entry, answer in zip(entries, answers, strict=True):
    parsed = chat.parse(answer.text, chat_format)
    calls, malformed = list(parsed.calls), list(parsed.malformed)
    if _depth(calls) > DEEPEST:
      calls, malformed = [], [*malformed, 'too_deep']
    records.append(
      {
        'id': entry['id'],
        'category': entry['category'],
        'completion': answer.text,
        'finish': answer.finish,
        'calls': calls,
        'valid': False,
        'reason': '',
        'message': '',
      }
    )
    if answer.finish == 'prompt_too_long':
      records[-1]['reason'] = answer.finish
    elif entry['category'] in RELEVANCE:
      wanted = entry['category'] == 'live_relevance'
      records[-1]['valid'] = bool(calls) == wanted
      if bool(calls) != wanted:
        records[-1]['reason'] = 'no_call' if wanted else 'call'
    elif malformed:
      records[-1]['reason'] = f'malformed:{malformed[0]}'
  unjudged = [r for r in records if not r['valid'] and not r['reason']]
  for record, verdict in zip(
    unjudged, _check(folder, unjudged, isolation), strict=True
  ):
    record.update(verdict)
  return records


def _depth(value: Any) -> int:
  """How deeply lists and objects nest: 0 for a number, 2 for [[1]].

  By levels, since what nests too deeply can't be walked by recursion.
  """
  depth, level = 0, [value]
  while level := [item for item in level if isinstance(item, dict | list)]:
    depth += 1
    level = [
      child
      for item in level
      for child in (item.values() if isinstance(item, dict) else item)
    ]
  return depth


def _check(
  folder: pathlib.Path, records: Sequence[Mapping[str, Any]], isolation: str
) -> list[dict[str, Any]]:
  """The official checker's verdicts; it is started again if one ends it."""
  verdicts: list[dict[str, Any]] = []
  while len(verdicts) < len(records):
    lines = [
      json.dumps({key: record[key] for key in ('id', 'category', 'calls')})
      for record in records[len(verdicts) :]
    ]
    stdin = '\n'.join(lines).encode() + b'\n'
    result = _run_checker(folder, ['check'], stdin, isolation)
    # A line without its end was cut off.
    answered = [json.loads(line) for line in result.stdout.split(b'\n')[:-1]]
    if answered[:1] != [bfcl_checker.READY]:
      raise _broken(folder, result)
    verdicts += answered[1:]
    if len(verdicts) < len(records):
      if not result.stopped and result.returncode in (0, 1):
        raise _broken(folder, result)  # a bug, and not what an answer did
      # Such as a pattern that takes forever to match what the model wrote.
      verdicts.append(
        {
          'id': records[len(verdicts)]['id'],
          'valid': False,
          'reason': 'checker_stopped',
          'message': result.stopped or f'exit status {result.returncode}',
        }
      )
  return verdicts


def _run_checker(
  folder: pathlib.Path, arguments: Sequence[str], stdin: bytes, isolation: str
) -> sandbox.Result:
  """bfcl_checker.py on the interpreter itself, not on our environment."""
  package = folder.resolve()
  return sandbox.run(
    [str(_interpreter()), '-I', str(CHECKER), str(package), *arguments],
    stdin=stdin,
    readable=[str(package), str(CHECKER), sys.base_prefix],
    timeout=CHECK_SECONDS,
    output_bytes=64 << 20,
    method=isolation,
  )


def _interpreter() -> pathlib.Path:
  """The Python that the virtual environment was made from."""
  return pathlib.Path(sys.executable).resolve()


def _broken(folder: pathlib.Path, result: sandbox.Result) -> errors.UserError:
  error = result.stderr.decode(errors='replace').strip().splitlines()
  return errors.UserError(
    f"BFCL's own code in {folder} ended with {result.returncode} "
    f'{result.stopped}: {error[-1] if error else "no message"}. Delete the '
    'folder to install it again.'
  )


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


def summarise(
  categories: Mapping[str, Mapping[str, Any]],
) -> dict[str, float | None]:
  """The columns of BFCL's table; None where a category of it was left out.

  simple: the mean of Python, Java and JavaScript. non_live_ast: the mean of
  simple, multiple, parallel and parallel_multiple. live_ast: the mean of the
  four live ones, by their sizes. irrelevance: the mean of both. relevance: the
  live one. (In the paper's table 2, NL-AST is non_live_ast, L-AST live_ast.)
  """

  def mean(names: Sequence[str], weights: Sequence[float]) -> float | None:
    if any(name not in categories for name in names):
      return None
    total = sum(
      categories[name]['accuracy'] * weight
      for name, weight in zip(names, weights, strict=True)
    )
    return total / sum(weights)

  return {
    'simple': mean(SIMPLE, [1] * 3),
    'non_live_ast': mean((*SIMPLE, *MULTIPLE), [1 / 3] * 3 + [1] * 3),
    # By the size of the whole category, so that a subset estimates the whole.
    'live_ast': mean(LIVE, [SIZES[name] for name in LIVE]),
    'irrelevance': mean(('irrelevance', 'live_irrelevance'), [1, 1]),
    'relevance': mean(('live_relevance',), [1]),
  }
