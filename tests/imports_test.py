"""Imports point down, and heavy libraries have their owners.

FLOORS is the map of the house: a module imports only from the floors below its
own. A package that stands in it as a whole (such as 'report') is one place
whose modules may import each other, without a cycle.
"""

import ast
import functools
import pathlib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = 'hephaestus_jax'

FLOORS = (
  (
    *('errors', 'description', 'heap', 'quiet'),
    *('planning.hlo', 'pod.preemption', 'observability.step_lines'),
    *('corpus.document', 'corpus.splits', 'corpus.facts'),
  ),
  (
    *('artefacts', 'mixing', 'partitioning', 'planning.topology'),
    *('pod.roll_call', 'pod.watchdog'),
    'chat_formats',
  ),
  ('pod.hosts', 'manifest', 'scaling'),
  (
    *('chat', 'configuration', 'replies', 'sandbox'),
    *('attention', 'checkpoints', 'losses', 'optimizer', 'rotary'),
    *('corpus.files', 'corpus.forge', 'corpus.runner'),
  ),
  (
    *('data', 'model', 'tokenizer', 'language_model', 'machine'),
    *('corpus.adapters', 'corpus.filters', 'corpus.lines'),
    *('corpus.datasets', 'corpus.ledger'),
  ),
  (
    *('convert', 'decode', 'packing', 'seqio_tasks', 'update'),
    *('observability.goodput', 'observability.profiler'),
    'observability.skipped',
    *('corpus.source', 'corpus.stored', 'corpus.crawl', 'corpus.simulate'),
  ),
  (
    *('cache_key', 'stage_folder', 'observability.metrics'),
    *('corpus.catalogue', 'corpus.members', 'corpus.acquire'),
  ),
  (
    *('cache_shard', 'train', 'planning.estimate'),
    *('corpus.synthesise', 'corpus.retrieve'),
    *('corpus.convert', 'corpus.listing', 'corpus.pipelines'),
  ),
  (
    *('cache', 'data_report', 'evaluation', 'report', 'serving'),
    *('planning.plan', 'corpus.steps'),
  ),
  ('run', 'corpus.build'),
  ('experiments',),
  ('main',),
  ('__main__',),
)
DATA_LIBRARIES = ('apache_beam', 'seqio', 'tensorflow', 'tensorflow_datasets')
MODEL_LIBRARIES = ('flax', 'jax', 'jaxlib', 'optax', 'orbax')
# Libraries that cost seconds of import, or that the rest shall not know.
OWNERS = {
  'apache_beam': ('corpus.datasets', 'corpus.pipelines', 'corpus.runner'),
  'faiss': ('corpus.retrieve.neighbours',),
  'gguf': ('convert.gguf_file',),
  'llguidance': ('decode.constraints',),
  'lm_eval': ('evaluation.general_benchmarks', 'evaluation.harness'),
  'gin': ('configuration', 'main'),
  'matplotlib': ('report',),
  'openTSNE': ('corpus.retrieve.embedding_map',),
  'orbax': ('checkpoints',),
  'prometheus_client': ('serving',),
  'pydantic': ('serving',),
  'safetensors': ('convert.safetensor_files',),
  'scipy': ('scaling.fits',),
  'scrapy': ('corpus.crawl.addresses', 'corpus.crawl.fetch'),
  'seqio': (
    *('cache', 'cache_key', 'cache_shard', 'seqio_tasks'),
    'evaluation.task_metrics',
  ),
  'starlette': ('serving',),
  'tensorflow': (
    *('cache_shard', 'corpus.datasets', 'corpus.forge'),
    'evaluation.task_metrics',
  ),
  'textworld': ('corpus.simulate', 'evaluation.agents.household'),
  'tensorflow_datasets': (
    *('cache', 'corpus.acquire', 'corpus.datasets', 'corpus.forge'),
    *('corpus.stored', 'evaluation.task_metrics'),
  ),
  'trafilatura': ('corpus.crawl.fetch',),
  'uvicorn': ('serving',),
  'wandb': ('observability.metrics',),
  'twisted': ('corpus.crawl.addresses', 'corpus.crawl.fetch'),
}


def modules(package: str) -> dict[str, pathlib.Path]:
  """The package's modules by name without the package's: {'train': path}."""
  found = {}
  for path in sorted((ROOT / package).rglob('*.py')):
    parts = path.relative_to(ROOT / package).with_suffix('').parts
    if parts[-1] == '__init__':
      parts = parts[:-1]
    found['.'.join(parts)] = path
  return found


MODULES = modules(PACKAGE)


@functools.cache
def imports(module: str) -> tuple[str, ...]:
  """Full names that a module imports, wherever in it: 'jax.numpy', ..."""
  return tuple(_imports(module, MODULES[module]))


