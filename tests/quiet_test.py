"""What says something about the user's work is never held back."""

import os

import pytest

from hephaestus_jax import quiet


def test_start_up_lines_alone_are_left_out(capfd):
  with quiet.start_up():
    os.write(2, b'WARNING: All log messages before absl::InitializeLog() is\n')
    os.write(2, b'I0000 00:00:17 1 cudart_stub.cc:31] no GPU\n')
    os.write(
      2, b'WARNING:root:apitools not found, and bigquery client libraries '
    )
    os.write(2, b'are not available\n')
    os.write(2, b'E0000 00:00:17 1 file.cc:3] disk is full\n')
    os.write(2, b'I0000 is also how a file begins')
  os.write(2, b', and this comes after\n')
  assert capfd.readouterr().err == (
    'E0000 00:00:17 1 file.cc:3] disk is full\n'
    'I0000 is also how a file begins, and this comes after\n'
  )


def test_what_was_said_before_an_error_is_given(capfd):
  with pytest.raises(ImportError), quiet.start_up():
    os.write(2, b'no such library\n')
    raise ImportError
  assert capfd.readouterr().err == 'no such library\n'
