"""The real client against a server on loopback that plays an annotator."""

import json
import pathlib
import sys

import pytest

from hephaestus_jax import artefacts, errors, language_model, replies
from hephaestus_jax.corpus import document, forge, lines
from hephaestus_jax.corpus.filters import classify
from hephaestus_jax.corpus.synthesise import annotate, synthesise

sys.path.append(str(pathlib.Path(__file__).parents[2]))
import chat_server  # noqa: E402

JSON_CODE = 'import json\nprint(json.dumps({"a": 1}))\n'
WRITTEN = '**API: json.dumps** Writes a value as JSON. ' * 6


def snippet(name, code, kind='code', group='train', licence='MIT'):
  role = 'code' if kind == 'code' else 'text'
  return document.Document(
    f'starcoder_apis/{group}/{name}',
    'starcoder_apis',
    kind,
    licence,
    'https://example.com/a.py',
    (document.Segment(role, code),),
  )


@pytest.fixture
def folder(tmp_path):
  folder = tmp_path / 'code'
  folder.mkdir()
  lines.write(
    folder,
    [
      snippet('good', JSON_CODE),
      snippet('held', JSON_CODE + '# held', group='heldout', licence='BSD'),
      snippet('sorry', JSON_CODE + '# sorry'),
      snippet('silent', JSON_CODE + '# silent'),
      snippet('cut', JSON_CODE + '# cut'),
      snippet('short', JSON_CODE + '# short'),
      snippet('astray', JSON_CODE + '# astray'),
      snippet('filtered', JSON_CODE + '# filtered'),
      snippet('rejected', JSON_CODE + '# rejected'),
      snippet('old', 'print "Python 2"'),
      snippet('plain', 'a = 1'),
      snippet('long', JSON_CODE + '#' * 9_000),
      snippet('prose', 'Once upon a time.', kind='text'),
    ],
  )
  with (folder / lines.FILE).open('a') as file:
    file.write('{"id"\n')
  return folder


def play(body, handler):
  code = body['messages'][0]['content'].partition('Code:\n')[2]
  if '# sorry' in code:
    return 'I\u2019m sorry, but I cannot help with json.dumps. ' * 9
  if '# silent' in code:
    return ' \n'
  if '# cut' in code:
    return handler.send(200, chat_server.completion(WRITTEN, 'length'))
  if '# short' in code:
    return 'json.dumps'
  if '# astray' in code:
    return 'A recipe for pancakes. ' * 20
  if '# filtered' in code:
    return handler.send(200, chat_server.completion('', 'content_filter'))
  if '# rejected' in code:
    return handler.send(400)
  return f' {WRITTEN}\n'


def endpoint(server, tmp_path):
  return language_model.Endpoint(
    base_url=server.url,
    model='parrot',
    key_variable='',
    cache=str(tmp_path / 'cache.sqlite'),
    prompt_price=1.0,
  )


def run(server, tmp_path, folder, name='made'):
  return synthesise.synthesise(
    code=str(folder),
    endpoint=endpoint(server, tmp_path),
    output_dir=str(tmp_path / name),
  )


def test_a_snippet_becomes_the_usage_example_of_its_documentation(
  tmp_path, folder
):
  with chat_server.serving(play) as server:
    result = run(server, tmp_path, folder)
  good, held = [d for d in lines.read(tmp_path / 'made')][::-1]
  assert good == document.Document(
    'code_to_text/train/starcoder_apis.good',
    'code_to_text',
    'documentation',
    'MIT',
    'https://example.com/a.py',
    (
      document.Segment('documentation', WRITTEN.strip()),
      document.Segment('code', JSON_CODE),
    ),
  )
  # What is held out stays held out, under the licence of its snippet.
  assert (held.group, held.licence) == ('heldout', 'BSD')
  origins = (tmp_path / 'made/origins.jsonl').read_text().splitlines()
  assert json.loads(origins[1]) == {
    'id': 'code_to_text/train/starcoder_apis.good',
    'origin': 'starcoder_apis/train/good',
    'apis': ['json.dumps'],
    'model': 'parrot',
  }
  assert result['reused'] is False


def test_every_snippet_is_documented_or_dropped_for_a_reason(tmp_path, folder):
  with chat_server.serving(play) as server:
    result = run(server, tmp_path, folder)
  assert result['drops'] == {
    'answer_too_short': 1,
    'code_not_python': 1,
    'code_too_long': 1,
    'empty_answer': 1,
    'line_not_json': 1,
    'names_no_api': 1,
    'no_api_call': 1,
    'not_code': 1,
    'refused': 2,
    replies.REJECTED: 1,
    'truncated': 1,
  }
  assert (result['records'], result['documents']) == (14, 2)
  # 9 asked; the rejected one was not billed: 8 prompts of 10 tokens.
  assert result['account']['questions'] == 9
  assert result['account']['dollars'] == pytest.approx(80e-6)


