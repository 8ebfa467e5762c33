"""What docs/reproduction.md says of gin is so."""

import dataclasses
import importlib
import inspect
import re

import pytest

from hephaestus_jax import configuration, main

DOCS = (main.ROOT / 'docs/reproduction.md').read_text()
SPAN = re.compile(r'`([^`]+)`')
# The rows of tables whose third column is files and whose fourth is names.
ROWS = [
  [cell.strip() for cell in line.strip('|').split('|')]
  for line in DOCS.splitlines()
  if re.match(r'\|[^|-]+\|[^|]+\|[^|]*\|[^|]*\|$', line)
]
CHOICES = [
  (SPAN.findall(row[2]), SPAN.findall(row[3]))
  for row in ROWS
  if row[2] != 'gin file'
]


def bound(file: str) -> set[str]:
  """Names that a gin file binds itself, without scopes."""
  text = (main.ROOT / file).read_text()
  macros = set(re.findall(r'^([A-Z][A-Z0-9_]*) *=', text, re.MULTILINE))
  parameters = set()
  block = ''
  for line in text.splitlines():
    opened = re.match(r'(?:\w+/)?([\w.]+):$', line)
    whole = re.match(r'(?:\w+/)?([\w.]+\.\w+) *=', line)
    inside = re.match(r'  (\w+) = ', line)
    block = opened[1] if opened else block
    if whole:
      parameters.add(whole[1])
    if inside and block:
      parameters.add(f'{block}.{inside[1]}')
  return macros | parameters


def test_the_tables_are_read() -> None:
  assert len(CHOICES) > 30
  assert bound('gin/stages/stage1.gin') >= {
    *('STAGE1_WARMUP', 'update.Stage.steps', 'optimizer.cosine.peak')
  }


@pytest.mark.parametrize(('files', 'names'), CHOICES)
def test_every_macro_is_set_where_it_is_said_to_be(files, names) -> None:
  there = set().union(*map(bound, files))
  macros = {name for name in names if configuration.MACRO.fullmatch(name)}
  assert macros <= there, f'{macros - there} not in {files}'


@pytest.mark.parametrize(
  'name', sorted({n for _, names in CHOICES for n in names if '.' in n})
)
def test_every_parameter_can_be_bound(name: str) -> None:
  module, thing, parameter = name.split('.')
  bindable = getattr(importlib.import_module(f'hephaestus_jax.{module}'), thing)
  fields = (
    {field.name for field in dataclasses.fields(bindable)}
    if dataclasses.is_dataclass(bindable)
    else set(inspect.signature(bindable).parameters)
  )
  assert parameter in fields
