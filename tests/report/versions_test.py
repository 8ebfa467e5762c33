"""The software is that which runs, and a commit is that of this code."""

import pathlib
import platform
import shutil
import subprocess

import jax
import pytest

from hephaestus_jax.report import versions


def test_versions_are_those_that_run_now() -> None:

  found = versions.versions()
  assert found['python'] == platform.python_version()
  assert found['jax'] == jax.__version__


def test_a_package_that_is_not_installed_has_no_version(
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  monkeypatch.setattr(versions, 'PACKAGES', ('no-such-package',))
  assert versions.versions()['no-such-package'] is None


@pytest.mark.skipif(shutil.which('git') is None, reason='needs git')
def test_code_inside_a_foreign_repository_has_no_commit(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  def git(*words: str) -> str:
    name = ('-c', 'user.name=a', '-c', 'user.email=a@b')
    command = ['git', '-C', str(tmp_path), *name, *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip()

  code = tmp_path / 'versions.py'
  code.write_text('1')
  monkeypatch.setattr(versions, '__file__', str(code))
  assert versions.commit() is None
  git('init', '-q')
  (tmp_path / 'other').write_text('1')
  git('add', 'other')
  git('commit', '-q', '-m', 'other')
  assert versions.commit() is None
  git('add', 'versions.py')
  git('commit', '-q', '-m', 'code')
  assert versions.commit() == git('rev-parse', '--short=12', 'HEAD')
  code.write_text('2')
  assert versions.commit() == (
    git('rev-parse', '--short=12', 'HEAD') + ' + changes'
  )
