"""Text <-> token ids: SentencePiece models and Hugging Face tokenizer.json.

What a document says never becomes a control token: `encode` spells out a
special token that a page merely quotes, `encode_markers` is for the text that
`chat` writes between segments. Neither knows the other's text, so encoding
spans one by one and joining the ids is the encoding of the whole.
"""

import abc
import functools
import hashlib
import importlib.util
import io
import itertools
import json
import os
import pathlib
import re
from collections.abc import Iterable, Sequence

import sentencepiece
import tokenizers

from hephaestus_jax import chat, errors

PAD, UNKNOWN, BOS, EOS = range(4)  # of the vocabularies that `train` makes

# What published vocabularies call the tokens around a document. Used for a
# tokenizer.json that has no tokenizer_config.json beside it.
BOS_NAMES = ('<s>', '<|begin_of_text|>', '<|endoftext|>')
EOS_NAMES = ('</s>', '<|end_of_text|>', '<|endoftext|>')

MISTRAL_COMMON = 'mistral-common:'


class Tokenizer(abc.ABC):
  """A vocabulary with its splitting rules.

  Attributes:
    vocab_size: ids are 0 .. vocab_size - 1.
    bos_id: what opens a document, None where the vocabulary has no such token,
      or its BOS is what opens a turn.
    eos_id: what closes a document.
    pad_id: what fills a row; no loss and no attention ever sees it.
    special_tokens: the strings that `encode_markers` reads as one control
      token each and `encode` spells out.
    fingerprint: sixteen hex digits of the files' content.
  """

  vocab_size: int
  bos_id: int | None
  eos_id: int
  pad_id: int
  special_tokens: tuple[str, ...]
  fingerprint: str

  @abc.abstractmethod
  def token_id(self, token: str) -> int | None:
    """The id of one token, None if the vocabulary doesn't hold it."""

  @abc.abstractmethod
  def decode(self, ids: Sequence[int]) -> str:
    """Text of ids, control tokens of `chat` included.

    For a SentencePiece vocabulary U+2581 comes back as a space: it is how
    SentencePiece writes one.
    """

  @abc.abstractmethod
  def _encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
    """Ids of texts, a special token as one id."""

  def encode_markers(self, text: str) -> list[int]:
    """Ids of text that may hold control tokens: only what `chat` wrote."""
    return self._encode_batch([text])[0]

  def encode(self, text: str) -> list[int]:
    """Ids of what somebody said; a quoted special token is spelt out.

    'a <|im_end|>' has the ids of 'a <' and then those of '|im_end|>'.
    """
    return self.encode_batch([text])[0]

  def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
    """`encode` of many texts, on all cores."""
    pieces = [self._without_specials(text) for text in texts]
    if all(len(parts) == 1 for parts in pieces):
      return self._encode_batch(texts)
    ids = iter(self._encode_batch([part for parts in pieces for part in parts]))
    return [[i for _ in parts for i in next(ids)] for parts in pieces]

  def encode_spans(
    self, documents: Sequence[Sequence[chat.Span]]
  ) -> list[list[list[int]]]:
    """Ids per span of each document; markers as control tokens.

    For spans (Span('user', 'Hi'), Span('user', '<|im_end|>', marker=True)) of
    one document: [[[ids of 'Hi'], [the id of '<|im_end|>']]].
    """
    content = iter(
      self.encode_batch(
        [span.text for spans in documents for span in spans if not span.marker]
      )
    )
    marker = functools.cache(self.encode_markers)
    return [
      [marker(span.text) if span.marker else next(content) for span in spans]
      for spans in documents
    ]

  @functools.cached_property
  def _special_pattern(self) -> re.Pattern[str]:
    """Matches the beginning of any special token that can be cut in two.

    The common beginning stands first, so that the search is one for a literal.
    """
    tokens = [token for token in self.special_tokens if len(token) > 1]
    if not tokens:
      return re.compile('(?!)')  # matches nothing
    prefix = os.path.commonprefix(tokens)
    rest = '|'.join(re.escape(token[len(prefix) :]) for token in tokens)
    return re.compile(f'{re.escape(prefix)}(?:{rest})')

  def _without_specials(self, text: str) -> list[str]:
    """`text` cut after the first character of every special token."""
    parts, start = [], 0
    while match := self._special_pattern.search(text, start):
      cut = match.start() + 1
      parts.append(text[start:cut])
      start = cut
    return [*parts, text[start:]]


