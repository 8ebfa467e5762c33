"""Keeps from the terminal what libraries say and nobody can act on."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

# TensorFlow's C++ says these while it loads, whatever its log level is, the TPU
# compiler where there is no TPU, and Beam where BigQuery's client is missing.
_START_UP = re.compile(
  rb'(I0000 |WARNING: All log messages before absl::InitializeLog|'
  rb'Failed to find host bounds for accelerator type: |'
  rb'WARNING:root:apitools not found, and bigquery client libraries ).*\n'
)


@contextlib.contextmanager
def start_up() -> Iterator[None]:
  """Holds back the process's standard error, and gives all but start-up lines.

  TensorFlow reads and writes files here and never computes, so that a machine
  has no GPU is nothing to tell a person whose message would stand below it.
  """
  sys.stderr.flush()
  terminal = os.dup(2)
  with tempfile.TemporaryFile() as held:
    os.dup2(held.fileno(), 2)
    try:
      yield
    finally:
      sys.stderr.flush()
      os.dup2(terminal, 2)
      os.close(terminal)
      held.seek(0)
      os.write(2, _START_UP.sub(b'', held.read()))
