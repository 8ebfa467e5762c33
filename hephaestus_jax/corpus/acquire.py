"""Where a data set's files lie: a folder of the user's, or downloaded.

TFDS's download manager does the downloading: its cache, its record of sizes and
SHA-256 (`checksums.tsv`, checked ever after), its bars. Added are a token for
the Hugging Face hub and a transfer that goes on where it was cut.
"""

import dataclasses
import functools
import hashlib
import os
import pathlib
import re
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import requests
from tensorflow_datasets.core.download import (
  checksums,
  download_manager,
  downloader,
)

from hephaestus_jax import artefacts, errors
from hephaestus_jax.corpus import source

TOKEN = 'HF_TOKEN'  # the environment variable with a token for the hub
_ATTEMPTS = 5  # at one file, each from where the last one was cut
_TIMEOUT = 60  # seconds without a byte
_BLOCK = 1 << 16  # bytes; less is lost when a transfer is cut
_CUT = (
  requests.ConnectionError,
  requests.Timeout,
  requests.exceptions.ChunkedEncodingError,
)


@dataclasses.dataclass(frozen=True)
class Hosts:
  """Where hubs answer.

  Attributes:
    hugging_face: of data sets and their files.
    github: of repositories as zip files.
  """

  hugging_face: str = 'https://huggingface.co'
  github: str = 'https://codeload.github.com'


@dataclasses.dataclass(frozen=True)
class Remote:
  """A file to be downloaded.

  Attributes:
    path: where it will lie in the source's folder.
    url: where it is.
    sha256: what the hub says of its content, '' if it doesn't.
  """

  path: str
  url: str
  sha256: str = ''


def folders(
  chosen: Iterable[source.DataSet],
  named: Mapping[str, str],
  manual_dir: str,
  downloads: str,
) -> dict[str, pathlib.Path]:
  """The folder of every data set: as named, or as `folder` finds it.

  Args:
    chosen: the data sets.
    named: name of a source -> its folder or zip file.
    manual_dir: as in `folder`.
    downloads: as in `folder`.

  Raises:
    errors.UserError: one isn't there, or `named` names no source of `chosen`.
  """
  wanted = {of.name: of for of in chosen}
  for name, path in named.items():
    if name not in wanted:
      raise errors.UserError(
        f'FOLDERS names {name!r}, which is no data set of this build: add it '
        'to SOURCES, or leave it out.'
      )
    if not pathlib.Path(path).exists():
      raise errors.UserError(
        f'{path}, the folder of {name} in FOLDERS, does not exist.'
      )
  return {
    name: pathlib.Path(named[name])
    if name in named
    else folder(of, manual_dir, downloads, Hosts())
    for name, of in wanted.items()
  }


def folder(
  of: source.DataSet, manual_dir: str, downloads: str, hosts: Hosts
) -> pathlib.Path:
  """The folder with a data set's files.

  MANUAL_DIR/<source> if it is there, else DOWNLOADS/data_sets/<source>, which
  is downloaded unless it is there whole.

  Args:
    of: the source.
    manual_dir: where the user puts data sets, a folder per source.
    downloads: where downloads are kept.
    hosts: where hubs answer.

  Raises:
    errors.UserError: it is in neither place and can't be downloaded; the
      message names both ways.
  """
  manual = pathlib.Path(manual_dir, of.name)
  if manual.is_dir():
    return manual
  shelf = pathlib.Path(downloads, 'data_sets')
  target = shelf / of.name
  inputs = {
    'location': dataclasses.asdict(of.location),
    'patterns': [files.pattern for files in of.files],
  }
  if artefacts.reusable(target, inputs):
    return target
  try:
    with artefacts.written(target, inputs) as partial:
      _download(_remotes(of, hosts), shelf, partial, hosts)
  except _Refused as error:
    raise errors.UserError(
      f'{of.name}: {error}. Put its files into {manual}, or '
      f'{error.way_out} and run again.'
    ) from error
  return target


class _Refused(Exception):
  """A server didn't give what it was asked for.

  Attributes:
    way_out: what the user can do about it.
  """

  def __init__(self, message: str, way_out: str = 'check the network') -> None:
    super().__init__(message)
    self.way_out = way_out


