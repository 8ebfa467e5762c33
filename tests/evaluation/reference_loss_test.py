import json
import pathlib
import sys

import pytest

from hephaestus_jax import errors, model, tokenizer
from hephaestus_jax.evaluation import likelihood, reference_loss

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
import small_vocabulary  # noqa: E402
import tiny  # noqa: E402

WORDS = ('a sum', 'some text, read aloud', 'the end.')


@pytest.fixture
def files(tmp_path):
  small_vocabulary.write(tmp_path)
  (tmp_path / 'nexus').mkdir()
  records = [
    {'query': word, 'reference': f'call {i} {word}'}
    for i, word in enumerate(WORDS)
  ]
  (tmp_path / 'nexus' / 'a_queries.json').write_text(json.dumps(records))
  return tmp_path


def loss(files, **settings):
  return reference_loss.ReferenceLoss(
    **{
      'name': 'nexus',
      'path': str(files / 'nexus'),
      'tokenizer': str(files / 'tokenizer.json'),
      **settings,
    }
  )


@pytest.fixture(scope='module')
def params():
  return model.init(tiny.CONFIG, 0)


def test_the_loss_is_that_of_the_answers_after_their_questions(files, params):
  vocabulary = tokenizer.load(str(files / 'tokenizer.json'))
  pairs = [
    (
      [vocabulary.bos_id, *vocabulary.encode(f'Query: {word}\nCall:')],
      vocabulary.encode(f' call {i} {word}'),
    )
    for i, word in enumerate(WORDS)
  ]
  scores = likelihood.score(tiny.CONFIG, params, pairs, batch_size=3)
  nll = sum(score.nll for score in scores)
  tokens = sum(len(answer) for _, answer in pairs)
  characters = sum(len(f' call 0 {word}') for word in WORDS)
  assert loss(files)(tiny.CONFIG, params) == pytest.approx(
    {
      'nll_per_token': nll / tokens,
      'nll_per_character': nll / characters,
      'tokens': tokens,
      'characters': characters,
      'examples': 3,
      'cut': 0,
    },
    rel=1e-6,
  )


def test_few_questions_are_spread_over_all(files, params):
  few = loss(files, max_records=2)
  assert few(tiny.CONFIG, params)['examples'] == 2
  asked = [each.answer for each in few._references]
  assert asked == [' call 0 a sum', ' call 1 some text, read aloud']
  assert few.identity() != loss(files).identity()
  assert loss(files, max_records=99).identity() == loss(files).identity()


def test_a_long_question_loses_its_beginning_and_no_answer(files, params):
  whole = loss(files)(tiny.CONFIG, params)
  cut = loss(files, max_length=32)(tiny.CONFIG, params)
  assert cut['cut'] == 2
  assert cut['tokens'] == whole['tokens']
  assert cut['nll_per_token'] != pytest.approx(whole['nll_per_token'], 1e-6)
  # The answers alone are longer: all but a question's last token go.
  assert loss(files, max_length=1)(tiny.CONFIG, params)['cut'] == 3


@pytest.mark.parametrize(
  ('changed', 'said'),
  [
    ({'name': 'nexsu'}, 'Did you mean nexus'),
    ({'path': '/nowhere/nexus'}, "of 'nexus': there is no /nowhere/nexus"),
    ({'max_records': 0}, 'max_records = 0 is below 1'),
  ],
)
def test_what_can_not_be_measured_is_refused_at_once(files, changed, said):
  with pytest.raises(errors.UserError, match=said):
    loss(files, **changed)


def test_a_model_of_another_vocabulary_is_refused(files, params):
  small = model.Config(**{**vars(tiny.CONFIG), 'vocab_size': 8})
  with pytest.raises(errors.UserError, match='vocab_size = 8'):
    loss(files)(small, params)


def test_a_training_that_measures_ends_in_the_same_bits(files, tmp_path):
  for name in ('straight', 'measured', 'resumed'):
    (tmp_path / name).mkdir()
    tiny.write_cache(tmp_path / name / 'cache', {'one_v1': 1.0})
  compiled = {'compilation_cache': str(tmp_path / 'compiled')}
  tiny.run(tmp_path / 'straight', **compiled)
  keywords = {'evaluators': [loss(files)], 'evaluate_every': 2, **compiled}
  tiny.run(tmp_path / 'measured', **keywords)

  # At step 4, before its checkpoint: that of step 2 is what is left.
  steps = iter((0, 2, 4))

  class Interrupting(reference_loss.ReferenceLoss):
    def __call__(self, config, params):
      if next(steps) == 4:
        raise KeyboardInterrupt
      return super().__call__(config, params)

  interrupted = Interrupting(**vars(loss(files)))
  with pytest.raises(KeyboardInterrupt):
    tiny.run(tmp_path / 'resumed', **{**keywords, 'evaluators': [interrupted]})
  tiny.run(tmp_path / 'resumed', **keywords)
  stages = [
    tmp_path / name / 'run' / 'stage1'
    for name in ('straight', 'measured', 'resumed')
  ]
  assert tiny.arrays(stages[0]) == tiny.arrays(stages[1])
  assert tiny.arrays(stages[0]) == tiny.arrays(stages[2])
  told = [
    {
      line['step']: line['evaluation/nexus/nll_per_token']
      for line in map(json.loads, (stage / 'metrics.jsonl').open())
      if 'evaluation/nexus/nll_per_token' in line
    }
    for stage in stages
  ]
  assert told[0] == {}
  assert list(told[1]) == [0, 2, 4]
  assert told[1] == told[2]
  assert len({*told[1].values()}) == 3
