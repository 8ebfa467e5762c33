"""No file crashes an adapter of whole files, and every drop has a reason.

The golden tests' files, mutated as bytes and as JSON; real ones too where they
are at hand:

    python tests/corpus/adapters/apis_fuzz_test.py --inputs 100000 [FOLDER ...]
"""

import argparse
import collections
import copy
import gzip
import json
import os
import pathlib
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hephaestus_jax.corpus.adapters import (
  entry,
  graphql,
  manual,
  mcp,
  openapi,
  sphinx,
)

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import graphql_test  # noqa: E402
import manual_test  # noqa: E402
import mcp_test  # noqa: E402
import openapi_test  # noqa: E402
import sphinx_test  # noqa: E402

Adapter = Callable[[str, bytes], Iterator[entry.Entry | entry.Flaw]]
Case = tuple[Adapter, str, bytes]
INPUTS = int(os.environ.get('HEPHAESTUS_FUZZ_INPUTS', '1500'))
SLOW = 2.0  # seconds for one input
REASON = re.compile('[a-z][a-z0-9_]{2,60}')
ADAPTERS: dict[str, Adapter] = {
  'openapi': openapi.operations,
  'graphql': graphql.operations,
  'mcp': mcp.tools,
  'manuals': manual.manual,
  'sphinx': sphinx.definitions,
}
CASES: tuple[Case, ...] = (
  (openapi.operations, 'a.json', json.dumps(openapi_test.TEA).encode()),
  (openapi.operations, 'a.json', json.dumps(openapi_test.OLD_TEA).encode()),
  (openapi.operations, 'a.yaml', yaml.safe_dump(openapi_test.TEA).encode()),
  (mcp.tools, 'a.json', json.dumps({'tools': [mcp_test.POUR] * 2}).encode()),
  (graphql.operations, 'a.json', json.dumps(graphql_test.SCHEMA).encode()),
  (manual.manual, 'a.1', manual_test.MAN.encode()),
  (manual.manual, 'a.1', manual_test.MDOC.encode()),
  (sphinx.definitions, 'a.rst', sphinx_test.RST.encode()),
  (sphinx.definitions, 'a.html', sphinx_test.HTML.encode()),
)
WRONG: tuple[Any, ...] = (
  *(None, True, 0, -1.5, float('nan'), '', ' ', '\0', '\ud800', [], {}, [[]]),
  *({'': ''}, 'x', ['x', None, 3], 10**40, 'x' * 20_000, '<b>' * 3_000),
  *({'$ref': '#'}, {'$ref': '#/paths'}, {'allOf': [{'$ref': '#'}]}),
  {'type': 'array', 'items': {'$ref': '#/components/schemas/Guest'}},
)
SNIPPETS = (
  *(b'\\', b'"', b"'", b'<', b'&', b'{', b'[', b'\xff', b'\0', b'*a ', b'&a '),
  *(b'\n.if n \\{', b'\n.de X\n', b'\\*[', b'\n.RS\n', b'\n.Bl\n.It Fl\n'),
  *(b'<dl class="class"><dt id="x">', b'<!--', b'</', b'\n.. class:: ', b'`'),
  *(b'[' * 3_000, b'{"a":' * 3_000, b'<div>' * 3_000, b'\n.RS' * 3_000),
  *(b'\n  ' + b'- ' * 3_000, b'\\' * 3_000, b'(' * 3_000, b'<<: *a\n'),
)


def mutated_json(content: bytes, chance: random.Random) -> bytes:
  value = json.loads(content)
  for _ in range(chance.randint(1, 4)):
    node = value
    while isinstance(node, dict | list) and node:
      key = chance.choice(
        list(node) if isinstance(node, dict) else range(len(node))
      )
      inner = node[key]
      if chance.random() < 0.25 or not isinstance(inner, dict | list):
        if chance.random() < 0.3:
          node.pop(key)
        else:
          wrong = [*WRONG, [inner], {'x': inner}]
          node[key] = copy.deepcopy(chance.choice(wrong))
        break
      node = inner
  return json.dumps(value).encode()


