"""Completions of a list of prompts, whose number and lengths are known."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import tqdm

from hephaestus_jax import errors, model
from hephaestus_jax.decode import engine


@dataclasses.dataclass(frozen=True)
class Completion:
  """What followed a prompt.

  Attributes:
    tokens: without the stop token.
    finish: 'stop'; 'length' where max_new_tokens came first;
      'prompt_too_long' where nothing was generated.
    logprobs: of each token, by the model.
  """

  tokens: tuple[int, ...]
  finish: str
  logprobs: tuple[float, ...] = dataclasses.field(default=(), compare=False)


def generate(
  config: model.Config,
  params: dict[str, Any],
  prompts: Sequence[Sequence[int]],
  *,
  max_new_tokens: int,
  stop_ids: Sequence[int],
  batch_size: int,
  max_prompt_tokens: int,
  vocab_size: int | None = None,
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
    batch_size: prompts at once.
    vocab_size: tokens that the vocabulary has, where the model's matrices are
      padded to more; None: as many as they hold.
    description: what the progress bar says.

  Returns:
    A completion for each prompt, in the order of the prompts.

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
  completions = [Completion((), engine.TOO_LONG)] * len(prompts)
  order = sorted(
    (i for i, prompt in enumerate(prompts) if len(prompt) <= max_prompt_tokens),
    key=lambda i: (len(prompts[i]), i),
  )
  # A power of two, so that the next list of prompts finds the programs of this.
  longest = max((len(prompts[i]) for i in order), default=1) + max_new_tokens
  running = engine.Engine(
    config,
    params,
    slots=batch_size,
    max_length=1 << (longest - 1).bit_length(),
    vocab_size=vocab_size,
  )
  tokens: list[list[engine.Token]] = [[] for _ in prompts]
  with tqdm.tqdm(total=len(order), desc=description, unit='prompt') as bar:

    def listener(i: int) -> engine.Listener:
      def listen(update: engine.Update) -> None:
        if update.token is not None:
          tokens[i].append(update.token)
        if update.finish:
          stopped = tokens[i][-1].token in stop_ids
          said = tokens[i][:-1] if stopped else tokens[i]
          completions[i] = Completion(
            tuple(token.token for token in said),
            update.finish,
            tuple(token.logprob for token in said),
          )
          bar.update(1)

      return listen

    for i in order:
      request = engine.Request(
        tuple(int(token) for token in prompts[i]),
        max_new_tokens,
        stop_ids=tuple(stop_ids),
      )
      running.submit(request, listener(i))
    while running.step():
      pass
  return completions
