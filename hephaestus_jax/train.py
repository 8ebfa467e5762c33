"""Training: stage after stage, each from the parameters of the one before.

What a step computes stands in update.py; here is the loop around it. Batches
are a function of the step, so a run that was killed and started again sees the
same ones, and on the same machine it ends in the same bits.
"""

import contextlib
import dataclasses
import functools
import math
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import tqdm
from jax.experimental.compilation_cache import compilation_cache as jit_cache
from jax.sharding import Mesh

from hephaestus_jax import (
  artefacts,
  checkpoints,
  data,
  errors,
  heap,
  partitioning,
  stage_folder,
  update,
)
from hephaestus_jax import model as transformer
from hephaestus_jax.corpus import document
from hephaestus_jax.observability import goodput, metrics, profiler, skipped
from hephaestus_jax.pod import hosts, preemption, watchdog

# A checkpoint's second item, beside the parameters.
OPTIMIZER = 'optimizer'
# Steps until memory is laid out as before, after something that is no step: the
# first runs beside a checkpoint's snapshot, which then leaves a hole.
SETTLING = 2
# The exit code of a process that SIGTERM ended: 128 + 15.
STOPPED = 143


class Evaluator(Protocol):
  """Something to measure on the way."""

  name: str

  def __call__(
    self, config: transformer.Config, params: Any
  ) -> Mapping[str, float]:
    """Values by name, such as {'nll_per_token': 2.5}."""


