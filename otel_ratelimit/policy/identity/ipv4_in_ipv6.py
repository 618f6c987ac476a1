"""IPv4 addresses inside IPv6 addresses: which are the same host, and which only name one client each.

    ::ffff:192.0.2.1        IPv4-mapped (RFC 4291)       the IPv4 address, spelled otherwise
    64:ff9b::192.0.2.1      NAT64, SIIT-DC (RFC 6052)    the same: a translator of the network writes it
    64:ff9b:1::/48          local NAT64 (RFC 8215)       each address is one IPv4 client, at no fixed place
    2002:c000:201::/48      6to4 (RFC 3056)              one IPv4 host has the whole /48
    2001:0::/32             Teredo (RFC 4380)            the last 32 bits, inverted, are the client's IPv4
    ::192.0.2.1             IPv4-compatible (RFC 4291)   one IPv4 client, never trusted as one

The first two are believed to be that IPv4 address wherever addresses are compared. The others come from
outside of the operator's network: they decide which counter a client has, never whom the operator trusts.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Final

NAT64: Final = IPv6Network("64:ff9b::/96")
LOCAL_NAT64: Final = IPv6Network("64:ff9b:1::/48")
IPV4_BITS: Final = 32
IPV6_BITS: Final = 128

_NAT64_START: Final = int(NAT64.network_address) >> IPV4_BITS
_SIX_TO_FOUR: Final = 0x2002
_SIX_TO_FOUR_BITS: Final = 48
_LAST_OWN_ADDRESS: Final = 0xFFFF
"""Addresses in ::/96 up to this one are IPv6's own, such as `::1`, and not those of IPv4 hosts."""


def ipv4_of(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that `address` is another spelling of; None if it is none."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    number = int(address)
    if number >> IPV4_BITS == _NAT64_START:
        return IPv4Address(number & 0xFFFFFFFF)
    return None


def one_client(address: IPv6Address) -> str | None:
    """Stands for the only client behind an address that carries an IPv4 address; None for all others."""
    if address.teredo is not None:
        return f"teredo {address.teredo[1]}"
    if address in LOCAL_NAT64:
        return str(address)
    number = int(address)
    if _LAST_OWN_ADDRESS < number < 1 << IPV4_BITS:
        return str(IPv4Address(number))
    return None


def client_prefix(address: IPv6Address, bits: int) -> int:
    """How many bits of `address` stand for one client, where it is `bits` for others."""
    if int(address) >> (IPV6_BITS - 16) == _SIX_TO_FOUR:
        return min(bits, _SIX_TO_FOUR_BITS)
    return bits
