"""Strict gin: what it accepts, and what it says when it doesn't."""

import dataclasses
import pathlib
import sys
import types
from collections.abc import Sequence

import gin
import pytest

from hephaestus_jax import configuration, errors


@dataclasses.dataclass(frozen=True)
class Part:
  size: int
  names: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Other:
  size: int


def build(
  *, steps: int, rate: float = 1.0, folder: str = '', part: Part | None = None
):
  return {'steps': steps, 'rate': rate, 'folder': folder, 'part': part}


STAGE = """
from __gin__ import dynamic_registration
import fake_library as lib

STEPS = %gin.REQUIRED  # optimiser steps
RATE = 0.5  # learning rate
RUN_DIR = 'runs/a'
SIZE = 3

lib.build.steps = %STEPS
lib.build.rate = %RATE
lib.build.folder = '{RUN_DIR}/cache'
lib.build.part = @lib.Part()
lib.Part.size = %SIZE
lib.Part.names = ['x']
"""


@pytest.fixture
def stage(tmp_path, monkeypatch):
  library = types.ModuleType('fake_library')
  for thing in (Part, Other, build):
    setattr(library, thing.__name__, thing)
  monkeypatch.setitem(sys.modules, 'fake_library', library)
  (tmp_path / 'gin').mkdir()
  path = tmp_path / 'gin' / 'stage.gin'
  path.write_text(STAGE)
  yield path
  gin.clear_config()


def call(stage: pathlib.Path, *overrides: str, elsewhere=None, shared=False):
  root = stage.parents[1]
  text = configuration.read([str(stage)], overrides, root)
  text = configuration.check_overrides(text, elsewhere or {}, shared)
  configuration.check_macros(text)
  configuration.load(text)
  return gin.get_configurable(build)(), text


def message(stage: pathlib.Path, *overrides: str, **keywords) -> str:
  with pytest.raises(errors.UserError) as error:
    call(stage, *overrides, **keywords)
  assert '\n' not in str(error.value)
  return str(error.value)


def test_overrides_need_no_quotes_and_strings_take_macros(stage):
  result, _ = call(stage, 'STEPS=7', 'RUN_DIR=runs/b')
  assert result == {
    'steps': 7,
    'rate': 0.5,
    'folder': 'runs/b/cache',
    'part': Part(3, ['x']),
  }


def test_an_override_of_a_parameter_wins(stage):
  result, _ = call(stage, 'STEPS=7', 'lib.build.rate=2e-4')
  assert result['rate'] == 2e-4


@pytest.mark.parametrize(
  ('overrides', 'parts'),
  [
    ((), ['STEPS must be set', 'stage.gin:5', '--gin.STEPS=VALUE']),
    (('STEPS=abc',), ['--gin.STEPS=abc', "'abc'", 'lib.build.steps', 'int']),
    (('STEPS=2.5',), ['--gin.STEPS=2.5', 'int']),
    (('STEPS=1', 'SIZE=big'), ['--gin.SIZE=big', 'lib.Part.size', 'int']),
    (('STEPZ=3',), ['STEPZ', 'Did you mean STEPS?']),
    (('STEPS=1', 'lib.Part.names=xy'), ["'xy'", 'Sequence[str]']),
    (('STEPS=1', 'lib.Part.names=[1]'), ['[1]', 'Sequence[str]']),
    (('STEPS=1', 'lib.build.rat=3'), ["'rat'", 'Did you mean rate?']),
    (('STEPS=1', 'lib.biuld.rate=3'), ['biuld']),
    (('STEPS=1', 'lib.build.rate=%RATTE'), ['RATTE', 'Did you mean RATE?']),
    (('STEPS',), ['no value', '--gin.NAME=VALUE']),
  ],
)
def test_a_wrong_value_is_named_with_its_origin_and_the_way_out(
  stage, overrides, parts
):
  said = message(stage, *overrides)
  assert [part for part in parts if part not in said] == [], said


def test_an_override_that_another_command_reads_is_refused_by_this_one(stage):
  said = message(stage, 'STEPS=1', 'KEEP=1', elsewhere={'KEEP': 'corpus'})
  assert 'does not read KEEP' in said
  assert '`hephaestus corpus` does' in said


def test_an_override_for_all_commands_is_left_to_its_reader(stage):
  result, text = call(
    stage, 'STEPS=1', 'KEEP=1', elsewhere={'KEEP': 'corpus'}, shared=True
  )
  assert result['steps'] == 1
  assert 'KEEP' not in text.macros