def _remotes(of: source.DataSet, hosts: Hosts) -> list[Remote]:
  """What is to be downloaded.

  Raises:
    _Refused: the data set isn't published as files, or has none that are read.
  """
  location = of.location
  if location.huggingface:
    return _of_hub(of, hosts)
  if location.github:
    name = location.github.rpartition('/')[2]
    revision = location.revision or 'HEAD'
    return [
      Remote(f'{name}.zip', f'{hosts.github}/{location.github}/zip/{revision}')
    ]
  if location.made_by:
    raise _Refused(
      f'`hephaestus {location.made_by}` makes it',
      'name the folder that it wrote in FOLDERS',
    )
  if not location.urls:
    raise _Refused(
      f'nobody publishes it as files (see {of.home})',
      'leave it out of SOURCES',
    )
  return [
    Remote(url.rpartition('/')[2].partition('?')[0], url)
    for url in location.urls
  ]


def _of_hub(of: source.DataSet, hosts: Hosts) -> list[Remote]:
  """The files of a Hugging Face data set that are read."""
  location = of.location
  revision = urllib.parse.quote(location.revision or 'main', safe='')
  base = f'{hosts.hugging_face}/api/datasets/{location.huggingface}'
  page: str | None = f'{base}/tree/{revision}?recursive=true'
  found = []
  while page:
    entries, page = _listed(page, hosts)
    for entry in entries:
      path = str(entry.get('path', ''))
      if entry.get('type') == 'file' and _is_wanted(of, path):
        if '..' in path.split('/') or path.startswith('/'):
          raise _Refused(f'{of.home} names a file outside it: {path!r}')
        url = (
          f'{hosts.hugging_face}/datasets/{location.huggingface}/resolve/'
          f'{revision}/{urllib.parse.quote(path)}'
        )
        lfs = entry.get('lfs') or {}
        found.append(Remote(path, url, str(lfs.get('oid', ''))))
  if not found:
    raise _Refused(
      f'{of.home} has none of the files that are read',
      'give its row in the catalogue other patterns',
    )
  return found


def _listed(url: str, hosts: Hosts) -> tuple[list[dict[str, Any]], str | None]:
  """A page of the hub's list of files, and where the next one is."""
  try:
    response = _get(url, hosts)
    return response.json(), response.links.get('next', {}).get('url')
  except requests.RequestException as error:
    raise _Refused(f'{error!s:.200}') from error


def _is_wanted(of: source.DataSet, path: str) -> bool:
  if of.location.files:
    return any(source.fits(pattern, path) for pattern in of.location.files)
  return of.files_of(path) is not None


def _get(url: str, hosts: Hosts, **headers: str) -> requests.Response:
  """An answer whose body is still to be read.

  Raises:
    _Refused: it is no 2xx.
    requests.RequestException: there is none.
  """
  response = requests.get(
    url,
    headers=headers | _authorization(url, hosts),
    stream=True,
    timeout=_TIMEOUT,
  )
  if response.status_code in (401, 403):
    raise _Refused(
      f'{url} asks for permission ({response.status_code})',
      f'ask for access on the site, set {TOKEN} to your token',
    )
  if not response.ok:
    raise _Refused(f'{url} answered {response.status_code}')
  return response


def _authorization(url: str, hosts: Hosts) -> dict[str, str]:
  """The token, for the hub and nobody else."""
  token = os.environ.get(TOKEN)
  if token and url.startswith(f'{hosts.hugging_face}/'):
    return {'Authorization': f'Bearer {token}'}
  return {}


def _download(
  remotes: Sequence[Remote],
  shelf: pathlib.Path,
  target: pathlib.Path,
  hosts: Hosts,
) -> None:
  """Downloads files, checks or records what they are, and puts them in place.

  Raises:
    _Refused: a server didn't give one, or another one than before.
  """
  record = shelf / 'checksums.tsv'
  known = checksums.load_url_infos(record) if record.exists() else {}
  got: dict[str, pathlib.Path] = {}
  for register in (False, True):
    urls = [r.url for r in remotes if (r.url not in known) == register]
    if urls:
      got |= _fetch(urls, known, record if register else None, shelf, hosts)
  for remote in remotes:
    if remote.sha256 and artefacts.sha256(got[remote.url]) != remote.sha256:
      raise _Refused(
        f'{remote.url} is not what the hub says it is (SHA-256)',
        f'delete {got[remote.url]}',
      )
    path = target / remote.path
    path.parent.mkdir(parents=True, exist_ok=True)
    # The same file under its own name: no second copy of a large one.
    os.link(got[remote.url], path)


