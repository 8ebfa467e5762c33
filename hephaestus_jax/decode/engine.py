"""Continuous batching: many requests share the rows of one cache.

Each `step` gives free rows to waiting requests, reads some pieces of their
prompts and decodes one token of every row that has read its own. A request that
ends makes room at once. Shapes never change with the requests: a prompt is read
in pieces of `chunk` tokens and a last one that is padded to a power of two, so
that a few compiled programs serve all of them.

A row keeps what it holds when its request ends. A prompt that begins as what a
row holds, the conversation so far or the same tools, is read from where they
part. What it is answered is the same up to rounding.

Requests may be submitted and cancelled from any thread; only one thread steps.
"""

import collections
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import jax
import numpy as np

from hephaestus_jax import attention, errors, model, partitioning, tokenizer
from hephaestus_jax.decode import programs, sampling, text

SHORTEST = 32  # tokens of a piece of a prompt; shorter ones share one program
# Why a completion ended, in OpenAI's words where there is one.
STOP, LENGTH = 'stop', 'length'
TOO_LONG, CANCELLED = 'prompt_too_long', 'cancelled'


class Constraint(Protocol):
  """What a completion may say. One is made for each request, and used up."""

  def allowed(self) -> np.ndarray:
    """`allowed_W`: a bit for each token that may come next, uint32."""

  def accept(self, token: int) -> bool:
    """Takes a token that was chosen; whether any may follow it."""


@dataclasses.dataclass(frozen=True)
class Request:
  """What is to be continued, and how.

  Attributes:
    prompt: token ids, one at least.
    max_new_tokens: what ends it at the latest; so does the engine's max_length.
      0 only reads the prompt.
    temperature: 0 is greedy.
    top_p: draw from the most likely tokens that together have so much.
    seed: of the draws.
    stop_ids: tokens that end the completion and don't belong to it.
    stop: strings that do so; they need the engine's vocabulary.
    ranked: how many of the most likely tokens are told beside each one.
    echo: from which of its tokens on the prompt is told of; None: not at all.
    constraint: what it may say; None: anything.
  """

  prompt: tuple[int, ...]
  max_new_tokens: int
  temperature: float = 0.0
  top_p: float = 1.0
  seed: int = 0
  stop_ids: tuple[int, ...] = ()
  stop: tuple[str, ...] = ()
  ranked: int = 0
  echo: int | None = None
  constraint: Constraint | None = None


@dataclasses.dataclass(frozen=True)
class Token:
  """One token of a completion, or of a prompt.

  Attributes:
    token: its id.
    logprob: the model's, see `sampling.Choice`. nan for the first of a prompt:
      nothing is before it.
    ranked: the most likely tokens and theirs, as many as were asked for.
  """

  token: int
  logprob: float
  ranked: tuple[tuple[int, float], ...] = ()


@dataclasses.dataclass(frozen=True)
class Update:
  """What a step added to a completion.

  Attributes:
    token: None where it only ended.
    text: what is certain now; '' where the engine has no vocabulary.
    finish: '' while it goes on, then 'stop', 'length', 'prompt_too_long' or
      'cancelled'.
    prompt: the tokens of the prompt that were read, where they are asked for.
  """

  token: Token | None
  text: str
  finish: str
  prompt: tuple[Token, ...] = ()


Listener = Callable[[Update], None]


class Sequence:
  """A request under way. `cancel` is all that others do with it."""

  def __init__(
    self,
    request: Request,
    listener: Listener,
    reader: text.Reader | None,
  ) -> None:
    self.request = request
    self.listener = listener
    self.reader = reader
    self.cancelled = False
    self.read = 0  # tokens in the cache, of the prompt and the completion
    self.tokens: list[int] = []  # of the completion, the last not yet read

  def cancel(self) -> None:
    """Ends it at the engine's next step."""
    self.cancelled = True


