import dataclasses
import json
import random

import numpy as np
import pytest

from hephaestus_jax import errors
from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.filters import classify

AGENT = ['bucket', 'api', 'call', 'parameter', 'request', 'endpoint', 'token']
GENERAL = ['king', 'castle', 'river', 'summer', 'letter', 'garden', 'horse']
CLASSIFIER = classify.Classifier(
  labels={'docs': 'agent', 'books': 'general'},
  filtered=['pages'],
  training_documents=200,
  test_documents=100,
  characters=200,
  bucket=40_000,
)


def a_document(source: str, number: int) -> document.Document:
  draw = random.Random(f'{source}{number}')
  words = [
    draw.choice(AGENT if source == 'docs' else GENERAL)
    if draw.random() < 0.8
    else draw.choice([*AGENT, *GENERAL])
    for _ in range(40)
  ]
  return document.Document(
    f'{source}/g/{number}',
    source,
    'text',
    'MIT',
    '',
    (document.Segment('text', ' '.join(words)),),
  )


def examples():
  return [
    classify.example(a_document(source, i), CLASSIFIER)
    for source in CLASSIFIER.labels
    for i in range(200)
  ]


def test_examples_are_the_beginnings_of_labelled_sources():
  found = classify.example(a_document('docs', 1), CLASSIFIER)
  assert found.label == 'agent'
  assert len(found.text) == 200
  assert classify.example(a_document('pages', 1), CLASSIFIER) is None
  assert classify.one_line('Lists\n the Buckets.', 12) == 'lists the bu'


def test_drawing_is_half_and_half_disjoint_and_does_not_depend_on_order():
  everything = examples()
  training, test = classify.split_examples(everything, CLASSIFIER)
  assert [e.label for e in training].count('agent') == 100
  assert [e.label for e in test].count('general') == 40  # a fifth of 200
  assert not set(training) & set(test)
  shuffled = random.Random(0).sample(everything, len(everything))
  assert classify.split_examples(shuffled, CLASSIFIER) == (training, test)


def test_a_group_that_is_tested_on_is_never_learned_from():
  by_group = dataclasses.replace(CLASSIFIER, held_out_by='group')
  everything = [
    classify.example_of(f's/{group}/{i}', label, f'{label} {i}', by_group)
    for group in range(60)
    for i in range(4)
    for label in classify.LABELS
  ]
  training, test = classify.split_examples(everything, by_group)
  assert len(test) == 2 * 50
  assert len(training) == 200
  assert not {e.group for e in training} & {e.group for e in test}
  again = classify.split_examples(everything[::-1], by_group)
  assert again == (training, test)


def test_a_way_of_holding_out_that_does_not_exist_is_refused():
  unknown = dataclasses.replace(CLASSIFIER, held_out_by='source')
  with pytest.raises(errors.UserError, match="held_out_by = 'source'"):
    classify.train(examples(), unknown)


def labels_file(tmp_path, *lines):
  path = tmp_path / 'labels.jsonl'
  path.write_text(''.join(line + '\n' for line in lines))
  return dataclasses.replace(CLASSIFIER, labels_file=str(path))


def test_documents_can_be_labelled_one_by_one(tmp_path):
  line = {'id': 'web/example.com/1', 'text': 'Call\n THIS.', 'label': 'agent'}
  classifier = labels_file(tmp_path, json.dumps(line))
  (found,) = classify.read_labels(classifier)
  assert (found.label, found.text) == ('agent', 'call this.')
  assert found.group == 'example.com'
  assert classify.read_labels(CLASSIFIER) == []
  plain = classify.example_of('17', 'agent', 'x', CLASSIFIER)
  assert plain.group == '17'


