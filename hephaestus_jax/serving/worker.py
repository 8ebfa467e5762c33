"""The thread that runs the engine, and how a server waits for its answers."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncGenerator, Sequence

import jax
from jax.sharding import Mesh

from hephaestus_jax.decode import engine

FAILED = 'failed'  # how an answer ends when the engine broke


class Worker:
  """Steps an engine while there is work. To be used as a context.

  Attributes:
    engine: what it steps.
    failure: what broke the engine; nothing is answered any more.
  """

  def __init__(self, running: engine.Engine, mesh: Mesh | None = None) -> None:
    """
    Args:
      running: the engine.
      mesh: the devices that it was made under.
    """
    self.engine = running
    self.failure: Exception | None = None
    self._mesh = mesh
    self._work = threading.Event()
    self._ending = False
    self._listeners: set[engine.Listener] = set()
    self._thread = threading.Thread(target=self._run, name='engine')

  def __enter__(self) -> 'Worker':
    self._thread.start()
    return self

  def __exit__(self, *_: object) -> None:
    self._ending = True
    self._work.set()
    self._thread.join()

  def _run(self) -> None:
    several = self._mesh is not None and self._mesh.size > 1
    try:
      with jax.set_mesh(self._mesh) if several else contextlib.nullcontext():
        while not self._ending:
          self._work.clear()  # before the step, which may miss what comes now
          if not self.engine.step():
            self._work.wait()
    except Exception as error:
      # Everybody who waits must hear of it; serve.py raises it again.
      logging.getLogger(__name__).exception('The engine broke.')
      self.failure = error
      for listener in tuple(self._listeners):
        listener(engine.Update(None, '', FAILED))

  async def answers(
    self, requests: Sequence[engine.Request]
  ) -> AsyncGenerator[tuple[int, engine.Update], None]:
    """Updates of some requests as they come, each with its request's number.

    Whatever ends the iteration early ends the requests, too.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[int, engine.Update]] = asyncio.Queue()

    def listener(number: int) -> engine.Listener:
      def listen(update: engine.Update) -> None:
        # A loop that is closed has nobody left who waits.
        with contextlib.suppress(RuntimeError):
          loop.call_soon_threadsafe(queue.put_nowait, (number, update))

      return listen

    listeners = [listener(number) for number in range(len(requests))]
    self._listeners.update(listeners)
    under_way: list[engine.Sequence] = []
    try:
      for request, listen in zip(requests, listeners, strict=True):
        under_way.append(self.engine.submit(request, listen))
      self._work.set()
      open_answers = len(requests)
      if self.failure is not None:
        yield 0, engine.Update(None, '', FAILED)
        return
      while open_answers:
        number, update = await queue.get()
        open_answers -= bool(update.finish)
        yield number, update
    finally:
      self._listeners.difference_update(listeners)
      for sequence in under_way:
        sequence.cancel()
      self._work.set()
