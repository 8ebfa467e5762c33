"""Packages that are not installed beside ours, because their pins are others.

pip puts them into a folder of their own, once, and a program in the sandbox
reads them from there.
"""

import pathlib
import subprocess
import sys

from hephaestus_jax import artefacts, errors


def install(requirements: str, folder: str) -> pathlib.Path:
  """The packages of a file of pins and hashes; pip runs only the first time.

  Raises:
    errors.UserError: there is no such file, pip failed, or the folder holds
      other versions.
  """
  path, file = pathlib.Path(folder), pathlib.Path(requirements)
  inputs = {'requirements': fingerprint(requirements)}
  if artefacts.reusable(path, inputs):
    print(f'reused {path}')
    return path
  with artefacts.written(path, inputs) as target:
    command = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps']
    command += ['--require-hashes', '--disable-pip-version-check']
    command += ['--target', str(target), '-r', str(file)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
      raise errors.UserError(
        f'pip could not install {file} into {path}: '
        f'{result.stderr.strip().splitlines()[-1:]}. Check the network, and '
        'start again.'
      )
  return path


def fingerprint(requirements: str) -> str:
  """Which versions the file pins.

  Raises:
    errors.UserError: there is no such file.
  """
  file = pathlib.Path(requirements)
  if not file.is_file():
    raise errors.UserError(
      f'There is no {requirements}. Start from the folder that holds '
      'requirements/, or name the file.'
    )
  return artefacts.file_fingerprint(file)
