"""What software drew a report: versions and the commit of this code."""

import importlib.metadata
import pathlib
import platform
import shutil
import subprocess

PACKAGES = (
  'hephaestus-jax',
  'jax',
  'jaxlib',
  'flax',
  'optax',
  'orbax-checkpoint',
  'grain',
  'array-record',
  'seqio',
  'tensorflow',
  'tensorflow-datasets',
  'apache-beam',
  'sentencepiece',
  'numpy',
)


def versions() -> dict[str, str | None]:
  """Versions by name and this code's commit; None for what isn't there."""
  return {
    'commit': commit(),
    'python': platform.python_version(),
    **{name: _version(name) for name in PACKAGES},
  }


def commit() -> str | None:
  """The git commit of this code, '+ changes' if it was changed since.

  None where git is missing, or the code is in no repository's care.
  """
  here = pathlib.Path(__file__).resolve()
  if shutil.which('git') is None:
    return None

  def git(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
      ('git', '-C', str(here.parent), *words),
      capture_output=True,
      text=True,
      check=False,
    )

  # An installed copy may lie inside another project's repository.
  if git('ls-files', '--error-unmatch', here.name).returncode:
    return None
  changed = git('status', '--porcelain', '--untracked-files=no').stdout
  head = git('rev-parse', '--short=12', 'HEAD').stdout.strip()
  return head + (' + changes' if changed else '')


def _version(package: str) -> str | None:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None
