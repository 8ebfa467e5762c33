"""Conversations -> the tokens to continue, and what ends a turn."""

from collections.abc import Sequence

from hephaestus_jax import chat, tokenizer
from hephaestus_jax.corpus import document


def tokens(
  vocabulary: tokenizer.Tokenizer,
  conversations: Sequence[Sequence[document.Segment]],
  chat_format: str,
) -> list[list[int]]:
  """The tokens of each prompt, opened like a document of the corpus.

  Raises:
    chat.UnfitError: the format has no words for a conversation.
  """
  opening = [] if vocabulary.bos_id is None else [vocabulary.bos_id]
  spans = [chat.generation_prompt(each, chat_format) for each in conversations]
  return [
    opening + [token for ids in span_ids for token in ids]
    for span_ids in vocabulary.encode_spans(spans)
  ]


def stops(
  vocabulary: tokenizer.Tokenizer, chat_format: str
) -> tuple[tuple[int, ...], tuple[str, ...]]:
  """What ends the assistant's turn: tokens, and strings that are none."""
  found = {stop: vocabulary.token_id(stop) for stop in chat.stops(chat_format)}
  ids = [i for i in (vocabulary.eos_id, *found.values()) if i is not None]
  words = [stop for stop, index in found.items() if index is None]
  return tuple(dict.fromkeys(ids)), tuple(words)
