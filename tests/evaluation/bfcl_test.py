import pathlib
import re
import sys

import jax
import numpy as np
import pytest

from hephaestus_jax import chat, errors, language_model, model, tokenizer
from hephaestus_jax.corpus import document
from hephaestus_jax.decode import prompts
from hephaestus_jax.evaluation import (
  bfcl,
  bfcl_answers,
  bfcl_checker,
  bfcl_official,
  bfcl_scores,
  package_folder,
)
from hephaestus_jax.evaluation.bfcl_checker import PROMPTING, TOOLS

sys.path.append(str(pathlib.Path(__file__).parent))
sys.path.append(str(pathlib.Path(__file__).parents[1]))
import bfcl_published as published  # noqa: E402
import chat_server  # noqa: E402
import tiny  # noqa: E402


def answer(*calls):
  texts = [chat.call_text(name, arguments) for name, arguments in calls]
  return '\n'.join(f'<tool_call>\n{text}\n</tool_call>' for text in texts)


def test_every_category_has_the_entries_that_the_code_says(entries):
  sizes = {}
  for entry in entries:
    sizes[entry['category']] = sizes.get(entry['category'], 0) + 1
  assert sizes == bfcl_scores.SINGLE_TURN


def test_what_is_wrong_with_an_answer_is_its_reason(folder, entries, isolation):
  entry = next(e for e in entries if e['id'] == 'simple_python_0')
  ((name, arguments),) = published.calls(folder, entry)
  assert (name, arguments) == (
    'calculate_triangle_area',
    {'base': 10, 'height': 5},
  )
  cases = [
    (answer((name, arguments)), True, ''),
    ('Surely: ' + answer((name, arguments)) + '<|im_end|>x', True, ''),
    (answer((name, {'base': 10, 'height': 6})), False, 'value_error:others'),
    (
      answer((name, {'base': '10', 'height': 5})),
      False,
      'type_error:simple',
    ),
    (
      answer((name, {'base': 10})),
      False,
      'simple_function_checker:missing_required',
    ),
    (
      answer((name, {**arguments, 'depth': 1})),
      False,
      'simple_function_checker:unexpected_param',
    ),
    (
      answer(('area', arguments)),
      False,
      'simple_function_checker:wrong_func_name',
    ),
    (
      answer((name, arguments), (name, arguments)),
      False,
      'simple_function_checker:wrong_count',
    ),
    ('', False, 'ast_decoder:decoder_failed'),
    ('25', False, 'ast_decoder:decoder_failed'),
    ('<tool_call>{"name": "a", "argum', False, 'malformed:not_closed'),
    ('<tool_call>area(10, 5)</tool_call>', False, 'malformed:not_json'),
    (
      '<tool_call>{"name": "a"}</tool_call>',
      False,
      'malformed:no_arguments',
    ),
    (
      # One call is right and the other can't be read.
      answer((name, arguments)) + '<tool_call>',
      False,
      'malformed:not_closed',
    ),
    (
      '<tool_call>{"name": "a", "arguments": {"x": '
      + '[' * 900
      + ']' * 900
      + '}}</tool_call>',
      False,
      'malformed:too_deep',
    ),
    (
      answer((name, {'base': {'\ud800': float('nan')}, 'height': []})),
      False,
      'type_error:simple',
    ),
  ]
  records = bfcl.judge(
    folder,
    [entry] * len(cases),
    [published.answered(text, entry, 'chatml') for text, *_ in cases],
    isolation,
  )
  for record, (_, valid, reason) in zip(records, cases, strict=True):
    assert (record['valid'], record['reason']) == (valid, reason), record
  assert 'Expected one of [5]' in records[2]['message']


