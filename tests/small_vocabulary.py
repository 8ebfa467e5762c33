"""A vocabulary of 32 tokens as Hugging Face publishes it; no tests."""

import json
import pathlib

import tokenizers

TOKENS = ('<s>', '</s>', *'abcdefghijklmnopqrstuvwxyz', ' ', '.', ',', '\n')
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def write(folder: pathlib.Path) -> None:
  """tokenizer.json, its config and a chat template."""
  made = tokenizers.Tokenizer(
    tokenizers.models.BPE({token: i for i, token in enumerate(TOKENS)}, [])
  )
  made.add_special_tokens(list(TOKENS[:2]))
  made.save(str(folder / 'tokenizer.json'))
  config = {
    'tokenizer_class': 'PreTrainedTokenizerFast',
    'bos_token': TOKENS[0],
    'eos_token': TOKENS[1],
  }
  (folder / 'tokenizer_config.json').write_text(json.dumps(config))
  (folder / 'chat_template.jinja').write_text(TEMPLATE)
