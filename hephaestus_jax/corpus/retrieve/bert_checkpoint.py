"""Reads a BERT checkpoint folder as Hugging Face lays it out, without torch.

The folder holds config.json, model.safetensors (or several files and their
index), and tokenizer.json or vocab.txt. What the network of encoder.py doesn't
compute is refused, never ignored: another activation, relative positions, a
tensor of unknown use.
"""

import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import tokenizers

from hephaestus_jax import errors
from hephaestus_jax.convert import published, safetensor_files

# The paper's encoder (section 4.2). Its repository has PyTorch's pickle only.
PAPERS = 'OpenMatch/cocodr-base-msmarco'
# The activations by their names in config.json: erf, tanh twice, none.
ACTIVATIONS = ('gelu', 'gelu_new', 'gelu_pytorch_tanh', 'relu')
SIZES = {
  'vocab_size': 'vocab_size',
  'emb_dim': 'hidden_size',
  'num_layers': 'num_hidden_layers',
  'num_heads': 'num_attention_heads',
  'mlp_dim': 'intermediate_size',
  'max_positions': 'max_position_embeddings',
  'num_types': 'type_vocab_size',
}
# Tensors of heads that an encoder has no use for, and a constant that old
# checkpoints store.
_UNUSED = re.compile(r'pooler\.|cls\.|embeddings\.position_ids$')
# How the oldest checkpoints call what LayerNorm multiplies by and adds.
_OLD = {'.gamma': '.weight', '.beta': '.bias'}
_LAYER = {
  'query': 'attention.self.query',
  'key': 'attention.self.key',
  'value': 'attention.self.value',
  'output': 'attention.output.dense',
  'attention_norm': 'attention.output.LayerNorm',
  'up': 'intermediate.dense',
  'down': 'output.dense',
  'mlp_norm': 'output.LayerNorm',
}


@dataclasses.dataclass(frozen=True)
class Config:
  """What a BERT is. The words are those of model.Config.

  Attributes:
    max_positions: tokens in the longest input.
    num_types: rows of the token type embedding; only the first is used.
    activation: one of ACTIVATIONS.
  """

  vocab_size: int
  emb_dim: int
  num_layers: int
  num_heads: int
  mlp_dim: int
  max_positions: int
  num_types: int
  activation: str
  norm_epsilon: float


def read_config(folder: pathlib.Path) -> Config:
  """The network that a folder's config.json describes.

  Raises:
    errors.UserError: there is no such folder or file, or it describes a
      network that isn't this BERT.
  """
  path = folder / 'config.json'
  if not path.is_file():
    raise errors.UserError(
      f'There is no encoder checkpoint at {folder}: it has no config.json. '
      f"The paper's encoder is COCO-DR: `hf download {PAPERS} --local-dir "
      f'{folder}`. Or bind ENCODER to the folder of another BERT.'
    )
  found = published.read_config(path)
  known: Mapping[str, tuple[Any, ...]] = {
    'model_type': ('bert',),
    'hidden_act': ACTIVATIONS,
    'position_embedding_type': ('absolute',),
    'is_decoder': (False,),
    'add_cross_attention': (False,),
  }
  # transformers leaves out what equals its defaults.
  defaults = {'hidden_act': 'gelu', 'type_vocab_size': 2, 'model_type': None}
  for name, values in known.items():
    value = found.get(name, defaults.get(name, values[0]))
    if value not in values:
      raise errors.UserError(
        f'{path} says {name} = {value!r}; the encoder computes '
        f'{" or ".join(map(repr, values))} only. Choose another checkpoint.'
      )
  sizes = {}
  for ours, theirs in SIZES.items():
    size = found.get(theirs, defaults.get(theirs))
    if type(size) is not int or size < 1:
      raise errors.UserError(
        f'{path} says {theirs} = {size!r}; it must be a number above 0.'
      )
    sizes[ours] = size
  if sizes['emb_dim'] % sizes['num_heads']:
    raise errors.UserError(
      f'{path} says hidden_size = {sizes["emb_dim"]}, which is no multiple of '
      f'num_attention_heads = {sizes["num_heads"]}.'
    )
  return Config(
    **sizes,
    activation=found.get('hidden_act', 'gelu'),
    norm_epsilon=float(found.get('layer_norm_eps', 1e-12)),
  )


