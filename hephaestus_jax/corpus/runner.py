"""How a pipeline is run: which workers do it, and how far they are."""

import contextlib
import logging
import pathlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import tqdm
from apache_beam.options import pipeline_options
from apache_beam.runners import runner as runners
from apache_beam.runners.portability import fn_api_runner
from apache_beam.transforms import environments

from hephaestus_jax import errors

# One worker process per core.
BEAM_OPTIONS = ('--direct_num_workers=0',)
DIRECT = 'DirectRunner'
# Beam's own way of starting a worker prints a page of notes for each.
WORKER = (
  f'{sys.executable} -c "import logging, sys; logging.disable(logging.WARNING);'
  'from apache_beam.runners.worker import sdk_worker_main;'
  'sdk_worker_main.main(sys.argv)"'
)
# Adds transforms; the path is where workers tell their progress, if anybody
# looks there.
Describe = Callable[[beam.Pipeline, pathlib.Path | None], None]


def check_options(beam_options: Sequence[str]) -> None:
  """Checks what can be checked without running anything.

  Raises:
    errors.UserError: there is no such runner.
  """
  name = _standard(beam_options).runner
  try:
    runners.create_runner(name or 'FnApiRunner')
  except (ValueError, ImportError) as error:
    raise errors.UserError(
      f'Beam has no runner {name!r} ({error}). Leave --runner out to build on '
      "this machine, or name one of Beam's: FlinkRunner, SparkRunner, "
      'DataflowRunner, PortableRunner, DirectRunner.'
    ) from None


def run(
  describe: Describe,
  beam_options: Sequence[str],
  *,
  name: str,
  total: int,
  folder: pathlib.Path,
) -> None:
  """Runs the pipeline that `describe` builds, and waits for its end.

  Args:
    describe: adds the transforms.
    beam_options: Beam's command-line options. Without `--runner`, it runs in
      `--direct_num_workers` processes on this machine (0: one per core); with
      `--runner=DirectRunner` in this one, or as `--direct_running_mode` says.
      By itself, Beam would try Prism first, a program that it has to download.
    name: what the progress bar says.
    total: how many elements the pipeline starts from.
    folder: where this machine's workers add a byte to a file for each of them;
      another runner shows progress in its own way.
  """
  for library in ('apache_beam', 'absl'):
    logging.getLogger(library).setLevel(logging.ERROR)
  options = pipeline_options.PipelineOptions(list(beam_options))
  chosen = _standard(beam_options).runner
  if chosen is None:
    processes = fn_api_runner.FnApiRunner(
      environments.SubprocessSDKEnvironment.from_command_string(WORKER)
    )
    ticks = folder / 'ticks'
    with (
      _progress(name, total, ticks),
      beam.Pipeline(processes, options) as begin,
    ):
      describe(begin, ticks)
  else:
    direct = fn_api_runner.FnApiRunner() if chosen == DIRECT else None
    with beam.Pipeline(direct, options) as begin:
      describe(begin, None)


def _standard(beam_options: Sequence[str]) -> pipeline_options.StandardOptions:
  options = pipeline_options.PipelineOptions(list(beam_options))
  return options.view_as(pipeline_options.StandardOptions)


@contextlib.contextmanager
def _progress(name: str, total: int, ticks: pathlib.Path) -> Iterator[None]:
  """Shows how long `ticks` is: Beam's local runner tells nothing meanwhile."""
  ticks.write_bytes(b'')
  ended = threading.Event()
  with tqdm.tqdm(total=total, desc=name, mininterval=1) as bar:

    def follow() -> None:
      while not ended.wait(1):
        bar.update(ticks.stat().st_size - bar.n)

    follower = threading.Thread(target=follow)
    follower.start()
    try:
      yield
    finally:
      ended.set()
      follower.join()
      bar.update(ticks.stat().st_size - bar.n)
  ticks.unlink()


class Tick(beam.DoFn):
  """Passes elements on, and adds a byte to a file for each."""

  def __init__(self, ticks: pathlib.Path | None) -> None:
    self._path = ticks

  def setup(self) -> None:
    """Opens the file, once a worker."""
    self._file = self._path.open('ab', buffering=0) if self._path else None

  def process(self, element: Any) -> Iterator[Any]:
    """As in the class."""
    if self._file:
      self._file.write(b'.')
    yield element

  def teardown(self) -> None:
    """Closes the file."""
    if self._file:
      self._file.close()
