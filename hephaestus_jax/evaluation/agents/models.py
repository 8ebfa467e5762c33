"""The models under test: at an endpoint, or a checkpoint in this process."""

from collections.abc import Sequence
from typing import Any

from hephaestus_jax import (
  errors,
  language_model,
  model,
  replies,
)
from hephaestus_jax import tokenizer as vocabularies
from hephaestus_jax.corpus import document
from hephaestus_jax.decode import generate, prompts
from hephaestus_jax.evaluation.agents import episode, play

ROLES = {'system': 'system', 'user': 'user', 'assistant': 'answer'}


def asking(client: language_model.Client) -> play.Agent:
  """The model that an endpoint serves."""

  def agent(
    conversations: Sequence[episode.Conversation],
  ) -> list[replies.Reply]:
    pairs = (
      (None, language_model.Question(messages)) for messages in conversations
    )
    # `ask_all` answers every question that it is given.
    return [reply for _, reply in client.ask_all(pairs) if reply is not None]

  return agent


def generating(
  config: model.Config,
  params: dict[str, Any],
  vocabulary: vocabularies.Tokenizer,
  *,
  max_new_tokens: int,
  max_prompt_tokens: int,
  batch_size: int,
  chat_format: str = 'chatml',
) -> play.Agent:
  """A checkpoint, greedy. A prompt that is too long has filled its context.

  Raises:
    errors.UserError: the vocabulary has more tokens than the model.
  """
  if vocabulary.vocab_size > config.vocab_size:
    raise errors.UserError(
      f'agent_bench.AgentBench.tokenizer has {vocabulary.vocab_size} tokens, '
      f'and model.Config.vocab_size = {config.vocab_size}. Use the vocabulary '
      'that the model was trained with.'
    )
  stop_ids, stop = prompts.stops(vocabulary, chat_format)

  def agent(
    conversations: Sequence[episode.Conversation],
  ) -> list[replies.Reply]:
    segments = [
      [document.Segment(ROLES[m['role']], m['content']) for m in messages]
      for messages in conversations
    ]
    completions = generate.generate(
      config,
      params,
      prompts.tokens(vocabulary, segments, chat_format),
      max_new_tokens=max_new_tokens,
      stop_ids=stop_ids,
      stop=stop,
      batch_size=batch_size,
      max_prompt_tokens=max_prompt_tokens,
      vocabulary=vocabulary,
      description='replies',
    )
    return [
      replies.failed(replies.REJECTED)
      if completion.finish == 'prompt_too_long'
      else replies.Reply(completion.text, completion.finish)
      for completion in completions
    ]

  return agent