@pytest.mark.parametrize(
  ('line', 'message'),
  [
    ('{"id": "a", "text": "b", "label": "Agent"}', "has the label 'Agent'"),
    ('{"id": "a", "text": "b", "label": []}', 'has the label'),
    ('{"id": "a", "text": 7, "label": "agent"}', 'line 2, is not'),
    ('{"id": "a", "label": "agent"}', 'line 2, is not'),
    ('["id", "text", "label"]', 'line 2, is not'),
    ('{"id": "a", "te', 'line 2, is not'),
    ('[' * 100_000, 'line 2, is not'),
  ],
)
def test_a_bad_label_is_the_users_mistake(tmp_path, line, message):
  good = '{"id": "a", "text": "b", "label": "agent"}'
  with pytest.raises(errors.UserError, match=message):
    classify.read_labels(labels_file(tmp_path, good, line))


def test_a_labels_file_that_is_not_there_is_named(tmp_path):
  absent = dataclasses.replace(
    CLASSIFIER, labels_file=str(tmp_path / 'nowhere.jsonl')
  )
  with pytest.raises(errors.UserError, match='nowhere.jsonl does not exist'):
    classify.read_labels(absent)


def test_it_learns_measures_itself_and_is_the_same_each_time(tmp_path):
  training, test = classify.split_examples(examples(), CLASSIFIER)
  model = classify.train(training, CLASSIFIER)
  measured = classify.measure(model, test)
  assert measured['accuracy'] > 0.9
  assert measured['documents'] == 80
  model.save_model(str(tmp_path / 'one.bin'))
  classify.train(training, CLASSIFIER).save_model(str(tmp_path / 'two.bin'))
  one, two = (tmp_path / name for name in ('one.bin', 'two.bin'))
  assert one.read_bytes() == two.read_bytes()
  loaded = classify.load(one)
  line = training[0].text
  assert classify.score(loaded, line) == classify.score(model, line)
  assert classify.score(loaded, ' '.join(AGENT)) > 0.5
  assert classify.score(loaded, ' '.join(GENERAL)) < 0.5


def test_measures_are_those_of_the_confusion_matrix(monkeypatch):
  said = {'a': 0.9, 'b': 0.8, 'c': 0.1, 'd': 0.7, 'e': 0.2}
  monkeypatch.setattr(classify, 'score', lambda _, text: said[text])
  test = [
    classify.Example('', 'agent' if text in 'abc' else 'general', text, '')
    for text in said
  ]
  measured = classify.measure(None, test)
  assert measured == {
    'accuracy': pytest.approx(3 / 5),
    'precision': pytest.approx(2 / 3),
    'recall': pytest.approx(2 / 3),
    'f1': pytest.approx(2 / 3),
    'documents': 5,
  }
  assert classify.measure(None, [])['f1'] == 0.0


def test_a_label_without_documents_is_the_users_mistake():
  only_agent = [e for e in examples() if e.label == 'agent']
  with pytest.raises(errors.UserError, match="labelled 'general'"):
    classify.train(only_agent, CLASSIFIER)


def test_the_table_is_zero_where_fasttext_leaves_it_as_it_was(tmp_path):
  # It fills a tenth; a small table's other rows come from the heap.
  small = dataclasses.replace(CLASSIFIER, bucket=50, epoch=0)
  table = classify.train(examples(), small).get_input_matrix()
  assert np.isfinite(table).all()
  filled = table.size // 10
  assert table.ravel()[:filled].any()
  assert not table.ravel()[filled:].any()


def test_settings_that_fasttext_cannot_learn_with_are_named():
  wild = dataclasses.replace(CLASSIFIER, lr=1e9)
  with pytest.raises(errors.UserError, match=r"(?s)'lr': 1000000000.0.*NaN"):
    classify.train(examples(), wild)


@pytest.mark.parametrize(
  ('keep_share', 'lowest'),
  [
    (0.5, 9000),
    (0.6, 5000),
    (0.8, 5000),
    (0.81, 100),
    (1.0, 100),
    (0.0, 10_001),
  ],
)
def test_the_threshold_keeps_at_least_the_share_that_is_asked_for(
  keep_share, lowest
):
  characters = {9000: 50, 5000: 30, 100: 20}
  assert classify.threshold(characters, keep_share) == lowest


def test_there_is_a_threshold_for_nothing():
  assert classify.threshold({}, 0.4) == classify.BINS + 1
