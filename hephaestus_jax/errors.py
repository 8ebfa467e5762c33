"""The error that is the user's to mend, and what a message may add to it."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
  """Something outside the program is wrong: a value, a file, a machine.

  The message names the offending value, where it came from and the way out.
  `main.py` prints it alone and ends with exit code 2; every other exception is
  a bug of ours and keeps its traceback.
  """


def nearest(name: str, known: Iterable[str]) -> str:
  """A sentence that asks for a name that is known, to follow another.

  >>> nearest('demmo', ['demo', 'text'])
  ' Did you mean demo?'
  >>> nearest('x', ['demo', 'text'])
  ''
  """
  found = difflib.get_close_matches(name, list(known), n=2)
  return f' Did you mean {" or ".join(found)}?' if found else ''
