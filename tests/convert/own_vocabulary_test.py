"""What transformers is given reads and writes as tokenizer.py and chat.py."""

import json
import pathlib

import pytest
import tokenizers

from hephaestus_jax import chat, tokenizer
from hephaestus_jax.convert import own_vocabulary
from hephaestus_jax.corpus.document import Segment

TOOL = {'name': 'ls', 'description': 'lists', 'parameters': {'type': 'object'}}
RESULT = '["logs"]'
SEGMENTS = (
  Segment('system', chat.system_prompt([TOOL])),
  Segment('system', 'Be brief.'),
  Segment('user', 'What is there?'),
  Segment('thought', 'I look.'),
  Segment('action', chat.call_text('ls', {'path': 'ä'})),
  Segment('action', chat.call_text('ls', {})),
  Segment('observation', RESULT),
  Segment('observation', RESULT),
  Segment('answer', 'Logs.'),
)
CALLS = [
  {'function': {'name': 'ls', 'arguments': {'path': 'ä'}}},
  {'function': {'name': 'ls', 'arguments': {}}},
]
MESSAGES = [
  {'role': 'system', 'content': 'Be brief.'},
  {'role': 'user', 'content': 'What is there?'},
  {'role': 'assistant', 'content': 'I look.', 'tool_calls': CALLS},
  {'role': 'tool', 'content': RESULT},
  {'role': 'tool', 'content': RESULT},
  {'role': 'assistant', 'content': 'Logs.'},
]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('vocabulary')
  root = pathlib.Path(__file__).parents[2] / 'hephaestus_jax'
  texts = [path.read_text() for path in sorted(root.glob('*.py'))]
  tokenizer.train(texts, folder / 'tokenizer.model', 1000)
  for name, content in own_vocabulary.files(folder / 'tokenizer.model').items():
    (folder / name).write_bytes(content)
  return folder


def texts():
  root = pathlib.Path(__file__).parents[1]
  lines = [
    line
    for path in sorted(root.glob('*_test.py'))[:12]
    for line in path.read_text().splitlines()
  ]
  odd = (
    '',
    ' ',
    '   x  ',
    '\t\n',
    '1234',
    'Grüße, 世界 👩‍💻',
    '<|im_start|>user\n',
  )
  return [*odd, '\n'.join(lines), *lines]


def test_ids_are_those_of_sentencepiece(folder):
  ours = tokenizer.load(str(folder / 'tokenizer.model'))
  theirs = tokenizers.Tokenizer.from_file(str(folder / 'tokenizer.json'))
  for text in texts():
    ids = theirs.encode(text, add_special_tokens=False).ids
    assert ids == ours.encode_markers(text), text
    assert theirs.decode(ids, skip_special_tokens=False) == text


def test_a_turns_end_ends_a_generation(folder):
  ours = tokenizer.load(str(folder / 'tokenizer.model'))
  found = json.loads((folder / 'generation_config.json').read_text())
  ends = [ours.eos_id, ours.token_id('<|im_end|>')]
  assert found['eos_token_id'] == ends


def test_transformers_renders_a_conversation_as_chat_does(folder):
  transformers = pytest.importorskip('transformers')
  theirs = transformers.AutoTokenizer.from_pretrained(folder)
  ours = tokenizer.load(str(folder / 'tokenizer.model'))
  wanted = ''.join(span.text for span in chat.render(SEGMENTS))
  found = theirs.apply_chat_template(MESSAGES, tools=[TOOL], tokenize=False)
  assert found == wanted
  ids = theirs(found, add_special_tokens=False).input_ids
  assert ids == ours.encode_markers(wanted)
  prompt = ''.join(span.text for span in chat.generation_prompt(SEGMENTS[2:3]))
  assert prompt == theirs.apply_chat_template(
    MESSAGES[1:2], tokenize=False, add_generation_prompt=True
  )
