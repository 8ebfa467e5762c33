"""Completions of a list of prompts, whose number and lengths are known."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import tqdm

from hephaestus_jax import errors, model, tokenizer
from hephaestus_jax.decode import engine


@dataclasses.dataclass(frozen=True)
class Completion:
  """What followed a prompt.

  Attributes:
    tokens: without the stop token; with those of a stop string.
    finish: 'stop'; 'length' where max_new_tokens came first;
      'prompt_too_long' where nothing was generated.
    logprobs: of each token, by the model.
    text: up to a stop string; '' where there is no vocabulary.
  """

  tokens: tuple[int, ...]
  finish: str
  logprobs: tuple[float, ...] = dataclasses.field(default=(), compare=False)
  text: str = dataclasses.field(default='', compare=False)


def generate(
  config: model.Config,
  params: dict[str, Any],
  prompts: Sequence[Sequence[int]],
  *,
  max_new_tokens: int,
  stop_ids: Sequence[int],
  batch_size: int,
  max_prompt_tokens: int,
  stop: Sequence[str] = (),
  vocabulary: tokenizer.Tokenizer | None = None,
  vocab_size: int | None = None,
  only: Sequence[int] | None = None,
  heard: Callable[[int, Completion], None] | None = None,
  description: str = 'generate',
) -> list[Completion]:
  """The most likely next token, over and over, for each prompt.

  Works under `jax.set_mesh` as well, on any number of processes: each of them
  is given all prompts and gets all completions.

  Args:
    prompts: token ids. One that is longer than `max_prompt_tokens` is not cut,
      since what would go is what the request stands on: it comes back with
      `finish` 'prompt_too_long'.
    stop_ids: tokens that end a completion.
    stop: strings that do; they need the vocabulary.
    batch_size: prompts at once.
    vocabulary: what text needs.
    vocab_size: tokens that the vocabulary has, where the model's matrices are
      padded to more; None: the vocabulary's, else as many as they hold.
    only: places of the prompts to continue, None: all. The others decide the
      engine's length all the same, so that a list which is continued in two
      parts is continued by the same programs.
    heard: told the place of each prompt and its completion, as they end.
    description: what the progress bar says.

  Returns:
    A completion for each prompt that was to be continued, in their order.

  Raises:
    errors.UserError: a size is below 1.
    ValueError: a prompt is empty.
  """
  for name, size in (
    ('max_new_tokens', max_new_tokens),
    ('max_prompt_tokens', max_prompt_tokens),
  ):
    if size < 1:
      raise errors.UserError(f'{name} = {size}; it must be 1 or more.')
  wanted = range(len(prompts)) if only is None else only
  completions: dict[int, Completion] = {}

  def finish(i: int, completion: Completion) -> None:
    completions[i] = completion
    if heard is not None:
      heard(i, completion)

  fitting = [len(one) for one in prompts if len(one) <= max_prompt_tokens]
  for i in wanted:
    if len(prompts[i]) > max_prompt_tokens:
      finish(i, Completion((), engine.TOO_LONG))
  # Like lengths together, since a step costs what its longest row does; and of
  # them like beginnings, which are read once.
  order = sorted(
    (i for i in wanted if i not in completions),
    key=lambda i: (len(prompts[i]).bit_length(), tuple(prompts[i]), i),
  )
  # A power of two, so that the next list of prompts finds the programs of this.
  longest = max(fitting, default=1) + max_new_tokens
  running = engine.Engine(
    config,
    params,
    slots=batch_size,
    max_length=1 << (longest - 1).bit_length(),
    vocabulary=vocabulary,
    vocab_size=vocab_size,
  )
  tokens: list[list[engine.Token]] = [[] for _ in prompts]
  texts = [''] * len(prompts)
  done = len(fitting) - len(order)
  with tqdm.tqdm(
    total=len(fitting), initial=done, desc=description, unit='prompt'
  ) as bar:

    def listener(i: int) -> engine.Listener:
      def listen(update: engine.Update) -> None:
        if update.token is not None:
          tokens[i].append(update.token)
        texts[i] += update.text
        if update.finish:
          stopped = tokens[i][-1].token in stop_ids
          said = tokens[i][:-1] if stopped else tokens[i]
          completion = Completion(
            tuple(token.token for token in said),
            update.finish,
            tuple(token.logprob for token in said),
            texts[i],
          )
          bar.update(1)
          finish(i, completion)

      return listen

    for i in order:
      request = engine.Request(
        tuple(int(token) for token in prompts[i]),
        max_new_tokens,
        stop_ids=tuple(stop_ids),
        stop=tuple(stop),
      )
      running.submit(request, listener(i))
    while running.step():
      pass
  return [completions[i] for i in wanted]
