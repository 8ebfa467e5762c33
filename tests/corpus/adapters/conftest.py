"""Archives in the published format, with our own words in them."""

import pathlib
import zipfile
from collections.abc import Callable, Mapping

import pytest

from hephaestus_jax.corpus import catalogue, document
from hephaestus_jax.corpus.files import archive

Read = Callable[..., list[document.Document | document.Drop]]


@pytest.fixture
def read(tmp_path: pathlib.Path) -> Read:
  """read('botocore_docs', {member: content}) -> all that the source gives."""

  def run(
    name: str, members: Mapping[str, str | bytes], package: str = ''
  ) -> list[document.Document | document.Drop]:
    source = catalogue.by_name(name)
    package = package or next(iter(source.packages))
    path = tmp_path / f'{package.replace("-", "_")}-1.0-py3-none-any.whl'
    with zipfile.ZipFile(path, 'w') as file:
      for member, content in members.items():
        file.writestr(member, content)
    opened = archive.Archive(path)
    return [
      found
      for member in source.members(opened.names())
      for found in source.read(opened, member)
    ]

  return run
