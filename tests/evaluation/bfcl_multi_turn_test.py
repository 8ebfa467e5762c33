"""Questions of several turns, played by scripts in official environments."""

import collections
import pathlib
import sys

import pytest

from hephaestus_jax import chat, language_model, model
from hephaestus_jax.evaluation import (
  bfcl,
  bfcl_answers,
  bfcl_multi_turn,
  bfcl_official,
  bfcl_scores,
)
from hephaestus_jax.evaluation.bfcl_answers import Answer
from hephaestus_jax.evaluation.bfcl_checker import PROMPTING, TOOLS

sys.path.append(str(pathlib.Path(__file__).parent))
sys.path.append(str(pathlib.Path(__file__).parents[1]))
import bfcl_published as published  # noqa: E402
import chat_server  # noqa: E402

FEW = 3  # questions of each category


# Of each way of asking; the long test takes all four.
CATEGORIES = ('multi_turn_base', 'multi_turn_miss_func')


@pytest.fixture(scope='module')
def prompting(folder, isolation):
  return bfcl_official.read_entries(folder, CATEGORIES, isolation, PROMPTING)


@pytest.fixture(scope='module')
def tools(folder, isolation):
  return bfcl_official.read_entries(folder, CATEGORIES, isolation, TOOLS)


def play(folder, entries, speaker, isolation, chat_format='chatml', abreast=64):
  """{id: episode}, and the verdicts."""
  episodes = {}
  bfcl_multi_turn.play(
    folder,
    entries,
    speaker,
    chat_format=chat_format,
    abreast=abreast,
    isolation=isolation,
    ended=lambda episode: episodes.update({episode.entry['id']: episode}),
  )
  said = [
    bfcl_answers.Said(
      episodes[entry['id']].result,
      tuple(map(tuple, episodes[entry['id']].answers)),
    )
    for entry in entries
  ]
  return episodes, bfcl.judge(folder, entries, said, isolation, chat_format)


def saying(write):
  """A model that says what `write` makes of the conversation."""

  def speaker(conversations, waiting, heard):
    for i in waiting:
      heard(i, write(conversations[i]))

  return speaker


def oracle(folder, entries, chat_format):
  """Makes the published calls of a turn at once, then says so."""
  truth = {}
  for entry in entries:
    first = next(s for s in bfcl_answers.opening(entry) if s.role == 'user')
    turns = published.truth(folder, entry)
    truth.setdefault(first.text, []).append((entry, turns))

  def write(conversation):
    said = [s.text for s in conversation if s.role == 'user']
    ((entry, turns),) = [
      pair
      for pair in truth[said[0]]
      if offered(pair[0]) == conversation[0].text
    ]
    users = [turn[-1]['content'] for turn in entry['turns']]
    place = max(i for i, text in enumerate(users) if text in said)
    begun = max(i for i, s in enumerate(conversation) if s.text == users[place])
    if begun + 1 < len(conversation) or not turns[place]:
      return Answer('I have done that.')
    if entry['asking'] == PROMPTING:
      return Answer(published.prompted(turns[place]))
    return Answer(
      published.written({**entry, 'functions': []}, turns[place], chat_format)
    )

  return saying(write)


def offered(entry):
  return bfcl_answers.opening(entry)[0].text


def test_the_oracle_is_right_and_the_idle_are_wrong(
  folder, prompting, tools, isolation
):
  for entries, chat_format in (
    (prompting, 'chatml'),
    (tools, 'hermes'),
    (tools, 'mistral'),
    (tools, 'llama3'),
  ):
    few = bfcl.subset(entries, 1 if entries is tools else FEW)
    speaker = oracle(folder, few, chat_format)
    episodes, records = play(folder, few, speaker, isolation, chat_format)
    assert [r for r in records if not r['valid']] == []
    assert {e.finish for e in episodes.values()} == {''}
    for episode in episodes.values():
      # All that was said can be said to a model.
      assert not bfcl.unfit(episode.conversation, chat_format)
  few = bfcl.subset(prompting, FEW)
  _, records = play(folder, few, saying(lambda _: Answer('')), isolation)
  assert {(r['valid'], r['reason']) for r in records} == {
    (False, 'multi_turn:empty_turn_model_response')
  }


