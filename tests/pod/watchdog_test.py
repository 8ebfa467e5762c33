"""A step that hangs is told while it hangs; others are not."""

import time

from hephaestus_jax.pod import watchdog


def run(*seconds, times=10.0, shortest=0.05):
  dog = watchdog.Watchdog(times, shortest=shortest)
  for step, length in enumerate(seconds):
    with dog.step(f'step {step} of stage1'):
      time.sleep(length)
  dog.close()


def test_a_step_that_hangs_prints_every_stack_and_goes_on(capfd):
  run(*[0.01] * 6, 0.8, 0.01)
  said = capfd.readouterr().err
  assert said.count('watchdog: ') == 1
  assert 'watchdog: step 6 of stage1 is under way for' in said
  # The thread that sleeps, and the watchdog's own.
  assert 'in run' in said and 'in _watch' in said


def test_steps_of_a_kind_are_let_be(capfd):
  run(*[0.02] * 8, 0.04, times=50.0)
  assert 'watchdog' not in capfd.readouterr().err


def test_nothing_is_said_before_it_knows_how_long_steps_take(capfd):
  run(0.01, 0.3, 0.01)  # the first ones compile
  assert 'watchdog' not in capfd.readouterr().err