def test_a_missing_file_comes_with_its_neighbour(stage):
  root = stage.parents[1]
  with pytest.raises(errors.UserError, match='mean gin/stage.gin'):
    configuration.read(['gin/stages.gin'], [], root)


def test_broken_syntax_names_file_and_line(stage):
  stage.write_text('A = 1\nB = = 2\n')
  with pytest.raises(errors.UserError, match='gin/stage.gin:2'):
    configuration.read([str(stage)], [], stage.parents[1])


def test_the_resolved_configuration_repeats_the_run(stage, tmp_path):
  result, text = call(stage, 'STEPS=7', 'RUN_DIR=runs/b')
  again = tmp_path / 'gin' / 'again.gin'
  again.write_text(configuration.as_gin(text))
  assert call(again)[0] == result


def test_a_recorded_configuration_keeps_its_hash_and_its_origins(
  stage, tmp_path
):
  _, text = call(stage, 'STEPS=7', 'RUN_DIR=runs/b')
  written = configuration.as_gin(text)
  (tmp_path / 'config.gin').write_text(written)
  again = configuration.recorded(tmp_path / 'config.gin')
  assert configuration.resolved(again) == configuration.resolved(text)
  assert written.startswith(f'# {configuration.config_hash(again)}\n')
  _, other = call(stage, 'STEPS=8', 'RUN_DIR=runs/b')
  assert configuration.config_hash(other) != configuration.config_hash(text)


def test_an_include_takes_its_path_from_an_override_or_from_above(stage):
  folder = stage.parent
  (folder / 'one.gin').write_text('STEPS = 1\n')
  (folder / 'two.gin').write_text('STEPS = 2\n')
  run = folder / 'run.gin'
  run.write_text("BASE = 'gin/one.gin'\ninclude '{BASE}'\n")

  def steps(*overrides):
    root = stage.parents[1]
    text = configuration.read([str(stage), str(run)], overrides, root)
    configuration.check_files(text, {})
    text = configuration.check_overrides(text, {}, False)
    return text.macros['STEPS'].value

  assert steps() == 1
  assert steps('BASE=gin/two.gin') == 2


def test_a_macro_of_a_file_that_no_command_knows_is_refused(stage):
  with stage.open('a') as file:
    file.write('RATTE = 3\n')
  text = configuration.read([str(stage)], ['STEPS=1'], stage.parents[1])
  with pytest.raises(errors.UserError, match='reads. Did you mean RATE'):
    configuration.check_files(text, {})
  configuration.check_files(text, {'RATTE': 'corpus'})


@pytest.mark.parametrize(
  ('override', 'said'),
  [
    ('prat/lib.Part.size=4', 'prat/lib.Part.size. Did you mean part/lib.Part.'),
    ('lib.Other.size=4', 'lib.Other.size.$'),
  ],
)
def test_an_override_of_what_the_command_is_not_given_is_refused(
  stage, override, said
):
  text = stage.read_text().replace('@lib.Part()', '@part/lib.Part()')
  stage.write_text(text + 'lib.Other.size = 3\n')
  root = stage.parents[1]
  text = configuration.read([str(stage)], ['STEPS=1', override], root)
  with pytest.raises(errors.UserError, match=f'does not read {said}'):
    configuration.load(text, 'lib.build')
  text = configuration.read(
    [str(stage)], ['STEPS=1', 'lib.Part.size=4', 'part/lib.Part.size=5'], root
  )
  configuration.load(text, 'lib.build')
  assert gin.get_configurable(build)()['part'].size == 5


def test_a_macro_of_another_command_may_name_what_is_not_imported(stage):
  with stage.open('a') as file:
    file.write('ELSEWHERE = @library.Thing()\n')
  assert call(stage, 'STEPS=7')[0]['steps'] == 7


def test_every_value_has_an_origin(stage):
  _, text = call(stage, 'STEPS=7')
  table = configuration.resolved(text)
  assert table['lib.build.steps'] == {'value': '7', 'origin': '--gin.STEPS=7'}
  assert table['lib.build.rate']['origin'] == 'gin/stage.gin:6'


def test_macros_and_their_comments_are_the_help(stage):
  assert configuration.macro_help(stage, stage.parents[1])[:2] == [
    ('STEPS', '%gin.REQUIRED', 'optimiser steps'),
    ('RATE', '0.5', 'learning rate'),
  ]
