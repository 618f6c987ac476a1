"""The client's address: from the connection or, behind trusted proxies, from the header that they write.

The header is read from right to left. Each proxy appends the address that it saw, so an entry can only be
trusted if all proxies to its right are trusted. The operator says how far the entries are trusted, by the
networks of the proxies or by their number (`TrustedProxies`). Everything further left is the client's own
claim and is ignored.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from otel_ratelimit.policy.identity.ipv4_in_ipv6 import ipv4_of
from otel_ratelimit.policy.identity.trusted_proxies import Address, TrustedProxies

UNKNOWN_ADDRESS: Final = "unknown"
"""The address of a client for which the server has none, as on a Unix socket."""

_PORT: Final = re.compile(r"^(\d{1,3}(?:\.\d{1,3}){3}):\d+$")
_BRACKETED: Final = re.compile(r"^\[([^\]]+)\](?::[\w.-]+)?$")


def parse_address(text: str) -> Address | None:
    """The address in `text` without port, brackets and zone; None if `text` is not an address.

    An IPv4 address that is written as IPv6 (IPv4-mapped, NAT64) is returned as IPv4.
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
    """The address in one spelling; `unknown` if `text` is not an address."""
    address = parse_address(text)
    return UNKNOWN_ADDRESS if address is None else str(address)


def find_client_address(peer: str, written: str | None, trusted: TrustedProxies) -> str:
    """The address of the client, normalised.

    Args:
        peer: the other end of the connection; empty for a Unix socket.
        written: the header that the proxies write, with all its values joined by commas, or None.
        trusted: which header that is, and which proxies are trusted.
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
    """The entry that the outermost of `hops` proxies wrote, whatever the other entries are.

    With fewer entries, the request did not come through all proxies, and the client may have written the
    leftmost entry. Then only the peer is known.
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
    """The first address from the right that is not a trusted proxy, or the last that such a proxy wrote."""
    for entry in entries:
        address = parse_address(entry)
        if address is None:
            # `unknown`, an obfuscated name or garbage: only the proxy next to it is known.
            return known
        known = str(address)
        if not trusted.trusts(address):
            return known
    return known
