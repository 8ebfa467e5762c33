"""Updates of the engine -> the OpenAI API's answers, whole or as a stream."""

import itertools
import math
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hephaestus_jax import tokenizer
from hephaestus_jax.decode import engine
from hephaestus_jax.serving import conversation


class Choice:
  """One answer as it comes.

  Attributes:
    finish: OpenAI's finish_reason; None while it goes on.
    tokens: how many were generated, a stop token included.
    calls: of tools, known at the end.
    told: whether log-probabilities are asked for.
    told_characters: of the text of tokens that were told of.
  """

  def __init__(
    self,
    vocabulary: tokenizer.Tokenizer,
    request: engine.Request,
    chat_format: str,
    *,
    calls: bool,
    told: bool,
    echo: str | None = None,
  ) -> None:
    """
    Args:
      chat_format: see `chat.FORMATS`.
      calls: whether tools were offered.
      told: whether log-probabilities are asked for.
      echo: the prompt, where the answer is to begin with it.
    """
    self.finish: str | None = None
    self.tokens = 0
    self.calls: list[dict[str, Any]] = []
    self._vocabulary = vocabulary
    self._request = request
    self.told = told
    self.told_characters = 0
    self._echo = echo or ''
    self._turn = conversation.Turn(chat_format, calls)

  def add(self, update: engine.Update) -> tuple[str, list[engine.Token]]:
    """The words that an update adds, and the tokens to tell of."""
    words, self._echo = self._echo + self._turn.push(update.text), ''
    tokens = list(update.prompt)
    if update.token is not None:
      self.tokens += 1
      if self.told and update.token.token not in self._request.stop_ids:
        tokens.append(update.token)
    if update.finish:
      rest, self.calls = self._turn.finish()
      words += rest
      self.finish = 'tool_calls' if self.calls else update.finish
    return words, tokens

  def text_of(self, token: int) -> dict[str, Any]:
    """A token as text and bytes."""
    said = self._vocabulary.decode([token])
    return {'token': said, 'bytes': list(said.encode())}


class Reply:
  """All answers to one request; its children know the API's two forms."""

  prefix: str
  kind: str
  piece: str  # what a part of a stream is

  def __init__(
    self, model: str, choices: Sequence[Choice], prompt: int
  ) -> None:
    """
    Args:
      prompt: tokens of all prompts.
    """
    self.choices = choices
    self._model = model
    self._prompt = prompt
    self._created = int(time.time())
    self._id = f'{self.prefix}-{secrets.token_hex(12)}'

  def usage(self) -> dict[str, int]:
    """Tokens so far."""
    completion = sum(choice.tokens for choice in self.choices)
    return {
      'prompt_tokens': self._prompt,
      'completion_tokens': completion,
      'total_tokens': self._prompt + completion,
    }

  def body(
    self, kind: str, choices: Sequence[Mapping[str, Any]]
  ) -> dict[str, Any]:
    """What is around the choices."""
    return {
      'id': self._id,
      'object': kind,
      'created': self._created,
      'model': self._model,
      'choices': list(choices),
    }

  def whole(self, updates: Sequence[Sequence[engine.Update]]) -> dict[str, Any]:
    """The answer that is sent at once."""
    choices = []
    for index, parts in enumerate(updates):
      added = [self.choices[index].add(update) for update in parts]
      tokens = itertools.chain.from_iterable(told for _, told in added)
      words = ''.join(more for more, _ in added)
      choices.append(self._choice(index, words, list(tokens)))
    return self.body(self.kind, choices) | {'usage': self.usage()}

  def _choice(
    self, index: int, words: str, tokens: Sequence[engine.Token]
  ) -> dict[str, Any]:
    raise NotImplementedError


class ChatReply(Reply):
  """The answers to a chat request."""

  prefix = 'chatcmpl'
  kind = 'chat.completion'
  piece = 'chat.completion.chunk'

  def _choice(
    self, index: int, words: str, tokens: Sequence[engine.Token]
  ) -> dict[str, Any]:
    choice = self.choices[index]
    message: dict[str, Any] = {'role': 'assistant', 'content': words}
    if choice.calls:
      message |= {'content': words or None, 'tool_calls': choice.calls}
    return {
      'index': index,
      'message': message,
      'logprobs': self._logprobs(choice, tokens),
      'finish_reason': choice.finish,
    }

  def _logprobs(
    self, choice: Choice, tokens: Sequence[engine.Token]
  ) -> dict[str, Any] | None:
    if not choice.told:
      return None
    content = []
    for token in tokens:
      top = [
        choice.text_of(other) | {'logprob': logprob}
        for other, logprob in token.ranked
      ]
      told = {'logprob': token.logprob, 'top_logprobs': top}
      content.append(choice.text_of(token.token) | told)
    return {'content': content}

  def opening(self) -> Iterator[dict[str, Any]]:
    """What a stream begins with."""
    for index in range(len(self.choices)):
      yield self._chunk(index, {'role': 'assistant', 'content': ''}, [])

  def pieces(
    self, index: int, update: engine.Update
  ) -> Iterator[dict[str, Any]]:
    """What an update adds to a stream."""
    choice = self.choices[index]
    words, tokens = choice.add(update)
    if words or tokens:
      yield self._chunk(index, {'content': words}, tokens)
    for i, call in enumerate(choice.calls):
      yield self._chunk(index, {'tool_calls': [{'index': i, **call}]}, [])
    if choice.finish is not None:
      yield self._chunk(index, {}, [], choice.finish)

  def _chunk(
    self,
    index: int,
    delta: Mapping[str, Any],
    tokens: Sequence[engine.Token],
    finish: str | None = None,
  ) -> dict[str, Any]:
    told = self._logprobs(self.choices[index], tokens) if tokens else None
    choice = {'index': index, 'delta': delta, 'logprobs': told}
    return self.body(self.piece, [choice | {'finish_reason': finish}])


class TextReply(Reply):
  """The answers to a completion request."""

  prefix = 'cmpl'
  kind = piece = 'text_completion'

  def _choice(
    self, index: int, words: str, tokens: Sequence[engine.Token]
  ) -> dict[str, Any]:
    choice = self.choices[index]
    return {
      'index': index,
      'text': words,
      'logprobs': self._logprobs(choice, tokens),
      'finish_reason': choice.finish,
    }

  def _logprobs(
    self, choice: Choice, tokens: Sequence[engine.Token]
  ) -> dict[str, Any] | None:
    if not choice.told:
      return None
    texts = [choice.text_of(token.token)['token'] for token in tokens]
    lengths = [choice.told_characters, *(len(text) for text in texts)]
    offsets = list(itertools.accumulate(lengths))
    choice.told_characters = offsets.pop()
    return {
      'tokens': texts,
      'token_logprobs': [
        None if math.isnan(token.logprob) else token.logprob for token in tokens
      ],
      # Of tokens that read the same the most likely one.
      'top_logprobs': [
        None
        if math.isnan(token.logprob)
        else {
          choice.text_of(other)['token']: logprob
          for other, logprob in reversed(token.ranked)
        }
        for token in tokens
      ],
      'text_offset': offsets,
    }

  def opening(self) -> Iterator[dict[str, Any]]:
    """What a stream begins with: nothing."""
    yield from ()

  def pieces(
    self, index: int, update: engine.Update
  ) -> Iterator[dict[str, Any]]:
    """What an update adds to a stream."""
    words, tokens = self.choices[index].add(update)
    if words or tokens or update.finish:
      yield self.body(self.piece, [self._choice(index, words, tokens)])
