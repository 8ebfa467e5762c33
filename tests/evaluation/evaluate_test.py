import dataclasses
import json

import jax
import numpy as np
import pytest

from hephaestus_jax import artefacts, checkpoints, errors, model
from hephaestus_jax.evaluation import evaluate

CONFIG = model.Config(
  vocab_size=20,
  emb_dim=8,
  num_layers=1,
  num_heads=2,
  num_kv_heads=1,
  head_dim=4,
  mlp_dim=8,
)


@dataclasses.dataclass
class Norm:
  """A benchmark that any model passes; `calls` says how often it was asked."""

  name: str = 'norm'
  vocabulary: str = 'aaaa'
  power: int = 1
  calls: int = 0

  def identity(self):
    return {'tokenizer': self.vocabulary, 'power': self.power}

  def __call__(self, config, params):
    self.calls += 1
    norm = float(np.abs(params['embedding']).sum()) ** self.power
    return {
      'norm': norm,
      'sizes': {'embedding': {'n': params['embedding'].size}},
      'completions': [{'id': 1, 'text': 'ä\n'}, {'id': 2, 'text': ''}],
    }


@pytest.fixture(scope='module')
def params():
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda shape: jax.numpy.asarray(rng.normal(0, 1, shape.shape), 'float32'),
    model.abstract(CONFIG),
  )


@pytest.fixture
def stage(params, tmp_path):
  """A trained stage's folder with checkpoints 3 and 7."""
  folder = tmp_path / 'stage1'
  writer = checkpoints.Writer(
    folder / checkpoints.FOLDER, keep=2, items=[checkpoints.PARAMETERS]
  )
  doubled = jax.tree.map(lambda x: 2 * x, params)
  writer.save(3, {checkpoints.PARAMETERS: params})
  writer.save(7, {checkpoints.PARAMETERS: doubled})
  writer.wait()
  writer.close()
  artefacts.write_json(
    folder / artefacts.INPUTS, {'data': {'tokenizer': 'aaaa'}, 'seed': 0}
  )
  return folder


def run(stage, *benchmarks, **changed):
  settings = {
    'model': CONFIG,
    'checkpoint': str(stage),
    'benchmarks': benchmarks or (Norm(),),
    'output_dir': str(stage.parent / 'evaluation'),
  }
  return evaluate.evaluate(**(settings | changed))


def test_the_newest_checkpoint_is_measured_and_written(stage, params, capsys):
  expected = 2 * float(np.abs(params['embedding']).sum())
  result = run(stage)
  assert not result['reused']
  assert result['results'] == {
    'norm': {
      'norm': pytest.approx(expected),
      'sizes': {'embedding': {'n': 160}},
    }
  }
  folder = stage.parent / 'evaluation'
  assert (
    json.loads((folder / 'norm.json').read_text())
    == (result['results']['norm'])
  )
  lines = (folder / 'norm_completions.jsonl').read_text().splitlines()
  assert [json.loads(line) for line in lines] == [
    {'id': 1, 'text': 'ä\n'},
    {'id': 2, 'text': ''},
  ]
  assert f'{expected:.4f}' in capsys.readouterr().out


def test_one_step_can_be_named(stage, params):
  result = run(stage, checkpoint=str(stage / 'checkpoints' / '3'))
  expected = float(np.abs(params['embedding']).sum())
  assert result['results']['norm']['norm'] == pytest.approx(expected)


def test_a_second_run_reuses_the_first(stage):
  benchmark = Norm()
  first = run(stage, benchmark)
  second = run(stage, benchmark)
  assert benchmark.calls == 1
  assert second == {'reused': True, 'results': first['results']}


def test_other_inputs_are_not_overwritten(stage):
  run(stage)
  with pytest.raises(errors.UserError, match=r'power was 1, now 2'):
    run(stage, Norm(power=2))
  with pytest.raises(errors.UserError, match=r'checkpoint.step was "7"'):
    run(stage, checkpoint=str(stage / 'checkpoints' / '3'))
  artefacts.write_json(
    stage / artefacts.INPUTS, {'data': {'tokenizer': 'aaaa'}, 'seed': 1}
  )
  with pytest.raises(errors.UserError, match='checkpoint.trained_from was'):
    run(stage)


def test_a_run_that_was_cut_off_leaves_nothing_that_looks_finished(stage):
  class Broken(Norm):
    def __call__(self, config, params):
      raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    run(stage, Norm(), Broken(name='broken'))
  assert not (stage.parent / 'evaluation').exists()
  assert not run(stage)['reused']


def test_a_vocabulary_that_the_model_was_not_trained_with_is_refused(stage):
  with pytest.raises(errors.UserError, match='norm reads the vocabulary bbbb'):
    run(stage, Norm(vocabulary='bbbb'))


def test_another_model_and_a_missing_checkpoint_are_named(stage):
  wide = dataclasses.replace(CONFIG, mlp_dim=16)
  with pytest.raises(errors.UserError, match='the model wants'):
    run(stage, model=wide)
  with pytest.raises(errors.UserError, match='no finished checkpoint'):
    run(stage, checkpoint=str(stage.parent / 'stage9'))


def test_two_benchmarks_need_two_names(stage):
  with pytest.raises(errors.UserError, match='a name of its own'):
    run(stage, Norm(), Norm(power=2))


def test_results_are_lines_for_a_person():
  assert evaluate.table(
    'loss', {'nll': 0.25, 'groups': {'a': {'n': 2, 'why': {'x': 1}}}}
  ) == [
    'loss',
    '  nll                           0.2500',
    '  groups',
    '    a                           n 2  why x 1',
  ]
  assert evaluate.table('b', {'s': {'live_ast': None}})[2].endswith('  -')
