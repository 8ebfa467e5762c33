"""No input crashes a mapping or hangs it, and every drop has a known reason.

Inputs are made of records in the published formats: of the real ones where
they are at hand (see samples_test), of made-up ones else; then mutated. Every
mapping of the catalogue is tried.

    python tests/corpus/fuzz_test.py --inputs 100000
"""

import argparse
import collections
import dataclasses
import functools
import io
import json
import os
import pathlib
import random
import re
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hephaestus_jax.corpus import catalogue, document, source
from hephaestus_jax.corpus.files import records

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import samples_test  # noqa: E402

DATA_SETS = [
  s for s in catalogue.SOURCES if isinstance(s, source.DataSet) and s.files
]
# Adapters of whole files have inputs of their own: adapters/apis_fuzz_test.py.
CASES = [
  (of, files) for of in DATA_SETS for files in of.files if files.unit != 'bytes'
]
INPUTS = int(os.environ.get('HEPHAESTUS_FUZZ_INPUTS', '3000'))
# A reason is words of the mapping's, never the record's.
REASON = re.compile('[a-z][a-z0-9_]{2,60}')
SLOW = 2.0  # seconds for one input that is no longer than the real ones
WRONG: tuple[Any, ...] = (
  *(None, True, 0, -1.5, float('nan'), '', ' ', '\0', '\ud800', [], {}),
  *([[]], {'': ''}, 'x', '[', '{"a":', '"', '<a>', '</a', '```', 'Action:'),
  *('Thought: a\nAction: b\nAction Input: {', ['x', None, 3], {'a': {'b': []}}),
  *('[1, 2', '{"name": 3}', '[]', 'null', '<execute>', '###', '\u2028', '🙂'),
  # What json.loads, ast.literal_eval and regular expressions choke on.
  *('[' * 5000, '{"a":' * 5000, '(' * 5000, '1' * 5000, '-' * 3000, '\\'),
  *('Thought:' * 2000, 'a' * 20000, '<b>' * 3000, '"\\ud800"', '```\n' * 3000),
)


class Opened:
  """A folder with one file."""

  package = 'fuzz'

  def __init__(self, content: bytes) -> None:
    self._content = content

  def names(self) -> list[str]:
    return ['fuzz']

  def open(self, member: str) -> io.BytesIO:
    del member
    return io.BytesIO(self._content)

  def read(self, member: str) -> bytes:
    return self.open(member).read()


def outcomes(
  of: source.DataSet, files: source.Files, name: str, content: bytes
) -> list[document.Document | document.Drop]:
  """What becomes of a file; raises if that is none of what is promised."""
  found = list(of.read_as(files, Opened(content), name))
  for one in found:
    if isinstance(one, document.Drop):
      assert REASON.fullmatch(one.reason), one.reason
    else:
      assert one.segments
      assert document.from_record(document.to_record(one)) == one
      json.dumps(document.to_record(one), ensure_ascii=False).encode()
  return found


def taken(
  of: source.DataSet, files: source.Files, value: Any
) -> document.Document | document.Drop:
  """What becomes of one parsed record."""
  segments, reason = source._segments(files, records.Record(0, value))
  assert bool(segments) != bool(reason)
  assert not reason or REASON.fullmatch(reason), reason
  for segment in segments:
    segment.text.encode()
  return (
    document.Drop('', of.name, reason)
    if reason
    else document.Document(
      f'{of.name}/train/0', of.name, of.kind, of.licence, '', segments
    )
  )


@functools.cache
def real_records() -> dict[int, list[Any]]:
  """Records of each case that were published; [] where none is at hand."""
  found: dict[int, list[Any]] = {i: [] for i in range(len(CASES))}
  for position, (of, files) in enumerate(CASES):
    for name in samples_test.files_of(of):
      if of.files_of(name) != files:
        continue
      folder = samples_test.folder_of(of)
      with folder.open(name) as stream:
        for record in records.read(stream, name, files.unit, of.limits):
          if isinstance(record, records.Record):
            found[position].append(record.value)
  return found