def train(
  *,
  model: transformer.Config,
  stages: Sequence[update.Stage],
  cache_dir: str,
  model_dir: str,
  mesh: Mesh | None = None,
  seed: int = 0,
  evaluators: Sequence[Evaluator] = (),
  evaluate_every: int | None = None,
  checkpoint_every: int = 1000,
  log_every: int = 10,
  keep: int = 2,
  keep_every: int | None = None,
  max_skipped: int = 10,
  init_from: str | None = None,
  compilation_cache: str | None = None,
  compiler_options: Mapping[str, str] | None = None,
  watchdog_times: float = 10.0,
  profile_at: int | None = None,
  profile_steps: int = 5,
  wandb: str | None = None,
  allow_changes: bool = False,
  dry_run: bool = False,
) -> dict[str, Any]:
  """Trains a model, stage after stage (paper, section 3).

  `model_dir/<stage>/` gets checkpoints/, metrics.jsonl, tensorboard/ and
  inputs.json. A stage that is finished there is reused, one that was
  interrupted goes on from its newest checkpoint. What only watches or computes
  (evaluators, intervals, mesh, microbatches) may change in between; for the
  same bits it may not. So may the mixture's rates and caps, from a step on that
  is still to come: `changes.jsonl` then says so. SIGTERM saves at the next step
  and ends the process with exit code 143.

  Where several processes train (see `hosts.join`), each calls this, and all see
  one disk; what is written once is written by the first.

  Args:
    model: the network.
    stages: in order.
    cache_dir: what `cache.cache` wrote.
    model_dir: where the stages' folders go.
    mesh: the devices; None: all of them, with the parameters cut over them.
    seed: of the first parameters and of the order of the rows.
    evaluators: called with the network and its parameters at step 0 of each
      stage and at its end.
    evaluate_every: and every so many steps between; None: not between.
    checkpoint_every: steps from a checkpoint to the next.
    log_every: steps from a line of metrics.jsonl to the next. There is one at
      every checkpoint too.
    keep: how many of a stage's newest checkpoints stay.
    keep_every: the first checkpoint of every so many steps stays for good;
      None: of none.
    max_skipped: so many steps in a row whose update was not taken end the run.
    init_from: a trained stage's folder, or one of its checkpoints, whose
      parameters the first stage starts from; None: fresh ones.
    compilation_cache: a folder that keeps compiled steps for the next process.
    compiler_options: XLA's, for the step; see gin/hardware/.
    watchdog_times: a step that takes so many times as long as the median makes
      the process print what all its threads are doing.
    profile_at: the first step of each stage's trace, in its folder 'profile';
      None: no trace.
    profile_steps: how many steps a trace has.
    wandb: a Weights & Biases project that gets the metrics too; None: none.
    allow_changes: lets a stage that was interrupted go on with other inputs,
      such as a learning rate or rates of the mixture, and writes down which
      (`artefacts.amend`); else it is refused. A stage that is finished stays
      what it is.
    dry_run: only check: build the shapes, and read a batch of each mixture
      that is in the cache already.

  Returns:
    {'parameters': int, 'reused': whether every stage was finished, 'stages':
    {name: {'steps', 'tokens'}}}.

  Raises:
    errors.UserError: the stages, the cache and the network don't fit together;
      a stage's folder was made from other inputs; the processes differ in code,
      configuration or data; a checkpoint doesn't fit, or can't be written; all
      of a stage's are damaged; `max_skipped` was reached.
    SystemExit: SIGTERM came, and the state is saved.
  """
  for name, every in (
    ('evaluate_every', evaluate_every),
    ('checkpoint_every', checkpoint_every),
    ('keep_every', keep_every),
    ('log_every', log_every),
  ):
    if every is not None and every < 1:
      raise errors.UserError(f'train.train.{name} = {every} is below 1.')
  launch = goodput.Launch()
  if compilation_cache is not None:
    jax.config.update('jax_compilation_cache_dir', compilation_cache)
    jit_cache.reset_cache()  # else the process's first jit has decided it
  mesh = partitioning.make_mesh() if mesh is None else mesh
  if dry_run:
    return _dry_run(model, stages, cache_dir, mesh, seed)
  mixtures = _mixtures(model, stages, cache_dir, seed)
  source = _Source.of_folder(init_from)
  report: dict[str, Any] = {}
  reused = True
  seconds = 0.0  # of the stages before
  measured: Mapping[str, float] | None = None
  with preemption.termination() as terminated:
    for number, (stage, mixture) in enumerate(
      zip(stages, mixtures, strict=True)
    ):
      folder = pathlib.Path(model_dir) / stage.name
      later = [pathlib.Path(model_dir) / x.name for x in stages[number + 1 :]]
      tokens = stage.steps * stage.batch_size * mixture.sequence_length
      report[stage.name] = {'steps': stage.steps, 'tokens': tokens}
      inputs = stage_folder.inputs(
        model, stage, mixture, cache_dir, source.identity, seed
      )
      if jax.process_count() > 1:
        hosts.agree(stage_folder.of_process(inputs))
      if allow_changes:
        stage_folder.amend(folder, stage, inputs)
      if stage_folder.finished(folder, stage, inputs, later[:1]):
        measured = None
      else:
        reused = False
        layout = partitioning.reshaped(mesh, stage.axes)
        measured = _run(
          _Setup(model, stage, mixture, layout, folder, source.folder, seed),
          launch,
          spent=seconds,
          watchdog_times=watchdog_times,
          profile=profiler.Window(
            folder, first=profile_at, steps=profile_steps
          ),
          wandb=wandb,
          evaluators=evaluators,
          evaluate_every=evaluate_every,
          checkpoint_every=checkpoint_every,
          log_every=log_every,
          keep=keep,
          keep_every=keep_every,
          max_skipped=max_skipped,
          terminated=terminated,
          compiler_options=compiler_options,
          measured=measured,
        )
      seconds += metrics.seconds(folder)
      source = _Source(folder, {stage.name: artefacts.fingerprint(inputs)})
  parameters = transformer.num_parameters(model)
  return {'parameters': parameters, 'reused': reused, 'stages': report}


class _Source(NamedTuple):
  """Where a stage's first parameters come from; folder None: nowhere."""

  folder: pathlib.Path | None
  identity: Mapping[str, str | None]

  @classmethod
  def of_folder(cls, path: str | None) -> '_Source':
    if path is None:
      return cls(None, {'init_from': None})
    step = checkpoints.find(pathlib.Path(path))
    made_by = step.parents[1] / artefacts.INPUTS
    known = artefacts.file_fingerprint(made_by) if made_by.exists() else None
    return cls(step, {'init_from': path, 'inputs': known})


