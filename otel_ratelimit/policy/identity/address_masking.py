"""How a client's address is recorded: whole, masked to its network, or as a keyed hash.

A hash without a key would hide nothing, because all IPv4 addresses can be tried in minutes.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

from otel_ratelimit.core.names import OTHER_CLIENTS
from otel_ratelimit.core.secret import SecretKey
from otel_ratelimit.policy.identity.client_address import UNKNOWN_ADDRESS, parse_address
from otel_ratelimit.policy.identity.client_network import prefix_of

AddressStyle: TypeAlias = Literal["whole", "masked", "hashed"]

HIDDEN_TEXT: Final = "<hidden>"
"""The masked form of a text that is not an address, because it may contain one or more addresses."""
_OWN_WORDS: Final = frozenset({UNKNOWN_ADDRESS, OTHER_CLIENTS, HIDDEN_TEXT, ""})
MASKED_IPV4_BITS: Final = 24
MASKED_IPV6_BITS: Final = 48
_DIGEST_BYTES: Final = 16
_MAX_KEY_BYTES: Final = 64


def address_keeper(style: AddressStyle, key: bytes | SecretKey) -> Callable[[str], str]:
    """A function that turns an address into what is recorded; `key` is the secret of the hashes.

    The words for clients without an address (`unknown`, `<other>`) stay as they are. Any other text is masked
    or hashed as a whole: `203.0.113.7, 10.0.0.1` is not an address, but shows two.
    """
    if style == "whole":
        return str
    if style == "masked":
        return mask_address
    secret = SecretKey.of(key)
    return lambda address: hash_address(address, secret)


def mask_address(address: str) -> str:
    """The network of `address`: /24 of IPv4, /48 of IPv6; `HIDDEN_TEXT` for any other text."""
    parsed = parse_address(address)
    if parsed is None:
        return address if address in _OWN_WORDS else HIDDEN_TEXT
    if isinstance(parsed, ipaddress.IPv6Address):
        return prefix_of(str(parsed), MASKED_IPV6_BITS)
    return f"{str(parsed).rpartition('.')[0]}.0/{MASKED_IPV4_BITS}"


def hash_address(address: str, key: bytes | SecretKey) -> str:
    """32 hex digits: BLAKE2b (RFC 7693) of the address in its usual spelling, or of the text, keyed."""
    if address in _OWN_WORDS:
        return address
    parsed = parse_address(address)
    spelt = (address if parsed is None else str(parsed)).encode("utf-8", "replace")
    secret = SecretKey.of(key)
    return hashlib.blake2b(spelt, key=secret.reveal()[:_MAX_KEY_BYTES], digest_size=_DIGEST_BYTES).hexdigest()
