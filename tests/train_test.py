"""A step is what its formula says; a run is what its inputs say."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from hephaestus_jax import (
  artefacts,
  checkpoints,
  data,
  errors,
  model,
  partitioning,
  train,
  update,
)
from hephaestus_jax.corpus import document
from hephaestus_jax.observability import metrics, skipped

sys.path.append(str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402

GOLDEN = [4.103444, 3.59609, 3.292894]
STAGE3 = {'thought': 1.0, 'action': 1.0, 'answer': 1.0}


@pytest.fixture(scope='module', autouse=True)
def compiled(tmp_path_factory):
  """One folder of compiled steps for all tests: most need the same one."""
  yield str(tmp_path_factory.mktemp('compiled'))
  jax.config.update('jax_compilation_cache_dir', None)
  compilation_cache.reset_cache()


@pytest.fixture
def folder(tmp_path):
  tiny.write_cache(tmp_path / 'cache', {'a': 0.7, 'b': 0.3})
  return tmp_path


@pytest.fixture(scope='module')
def straight(tmp_path_factory, compiled):
  """A run of four steps that nothing disturbed."""
  folder = tmp_path_factory.mktemp('straight')
  tiny.write_cache(folder / 'cache', {'a': 0.7, 'b': 0.3})
  tiny.run(folder, compilation_cache=compiled)
  return folder / 'run' / 'stage1'


class Spy:
  """An evaluator that does something at one of its calls."""

  name = 'spy'

  def __init__(self, call=None, action=None):
    self.calls, self._call, self._action = 0, call, action

  def __call__(self, config, params):
    self.calls += 1
    if self.calls == self._call:
      self._action()
    return {'norm': float(jnp.abs(params['embedding']).sum())}


def lines(stage_folder):
  text = (stage_folder / metrics.FILE).read_text()
  return [json.loads(line) for line in text.splitlines()]


def losses_of(stage_folder):
  return [
    (line['step'], line['loss'])
    for line in lines(stage_folder)
    if 'loss' in line
  ]


def batch(seed=0, rows=8):
  made = tiny.rows(seed, rows)
  segment_ids_BL = made['segment_ids'].astype(np.int32)
  return {
    'tokens_BL': made['tokens'].astype(np.int32),
    'segment_ids_BL': segment_ids_BL,
    'positions_BL': data.positions(segment_ids_BL),
    'roles_BL': made['roles'].astype(np.int32),
    'source_B': np.arange(rows, dtype=np.int32) % 2,
  }


@pytest.fixture(scope='module')
def params(straight):
  shapes = update.state_shapes(tiny.CONFIG, tiny.stage().optimizer, tiny.mesh())
  params = checkpoints.restore_parameters(straight, shapes.params)
  return jax.tree.map(np.asarray, params)


def stepper(stage, mesh=None):
  """(params, rows) -> the state and sums after one step, as numpy."""
  mesh = mesh or tiny.mesh()
  step = update.lower_step(
    tiny.CONFIG, stage, mesh, sequence_length=tiny.LENGTH, num_sources=2
  ).compile()
  shapes = update.state_shapes(tiny.CONFIG, stage.optimizer, mesh)
  place = jax.tree.map(lambda shape: shape.sharding, shapes)

  def stepped(params, rows):
    state = update.TrainState(
      np.zeros((), np.int32), params, stage.optimizer.init(params)
    )
    with jax.set_mesh(mesh):
      made = step(
        jax.device_put(state, place), partitioning.global_batch(mesh, rows)
      )
    return jax.tree.map(np.asarray, made)

  return stepped


@pytest.fixture(scope='module')
def whole(params):
  return stepper(tiny.stage())(params, batch())


def assert_same_step(one, other):
  for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
    np.testing.assert_allclose(x, y, rtol=2e-4, atol=2e-6)


def test_microbatches_of_uneven_weight_make_the_step_of_the_whole_batch(params):
  # Every second row has next to nothing to learn, and they make one part.
  rows = batch()
  rows['segment_ids_BL'][1::2, 3:] = 0
  assert_same_step(
    stepper(tiny.stage(microbatches=2))(params, rows),
    stepper(tiny.stage())(params, rows),
  )


def test_eight_devices_make_the_step_of_one(params, whole):
  mesh = tiny.mesh(data=2, fsdp=2, tensor=1, sequence=2)
  assert_same_step(stepper(tiny.stage(), mesh)(params, batch()), whole)


def test_the_sums_by_source_and_role_add_up(whole):
  sums = whole[1]
  np.testing.assert_allclose(sums['nll_S'].sum(), sums['nll'], rtol=1e-5)
  np.testing.assert_allclose(sums['nll_R'].sum(), sums['nll'], rtol=1e-5)
  assert sums['weight_S'].sum() == sums['tokens_R'].sum() == sums['weight']


def test_stage_three_does_not_learn_what_it_observed(params):
  """Another observation as target only: no gradient changes."""
  stepped = stepper(tiny.stage(role_weights=STAGE3))
  rows = batch()
  # The last token of a document is seen by nothing: it is only a target.
  role = document.role_id
  rows['segment_ids_BL'][:] = 1
  rows['positions_BL'][:] = np.arange(tiny.LENGTH)[None]
  rows['roles_BL'][:, -1] = role('observation')
  one = stepped(params, rows)
  rows['tokens_BL'][:, -1] = (rows['tokens_BL'][:, -1] + 1) % tiny.VOCABULARY
  other = stepped(params, rows)
  for x, y in zip(
    jax.tree.leaves(one[0]), jax.tree.leaves(other[0]), strict=True
  ):
    np.testing.assert_array_equal(x, y)
  # What it cost is told all the same, and an answer there would be learned.
  observed = role('observation')
  assert one[1]['nll_R'][observed] != other[1]['nll_R'][observed]
  rows['roles_BL'][:, -1] = role('answer')
  learned = stepped(params, rows)
  assert learned[1]['weight'] == one[1]['weight'] + len(rows['tokens_BL'])
  assert (
    learned[0].params['final_norm'] != other[0].params['final_norm']
  ).any()


def test_the_losses_of_three_steps_are_the_golden_ones(straight):
  np.testing.assert_allclose(
    [loss for _, loss in losses_of(straight)[:3]],
    GOLDEN,
    rtol=1e-4,
    err_msg=(
      'The numbers of training changed. If your change is not meant to change '
      'them, it has a fault. If it is, say so in the commit, show a loss curve '
      'of the parent beside its own, and put the new values into GOLDEN.'
    ),
  )


def test_a_toy_is_learned(folder, compiled):
  stage = tiny.stage(steps=60)
  tiny.run(folder, stage, log_every=20, compilation_cache=compiled)
  losses = [loss for _, loss in losses_of(folder / 'run' / 'stage1')]
  assert losses[-1] < 0.5 < 1.5 < losses[0]


def test_interrupted_and_resumed_is_straight_bit_for_bit(
  folder, straight, compiled
):
  def interrupt():
    raise KeyboardInterrupt

  # Calls: step 0, 1, 2, 3. The checkpoint of step 2 is what is left.
  spy = Spy(4, interrupt)
  keywords = {'evaluate_every': 1, 'compilation_cache': compiled}
  with pytest.raises(KeyboardInterrupt):
    tiny.run(folder, evaluators=(spy,), **keywords)
  stage_folder = folder / 'run' / 'stage1'
  assert checkpoints.steps(stage_folder / checkpoints.FOLDER) == [2]
  assert [step for step, _ in losses_of(stage_folder)] == [1, 2, 3]
  tiny.run(folder, evaluators=(Spy(),), **keywords)
  assert tiny.arrays(stage_folder) == tiny.arrays(straight)
  assert losses_of(stage_folder) == losses_of(straight)
  evaluated = [
    line['step'] for line in lines(stage_folder) if 'loss' not in line
  ]
  assert evaluated == [0, 1, 2, 3, 4]


def test_sigterm_saves_the_step_and_says_how_it_ended(
  folder, straight, compiled, capsys
):
  spy = Spy(2, lambda: os.kill(os.getpid(), signal.SIGTERM))
  keywords = {
    'evaluate_every': 2,
    'checkpoint_every': 100,
    'compilation_cache': compiled,
  }
  with pytest.raises(SystemExit) as caught:
    tiny.run(folder, evaluators=(spy,), **keywords)
  assert caught.value.code == train.STOPPED
  assert 'stopped by SIGTERM after step 3' in capsys.readouterr().err
  stage_folder = folder / 'run' / 'stage1'
  assert checkpoints.steps(stage_folder / checkpoints.FOLDER) == [3]
  tiny.run(folder, **keywords)
  assert tiny.arrays(stage_folder) == tiny.arrays(straight)


def test_a_damaged_last_checkpoint_is_made_again_from_the_one_before(
  folder, straight, compiled, capsys
):
  shutil.copytree(straight, folder / 'run' / 'stage1')
  saved = folder / 'run' / 'stage1' / checkpoints.FOLDER
  harmed = saved / '4' / 'optimizer' / '1.1.mu.embedding' / '0.0'
  os.truncate(harmed, 10)
  assert not tiny.run(folder, compilation_cache=compiled)['reused']
  assert f'{harmed} has 10 bytes, and' in capsys.readouterr().err
  assert tiny.arrays(folder / 'run' / 'stage1') == tiny.arrays(straight)


def test_a_damaged_checkpoint_that_is_needed_no_more_is_left_alone(
  folder, compiled
):
  stages = (tiny.stage(steps=2), tiny.stage(name='stage2', steps=2))
  tiny.run(folder, *stages, compilation_cache=compiled)
  first = folder / 'run' / 'stage1' / checkpoints.FOLDER / '2'
  os.truncate(first / 'parameters' / 'embedding' / '0.0', 10)
  assert tiny.run(folder, *stages, compilation_cache=compiled)['reused']


def test_holes_are_given_back_for_two_steps_after_what_is_none(
  folder, compiled, monkeypatch
):
  calls = []
  monkeypatch.setattr(train.heap, 'give_back', lambda: calls.append(1))
  stage = tiny.stage(steps=7)
  tiny.run(folder, stage, checkpoint_every=4, compilation_cache=compiled)
  assert len(calls) == 4  # steps 1 and 2, 5 and 6


def test_a_line_covers_the_steps_since_the_line_before(
  folder, straight, compiled
):
  tiny.run(folder, log_every=4, checkpoint_every=9, compilation_cache=compiled)
  (line,) = lines(folder / 'run' / 'stage1')
  single = [loss for _, loss in losses_of(straight)]
  assert line['step'] == 4
  assert min(single) < line['loss'] < max(single)
  assert line['tokens'] == 4 * 8 * tiny.LENGTH


def test_the_next_stage_starts_from_the_last_parameters_and_a_new_optimizer(
  folder, compiled, capsys
):
  stages = (tiny.stage(steps=2), tiny.stage(name='stage2', steps=2))
  first, second = folder / 'run' / 'stage1', folder / 'run' / 'stage2'
  norm = 'evaluation/spy/norm'
  # What ends a stage begins the next, and is measured once; by itself, anew.
  for calls in (3, 2):
    shutil.rmtree(second, ignore_errors=True)
    spy = Spy()
    report = tiny.run(
      folder, *stages, evaluators=(spy,), compilation_cache=compiled
    )
    assert not report['reused']
    assert spy.calls == calls
    assert lines(first)[-1][norm] == lines(second)[0][norm]
  rates = [
    [line['learning_rate'] for line in lines(there) if 'loss' in line]
    for there in (first, second)
  ]
  assert rates[0] == rates[1]
  before = tiny.arrays(second)
  capsys.readouterr()
  report = tiny.run(folder, *stages, compilation_cache=compiled)
  assert report['reused']
  assert capsys.readouterr().out.splitlines() == [
    f'reused {first}: 2 steps done',
    f'reused {second}: 2 steps done',
  ]
  assert tiny.arrays(second) == before


def test_a_run_can_start_from_another_runs_parameters(
  folder, straight, compiled
):
  tiny.run(
    folder,
    init_from=str(straight),
    evaluators=(Spy(),),
    compilation_cache=compiled,
  )
  mesh = tiny.mesh()
  shapes = update.state_shapes(tiny.CONFIG, tiny.stage().optimizer, mesh)
  params = checkpoints.restore_parameters(straight, shapes.params)
  first = lines(folder / 'run' / 'stage1')[0]
  assert first['evaluation/spy/norm'] == Spy()(tiny.CONFIG, params)['norm']


@pytest.mark.parametrize(
  'changed, named',
  [
    ({'stages': (tiny.stage(batch_size=16),)}, 'batch_size was 8, now 16'),
    ({'stages': (tiny.stage(peak=0.5),)}, 'peak was 0.01, now 0.5'),
    ({'seed': 7}, 'seed was 0, now 7'),
  ],
)
def test_another_configuration_is_refused_by_name(straight, changed, named):
  with pytest.raises(errors.UserError, match=named):
    tiny.run(straight.parents[1], **changed)


def test_a_change_that_is_allowed_counts_from_the_checkpoint_on(
  folder, straight, compiled
):
  def interrupt():
    raise KeyboardInterrupt

  keywords = {'evaluate_every': 1, 'compilation_cache': compiled}
  with pytest.raises(KeyboardInterrupt):
    tiny.run(folder, evaluators=(Spy(4, interrupt),), **keywords)
  changed = {'stages': (tiny.stage(peak=0.5),), **keywords}
  with pytest.raises(errors.UserError, match='peak was 0.01, now 0.5'):
    tiny.run(folder, **changed)
  tiny.run(folder, **changed, allow_changes=True)
  stage_folder = folder / 'run' / 'stage1'
  found, undisturbed = losses_of(stage_folder), losses_of(straight)
  assert found[:2] == undisturbed[:2]
  assert found[3:] != undisturbed[3:]
  (line,) = (stage_folder / artefacts.CHANGES).read_text().splitlines()
  said = json.loads(line)
  assert said['step'] == 2
  ((where, was, now),) = said['differences']
  assert (where.rpartition('.')[2], was, now) == ('peak', 0.01, 0.5)
  # What is finished is what it was.
  with pytest.raises(errors.UserError, match='peak was 0.5, now 0.01'):
    tiny.run(folder, **keywords, allow_changes=True)


def test_how_it_is_computed_may_change(straight):
  cut = (tiny.stage(microbatches=2, loss_chunks=2),)
  assert tiny.run(straight.parents[1], stages=cut)['reused']


def test_other_rows_are_refused(folder, straight):
  cache_json = folder / 'cache' / 'tasks' / 'a' / 'train' / 'cache.json'
  info = json.loads(cache_json.read_text())
  cache_json.write_text(json.dumps(info | {'documents': 3}))
  with pytest.raises(errors.UserError, match='data.rows.a was'):
    tiny.run(straight.parents[1], cache_dir=str(folder / 'cache'))


@pytest.fixture
def cut_off(straight, tmp_path):
  """The run of `straight` after its second step."""
  shutil.copytree(straight.parents[1], tmp_path, dirs_exist_ok=True)
  shutil.rmtree(tmp_path / 'run' / 'stage1' / checkpoints.FOLDER / '4')
  return tmp_path


def test_rates_may_change_for_the_steps_to_come(cut_off, compiled):
  tiny.write_cache(cut_off / 'cache', {'new': 1.0}, 'new_v1')
  later = (tiny.stage(rates={3: {'new': 1.0}}),)
  for _ in range(2):  # and the second finds everything done
    tiny.run(cut_off, stages=later, compilation_cache=compiled)
  path = cut_off / 'run' / 'stage1' / artefacts.CHANGES
  (line,) = path.read_text().splitlines()
  change = json.loads(line)
  assert (change['resumed_step'], change['from_row']) == (2, 24)
  assert change['now']['24'] == {'a': 0.0, 'b': 0.0, 'new': 1.0}
  last = lines(cut_off / 'run' / 'stage1')[-1]
  assert last['epochs/new'] == 8 / 40
  assert last['epochs/a'] + last['epochs/b'] == pytest.approx(24 / 40)


def test_rates_of_steps_that_are_done_stay(cut_off):
  earlier = (tiny.stage(rates={1: {'a': 1.0}}),)
  with pytest.raises(errors.UserError, match='first 2 steps.* from step 1 on'):
    tiny.run(cut_off, stages=earlier)
  assert not (cut_off / 'run' / 'stage1' / artefacts.CHANGES).exists()


def test_caps_that_end_a_stage_early_are_refused(folder):
  with pytest.raises(errors.UserError, match='has 4 steps, and .* for 2'):
    tiny.run(folder, stages=(tiny.stage(max_epochs=0.25),))


def test_stages_of_two_tokenizers_are_refused(folder):
  tiny.write_cache(folder / 'cache', {'c': 1.0}, 'other_v1', tokenizer='bbbb')
  stages = (tiny.stage(), tiny.stage(name='stage2', mixture='other_v1'))
  with pytest.raises(errors.UserError, match='other_v1 .* bbbb, .* aaaa'):
    tiny.run(folder, *stages)


def test_a_vocabulary_larger_than_the_models_is_refused(folder):
  small = model.Config(
    **{**vars(tiny.CONFIG), 'vocab_size': tiny.VOCABULARY - 8}
  )
  with pytest.raises(errors.UserError, match='vocab_size = 24'):
    tiny.run(folder, model=small)


@pytest.mark.parametrize('broken', ['loss', 'norm', 'update'])
def test_an_update_that_is_refused_leaves_everything_but_the_step(
  params, broken
):
  if broken == 'loss':
    params = {**params, 'final_norm': params['final_norm'] * np.nan}
    step = stepper(tiny.stage())
  elif broken == 'norm':
    step = stepper(tiny.stage(max_gradient_norm=1e-6))
  else:
    endless = optax.chain(tiny.stage().optimizer, optax.scale(np.inf))
    step = stepper(tiny.stage(optimizer=endless))
  state, sums = step(params, batch())
  assert (int(state.step), int(sums['taken']), float(sums['nll'])) == (1, 0, 0)
  assert np.isfinite(sums['raw_norm']) == (broken != 'loss')
  for a, b in zip(
    jax.tree.leaves(state.params), jax.tree.leaves(params), strict=True
  ):
    np.testing.assert_array_equal(a, b)
  assert int(optax.tree.get(state.opt_state, 'updates')) == 0


def test_a_step_is_written_over_its_state_without_a_copy():
  # Matrices so small that XLA would rather compute twice are still copied.
  large = {'vocab_size': 1024, 'emb_dim': 128, 'head_dim': 64, 'mlp_dim': 512}
  step = update.lower_step(
    dataclasses.replace(tiny.CONFIG, scan=False, **large),
    tiny.stage(),
    partitioning.make_mesh(devices=jax.devices()[:1]),
    sequence_length=tiny.LENGTH,
    num_sources=2,
  ).compile()
  copied = re.findall(r'copy\(%?(state_\w+__)[.\d]*\)', step.as_text())
  assert [name for name in copied if 'norm' not in name] == []


def test_the_norms_of_the_groups_are_those_of_their_parameters(params):
  _, sums = stepper(tiny.stage())(params, batch())
  whole = np.sqrt(np.square(sums['gradient_norm_G']).sum())
  np.testing.assert_allclose(sums['gradient_norm'], whole, rtol=1e-5)
  assert (sums['gradient_norm_G'] > 0).all()
  assert len(sums['update_norm_G']) == len(update.GROUPS)


def test_updates_that_are_refused_one_after_the_other_end_the_run(
  folder, params, compiled
):
  bad = {**params, 'final_norm': params['final_norm'] * np.nan}
  writer = checkpoints.Writer(
    folder / 'bad' / checkpoints.FOLDER, keep=2, items=('parameters',)
  )
  writer.save(1, {'parameters': jax.device_put(bad)})
  writer.close()
  settings = {
    'init_from': str(folder / 'bad'),
    'compilation_cache': compiled,
    'max_skipped': 2,
  }
  with pytest.raises(errors.UserError, match='2 updates in a row .* step 2 of'):
    tiny.run(folder, **settings)
  stage_folder = folder / 'run' / 'stage1'
  assert checkpoints.steps(stage_folder / checkpoints.FOLDER) == []
  assert [line['skipped'] for line in lines(stage_folder)] == [1.0, 1.0]
  written = (stage_folder / skipped.FILE).read_text().splitlines()
  mixture = data.Mixture(
    cache_dir=str(folder / 'cache'), mixture='mixture_v1', seed=0
  )
  for step, line in enumerate(map(json.loads, written)):
    assert line['step'] == step + 1
    assert line['gradient_norm'] == 'nan'
    read = [mixture.batch(step, 8)['tokens_BL'][place] for place in range(8)]
    kept = {
      source: data.Rows(str(folder / 'cache'), source, 'train').read(rows)
      for source, rows in line['rows'].items()
    }
    found = [row.tolist() for rows in kept.values() for row in rows['tokens']]
    assert sorted(found) == sorted(row.tolist() for row in read)


def test_a_dry_run_builds_shapes_and_reads_a_batch_but_writes_nothing(folder):
  stages = (tiny.stage(), tiny.stage(name='stage2', mixture='absent_v1'))
  report = tiny.run(folder, *stages, dry_run=True)
  assert report == {
    'parameters': 5712,
    'stages': {'stage1': [8, 16], 'stage2': None},
  }
  assert not (folder / 'run').exists()


@pytest.mark.parametrize(
  'changed, message',
  [
    ({'microbatches': 3}, 'no multiple of microbatches = 3'),
    ({'steps': 0}, 'steps = 0'),
    ({'role_weights': {'actor': 1.0}}, "names 'actor'"),
    ({'rates': {-1: {'a': 1.0}}}, 'begin at step -1'),
  ],
)
def test_a_stage_that_makes_no_sense_is_refused(changed, message):
  with pytest.raises(errors.UserError, match=message):
    tiny.stage(**changed)


def test_a_source_without_weight_is_read_and_not_learned(folder):
  tiny.run(folder, tiny.stage(steps=2, source_weights={'b': 0.0}))
  for line in lines(folder / 'run' / 'stage1'):
    assert 'loss/source/b' not in line
    # Sums in another order.
    assert line['loss'] == pytest.approx(line['loss/source/a'], rel=1e-6)


@pytest.mark.parametrize(
  'changed, message',
  [
    ({'source_weights': {'c': 1.0}}, "source_weights of 'stage1' names 'c'"),
    ({'role_weights': {'code': 1.0}}, 'a of mixture_v1 has no token for'),
  ],
)
def test_weights_that_train_nothing_are_refused(folder, changed, message):
  with pytest.raises(errors.UserError, match=message):
    tiny.run(folder, tiny.stage(**changed))


def test_two_stages_of_one_name_are_refused(folder):
  with pytest.raises(errors.UserError, match='a name of its own'):
    tiny.run(folder, tiny.stage(), tiny.stage())