def read_parameters(folder: pathlib.Path, config: Config) -> dict[str, Any]:
  """The encoder's parameters, matrices as [in, out], layers stacked on axis 0.

  {'word': [V, D], 'position': [P, D], 'type': [D], 'norm': {'scale', 'bias'},
   'layers': {'query': {'kernel': [layers, D, D], 'bias': [layers, D]}, ...,
              'attention_norm': {'scale': [layers, D], 'bias': ...}, ...}}

  Raises:
    errors.UserError: there are no safetensors, one is damaged, or a tensor is
      missing, unknown or of another shape than `config` says.
  """
  tensors = _read_tensors(folder)
  D, F = config.emb_dim, config.mlp_dim

  def take(name: str, *shape: int) -> np.ndarray:
    if name not in tensors:
      raise errors.UserError(
        f'{folder} has no tensor {name}. Download the checkpoint again.'
      )
    tensor = tensors.pop(name)
    if tensor.shape != shape:
      raise errors.UserError(
        f'{folder}: the tensor {name} is {tensor.shape}, and config.json '
        f'makes it {shape}. They are of different checkpoints.'
      )
    return tensor.astype(np.float32)

  def norm(name: str) -> dict[str, np.ndarray]:
    return {'scale': take(f'{name}.weight', D), 'bias': take(f'{name}.bias', D)}

  def dense(name: str, inputs: int, outputs: int) -> dict[str, np.ndarray]:
    return {
      'kernel': take(f'{name}.weight', outputs, inputs).T,
      'bias': take(f'{name}.bias', outputs),
    }

  def layer(index: int) -> dict[str, dict[str, np.ndarray]]:
    parts = {}
    for ours, theirs in _LAYER.items():
      name = f'encoder.layer.{index}.{theirs}'
      if ours.endswith('norm'):
        parts[ours] = norm(name)
      else:
        inputs = F if ours == 'down' else D
        parts[ours] = dense(name, inputs, F if ours == 'up' else D)
    return parts

  words = 'embeddings.word_embeddings.weight'
  positions = 'embeddings.position_embeddings.weight'
  types = 'embeddings.token_type_embeddings.weight'
  layers = [layer(index) for index in range(config.num_layers)]
  parameters = {
    'word': take(words, config.vocab_size, D),
    'position': take(positions, config.max_positions, D),
    'type': take(types, config.num_types, D)[0],
    'norm': norm('embeddings.LayerNorm'),
    'layers': {
      part: {
        name: np.stack([one[part][name] for one in layers])
        for name in layers[0][part]
      }
      for part in _LAYER
    },
  }
  if tensors:
    raise errors.UserError(
      f'{folder} has the tensor {sorted(tensors)[0]}, which is no part of a '
      'BERT encoder as this one computes it. Choose another checkpoint.'
    )
  return parameters


def _read_tensors(folder: pathlib.Path) -> dict[str, np.ndarray]:
  """The encoder's tensors of all files, under their names without 'bert.'."""
  stored = safetensor_files.Folder(folder)
  tensors = {}
  for name in sorted(stored.names()):
    plain = name.removeprefix('bert.')
    for old, new in _OLD.items():
      if plain.endswith(f'LayerNorm{old}'):
        plain = plain.removesuffix(old) + new
    if not _UNUSED.match(plain):
      tensors[plain] = stored.read(name, ())
  return tensors


def read_tokenizer(
  folder: pathlib.Path, config: Config
) -> tokenizers.Tokenizer:
  """The vocabulary, whose encodings begin with [CLS] and end with [SEP].

  Raises:
    errors.UserError: there is none, it is damaged, or it has more tokens than
      the network.
  """
  path, words = folder / 'tokenizer.json', folder / 'vocab.txt'
  if path.is_file():
    try:
      read = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # The library raises bare Exceptions.
      raise errors.UserError(
        f'{path} is no tokenizer ({error}). Download it again.'
      ) from error
  elif words.is_file():
    settings = folder / 'tokenizer_config.json'
    read = _from_words(
      words, published.read_config(settings) if settings.is_file() else {}
    )
  else:
    raise errors.UserError(
      f'{folder} has neither tokenizer.json nor vocab.txt. Download the '
      'checkpoint again.'
    )
  read.no_padding()
  read.no_truncation()
  if read.get_vocab_size() > config.vocab_size:
    raise errors.UserError(
      f'The vocabulary in {folder} has {read.get_vocab_size()} tokens, and '
      f'config.json says {config.vocab_size}. They are of different '
      'checkpoints.'
    )
  return read


def _from_words(
  path: pathlib.Path, settings: Mapping[str, Any]
) -> tokenizers.Tokenizer:
  """BERT's WordPiece over a list of words, one a line."""
  lines = path.read_text(encoding='utf-8').split('\n')
  vocabulary = {word: i for i, word in enumerate(lines) if word}
  for token in ('[CLS]', '[SEP]', '[UNK]'):
    if token not in vocabulary:
      raise errors.UserError(f'{path} has no {token}: it is not of a BERT.')
  read = tokenizers.Tokenizer(
    tokenizers.models.WordPiece(vocabulary, unk_token='[UNK]')
  )
  read.normalizer = tokenizers.normalizers.BertNormalizer(
    lowercase=settings.get('do_lower_case', True),
    strip_accents=settings.get('strip_accents'),
    handle_chinese_chars=settings.get('tokenize_chinese_chars', True),
  )
  read.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
  read.post_processor = tokenizers.processors.BertProcessing(
    ('[SEP]', vocabulary['[SEP]']), ('[CLS]', vocabulary['[CLS]'])
  )
  return read


def read_pooling(folder: pathlib.Path) -> str | None:
  """How a sentence encoder's folder says that tokens become a vector.

  'cls', 'mean' or what else it is; None where nothing is said, as by a BERT
  that is no sentence encoder.
  """
  path = folder / '1_Pooling' / 'config.json'
  if not path.is_file():
    return None
  modes = [
    name.removeprefix('pooling_mode_').removesuffix('_tokens')
    for name, chosen in published.read_config(path).items()
    if name.startswith('pooling_mode_') and chosen is True
  ]
  return 'cls' if modes == ['cls_token'] else ' and '.join(modes)


def fingerprint(folder: pathlib.Path) -> str:
  """Sixteen hex digits of all that an encoding depends on in the folder."""
  digest = hashlib.sha256()
  names = ('config.json', 'tokenizer.json', 'vocab.txt')
  for path in sorted(folder.iterdir()):
    if path.name in names or path.suffix == '.safetensors':
      digest.update(path.name.encode() + b'\0')
      with path.open('rb') as file:
        digest.update(hashlib.file_digest(file, 'sha256').digest())
  return digest.hexdigest()[:16]
