"""What holds for every file of the house."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
TREES = {
  str(path.relative_to(ROOT)): ast.parse(path.read_text())
  for folder in ('hephaestus_jax', 'data_tasks', 'tests')
  for path in sorted((ROOT / folder).rglob('*.py'))
}
# Reading what one of these wrote runs whatever its writer put in.
EXECUTED_ON_LOAD = {
  'cloudpickle',
  'dill',
  'joblib',
  'marshal',
  'pickle',
  'shelve',
}
SHELVES = {'common', 'factory', 'helpers', 'misc', 'registry', 'util', 'utils'}


def test_every_module_says_what_it_is() -> None:
  silent = [
    file
    for file, tree in TREES.items()
    if not file.startswith('tests/') and not ast.get_docstring(tree)
  ]
  assert not silent, f'{silent}: begin each with a docstring.'


def test_nothing_is_pickled() -> None:
  found = []
  for file, tree in TREES.items():
    for node in ast.walk(tree):
      names = []
      if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
      elif isinstance(node, ast.ImportFrom):
        names = [node.module or '']
      if any(name.split('.')[0] in EXECUTED_ON_LOAD for name in names):
        found.append(f'{file} imports {names}')
      if isinstance(node, ast.keyword) and node.arg == 'allow_pickle':
        value = node.value
        if not isinstance(value, ast.Constant) or value.value is not False:
          found.append(f'{file}, line {value.lineno}, allows pickle')
  assert not found, f'{found}: what these load runs code.'


def test_a_file_is_named_after_its_subject() -> None:
  shelves = [file for file in TREES if pathlib.Path(file).stem in SHELVES]
  assert not shelves, f'{shelves}: name each after what is in it.'


def test_the_folder_of_gin_files_holds_no_python() -> None:
  python = [str(path) for path in (ROOT / 'gin').rglob('*.py')]
  assert not python, (
    f'{python}: gin/ shares its name with the library, and a .py file in it '
    'would be imported in its place.'
  )
