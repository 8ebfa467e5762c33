"""Against lm-evaluation-harness' own model of the same network."""

import json
import os
import pathlib
import sys

import pytest

os.environ['HF_HUB_OFFLINE'] = os.environ['HF_DATASETS_OFFLINE'] = '1'

pytest.importorskip('lm_eval', reason='requirements/lm_eval.txt')
pytest.importorskip('torch', reason='the extra `reference`')
pytest.importorskip('transformers', reason='the extra `reference`')

import lm_eval  # noqa: E402
from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402

from hephaestus_jax import checkpoints, errors, model, tokenizer  # noqa: E402
from hephaestus_jax.convert import convert  # noqa: E402
from hephaestus_jax.evaluation import (  # noqa: E402
  general_benchmarks,
  harness,
)

TESTS = pathlib.Path(__file__).parents[1]
sys.path += [str(TESTS), str(TESTS / 'convert')]
import small_model  # noqa: E402
import tiny  # noqa: E402

LENGTH = 24
TEXTS = (
  'a word',
  'some words, and then some more of them, until nobody reads on.',
  'x',
)
ENDS = ('the end.', ' and more.', 'is it', 'z')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('general')
  source = small_model.publish(folder / 'hf', small_model.tensors())
  here = {'dtype': None, 'mesh': tiny.mesh()}
  convert.import_checkpoint(str(source), str(folder / 'base'), **here)
  convert.export_checkpoint(
    str(folder / 'base'),
    'none',
    str(folder / 'exported'),
    file_bytes=1 << 30,
    **here,
  )
  return folder


@pytest.fixture(scope='module')
def params(folder):
  shapes = model.placed(small_model.CONFIG, tiny.mesh())
  return checkpoints.restore_parameters(folder / 'base', shapes)


@pytest.fixture(scope='module')
def theirs(folder):
  found = HFLM(
    pretrained=str(folder / 'exported'),
    max_length=LENGTH,
    batch_size=2,
    device='cpu',
    dtype='float32',
  )
  # Else a text that has ended goes on while its neighbours do.
  found.model.generation_config.eos_token_id = found.eot_token_id
  return found


@pytest.fixture(scope='module')
def ours(folder, params):
  return harness.Model(
    small_model.CONFIG,
    params,
    tokenizer.load(str(folder / 'exported' / 'tokenizer.json')),
    max_length=LENGTH,
    batch_size=3,
    opens=False,  # as the vocabulary's own settings have it
  )


def asked(kind, *arguments):
  return [
    Instance(request_type=kind, doc={}, arguments=each, idx=i)
    for i, each in enumerate(arguments)
  ]


def test_log_likelihoods_are_those_of_the_harness_own_model(ours, theirs):
  requests = asked(
    'loglikelihood',
    *((text, end) for text in TEXTS for end in ENDS),
    # What the network says by itself, so that both say `greedy`.
    *(
      (text, end)
      for text in (*TEXTS, 'and', 'so')
      for end in ours.generate_until(greedy(text, max_gen_toks=1))
      if end
    ),
    ('', 'the end.'),
    ('a space ', 'that moves to the end'),
  )
  found = ours.loglikelihood(requests, disable_tqdm=True)
  wanted = theirs.loglikelihood(requests, disable_tqdm=True)
  assert [nll for nll, _ in found] == pytest.approx(
    [nll for nll, _ in wanted], abs=1e-4
  )
  assert [is_greedy for _, is_greedy in found] == [
    is_greedy for _, is_greedy in wanted
  ]
  assert {is_greedy for _, is_greedy in found} == {True, False}
  # The second text is longer than what is read: its beginning changes nothing.
  (changed,) = ours.loglikelihood(
    asked('loglikelihood', ('other' + TEXTS[1][5:], ENDS[0])),
    disable_tqdm=True,
  )
  assert len(TEXTS[1]) > LENGTH
  assert changed[0] == pytest.approx(found[len(ENDS)][0], abs=1e-5)


def test_rolling_log_likelihoods_are_too(ours, theirs):
  requests = asked(
    'loglikelihood_rolling', *((text,) for text in (*TEXTS, 3 * TEXTS[1]))
  )
  assert ours.loglikelihood_rolling(
    requests, disable_tqdm=True
  ) == pytest.approx(
    theirs.loglikelihood_rolling(requests, disable_tqdm=True),
    abs=1e-4,
    rel=1e-6,  # of a sum near 2,000 float32 knows no more
  )