@pytest.mark.parametrize('asking', [TOOLS, PROMPTING])
def test_relevance_asks_only_whether_there_was_a_call(
  folder, entries, isolation, asking
):
  call = {TOOLS: answer(('f', {})), PROMPTING: '[f(x=1)]'}[asking]
  called, silent = (
    'irrelevance_error:decoder_success',
    'relevance_error:decoder_failed',
  )
  cases = [
    ('irrelevance', 'I can not do that.', 'stop', ''),
    ('irrelevance', '', 'stop', ''),
    ('irrelevance', '<tool_call>oops', 'length', ''),
    ('live_irrelevance', call, 'stop', called),
    ('irrelevance', '', 'prompt_too_long', 'prompt_too_long'),
    ('live_irrelevance', '', 'unfit:no_user', 'unfit:no_user'),
    ('live_relevance', call, 'stop', ''),
    ('live_relevance', 'I can not do that.', 'stop', silent),
    ('live_relevance', '<tool_call>oops', 'stop', silent),
    ('live_relevance', '', 'prompt_too_long', 'prompt_too_long'),
  ]
  asked = [
    {**next(e for e in entries if e['category'] == case[0]), 'asking': asking}
    for case in cases
  ]
  said = [
    published.answered(text, entry, 'chatml', finish)
    for entry, (_, text, finish, _) in zip(asked, cases, strict=True)
  ]
  records = bfcl.judge(folder, asked, said, isolation)
  for record, (*_, reason) in zip(records, cases, strict=True):
    assert (record['valid'], record['reason']) == (not reason, reason), record


def test_a_result_of_another_form_is_wrong_and_counted(
  folder, entries, isolation
):
  entry = next(e for e in entries if e['id'] == 'simple_javascript_0')
  ((name, arguments),) = published.calls(folder, entry)
  # The reader of this language meets what it knows from strings alone.
  requests = [
    {
      **{key: entry[key] for key in ('id', 'category', 'asking')},
      'result': result,
    }
    for result in ([{name: {'x': {}}}, 1], [{name: arguments}])
  ]
  first, second = bfcl_official.check(folder, requests, isolation)
  assert first['reason'] == 'ast_decoder:decoder_wrong_output_format'
  assert second['valid']


def test_an_answer_that_stops_the_checker_costs_only_itself(
  folder, entries, isolation, monkeypatch, tmp_path
):
  # A checker that dies on the second line that it is given.
  source = pathlib.Path(bfcl_checker.__file__).read_text()
  broken = tmp_path / 'checker.py'
  broken.write_text(
    source.replace(
      'for line in sys.stdin:',
      'for line in sys.stdin:\n      if "fatal" in line: os.abort()',
    )
  )
  monkeypatch.setattr(bfcl_official, 'CHECKER', broken)
  entry = next(e for e in entries if e['id'] == 'simple_python_0')
  texts = [answer(*published.calls(folder, entry)), answer(('fatal', {}))]
  right, fatal = (published.answered(text, entry, 'chatml') for text in texts)
  records = bfcl.judge(
    folder, [entry] * 5, [right, fatal, fatal, right, fatal], isolation
  )
  stopped = 'checker_stopped'
  assert [r['reason'] for r in records] == ['', stopped, stopped, '', stopped]


def test_a_damaged_installation_is_named(tmp_path, isolation):
  (tmp_path / 'bfcl_eval').mkdir()
  (tmp_path / 'bfcl_eval' / '__init__.py').write_text('')
  with pytest.raises(errors.UserError, match='Delete the folder to install'):
    bfcl_official.read_entries(tmp_path, ['multiple'], isolation)
  with pytest.raises(errors.UserError, match='Delete the folder to install'):
    bfcl_official.check(tmp_path, [{'id': 'a'}], isolation)


def test_a_subset_is_chosen_by_id_and_keeps_the_order(entries):
  few = bfcl.subset(entries, 3)
  assert len(few) == 3 * len(bfcl_scores.SINGLE_TURN)
  again = bfcl.subset(entries[::-1], 3)[::-1]
  assert {e['id'] for e in again} == {e['id'] for e in few}
  places = [entries.index(e) for e in few]
  assert places == sorted(places)
  assert bfcl.subset(entries, None) == entries
  more = {e['id'] for e in bfcl.subset(entries, 5)}
  assert more > {e['id'] for e in few}


def test_a_prompt_offers_the_functions_and_ends_where_the_answer_starts(
  entries,
):
  entry = next(e for e in entries if e['id'] == 'simple_python_0')
  spans = chat.generation_prompt(bfcl_answers.opening(entry))
  text = ''.join(span.text for span in spans)
  assert re.fullmatch(
    r'<\|im_start\|>system\n.*<tools>\n'
    r'\{"name": "calculate_triangle_area".*"type": "object".*\}\n</tools>'
    r'<\|im_end\|>\n<\|im_start\|>user\nFind the area of a triangle .*'
    r'<\|im_end\|>\n<\|im_start\|>assistant\n',
    text,
    re.DOTALL,
  )
  for every in entries:  # none has a role or a type that we can't render
    assert bfcl_answers.opening(every)[-1].role == 'user'


