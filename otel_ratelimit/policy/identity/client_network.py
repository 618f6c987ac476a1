"""Which addresses are one client, and which clients are one network.

One client: an IPv4 address, or the leading bits of an IPv6 address that `[identity] ipv6_prefix` says (64 by
default). An IPv6 address that carries an IPv4 address counts as that IPv4 client (`core/ipv4_in_ipv6.py`).

One network: the addresses that a single attacker may well own, a /48 of IPv6, which is the most that a site
gets (RFC 6177), or a /16 of IPv4, which is about the most that one owner rents. The counter store divides its
memory between such networks, so that none of them can fill it alone.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from otel_ratelimit.policy.identity.ipv4_in_ipv6 import client_prefix, one_client

NETWORK_IPV6_BITS: Final = 48
NETWORK_IPV4_OCTETS: Final = 2


def prefix_of(address: str, ipv6_prefix: int) -> str:
    """An IPv4 address as it is, or the network of an IPv6 address with a prefix of so many bits."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network((address, ipv6_prefix), strict=False))


def one_client_of(address: str, ipv6_prefix: int) -> str:
    """The part of a key that identifies the client: a prefix, or the IPv4 client that the address carries."""
    if ":" not in address:
        return address
    parsed = ipaddress.IPv6Address(address)
    return one_client(parsed) or prefix_of(address, client_prefix(parsed, ipv6_prefix))


def coarse_network(address: str, ipv6_prefix: int) -> str:
    """The /16 or /48 of a normalised address, or the prefix of one client if that is shorter than /48.

    Other text than an address is returned unchanged.
    """
    if ":" in address:
        return f"{int(ipaddress.IPv6Address(address)) >> 128 - min(NETWORK_IPV6_BITS, ipv6_prefix):x}"
    return ".".join(address.split(".")[:NETWORK_IPV4_OCTETS])