def _fetch(
  urls: Sequence[str],
  known: Mapping[str, checksums.UrlInfo],
  record: pathlib.Path | None,
  shelf: pathlib.Path,
  hosts: Hosts,
) -> dict[str, pathlib.Path]:
  """url -> file; records checksums in `record`, or checks the known ones."""
  manager = _Manager(
    transfers=_Transfers(shelf / 'partial', hosts),
    download_dir=shelf / 'files',
    url_infos=dict(known),
    register_checksums=record is not None,
    register_checksums_path=record,
    force_checksums_validation=record is None,
  )
  try:
    found = manager.download({url: url for url in urls})
  except download_manager.NonMatchingChecksumError as error:
    changed = re.search(r'Artifact (\S+),', str(error))
    raise _Refused(
      f'{changed and changed.group(1)} is not what it was when it was first '
      'downloaded (SHA-256)',
      f'delete its line in {shelf / "checksums.tsv"}',
    ) from error
  except requests.RequestException as error:
    raise _Refused(f'{error!s:.200}') from error
  return {url: pathlib.Path(path) for url, path in found.items()}


class _Manager(download_manager.DownloadManager):
  """TFDS's download manager with our transfers."""

  def __init__(self, transfers: '_Transfers', **options: Any) -> None:
    super().__init__(**options)
    self._transfers = transfers

  @functools.cached_property
  def _downloader(self) -> downloader._Downloader:
    return self._transfers


class _Transfers(downloader._Downloader):
  """TFDS's downloader with a token, going on where a transfer was cut."""

  def __init__(self, partial: pathlib.Path, hosts: Hosts) -> None:
    super().__init__(max_simultaneous_downloads=4)
    self._partial = partial
    self._hosts = hosts

  def _sync_download(
    self, url: str, destination_path: Any, verify: bool = True
  ) -> downloader.DownloadResult:
    del verify  # always
    self._partial.mkdir(parents=True, exist_ok=True)
    part = self._partial / hashlib.sha256(url.encode()).hexdigest()
    for attempt in range(1, _ATTEMPTS + 1):
      try:
        name = self._transfer(url, part)
        break
      except _CUT:
        if attempt == _ATTEMPTS:
          raise
    path = pathlib.Path(destination_path, name)
    part.replace(path)
    _tag_of(part).unlink(missing_ok=True)
    self._pbar_url.update(1)
    return downloader.DownloadResult(
      path=type(destination_path)(path),
      url_info=checksums.compute_url_info(path),
    )

  def _transfer(self, url: str, part: pathlib.Path) -> str:
    """Adds to `part` what is missing; returns the file's name."""
    tag = _tag_of(part)
    begin = part.stat().st_size if part.exists() and tag.exists() else 0
    ranged = (
      {'Range': f'bytes={begin}-', 'If-Range': tag.read_text()} if begin else {}
    )
    # Unpacked bytes would be of another length than what was announced.
    response = _get(
      url, self._hosts, **{'Accept-Encoding': 'identity'}, **ranged
    )
    # The server has another file by now, or can't give a part of it.
    goes_on = response.status_code == requests.codes.partial_content
    if etag := response.headers.get('ETag', ''):
      tag.write_text(etag)
    else:
      tag.unlink(missing_ok=True)
    with part.open('ab' if goes_on else 'wb') as file:
      for block in response.iter_content(_BLOCK):
        file.write(block)
        self._pbar_dl_size.update(len(block) / (1 << 20))
    return downloader._get_filename(response)


def _tag_of(part: pathlib.Path) -> pathlib.Path:
  """The file that says which version of a file `part` is of."""
  return part.with_suffix('.etag')
