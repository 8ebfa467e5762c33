import dataclasses
import random

import pytest

from hephaestus_jax import errors
from hephaestus_jax.corpus import classify, document

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
    classify.Example('', 'agent' if text in 'abc' else 'general', text)
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


def test_a_table_that_fasttext_would_not_initialise_is_refused():
  small = dataclasses.replace(CLASSIFIER, bucket=20_000)
  with pytest.raises(errors.UserError, match='bucket = 20000 and dim = 256'):
    classify.train(examples(), small)


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
