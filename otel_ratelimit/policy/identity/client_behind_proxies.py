"""The client behind proxies: the entry of the forwarding header that is taken for its address.

The header is read from right to left. Each proxy appends the address that it saw, so an entry can only be
trusted if all proxies to its right are trusted. The operator says how far the entries are trusted, by the
networks of the proxies or by their number (`TrustedProxies`). Everything further left is the client's own
claim and is ignored.
"""

from __future__ import annotations

from collections.abc import Iterator

from otel_ratelimit.policy.identity.client_address import UNKNOWN_ADDRESS, parse_address
from otel_ratelimit.policy.identity.trusted_proxies import TrustedProxies


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