@dataclasses.dataclass(frozen=True)
class _Setup:
  """What a stage's run is made of."""

  model: transformer.Config
  stage: update.Stage
  mixture: data.Mixture
  mesh: Mesh
  folder: pathlib.Path
  source: pathlib.Path | None
  seed: int


def open_mixture(
  stage: update.Stage, cache_dir: str, seed: int
) -> data.Mixture:
  """The rows of a stage, in their order."""
  return data.Mixture(
    cache_dir=cache_dir,
    mixture=stage.mixture,
    seed=seed,
    rates={
      step * stage.batch_size: rates
      for step, rates in (stage.rates or {}).items()
    },
    max_epochs=stage.max_epochs,
    max_tokens=stage.max_tokens,
  )


def _mixtures(
  config: transformer.Config,
  stages: Sequence[update.Stage],
  cache_dir: str,
  seed: int,
) -> list[data.Mixture]:
  """Opens every stage's mixture, before any is trained on.

  Raises:
    errors.UserError: two stages share a name, or their vocabularies differ, or
      the network's is smaller than theirs, or their caps end them too early.
  """
  names = [stage.name for stage in stages]
  if len({*names}) != len(names) or not names:
    raise errors.UserError(
      f'train.train.stages are {names}: there must be one at least, and each '
      'needs a name of its own.'
    )
  mixtures = [open_mixture(stage, cache_dir, seed) for stage in stages]
  for stage, mixture in zip(stages, mixtures, strict=True):
    if (
      end := mixture.end
    ) is not None and end < stage.steps * stage.batch_size:
      raise errors.UserError(
        f'{stage.name} has {stage.steps} steps, and max_epochs and max_tokens '
        f'leave rows of {stage.mixture} for {end // stage.batch_size}. Raise '
        'them, or train for fewer steps.'
      )
    if mixture.tokenizer_fingerprint != mixtures[0].tokenizer_fingerprint:
      raise errors.UserError(
        f'{stage.mixture} was cached with tokenizer '
        f'{mixture.tokenizer_fingerprint}, {stages[0].mixture} with '
        f'{mixtures[0].tokenizer_fingerprint}. Cache both with one tokenizer.'
      )
    stage.weights_S(mixture.sources)
    trained = {
      role
      for role, weight in zip(document.ROLES, stage.weights_R, strict=True)
      if weight
    }
    for task in mixture.sources:
      info = data.Rows(cache_dir, task, 'train').info
      if not trained & info['tokens_by_role'].keys():
        raise errors.UserError(
          f'{task} of {stage.mixture} has no token for {stage.name} to train '
          f'on: its roles are {", ".join(info["tokens_by_role"])}, and '
          f'update.Stage.role_weights weighs {", ".join(sorted(trained))}. '
          'Leave the Task out, or give a role of it a weight.'
        )
      words = info['vocab_size']
      if words > config.vocab_size:
        raise errors.UserError(
          f'{task} was cached with a vocabulary of {words}, and '
          f'model.Config.vocab_size = {config.vocab_size}. Give the model that '
          'of the tokenizer.'
        )
  return mixtures


def _dry_run(
  config: transformer.Config,
  stages: Sequence[update.Stage],
  cache_dir: str,
  mesh: Mesh,
  seed: int,
) -> dict[str, Any]:
  """Checks what can be checked without training.

  Returns:
    {'parameters': int, 'stages': {name: the batch's shape, or None where the
    mixture isn't in the cache yet}}.
  """
  report: dict[str, Any] = {}
  for stage in stages:
    layout = partitioning.reshaped(mesh, stage.axes)
    update.state_shapes(config, stage.optimizer, layout)
    report[stage.name] = None
    if (
      pathlib.Path(cache_dir) / 'mixtures' / f'{stage.mixture}.json'
    ).exists():
      (mixture,) = _mixtures(config, [stage], cache_dir, seed)
      batch = partitioning.global_batch(
        layout, mixture.batch(0, stage.batch_size)
      )
      report[stage.name] = list(batch['tokens_BL'].shape)
  return {'parameters': transformer.num_parameters(config), 'stages': report}


