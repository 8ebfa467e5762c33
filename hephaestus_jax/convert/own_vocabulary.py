"""A SentencePiece vocabulary of ours, as the files that Hugging Face has.

`transformers` would make a tokenizer of tokenizer.model alone, with a space put
before every text and without our special tokens. These files say how
`tokenizer.py` reads it, and how `chat.py` writes a conversation.
"""

import json
import pathlib

import sentencepiece
import tokenizers
from tokenizers import decoders, models, normalizers

from hephaestus_jax import chat, tokenizer

_SPACE = '▁'  # how SentencePiece writes one

# chat.render and chat.system_prompt, in the words of an OpenAI conversation.
CHAT_TEMPLATE = """\
{%- set now = namespace(turn='') %}
{%- macro part(turn) %}
  {%- if now.turn == turn %}
    {{- '\\n' }}
  {%- else %}
    {{- '<|im_end|>\\n' if now.turn else '' }}
    {{- '<|im_start|>' + turn + '\\n' }}
    {%- set now.turn = turn %}
  {%- endif %}
{%- endmacro %}
{%- if tools %}
  {{- part('system') }}
  {{- 'You can call functions. Answer a request with one tool call per ' }}
  {{- 'function to call, or in words when none of them fits.\\n<tools>\\n' }}
  {%- for tool in tools %}
    {{- (tool.function if tool.function else tool) | tojson }}
    {{- '\\n' }}
  {%- endfor %}
  {{- '</tools>' }}
{%- endif %}
{%- for message in messages %}
  {%- if message.role == 'tool' %}
    {{- part('tool') }}
    {{- '<tool_response>\\n' + message.content + '\\n</tool_response>' }}
  {%- elif message.content %}
    {{- part(message.role) + message.content }}
  {%- endif %}
  {%- for call in message.tool_calls or [] %}
    {%- set call = call.function if call.function else call %}
    {{- part('assistant') + '<tool_call>\\n' }}
    {{- {'name': call.name, 'arguments': call.arguments} | tojson }}
    {{- '\\n</tool_call>' }}
  {%- endfor %}
{%- endfor %}
{{- '<|im_end|>\\n' if now.turn else '' }}
{%- if add_generation_prompt %}
  {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


def files(path: pathlib.Path) -> dict[str, bytes]:
  """What goes along with a tokenizer.model: see the names.

  Args:
    path: a SentencePiece model.
  """
  loaded = tokenizer.load(str(path))
  model = sentencepiece.SentencePieceProcessor(model_file=str(path))
  pieces = [model.id_to_piece(i) for i in range(len(model))]
  made = tokenizers.Tokenizer(
    models.BPE(
      {piece: i for i, piece in enumerate(pieces)},
      _merges(model, pieces, loaded.special_tokens),
      unk_token=pieces[model.unk_id()],
      fuse_unk=True,
      byte_fallback=True,
    )
  )
  made.normalizer = normalizers.Replace(' ', _SPACE)
  made.decoder = decoders.Sequence(
    [decoders.Replace(_SPACE, ' '), decoders.ByteFallback(), decoders.Fuse()]
  )
  controls = [p for i, p in enumerate(pieces) if model.is_control(i)]
  made.add_special_tokens(
    [
      tokenizers.AddedToken(token, normalized=False, special=True)
      for token in [*controls, *loaded.special_tokens]
    ]
  )
  named = {
    'bos_token': loaded.bos_id,
    'eos_token': loaded.eos_id,
    'pad_token': loaded.pad_id,
    'unk_token': model.unk_id(),
  }
  settings = {
    'tokenizer_class': 'PreTrainedTokenizerFast',
    'clean_up_tokenization_spaces': False,
  } | {name: pieces[i] for name, i in named.items() if i is not None}
  ends = [loaded.eos_id, *map(loaded.token_id, chat.stops())]
  ids = {
    'bos_token_id': loaded.bos_id,
    'eos_token_id': [i for i in ends if i is not None],
    'pad_token_id': loaded.pad_id,
  }
  found = {
    'tokenizer.json': made.to_str(pretty=True),
    'tokenizer_config.json': json.dumps(settings, indent=2) + '\n',
    'generation_config.json': json.dumps(ids, indent=2) + '\n',
    'config.json': json.dumps(ids),  # what the network's is added to
    'chat_template.jinja': CHAT_TEMPLATE,
  }
  return {name: text.encode() for name, text in found.items()}


def _merges(
  model: sentencepiece.SentencePieceProcessor,
  pieces: list[str],
  special_tokens: tuple[str, ...],
) -> list[tuple[str, str]]:
  """The pairs that become a piece, the best piece first.

  SentencePiece keeps no merges: it joins whichever pair makes the piece of the
  highest score.
  """
  ids = {piece: i for i, piece in enumerate(pieces)}
  found = []
  for i, piece in enumerate(pieces):
    if model.is_control(i) or model.is_unknown(i) or model.is_byte(i):
      continue
    if piece in special_tokens:
      continue
    pairs = [
      (piece[:cut], piece[cut:])
      for cut in range(1, len(piece))
      if piece[:cut] in ids and piece[cut:] in ids
    ]
    found += [(-model.get_score(i), ids[a], ids[b], a, b) for a, b in pairs]
  return [(a, b) for *_, a, b in sorted(found)]
