"""One pipeline on three roads: in memory, in two processes, and over gRPC.

The last is Beam's portable job service, a server in a process of its own that
starts its workers in others: the road that Flink, Spark and Dataflow take. Run
from the project's folder, this builds a run's corpus on each road and compares
the bytes (three builds: give it a run with few sources):

    .venv/bin/python tests/portable.py gin/runs/demo.gin runs/portable \
      --gin.SOURCES="['books', 'chatterbot']" ...
"""

import contextlib
import hashlib
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping

from apache_beam.portability import python_urns

from hephaestus_jax.corpus import runner

IN_MEMORY = ('--runner=DirectRunner',)
TWO_PROCESSES = ('--direct_num_workers=2',)
LONGEST_START = 120  # seconds


@contextlib.contextmanager
def job_server(
  folder: pathlib.Path, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[str, ...]]:
  """Starts a job server on a free port; yields Beam's options to use it.

  Args:
    folder: an empty one for the server's files.
    environment: variables for the server and its workers.
  """
  port = folder / 'port'
  log = folder / 'log'
  command = [
    *(sys.executable, '-m'),
    'apache_beam.runners.portability.local_job_service_main',
    f'--port_file={port}',
    f'--staging_dir={folder / "staging"}',
  ]
  with log.open('wb') as out:
    server = subprocess.Popen(
      command,
      stdout=out,
      stderr=out,
      env={**os.environ, **(environment or {})},
      start_new_session=True,
    )
  try:
    start = time.monotonic()
    while not port.exists():
      if server.poll() is not None or time.monotonic() - start > LONGEST_START:
        raise RuntimeError(f'The job server did not start: {log.read_text()}')
      time.sleep(0.1)
    yield (
      '--runner=PortableRunner',
      f'--job_endpoint=localhost:{port.read_text()}',
      f'--environment_type={python_urns.SUBPROCESS_SDK}',
      f'--environment_config={runner.WORKER}',
    )
  finally:
    # Its workers are of the same process group.
    with contextlib.suppress(ProcessLookupError):
      os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def hashes(folder: pathlib.Path) -> dict[str, str]:
  """The digest of every file in a folder, by its path."""
  return {
    str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted(folder.rglob('*'))
    if path.is_file()
  }


def main() -> None:
  run_file, output, *overrides = sys.argv[1:]
  root = pathlib.Path(output)
  root.mkdir(parents=True)
  found = []
  with job_server(root) as over_grpc:
    for name, options in (
      ('in memory', IN_MEMORY),
      ('two processes', TWO_PROCESSES),
      ('job server', over_grpc),
    ):
      start = time.monotonic()
      folder = root / name.replace(' ', '_')
      command = [sys.executable, '-m', 'hephaestus_jax', 'corpus', run_file]
      command += [f'--gin.RUN_DIR={folder}', *overrides]
      command.append(f'--gin.BEAM_OPTIONS={list(options)}')
      subprocess.run(command, check=True)
      files = hashes(folder / 'corpus')
      # It names the folder and the options, which differ.
      files.pop('config.gin')
      found.append(files)
      print(f'{name}: {len(files)} files, {time.monotonic() - start:.0f} s')
  if not found[0] or any(files != found[0] for files in found):
    sys.exit('the corpora differ')
  print('the same bytes')


if __name__ == '__main__':
  main()