def apart(entries):
  """Lists in which no two begin alike: the oracle knows them by that."""
  lists, seen = [], collections.Counter()
  for entry in entries:
    opening = bfcl_answers.opening(entry)
    begins = offered(entry), next(s.text for s in opening if s.role == 'user')
    if seen[begins] == len(lists):
      lists.append([])
    lists[seen[begins]].append(entry)
    seen[begins] += 1
  return lists


@pytest.mark.long
@pytest.mark.parametrize('asking', [PROMPTING, TOOLS])
def test_the_oracle_is_right_everywhere(folder, isolation, asking):
  entries = bfcl_official.read_entries(
    folder, published.SEVERAL, isolation, asking
  )
  right, idle = [], []
  for few in apart(entries):
    speaker = oracle(folder, few, 'hermes')
    right += play(folder, few, speaker, isolation, 'hermes', abreast=800)[1]
    speaker = saying(lambda _: Answer(''))
    idle += play(folder, few, speaker, isolation, 'hermes', abreast=800)[1]
  table = bfcl_scores.count(right)
  assert {c: row['correct'] for c, row in table.items()} == (
    bfcl_scores.MULTI_TURN
  )
  assert len(idle) == 800
  assert not any(record['valid'] for record in idle)


def test_endless_calls_end_at_the_official_limit(folder, prompting, isolation):
  constants = folder / 'bfcl_eval' / 'constants' / 'default_prompts.py'
  assert f'MAXIMUM_STEP_LIMIT = {bfcl_multi_turn.STEP_LIMIT}\n' in (
    constants.read_text()
  )
  entry = next(e for e in prompting if e['id'] == 'multi_turn_base_0')
  episodes, (record,) = play(
    folder, [entry], saying(lambda _: Answer('[ls()]')), isolation
  )
  episode = episodes[entry['id']]
  assert episode.finish == 'step_limit'
  assert [len(turn) for turn in episode.answers] == [21]
  assert (record['valid'], record['reason']) == (
    False,
    'multi_turn:force_terminated',
  )


def test_what_calls_return_is_told_in_the_words_of_each_way(
  folder, prompting, tools, isolation
):
  call = {'name': 'ls', 'arguments': {}}
  texts = {
    PROMPTING: '[ls(), pwd()]',
    TOOLS: f'<tool_call>{chat.call_text(**call)}</tool_call>',
  }
  ends = {}
  for entries in (prompting, tools):
    entry = next(e for e in entries if e['id'] == 'multi_turn_base_0')
    entry = {**entry, 'turns': entry['turns'][:1]}

    def write(conversation, asking=entry['asking']):
      asked = (
        conversation[-1].role == 'user' and 'Move' in conversation[-1].text
      )
      return Answer(texts[asking] if asked else 'There they are.')

    episodes, _ = play(folder, [entry], saying(write), isolation)
    ends[entry['asking']] = [
      (s.role, s.text) for s in episodes[entry['id']].conversation[2:]
    ]
  listed = '{"current_directory_content": ["document", "archive"]}'
  where = '{"current_working_directory": "/workspace"}'
  assert ends == {
    PROMPTING: [
      ('answer', '[ls(), pwd()]'),
      (
        'user',
        f"[{{'role': 'tool', 'name': 'ls()', 'content': '{listed}'}}, "
        f"{{'role': 'tool', 'name': 'pwd()', 'content': '{where}'}}]",
      ),
      ('answer', 'There they are.'),
    ],
    TOOLS: [
      ('action', '{"name": "ls", "arguments": {}}'),
      ('observation', listed),
      ('answer', 'There they are.'),
    ],
  }