def test_the_prompt_has_the_papers_layout(tmp_path):
  asked = synthesise.question(snippet('good', JSON_CODE), ['json.dumps'])
  (message,) = asked.messages
  assert message['role'] == 'user'
  instruction, _, rest = message['content'].partition('\n\nAPI: ')
  assert instruction
  assert rest == f'json.dumps\nCode:\n{JSON_CODE}API Documentation:\n'


def test_the_same_answers_make_the_same_bytes_without_a_server(
  tmp_path, folder
):
  with chat_server.serving(play) as server:
    run(server, tmp_path, folder)
    assert run(server, tmp_path, folder)['reused'] is True
    asked = len(server.seen)
    # The rejected question alone is no answer, and is asked again.
    run(server, tmp_path, folder, 'again')
    assert len(server.seen) == asked + 1
  for name in (lines.FILE, lines.DROPS, 'origins.jsonl', 'account.json'):
    first = (tmp_path / 'made' / name).read_bytes()
    assert (tmp_path / 'again' / name).read_bytes() == first


def test_the_code_of_a_built_corpus_is_documented_too(tmp_path):
  corpus = tmp_path / 'corpus'
  found = [snippet('good', JSON_CODE)]
  forge.Forge(
    source='starcoder_apis',
    description='',
    homepage='',
    documents={'train': lambda: found, 'heldout': lambda: found},
    data_dir=str(corpus),
  ).download_and_prepare(download_dir=str(corpus / 'downloads'))
  row = {'source': 'starcoder_apis', 'kind': 'code', 'documents': 1}
  artefacts.write_json(
    corpus / 'composition.json',
    [{**row, 'split': 'train'}, {**row, 'split': 'heldout'}],
  )
  artefacts.write_json(corpus / 'inputs.json', {'made_from': 'this'})
  with chat_server.serving(play) as server:
    result = run(server, tmp_path, corpus)
  assert (result['records'], result['documents']) == (1, 1)


def test_without_an_endpoint_it_says_so(tmp_path, folder):
  nowhere = language_model.Endpoint(None, cache=str(tmp_path / 'cache.sqlite'))
  with pytest.raises(errors.UserError, match='no endpoint'):
    synthesise.synthesise(
      code=str(folder), endpoint=nowhere, output_dir=str(tmp_path / 'made')
    )
  assert not (tmp_path / 'made').exists()


def label(body, handler):
  text = body['messages'][0]['content'].rpartition('[TEXT]')[2]
  if 'Python 2' in text:
    return 'I think that this could be either.'
  return '**Agent**' if 'json' in text else 'General\nIt names no tool.'


def test_labels_are_what_the_filter_learns_from(tmp_path, folder):
  with chat_server.serving(label) as server:
    result = annotate.annotate(
      documents=str(folder),
      endpoint=endpoint(server, tmp_path),
      output_dir=str(tmp_path / 'labels'),
      characters=20,
    )
  assert result['labels'] == {'agent': 10, 'general': 2}
  assert result['drops'] == {'line_not_json': 1, 'no_label': 1}
  assert result['records'] == result['documents'] + 2 == 14
  rows = [
    json.loads(line)
    for line in (tmp_path / 'labels/labels.jsonl').read_text().splitlines()
  ]
  assert {'id', 'text', 'label'} == set(rows[0])
  assert {
    'id': 'starcoder_apis/train/prose',
    'text': 'Once upon a time.',
    'label': 'general',
  } in rows
  assert max(len(row['text']) for row in rows) == 20
  assert {row['label'] for row in rows} == set(classify.LABELS)


def test_the_annotator_sees_two_agent_texts_and_a_general_one():
  asked = annotate.question(snippet('prose', 'Once upon a time.'), 4)
  said = asked.messages[0]['content']
  assert said.count('[CATEGORY]\nAgent\n') == 2
  assert said.count('[CATEGORY]\nGeneral\n') == 1
  assert said.endswith('[TEXT]\nOnce\n[CATEGORY]\n')
  assert 'unsure, answer General' in said


@pytest.mark.parametrize(
  ('answer', 'expected'),
  [
    ('[CATEGORY] **Agent**\nIt documents a command.', 'agent'),
    ('Agent or General', ''),
    ('general.', 'general'),
    ('', ''),
    ('Agentic', ''),
    ('\n\nAgent', 'agent'),
  ],
)
def test_a_label_is_one_word(answer, expected):
  assert annotate.read_label(answer) == expected
