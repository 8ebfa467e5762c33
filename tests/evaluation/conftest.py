"""BFCL as it is published, for the tests of what we make of it."""

import fcntl
import pathlib

import pytest

from hephaestus_jax import errors, sandbox
from hephaestus_jax.evaluation import bfcl_official, bfcl_scores, package_folder

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope='session')
def isolation():
  """What this machine offers; the tests of sandbox.py hold it to account."""
  try:
    return sandbox.available()
  except errors.UserError:
    return 'none'


@pytest.fixture(scope='session')
def requirements():
  return str(ROOT / 'requirements' / 'bfcl.txt')


@pytest.fixture(scope='session')
def folder(requirements):
  """bfcl-eval, from the package index the first time."""
  target = ROOT / 'downloads' / 'bfcl'
  target.parent.mkdir(exist_ok=True)
  with (target.parent / 'bfcl.lock').open('w') as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)  # other workers wait for the first
    return package_folder.install(requirements, str(target))


@pytest.fixture(scope='session')
def entries(folder, isolation):
  """Every question of one turn, as a model with tools is asked."""
  return bfcl_official.read_entries(
    folder, list(bfcl_scores.SINGLE_TURN), isolation
  )
