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
from itertools import islice
from typing import Final

from otel_ratelimit.identity.proxies import Address, TrustedProxies

UNKNOWN_ADDRESS: Final = "unknown"
"""The address of a client that the server gives none for, as on a Unix socket."""

MOST_HOPS: Final = 32
"""Entries read from the right; a longer chain of proxies does not occur."""
_MOST_CHARACTERS: Final = 64 * MOST_HOPS

_PAIR: Final = re.compile(r'\s*([\w!#$%&*+.^`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]+))\s*', re.DOTALL)
_ELEMENT: Final = re.compile(rf"(?:{_PAIR.pattern})(?:;(?:{_PAIR.pattern})?)*", re.DOTALL)
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
    if ":" in text:
        text = text.partition("%")[0]
    try:
        address = ipaddress.ip_address(text)
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
    yield from islice(reversed(_whole_entries(header, header[-_MOST_CHARACTERS:].split(","))), MOST_HOPS)


def _forwarded_entries(header: str) -> Iterator[str]:
    """The `for` of each element of Forwarded from right to left; empty where an element has none."""
    entries = _split_outside_quotes(header[-_MOST_CHARACTERS:])
    return map(_for_of, islice(reversed(_whole_entries(header, entries)), MOST_HOPS))


def _whole_entries(header: str, entries: list[str]) -> list[str]:
    """Without the one that was cut in two, which could read as another address."""
    return entries if len(header) <= _MOST_CHARACTERS else entries[1:]


def _for_of(element: str) -> str:
    """The value of the only `for` of a well-formed element; empty otherwise."""
    if _ELEMENT.fullmatch(element) is None:
        return ""
    pairs = [pair.groups() for pair in _PAIR.finditer(element)]
    values = [(quoted, token) for name, quoted, token in pairs if name.lower() == "for"]
    if len(values) != 1:
        return ""
    quoted, token = values[0]
    return token if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)


def _split_outside_quotes(header: str) -> list[str]:
    """The elements of a header, from left to right, told apart from right to left.

    A quotation mark that a client opens and never closes would otherwise swallow, or make a quotation
    of, what the proxies to its right have written.
    """
    elements, end, quoted = [], len(header), False
    for index in range(len(header) - 1, -1, -1):
        character = header[index]
        if character == '"' and not _escaped(header, index):
            quoted = not quoted
        elif character == "," and not quoted:
            elements.append(header[index + 1 : end])
            end = index
    elements.append(header[:end])
    return elements[::-1]


def _escaped(text: str, index: int) -> bool:
    before = text[:index]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1