def _start(setup: _Setup) -> tuple[update.TrainState, int | None]:
  """The state to go on from, and the step of the checkpoint it comes from."""
  shapes = update.state_shapes(setup.model, setup.stage.optimizer, setup.mesh)
  # The order matters.
  # 1. The newest checkpoint of this stage: what was interrupted goes on.
  folder = setup.folder / checkpoints.FOLDER
  if (resumed := checkpoints.newest_whole(folder)) is not None:
    newest = folder / str(resumed)
    params = checkpoints.restore(newest, checkpoints.PARAMETERS, shapes.params)
    step, opt_state = checkpoints.restore(
      newest, OPTIMIZER, (shapes.step, shapes.opt_state)
    )
    return update.TrainState(step, params, opt_state), resumed
  # 2. The parameters of the stage before, or those of `init_from`.
  if setup.source is not None:
    params = checkpoints.restore_parameters(setup.source, shapes.params)
  # 3. Fresh ones, made where they belong: no device ever holds them all.
  else:
    initialise = functools.partial(transformer.init, setup.model)
    params = jax.jit(initialise, out_shardings=update.shardings(shapes.params))(
      setup.seed
    )
  # Each stage has a learning rate schedule, and so an optimizer, of its own.
  opt_state = jax.jit(
    setup.stage.optimizer.init, out_shardings=update.shardings(shapes.opt_state)
  )(params)
  step = jax.device_put(jnp.zeros((), jnp.int32), shapes.step.sharding)
  return update.TrainState(step, params, opt_state), None


