"""The metrics that a SeqIO Task brings along, run on a checkpoint.

`seqio.Evaluator` does what it does for any model: it reads the Task, decodes,
postprocesses, and calls the `metric_fns`. Here are the two functions that it
asks a model with. A Task to be measured has 'inputs' and 'targets':

    metric_fn(targets, predictions)  what is said after the inputs, greedily
    metric_fn(targets, scores)       the log likelihood of the targets, in nats
"""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import seqio
import tensorflow as tf
import tensorflow_datasets as tfds

from hephaestus_jax import (
  artefacts,
  chat,
  errors,
  model,
  seqio_tasks,
)
from hephaestus_jax import tokenizer as vocabularies
from hephaestus_jax.decode import generate
from hephaestus_jax.evaluation import likelihood


@dataclasses.dataclass(frozen=True)
class TaskMetrics:
  """The metrics of one Task, ready to measure a model.

  Attributes:
    task: its registered name.
    tokenizer: path of the vocabulary, see `tokenizer.load`.
    modules: Python modules whose import registers it.
    split: of the Task.
    corpus_dir: for a Task of the corpus: where that is.
    max_examples: the first so many of the split; None: all.
    max_new_tokens: length limit of what is said.
    max_prompt_tokens: longer inputs are answered with nothing.
    batch_size: examples at once.
    chat_format: see `cache.cache`.
  """

  task: str
  tokenizer: str
  modules: Sequence[str] = ()
  split: str = 'validation'
  corpus_dir: str | None = None
  max_examples: int | None = None
  max_new_tokens: int = 64
  max_prompt_tokens: int = 4096
  batch_size: int = 16
  chat_format: str = 'chatml'

  @property
  def name(self) -> str:
    """What the results are called: the Task's name."""
    return self.task

  def identity(self) -> dict[str, Any]:
    """What the result depends on besides the model."""
    task, tokens = self._opened()
    shards = map(pathlib.Path, task.source.list_shards(self.split))
    return {
      'task': self.task,
      'split': self.split,
      'shards': [
        artefacts.file_fingerprint(path) if path.is_file() else str(path)
        for path in shards
      ],
      'max_examples': self.max_examples,
      'max_new_tokens': self.max_new_tokens,
      'max_prompt_tokens': self.max_prompt_tokens,
      'chat_format': self.chat_format,
      'tokenizer': seqio_tasks.vocabulary_fingerprint(task, tokens),
    }

  def __call__(
    self, config: model.Config, params: dict[str, Any]
  ) -> dict[str, Any]:
    """Asks a model.

    Returns:
      'examples': how many there were, and each metric by its name.

    Raises:
      errors.UserError: the Task has no metrics, no 'inputs', or no such split.
    """
    _, tokens = self._opened()
    evaluator = seqio.Evaluator(
      self.task,
      _AsItIs(),
      eval_split=self.split,
      num_examples=self.max_examples,
      async_compute_metrics=False,
    )
    asked = _Model(config, params, tokens, self)
    metrics, _ = evaluator.evaluate(
      compute_metrics=True, predict_fn=asked.predict, score_fn=asked.score
    )
    count = evaluator.cached_task_datasets[self.task].cardinality().numpy()
    found = metrics.result()[self.task]
    return {
      'examples': int(count),
      **{name: _plain(value) for name, value in sorted(found.items())},
    }

  def _opened(self) -> tuple[seqio.Task, vocabularies.Tokenizer]:
    """The Task, told what it could not know when it was registered."""
    chat.of_name(self.chat_format)
    seqio_tasks.register(self.modules)
    if self.task not in seqio.TaskRegistry.names():
      raise errors.UserError(
        f'No Task {self.task!r} is registered. The modules that register '
        'Tasks are those of task_metrics.TaskMetrics.modules.'
      )
    task = seqio.TaskRegistry.get(self.task)
    for name, there in (
      ("output feature 'inputs'", 'inputs' in task.output_features),
      (f'split {self.split!r}', self.split in task.splits),
      ('metrics', bool(task.metric_objs)),
    ):
      if not there:
        raise errors.UserError(
          f'Task {self.task!r} has no {name}: it is no Task to measure a '
          'model with. Name another, or give it what it lacks.'
        )
    tokens = vocabularies.load(self.tokenizer)
    seqio_tasks.prepare(task, tokens, self.chat_format, self.corpus_dir)
    return task, tokens


class _AsItIs(seqio.PassThroughFeatureConverter):
  """Examples as the Task gives them: nothing is padded, so id 0 stays a token.

  What SeqIO's own class forgets to set.
  """

  TASK_FEATURES: dict[str, Any] = {}
  pack = False


@dataclasses.dataclass(frozen=True)
class _Model:
  """A model as `seqio.Evaluator` asks it: an answer per numbered example."""

  config: model.Config
  params: dict[str, Any]
  tokens: vocabularies.Tokenizer
  settings: TaskMetrics

  def predict(self, dataset: tf.data.Dataset) -> list[tuple[int, list[int]]]:
    """The tokens that follow the inputs.

    SeqIO makes one array of them, and reads each to its first EOS.
    """
    numbers, prompts, _ = self._read(dataset)
    found = generate.generate(
      self.config,
      self.params,
      prompts,
      max_new_tokens=self.settings.max_new_tokens,
      stop_ids=[self.tokens.eos_id],
      batch_size=self.settings.batch_size,
      max_prompt_tokens=self.settings.max_prompt_tokens,
      vocab_size=self.tokens.vocab_size,
      description=self.settings.task,
    )
    longest = max((len(one.tokens) for one in found), default=0)
    end = self.tokens.eos_id
    return [
      (number, [*one.tokens, *[end] * (longest - len(one.tokens))])
      for number, one in zip(numbers, found, strict=True)
    ]

  def score(self, dataset: tf.data.Dataset) -> list[tuple[int, float]]:
    """The log likelihood of the targets after the inputs."""
    numbers, prompts, targets = self._read(dataset)
    scores = likelihood.score(
      self.config,
      self.params,
      list(zip(prompts, targets, strict=True)),
      batch_size=self.settings.batch_size,
    )
    return [
      (number, -score.nll)
      for number, score in zip(numbers, scores, strict=True)
    ]

  def _read(
    self, dataset: tf.data.Dataset
  ) -> tuple[list[int], list[list[int]], list[list[int]]]:
    """Numbers, prompts and targets.

    A prompt opens like a document of the corpus, and stays open: an EOS that
    the Task puts after its inputs would end the document that it begins.
    """
    numbers, prompts, targets = [], [], []
    opening = [] if self.tokens.bos_id is None else [self.tokens.bos_id]
    for number, example in tfds.as_numpy(dataset):
      inputs = example['inputs'].tolist()
      if inputs[-1:] == [self.tokens.eos_id]:
        inputs = inputs[:-1]
      prompt = inputs if inputs[:1] == opening else [*opening, *inputs]
      numbers.append(int(number))
      prompts.append(prompt or [self.tokens.eos_id])
      targets.append(example['targets'].tolist())
    return numbers, prompts, targets


def _plain(value: Any) -> Any:
  """A metric's value as JSON knows it."""
  value = getattr(value, 'value', value)
  value = getattr(value, 'textdata', value)
  to_list: Callable[[], Any] | None = getattr(value, 'tolist', None)
  return value if to_list is None else to_list()
