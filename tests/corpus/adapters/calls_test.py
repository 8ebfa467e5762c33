import pytest

from hephaestus_jax import chat
from hephaestus_jax.corpus.adapters import calls, entry, tool

BREW, POUR = tool.Tool('brew', 'Brews.'), tool.Tool('pour', 'Pours.')


def test_the_right_tool_is_not_given_away_by_its_place():
  offered = chat.system_prompt([tool.schema(BREW, {}), tool.schema(POUR, {})])
  for called, other in ((BREW, POUR), (POUR, BREW)):
    segments = calls.instruction(called, [other], {}, 'Go.')
    assert segments[0].text == offered


def test_others_are_the_same_each_time_and_never_the_one_itself():
  names = [f'tool{i}' for i in range(50)]
  assert calls.others(names, 'tool7') == calls.others(names[::-1], 'tool7')
  assert all(name not in calls.others(names, name) for name in names)
  assert len({calls.others(names, name)[0] for name in names}) > 20


def test_a_call_without_an_answer_or_with_a_book_of_it_is_no_session():
  with pytest.raises(entry.MalformedError, match='no_response'):
    calls.session(BREW, {}, 'Brew.', '')
  with pytest.raises(entry.MalformedError, match='response_too_long'):
    calls.session(BREW, {}, 'Brew.', 'x' * 6_001)


def test_arguments_that_would_be_dictated_make_no_request():
  with pytest.raises(entry.MalformedError, match='arguments_too_long'):
    calls.request('To brew', {'recipe': 'x' * 1_001})


def test_needed_properties_stay_however_many_there_are():
  parameters = tuple(
    tool.Parameter(f'p{i}', 'string', required=i == 9) for i in range(12)
  )
  described = tool.Tool('brew', 'Brews.', parameters)
  found = tool.schema(described, {'p7': 'x', 'p8': 'y'}, limit=4)
  assert list(found['parameters']['properties']) == ['p0', 'p7', 'p8', 'p9']
  used = {f'p{i}': 'x' for i in range(12)}
  found = tool.schema(described, used, limit=4)
  assert len(found['parameters']['properties']) == 12
