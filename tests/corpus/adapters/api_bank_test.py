"""API-Bank's layouts, with our own words in them."""

import pytest

from hephaestus_jax.corpus.adapters import api_bank, entry


def told(segments) -> list[tuple[str, str]]:
  return [(segment.role, segment.text) for segment in segments]


def reason(mapping, record) -> str:
  with pytest.raises(entry.MalformedError) as raised:
    mapping(record)
  return raised.value.reason


def test_an_api_bank_scene_is_cut_in_each_of_its_spellings():
  text = (
    'Scene: Tea\n\nFirst Utterence: Order tea.\n\nKey Info:\n- green\n\n'
    '- GT API Call:\nOrder(kind="green")\n'
  )
  assert told(api_bank.scene({'path': 'a', 'text': text})) == [
    ('system', 'Scene: Tea'),
    ('user', 'First Utterence: Order tea.'),
    ('system', 'Key Info:\n- green'),
    ('action', '- GT API Call:\nOrder(kind="green")'),
  ]


def test_api_bank_dialogues_keep_errors_and_refuse_strangers():
  failed = {'output': None, 'exception': 'no such user'}
  turns = [
    {'role': 'User', 'text': 'Hi.'},
    {'role': 'API', 'api_name': 'F', 'param_dict': {}, 'result': failed},
    {'role': 'AI', 'text': ''},
  ]
  assert told(api_bank.dialogue(turns)) == [
    ('user', 'Hi.'),
    ('action', 'F'),
    ('observation', '{"output": null, "exception": "no such user"}'),
  ]
  stranger = [{'role': 'Judge', 'text': 'Hm.'}]
  assert reason(api_bank.dialogue, stranger) == 'unknown_role'
  assert reason(api_bank.dialogue, {}) == 'record_is_dict'


def test_api_bank_test_rows_have_tools_in_the_instruction_and_may_answer():
  record = {
    'file': 'a.jsonl',
    'id': 3,
    'instruction': 'Generate a response.\n{"name": "Tea"}\n{"name": "Cup"}',
    'input': 'User: Tea?\nAI: Which?\nGenerate AI Response:\n',
    'output': '',
    'expected_output': 'Green or black.',
  }
  assert told(api_bank.row(record)) == [
    ('system', 'Generate a response.'),
    ('documentation', '{"name": "Tea"}'),
    ('documentation', '{"name": "Cup"}'),
    ('user', 'User: Tea?'),
    ('answer', 'AI: Which?'),
    ('system', 'Generate AI Response:'),
    ('answer', 'Green or black.'),
  ]


def test_an_api_bank_api_is_its_row_without_id_and_path():
  row = {'id': '1', 'API名称': '泡茶', '路径': 'apis/tea.py', '类名': 'Tea'}
  assert told(api_bank.api(row)) == [
    ('documentation', '泡茶'),
    ('documentation', 'Tea'),
  ]