def test_a_function_that_was_missing_is_offered_later(prompting, tools):
  for entries in (prompting, tools):
    entry = next(e for e in entries if e['id'] == 'multi_turn_miss_func_0')
    asked = bfcl_answers.opening(entry)
    assert "'name': 'sort'" not in asked[0].text
    assert '"name": "sort"' not in asked[0].text
    (message,) = entry['turns'][3]
    assert message['content'].endswith('What about now?')
    assert ("'name': 'sort'" in message['content']) == (entries is prompting)
  assert [f['name'] for f in entry['added']['3']] == ['sort']


def test_a_model_that_says_nothing_more_ends_its_episode(
  folder, prompting, isolation
):
  entry = next(e for e in prompting if e['id'] == 'multi_turn_base_0')
  for finish in ('prompt_too_long', 'unfit:no_user', 'endpoint_timed_out'):
    episodes, (record,) = play(
      folder, [entry], saying(lambda _, f=finish: Answer('', f)), isolation
    )
    assert episodes[entry['id']].finish == record['reason'] == finish
    assert record['message']


def test_what_a_model_calls_runs_in_the_sandbox_and_can_end_it(
  folder, prompting, isolation
):
  # The official reader evaluates sums.
  texts = [
    '[ls()]',
    "[cat(file_name='a' + str(6 * 7))]",
    "[cat(file_name=__import__('os')._exit(7) + 1)]",
    "[cat(file_name=open('/etc/shadow').read() + '')]",
    '[pwd()]',
  ]
  entry = next(e for e in prompting if e['id'] == 'multi_turn_base_0')
  replies = bfcl_official.play(
    folder,
    [
      {
        **{key: entry[key] for key in ('id', 'category', 'asking')},
        'environments': entry['environments'],
        'results': [text],
      }
      for text in texts
    ],
    isolation,
  )
  stopped = [reply['stopped'] for reply in replies]
  assert stopped == ['', '', 'exit status 7', '', '']
  assert 'document' in replies[0]['observations'][0]
  assert 'a42' in replies[1]['observations'][0]
  assert replies[3]['observations'] == []  # it could not be read
  assert 'workspace' in replies[4]['observations'][0]


def test_a_model_that_is_served_plays_and_its_episodes_are_kept(
  folder, requirements, isolation, prompting, tmp_path
):
  few = [e for e in prompting if e['category'] == 'multi_turn_base']
  few = bfcl.subset(few, 2)
  turns = {
    turn[-1]['content']: published.prompted(calls)
    for entry in few
    for turn, calls in zip(
      entry['turns'], published.truth(folder, entry), strict=True
    )
  }

  def answer(body, handler):
    last = body['messages'][-1]
    assert last['role'] == 'user'
    return turns.get(last['content'], 'I have done that.')

  with chat_server.serving(answer) as server:
    benchmark = bfcl.Bfcl(
      tokenizer='no vocabulary is read',
      endpoint=language_model.Endpoint(
        base_url=server.url,
        model='parrot',
        cache=str(tmp_path / 'cache.sqlite'),
        key_variable='',
      ),
      folder=str(folder),
      requirements=requirements,
      answers=str(tmp_path / 'answers'),
      categories=['multi_turn_base'],
      per_category=2,
      isolation=isolation,
    )
    config = model.Config(
      vocab_size=1,
      emb_dim=1,
      num_layers=1,
      num_heads=1,
      num_kv_heads=1,
      head_dim=2,
      mlp_dim=1,
    )
    result = benchmark(config, {})
    assert result['categories']['multi_turn_base']['correct'] == 2
    asked = len(server.seen)
    assert asked == 2 * sum(len(entry['turns']) for entry in few)
    # All of it comes from the result files.
    (tmp_path / 'cache.sqlite').unlink()
    assert benchmark(config, {}) == result
    assert len(server.seen) == asked
