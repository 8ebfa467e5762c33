"""The HTTP server around the API, from its first line to a signal."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator

import uvicorn

from hephaestus_jax.serving import app, patience, worker

CONNECTIONS_PER_ANSWER = 2  # more than can be answered or wait; others: 503


def server(
  service: app.Service, key: str | None, shutdown_seconds: int
) -> uvicorn.Server:
  """The server of a service, not yet running.

  Args:
    key: see `app.application`.
    shutdown_seconds: for what is under way when it is told to end.
  """
  answers = service.running.engine.slots + service.limits.waiting
  return uvicorn.Server(
    uvicorn.Config(
      app.application(service, key),
      http=patience.Protocol,
      ws='none',
      lifespan='off',
      log_level='error',
      access_log=False,
      server_header=False,
      limit_concurrency=CONNECTIONS_PER_ANSWER * answers,
      timeout_graceful_shutdown=shutdown_seconds,
    )
  )


def until_signal(
  running: uvicorn.Server,
  thread: worker.Worker,
  listening: socket.socket,
  address: str,
) -> None:
  """Answers requests on a socket until SIGTERM, SIGINT or the engine's end.

  Args:
    address: what the first line says.
  """

  async def run() -> None:
    ending = asyncio.create_task(_broken(thread, running))
    await running.serve(sockets=[listening])
    ending.cancel()

  with _signals_are_no_failure():
    print(address, flush=True)
    asyncio.run(run())


async def _broken(thread: worker.Worker, running: uvicorn.Server) -> None:
  """Ends a server whose engine broke: another process may do better."""
  while thread.failure is None:
    await asyncio.sleep(1)
  running.should_exit = True


@contextlib.contextmanager
def _signals_are_no_failure() -> Iterator[None]:
  """Lets a process that was asked to end do so with status 0.

  uvicorn raises the signal once more when it has ended, for whoever handled it
  before.
  """
  handled = (signal.SIGTERM, signal.SIGINT)
  before = [signal.signal(one, lambda *_: None) for one in handled]
  try:
    yield
  finally:
    for one, handler in zip(handled, before, strict=True):
      signal.signal(one, handler)
