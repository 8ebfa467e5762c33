"""Which addresses may be connected to."""

import ipaddress
from typing import Any

import pytest
from scrapy import settings
from twisted.internet import address

from hephaestus_jax.corpus.crawl import addresses


@pytest.mark.parametrize(
  'host',
  [
    *('127.0.0.1', '10.1.2.3', '172.16.0.1', '192.168.0.1', '169.254.169.254'),
    *('0.0.0.0', '100.64.0.1', '224.0.0.1', '255.255.255.255', '192.0.2.1'),
    *('::1', '::', 'fe80::1', 'fe80::1%eth0', 'fc00::1', 'fec0::1', 'ff02::1'),
    *('::ffff:10.0.0.1', '64:ff9b::a00:1', '2002:7f00:1::', '::127.0.0.1'),
    '2001:0:5ef5:79fb:0:59d:f5ff:fffe',  # Teredo, of 10.0.0.1
  ],
)
def test_an_address_that_is_not_public_is_refused(host: str) -> None:
  assert not addresses.may_connect(host, ())


@pytest.mark.parametrize(
  'host', ['93.184.216.34', '2606:2800:220:1::1', '::ffff:93.184.216.34']
)
def test_a_public_address_is_not_refused(host: str) -> None:
  assert addresses.may_connect(host, ())


def test_an_allowed_network_is_open_and_no_other() -> None:
  allowed = [ipaddress.ip_network('127.0.0.2/32')]
  assert addresses.may_connect('127.0.0.2', allowed)
  assert addresses.may_connect('::ffff:127.0.0.2', allowed)
  assert not addresses.may_connect('127.0.0.1', allowed)


class Names:
  """A resolver whose every answer is the next of its list."""

  def __init__(self, *answers: list[str]) -> None:
    self.answers = list(answers)

  def resolveHostName(
    self, receiver: Any, name: str, port: int, *_: Any
  ) -> Any:
    receiver.resolutionBegan(None)
    for host in self.answers.pop(0):
      receiver.addressResolved(address.IPv4Address('TCP', host, port))
    receiver.resolutionComplete()
    return receiver


class Receiver:
  """What Twisted connects to."""

  def __init__(self) -> None:
    self.hosts: list[str] = []
    self.complete = False

  def resolutionBegan(self, resolution: Any) -> None:
    pass

  def addressResolved(self, found: Any) -> None:
    self.hosts.append(found.host)

  def resolutionComplete(self) -> None:
    self.complete = True


def resolver(names: Names, cached: bool) -> addresses.PublicResolver:
  class Reactor:
    nameResolver = names

  class Process:
    pass

  Process.settings = settings.Settings(  # type: ignore[attr-defined]
    {'DNSCACHE_ENABLED': cached, 'ALLOWED_NETWORKS': []}
  )
  return addresses.PublicResolver.from_crawler(Process, Reactor())


def ask(asked: addresses.PublicResolver, name: str) -> list[str]:
  receiver = Receiver()
  asked.resolveHostName(receiver, name, 80)
  assert receiver.complete
  return receiver.hosts


def test_a_name_gives_its_public_addresses_alone() -> None:
  asked = resolver(Names(['10.0.0.1', '93.184.216.34']), cached=False)
  assert ask(asked, 'mixed.test') == ['93.184.216.34']
  assert not asked.refused


@pytest.mark.parametrize('cached', [False, True])
def test_a_name_that_changes_its_address_is_checked_each_time(
  cached: bool,
) -> None:
  name = f'rebinding-{cached}.test'.lower()
  asked = resolver(Names(['93.184.216.34'], ['169.254.169.254']), cached)
  assert ask(asked, name) == ['93.184.216.34']
  again = ask(asked, name)
  assert again == (['93.184.216.34'] if cached else [])
  assert asked.refused == (set() if cached else {name})


def test_a_name_without_an_address_is_not_called_private() -> None:
  asked = resolver(Names([]), cached=False)
  assert ask(asked, 'nowhere.test') == []
  assert not asked.refused
