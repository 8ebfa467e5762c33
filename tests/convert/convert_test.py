"""The whole road: published folder -> checkpoint -> published folder."""

import dataclasses
import json
import pathlib
import shutil
import sys

import gin
import jax
import numpy as np
import pytest

from hephaestus_jax import artefacts, checkpoints, errors, main, model
from hephaestus_jax.convert import convert
from hephaestus_jax.evaluation import evaluate

sys.path += [str(pathlib.Path(__file__).parents[i]) for i in range(2)]
import small_model  # noqa: E402
import tiny  # noqa: E402

CONFIG = small_model.CONFIG


@pytest.fixture(autouse=True)
def forget():
  yield
  gin.clear_config()


def take_in(source, to, dtype=None, **mesh):
  return convert.import_checkpoint(
    str(source), str(to), dtype=dtype, mesh=tiny.mesh(**mesh)
  )


def give_out(
  base, to, dtype=None, file_bytes=1 << 30, tokenizer='none', **mesh
):
  return convert.export_checkpoint(
    str(base),
    str(tokenizer),
    str(to),
    dtype=dtype,
    file_bytes=file_bytes,
    mesh=tiny.mesh(**mesh),
  )


@pytest.mark.parametrize('tied', [False, True])
@pytest.mark.parametrize(
  ('published', 'here', 'back'),
  [
    ('float32', None, None),
    ('bfloat16', None, None),
    ('bfloat16', 'float32', 'bfloat16'),
    ('float16', 'float32', 'float16'),
  ],
)
def test_in_and_out_again_is_the_same_bytes(
  tmp_path, published, here, back, tied
):
  config = dataclasses.replace(CONFIG, tied_output=tied)
  tensors = small_model.tensors(config, published)
  source = small_model.publish(tmp_path / 'hf', tensors, config, 2000)
  base = tmp_path / 'base'
  assert take_in(source, base, here)['dtype'] == (here or published)
  give_out(base, tmp_path / 'back', back, 3000, fsdp=2, tensor=2)
  found = small_model.read(tmp_path / 'back')
  assert found.keys() == tensors.keys()
  for name, tensor in tensors.items():
    assert found[name].dtype == tensor.dtype, name
    assert found[name].tobytes() == tensor.tobytes(), name
  config_json = json.loads((tmp_path / 'back' / 'config.json').read_text())
  assert config_json['torch_dtype'] == published
  assert config_json['max_position_embeddings'] == 64
  for name in ('tokenizer.json', 'chat_template.jinja'):
    assert (tmp_path / 'back' / name).read_bytes() == (
      source / name
    ).read_bytes()


@pytest.fixture(scope='module')
def base(tmp_path_factory):
  folder = tmp_path_factory.mktemp('small')
  source = small_model.publish(folder / 'hf', small_model.tensors())
  take_in(source, folder / 'base')
  return folder / 'base'


def test_a_training_starts_from_an_import(base, tmp_path):
  assert CONFIG.vocab_size == tiny.VOCABULARY
  tiny.write_cache(tmp_path / 'cache', {'a': 1.0})
  tiny.run(tmp_path, tiny.stage(peak=1e-9), model=CONFIG, init_from=str(base))
  shapes = model.placed(CONFIG, tiny.mesh())
  start = checkpoints.restore_parameters(base, shapes)
  end = checkpoints.restore_parameters(tmp_path / 'run' / 'stage1', shapes)
  for a, b in zip(jax.tree.leaves(start), jax.tree.leaves(end), strict=True):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def test_an_import_is_evaluated_with_its_own_vocabulary_alone(base, tmp_path):
  class Norm:
    name = 'norm'

    def __init__(self, vocabulary):
      self.vocabulary = vocabulary

    def identity(self):
      return {'tokenizer': self.vocabulary}

    def __call__(self, config, params):
      return {'norm': float(np.abs(params['embedding']).sum())}

  def run(vocabulary):
    return evaluate.evaluate(
      model=CONFIG,
      checkpoint=str(base),
      benchmarks=[Norm(vocabulary)],
      output_dir=str(tmp_path / 'evaluation'),
      mesh=tiny.mesh(),
    )

  its_own = artefacts.read_inputs(base)['data']['tokenizer']
  wanted = np.abs(small_model.tensors()['model.embed_tokens.weight']).sum()
  assert run(its_own)['results']['norm']['norm'] == pytest.approx(wanted)
  with pytest.raises(errors.UserError, match='bbbb'):
    run('bbbb')


