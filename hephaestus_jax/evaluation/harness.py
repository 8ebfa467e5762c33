"""A network of ours as lm-evaluation-harness asks one, and what it executes.

Needs requirements/lm_eval.txt. `general_benchmarks` is what a run names.
"""

import contextlib
import math
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import evaluate as hf_evaluate
import lm_eval.api.model
import lm_eval.models.utils
import lm_eval.tasks
import lm_eval.utils
import tqdm
from lm_eval.api.instance import Instance

from hephaestus_jax import chat, errors, model, sandbox, tokenizer
from hephaestus_jax.decode import engine, prompts
from hephaestus_jax.evaluation import likelihood

# As lm-evaluation-harness has it where a task says nothing.
NEW_TOKENS = 256
# How a completion may be drawn; what else a task asks for is refused.
_DRAWN = {'do_sample', 'temperature', 'top_p', 'until', 'max_gen_toks'}
# Reads a token of this run's own and a program; says the token at the end, so
# that a program which leaves early has not passed. Names are those that
# `code_eval` gives: none.
_RUNNER = """
import os, sys
os.environ['OPENBLAS_NUM_THREADS'] = '1'
end, _, program = sys.stdin.read().partition('\\n')
exec(compile(program, 'program', 'exec'), {})
sys.stdout.flush()
print(end)
"""


