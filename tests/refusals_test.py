"""Runs that are wrong, each refused in one message that says how to mend it.

The runs train on rows that tiny.py writes; each case changes one thing. What a
refusal costs is CPU time: of this process, which has imported what it needs, or
of the command's own, imports and all.
"""

import json
import os
import pathlib
import resource
import subprocess
import sys
import time

import gin
import pytest

from hephaestus_jax import main

sys.path.append(str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402

DEMO = 'gin/runs/demo.gin'
# As many devices as conftest.py gave this process.
EIGHT = '--gin_file=gin/hardware/cpu8.gin'
SECONDS = 5
# Of the bare command where nothing else runs: a machine that takes twice as
# long for that has twice the time for a refusal.
BARE_SECONDS = 0.2


@pytest.fixture(autouse=True)
def forget():
  yield
  gin.clear_config()


def refusal(monkeypatch, capsys, *arguments: str) -> str:
  """What a person is told, and that it is all they are told."""
  monkeypatch.setattr(sys, 'argv', ['hephaestus', *map(str, arguments)])
  start = time.process_time()
  with pytest.raises(SystemExit) as end:
    main.main()
  assert time.process_time() - start < SECONDS
  assert end.value.code == 2
  said = capsys.readouterr().err.strip()
  assert said.startswith('hephaestus: ')
  assert len(said.splitlines()) == 1, said
  return said


def holds(said: str, *parts: str) -> None:
  assert [part for part in parts if part not in said] == [], said


@pytest.mark.parametrize(
  ('arguments', 'parts'),
  [
    # A value of the wrong type: a macro's, a parameter's, inside a list, text
    # where a list belongs, a function where a number does.
    (['train', 'TRAIN_STEPS=abc'], ['TRAIN_STEPS=abc', 'which takes int']),
    (
      ['train', 'train.train.keep=2.5'],
      ['2.5', 'train.train.keep', 'which takes int'],
    ),
    (['report', 'REPORT_RUNS=[1]'], ['REPORT_RUNS=[1]', 'Sequence[str]']),
    (['report', 'REPORT_RUNS=forge'], ["'forge'", 'Sequence[str]']),
    (['train', 'STAGES=[3]'], ['[3]', 'update.Stage']),
    # A name that is not one: macro, macro in a value, parameter, function,
    # module, file.
    (['train', 'TRAIN_STEPZ=3'], ['Did you mean TRAIN_STEPS']),
    (['train', 'SEED=%SEEDD'], ['SEEDD', 'Did you mean SEED?']),
    (['train', 'train.train.sed=3'], ["'sed'", 'Did you mean seed?']),
    (['train', 'MODEL=@model.Confg()'], ["'Confg'", 'Did you mean Config?']),
    (['train', 'trian.train.seed=1'], ["'trian'", 'Did you mean train?']),
    (
      ['ablate', 'BASE=gin/runs/dmo.gin'],
      ["'gin/runs/dmo.gin'", 'Did you mean gin/runs/demo.gin'],
    ),
    # What nothing reads: here, or anywhere.
    (['train', 'LICENCES=MIT'], ['`hephaestus corpus` does']),
    (['train', 'stage4/update.Stage.steps=3'], ['does not read', 'stage3/']),
    # Values that do not fit together.
    (['train', 'MICROBATCHES=3'], ['batch_size = 4', 'microbatches = 3']),
    (['train', 'LOG_EVERY=0'], ['log_every = 0 is below 1']),
    (['train', 'model.Config.num_kv_heads=3'], ['no multiple of']),
    (
      ['train', "stage3/update.Stage.role_weights={'calls': 1.0}"],
      ["'calls'", 'the roles are'],
    ),
    (['ablate', 'RUN_SEEDS=[1, 1]'], ['no seed twice']),
    (['sweep', 'AGENT_SHARES=[]'], ['each needs one at least']),
  ],
)
def test_a_wrong_value(arguments, parts, monkeypatch, capsys):
  command, override = arguments
  run = 'gin/ablations/all.gin' if command == 'ablate' else DEMO
  files = [run, EIGHT] if command == 'train' else [run]
  said = refusal(monkeypatch, capsys, command, *files, f'--gin.{override}')
  holds(said, *parts)


@pytest.mark.parametrize(
  ('line', 'parts'),
  [
    ('TRAIN_STEPZ = 3', ['wrong.gin:2', 'nothing reads', 'TRAIN_STEPS']),
    ("include 'gin/models/tinny.gin'", ["'gin/models/tinny.gin'", 'tiny.gin']),
    ("include '{BSE}'", ['wrong.gin:2', 'nothing above it sets BSE']),
    ('from hephaestus_jax import modle', ['wrong.gin:2', 'mean model']),
    ('TRAIN_STEPS = = 3', ['wrong.gin:2', 'is no gin']),
    ('RUN_DIR = %gin.REQUIRED', ['RUN_DIR must be set', 'wrong.gin:2']),
  ],
)
def test_a_wrong_file(line, parts, tmp_path, monkeypatch, capsys):
  path = tmp_path / 'wrong.gin'
  path.write_text(f"include '{DEMO}'\n{line}\n")
  holds(refusal(monkeypatch, capsys, 'train', path), *parts)


@pytest.fixture
def cached(tmp_path):
  """A run file, and the cache that it reads."""
  tiny.write_cache(tmp_path / 'cache', {'a': 0.7, 'b': 0.3})
  return tiny.run_file(tmp_path, TRAIN_STEPS=3)


def test_a_mixture_that_was_not_cached(cached, monkeypatch, capsys):
  override = '--gin.STAGE1_MIXTURE=mixture_v2'
  said = refusal(monkeypatch, capsys, 'train', cached, override)
  holds(said, "'mixture_v2'", 'Did you mean mixture_v1', 'hephaestus cache')


def test_a_cache_that_was_cut_off(cached, monkeypatch, capsys):
  (rows,) = cached.parent.glob('cache/tasks/b/train/rows-*')
  rows.write_bytes(rows.read_bytes()[:-100])
  said = refusal(monkeypatch, capsys, 'train', cached)
  holds(said, str(rows), 'were written', 'run `hephaestus cache` again')


def test_a_cache_of_an_earlier_format(cached, monkeypatch, capsys):
  info = cached.parent / 'cache/tasks/a/train/cache.json'
  old = json.loads(info.read_text()) | {'role_names': ['text']}
  info.write_text(json.dumps(old))
  said = refusal(monkeypatch, capsys, 'train', cached)
  holds(said, "roles ['text']", 'Delete', 'run `hephaestus cache` again')


def test_rows_of_another_tokenizer(cached, monkeypatch, capsys):
  tiny.write_cache(cached.parent / 'cache', {'c': 1.0}, 'mixture_v3', 'bbbb')
  said = refusal(
    *(monkeypatch, capsys, 'train', cached),
    '--gin.STAGES=[@stage1/update.Stage(), @stage2/update.Stage()]',
    *('--gin.STAGE2_MIXTURE=mixture_v3', '--gin.STAGE2_WARMUP=1'),
  )
  holds(said, 'tokenizer bbbb', 'aaaa', 'Cache both with one tokenizer')


def test_a_model_with_fewer_tokens_than_the_tokenizer(
  cached, monkeypatch, capsys
):
  override = '--gin.model.Config.vocab_size=16'
  said = refusal(monkeypatch, capsys, 'train', cached, override)
  holds(said, 'vocabulary of 32', 'vocab_size = 16', 'that of the tokenizer')


def test_a_resume_with_other_values_tells_all_that_differ(
  cached, monkeypatch, capsys
):
  stage = cached.parent / 'run' / 'stage1'
  stage.mkdir(parents=True)
  was = {'seed': 3, 'parameters': {'init_from': None}}
  (stage / 'inputs.json').write_text(json.dumps(was))
  said = refusal(monkeypatch, capsys, 'train', cached)
  holds(said, 'other inputs', 'seed was 3, now 0', 'model was null', 'Delete')


def command(*arguments: str) -> tuple[subprocess.CompletedProcess[str], float]:
  """A command in a process of its own, and its CPU seconds."""
  environment = os.environ | {'JAX_NUM_CPU_DEVICES': '1'}
  before = resource.getrusage(resource.RUSAGE_CHILDREN)
  done = subprocess.run(
    [sys.executable, '-m', 'hephaestus_jax', *map(str, arguments)],
    capture_output=True,
    text=True,
    check=False,
    cwd=main.ROOT,
    env=environment,
  )
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  taken = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
  return done, taken


@pytest.mark.slow
def test_the_command_itself_refuses_as_soon(cached):
  _, bare = command('--help')
  limit = SECONDS * max(1, bare / BARE_SECONDS)
  tiny.write_cache(cached.parent / 'cache', {'c': 1.0}, 'mixture_v3', 'bbbb')
  stages = 'STAGES=[@stage1/update.Stage(), @stage2/update.Stage()]'
  for wrong, *parts in (
    (['TRAIN_STEPZ=3'], 'Did you mean TRAIN_STEPS'),
    (['LICENCES=MIT'], '`hephaestus corpus` does'),
    (['train.train.keep=2.5'], 'which takes int'),
    (['STAGE1_MIXTURE=mixture_v2'], "'mixture_v2'", 'hephaestus cache'),
    (
      [stages, 'STAGE2_MIXTURE=mixture_v3', 'STAGE2_WARMUP=1'],
      *('tokenizer bbbb', 'aaaa'),
    ),
  ):
    overrides = [f'--gin.{each}' for each in wrong]
    done, taken = command('train', cached, *overrides)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith('hephaestus: ')
    assert len(done.stderr.splitlines()) == 1, done.stderr
    holds(done.stderr, *parts)
    if taken >= limit:  # another process may have held the machine up
      _, taken = command('train', cached, *overrides)
    assert taken < limit, f'{overrides}: {taken:.1f} s, bare {bare:.2f} s'
