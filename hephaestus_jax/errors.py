"""The error that is the user's to mend."""


class UserError(Exception):
  """Something outside the program is wrong: a value, a file, a machine.

  The message names the offending value, where it came from and the way out.
  `main.py` prints it alone and ends with exit code 2; every other exception is
  a bug of ours and keeps its traceback.
  """
