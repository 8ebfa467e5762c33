"""What counts is counted once, over all starts of a run."""

import json
import time

import pytest

from hephaestus_jax.observability import goodput


def start(monkeypatch, folder, at):
  monkeypatch.setattr(goodput, '_process_start', lambda: at)
  return goodput.first_start(folder)


def test_the_first_start_is_remembered_over_restarts(tmp_path, monkeypatch):
  folder = tmp_path / 'run'
  assert start(monkeypatch, folder, 100.0) == 100.0
  assert start(monkeypatch, folder, 100.0) == 100.0  # its second stage
  path = folder / goodput.FILE
  path.write_text(path.read_text() + '{"host": "a", "ti')  # killed here
  assert start(monkeypatch, folder, 900.0) == 100.0
  whole = [line for line in path.read_text().splitlines() if line[-1] == '}']
  assert [json.loads(line)['time'] for line in whole] == [100.0, 900.0]


def test_goodput_is_a_share_of_the_wall_clock():
  assert goodput.share(25.0, time.time() - 100.0) == pytest.approx(0.25, 0.01)


def test_a_launch_is_told_once_and_ends_with_the_first_step(monkeypatch):
  monkeypatch.setattr(goodput, '_process_start', lambda: time.time() - 7.0)
  launch = goodput.Launch()
  with launch.part('compile'):
    time.sleep(0.05)
  launch.step(())
  with launch.part('compile'):  # of the next stage
    time.sleep(0.2)
  launch.step(())
  told = launch.values()
  assert told['start_up/imports'] == pytest.approx(7.0, abs=1.0)
  assert 0.05 <= told['start_up/compile'] < 0.2
  assert set(told) == {f'start_up/{x}' for x in ('imports', 'compile', 'total')}
  assert launch.values() == {}
