"""The coarse network of a client: what one attacker may well have the whole of.

A site is given up to a /48 of IPv6 (RFC 6177), and an IPv4 /16 is about the most that one owner rents. The
counter store shares its room between such networks, so that nobody fills it alone.
"""

from __future__ import annotations

import ipaddress
from typing import Final

IPV6_BITS: Final = 48
IPV4_OCTETS: Final = 2


def coarse_network(address: str, ipv6_prefix: int) -> str:
    """The /16 or /48 of a normalised address, or coarser where `ipv6_prefix` is; other text as it is."""
    if ":" in address:
        return f"{int(ipaddress.IPv6Address(address)) >> 128 - min(IPV6_BITS, ipv6_prefix):x}"
    return ".".join(address.split(".")[:IPV4_OCTETS])
