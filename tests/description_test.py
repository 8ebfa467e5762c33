"""Two things made alike are described alike, others are told apart."""

import dataclasses
import functools

import pytest

from hephaestus_jax import artefacts, description, optimizer


def test_a_function_is_its_name_and_what_it_closes_over():
  assert description.describe(_scale(3)) == {
    'function': '_scale.<lambda>',
    'factor': 3,
  }
  assert description.describe(_scale(3)) != description.describe(_scale(4))


def _scale(factor):
  return lambda x: factor * x


def test_the_docstrings_example_holds():
  found = description.describe({'schedule': _step, 'shape': (2, 3)})
  assert found == {'schedule': {'function': '_step'}, 'shape': [2, 3]}


def _step(step):
  return step


def test_optimizers_differ_where_they_were_made_differently():
  def made(**changed):
    schedule = optimizer.cosine(**{'peak': 0.1, 'steps': 9, **changed})
    return description.describe(optimizer.adamw(schedule=schedule).update)

  assert made() == made()
  difference = artefacts.difference(made(), made(peak=0.2))
  assert difference.endswith('peak was 0.1, now 0.2')


def test_dataclasses_and_partials_are_told_by_what_they_were_given():
  @dataclasses.dataclass
  class Point:
    x: int

  assert description.describe(Point(1)) == {'x': 1}
  one = description.describe(functools.partial(_step, step=1))
  assert one['partial'] == {'function': '_step'}
  assert one['step'] == 1


def test_what_can_not_be_told_is_refused():
  with pytest.raises(TypeError, match='described'):
    description.describe(object())