def test_wrong_settings_are_the_users_to_mend(tmp_path):
  with pytest.raises(errors.UserError, match="names 'rest'"):
    bfcl.Bfcl(tokenizer='', categories=['rest'])
  with pytest.raises(errors.UserError, match='per_category = 0'):
    bfcl.Bfcl(tokenizer='', per_category=0)
  with pytest.raises(errors.UserError, match='There is no nowhere.txt'):
    package_folder.install('nowhere.txt', str(tmp_path / 'x'))


def test_pip_runs_once_and_another_version_is_refused(
  folder, tmp_path, requirements
):
  assert package_folder.install(requirements, str(folder)) == folder
  other = tmp_path / 'bfcl.txt'
  other.write_text(pathlib.Path(requirements).read_text() + '\n# changed')
  with pytest.raises(errors.UserError, match='requirements was'):
    package_folder.install(str(other), str(folder))


@pytest.fixture(scope='module')
def vocabulary(tmp_path_factory):
  path = tmp_path_factory.mktemp('vocabulary') / 'tokenizer.model'
  texts = [
    chat.system_prompt(
      [{'name': name, 'description': f'Says {name}.', 'parameters': {}}]
    )
    + f' Please say {name} {number} times.'
    for number, name in enumerate(['hello', 'goodbye', 'thanks'] * 20)
  ]
  tokenizer.train(texts, path, 400)
  return path


CONFIG = tiny.network(10_000)  # padded: the vocabulary has 400


@pytest.fixture(scope='module')
def params():
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda shape: rng.normal(0, 0.3, shape.shape).astype(np.float32),
    model.abstract(CONFIG),
  )


def benchmark(folder, requirements, vocabulary, isolation, **settings):
  defaults = {
    'categories': ['simple_python', 'irrelevance', 'live_relevance'],
    'per_category': 3,
    'max_new_tokens': 4,
    'max_prompt_tokens': 1024,
    'batch_size': 9,
  }
  return bfcl.Bfcl(
    tokenizer=str(vocabulary),
    folder=str(folder),
    requirements=requirements,
    isolation=isolation,
    **{**defaults, **settings},
  )


def test_a_model_is_asked_and_judged_from_end_to_end(
  folder, requirements, vocabulary, isolation, params
):
  few = benchmark(folder, requirements, vocabulary, isolation)
  result = few(CONFIG, params)
  assert result['categories']['simple_python']['correct'] == 0
  assert [r['category'] for r in result['completions']] == (
    ['simple_python'] * 3 + ['irrelevance'] * 3 + ['live_relevance'] * 3
  )
  for record in result['completions']:
    assert record['finish'] in ('stop', 'length', 'prompt_too_long')
    assert record['valid'] or record['reason']
  assert any(r['finish'] == 'length' for r in result['completions'])
  assert result['summary']['live_ast'] is None
  assert result['asking'] == TOOLS
  assert few.identity()['per_category'] == 3
  small = model.Config(**{**vars(CONFIG), 'vocab_size': 100})
  with pytest.raises(errors.UserError, match='400 tokens, and'):
    few(small, {})


def test_a_run_that_was_killed_goes_on_and_says_the_same(
  folder, requirements, vocabulary, isolation, params, tmp_path, monkeypatch
):
  straight = benchmark(folder, requirements, vocabulary, isolation)
  wanted = straight(CONFIG, params)
  resumed = benchmark(
    folder,
    requirements,
    vocabulary,
    isolation,
    answers=str(tmp_path / 'answers'),
  )
  append, count = bfcl.bfcl_results.ResultFiles.append, []

  def until_the_fifth(files, entry, said):
    if len(count) == 4:
      raise KeyboardInterrupt
    count.append(entry['id'])
    append(files, entry, said)

  with monkeypatch.context() as patch:
    patch.setattr(bfcl.bfcl_results.ResultFiles, 'append', until_the_fifth)
    with pytest.raises(KeyboardInterrupt):
      resumed(CONFIG, params)
  lines = [
    line
    for path in tmp_path.rglob('*_result.json')
    for line in path.read_text().splitlines()
  ]
  assert len(lines) == 4
  asked = []
  generate = bfcl.generate.generate

  def counted(*arguments, only, **settings):
    asked.extend(only)
    return generate(*arguments, only=only, **settings)

  monkeypatch.setattr(bfcl.generate, 'generate', counted)
  assert resumed(CONFIG, params) == wanted
  assert len(asked) == 9 - 4
  assert resumed(CONFIG, params) == wanted
  assert len(asked) == 9 - 4
  other = jax.tree.map(lambda array: array + np.float32(1e-6), params)
  with pytest.raises(errors.UserError, match='model was'):
    resumed(CONFIG, other)


