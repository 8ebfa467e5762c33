"""The door: `hephaestus COMMAND RUN.gin [--gin.NAME=VALUE ...]`.

A command is one function and the stage file that binds it (`gin/stages/`). The
stage file reads macros; the run file sets them. Nothing behind this door knows
gin: call the same functions with keywords from a notebook.
"""

import argparse
import contextlib
import dataclasses
import errno
import importlib
import json
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import gin

from hephaestus_jax import artefacts, configuration, errors, quiet

ROOT = configuration.ROOT
DRY_RUN = 'dry_run'
DIFF = 'diff'
# Commands that start others, and hand their overrides on to them.
OF_COMMANDS = ('run', 'ablate', 'sweep')
DATA_OPTIONS = ('rows', 'show', 'verify')


@dataclasses.dataclass(frozen=True)
class Command:
  """What a word on the command line does."""

  function: str  # 'package.module.function'
  stage: str  # the file that binds it
  help: str


COMMANDS: Mapping[str, Command] = {
  'run': Command(
    'hephaestus_jax.run.run',
    'gin/stages/run.gin',
    'walk the whole road: every command below, in order',
  ),
  'crawl': Command(
    'hephaestus_jax.corpus.crawl.crawl.crawl',
    'gin/stages/crawl.gin',
    'seed addresses -> pages of documentation, three levels deep',
  ),
  'corpus': Command(
    'hephaestus_jax.corpus.build.build',
    'gin/stages/corpus.gin',
    'raw sources -> filtered Documents (TFDS)',
  ),
  'synthesise': Command(
    'hephaestus_jax.corpus.synthesise.synthesise.synthesise',
    'gin/stages/synthesise.gin',
    'code -> API documentation, by a language model',
  ),
  'annotate': Command(
    'hephaestus_jax.corpus.synthesise.annotate.annotate',
    'gin/stages/annotate.gin',
    'Documents -> labels for the filter, by a language model',
  ),
  'retrieve': Command(
    'hephaestus_jax.corpus.retrieve.retrieve.retrieve',
    'gin/stages/retrieve.gin',
    'seed Documents x web text -> the web text near them',
  ),
  'simulate': Command(
    'hephaestus_jax.corpus.simulate.simulate.simulate',
    'gin/stages/simulate.gin',
    'agents in text environments -> trajectories',
  ),
  'cache': Command(
    'hephaestus_jax.cache.cache',
    'gin/stages/cache.gin',
    'SeqIO mixtures -> rows of tokens (ArrayRecord)',
  ),
  'data': Command(
    'hephaestus_jax.data_report.report',
    'gin/stages/data.gin',
    'what each stage reads, source by source; any row, coloured by role',
  ),
  'plan': Command(
    'hephaestus_jax.planning.plan.plan',
    'gin/stages/plan.gin',
    'a run and a TPU topology -> memory, seconds and chip-hours of each stage',
  ),
  'train': Command(
    'hephaestus_jax.train.train',
    'gin/stages/train.gin',
    'rows -> checkpoints, stages I to III',
  ),
  'convert': Command(
    'hephaestus_jax.convert.convert.convert',
    'gin/stages/convert.gin',
    'Hugging Face or GGUF -> checkpoint (IMPORT); checkpoint -> Hugging Face',
  ),
  'evaluate': Command(
    'hephaestus_jax.evaluation.evaluate.evaluate',
    'gin/stages/evaluate.gin',
    'checkpoint -> benchmark results',
  ),
  'ablate': Command(
    'hephaestus_jax.experiments.ablate.ablate',
    'gin/stages/ablate.gin',
    'run files that differ in one thing x seeds -> a table with the spread',
  ),
  'sweep': Command(
    'hephaestus_jax.experiments.sweep.sweep',
    'gin/stages/sweep.gin',
    'a grid of sizes, shares of agent data, tokens and seeds -> a table',
  ),
  'fit': Command(
    'hephaestus_jax.scaling.fit.fit',
    'gin/stages/fit.gin',
    'a table of runs -> scaling laws, the best mixture, fits.json',
  ),
  'serve': Command(
    'hephaestus_jax.serving.serve.serve',
    'gin/stages/serve.gin',
    'checkpoint -> the OpenAI API, until SIGTERM',
  ),
  'report': Command(
    'hephaestus_jax.report.page.report',
    'gin/stages/report.gin',
    'artefacts -> one HTML page, PNGs, summary.json',
  ),
}