def mutated(value: Any, chance: random.Random) -> Any:
  """A copy in which something is of another type, missing or doubled."""
  copied = json.loads(json.dumps(value))
  places: list[tuple[Any, Any]] = []
  stack = [copied]
  while stack:
    found = stack.pop()
    keys = found if isinstance(found, dict) else range(len(found))
    for key in keys:
      places.append((found, key))
      if isinstance(found[key], (dict, list)):
        stack.append(found[key])
  for _ in range(chance.choice((1, 1, 1, 2, 5))):
    if not places:
      return chance.choice(WRONG)
    parent, key = chance.choice(places)
    if (
      isinstance(parent, list)
      and key >= len(parent)
      or (isinstance(parent, dict) and key not in parent)
    ):
      continue
    old = parent[key]
    match chance.randrange(7):
      case 0:
        del parent[key]
      case 1 if isinstance(old, str) and old:
        cut = chance.randrange(len(old))
        parent[key] = old[:cut]
      case 2 if isinstance(old, str) and old:
        cut = chance.randrange(len(old))
        parent[key] = old[:cut] + chance.choice('\0{}[]<>"\\\n:`') + old[cut:]
      case 3 if isinstance(old, str):
        parent[key] = old * 3
      case 4:
        parent[key] = [old, old]
      case 5 if isinstance(parent, dict):
        parent[chance.choice(('x', '', 'role', 'value'))] = parent.pop(key)
      case _:
        parent[key] = chance.choice(WRONG)
  return copied


def broken_file(value: Any, chance: random.Random) -> tuple[str, bytes]:
  """A JSON file with records of which some aren't as they were written."""
  line = json.dumps(value).encode()
  lines = [line, line, line]
  position = chance.randrange(3)
  match chance.randrange(5):
    case 0:
      lines[position] = line[: chance.randrange(len(line) + 1)]
    case 1:
      cut = chance.randrange(len(line) + 1)
      lines[position] = line[:cut] + b'\xff\xfe\x80' + line[cut:]
    case 2:
      cut = chance.randrange(len(line) + 1)
      lines[position] = line[:cut] + chance.randbytes(3) + line[cut + 3 :]
    case 3:
      lines[position] = b'[' * 10000 + b']' * 10000
    case _:
      lines[position] = line.replace(b':', b'', 1)
  if chance.randrange(2):
    return 'fuzz.jsonl', b'\n'.join(lines)
  return 'fuzz.json', b'[' + b',\n'.join(lines) + b']'


def inputs(count: int, seed: int) -> Iterator[tuple[int, str, Any]]:
  """(case, 'record' or a file's name, record or bytes), the same each time."""
  chance = random.Random(seed)
  shapes = [*WRONG, {}, {'conversations': []}, {'messages': [{'role': 'user'}]}]
  for number in range(count):
    position = number % len(CASES)
    real = real_records()[position]
    # Another source's records are well-formed and yet wrong.
    if not real or chance.random() < 0.1:
      others = [r for r in real_records().values() if r]
      real = chance.choice(others) if others else shapes
    value = chance.choice(real)
    if not isinstance(value, (dict, list)) or chance.random() < 0.05:
      yield position, 'record', chance.choice(shapes)
    elif chance.random() < 0.15:
      yield position, *broken_file(value, chance)
    else:
      yield position, 'record', mutated(value, chance)


@dataclasses.dataclass
class Tally:
  """What became of many inputs."""

  inputs: int = 0
  documents: int = 0
  slowest: tuple[float, str] = (0.0, '')
  reasons: collections.Counter[str] = dataclasses.field(
    default_factory=collections.Counter
  )
  failures: list[str] = dataclasses.field(default_factory=list)


def try_inputs(count: int, seed: int) -> Tally:
  """Tries them all; what raises is a failure."""
  tally = Tally()
  for position, name, content in inputs(count, seed):
    of, files = CASES[position]
    begin = time.process_time()
    try:
      if name == 'record':
        found = [taken(of, files, content)]
      else:
        found = outcomes(of, files, name, content)
    except Exception as error:
      tally.failures.append(
        f'{of.name} {files.pattern} {type(error).__name__}: {error!s:.200} '
        f'of {str(content)[:300]!r}'
      )
      continue
    spent = time.process_time() - begin
    tally.slowest = max(tally.slowest, (spent, f'{of.name} {files.pattern}'))
    tally.inputs += 1
    for one in found:
      if isinstance(one, document.Drop):
        tally.reasons[one.reason] += 1
      else:
        tally.documents += 1
  return tally


