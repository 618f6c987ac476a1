"""What of a client's address is kept: the whole of it, its network only, or a keyed hash.

A hash without a key would be no secret: all IPv4 addresses are tried in minutes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

from otel_ratelimit.identity.addresses import parse_address, prefix_of

AddressStyle: TypeAlias = Literal["whole", "masked", "hashed"]

MASKED_IPV4_BITS: Final = 24
MASKED_IPV6_BITS: Final = 48
_DIGEST_BYTES: Final = 16
_KEY_MOST_BYTES: Final = 64


def address_keeper(style: AddressStyle, key: bytes) -> Callable[[str], str]:
    """What becomes of an address by `style`; `key` is the secret of the hashes.

    What is no address (`unknown`, `<other>`) stays as it is.
    """
    if style == "whole":
        return str
    if style == "masked":
        return mask_address
    return lambda address: hash_address(address, key)


def mask_address(address: str) -> str:
    """The network of `address`: /24 of IPv4, /48 of IPv6."""
    parsed = parse_address(address)
    if parsed is None:
        return address
    if parsed.version == 6:  # noqa: PLR2004 - IPv6
        return prefix_of(str(parsed), MASKED_IPV6_BITS)
    return f"{str(parsed).rpartition('.')[0]}.0/{MASKED_IPV4_BITS}"


def hash_address(address: str, key: bytes) -> str:
    """32 hex digits: BLAKE2b (RFC 7693) of the address, keyed."""
    if parse_address(address) is None:
        return address
    return hashlib.blake2b(address.encode(), key=key[:_KEY_MOST_BYTES], digest_size=_DIGEST_BYTES).hexdigest()