def _run(
  setup: _Setup,
  launch: goodput.Launch,
  *,
  spent: float,
  watchdog_times: float,
  profile: profiler.Window,
  wandb: str | None,
  evaluators: Sequence[Evaluator],
  evaluate_every: int | None,
  checkpoint_every: int,
  log_every: int,
  keep: int,
  keep_every: int | None,
  max_skipped: int,
  terminated: Callable[[int], bool],
  compiler_options: Mapping[str, str] | None,
  measured: Mapping[str, float] | None,
) -> Mapping[str, float] | None:
  """Trains one stage from wherever it is to its end.

  Args, besides those of `train`:
    measured: the evaluators' values of the parameters that it starts from,
      where the stage before has them.

  Returns:
    Those of the parameters that it ends with; None: not measured here.
  """
  stage, mixture, mesh = setup.stage, setup.mixture, setup.mesh
  step_tokens = stage.batch_size * mixture.sequence_length
  begun = goodput.first_start(setup.folder.parent)
  with launch.part('compile'):
    compiled_step = update.lower_step(
      setup.model,
      stage,
      mesh,
      sequence_length=mixture.sequence_length,
      num_sources=len(mixture.sources),
      source_weights=(
        stage.weights_S(mixture.sources) if stage.source_weights else None
      ),
    ).compile(compiler_options=dict(compiler_options or {}))
  with contextlib.ExitStack() as stack:
    stack.enter_context(jax.set_mesh(mesh))
    with launch.part('restore'):
      state, resumed = _start(setup)
      jax.block_until_ready(state)
    saver = stack.enter_context(
      contextlib.closing(
        checkpoints.Writer(
          setup.folder / checkpoints.FOLDER,
          keep=keep,
          keep_every=keep_every,
          items=(checkpoints.PARAMETERS, OPTIMIZER),
        )
      )
    )
    first = resumed or 0
    writer = stack.enter_context(
      contextlib.closing(
        metrics.Writer(setup.folder, resumed_step=resumed, wandb=wandb)
      )
    )
    bar = stack.enter_context(
      tqdm.tqdm(
        total=stage.steps,
        initial=first,
        desc=stage.name,
        unit='step',
        disable=not hosts.is_first(),
      )
    )
    batches = data.loader(
      mixture,
      batch_size=stage.batch_size,
      start_step=first,
      rows_B=partitioning.host_rows(mesh, stage.batch_size),
    )
    meter = metrics.Meter(
      sources=mixture.sources,
      tokens_per_step=step_tokens,
      flops_per_step=step_tokens
      * metrics.flops_per_token(setup.model, mixture.sequence_length),
    )
    not_taken = skipped.Skipped(
      setup.folder,
      mixture,
      batch_size=stage.batch_size,
      most=max_skipped,
      resumed_step=first,
    )
    watch = stack.enter_context(
      contextlib.closing(watchdog.Watchdog(watchdog_times))
    )
    stack.enter_context(contextlib.closing(profile))
    if resumed is None:
      if measured is None:
        with meter.time('evaluation'), launch.part('evaluation'):
          measured = _evaluate(setup.model, state.params, evaluators)
      if measured:
        writer.write(0, {'tokens': 0, **measured})
    unsettled = SETTLING
    for step in range(first + 1, stage.steps + 1):
      if unsettled:
        heap.give_back()
        unsettled -= 1
      profile.before(step)
      with watch.step(f'step {step} of {stage.name}'):
        with meter.time('input'):
          batch = next(batches)
        state, sums = compiled_step(
          state, _on_devices(mesh, batch, stage.batch_size)
        )
        meter.add(sums)
        launch.step(sums)
        last, stopping = step == stage.steps, terminated(step)
        save = last or stopping or step % checkpoint_every == 0
        # A line never reaches over a checkpoint, so none is lost by a resume.
        due = save or step % log_every == 0
        values = meter.line() if due else {}
      profile.after(step, sums)
      bar.update()
      saver.check()
      if due:
        done = spent + writer.seconds + values['seconds']
        values['goodput'] = goodput.share(done, begun)
        values |= launch.values()
        values |= {
          f'epochs/{task}': epochs
          for task, epochs in mixture.epochs(step * stage.batch_size).items()
        }
        writer.write(step, {'tokens': step * step_tokens, **values})
        if meter.not_taken:
          not_taken.add([(step + back, norm) for back, norm in meter.not_taken])
        bar.set_postfix_str(
          f'loss {values.get("loss", math.nan):.3f}, '
          f'{values["tokens_per_second"]:,.0f} tokens/s'
        )
      if last or (evaluate_every and step % evaluate_every == 0):
        with meter.time('evaluation'):
          measured = _evaluate(setup.model, state.params, evaluators)
        if measured:
          writer.write(step, {'tokens': step * step_tokens, **measured})
        unsettled = SETTLING
      # After the lines: a checkpoint is there only if its metrics are.
      if save:
        optimizer_state = (state.step, state.opt_state)
        with meter.time('checkpoint'):
          saver.save(
            step,
            {
              checkpoints.PARAMETERS: state.params,
              OPTIMIZER: optimizer_state,
            },
          )
        unsettled = SETTLING
      if stopping and not last:
        break
    saver.wait()
  if step < stage.steps:
    if hosts.is_first():
      print(
        f'stopped by SIGTERM after step {step} of {setup.folder}, which is '
        'saved: the same command goes on from there',
        file=sys.stderr,
      )
    raise SystemExit(STOPPED)
  return measured


def _on_devices(
  mesh: Mesh, batch: data.Batch, batch_size: int
) -> dict[str, jax.Array]:
  """What the step reads of this host's rows, as arrays of the global batch."""
  names = update.batch_shapes(1, 1, mesh)
  return partitioning.global_batch(
    mesh, {name: batch[name] for name in names}, batch_size
  )


def _evaluate(
  config: transformer.Config,
  params: dict[str, Any],
  evaluators: Sequence[Evaluator],
) -> dict[str, float]:
  """Every evaluator's values, as the metrics name them."""
  return {
    f'evaluation/{evaluator.name}/{name}': float(value)
    for evaluator in evaluators
    for name, value in evaluator(config, params).items()
  }
