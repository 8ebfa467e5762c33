from hephaestus_jax import chat
from hephaestus_jax.corpus import document

SOURCE = '''#!/usr/bin/env python
# Copyright 2020 Some Body. All rights reserved.

# Kettles.
"""Things that boil."""


class Kettle:
  """A kettle for water, which holds what it holds and never a drop more.

  It has a lid, and a handle that stays cool for longer than one would think.
  """

  def boil(self, litres, *, loud=False):
    """Boil some water, in :class:`Kettle`.

    Long enough a text to be worth a page of its own in the manual.

    Parameters
    ----------
    litres : int
        How much.
    loud : {True, False}, default False
        Whether to
        whistle.

    Returns
    -------
    str
        What happened.

    Examples
    --------
    >>> kettle = Kettle()
    >>> kettle.boil(2)
    'boiled 2'

    Too much is too much:

    >>> kettle.boil(99)
    Traceback (most recent call last):
    ...
    ValueError: 99
    >>> kettle.noise()  # doctest: +SKIP
    'tsss'
    >>> kettle.boil(1)
    'boiled 1'
    """

  def _clean(self):
    """Not public, however long this text may be, and so it has no page, which
    is as it should be, for nobody is meant to call it from outside of here.
    """


def quiet():
  """>>> quiet()"""
'''
MEMBERS = {
  'xarray/kettle.py': SOURCE,
  'xarray/broken.py': 'def (: # >>>',
  'xarray/tests/test_kettle.py': SOURCE,
}
PAGE = """**API: xarray.kettle.Kettle.boil**

```python
boil(litres, *, loud=False)
```

Boil some water, in `Kettle`.

Long enough a text to be worth a page of its own in the manual.

**Parameters**

- litres (int, required): How much.
- loud ({True, False}, optional): Whether to whistle. Default: False.

**Returns**

str
    What happened.

**Example**

```python
>>> kettle = Kettle()
>>> kettle.boil(2)
'boiled 2'

>>> kettle.boil(99)
Traceback (most recent call last):
...
ValueError: 99
>>> kettle.noise()
'tsss'
>>> kettle.boil(1)
'boiled 1'
```"""


def test_public_functions_and_classes_become_pages(read):
  broken, short, kettle, boil, quiet = read('python_docs', MEMBERS, 'xarray')
  assert broken == document.Drop(
    'python_docs/xarray/xarray/broken.py', 'python_docs', 'not_python'
  )
  assert (short.document_id, short.reason) == (
    'python_docs/xarray.kettle/xarray.kettle',
    'too_short',
  )
  assert kettle.id == 'python_docs/xarray.kettle/xarray.kettle.Kettle'
  assert boil == document.Document(
    id='python_docs/xarray.kettle/xarray.kettle.Kettle.boil',
    source='python_docs',
    kind='documentation',
    licence='Apache-2.0',
    url='',
    segments=(document.Segment('documentation', PAGE),),
  )
  assert quiet.reason == 'too_short'


def test_an_interpreter_session_keeps_errors_and_skips_what_is_untested(read):
  broken, boil, quiet = read('doctest_sessions', MEMBERS, 'xarray')
  assert broken.reason == 'not_python'
  assert quiet.reason == 'no_output'
  assert boil.segments[0].role == 'system'

  def call(code: str) -> tuple[str, str]:
    return 'action', chat.call_text('python', {'code': code})

  assert [(s.role, s.text) for s in boil.segments[1:]] == [
    (
      'user',
      'Show me how `xarray.kettle.Kettle.boil` works. '
      'Boil some water, in `Kettle`.',
    ),
    call('kettle = Kettle()\nkettle.boil(2)'),
    ('observation', "'boiled 2'"),
    ('thought', 'Too much is too much:'),
    call('kettle.boil(99)'),
    ('observation', 'Traceback (most recent call last):\n...\nValueError: 99'),
    call('kettle.boil(1)'),
    ('observation', "'boiled 1'"),
  ]


def test_code_is_kept_without_its_licence(read):
  broken, kettle = read('package_code', MEMBERS, 'xarray')
  assert broken.reason == 'too_short'
  assert kettle.id == 'package_code/xarray.kettle/xarray/kettle.py'
  (segment,) = kettle.segments
  assert segment.role == 'code'
  assert segment.text == '# Kettles.\n' + SOURCE.split('# Kettles.\n')[1]


def test_code_of_a_service_is_in_the_group_of_the_service(read):
  code = 'a = 1\n' * 50
  found = read(
    'package_code', {'awscli/customizations/s3/fs.py': code}, 'awscli'
  )
  found += read(
    'package_code',
    {
      'azure/cli/command_modules/tea/custom.py': code,
      'azure/cli/command_modules/tea/aaz/latest/tea/_pour.py': code,
    },
    'azure-cli',
  )
  assert [d.group for d in found] == ['s3', 'azure-tea']


def test_a_large_package_gives_the_same_files_whatever_else_it_holds(read):
  code = {f'sympy/m{i}.py': 'a = 1\n' * 50 for i in range(400)}
  found = {d.id for d in read('package_code', code, 'sympy')}
  assert len(found) == 320
  fewer = dict(list(code.items())[:200])
  assert {d.id for d in read('package_code', fewer, 'sympy')} > {
    d for d in found if d.rsplit('/m', 1)[1] in {f'{i}.py' for i in range(200)}
  }