def greedy(*texts, **settings):
  settings = {'until': [], 'do_sample': False, 'max_gen_toks': 8, **settings}
  return asked('generate_until', *((text, settings) for text in texts))


def test_completions_are_too(ours, theirs):
  plain = ours.generate_until(greedy(*TEXTS), disable_tqdm=True)
  assert plain == theirs.generate_until(greedy(*TEXTS), disable_tqdm=True)
  place = max(range(len(plain)), key=lambda i: len(plain[i]))
  stop = plain[place][4:7]
  stopped = greedy(*TEXTS, until=[stop, 'zz'])
  found = ours.generate_until(stopped, disable_tqdm=True)
  assert found == theirs.generate_until(stopped, disable_tqdm=True)
  assert found[place] == plain[place].partition(stop)[0] != plain[place]


@pytest.mark.parametrize(
  ('settings', 'said'),
  [
    ({'max_gen_toks': LENGTH}, f'asks for {LENGTH} new tokens'),
    ({'repetition_penalty': 1.2}, 'generation with repetition_penalty'),
  ],
)
def test_what_the_engine_can_not_do_is_refused(ours, settings, said):
  with pytest.raises(errors.UserError, match=said):
    ours.generate_until(greedy('a', **settings))


def test_a_text_that_is_longer_than_what_is_read_is_refused(ours):
  with pytest.raises(errors.UserError, match='has 30 tokens, and 24 are read'):
    ours.loglikelihood(
      asked('loglikelihood', ('a', 30 * 'b')), disable_tqdm=True
    )


def test_texts_open_with_bos_once(folder, params):
  vocabulary = tokenizer.load(str(folder / 'exported' / 'tokenizer.json'))
  opening = harness.Model(
    small_model.CONFIG, params, vocabulary, max_length=8, batch_size=1
  )
  assert opening.tok_encode('ab') == [0, *vocabulary.encode('ab')]
  assert opening.tok_encode('<s>ab') == opening.tok_encode('ab')
  assert opening.tok_encode('ab', add_special_tokens=False) == (
    vocabulary.encode('ab')
  )


def test_conversations_are_put_in_the_format_that_is_chosen(folder, params):
  vocabulary = tokenizer.load(str(folder / 'exported' / 'tokenizer.json'))
  speaking = harness.Model(
    small_model.CONFIG,
    params,
    vocabulary,
    max_length=999,
    batch_size=1,
    chat_format='chatml',
  )
  said = [{'role': 'user', 'content': 'Hi.'}]
  opened = '<|im_start|>user\nHi.<|im_end|>\n<|im_start|>assistant\n'
  assert speaking.apply_chat_template(said) == opened
  begun = [*said, {'role': 'assistant', 'content': 'Hel'}]
  assert speaking.apply_chat_template(begun, add_generation_prompt=False) == (
    opened + 'Hel'
  )
  assert speaking._request(0, 'a', {}).stop == ('<|im_end|>',)


TASKS = {
  'local_choice': """
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: ["a", "b b"]
doc_to_target: label
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
""",
  'local_words': """
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{label}}"
generation_kwargs: {until: ["q"], do_sample: false, max_gen_toks: 6}
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
""",
  'local_story': """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{question}}"
metric_list:
  - metric: bits_per_byte
""",
}


@pytest.fixture
def include(tmp_path):
  """Tasks as the harness reads them, on a file here."""
  data = tmp_path / 'data.jsonl'
  data.write_text(
    ''.join(
      json.dumps({'question': text, 'label': i % 2}) + '\n'
      for i, text in enumerate(TEXTS)
    )
  )
  (tmp_path / 'tasks').mkdir()

  def write(name, text, path=data):
    (tmp_path / 'tasks' / f'{name}.yaml').write_text(
      f'task: {name}\ndataset_path: json\ntest_split: test\n'
      'dataset_kwargs:\n'
      f'  data_files: {{test: {path}}}\n'
      f'  cache_dir: {tmp_path / "cache"}\n'
      f'{text}'
    )
    return str(tmp_path / 'tasks')

  return write


def general(folder, include, *tasks, **settings):
  return general_benchmarks.GeneralBenchmarks(
    tasks,
    str(folder / 'exported' / 'tokenizer.json'),
    include=include,
    max_length=LENGTH,
    opens=False,
    **settings,
  )