class Engine:
  """Continues many prompts at once.

  Attributes:
    max_length: tokens of a prompt and its completion together.
    reused: tokens of all prompts so far that a row held already.
  """

  def __init__(
    self,
    config: model.Config,
    params: dict[str, Any],
    *,
    slots: int,
    max_length: int,
    vocabulary: tokenizer.Tokenizer | None = None,
    vocab_size: int | None = None,
    chunk: int = 512,
    chunks_per_step: int = 4,
  ) -> None:
    """Makes the cache, and a copy of the parameters as decoding reads them.

    Args:
      params: as training has them. They are not kept.
      slots: requests at once; on a mesh rounded up to what it can cut.
      vocabulary: what text and stop strings need.
      vocab_size: tokens that may be chosen, where the model's matrices are
        padded to more; None: the vocabulary's, else the model's.
      chunk: tokens of a prompt that are read between two tokens of others, a
        power of two.
      chunks_per_step: so many pieces are read before others decode again: more
        of them fill the rows faster, fewer keep others' tokens coming.

    Raises:
      errors.UserError: a size is below 1, `chunk` is no power of two, or the
        mesh cuts rows along their length.
    """
    for name, size in (
      ('slots', slots),
      ('max_length', max_length),
      ('chunk', chunk),
      ('chunks_per_step', chunks_per_step),
    ):
      if size < 1:
        raise errors.UserError(f'{name} = {size}; it must be 1 or more.')
    if chunk & (chunk - 1):
      raise errors.UserError(f'chunk = {chunk} is no power of two.')
    mesh = jax.sharding.get_abstract_mesh()
    if not mesh.empty and mesh.shape['sequence'] > 1:
      raise errors.UserError(
        f'The mesh cuts rows into {mesh.shape["sequence"]} along `sequence`, '
        'and a token can not be cut: use `tensor` to decode.'
      )
    self.max_length = max_length
    self.reused = 0
    self._config = config
    self._weights = model.unstacked(config, params)
    self._vocabulary = vocabulary
    self._vocab_size = vocab_size or (
      config.vocab_size if vocabulary is None else vocabulary.vocab_size
    )
    self._chunk = chunk
    self._chunks_per_step = chunks_per_step
    self._rows: list[Sequence | None] = [None] * partitioning.whole_batch(slots)
    self._together = partitioning.whole_batch(1)  # prompts of a prefill
    self._waiting: collections.deque[Sequence] = collections.deque()
    block = attention.CACHE_BLOCK
    length = math.ceil(max_length / block) * block
    self._cache = model.init_cache(config, len(self._rows), length)
    # The token of each slot of the cache that holds one.
    self._held_BS = np.full((len(self._rows), length), -1, np.int32)
    self._idle = list(range(len(self._rows)))  # first the one idle longest

  @property
  def slots(self) -> int:
    """Requests at once."""
    return len(self._rows)

  @property
  def active(self) -> int:
    """Requests that have a row."""
    return sum(sequence is not None for sequence in self._rows)

  @property
  def waiting(self) -> int:
    """Requests that have none yet."""
    return len(self._waiting)

  def submit(self, request: Request, listener: Listener) -> Sequence:
    """Puts a request at the end of the queue.

    Args:
      listener: called by the thread that steps, with each token and at the end.

    Raises:
      ValueError: the prompt is empty, or there are stop strings and no
        vocabulary.
    """
    if not request.prompt:
      raise ValueError('A prompt is empty: there is nothing to continue.')
    if request.stop and self._vocabulary is None:
      raise ValueError('Stop strings need the vocabulary of the engine.')
    reader = None
    if self._vocabulary is not None:
      reader = text.Reader(self._vocabulary, request.stop)
    sequence = Sequence(request, listener, reader)
    self._waiting.append(sequence)
    return sequence

  def step(self) -> bool:
    """Does some work; whether there is more."""
    self._admit()
    for _ in range(self._chunks_per_step):
      if not self._prefill():
        break
    self._decode()
    return bool(self._waiting) or any(self._rows)

  def warm_up(self) -> int:
    """Compiles every program, by empty calls; their number."""
    length, count = SHORTEST, 2
    self._run(programs.decode, *self._nothing(self.slots))
    self._cache = programs.copy_row(self._cache, 0, 0)
    while length <= max(self._chunk, SHORTEST):
      rows_R = np.full(self._together, self.slots, np.int32)
      shape = (self._together, length)
      self._run(
        programs.prefill,
        np.zeros(shape, np.int32),
        np.full(shape, -1, np.int32),
        rows_R,
        None,
      )
      length, count = 2 * length, count + 1
    return count

  def _nothing(self, size: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(size, np.int32), np.full(size, -1, np.int32)

  def _admit(self) -> None:
    """Ends what was cancelled, and gives free rows to what waits."""
    for row, sequence in enumerate(self._rows):
      if sequence is not None and sequence.cancelled:
        self._free(row)
        sequence.listener(Update(None, '', CANCELLED))
    while self._waiting and (self._idle or self._waiting[0].cancelled):
      sequence = self._waiting.popleft()
      if sequence.cancelled:
        sequence.listener(Update(None, '', CANCELLED))
      elif len(sequence.request.prompt) >= self.max_length:
        # Nothing is cut: what would go is what the request stands on.
        sequence.listener(Update(None, '', TOO_LONG))
      else:
        # The row that holds most of it; of equal ones that idle longest.
        row = max(self._idle, key=self._shared(sequence).__getitem__)
        self._idle.remove(row)
        self._rows[row] = sequence

  def _shared(self, sequence: Sequence) -> np.ndarray:
    """With how many tokens of its prompt each row of the cache begins."""
    request = sequence.request
    # Of the last token, and of those before one that is told of, the hidden
    # states are needed, which no cache holds.
    end = len(request.prompt) - 1
    if request.echo is not None:
      end = min(end, max(0, request.echo - 1))
    prompt_S = np.asarray(request.prompt[:end], np.int32)
    equal_BS = self._held_BS[:, :end] == prompt_S
    return np.where(equal_BS.all(1), end, equal_BS.argmin(1) if end else 0)

  def _begin(self, row: int) -> None:
    """A prompt starts behind what the cache holds of it, in any row."""
    sequence = self._sequence(row)
    shared = self._shared(sequence)
    source = int(shared.argmax())
    if shared[source] - shared[row] >= SHORTEST:
      self._cache = programs.copy_row(self._cache, source, row)
    else:
      source = row
    sequence.read = int(shared[source])
    self.reused += sequence.read
    self._held_BS[row] = -1
    self._held_BS[row, : sequence.read] = sequence.request.prompt[
      : sequence.read
    ]

  def _free(self, row: int) -> None:
    self._rows[row] = None
    self._idle.append(row)

  def _prefill(self) -> bool:
    """Reads a piece of the first unread prompts; whether there was one."""
    rows = [
      row
      for row, sequence in enumerate(self._rows)
      if sequence is not None and sequence.read < len(sequence.request.prompt)
    ][: self._together]
    if not rows:
      return False
    pieces = []
    for row in rows:
      sequence = self._sequence(row)
      if not sequence.read:
        self._begin(row)
      pieces.append(
        sequence.request.prompt[sequence.read : sequence.read + self._chunk]
      )
    length = piece_length(max(len(piece) for piece in pieces))
    tokens_RL = np.zeros((self._together, length), np.int32)
    positions_RL = np.full((self._together, length), -1, np.int32)
    rows_R = np.full(self._together, self.slots, np.int32)
    for i, (row, piece) in enumerate(zip(rows, pieces, strict=True)):
      sequence = self._sequence(row)
      tokens_RL[i, : len(piece)] = piece
      positions_RL[i, : len(piece)] = sequence.read + np.arange(len(piece))
      rows_R[i] = row
      end = sequence.read + len(piece)
      self._held_BS[row, sequence.read : end] = piece
      sequence.read = end
    lengths = [len(piece) for piece in pieces]
    targets_RL = self._targets(rows, lengths, tokens_RL.shape)
    read = [
      row
      for row in rows
      if self._sequence(row).read == len(self._sequence(row).request.prompt)
    ]
    choosing = [
      row
      if row in read and self._sequence(row).request.max_new_tokens
      else None
      for row in rows
    ]
    choice = self._run(
      programs.prefill,
      *(tokens_RL, positions_RL, rows_R, targets_RL),
      choosing=choosing,
    )
    if choice.prompt is not None:
      self._tell(rows, lengths, choice.prompt)
    self._choose(choice, choosing)
    for row in set(read) - set(choosing):
      sequence = self._sequence(row)
      self._free(row)
      sequence.listener(Update(None, '', LENGTH))
    return True

  def _targets(
    self, rows: list[int], lengths: list[int], shape: tuple[int, ...]
  ) -> np.ndarray | None:
    """What follows each token of the pieces, if anybody asks for that."""
    asked = [self._sequence(row) for row in rows]
    if all(sequence.request.echo is None for sequence in asked):
      return None
    targets_RL = np.zeros(shape, np.int32)
    for i, sequence in enumerate(asked):
      first = sequence.read - lengths[i]
      following = sequence.request.prompt[first + 1 : sequence.read + 1]
      targets_RL[i, : len(following)] = following
    return targets_RL

  def _tell(
    self, rows: list[int], lengths: list[int], told: sampling.Told
  ) -> None:
    """Tells of tokens of prompts: of each once the one before it was read."""
    told = jax.tree.map(np.asarray, told)
    for i, row in enumerate(rows):
      sequence = self._sequence(row)
      request = sequence.request
      if request.echo is None:
        continue
      first = sequence.read - lengths[i]
      tokens = [] if first else [Token(request.prompt[0], math.nan)]
      for place, target in enumerate(
        request.prompt[first + 1 : sequence.read + 1]
      ):
        ranked = zip(
          told.ranked_RLT[i, place],
          told.ranked_logprob_RLT[i, place],
          strict=True,
        )
        tokens.append(
          _token(target, told.logprob_RL[i, place], ranked, request.ranked)
        )
      untold = max(0, request.echo - (first + 1 if first else 0))
      sequence.listener(Update(None, '', '', tuple(tokens[untold:])))

  def _decode(self) -> None:
    """One token of every row whose prompt is read."""
    tokens_B, positions_B = self._nothing(self.slots)
    choosing: list[int | None] = [None] * self.slots
    for row, sequence in enumerate(self._rows):
      if sequence is None or not sequence.tokens:
        continue
      tokens_B[row] = sequence.tokens[-1]
      positions_B[row] = sequence.read
      self._held_BS[row, sequence.read] = sequence.tokens[-1]
      sequence.read += 1
      choosing[row] = row
    if any(row is not None for row in choosing):
      choice = self._run(
        programs.decode, tokens_B, positions_B, choosing=choosing
      )
      self._choose(choice, choosing)

  def _run(
    self,
    program: Callable[..., Any],
    tokens: np.ndarray,
    *arrays: np.ndarray | None,
    choosing: list[int | None] | None = None,
  ) -> sampling.Choice:
    """Calls a program; what it chose.

    Args:
      choosing: for each row of the program the cache's row that its choice is
        for; None: it is for nobody.
    """
    settings = self._settings(choosing or [], len(tokens))
    choice, self._cache = program(
      self._config,
      self._weights,
      self._cache,
      tokens,
      *arrays,
      settings,
      vocab_size=self._vocab_size,
    )
    return choice

  def _choose(self, choice: sampling.Choice, rows: list[int | None]) -> None:
    """Gives what was chosen to the rows that wait for it."""
    if any(row is not None for row in rows):
      told = jax.tree.map(np.asarray, choice._replace(prompt=None))
      for i, row in enumerate(rows):
        if row is not None:
          self._chosen(row, told, i)

  def _settings(self, rows: list[int | None], size: int) -> sampling.Settings:
    arrays: dict[str, Any] = {
      'temperature_B': np.zeros(size, np.float32),
      'top_p_B': np.ones(size, np.float32),
      'seed_B': np.zeros(size, np.uint32),
      'count_B': np.zeros(size, np.int32),
      'constrained_B': np.zeros(size, bool),
      'allowed_BW': np.zeros((size, -(-self._vocab_size // 32)), np.uint32),
      'ranked_B': np.zeros(size, bool),
    }
    for i, row in enumerate(rows):
      if row is None:
        continue
      sequence = self._sequence(row)
      request = sequence.request
      arrays['temperature_B'][i] = request.temperature
      arrays['top_p_B'][i] = request.top_p
      arrays['seed_B'][i] = request.seed % (1 << 32)
      arrays['count_B'][i] = len(sequence.tokens)
      arrays['ranked_B'][i] = request.ranked > 0
      if request.constraint is not None:
        arrays['constrained_B'][i] = True
        arrays['allowed_BW'][i] = request.constraint.allowed()
    return sampling.Settings(**arrays)

  def _chosen(self, row: int, choice: sampling.Choice, i: int) -> None:
    """Takes a row's next token, and ends the row if that was the last."""
    sequence = self._sequence(row)
    request = sequence.request
    ranked = zip(choice.ranked_BT[i], choice.ranked_logprob_BT[i], strict=True)
    token = _token(
      choice.token_B[i], choice.logprob_B[i], ranked, request.ranked
    )
    sequence.tokens.append(token.token)
    finish, certain = '', ''
    if token.token in request.stop_ids:
      finish = STOP
    else:
      if sequence.reader is not None:
        certain = sequence.reader.push(token.token)
        finish = STOP if sequence.reader.stopped else ''
      if request.constraint is not None and not request.constraint.accept(
        token.token
      ):
        finish = STOP
      room = self.max_length - len(request.prompt)
      if len(sequence.tokens) >= min(request.max_new_tokens, room):
        finish = finish or LENGTH
    if finish:
      self._free(row)
      if sequence.reader is not None:
        certain += sequence.reader.finish()
    sequence.listener(Update(token, certain, finish))

  def _sequence(self, row: int) -> Sequence:
    sequence = self._rows[row]
    if sequence is None:
      raise ValueError(f'Row {row} has no request.')
    return sequence


def _token(
  token: Any, logprob: Any, ranked: Iterable[tuple[Any, Any]], count: int
) -> Token:
  """A token with the first `count` of those that are ranked beside it."""
  likeliest = tuple(
    (int(other), float(p)) for other, p in itertools.islice(ranked, count)
  )
  return Token(int(token), float(logprob), likeliest)


def piece_length(tokens: int) -> int:
  """What a piece of a prompt is padded to: a power of two.

  >>> [piece_length(n) for n in (1, 33, 64)]
  [32, 64, 64]
  """
  return max(SHORTEST, 1 << (tokens - 1).bit_length())