def mutated_bytes(content: bytes, chance: random.Random) -> bytes:
  found = bytearray(content)
  for _ in range(chance.randint(1, 8)):
    at = chance.randrange(len(found) + 1)
    end = at + chance.randint(1, 200)
    kind = chance.randrange(5)
    if kind == 0:
      del found[end:]
    elif kind == 1:
      del found[at:end]
    elif kind == 2:
      found[at:at] = found[at:end] * chance.randint(1, 20)
    elif kind == 3:
      found[at : at + 1] = bytes([chance.randrange(256)])
    else:
      found[at:at] = chance.choice(SNIPPETS)
  return bytes(found)


class Tally:
  """What became of inputs."""

  def __init__(self) -> None:
    self.inputs = self.entries = 0
    self.reasons: collections.Counter[str] = collections.Counter()
    self.slowest = 0.0

  def add(self, adapter: Adapter, path: str, content: bytes) -> None:
    start = time.process_time()
    self.inputs += 1
    try:
      for found in adapter(path, content):
        assert found.group and '/' not in found.group
        assert found.name
        if isinstance(found, entry.Flaw):
          self.reasons[found.reason] += 1
        else:
          self.entries += 1
          assert found.segments and found.segments[0].text
    except entry.MalformedError as error:
      self.reasons[error.reason] += 1
    took = time.process_time() - start
    self.slowest = max(self.slowest, took)
    assert took < SLOW + len(content) / 1e6, (adapter, content[:2_000])


def try_inputs(cases: Sequence[Case], inputs: int, seed: int) -> Tally:
  chance = random.Random(seed)
  tally = Tally()
  for _ in range(inputs):
    adapter, path, content = chance.choice(cases)
    if content[:1] in b'{[' and chance.random() < 0.6:
      content = mutated_json(content, chance)
    else:
      content = mutated_bytes(content, chance)
    tally.add(adapter, path, content)
  return tally


def test_mutated_files_give_entries_or_reasons() -> None:
  tally = try_inputs(CASES, INPUTS, seed=0)
  assert tally.entries > INPUTS / 2
  assert len(tally.reasons) < 60
  assert all(REASON.fullmatch(reason) for reason in tally.reasons)


@settings(max_examples=60, deadline=None)
@given(st.binary(), st.sampled_from(CASES))
def test_any_bytes_give_entries_or_reasons(content: bytes, case: Case) -> None:
  adapter, path, _ = case
  Tally().add(adapter, path, content)


def real_files(folders: Sequence[str]) -> list[Case]:
  """The files of folders named openapi, graphql, mcp, manuals, sphinx."""
  found = []
  for folder in map(pathlib.Path, folders):
    for path in sorted(folder.rglob('*')):
      if path.is_file() and path.stat().st_size < 60_000:
        content = path.read_bytes()
        if path.suffix == '.gz':
          content = gzip.decompress(content)
        name = path.relative_to(folder).as_posix().removesuffix('.gz')
        found.append((ADAPTERS[folder.name], name, content))
  return found


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument('--inputs', type=int, default=100_000)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('folders', nargs='*')
  options = parser.parse_args()
  cases = [*CASES, *real_files(options.folders)]
  start = time.process_time()
  tally = try_inputs(cases, options.inputs, options.seed)
  print(
    f'{tally.inputs:,} inputs of {len(cases):,} files in '
    f'{time.process_time() - start:.0f} CPU s: {tally.entries:,} entries, '
    f'{tally.reasons.total():,} drops for {len(tally.reasons)} reasons, '
    f'the slowest in {tally.slowest:.2f} s'
  )
  for reason, count in tally.reasons.most_common():
    print(f'  {count:,} {reason}')


if __name__ == '__main__':
  main()
