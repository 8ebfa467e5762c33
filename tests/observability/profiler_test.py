"""A trace has the steps that were asked for, or there is none."""

import jax
import jax.numpy as jnp
import pytest

from hephaestus_jax import errors
from hephaestus_jax.observability import profiler


def run(folder, monkeypatch, taken, **window):
  """What was done at which step."""
  done = []
  monkeypatch.setattr(
    jax.profiler, 'start_trace', lambda path: done.append(('start', step))
  )
  monkeypatch.setattr(
    jax.profiler, 'stop_trace', lambda: done.append(('stop', step))
  )
  found = profiler.Window(folder, **window)
  for step in taken:  # noqa: B007 - the calls above read it
    found.before(step)
    found.after(step, jnp.zeros(()))
  found.close()
  return done


def test_a_trace_has_its_steps(tmp_path, monkeypatch):
  window = {'first': 3, 'steps': 2}
  made = run(tmp_path, monkeypatch, range(1, 9), **window)
  assert made == [('start', 3), ('stop', 4)]


def test_a_run_that_ends_early_ends_its_trace(tmp_path, monkeypatch):
  window = {'first': 3, 'steps': 9}
  made = run(tmp_path, monkeypatch, range(1, 5), **window)
  assert made == [('start', 3), ('stop', 4)]


@pytest.mark.parametrize('first', [None, 3])
def test_none_is_made_where_none_is_asked_or_its_step_is_past(
  tmp_path, monkeypatch, first
):
  window = {'first': first, 'steps': 2}
  assert run(tmp_path, monkeypatch, range(5, 9), **window) == []


def test_an_empty_window_is_refused(tmp_path):
  with pytest.raises(errors.UserError, match='profile_steps = 0'):
    profiler.Window(tmp_path, first=3, steps=0)