class Model(lm_eval.api.model.TemplateLM):
  """Answers the harness' three questions; what it answers is its own HFLM's.

  But where texts open with the vocabulary's BOS, `loglikelihood_rolling` sees
  one, and not two.
  """

  def __init__(
    self,
    config: model.Config,
    params: dict[str, Any],
    vocabulary: tokenizer.Tokenizer,
    *,
    max_length: int,
    batch_size: int,
    chat_format: str | None = None,
    opens: bool = True,
  ) -> None:
    """
    Args:
      max_length: tokens that are read at once. Of a longer context the end
        counts, where a completion is asked for less by what it may have.
      batch_size: texts at once.
      chat_format: how conversations are put, where the harness makes them; see
        `chat.FORMATS`. None: no conversations.
      opens: whether texts open with the vocabulary's BOS, as documents of the
        corpus do.
    """
    super().__init__()
    self.max_length = max_length
    self._config = config
    self._params = params
    self._vocabulary = vocabulary
    self._batch_size = batch_size
    self._chat_format = chat_format
    self._opens = opens

  @property
  def eot_token_id(self) -> int:
    """What ends a text."""
    return self._vocabulary.eos_id

  @property
  def prefix_token_id(self) -> int:
    """What a text without context follows."""
    bos = self._vocabulary.bos_id
    return self.eot_token_id if bos is None else bos

  @property
  def tokenizer_name(self) -> str:
    """What prompts depend on."""
    return f'{self._vocabulary.fingerprint} {self._chat_format}'

  def chat_template(self, chat_template: bool | str = False) -> str | None:
    """The name of the format, where one is asked for."""
    return self._chat_format if chat_template else None

  def apply_chat_template(
    self,
    chat_history: list[dict[str, str]],
    add_generation_prompt: bool = True,
  ) -> str:
    """A conversation as text, up to where the assistant goes on.

    Args:
      add_generation_prompt: whether its turn is to be opened; else the last
        message is what it has said of it.
    """
    said = '' if add_generation_prompt else chat_history[-1]['content']
    messages = chat_history if add_generation_prompt else chat_history[:-1]
    spans = chat.generation_prompt(
      chat.segments_of(messages), self._chat_format or 'chatml'
    )
    return ''.join(span.text for span in spans) + said

  def tok_encode(
    self, string: str, add_special_tokens: bool | None = None, **_: Any
  ) -> list[int]:
    """Token ids; control tokens are read, for conversations come as text."""
    ids = self._vocabulary.encode_markers(string)
    bos = self._vocabulary.bos_id
    if self._opens and add_special_tokens is not False and bos is not None:
      return ids if ids[:1] == [bos] else [bos, *ids]
    return ids

  def _loglikelihood_tokens(
    self,
    requests: list[tuple[Any, list[int], list[int]]],
    disable_tqdm: bool = False,
    **_: Any,
  ) -> list[tuple[float, bool]]:
    pairs = []
    for _texts, context, continuation in requests:
      if len(continuation) > self.max_length:
        raise errors.UserError(
          f'A text to score has {len(continuation)} tokens, and '
          f'{self.max_length} are read at once. Raise '
          'general_benchmarks.GeneralBenchmarks.max_length.'
        )
      # The last token is not read: there is room for one more.
      room = self.max_length + 1 - len(continuation)
      pairs.append((context[-room:], continuation))
    scores = likelihood.score(
      self._config,
      self._params,
      pairs,
      batch_size=self._batch_size,
      vocab_size=self._vocabulary.vocab_size,
      description=None if disable_tqdm else 'loglikelihood',
    )
    return [(-score.nll, score.greedy) for score in scores]

  def loglikelihood_rolling(
    self, requests: Sequence[Instance], disable_tqdm: bool = False
  ) -> list[float]:
    """Log likelihoods of whole texts, in windows of `max_length`."""
    windows, owners = [], []
    for number, request in enumerate(requests):
      for window in lm_eval.utils.get_rolling_token_windows(
        token_list=self.tok_encode(request.args[0], add_special_tokens=False),
        prefix_token=self.prefix_token_id,
        max_seq_len=self.max_length,
        context_len=1,
      ):
        pair = lm_eval.utils.make_disjoint_window(window)
        windows.append((None, *pair))
        owners.append(number)
    totals = [0.0] * len(requests)
    scores = self._loglikelihood_tokens(windows, disable_tqdm=disable_tqdm)
    for number, (logprob, _) in zip(owners, scores, strict=True):
      totals[number] += logprob
    return totals

  def generate_until(
    self, requests: Sequence[Instance], disable_tqdm: bool = False
  ) -> list[str]:
    """What follows each context, up to one of its stop strings.

    Raises:
      errors.UserError: a task asks to draw in a way that isn't ours to do, or
        for more tokens than are read at once.
    """
    # Another seed for each: a task that draws may ask the same again.
    asked = [
      self._request(i, *request.args) for i, request in enumerate(requests)
    ]
    texts = [''] * len(asked)
    # Long prompts first: the queue's end is short ones.
    order = sorted(range(len(asked)), key=lambda i: -len(asked[i].prompt))
    running = engine.Engine(
      self._config,
      self._params,
      slots=min(self._batch_size, len(asked)),
      max_length=max(len(x.prompt) + x.max_new_tokens for x in asked),
      vocabulary=self._vocabulary,
    )
    bar = tqdm.tqdm(
      total=len(asked), desc='generate_until', disable=disable_tqdm
    )
    with bar:

      def listener(i: int) -> engine.Listener:
        def listen(update: engine.Update) -> None:
          texts[i] += update.text
          bar.update(bool(update.finish))

        return listen

      for i in order:
        running.submit(asked[i], listener(i))
      while running.step():
        pass
    return texts

  def _request(
    self, seed: int, context: str, given: Mapping[str, Any]
  ) -> engine.Request:
    settings = lm_eval.models.utils.normalize_gen_kwargs(
      dict(given), NEW_TOKENS
    )
    if unknown := sorted(settings.keys() - _DRAWN):
      raise errors.UserError(
        f'A task asks for generation with {", ".join(unknown)}, which the '
        f'engine does not know. There are {", ".join(sorted(_DRAWN))}.'
      )
    new_tokens = settings['max_gen_toks']
    if new_tokens >= self.max_length:
      raise errors.UserError(
        f'A task asks for {new_tokens} new tokens, and {self.max_length} are '
        'read at once. Raise general_benchmarks.GeneralBenchmarks.max_length.'
      )
    stop_ids: tuple[int, ...] = (self.eot_token_id,)
    stop = [text for text in settings['until'] if text]
    if self._chat_format is not None:
      stop_ids, words = prompts.stops(self._vocabulary, self._chat_format)
      stop += words
    ids = self.tok_encode(context) or [self.prefix_token_id]
    return engine.Request(
      tuple(ids[new_tokens - self.max_length :]),
      new_tokens,
      temperature=settings['temperature'] if settings['do_sample'] else 0.0,
      top_p=settings.get('top_p', 1.0),
      seed=seed,
      stop_ids=stop_ids,
      stop=tuple(stop),
    )