def test_mutated_records_are_converted_or_dropped_for_a_reason():
  tally = try_inputs(INPUTS, seed=0)
  assert not tally.failures, '\n'.join(tally.failures[:20])
  assert tally.inputs == INPUTS
  assert tally.slowest[0] < SLOW, tally.slowest
  assert tally.documents and tally.reasons


json_values = st.recursive(
  st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
  lambda inner: (
    st.lists(inner, max_size=4)
    | st.dictionaries(
      st.sampled_from(
        [
          *('conversations', 'messages', 'role', 'from', 'content', 'value'),
          *('query', 'text', 'path', 'instruction', 'output', 'input', 'code'),
          *('api_call', 'name'),
        ]
      ),
      inner,
      max_size=4,
    )
  ),
  max_leaves=12,
)


@settings(
  max_examples=60, deadline=None, suppress_health_check=list(HealthCheck)
)
@given(value=json_values)
def test_any_json_value_is_converted_or_dropped_for_a_reason(value):
  for of, files in CASES:
    taken(of, files, value)


@settings(
  max_examples=100, deadline=None, suppress_health_check=list(HealthCheck)
)
@given(
  content=st.binary(max_size=200)
  | st.text('[]{}",:\\ \n\t\'0aé', max_size=60).map(str.encode),
  suffix=st.sampled_from(
    [*records.LINES, '.json', *records.TABLES, *records.PAGES, '.txt']
  ),
  packed=st.sampled_from(['', '.gz', '.zst']),
  unit=st.sampled_from(
    ['items', 'paragraphs', 'values', 'whole', 'data.items']
  ),
)
def test_any_bytes_give_records_or_reasons(content, suffix, packed, unit):
  limits = records.Limits(record_bytes=100, depth=8)
  stream = io.BytesIO(content)
  found = list(records.read(stream, f'a{suffix}{packed}', unit, limits))
  assert [one.index for one in found] == list(range(len(found)))
  for one in found:
    assert isinstance(one, records.Record) or one.reason in records.REASONS


@pytest.mark.parametrize('key', ['query', 'text', 'conversations', 'instances'])
def test_nesting_ten_thousand_deep_is_a_reason(key):
  deep = (
    b'{"%s":' % key.encode() + b'[' * 10000 + b'"x"' + b']' * 10000 + b'}\n'
  )
  for of, files in CASES:
    name = 'fuzz.json' if files.unit != 'items' else 'fuzz.jsonl'
    for one in outcomes(of, files, name, deep):
      assert isinstance(one, document.Drop)


def test_a_line_of_fifty_megabytes_is_read_in_time():
  of, files = next(c for c in CASES if c[0].name == 'sharegpt')
  long = {'conversations': [{'from': 'human', 'value': 'word ' * 10_000_000}]}
  content = json.dumps(long).encode() + b'\n{"conversations": 1}\n'
  begin = time.process_time()
  assert len(outcomes(of, files, 'fuzz.jsonl', content)) == 2
  assert time.process_time() - begin < 20


def main() -> None:
  """Tries many inputs and says what became of them."""
  parser = argparse.ArgumentParser()
  parser.add_argument('--inputs', type=int, default=INPUTS)
  parser.add_argument('--seed', type=int, default=0)
  options = parser.parse_args()
  begin = time.process_time()
  tally = try_inputs(options.inputs, options.seed)
  print(
    f'{tally.inputs:,} inputs to {len(CASES)} mappings in '
    f'{time.process_time() - begin:.0f} s of CPU: {tally.documents:,} '
    f'documents, {tally.reasons.total():,} drops under '
    f'{len(tally.reasons)} reasons, {len(tally.failures)} failures; '
    f'slowest {tally.slowest[0]:.2f} s ({tally.slowest[1]})'
  )
  for reason, count in tally.reasons.most_common(15):
    print(f'  {count:8,} {reason}')
  for failure in tally.failures[:20]:
    print(f'  FAILED {failure}')
  sys.exit(bool(tally.failures))


if __name__ == '__main__':
  main()