class SentencePiece(Tokenizer):
  """A SentencePiece model: ours, LLaMA-2's, Mistral's."""

  def __init__(self, path: pathlib.Path):
    model = path.read_bytes()
    self._model = sentencepiece.SentencePieceProcessor()
    try:
      self._model.LoadFromSerializedProto(model)
    except RuntimeError as error:
      raise errors.UserError(
        f'{path} is no SentencePiece model ({error}). Train it again, or point '
        'the tokenizer at another file.'
      ) from error
    # LLaMA-2's and Mistral's models put a space before every text. Spans are
    # encoded one by one, and each would get one.
    self._model.override_normalizer_spec(add_dummy_prefix=False)
    self.vocab_size = self._model.vocab_size()
    self.bos_id = _if_valid(self._model.bos_id())
    self.eos_id = self._model.eos_id()
    if self.eos_id < 0:
      raise errors.UserError(
        f'{path} has no token that ends a document (</s>). Choose a '
        'vocabulary that has one.'
      )
    self.pad_id = _if_valid(self._model.pad_id()) or 0
    self.special_tokens = tuple(
      token for token in chat.SPECIAL_TOKENS if self.token_id(token) is not None
    )
    self._controls = {
      self._model.id_to_piece(i): i
      for i in range(self.vocab_size)
      if self._model.is_control(i)
    }
    self._silent = {self.bos_id, self.eos_id, self._model.pad_id()}
    self.fingerprint = hashlib.sha256(model).hexdigest()[:16]

  def encode_markers(self, text: str) -> list[int]:
    """As the base class; SentencePiece itself reads no control token."""
    ids: list[int] = []
    for part in self._control_pattern.split(text):
      index = self._controls.get(part)
      ids += self._encode_batch([part])[0] if index is None else [index]
    return ids

  @functools.cached_property
  def _control_pattern(self) -> re.Pattern[str]:
    return re.compile('(' + '|'.join(map(re.escape, self._controls)) + ')')

  def token_id(self, token: str) -> int | None:
    """The piece's id; SentencePiece itself answers <unk> for what it lacks."""
    index = self._model.piece_to_id(token)
    return index if self._model.id_to_piece(index) == token else None

  def decode(self, ids: Sequence[int]) -> str:
    """Text of ids; bytes that are no UTF-8 become U+FFFD.

    What opens, closes and pads a document has none.
    """
    shown = set(self._controls.values()) - self._silent
    texts: list[str] = []
    for is_shown, group in itertools.groupby(map(int, ids), shown.__contains__):
      run = list(group)
      texts += (
        map(self._model.id_to_piece, run)
        if is_shown
        else [self._model.decode(run)]
      )
    return ''.join(texts)

  def pieces(self) -> list[tuple[bytes, bool]]:
    """Each token's bytes, and whether it is a control token.

    >>> load('mistral-common:v1').pieces()[2:4]
    [(b'</s>', True), (b'\\x00', False)]
    """
    found = []
    for index in range(self.vocab_size):
      piece = self._model.id_to_piece(index)
      if self._model.is_byte(index):  # '<0x0A>'
        found.append((bytes([int(piece[3:5], 16)]), False))
      else:
        control = self._model.is_control(index) or self._model.is_unknown(index)
        special = control or piece in self.special_tokens
        found.append((piece.replace('\u2581', ' ').encode(), special))
    return found

  def _encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
    threads = len(os.sched_getaffinity(0))
    return self._model.encode(list(texts), num_threads=threads)


class HuggingFace(Tokenizer):
  """A tokenizer.json as the `tokenizers` library reads it."""

  def __init__(self, path: pathlib.Path):
    text = path.read_bytes()
    try:
      self._model = tokenizers.Tokenizer.from_buffer(text)
    except Exception as error:  # The library raises bare Exceptions.
      raise errors.UserError(
        f'{path} is no tokenizer.json ({error}). Point the tokenizer at '
        'another file.'
      ) from error
    self._model.no_truncation()
    self._model.no_padding()
    config_path = path.with_name('tokenizer_config.json')
    config_text = config_path.read_bytes() if config_path.exists() else b'{}'
    config = json.loads(config_text)
    self.vocab_size = max(self._model.get_vocab(True).values()) + 1
    bos_id = self._named(config.get('bos_token'), BOS_NAMES)
    # SmolLM2's opens turns: its template writes it, and nothing before it.
    opens_turns = bos_id == self.token_id(chat.TURN_START)
    self.bos_id = None if opens_turns else bos_id
    eos_id = self._named(config.get('eos_token'), EOS_NAMES)
    if eos_id is None:
      raise errors.UserError(
        f'{path} has no token that ends a document: none of {EOS_NAMES}, and '
        f"no 'eos_token' in a {config_path.name} beside it."
      )
    self.eos_id = eos_id
    self.pad_id = self._named(config.get('pad_token'), ()) or 0
    self.special_tokens = tuple(
      token.content for token in self._model.get_added_tokens_decoder().values()
    )
    self.fingerprint = hashlib.sha256(text + config_text).hexdigest()[:16]

  def token_id(self, token: str) -> int | None:
    """The id of a piece or an added token."""
    return self._model.token_to_id(token)

  def decode(self, ids: Sequence[int]) -> str:
    """Text of ids; bytes that are no UTF-8 become U+FFFD."""
    return self._model.decode([int(i) for i in ids], skip_special_tokens=False)

  def to_json(self) -> str:
    """The tokenizer.json that it was read from, as the library writes it."""
    return self._model.to_str()

  def _encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
    found = self._model.encode_batch_fast(list(texts), add_special_tokens=False)
    return [encoding.ids for encoding in found]

  def _named(
    self, configured: str | dict[str, str] | None, names: Sequence[str]
  ) -> int | None:
    """The id of the configured token, else of the first name that is known."""
    if isinstance(configured, dict):  # {'content': '</s>', 'lstrip': ...}
      configured = configured['content']
    for name in (configured,) if configured else names:
      if (index := self.token_id(name)) is not None:
        return index
    return None


