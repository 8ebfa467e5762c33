"""The signal that a machine goes away is heard, and its handler comes back."""

import signal

from hephaestus_jax.pod import preemption


def test_sigterm_is_remembered_and_its_old_handler_comes_back():
  before = signal.getsignal(signal.SIGTERM)
  with preemption.termination() as terminated:
    assert not terminated(1)
    signal.raise_signal(signal.SIGTERM)
    assert terminated(2)
  assert signal.getsignal(signal.SIGTERM) == before
