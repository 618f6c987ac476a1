"""Addresses of clients: parsed, and in one spelling."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from otel_ratelimit.policy.identity.ipv4_in_ipv6 import ipv4_of
from otel_ratelimit.policy.identity.trusted_proxies import Address

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
