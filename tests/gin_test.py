"""Every file under gin/ resolves."""

import pathlib

import gin
import pytest

from hephaestus_jax import configuration, main

GIN = main.ROOT / 'gin'
RUNS = sorted(str(p.relative_to(main.ROOT)) for p in GIN.glob('runs/*.gin'))
COMMANDS = sorted(main.COMMANDS)


@pytest.fixture(autouse=True)
def forget():
  yield
  gin.clear_config()


def test_the_folder_holds_no_python():
  # A gin/__init__.py would hide the library of that name.
  assert list(GIN.rglob('*.py')) == []


@pytest.mark.parametrize('command', COMMANDS)
@pytest.mark.parametrize('run', RUNS)
def test_every_run_resolves_for_every_command(run, command):
  text = configuration.read([main.COMMANDS[command].stage, run], [], main.ROOT)
  configuration.check_macros(text)
  configuration.load(text)


@pytest.mark.parametrize(
  'hardware', sorted(p.stem for p in GIN.glob('hardware/*.gin'))
)
def test_every_mesh_resolves(hardware):
  stage = main.COMMANDS['train'].stage
  run = 'gin/runs/demo.gin'
  files = [stage, run, f'gin/hardware/{hardware}.gin']
  configuration.load(configuration.read(files, [], main.ROOT))


@pytest.mark.parametrize('command', COMMANDS)
def test_help_fits_a_screen_and_names_macros_that_are_read(command, capsys):
  with pytest.raises(SystemExit):
    main.execute([command, '--help'])
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) <= 50
  assert max(len(line) for line in lines) <= 100
  stage = main.ROOT / main.COMMANDS[command].stage
  text = configuration.read([str(stage)], [], main.ROOT)
  named = {name for name, _, _ in configuration.macro_help(stage, main.ROOT)}
  assert named == configuration.read_by(text) - {configuration.REQUIRED}


def test_every_file_belongs_to_a_folder_that_is_tested():
  folders = {p.parent.relative_to(GIN).as_posix() for p in GIN.rglob('*.gin')}
  assert folders == {'models', 'hardware', 'stages', 'runs'}
  assert pathlib.Path(GIN, 'README.md').exists()
