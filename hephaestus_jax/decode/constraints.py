"""What a completion may say: JSON of a schema, or calls of some tools.

llguidance (the extra `serve`) turns a grammar into the tokens that may come
next. A schema comes from whoever asks: one that can't be kept is data, an
UnfitError with its reason.
"""

import dataclasses
import functools
import importlib.util
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hephaestus_jax import errors, tokenizer

LONGEST_SCHEMA = 200_000  # characters; longer ones are too complex
# JSON as json.dumps writes it, and chat.py with it. White space where JSON lets
# it be would let a weak model write nothing else, for ever.
_WRITTEN = {
  'whitespace_flexible': False,
  'item_separator': ', ',
  'key_separator': ': ',
}


class UnfitError(ValueError):
  """A schema or a list of tools that no grammar can be made of."""


@dataclasses.dataclass(frozen=True)
class Written:
  """How a chat format writes calls as JSON.

  Attributes:
    opening, closing: what stands around each.
    between: what stands between two; None: there is never more than one.
    before, after: what stands around all of them.
    arguments: the key of a call's arguments.
  """

  opening: str = ''
  closing: str = ''
  between: str | None = None
  before: str = ''
  after: str = ''
  arguments: str = 'arguments'


class Grammars:
  """Makes constraints for one vocabulary. Any thread may ask."""

  def __init__(
    self, vocabulary: tokenizer.Tokenizer, stop_ids: Sequence[int]
  ) -> None:
    """Reads the vocabulary, which takes a second.

    Args:
      stop_ids: tokens that may end a completion where the grammar may end.

    Raises:
      errors.UserError: llguidance isn't installed.
    """
    if importlib.util.find_spec('llguidance') is None:
      raise errors.UserError(
        "Constrained decoding needs the extra 'serve': "
        'pip install -r requirements/serve.txt.'
      )
    self._vocabulary = vocabulary
    self._stop_ids = tuple(dict.fromkeys(stop_ids))

  @functools.cached_property
  def _tokens(self) -> Any:
    import llguidance  # here: 0.3 s that most commands need not pay

    stop_ids = list(self._stop_ids)
    if isinstance(self._vocabulary, tokenizer.HuggingFace):
      return llguidance.LLTokenizer(
        self._vocabulary.to_json(),
        n_vocab=self._vocabulary.vocab_size,
        eos_token=stop_ids,
      )
    return llguidance.LLTokenizer(
      llguidance.TokenizerWrapper(_Pieces(self._vocabulary)),
      n_vocab=self._vocabulary.vocab_size,
      eos_token=stop_ids,
    )

  def json(self, schema: Mapping[str, Any]) -> 'Matcher':
    """A JSON value that a schema describes.

    Raises:
      UnfitError: it is no schema, or has keywords that can't be kept.
    """
    return self._matcher(f'start: %json {_text(schema)}\n')

  def calls(
    self,
    tools: Sequence[Mapping[str, Any]],
    written: 'Written',
    *,
    several: bool,
  ) -> 'Matcher':
    """Calls of these tools, one at least.

    Args:
      tools: {'name': str, 'parameters': a JSON schema} each.
      written: how.
      several: whether more than one may be made.

    Raises:
      UnfitError: there is no tool, or the parameters of one are no schema.
    """
    if not tools:
      raise UnfitError('there is no tool to call')
    rules = [
      f'body_{i}: %json {_text(_call_schema(tool, written.arguments))}\n'
      for i, tool in enumerate(tools)
    ]
    bodies = ' | '.join(f'body_{i}' for i in range(len(tools)))
    opening, closing, between, before, after = map(
      self._literal,
      (
        *(written.opening, written.closing, written.between or ''),
        *(written.before, written.after),
      ),
    )
    more = ''
    if several and written.between is not None:
      more = f'({between} call)*'
    return self._matcher(
      f'start: {before} call {more} {after}\n'
      f'call: {opening} ({bodies}) {closing}\n' + ''.join(rules)
    )

  def _literal(self, text: str) -> str:
    """Text in a grammar, a special token of the vocabulary by its number.

    >>> grammars._literal('<tool_call>\\n')
    '<[6]> "\\\\n"'
    """
    parts, rest = [], text
    while rest:
      found = [(rest.find(token), token) for token in self._special]
      at, token = min(
        ((at, token) for at, token in found if at >= 0),
        default=(len(rest), ''),
      )
      parts += [json.dumps(rest[:at])] if at else []
      parts += [f'<[{self._special[token]}]>'] if token else []
      rest = rest[at + len(token) :]
    return ' '.join(parts)

  @functools.cached_property
  def _special(self) -> dict[str, int]:
    if isinstance(self._vocabulary, tokenizer.SentencePiece):
      pieces = enumerate(self._vocabulary.pieces())
      return {piece.decode(): i for i, (piece, special) in pieces if special}
    found = {
      t: self._vocabulary.token_id(t) for t in self._vocabulary.special_tokens
    }
    return {token: i for token, i in found.items() if token and i is not None}

  def _matcher(self, lark: str) -> 'Matcher':
    import llguidance

    grammar = llguidance.LLMatcher.grammar_from_lark('%llguidance {}\n' + lark)
    matcher = llguidance.LLMatcher(self._tokens, grammar, log_level=0)
    if matcher.is_error():
      reason = matcher.get_error().strip().splitlines()
      raise UnfitError(reason[0] if reason else 'no grammar')
    return Matcher(matcher, self._vocabulary.vocab_size)


class Matcher:
  """One completion's constraint, as `engine.Constraint` wants it."""

  def __init__(self, matcher: Any, vocab_size: int) -> None:
    self._matcher = matcher
    self._words = -(-vocab_size // 32)

  def allowed(self) -> np.ndarray:
    """`allowed_W`: a bit for each token that may come next."""
    # The library's mask has a word more than tokens need.
    mask = np.frombuffer(self._matcher.compute_bitmask(), np.uint32)
    return mask[: self._words]

  def accept(self, token: int) -> bool:
    """Takes a token; whether any but a stop token may follow."""
    return self._matcher.consume_token(token) and not self._matcher.is_stopped()


class _Pieces:
  """A SentencePiece vocabulary as llguidance.TokenizerWrapper reads it."""

  def __init__(self, vocabulary: tokenizer.Tokenizer) -> None:
    assert isinstance(vocabulary, tokenizer.SentencePiece)
    pieces = vocabulary.pieces()
    self.tokens = [piece for piece, _ in pieces]
    self.special_token_ids = [
      i for i, (_, special) in enumerate(pieces) if special
    ]
    self.eos_token_id = vocabulary.eos_id
    self.bos_token_id = vocabulary.bos_id
    self._vocabulary = vocabulary

  def __call__(self, text: str) -> list[int]:
    return self._vocabulary.encode(text)


def _call_schema(tool: Mapping[str, Any], arguments: str) -> dict[str, Any]:
  parameters = tool.get('parameters') or {'type': 'object', 'properties': {}}
  # References of the parameters are to their own definitions.
  definitions = {
    key: parameters[key]
    for key in ('$defs', 'definitions')
    if key in parameters
  }
  return {
    'type': 'object',
    'properties': {'name': {'const': tool['name']}, arguments: parameters},
    'required': ['name', arguments],
    'additionalProperties': False,
    **definitions,
  }


def _text(schema: Mapping[str, Any]) -> str:
  text = json.dumps({**schema, 'x-guidance': _WRITTEN})
  if len(text) > LONGEST_SCHEMA:
    raise UnfitError(f'the schema has {len(text)} characters')
  return text
