import pytest
from hypothesis import given
from hypothesis import strategies as st

from hephaestus_jax.corpus.adapters import entry
from hephaestus_jax.corpus.synthesise import api_calls


def test_names_are_followed_to_where_they_were_imported_from():
  assert api_calls.find(
    'import numpy as np\n'
    'from json import dumps\n'
    'generator = np.random.Generator(bits)\n'
    'print(dumps(generator.normal(size=2)))\n'
  ) == (
    'numpy.random.Generator',
    'json.dumps',
    'numpy.random.Generator.normal',
  )


def test_what_the_text_does_not_tell_is_not_named():
  code = (
    'import os.path\nfrom . import near\n'
    'def local(): return os.path.join("a", near.far())\n'
    'local().strip()\nfile = os.open("a", 0)\nfile.read()\nlen("a")\n'
  )
  assert api_calls.find(code) == ('os.path.join', 'os.open')


def test_a_context_is_what_it_was_made_of():
  code = 'import zipfile\nwith zipfile.ZipFile("a") as z:\n  z.namelist()\n'
  assert api_calls.find(code) == ('zipfile.ZipFile', 'zipfile.ZipFile.namelist')


@pytest.mark.parametrize(
  ('code', 'reason'),
  [
    ('print "Python 2"', 'code_not_python'),
    ('a = "\0"', 'code_not_python'),
    ('(' * 5_000 + ')' * 5_000, 'code_nested_too_deep'),
    ('-' * 100_000 + '1', 'code_nested_too_deep'),
    ('a' + '.b' * 50_000 + '()', 'code_nested_too_deep'),
  ],
)
def test_code_that_cannot_be_parsed_has_a_reason(code, reason):
  with pytest.raises(entry.MalformedError) as found:
    api_calls.find(code)
  assert found.value.reason in (reason, 'code_not_python')


@given(st.text())
def test_no_text_is_another_exception(code):
  try:
    api_calls.find(code)
  except entry.MalformedError as error:
    assert error.reason in ('code_not_python', 'code_nested_too_deep')
