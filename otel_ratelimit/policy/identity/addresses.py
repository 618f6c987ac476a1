"""The client's address: from the peer and, through trusted proxies only, from the header that they write.

The header is read from right to left: each proxy appends the address it saw, so an entry is only as good
as all the proxies to its right. The operator says how far the entries are believed, by naming the networks
of the proxies or by counting them (`TrustedProxies`). What stands further left is the client's own claim and
is ignored.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from otel_ratelimit.policy.identity.ipv4_in_ipv6 import client_prefix, ipv4_of, one_client
from otel_ratelimit.policy.identity.proxies import Address, TrustedProxies

UNKNOWN_ADDRESS: Final = "unknown"
"""The address of a client that the server gives none for, as on a Unix socket."""

_PORT: Final = re.compile(r"^(\d{1,3}(?:\.\d{1,3}){3}):\d+$")
_BRACKETED: Final = re.compile(r"^\[([^\]]+)\](?::[\w.-]+)?$")


def parse_address(text: str) -> Address | None:
    """The address in `text` without port, brackets and zone, None if it is none.

    IPv4 that is written as IPv6 (IPv4-mapped, NAT64) is IPv4.
    """
    text = text.strip()
    for form in (_BRACKETED, _PORT):
        found = form.match(text)
        if found:
            text = found.group(1)
            break
    if ":" in text:
        text = text.partition("%")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return ipv4_of(address) or address
    return address


def normalise(text: str) -> str:
    """One spelling for each address; `unknown` for what is none."""
    address = parse_address(text)
    return UNKNOWN_ADDRESS if address is None else str(address)


def prefix_of(address: str, ipv6_prefix: int) -> str:
    """The network of an address: itself for IPv4, the prefix for IPv6."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network((address, ipv6_prefix), strict=False))


def client_network(address: str, ipv6_prefix: int) -> str:
    """What stands for the client in its key: its network, or the IPv4 client that an IPv6 address carries."""
    if ":" not in address:
        return address
    parsed = ipaddress.IPv6Address(address)
    return one_client(parsed) or prefix_of(address, client_prefix(parsed, ipv6_prefix))


def client_address(peer: str, written: str | None, trusted: TrustedProxies) -> str:
    """The address of the client, normalised.

    Args:
        peer: the other end of the connection; empty for a Unix socket.
        written: the header that the proxies write, all its values joined by commas, or None.
        trusted: which header that is, and how far it is believed.
    """
    nearest = parse_address(peer)
    if nearest is None and peer:
        return UNKNOWN_ADDRESS
    known = UNKNOWN_ADDRESS if nearest is None else str(nearest)
    if not written or not trusted.believes(nearest):
        return known
    entries = trusted.header.entries(written)
    if trusted.hops:
        return _counted(known, entries, trusted.hops)
    return _first_stranger(known, entries, trusted)


def _counted(known: str, entries: Iterator[str], hops: int) -> str:
    """The entry that the outermost of `hops` proxies wrote, whatever the others say.

    Where there are fewer, the request did not come through all of them, and whoever came in between may have
    written the leftmost: the peer is all that is known.
    """
    nearest = known
    for number, entry in enumerate(entries, start=1):
        address = parse_address(entry)
        if address is not None:
            nearest = str(address)
        if number == hops:
            return nearest
    return known


def _first_stranger(known: str, entries: Iterator[str], trusted: TrustedProxies) -> str:
    """Walks from the nearest entry on; answers the last address that is vouched for."""
    for entry in entries:
        address = parse_address(entry)
        if address is None:
            # `unknown`, an obfuscated name or garbage: the proxy next to it is all that is known.
            return known
        known = str(address)
        if not trusted.trusts(address):
            return known
    return known
