"""General benchmarks, as lm-evaluation-harness defines and scores them.

The paper's Table 5 is GSM8K, HumanEval, HumanEval+, BBH, IFEval, HellaSwag and
MMLU: `gin/stages/evaluate.gin` lists the harness' names for them.
"""

import contextlib
import dataclasses
import importlib.metadata
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hephaestus_jax import artefacts, chat, errors, model
from hephaestus_jax import tokenizer as vocabularies

PACKAGE = 'lm-eval'


@dataclasses.dataclass(frozen=True)
class GeneralBenchmarks:
  """Some of lm-evaluation-harness' tasks, ready to measure a model.

  Their data comes from where each task says: the hub, or the files of a task of
  the user's own. Code that a model wrote runs in the sandbox, or not at all.

  Attributes:
    tasks: their names, or those of groups of them.
    tokenizer: path of the vocabulary, see `tokenizer.load`.
    name: what the results are called.
    include: a folder of the user's own tasks, YAML as the harness reads it.
    limit: the first so many questions of each task; None: all.
    shots: examples before each question; None: as the task says.
    max_length: tokens that are read at once. What is longer loses its
      beginning.
    batch_size: texts at once.
    chat_format: puts questions as conversations, see `chat.FORMATS`; None: as
      plain text, for base models.
    opens: whether texts open with the vocabulary's BOS, as the corpus' do.
    isolation: where code runs, see `sandbox.run`.
    code_seconds: after which a program counts as failed.
  """

  tasks: Sequence[str]
  tokenizer: str
  name: str = 'general'
  include: str | None = None
  limit: int | None = None
  shots: int | None = None
  max_length: int = 2048
  batch_size: int = 8
  chat_format: str | None = None
  opens: bool = True
  isolation: str = 'auto'
  code_seconds: float = 10.0

  def __post_init__(self) -> None:
    if not self.tasks:
      raise errors.UserError(
        'general_benchmarks.GeneralBenchmarks.tasks is empty: name one at '
        'least.'
      )
    for field in ('max_length', 'batch_size'):
      if getattr(self, field) < 1:
        raise errors.UserError(
          f'general_benchmarks.GeneralBenchmarks.{field} = '
          f'{getattr(self, field)} is below 1.'
        )
    if self.chat_format is not None:
      chat.of_name(self.chat_format)

  def identity(self) -> dict[str, Any]:
    """What the results depend on besides the model."""
    computed = ('tokenizer', 'batch_size', 'isolation', 'include')
    settings = {
      field.name: getattr(self, field.name)
      for field in dataclasses.fields(self)
      if field.name not in computed
    }
    files = (
      [] if self.include is None else pathlib.Path(self.include).rglob('*')
    )
    return {
      **settings,
      'tasks': list(self.tasks),
      'included': {
        path.name: artefacts.file_fingerprint(path)
        for path in sorted(files)
        if path.is_file()
      },
      PACKAGE: _version(),
      'tokenizer': vocabularies.load(self.tokenizer).fingerprint,
    }

  def __call__(
    self, config: model.Config, params: dict[str, Any]
  ) -> dict[str, Any]:
    """Measures one model.

    Returns:
      'tasks': {task: {metric: value}}, and of each group of tasks its means;
      'versions': of the tasks, as the harness counts them; 'completions': for
      each question its task, number, what was answered and how that scored.

    Raises:
      errors.UserError: the harness isn't installed or has no such task, a task
        asks for what the engine can't do, or runs code outside the sandbox.
    """
    _version()
    # Only here: they are an extra, and import for seconds.
    from lm_eval import evaluator, utils

    from hephaestus_jax.evaluation import harness

    tasks = harness.Tasks(include_path=self.include)
    for task in self.tasks:
      if task not in tasks.all_tasks:
        raise errors.UserError(
          f'general_benchmarks.GeneralBenchmarks.tasks names {task!r}, and '
          f'{PACKAGE} {_version()} has no such task or group.'
        )
    asked = harness.Model(
      config,
      params,
      vocabularies.load(self.tokenizer),
      max_length=self.max_length,
      batch_size=self.batch_size,
      chat_format=self.chat_format,
      opens=self.opens,
    )
    with harness.code_in_sandbox(self.isolation, self.code_seconds):
      found = evaluator.simple_evaluate(
        asked,
        tasks=list(self.tasks),
        task_manager=tasks,
        num_fewshot=self.shots,
        limit=self.limit,
        apply_chat_template=self.chat_format is not None,
        # Those that `harness.Tasks` let through run in the sandbox.
        confirm_run_unsafe_code=True,
        bootstrap_iters=0,
      )
    return {
      'tasks': {
        task: dict(_numbers(values))
        for task, values in {
          **found['results'],
          **found.get('groups', {}),
        }.items()
      },
      'versions': found['versions'],
      'completions': [
        {
          'task': task,
          'doc_id': sample['doc_id'],
          'target': str(sample['target']),
          'answers': sample['filtered_resps'],
          # Some are arrays of NumPy.
          'scores': json.loads(
            json.dumps(
              {name: sample.get(name) for name in sample['metrics']},
              default=utils.handle_non_serializable,
            )
          ),
        }
        for task, samples in found['samples'].items()
        for sample in samples
      ],
    }


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
  """A task's metrics, without what the harness tells of the task itself.

  >>> dict(_numbers({'alias': 'gsm8k', 'exact_match,strict-match': 0.5,
  ...                'exact_match_stderr,strict-match': 'N/A'}))
  {'exact_match,strict-match': 0.5}
  """
  for name, value in values.items():
    if ',' in name and not isinstance(value, str):
      with contextlib.suppress(TypeError):
        yield name, float(value)


def _version() -> str:
  """The harness' version.

  Raises:
    errors.UserError: it isn't installed.
  """
  try:
    return importlib.metadata.version(PACKAGE)
  except importlib.metadata.PackageNotFoundError:
    raise errors.UserError(
      f'general_benchmarks.GeneralBenchmarks needs {PACKAGE}: '
      'pip install -r requirements/lm_eval.txt.'
    ) from None
