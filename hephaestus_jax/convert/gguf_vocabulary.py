"""The vocabulary inside a GGUF file, as the files that Hugging Face has of it.

The file names its splitting rules and doesn't hold them. Those of one family
are known here; a vocabulary that is split otherwise is refused, since nothing
would show that the ids are wrong.
"""

import json
from collections.abc import Callable
from typing import Any

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from hephaestus_jax import errors

_CONTROL, _USER_DEFINED = 3, 4  # token types of GGUF
_NAMED = {
  'bos_token': 'bos_token_id',
  'eos_token': 'eos_token_id',
  'unk_token': 'unknown_token_id',
  'pad_token': 'padding_token_id',
}


def _smollm() -> pre_tokenizers.PreTokenizer:
  """GPT-2's splitting, with every digit alone."""
  return pre_tokenizers.Sequence(
    [
      pre_tokenizers.Digits(individual_digits=True),
      pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ]
  )


_SPLITTING = {'smollm': _smollm}


def files(metadata: Callable[[str], Any], where: str) -> dict[str, bytes]:
  """tokenizer.json, tokenizer_config.json and, if any, chat_template.jinja.

  Args:
    metadata: what the file says under a key, None where it says nothing.
    where: what a message calls it.

  Raises:
    errors.UserError: its splitting rules are not known.
  """
  kind = metadata('tokenizer.ggml.model')
  splitting = metadata('tokenizer.ggml.pre')
  if kind != 'gpt2' or splitting not in _SPLITTING:
    raise errors.UserError(
      f'{where} has a vocabulary of the kind {kind!r}, split as {splitting!r}; '
      f"known are 'gpt2', split as {' or '.join(map(repr, _SPLITTING))}. "
      "Import the model's safetensors, which come with a tokenizer.json."
    )
  tokens = metadata('tokenizer.ggml.tokens')
  merges = [tuple(m.split(' ')) for m in metadata('tokenizer.ggml.merges')]
  made = tokenizers.Tokenizer(
    models.BPE({token: i for i, token in enumerate(tokens)}, merges)
  )
  made.pre_tokenizer = _SPLITTING[splitting]()
  made.decoder = decoders.ByteLevel()
  types = metadata('tokenizer.ggml.token_type') or []
  for token, type_ in zip(tokens, types, strict=False):
    if type_ in (_CONTROL, _USER_DEFINED):
      special = type_ == _CONTROL
      added = tokenizers.AddedToken(token, normalized=False, special=special)
      # Each by itself: that keeps their order, and a known token its id.
      (made.add_special_tokens if special else made.add_tokens)([added])
  settings: dict[str, Any] = {
    'tokenizer_class': 'PreTrainedTokenizerFast',
    'clean_up_tokenization_spaces': False,
  }
  for name, key in _NAMED.items():
    index = metadata(f'tokenizer.ggml.{key}')
    if index is not None:
      settings[name] = tokens[index]
  found = {
    'tokenizer.json': made.to_str(pretty=True),
    'tokenizer_config.json': json.dumps(settings, indent=2) + '\n',
  }
  template = metadata('tokenizer.chat_template')
  if template:
    found['chat_template.jinja'] = template
  return {name: text.encode() for name, text in found.items()}
