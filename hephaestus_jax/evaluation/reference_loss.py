"""Benchmark loss on published files: what reference answers cost the model.

For checkpoints, and inside training (paper, figure 5): the questions are read
and tokenised once, and measuring draws nothing at random and keeps nothing, so
a training with it ends in the same bits as one without.
"""

import dataclasses
import functools
import pathlib
from typing import Any

import numpy as np

from hephaestus_jax import artefacts, errors, model
from hephaestus_jax import tokenizer as vocabularies
from hephaestus_jax.evaluation import likelihood, references


@dataclasses.dataclass(frozen=True)
class ReferenceLoss:
  """Negative log likelihood of a benchmark's answers, after their questions.

  Attributes:
    name: of the benchmark, one of `references.READERS`; the results are called
      so.
    path: a folder or zip file of its published files, or one of them.
    tokenizer: path of the vocabulary, see `tokenizer.load`.
    max_records: how many questions count, spread evenly over all; None: all.
    max_length: tokens of a question and its answer. What is longer loses its
      beginning.
    batch_size: questions at once; rounded up to what the devices can share.
  """

  name: str
  path: str
  tokenizer: str
  max_records: int | None = None
  max_length: int = 2048
  batch_size: int = 8

  def __post_init__(self) -> None:
    if self.name not in references.READERS:
      raise errors.UserError(
        f'reference_loss.ReferenceLoss.name = {self.name!r} is none of ours.'
        + errors.nearest(self.name, references.READERS)
        + f' There are {", ".join(references.READERS)}.'
      )
    if not pathlib.Path(self.path).exists():
      raise errors.UserError(
        f'reference_loss.ReferenceLoss.path of {self.name!r}: there is no '
        f'{self.path}. Download the published files of the benchmark, or take '
        'it off the list of what is measured.'
      )
    for field in ('max_records', 'max_length', 'batch_size'):
      value = getattr(self, field)
      if value is not None and value < 1:
        raise errors.UserError(
          f'reference_loss.ReferenceLoss.{field} = {value} is below 1.'
        )

  def identity(self) -> dict[str, Any]:
    """What the result depends on besides the model."""
    asked = [[each.prompt, each.answer] for each in self._references]
    return {
      'references': artefacts.fingerprint(asked),
      'max_length': self.max_length,
      'tokenizer': self._vocabulary.fingerprint,
    }

  def __call__(
    self, config: model.Config, params: dict[str, Any]
  ) -> dict[str, Any]:
    """Measures one model; works under `jax.set_mesh` as well.

    Returns:
      nll_per_token and nll_per_character, in nats, of all answers together;
      tokens, characters and examples: how many of each there were; cut: how
      many questions lost their beginning.

    Raises:
      errors.UserError: the files are missing or of another form, or the
        vocabulary has more words than the model.
    """
    scores = likelihood.score(
      config,
      params,
      [
        # One token at least stays, or the answer's first would be free.
        (prompt[min(self._excess(prompt, answer), len(prompt) - 1) :], answer)
        for prompt, answer in self._tokens
      ],
      batch_size=self.batch_size,
      vocab_size=self._vocabulary.vocab_size,
    )
    nll = sum(score.nll for score in scores)
    tokens = sum(len(answer) for _, answer in self._tokens)
    characters = sum(len(each.answer) for each in self._references)
    return {
      'nll_per_token': nll / tokens,
      'nll_per_character': nll / characters,
      'tokens': tokens,
      'characters': characters,
      'examples': len(scores),
      'cut': sum(self._excess(*pair) > 0 for pair in self._tokens),
    }

  def _excess(self, prompt: list[int], answer: list[int]) -> int:
    return max(0, len(prompt) + len(answer) - self.max_length)

  @functools.cached_property
  def _vocabulary(self) -> vocabularies.Tokenizer:
    return vocabularies.load(self.tokenizer)

  @functools.cached_property
  def _references(self) -> list[references.Reference]:
    found = references.read(self.path, self.name)
    count = min(len(found), self.max_records or len(found))
    return [found[i] for i in np.arange(count) * len(found) // count]

  @functools.cached_property
  def _tokens(self) -> list[tuple[list[int], list[int]]]:
    """Of each prompt, opened like a document of the corpus, and its answer."""
    vocabulary = self._vocabulary
    opening = [] if vocabulary.bos_id is None else [vocabulary.bos_id]
    prompts = vocabulary.encode_batch(
      [each.prompt for each in self._references]
    )
    answers = vocabulary.encode_batch(
      [each.answer for each in self._references]
    )
    return [
      ([*opening, *prompt], answer)
      for prompt, answer in zip(prompts, answers, strict=True)
    ]
