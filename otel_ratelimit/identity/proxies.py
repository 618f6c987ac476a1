"""Whose forwarding headers are believed."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from otel_ratelimit.errors import Problem, SettingsError

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

VARIABLE: Final = "OTEL_RATELIMIT_TRUSTED_PROXIES"
_MAPPED_BITS: Final = 96
UNIX_SOCKET: Final = "unix"
"""Stands for a peer on a Unix socket, which has no address."""


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """Networks of proxies, and whether a peer on a Unix socket is one."""

    networks: tuple[Network, ...] = ()
    unix_socket: bool = False

    @classmethod
    def parse(cls, text: str) -> TrustedProxies:
        """From comma-separated CIDRs and addresses, and the word `unix`.

        Raises:
            SettingsError: with every entry that is not one.
        """
        networks: list[Network] = []
        problems: list[Problem] = []
        unix_socket = False
        for entry in (part.strip() for part in text.split(",")):
            if not entry:
                continue
            if entry == UNIX_SOCKET:
                unix_socket = True
                continue
            network = _network(entry)
            if isinstance(network, Problem):
                problems.append(network)
            else:
                networks.append(network)
        if problems:
            raise SettingsError(problems)
        return cls(tuple(networks), unix_socket)

    def __bool__(self) -> bool:
        return bool(self.networks) or self.unix_socket

    def trusts(self, address: Address | None) -> bool:
        """Whether this is a proxy of ours; None is a peer on a Unix socket."""
        if address is None:
            return self.unix_socket
        return any(address.version == network.version and address in network for network in self.networks)


def _network(entry: str) -> Network | Problem:
    try:
        network = _unmapped(ipaddress.ip_network(entry))
    except ValueError:
        return Problem(VARIABLE, f"{entry!r} is not a network", _instead(entry))
    if "%" in entry:
        return Problem(VARIABLE, f"{entry!r} has a zone, and addresses are compared without", "leave it away")
    if network.prefixlen == 0:
        return Problem(
            VARIABLE,
            f"{entry!r} trusts everybody, so that every client could choose its own address",
            "name the networks of your proxies",
        )
    return network


def _unmapped(network: Network) -> Network:
    """IPv4-mapped networks as IPv4, since peers' addresses are compared so."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED_BITS:
        return network
    return ipaddress.ip_network((mapped, network.prefixlen - _MAPPED_BITS))


def _instead(entry: str) -> str:
    try:
        network = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        network = None
    if network is not None and network.prefixlen > 0:
        return f"did you mean {network}?"
    return "write an address (10.0.0.7), a CIDR (10.0.0.0/8, 2001:db8::/32) or the word unix"


def private(addresses: Iterable[Address]) -> bool:
    """Whether all are addresses of private or loopback networks."""
    return all(address.is_private for address in addresses)