@pytest.mark.parametrize('scaling', [None, model.RopeScaling(factor=32.0)])
def test_a_run_that_includes_model_gin_has_the_network(tmp_path, scaling):
  config = dataclasses.replace(
    CONFIG, param_dtype='bfloat16', rope_scaling=scaling, sliding_window=7
  )
  file = tmp_path / 'model.gin'
  file.write_text(convert.model_gin(config, 'small'))
  gin.parse_config_file(str(file))
  assert gin.query_parameter('%MODEL').scoped_configurable_fn() == config


def test_the_command_takes_either_direction(tmp_path, capsys):
  tensors = small_model.tensors()
  source = small_model.publish(tmp_path / 'hf', tensors)
  run_dir = f'--gin.RUN_DIR={tmp_path}'
  arguments = ['convert', run_dir, f'--gin.IMPORT={source}']
  first = main.execute(arguments)
  assert first == {
    'folder': str(tmp_path / 'base'),
    'reused': False,
    'parameters': model.num_parameters(CONFIG),
    'dtype': 'float32',
  }
  assert main.execute(arguments)['reused']
  out = main.execute(
    [
      *('convert', run_dir, '--gin.DTYPE=bfloat16'),
      f'--gin.CHECKPOINT={tmp_path}/base',
    ]
  )
  assert out['folder'] == str(tmp_path / 'forge' / 'hugging_face')
  found = small_model.read(pathlib.Path(out['folder']))
  assert {tensor.dtype.name for tensor in found.values()} == {'bfloat16'}


def test_other_weights_are_not_taken_for_the_ones_imported(tmp_path):
  tensors = small_model.tensors()
  source = small_model.publish(tmp_path / 'hf', tensors)
  take_in(source, tmp_path / 'base')
  tensors['model.norm.weight'] += 1
  small_model.publish(source, tensors)
  with pytest.raises(errors.UserError, match='imported.model.safetensors was'):
    take_in(source, tmp_path / 'base')


def test_a_stage_goes_along_with_its_own_vocabulary_alone(base, tmp_path):
  stage = tmp_path / 'stage1'
  shutil.copytree(base, stage, ignore=lambda *_: ['published'])
  own = tmp_path / 'tokenizer.json'
  text = (base / 'published' / 'tokenizer.json').read_text()
  settings = base / 'published' / 'tokenizer_config.json'
  shutil.copy(settings, tmp_path)
  own.write_text(text.replace('"z"', '"Z"'))
  with pytest.raises(errors.UserError, match='was trained with'):
    give_out(stage, tmp_path / 'back', tokenizer=own)
  own.write_text(text)
  give_out(stage, tmp_path / 'back', tokenizer=own)
  assert (tmp_path / 'back' / 'tokenizer.json').read_text() == text


def test_weights_without_a_vocabulary_go_in_and_out(tmp_path):
  tensors = small_model.tensors()
  source = small_model.publish(tmp_path / 'hf', tensors)
  for path in source.glob('*token*'):
    path.unlink()
  take_in(source, tmp_path / 'base')
  give_out(tmp_path / 'base', tmp_path / 'back')
  assert small_model.read(tmp_path / 'back').keys() == tensors.keys()


def test_what_is_no_checkpoint_is_refused(base, tmp_path):
  with pytest.raises(errors.UserError, match='There is no checkpoint at'):
    take_in(tmp_path / 'nowhere', tmp_path / 'base')
  with pytest.raises(errors.UserError, match="'int8'"):
    give_out(base, tmp_path / 'back', 'int8')
  (tmp_path / 'a.gguf').write_bytes(b'GGUF')
  with pytest.raises(errors.UserError, match='no whole GGUF'):
    take_in(tmp_path / 'a.gguf', tmp_path / 'base')
  assert not (tmp_path / 'base').exists()
  assert not (tmp_path / 'back').exists()


def test_a_value_that_float16_does_not_hold_is_not_written(tmp_path):
  tensors = small_model.tensors()
  tensors['model.norm.weight'][0] = 1e5
  take_in(small_model.publish(tmp_path / 'hf', tensors), tmp_path / 'base')
  with pytest.raises(errors.UserError, match=r'model\.norm\.weight has values'):
    give_out(tmp_path / 'base', tmp_path / 'back', 'float16')
  assert not (tmp_path / 'back').exists()


def test_a_vocabulary_larger_than_the_network_is_refused(tmp_path):
  config = dataclasses.replace(CONFIG, vocab_size=31)
  source = tmp_path / 'hf'
  small_model.publish(source, small_model.tensors(config), config)
  with pytest.raises(errors.UserError, match='has 32 tokens'):
    take_in(source, tmp_path / 'base')
