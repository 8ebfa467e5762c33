"""Every file under gin/ resolves."""

import pathlib

import gin
import pytest

from hephaestus_jax import configuration, main

GIN = main.ROOT / 'gin'
RUNS = sorted(str(p.relative_to(main.ROOT)) for p in GIN.glob('runs/*.gin'))
ABLATIONS = sorted(GIN.glob('ablations/*.gin'))
SCALING = ('gin/scaling/demo.gin', 'gin/scaling/paper.gin')
BASES = ('gin/runs/demo.gin', 'gin/runs/whole_forge.gin')
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


@pytest.mark.parametrize('command', ['corpus', 'cache', 'train', 'sweep'])
@pytest.mark.parametrize('study', SCALING)
def test_every_scaling_study_resolves(study, command):
  stage = main.COMMANDS[command].stage
  text = configuration.read([stage, study], [], main.ROOT)
  configuration.check_macros(text)
  configuration.load(text)


@pytest.mark.parametrize('command', ['train', 'evaluate'])
def test_the_papers_losses_are_measured_where_they_are_named(command):
  files = [
    *(main.COMMANDS[command].stage, 'gin/runs/demo.gin'),
    'gin/scaling/paper_losses.gin',
  ]
  text = configuration.read(files, ['MMLU=mmlu.zip'], main.ROOT)
  configuration.check_macros(text)
  configuration.load(text)
  rows = configuration.resolved(text)
  assert rows['mmlu/reference_loss.ReferenceLoss.path']['value'] == "'mmlu.zip'"
  takes = 'train.train.evaluators'
  if command == 'evaluate':
    takes = 'evaluate.evaluate.benchmarks'
  assert rows[takes]['value'].count('ReferenceLoss()') == 4


def ablation(path, command, base):
  stage = main.COMMANDS[command].stage
  text = configuration.read([stage, str(path)], [f'BASE={base}'], main.ROOT)
  configuration.check_macros(text)
  return text


@pytest.mark.parametrize('base', BASES)
@pytest.mark.parametrize('path', ABLATIONS, ids=lambda path: path.stem)
def test_an_ablation_reads_mixtures_that_the_cache_makes(path, base):
  rows = configuration.resolved(ablation(path, 'cache', base))
  made = rows['cache.cache.concat']['value']
  text = ablation(path, 'train', base)
  for stage in text.macros['STAGES'].value:
    scope = stage.name.partition('/')[0]
    read = configuration.resolved(text)[f'{scope}/update.Stage.mixture']
    whole = 'whole_' if base == BASES[1] else ''
    assert read['value'].startswith(f"'{whole}")
    assert scope == 'stage3' or read['value'] in made


@pytest.mark.parametrize('base', BASES)
@pytest.mark.parametrize('command', ['corpus', 'cache', 'train', 'evaluate'])
def test_ablations_resolve_on_the_demo_and_on_the_whole_forge(command, base):
  for path in ABLATIONS:
    configuration.load(ablation(path, command, base))


def test_ablations_differ_in_their_name_and_in_one_thing():
  names, seen = set(), set()
  for path in ABLATIONS:
    text = configuration.read([str(path)], [], main.ROOT)
    here = str(path.relative_to(main.ROOT))
    own = [b for b in text.bindings if b.origin.partition(':')[0] == here]
    if path.stem == 'all':
      continue
    assert {b.name for b in own} - {'NAME'}, path
    assert len(own) <= 5, path
    head = path.read_text().partition('include')[0]
    for word in ('# Question: ', '# Changes: ', '# Expected: '):
      assert head.count(word) == 1, path
    names.add(text.macros['NAME'].value)
    seen.add(str([(b.name, b.value) for b in own if b.name != 'NAME']))
  assert names == {path.stem for path in ABLATIONS} - {'all'}
  assert len(seen) == len(names)


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
  assert folders == {
    *('models', 'hardware', 'stages', 'runs', 'ablations', 'scaling')
  }
  assert pathlib.Path(GIN, 'README.md').exists()
