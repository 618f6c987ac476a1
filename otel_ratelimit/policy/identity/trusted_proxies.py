"""Which proxies are trusted, which header they write, and how far that header is believed.

Networks say which addresses are proxies: the header is read from the right until an entry is not a proxy. A
number of hops says how many proxies are in front of the application, whatever their addresses: the client is
the entry that the outermost of them wrote. With both, the connection must come from one of the networks, and
only the number says how far the header is read.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from otel_ratelimit.core.errors import Problem, SettingsError
from otel_ratelimit.policy.identity.ipv4_in_ipv6 import IPV4_BITS, IPV6_BITS, ipv4_of
from otel_ratelimit.policy.identity.proxy_header import MAX_HOPS, X_FORWARDED_FOR, ProxyHeader

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

VARIABLE: Final = "OTEL_RATELIMIT_TRUSTED_PROXIES"
HOPS_VARIABLE: Final = "OTEL_RATELIMIT_TRUSTED_HOPS"
_EMBEDDING_BITS: Final = IPV6_BITS - IPV4_BITS
UNIX_SOCKET: Final = "unix"
"""The word for a peer on a Unix socket, which has no address."""


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """The networks or the number of the proxies, and the header that they write."""

    networks: tuple[Network, ...] = ()
    unix_socket: bool = False
    """Whether a peer on a Unix socket is a proxy."""
    hops: int = 0
    """How many proxies are in front, including the peer; 0 if not given."""
    header: ProxyHeader = X_FORWARDED_FOR

    @classmethod
    def parse(cls, text: str, hops: int = 0, header: str = "") -> TrustedProxies:
        """Read comma-separated CIDRs, addresses and the word `unix`, a number, and the name of a header.

        Raises:
            SettingsError: with every problem.
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
        written = ProxyHeader.parse(header) if header else X_FORWARDED_FOR
        if isinstance(written, Problem):
            problems.append(written)
            written = X_FORWARDED_FOR
        problems.extend(_wrong_hops(hops, written))
        if problems:
            raise SettingsError(problems)
        return cls(tuple(networks), unix_socket, hops, written)

    def __bool__(self) -> bool:
        return bool(self.networks) or self.unix_socket or self.hops > 0

    def believes(self, peer: Address | None) -> bool:
        """Whether the header is read on a connection from `peer`; None is a Unix socket."""
        if self.networks or self.unix_socket:
            return self.trusts(peer)
        return self.hops > 0

    def trusts(self, address: Address | None) -> bool:
        """Whether this is a trusted proxy; None is a peer on a Unix socket."""
        if address is None:
            return self.unix_socket
        return any(address.version == network.version and address in network for network in self.networks)


def _wrong_hops(hops: int, header: ProxyHeader) -> Iterator[Problem]:
    if isinstance(hops, bool) or not isinstance(hops, int) or not 0 <= hops <= MAX_HOPS:
        what = f"{hops!r} is not a number of proxies"
        yield Problem(HOPS_VARIABLE, what, f"write a number from 1 to {MAX_HOPS}, or remove it")
    elif hops > 1 and header.form == "single":
        yield Problem(
            HOPS_VARIABLE,
            f"{hops} proxies cannot be counted in {header.name}, which holds one address",
            "write 1, or name the networks of your proxies",
        )


def _network(entry: str) -> Network | Problem:
    try:
        network = _unmapped(ipaddress.ip_network(entry))
    except ValueError:
        return Problem(VARIABLE, f"{entry!r} is not a network", _instead(entry))
    if "%" in entry:
        return Problem(
            VARIABLE, f"{entry!r} has a zone, and addresses are compared without zones", "remove the zone"
        )
    if network.prefixlen == 0:
        return Problem(
            VARIABLE,
            f"{entry!r} trusts every address, so that every client could choose its own address",
            "name the networks of your proxies",
        )
    return network


def _unmapped(network: Network) -> Network:
    """The IPv4 network for one that is written as IPv6, because addresses of peers are compared as IPv4."""
    first = ipv4_of(network.network_address) if isinstance(network, ipaddress.IPv6Network) else None
    if first is None or network.prefixlen < _EMBEDDING_BITS:
        return network
    return ipaddress.ip_network((first, network.prefixlen - _EMBEDDING_BITS))


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
