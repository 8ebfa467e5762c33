"""Keeps a crawl off private networks, by the address that is connected to.

A name may resolve to a private address, a page may redirect to one, and a name
may resolve to another address each time it is asked. So the check stands
between the resolver and the connection: Twisted connects to the very addresses
that it is handed here, and to no others.
"""

import ipaddress
from collections.abc import Sequence
from typing import Any

from scrapy import resolver
from twisted.internet import interfaces
from zope.interface import implementer

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_NAT64 = ipaddress.IPv6Network('64:ff9b::/96')


def may_connect(host: str, allowed: Sequence[Network]) -> bool:
  """Whether an address is public, or lies in a network that is allowed.

  >>> may_connect('93.184.216.34', ())
  True
  >>> may_connect('::ffff:10.0.0.1', ())
  False
  >>> may_connect('127.0.0.1', [ipaddress.ip_network('127.0.0.0/8')])
  True
  """
  address = _inner(ipaddress.ip_address(host.partition('%')[0]))
  if any(address in network for network in allowed):
    return True
  special = address.is_multicast or address.is_reserved
  if isinstance(address, ipaddress.IPv6Address):
    special = special or address.is_site_local
  return address.is_global and not special


def _inner(address: Address) -> Address:
  """The IPv4 address that an IPv6 address carries, if it carries one."""
  if isinstance(address, ipaddress.IPv6Address):
    if address in _NAT64:
      return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return (
      address.ipv4_mapped
      or address.sixtofour
      or (teredo[1] if teredo else None)
      or address
    )
  return address


@implementer(interfaces.IHostnameResolver)
class PublicResolver(resolver.CachingHostnameResolver):
  """Resolves names to those of their addresses that may be connected to.

  Attributes:
    refused: hosts of which no address was left.
  """

  def __init__(self, reactor: Any, cache_size: int) -> None:
    super().__init__(reactor, cache_size)
    self.allowed: list[Network] = []
    self.refused: set[str] = set()

  @classmethod
  def from_crawler(cls, crawler: Any, reactor: Any) -> 'PublicResolver':
    """Scrapy's way of making it; reads the setting ALLOWED_NETWORKS."""
    made: PublicResolver = super().from_crawler(crawler, reactor)
    networks = crawler.settings.getlist('ALLOWED_NETWORKS')
    made.allowed = [ipaddress.ip_network(network) for network in networks]
    return made

  def resolveHostName(  # noqa: N802
    self,
    resolutionReceiver: Any,  # noqa: N803
    hostName: str,  # noqa: N803
    portNumber: int = 0,  # noqa: N803
    addressTypes: Any = None,  # noqa: N803
    transportSemantics: str = 'TCP',  # noqa: N803
  ) -> Any:
    """Twisted's question; literal addresses come this way too."""
    sieve: Any = _Sieve(self, resolutionReceiver, hostName)
    return super().resolveHostName(
      sieve, hostName, portNumber, addressTypes, transportSemantics
    )


@implementer(interfaces.IResolutionReceiver)
class _Sieve:
  """Hands addresses on, without those that may not be connected to."""

  def __init__(self, owner: PublicResolver, inner: Any, name: str) -> None:
    self._owner = owner
    self._inner = inner
    self._name = name
    self._kept = self._dropped = 0

  def resolutionBegan(self, resolution: Any) -> None:  # noqa: N802
    self._inner.resolutionBegan(resolution)

  def addressResolved(self, address: Any) -> None:  # noqa: N802
    if may_connect(address.host, self._owner.allowed):
      self._kept += 1
      self._inner.addressResolved(address)
    else:
      self._dropped += 1

  def resolutionComplete(self) -> None:  # noqa: N802
    if self._dropped and not self._kept:
      self._owner.refused.add(self._name.lower())
    self._inner.resolutionComplete()
