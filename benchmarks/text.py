"""Gathers real text of this machine into lines of JSON: {"id", "text"}.

    .venv/bin/python benchmarks/text.py /tmp/text --megabytes 1000 \
      .venv /usr/share/doc downloads

Source code, documentation and JSON of installed packages, and of wheels that
lie in the folders: real, and with the repetitions that real text has. Prints
how much it is; the same folders give the same files.
"""

import argparse
import json
import pathlib
import zipfile
from collections.abc import Iterator, Sequence

ENDINGS = ('.py', '.pyi', '.md', '.rst', '.txt', '.h', '.hpp', '.json', '.html')
LARGEST = 1_000_000  # bytes; longer files are data
SHARD = 10_000_000  # bytes


def texts(folders: Sequence[pathlib.Path]) -> Iterator[tuple[str, str]]:
  """(path, text) of all files that are UTF-8."""
  for name, content in _files(folders):
    if len(content) <= LARGEST:
      try:
        yield name, content.decode()
      except UnicodeDecodeError:
        continue


def _files(folders: Sequence[pathlib.Path]) -> Iterator[tuple[str, bytes]]:
  for folder in folders:
    for path in sorted(folder.rglob('*')):
      if path.is_symlink() or not path.is_file():
        continue
      if path.suffix in ENDINGS:
        yield str(path), path.read_bytes()
      elif path.suffix == '.whl':
        with zipfile.ZipFile(path) as wheel:
          for info in wheel.infolist():
            if info.filename.endswith(ENDINGS):
              yield f'{path.name}/{info.filename}', wheel.read(info)


def main() -> None:
  """The command line."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('output', type=pathlib.Path)
  parser.add_argument('folders', type=pathlib.Path, nargs='+')
  parser.add_argument('--megabytes', type=int, default=1000)
  options = parser.parse_args()
  options.output.mkdir(parents=True)
  documents = size = shard = 0
  file = None
  for name, text in texts(options.folders):
    if size >= options.megabytes * 1_000_000:
      break
    if file is None or file.tell() > SHARD:
      if file:
        file.close()
      path = options.output / f'text-{shard:05d}.jsonl'
      file = path.open('w', encoding='utf-8')
      shard += 1
    file.write(json.dumps({'id': name, 'text': text}) + '\n')
    documents += 1
    size += len(text.encode())
  if file:
    file.close()
  print(json.dumps({'documents': documents, 'MB': size / 1e6, 'files': shard}))


if __name__ == '__main__':
  main()
