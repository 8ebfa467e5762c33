"""The small files published beside weights: vocabulary, config, licence.

An import keeps them unchanged in `published/`; an export copies those beside
the tokenizer that it is given.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from hephaestus_jax import errors, tokenizer

FOLDER = 'published'
CONFIG = 'config.json'
# In the order in which one is chosen.
TOKENIZERS = ('tokenizer.json', 'tokenizer.model')
_FILES = (
  *(CONFIG, 'generation_config.json'),
  *(*TOKENIZERS, 'tokenizer_config.json', 'special_tokens_map.json'),
  *('added_tokens.json', 'vocab.json', 'merges.txt'),
  *('chat_template.jinja', 'chat_template.json'),
  *('LICENSE', 'LICENSE.txt', 'LICENSE.md', 'NOTICE', 'NOTICE.txt'),
  'USE_POLICY.md',
)


def read(folder: pathlib.Path) -> dict[str, bytes]:
  """The files of this kind in a folder, by name."""
  paths = [folder / name for name in _FILES]
  return {path.name: path.read_bytes() for path in paths if path.is_file()}


def write(folder: pathlib.Path, files: Mapping[str, bytes]) -> None:
  """Writes files into a folder, which is made if it is absent."""
  folder.mkdir(exist_ok=True)
  for name, content in files.items():
    (folder / name).write_bytes(content)


def vocabulary(folder: pathlib.Path) -> tokenizer.Tokenizer | None:
  """The vocabulary among a folder's files, if there is one.

  Raises:
    errors.UserError: it is damaged.
  """
  for name in TOKENIZERS:
    if (folder / name).is_file():
      return tokenizer.load(str(folder / name))
  return None


def read_config(path: pathlib.Path) -> dict[str, Any]:
  """A config.json, or another file that holds one JSON object.

  Raises:
    errors.UserError: it is no JSON object.
  """
  try:
    found = json.loads(path.read_text())
  except ValueError as error:
    raise errors.UserError(
      f'{path} is no JSON ({error}). Download it again.'
    ) from None
  if not isinstance(found, dict):
    raise errors.UserError(f'{path} is no JSON object. Download it again.')
  return found