def _imports(module: str, path: pathlib.Path) -> Iterator[str]:
  is_package = path.name == '__init__.py'
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      origin = node.module or ''
      if node.level:
        here = [PACKAGE, *module.split('.')] if module else [PACKAGE]
        up = node.level - is_package
        base = here[: len(here) - up]
        origin = '.'.join([*base, *filter(None, [origin])])
      # `from hephaestus_jax import data` imports a module, not a name.
      yield from (f'{origin}.{alias.name}' for alias in node.names)


def inner(name: str) -> str | None:
  """The module of ours that an imported name is, or lies in; else None."""
  package, _, rest = name.partition('.')
  if package != PACKAGE:
    return None
  while rest not in MODULES:
    rest = rest.rpartition('.')[0]
  return rest


def place(module: str) -> str:
  """Where a module stands in FLOORS: itself or a package that it is in."""
  everything = [name for floor in FLOORS for name in floor]
  name = module
  while name not in everything:
    assert name, (
      f'{PACKAGE}/{module.replace(".", "/")}.py is on no floor: add '
      f"'{module}' to FLOORS in tests/imports_test.py, on the floor above "
      'the highest one that it imports.'
    )
    name = name.rpartition('.')[0]
  return name


def floor(module: str) -> int:
  spot = place(module)
  return next(i for i, names in enumerate(FLOORS) if spot in names)


def reached(module: str) -> dict[str, str]:
  """All that importing `module` imports, and which module of ours does it."""
  found: dict[str, str] = {}
  waiting, seen = [module], set()
  while waiting:
    current = waiting.pop()
    if current in seen:
      continue
    seen.add(current)
    for name in imports(current):
      found.setdefault(name.split('.')[0], current)
      within = inner(name)
      if within:
        waiting.append(within)
  return found


@pytest.mark.parametrize('module', sorted(filter(None, MODULES)))
def test_imports_point_down(module: str) -> None:
  if MODULES[module].name == '__init__.py' and module != 'corpus.catalogue':
    assert not list(imports(module)), (
      f'{module}/__init__.py imports something; a package re-exports nothing.'
    )
    return
  here = floor(module)
  for name in imports(module):
    other = inner(name)
    if not other or place(other) == place(module):
      continue
    assert floor(other) < here, (
      f'{module} (floor {here}) imports {other} (floor '
      f'{floor(other)}), which is not below it.'
    )


def test_every_place_of_the_map_exists() -> None:
  for name in (name for floor in FLOORS for name in floor):
    assert name in MODULES, (
      f"FLOORS in {__file__} names '{name}': no such file."
    )


def test_no_import_goes_in_a_circle() -> None:
  finished: set[str] = set()

  def walk(module: str, path: tuple[str, ...]) -> None:
    assert module not in path, ' -> '.join([*path, module])
    if module in finished:
      return
    for name in imports(module):
      other = inner(name)
      if other:
        walk(other, (*path, module))
    finished.add(module)

  for module in MODULES:
    walk(module, ())


@pytest.mark.parametrize('module', sorted(filter(None, MODULES)))
def test_a_library_is_imported_by_its_owners_alone(module: str) -> None:
  for name in imports(module):
    library = name.split('.')[0]
    if library in OWNERS:
      assert {module, place(module)} & {*OWNERS[library]}, (
        f'{module} imports {library}; only {OWNERS[library]} may.'
      )


@pytest.mark.parametrize('module', sorted(filter(None, MODULES)))
def test_the_library_never_imports_data_tasks(module: str) -> None:
  for name in imports(module):
    assert name.split('.')[0] != 'data_tasks', (
      f'{module} imports {name}; names of tasks come from outside.'
    )


@pytest.mark.parametrize(
  'module',
  [
    name
    for name in MODULES
    if name.startswith('corpus.') and name != 'corpus.retrieve.encoder'
  ],
)
def test_the_corpus_is_built_without_jax(module: str) -> None:
  found = reached(module)
  for library in MODEL_LIBRARIES:
    assert library not in found, (
      f'{module} reaches {library} through {found[library]}.'
    )


@pytest.mark.parametrize(
  'module', ['train', 'decode.engine', 'planning.plan', 'report.page', 'run']
)
def test_training_does_not_pay_for_the_data_libraries(module: str) -> None:
  found = reached(module)
  for library in DATA_LIBRARIES:
    assert library not in found, (
      f'{module} reaches {library} through {found[library]}.'
    )


def test_a_command_line_starts_without_the_heavy_libraries() -> None:
  found = reached('main')
  for library in (*DATA_LIBRARIES, *MODEL_LIBRARIES):
    assert library not in found, (
      f'main reaches {library} through {found[library]}; commands are '
      'imported when they are called.'
    )
