import pytest

from hephaestus_jax.corpus.filters import classify, telling

# A model that knows nothing but one word.
CLASSIFIER = classify.Classifier(labels={}, characters=200)


@pytest.fixture(autouse=True)
def knows_tools(monkeypatch):
  monkeypatch.setattr(
    classify, 'score', lambda _, text: 0.9 if 'tool' in text.split() else 0.2
  )


def an_example(name: str, label: str, text: str) -> classify.Example:
  return classify.example_of(f's/g/{name}', label, text, CLASSIFIER)


def examples() -> list[classify.Example]:
  agent = [f'the tool says a{i} b{i}' for i in range(40)]
  general = [f'the king says c{i} d{i}' for i in range(30)]
  return [
    *(an_example(f'a{i}', 'agent', text) for i, text in enumerate(agent)),
    *(an_example(f'g{i}', 'general', text) for i, text in enumerate(general)),
  ]


def test_the_telling_ngrams_are_those_that_one_label_has():
  found = telling.ngrams(None, examples())
  # 'tool' alone: the n-grams around it are in the same documents.
  assert found == {
    'agent': [
      {'ngram': 'tool', 'agent': 40, 'general': 0, 'weight': 4.56, 'score': 0.9}
    ],
    'general': [
      {'ngram': 'king', 'agent': 0, 'general': 30, 'weight': 4.56, 'score': 0.2}
    ],
  }


def test_what_both_labels_have_and_what_is_rare_tells_nothing():
  found = telling.ngrams(None, examples())
  shown = {row['ngram'] for rows in found.values() for row in rows}
  assert not shown & {'the', 'says', 'a1', 'c1', 'says a1'}


def test_a_weight_needs_a_difference_and_numbers():
  assert telling._weight(50, 100, 50, 100) < 0
  assert telling._weight(50, 100, 5, 100) == pytest.approx(1.9105, abs=1e-4)
  assert telling._weight(500, 1000, 50, 1000) > telling._weight(50, 100, 5, 100)
  assert telling._weight(2, 100, 0, 100) < 0


def test_the_mistakes_are_the_worst_of_either_label():
  test = [
    an_example('right', 'agent', 'a tool'),
    an_example('missed', 'agent', 'a hammer'),
    an_example('fooled', 'general', 'his only tool'),
  ]
  assert telling.mistakes(None, test) == [
    {'id': 's/g/missed', 'label': 'agent', 'score': 0.2, 'text': 'a hammer'},
    {
      'id': 's/g/fooled',
      'label': 'general',
      'score': 0.9,
      'text': 'his only tool',
    },
  ]
  assert len(telling.mistakes(None, test * 30, count=5)) == 10


def test_the_nearest_are_those_on_both_sides_of_the_threshold():
  scores = [{'id': f'd{i}', 'bin': i} for i in range(100)]
  found = telling.nearest(iter(scores), 50, 4)
  assert [s['bin'] for s in found] == [51, 50, 49, 48]
  few = [{'id': 'a', 'bin': 9}, {'id': 'b', 'bin': 4}, {'id': 'c', 'bin': 5}]
  assert telling.nearest(few, 5, 2) == [
    {'id': 'c', 'bin': 5},
    {'id': 'b', 'bin': 4},
  ]
  assert telling.nearest([], 5) == []
