"""The models under test: at an endpoint, or a checkpoint in this process."""

from collections.abc import Sequence
from typing import Any

from hephaestus_jax import (
  chat,
  errors,
  language_model,
  model,
  replies,
)
from hephaestus_jax import tokenizer as vocabularies
from hephaestus_jax.corpus import document
from hephaestus_jax.decode import generate
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
  ends = [vocabulary.token_id(stop) for stop in chat.stops(chat_format)]
  stop_ids = [vocabulary.eos_id, *(i for i in ends if i is not None)]
  start = [] if vocabulary.bos_id is None else [vocabulary.bos_id]

  def agent(
    conversations: Sequence[episode.Conversation],
  ) -> list[replies.Reply]:
    spans = [
      chat.generation_prompt(
        [document.Segment(ROLES[m['role']], m['content']) for m in messages],
        chat_format,
      )
      for messages in conversations
    ]
    prompts = [
      start + [token for ids in span_ids for token in ids]
      for span_ids in vocabulary.encode_spans(spans)
    ]
    completions = generate.generate(
      config,
      params,
      prompts,
      max_new_tokens=max_new_tokens,
      stop_ids=stop_ids,
      batch_size=batch_size,
      max_prompt_tokens=max_prompt_tokens,
      vocab_size=vocabulary.vocab_size,
      description='replies',
    )
    return [
      replies.failed(replies.REJECTED)
      if completion.finish == 'prompt_too_long'
      else replies.Reply(
        vocabulary.decode(completion.tokens), completion.finish
      )
      for completion in completions
    ]

  return agent