def load(path: str) -> Tokenizer:
  """Opens a vocabulary.

  Args:
    path: a SentencePiece file ('...model', Mistral's '...model.v3' too), a
      'tokenizer.json', or 'mistral-common:v3': the file of that version inside
      the installed mistral-common package (v1, v2, v3, v7).

  Raises:
    errors.UserError: there is no such file, or it is damaged or of no known
      kind.
  """
  if path.startswith(MISTRAL_COMMON):
    file = _mistral_common_file(path.removeprefix(MISTRAL_COMMON))
  else:
    file = pathlib.Path(path)
  if not file.is_file():
    raise errors.UserError(
      f'There is no tokenizer at {path}. Train one first, or point the run at '
      "a *.model or tokenizer.json file, or at 'mistral-common:v3'."
    )
  if file.name.endswith('.json'):
    return HuggingFace(file)
  if '.model' in file.name:
    return SentencePiece(file)
  raise errors.UserError(
    f'{path} is of no known kind: a tokenizer is a *.model or a *.json file.'
  )


def train(texts: Iterable[str], path: pathlib.Path, vocab_size: int) -> None:
  """Trains a byte-fallback BPE vocabulary and writes it to `path`.

  Text is neither normalised nor stripped, digits stand alone, runs of spaces
  may be one token (indentation), and chat's special tokens are tokens. The
  same texts in the same order give the same bytes.

  Raises:
    errors.UserError: the texts are too few for `vocab_size`.
  """
  model = io.BytesIO()
  # SentencePiece skips a text that holds a tab, its own word boundary. Tabs
  # are encoded as their byte.
  sentences = (part for text in texts for part in text.split('\t') if part)
  try:
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=sentences,
      model_writer=model,
      model_type='bpe',
      vocab_size=vocab_size,
      byte_fallback=True,
      normalization_rule_name='identity',
      add_dummy_prefix=False,
      remove_extra_whitespaces=False,
      allow_whitespace_only_pieces=True,
      split_digits=True,
      user_defined_symbols=list(chat.SPECIAL_TOKENS),
      pad_id=PAD,
      unk_id=UNKNOWN,
      bos_id=BOS,
      eos_id=EOS,
      shuffle_input_sentence=False,
      max_sentence_length=1 << 30,
      minloglevel=2,
    )
  except RuntimeError as error:
    raise errors.UserError(
      f'SentencePiece could not train {vocab_size} tokens: {error}. Give it '
      'more text, or a smaller vocab_size.'
    ) from error
  path.write_bytes(model.getvalue())


def _mistral_common_file(version: str) -> pathlib.Path:
  """The SentencePiece file of a version: 'v3' -> '...240323.model.v3'."""
  spec = importlib.util.find_spec('mistral_common')
  if spec is None or spec.origin is None:
    raise errors.UserError(
      f"'{MISTRAL_COMMON}{version}' needs the package mistral-common: "
      'pip install mistral-common.'
    )
  folder = pathlib.Path(spec.origin).parent / 'data'
  versions = {path.suffix[1:]: path for path in folder.glob('*.model.v*')}
  if version not in versions:
    raise errors.UserError(
      f"'{MISTRAL_COMMON}{version}' is no vocabulary of mistral-common; "
      f'it has {sorted(versions)}.'
    )
  return versions[version]


def _if_valid(index: int) -> int | None:
  """SentencePiece says -1 for a token that a vocabulary doesn't have."""
  return index if index >= 0 else None
