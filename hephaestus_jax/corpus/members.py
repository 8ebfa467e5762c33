"""The units of reading: which source reads which member of which file."""

import pathlib
from collections.abc import Iterable, Mapping

from hephaestus_jax import artefacts, errors
from hephaestus_jax.corpus import source
from hephaestus_jax.corpus.files import archive

Member = tuple[str, str, str]  # source, path of an archive or folder, member


def of_packages(
  chosen: Iterable[source.Packages],
  archives: Mapping[str, pathlib.Path],
  requirements: str,
) -> list[Member]:
  """All that is read from registry packages.

  Args:
    chosen: the sources.
    archives: distribution name -> its archive.
    requirements: the file that pins them, for messages.

  Returns:
    [('botocore_docs', 'downloads/botocore-1.whl', 'botocore/data/a.json'), ...]

  Raises:
    errors.UserError: a package isn't pinned, or has nothing of a source.
  """
  names: dict[str, list[str]] = {}
  work: list[Member] = []
  for read in chosen:
    before = len(work)
    for package in read.packages:
      if package not in archives:
        raise errors.UserError(
          f'The source {read.name} reads the package {package}, which '
          f'{requirements} does not pin. Pin it, or leave the source out.'
        )
      if package not in names:
        names[package] = archive.Archive(archives[package]).names()
      path = str(archives[package])
      work += [
        (read.name, path, member) for member in read.members(names[package])
      ]
    if len(work) == before:
      raise errors.UserError(
        f'The source {read.name} finds none of its files in '
        f'{", ".join(read.packages)}. Pin versions that have them.'
      )
  return work


def of_data_sets(
  chosen: Iterable[source.DataSet], folders: Mapping[str, pathlib.Path]
) -> list[Member]:
  """All that is read from data sets.

  Args:
    chosen: the sources.
    folders: name of a source -> the folder or zip file with its files.

  Returns:
    [('toolbench', 'manual/toolbench', 'instruction/G1_query.json'), ...]

  Raises:
    errors.UserError: a folder has no file that its source reads.
  """
  work: list[Member] = []
  for read in chosen:
    path = folders[read.name]
    found = read.members(archive.opened(path).names())
    if not found:
      raise errors.UserError(
        f'The source {read.name} finds none of its files in {path}; '
        f'it reads {read.patterns}.'
      )
    work += [(read.name, str(path), member) for member in found]
  return work


def fingerprint(path: pathlib.Path) -> str:
  """Sixteen hex digits of the names and sizes of a folder's files.

  Contents aren't read: a data set may have terabytes.
  """
  found = archive.opened(path)
  return artefacts.fingerprint(found.sizes())