def _macro_table(command: Command) -> str:
  rows = configuration.macro_help(ROOT / command.stage, ROOT)
  lines = ['macros (--gin.NAME=VALUE):']
  for name, default, comment in rows:
    default = default.removeprefix('%gin.')  # REQUIRED says it all
    default = default if len(default) < 40 else f'{default[:36]} ...'
    lines += [f'  {name:<20} {comment} [{default}]'] if comment else []
  return '\n'.join(lines)


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog='hephaestus',
    description=(
      'Continual pre-training of language models for agents: build the '
      'corpus, train, evaluate, report.'
    ),
  )
  commands = parser.add_subparsers(
    dest='command', required=True, metavar='COMMAND'
  )
  for name, command in COMMANDS.items():
    sub = commands.add_parser(
      name,
      help=command.help,
      description=f'{command.help}\n({command.function})',
      epilog=_macro_table(command),
      formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if name == 'ablate':
      sub.add_argument(
        'run_files',
        metavar='RUN.gin',
        nargs='*',
        help='runs; the first is what the others are compared with',
      )
    else:
      folder = name == 'serve'
      sub.add_argument(
        'run_file',
        metavar='RUN.gin|MODEL_DIR' if folder else 'RUN.gin',
        nargs='?',
        help="a run, or a checkpoint's folder" if folder else 'a run',
      )
    sub.add_argument(
      '--gin_file',
      action='append',
      default=[],
      metavar='FILE',
      help='another gin file, read after the run; may be repeated',
    )
    sub.add_argument(
      '--dry_run',
      action='store_true',
      help='resolve everything, print where each value came from, stop',
    )
    sub.add_argument(
      '--json', action='store_true', help='print the result as JSON'
    )
    sub.add_argument(
      '--shared_overrides', action='store_true', help=argparse.SUPPRESS
    )
    if name == 'corpus':
      _add_catalogue_options(sub)
    if name == 'data':
      _add_data_options(sub)
    if name == 'plan':
      _add_plan_options(sub)
    if name in ('ablate', 'sweep'):
      sub.add_argument(
        '--seeds', metavar='0,1,2', help='short for --gin.RUN_SEEDS=[0,1,2]'
      )
    if name == 'report':
      sub.add_argument(
        '--paper',
        action='store_true',
        help="write paper.html, too: the paper's figures and tables, and ours",
      )
  _add_diff(commands)
  return parser


def _add_diff(commands: Any) -> None:
  """`hephaestus diff`: of two runs, and so of no configuration."""
  text = 'two run files, or folders that runs wrote -> what differs, and why'
  diff = commands.add_parser(DIFF, help=text, description=text)
  diff.add_argument('run_a', metavar='RUN_A', help='RUN.gin, or its folder')
  diff.add_argument('run_b', metavar='RUN_B', help='another')
  diff.add_argument(
    '--json', action='store_true', help='print the result as JSON'
  )


def _add_data_options(data: argparse.ArgumentParser) -> None:
  """What `hephaestus data` asks beside a run."""
  data.add_argument(
    '--rows', type=int, metavar='STEP', help="the rows of a step's batches"
  )
  data.add_argument(
    '--show', type=int, default=0, metavar='N', help='and the text of N of them'
  )
  data.add_argument(
    '--verify', action='store_true', help='compare every file with its checksum'
  )


def _add_plan_options(plan: argparse.ArgumentParser) -> None:
  """What `hephaestus plan` asks beside a run."""
  plan.add_argument(
    '--topology',
    dest='topology_name',
    metavar='T',
    help="TPU chips that need not be here, such as 'v5p:4x4x4', 2xv5p:4x4x4",
  )
  plan.add_argument(
    '--suggest', action='store_true', help='compile what could be changed, too'
  )


def _add_catalogue_options(corpus: argparse.ArgumentParser) -> None:
  """What `hephaestus corpus` does without a run."""
  instead = corpus.add_argument_group('instead of a run')
  instead.add_argument(
    '--list', action='store_true', help='show the catalogue of sources'
  )
  instead.add_argument(
    '--convert',
    nargs=2,
    metavar=('SOURCE', 'PATH'),
    help="convert one source's file or folder to Documents",
  )
  instead.add_argument(
    '--out', metavar='DIR', help='where --convert writes them, and drops.json'
  )


def _from_catalogue(
  options: argparse.Namespace, overrides: Sequence[str]
) -> dict[str, Any] | None:
  """The result of `corpus --list` or `--convert`; None for a run.

  Raises:
    errors.UserError: the options don't go together.
  """
  if options.command != 'corpus':
    return None
  if not (options.list or options.convert):
    if options.out:
      raise errors.UserError('--out is for --convert SOURCE PATH.')
    return None
  of_a_run = [options.run_file, *options.gin_file, *overrides]
  if any(of_a_run) or options.dry_run or (options.list and options.convert):
    raise errors.UserError(
      '--list and --convert stand alone: leave out what is for a run.'
    )
  if options.list:
    listing = importlib.import_module('hephaestus_jax.corpus.listing')
    return dict(listing.show())
  if not options.out:
    raise errors.UserError('--convert needs --out DIR, a folder to write.')
  convert = importlib.import_module('hephaestus_jax.corpus.convert')
  return dict(convert.convert(*options.convert, options.out))


def _split_overrides(
  arguments: Sequence[str],
) -> tuple[list[str], list[str]]:
  """T5X's `--gin.NAME=VALUE` (or `--gin.NAME VALUE`) apart from the rest."""
  overrides, rest = [], []
  waiting = iter(arguments)
  for argument in waiting:
    if not argument.startswith('--gin.'):
      rest.append(argument)
      continue
    override = argument.removeprefix('--gin.')
    if '=' not in override:
      override += '=' + next(waiting, '')
    overrides.append(override)
  return overrides, rest


def _configure(
  name: str,
  files: Sequence[str],
  overrides: Sequence[str],
  shared: bool,
) -> configuration.Text:
  """The command's whole configuration, checked and handed to gin."""
  elsewhere = {
    macro: other
    for other, command in COMMANDS.items()
    if other != name
    for macro, _, _ in configuration.macro_help(ROOT / command.stage, ROOT)
  }
  stage = COMMANDS[name].stage
  text = configuration.prepare([stage, *files], overrides, elsewhere, shared)
  configuration.load(text, COMMANDS[name].function)
  return text


def _print_origins(table: Mapping[str, Mapping[str, str]]) -> None:
  for name, row in sorted(table.items()):
    print(f'{name} = {row["value"]}    <- {row["origin"]}')


def execute(arguments: Sequence[str]) -> Any:
  """Runs one command line, without the program's name.

  Returns:
    What the command's function returned, or with --dry_run what it would have
    been called with.

  Raises:
    errors.UserError: whatever is the user's to mend.
  """
  overrides, rest = _split_overrides(arguments)
  options = _parser().parse_args(rest)
  # A person reads tables on stdout; a machine reads one JSON value there.
  there = sys.stderr if options.json else sys.stdout
  with contextlib.redirect_stdout(there):
    result: Any
    if options.command == DIFF:
      result = _diff(options, overrides)
    else:
      result = _from_catalogue(options, overrides)
    if result is None:
      result = _execute(options, overrides)
  if options.json:
    print(json.dumps(result, indent=2, sort_keys=True))
  return result


def _diff(
  options: argparse.Namespace, overrides: Sequence[str]
) -> dict[str, Any]:
  """The differences of two runs."""
  if overrides:
    raise errors.UserError(
      f'--gin.{overrides[0]}: diff compares runs as they are, and takes no '
      'overrides.'
    )
  comparison = importlib.import_module('hephaestus_jax.experiments.comparison')
  stage_files = [command.stage for command in COMMANDS.values()]
  return comparison.diff(options.run_a, options.run_b, stage_files=stage_files)


def _seeds(text: str) -> str:
  """'0,1,2' as an override."""
  numbers = text.split(',')
  if not all(number.strip().isdecimal() for number in numbers):
    raise errors.UserError(
      f'--seeds {text}: write numbers with commas between them, 0,1,2.'
    )
  return f'RUN_SEEDS=[{", ".join(str(int(number)) for number in numbers)}]'


def _of_folder(path: str) -> list[str]:
  """Overrides that name a checkpoint's folder and its own vocabulary."""
  if not pathlib.Path(path).is_dir():
    return []
  return [f'CHECKPOINT={path}', 'TOKENIZER=None', 'COMPILED=None']


def _execute(options: argparse.Namespace, overrides: Sequence[str]) -> Any:
  """Runs the function that a run file configures."""
  if options.command == 'serve' and options.run_file:
    overrides = [*_of_folder(options.run_file), *overrides]
    if pathlib.Path(options.run_file).is_dir():
      options.run_file = None
  several = options.command in OF_COMMANDS
  run_files = (
    options.run_files if options.command == 'ablate' else [options.run_file]
  )
  # Of several files the first is the one that this command is configured by.
  files = [f for f in (*run_files[:1], *options.gin_file) if f]
  if not (files or overrides):
    raise errors.UserError(
      f'hephaestus {options.command} needs a run file, such as '
      'gin/runs/demo.gin.'
    )
  if options.command in ('ablate', 'sweep') and options.gin_file:
    raise errors.UserError(
      f'--gin_file {options.gin_file[0]}: each run has files of its own. '
      'Include it in the run file.'
    )
  own = list(overrides)  # of this command, and not of those that it starts
  if options.command in ('ablate', 'sweep') and options.seeds is not None:
    own.append(_seeds(options.seeds))
  module, _, function = COMMANDS[options.command].function.rpartition('.')
  with quiet.start_up():
    text = _configure(
      options.command, files, own, several or options.shared_overrides
    )
    loaded = importlib.import_module(module)
  configured = gin.get_configurable(getattr(loaded, function))
  keywords: dict[str, Any] = {}
  if several:
    keywords['overrides'] = [f'--gin.{override}' for override in overrides]
  if several or options.command == 'train':
    keywords[DRY_RUN] = options.dry_run
  if options.command == 'ablate':
    keywords['run_files'] = options.run_files
  if options.command == 'sweep':
    keywords['run_file'] = options.run_file
  if options.command in ('ablate', 'sweep'):
    keywords['stage_files'] = {n: c.stage for n, c in COMMANDS.items()}
  if options.command == 'report':
    keywords['regenerate_paper'] = options.paper
  if options.command == 'data':
    keywords |= {name: getattr(options, name) for name in DATA_OPTIONS}
  if options.command == 'plan':
    keywords['topology_name'] = options.topology_name
    keywords['suggest'] = options.suggest
  if options.dry_run:
    table = configuration.resolved(text)
    _print_origins(table)
    result: dict[str, Any] = {'configuration': table}
    return result | (configured(**keywords) if DRY_RUN in keywords else {})
  with artefacts.configured_by(configuration.as_gin(text)):
    return configured(**keywords)


def main() -> None:
  """The console script: a user's mistake is one message and exit code 2."""
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # and it stays quiet
  try:
    execute(sys.argv[1:])
  except errors.UserError as error:
    # Gin adds a line about the call that was under way: not the user's matter.
    message = str(error).partition('\n  In call to configurable')[0]
    print(f'hephaestus: {message}', file=sys.stderr)
    sys.exit(2)
  except OSError as error:
    # By its text: the copy of an error that gin makes has no errno.
    if os.strerror(errno.ENOSPC) not in str(error):
      raise
    message = str(error).partition('\n  In call to configurable')[0]
    print(
      f'hephaestus: {message}. Make room, and run the same command again.',
      file=sys.stderr,
    )
    sys.exit(2)
  except KeyboardInterrupt:
    print('hephaestus: interrupted', file=sys.stderr)
    sys.exit(130)


if __name__ == '__main__':
  main()
