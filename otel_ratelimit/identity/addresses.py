"""The client's address: from the peer and, through trusted proxies only, from what they wrote.

`X-Forwarded-For` and `Forwarded` (RFC 7239) are read from right to left: each proxy appends the
address it saw, so an entry is only as good as all the proxies to its right. The first that is not a proxy
of ours is the client. What stands to its left is the client's own claim and is ignored.

A proxy writes one of the two headers and may hand on the other as the client sent it. So where both
come and do not agree, one of them may be forged, and the client is known by the proxy's address only.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from otel_ratelimit.identity.proxies import Address, TrustedProxies

UNKNOWN_ADDRESS: Final = "unknown"
"""The address of a client that the server gives none for, as on a Unix socket."""

MOST_HOPS: Final = 32
"""Entries read from the right; a longer chain of proxies does not occur."""
_MOST_CHARACTERS: Final = 64 * MOST_HOPS

_FORWARDED_FOR: Final = re.compile(r'(?:^|[;\s])for\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;,\s"]+))', re.IGNORECASE)
_PORT: Final = re.compile(r"^(\d{1,3}(?:\.\d{1,3}){3}):\d+$")
_BRACKETED: Final = re.compile(r"^\[([^\]]+)\](?::[\w.-]+)?$")


def parse_address(text: str) -> Address | None:
    """The address in `text` without port, brackets and zone, IPv4-mapped as IPv4; None if it is none."""
    text = text.strip()
    for form in (_BRACKETED, _PORT):
        found = form.match(text)
        if found:
            text = found.group(1)
            break
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def normalise(text: str) -> str:
    """One spelling for each address; `unknown` for what is none."""
    address = parse_address(text)
    return UNKNOWN_ADDRESS if address is None else str(address)


def prefix_of(address: str, ipv6_prefix: int) -> str:
    """What stands for the client's network: the address itself for IPv4, the prefix for IPv6."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network((address, ipv6_prefix), strict=False))


def client_address(
    peer: str, x_forwarded_for: str | None, forwarded: str | None, trusted: TrustedProxies
) -> str:
    """The address of the client, normalised.

    Args:
        peer: the other end of the connection; empty for a Unix socket.
        x_forwarded_for: that header, all its values joined by commas, or None.
        forwarded: likewise (RFC 7239).
        trusted: whose headers are believed.
    """
    nearest = parse_address(peer)
    if nearest is None and peer:
        return UNKNOWN_ADDRESS
    known = UNKNOWN_ADDRESS if nearest is None else str(nearest)
    if not trusted.trusts(nearest) or not (x_forwarded_for or forwarded):
        return known
    answers = {
        _first_stranger(known, entries, trusted)
        for header, entries in (
            (x_forwarded_for, _entries(x_forwarded_for or "")),
            (forwarded, _forwarded_entries(forwarded or "")),
        )
        if header
    }
    # Two proxies' headers that agree are one answer; if they do not, one of them is forged.
    return answers.pop() if len(answers) == 1 else known


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


def _entries(header: str) -> Iterator[str]:
    """Entries of X-Forwarded-For from right to left, a bounded number of them."""
    for count, entry in enumerate(reversed(header[-_MOST_CHARACTERS:].split(","))):
        if count >= MOST_HOPS:
            return
        yield entry


def _forwarded_entries(header: str) -> Iterator[str]:
    """The `for` of each element of Forwarded from right to left; empty where an element has none."""
    for count, element in enumerate(reversed(_split_outside_quotes(header[-_MOST_CHARACTERS:]))):
        if count >= MOST_HOPS:
            return
        found = _FORWARDED_FOR.search(element)
        if found is None:
            yield ""
        else:
            quoted, token = found.groups()
            yield re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else token


def _split_outside_quotes(header: str) -> list[str]:
    elements, start, quoted, escaped = [], 0, False, False
    for index, character in enumerate(header):
        if escaped:
            escaped = False
        elif character == "\\" and quoted:
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            elements.append(header[start:index])
            start = index + 1
    elements.append(header[start:])
    return elements