class CodeEval:
  """What `evaluate.load('code_eval')` gives, run where it can do no harm."""

  def __init__(self, isolation: str, seconds: float) -> None:
    """
    Args:
      isolation: see `sandbox.run`.
      seconds: after which a program counts as failed.
    """
    self.isolation = isolation
    self.seconds = seconds

  def compute(
    self,
    *,
    references: Sequence[str],
    predictions: Sequence[Sequence[str]],
    k: Sequence[int] = (1, 10, 100),
  ) -> tuple[dict[str, float], dict[int, list[tuple[int, dict[str, Any]]]]]:
    """The share of problems that one of k candidates solves, for each k.

    Args:
      references: a test for each problem, which raises where it fails.
      predictions: programs for each.

    Returns:
      {'pass@1': 0.5} by the unbiased estimator (Chen et al. 2021, section 2.1),
      and of each problem what became of each candidate.
    """
    found: dict[int, list[tuple[int, dict[str, Any]]]] = {}
    for task, (test, candidates) in enumerate(
      zip(references, predictions, strict=True)
    ):
      found[task] = [
        (number, self._verdict(f'{candidate}\n{test}'))
        for number, candidate in enumerate(candidates)
      ]
    scores = {}
    for least in k:
      if all(len(each) >= least for each in found.values()):
        shares = [
          _solved(len(each), sum(v['passed'] for _, v in each), least)
          for each in found.values()
        ]
        scores[f'pass@{least}'] = sum(shares) / len(shares)
    return scores, found

  def _verdict(self, program: str) -> dict[str, Any]:
    end = secrets.token_hex(16)
    result = sandbox.run(
      # With our packages: HumanEval+ tests by means of NumPy.
      [sys.executable, '-I', '-c', _RUNNER],
      stdin=f'{end}\n{program}'.encode(errors='surrogatepass'),
      readable=[sys.base_prefix, sys.prefix],
      timeout=self.seconds,
      method=self.isolation,
    )
    passed = result.stdout.decode(errors='replace').endswith(f'{end}\n')
    if passed:
      return {'passed': True, 'result': 'passed'}
    lines = result.stderr.decode(errors='replace').strip().splitlines()
    said = lines[-1] if lines else f'exit status {result.returncode}'
    return {'passed': False, 'result': f'failed: {result.stopped or said}'}


def _solved(candidates: int, right: int, k: int) -> float:
  """The chance that one of k candidates, drawn from all, is right."""
  wrong = candidates - right
  return 1.0 - math.comb(wrong, k) / math.comb(candidates, k)


# The harness loads a task's module once, and that its metric: one for all,
# which is told anew where to run.
_shared = CodeEval('auto', 10.0)


@contextlib.contextmanager
def code_in_sandbox(isolation: str, seconds: float) -> Iterator[None]:
  """Within, tasks that load the metric `code_eval` get `CodeEval`.

  The published one is downloaded and runs what models wrote in a process of
  ours, with our files and network.
  """
  load = hf_evaluate.load
  _shared.isolation, _shared.seconds = isolation, seconds

  def loaded(path: str, *args: Any, **keywords: Any) -> Any:
    if path == 'code_eval':
      return _shared
    return load(path, *args, **keywords)

  hf_evaluate.load = loaded
  try:
    yield
  finally:
    hf_evaluate.load = load


class Tasks(lm_eval.tasks.TaskManager):
  """The harness' tasks, without those that execute code by other means."""

  def load(self, *args: Any, **keywords: Any) -> Any:
    """As the base class.

    Raises:
      errors.UserError: a task is marked as unsafe, and its metric isn't
        `CodeEval`.
    """
    loaded = super().load(*args, **keywords)
    for name, task in loaded['tasks'].items():
      if getattr(task, 'UNSAFE_CODE', False) and not _is_sandboxed(task):
        raise errors.UserError(
          f'The task {name} runs what the model wrote by means of its own, '
          'outside the sandbox. Leave it out: of the tasks that are marked as '
          'unsafe only those run that use the metric code_eval.'
        )
    return loaded


def _is_sandboxed(task: Any) -> bool:
  """Whether every metric of a task is `CodeEval`, or defined beside one."""
  metrics = task._metric_fn_list.values()
  # The harness keeps a function as its `__call__`.
  owners = [getattr(metric, '__self__', metric) for metric in metrics]
  return bool(owners) and all(
    any(
      isinstance(value, CodeEval)
      for value in (owner, *getattr(owner, '__globals__', {}).values())
    )
    for owner in owners
  )