def test_tasks_score_as_with_the_harness_own_model(
  folder, params, theirs, include
):
  for name, text in TASKS.items():
    tasks = include(name, text)
  measure = general(folder, tasks, *TASKS)
  found = measure(small_model.CONFIG, params)
  wanted = lm_eval.simple_evaluate(
    theirs,
    tasks=list(TASKS),
    task_manager=harness.Tasks(include_path=tasks),
    bootstrap_iters=0,
  )
  for task in TASKS:
    numbers = {
      name: value
      for name, value in wanted['results'][task].items()
      if ',' in name and not isinstance(value, str)
    }
    assert numbers
    assert found['tasks'][task] == pytest.approx(numbers, abs=1e-4)
  told = [
    each for each in found['completions'] if each['task'] == 'local_words'
  ]
  assert [each['answers'] for each in told] == [
    sample['filtered_resps'] for sample in wanted['samples']['local_words']
  ]
  assert measure.identity()['included'].keys() == {
    f'{name}.yaml' for name in TASKS
  }
  limited = general(folder, tasks, 'local_words', limit=1)
  assert len(limited(small_model.CONFIG, params)['completions']) == 1


HUMANEVAL = pathlib.Path(lm_eval.__file__).parent / 'tasks' / 'humaneval'


def test_code_of_humaneval_runs_in_the_sandbox_alone(
  folder, params, include, tmp_path
):
  trace = tmp_path / 'trace'
  problem = {
    'task_id': 'HumanEval/0',
    # What is run writes a file, if it can, before it asks the model's code.
    'prompt': f"open('{trace}', 'w')\ndef f():\n",
    'entry_point': 'f',
    'canonical_solution': '  return 1\n',
    'test': 'def check(f):\n  assert f() == 1\n',
  }
  (tmp_path / 'problems.jsonl').write_text(json.dumps(problem) + '\n')
  tasks = include(
    'local_humaneval',
    f'include: {HUMANEVAL / "humaneval.yaml"}\n'
    'generation_kwargs: {until: ["q"], do_sample: false, max_gen_toks: 4}\n',
    tmp_path / 'problems.jsonl',
  )
  found = general(folder, tasks, 'local_humaneval')(small_model.CONFIG, params)
  assert found['tasks']['local_humaneval'] == {'pass@1,create_test': 0.0}
  assert not trace.exists()


def test_a_task_that_runs_code_elsewhere_is_refused(folder, params, include):
  tasks = include('local_unsafe', TASKS['local_words'] + 'unsafe_code: true\n')
  with pytest.raises(errors.UserError, match='local_unsafe runs what'):
    general(folder, tasks, 'local_unsafe')(small_model.CONFIG, params)


def test_a_task_that_is_not_there_is_refused(folder, params):
  with pytest.raises(errors.UserError, match="no_such_task', and lm-eval"):
    general(folder, None, 'no_such_task')(small_model.CONFIG, params)


def test_programs_pass_that_reach_the_end_of_their_test():
  codes = harness.CodeEval('auto', seconds=20)
  scores, found = codes.compute(
    references=['assert f(2) == 4', 'assert f(2) == 4'],
    predictions=[
      [
        'def f(x): return x + x',
        'def f(x): return x',
        'import sys\nsys.exit(0)',
        'import os\nos._exit(0)',
      ],
      [
        'import numpy\ndef f(x): return int(numpy.square(x))',
        'def f(x: return',
        "print('passed')\nraise ValueError('no')",
        'def f(x): return 2 * x',
      ],
    ],
    k=[1, 2, 5],
  )
  verdicts = [[each['passed'] for _, each in found[i]] for i in (0, 1)]
  assert verdicts == [[True, False, False, False], [True, False, False, True]]
  assert found[1][2][1]['result'] == 'failed: ValueError: no'
  # 1 of 4, and 2 of 4; of two drawn, one is right in 3 of 6, and 5 of 6.
  assert scores == pytest.approx({'pass@1': 3 / 8, 'pass@2': 8 / 12})


def test_a_program_that_does_not_end_fails():
  codes = harness.CodeEval('auto', seconds=1)
  _, found = codes.compute(references=[''], predictions=[['while True: pass']])
  assert found[0][0][1]['passed'] is False
