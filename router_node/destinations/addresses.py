"""Which addresses a webhook may be on: the public internet, and what the operator allows besides.

Names are checked where they are resolved, for each connection anew, and only addresses that passed are connected to: a
name that resolves to something else the second time (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Protocol

from aiohttp.abc import AbstractResolver, ResolveResult

Network = IPv4Network | IPv6Network
_NAT64 = ip_network("64:ff9b::/96")
_LOCAL_NAT64 = ip_network("64:ff9b:1::/48")
_NOBODYS = tuple(
    map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20", "5f00::/16", "fec0::/10", "168.63.129.16/32"))
)
"""Not private by every version of ipaddress, and nobody's web server (RFC 6890, 7526, 9637, 9602, 3879); the last is
where Azure tells its machines about themselves."""


class AddressRefused(OSError):
    """A name or address that is none of the public internet, and is not allowed."""


class Addresses:
    """The rule; ``allowed`` are networks that may be called although they are private."""

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self._allowed: list[Network] = [ip_network(each, strict=False) for each in allowed]

    def may_be_called(self, address: str) -> bool:
        """Tell whether an address is public or allowed; one that carries another inside is judged by both."""
        ip = ip_address(address.partition("%")[0])
        if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        return self.is_allowed(address) or all(_is_public(each) for each in (ip, *_inside(ip)))

    def is_allowed(self, address: str) -> bool:
        """Tell whether the operator allowed this very address."""
        ip = ip_address(address.partition("%")[0])
        mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
        return any((mapped or ip) in network for network in self._allowed)


class Resolving(Protocol):
    """What finds the addresses of names."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name. Raises OSError."""
        ...

    async def close(self) -> None:
        """End."""
        ...


class GuardedResolver(AbstractResolver):
    """A resolver whose answers hold only addresses that the ``rule`` lets pass."""

    def __init__(self, resolver: Resolving, rule: Callable[[str], bool]) -> None:
        self._resolver = resolver
        self._rule = rule

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """See AbstractResolver. Raises AddressRefused when none of the name's addresses passes."""
        found = await self._resolver.resolve(host, port, family)
        allowed = [each for each in found if self._rule(each["host"])]
        if found and not allowed:
            raise AddressRefused(f"{host} is at no address that may be called")
        return allowed

    async def close(self) -> None:
        """See AbstractResolver."""
        await self._resolver.close()


def _is_public(ip: IPv4Address | IPv6Address) -> bool:
    if any(ip in network for network in _NOBODYS):
        return False
    if ip in _NAT64:
        return True  # judged by the address inside
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback)


def _inside(ip: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """Return the IPv4 addresses that an IPv6 address leads to."""
    if not isinstance(ip, IPv6Address):
        return []
    found = [ip.sixtofour, *(ip.teredo or ())]
    if ip in _NAT64 or ip in _LOCAL_NAT64:
        found.append(IPv4Address(int(ip) & 0xFFFFFFFF))
    return [each for each in found if each is not None]
