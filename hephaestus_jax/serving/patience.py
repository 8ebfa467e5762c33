"""Connections that are given up: no request comes, or nobody reads.

uvicorn waits for a request's headers as long as a client likes, and for a
reader, too: some that do nothing would hold all connections.
"""

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http import h11_impl

SECONDS = (
  20  # for the headers of a request, and for a reader that reads nothing
)


class Protocol(h11_impl.H11Protocol):
  """uvicorn's HTTP/1.1 on one connection, with an end to its patience."""

  _alarm: asyncio.TimerHandle | None = None

  def connection_made(self, transport: Any) -> None:
    """A client came."""
    super().connection_made(transport)
    if hasattr(socket, 'TCP_USER_TIMEOUT'):  # Linux
      transport.get_extra_info('socket').setsockopt(
        socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SECONDS * 1000
      )
    self._wait()

  def data_received(self, data: bytes) -> None:
    """Some bytes of a request, or of several."""
    super().data_received(data)
    if self._is_idle():
      self._wait()
    else:
      self._stop_waiting()

  def connection_lost(self, exc: Exception | None) -> None:
    """The client went."""
    self._stop_waiting()
    super().connection_lost(exc)

  def _is_idle(self) -> bool:
    """Whether no request is being answered."""
    return self.cycle is None or self.cycle.response_complete

  def _wait(self) -> None:
    # Not put off by further bytes: they may drip.
    if self._alarm is None:
      self._alarm = self.loop.call_later(SECONDS, self._give_up)

  def _stop_waiting(self) -> None:
    if self._alarm is not None:
      self._alarm.cancel()
      self._alarm = None

  def _give_up(self) -> None:
    self._alarm = None
    if self._is_idle():
      self.transport.close()