def test_the_fingerprint_is_of_the_bits_and_their_places():
  ones = {'a': np.ones(4, np.float32), 'b': np.array([1, 2], np.float32)}
  turned = {**ones, 'b': np.array([2, 1], np.float32)}
  half = {**ones, 'a': np.ones(4, jax.numpy.bfloat16)}
  prints = [bfcl.fingerprint(one) for one in (ones, turned, half)]
  assert len(set(prints)) == 3
  assert bfcl.fingerprint(dict(ones)) == prints[0]


def test_a_format_without_tokens_stops_at_its_strings(
  folder, requirements, vocabulary, isolation, params, monkeypatch
):
  seen = []
  generate = bfcl.generate.generate
  monkeypatch.setattr(
    bfcl.generate,
    'generate',
    lambda *arguments, **settings: (
      seen.append(settings['stop']) or generate(*arguments, **settings)
    ),
  )
  react = benchmark(
    folder, requirements, vocabulary, isolation, chat_format='react'
  )
  react(CONFIG, params)
  assert seen == [('\nObservation:', '\nQuestion:')]


def test_prompt_tokens_begin_like_a_document_and_hold_the_markers(
  vocabulary,
):
  words = tokenizer.load(str(vocabulary))
  entry = {
    'turns': [[{'role': 'user', 'content': 'Say <|im_end|>.'}]],
    'functions': [{'name': 'say', 'parameters': {}}],
  }
  asked = bfcl_answers.opening(entry)
  (tokens,) = prompts.tokens(words, [asked], 'chatml')
  assert tokens[0] == words.bos_id
  # The system's, and the user's: not the one that the user quotes.
  assert tokens.count(words.token_id('<|im_end|>')) == 2
  assert words.decode(tokens[1:]) == ''.join(
    span.text for span in chat.generation_prompt(asked)
  )
  assert document.Segment('user', 'Say <|im_end|>.') in asked


def test_a_model_that_is_served_is_asked_by_the_official_text(
  folder, requirements, isolation, tmp_path
):
  truth = {
    id: published.prompted(
      published.calls(folder, {'id': id, 'category': 'simple_python'})
    )
    for id in published.references(folder, 'simple_python')
  }
  asked = bfcl.subset(
    bfcl_official.read_entries(folder, ['simple_python'], isolation, PROMPTING),
    4,
  )
  answers = {
    entry['turns'][0][-1]['content']: truth[entry['id']] for entry in asked[:3]
  }

  def play(body, handler):
    system, user = body['messages']
    assert system['role'] == 'system'
    assert system['content'].startswith('You are an expert in composing')
    if user['content'] in answers:
      return answers[user['content']]
    handler.send(400, {'error': 'too long'})
    return None

  with chat_server.serving(play) as server:
    served = benchmark(
      folder,
      requirements,
      'no vocabulary is read',
      isolation,
      categories=['simple_python'],
      per_category=4,
      answers=str(tmp_path / 'answers'),
      endpoint=language_model.Endpoint(
        base_url=server.url,
        model='parrot',
        cache=str(tmp_path / 'cache.sqlite'),
        key_variable='',
      ),
    )
    assert served.identity()['tokenizer'] is None
    result = served(CONFIG, {})
    assert result['categories']['simple_python']['correct'] == 3
    assert result['categories']['simple_python']['errors'] == {
      'request_rejected': 1
    }
    assert served(CONFIG, {}) == result
    assert len(server.seen) == 5  # what it rejected is asked again
