"""What a counter is stored under, in which shard, and to which network it belongs.

Two kinds of key, each small and of bounded size whatever the client sends:

*Client keys* (`events.Identity.key`): a letter for the kind of client and 32 hexadecimal digits, already
keyed hashes: 6 digits of the client's network, 26 of the client. All its characters are digits in base 32,
so the whole of it reads as one number of 165 bits: no hash, nothing lost, 48 bytes where the text takes 96.
(Case does not count, as in all hexadecimal.) The first 7 digits number the network, each kind of client
apart; the last 5 choose the shard. Other text in that place is hashed, and belongs to one network.

*Text keys* (those that `limits` builds): kept as they are when short and plain, which is quickest; else
hashed. The hash is BLAKE2s (RFC 7693), 160 bits, under a secret made anew in each process, so that nobody
can prepare two texts that collide, or a text that equals another's hash. Their network is that of the
address, or of the client key, in second place (`LIMITER/192.0.2.1/...`); all others belong to one network.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from itertools import accumulate
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from otel_ratelimit.core.identity import ClientKey
from otel_ratelimit.core.route_plan import KIND_LETTERS, NETWORK_DIGITS
from otel_ratelimit.storage.memory_budget import OVERFLOW_BYTES, OVERFLOW_TEXT_BYTES, rounded

KINDS: Final = 32
"""A client key's top five bits are its kind: a digit in base 32."""
OTHER_KIND: Final = 1
"""Kind of a key that does not begin with a letter of `KIND_LETTERS`."""
OTHER_KIND_NAME: Final = "other"
KIND_NAMES: Final[Mapping[int, str]] = MappingProxyType(
    {int(letter, KINDS): kind for kind, letter in KIND_LETTERS.items()}
)
MAX_PLAIN_TEXT: Final = 80
"""Longer text keys are hashed."""
TEXT_SPOT_SHIFT: Final = 12
"""A shard's dict uses a hash's low bits; those that choose the shard must be others."""

KIND_SHIFT: Final = 5 * NETWORK_DIGITS
"""The top bits of a network's number are the kind of client."""

_IDENTITY_LENGTH: Final = 33
_NETWORK_SHIFT: Final = 5 * (_IDENTITY_LENGTH - 1 - NETWORK_DIGITS)
_KEY_KIND_SHIFT: Final = _NETWORK_SHIFT + KIND_SHIFT
_LOWEST: Final = (OTHER_KIND + 1) << _KEY_KIND_SHIFT
_CLIENT_KEY_BYTES: Final = rounded(_LOWEST.__sizeof__())
"""From 161 bits on, as from 165, a number has six digits of CPython's."""
_DIGEST_BYTES: Final = _KEY_KIND_SHIFT // 8
_NO_NETWORK: Final = OTHER_KIND << KIND_SHIFT
_NETWORK_MASK: Final = (1 << KIND_SHIFT) - 1
_match_network: Final = re.compile(
    r"/#([0-9a-f]{9})/"  # a text that was hashed: the network's number
    r"|[^/]*/(?:"
    r"(\d{1,3}\.\d{1,3}\.)[\d.]+"  # the /16 of an IPv4 address
    r"|([0-9a-f]{1,4}:[0-9a-f]{0,4}:[0-9a-f]{0,4}:)[0-9a-f:.]*"  # the /48 of an IPv6 address
    rf"|([bfhiu][0-9a-f]{{{NETWORK_DIGITS}}})[0-9a-f]{{{32 - NETWORK_DIGITS}}}"
    r")/",
    re.ASCII,
).match
_LIMIT: Final = re.compile(r"\d{1,20}/\d{1,10}/[a-z]{1,10}", re.ASCII)
_MAX_LIMIT: Final = 42


class KeyForm(NamedTuple):
    """What a table must know of its keys."""

    masks: tuple[int, ...]
    """masks[n] selects the first n bits of a spot."""
    spot: Callable[[Any, int], int]
    """(key, mask): the index of the key's shard."""
    size: Callable[[Any], int]
    """Bytes the key takes."""
    flat: bool
    """Whether all keys take the same."""
    network: Callable[[Any], int]
    """The number of the client's network, whose top bits are the kind of client (`KIND_SHIFT`)."""
    limit: Callable[[str], str]
    """The limit that a text names, where a table counts several."""
    overflow_bytes: int
    """What an overflow bucket takes."""


def _masks(bits: list[int]) -> tuple[int, ...]:
    return (0, *accumulate((1 << bit for bit in bits), int.__or__))


def _network_of_text(text: str) -> int:
    found = _match_network(text)
    if found is None:
        return _NO_NETWORK
    if found.lastindex == 1:
        return int(found[1], 16)
    # Python's hash of a text is keyed with a secret of the process, which forked children share.
    return _NO_NETWORK | hash(found[found.lastindex or 0]) & _NETWORK_MASK


def network_of(client: str) -> int:
    """The number of the sender's network, where a client's key does not tell it; else 0."""
    return client.network if isinstance(client, ClientKey) else 0


def kind_of(key: int) -> int:
    """The kind of client that a client key counts: a digit in base 32, see `KIND_NAMES`."""
    return key >> _KEY_KIND_SHIFT


def limit_of(text: str) -> str:
    """The limit at the end of a key that `limits` built (`10/1/minute`); empty if there is none."""
    tail = "/".join(text[-_MAX_LIMIT - 1 :].rsplit("/", 3)[1:])
    return tail if _LIMIT.fullmatch(tail) else ""


# Every fifth bit of a client key is 0, a hexadecimal digit being below 16.
CLIENT_KEYS: Final = KeyForm(
    masks=_masks([5 * digit + bit for digit in range(5) for bit in range(4)]),
    spot=int.__and__,
    size=lambda _key: _CLIENT_KEY_BYTES,
    flat=True,
    network=lambda key: key >> _NETWORK_SHIFT,
    limit=lambda _text: "",
    overflow_bytes=OVERFLOW_BYTES,
)
TEXT_KEYS: Final = KeyForm(
    masks=_masks(list(range(20))),
    spot=lambda key, mask: hash(key) >> TEXT_SPOT_SHIFT & mask,
    size=lambda key: key.__sizeof__() + 15 & -16,  # `rounded`, without the call
    flat=False,
    network=_network_of_text,
    limit=limit_of,
    overflow_bytes=OVERFLOW_TEXT_BYTES,
)


class Keys:
    """Makes keys; `secret` keys the hash (1 to 32 bytes)."""

    def __init__(self, secret: bytes) -> None:
        self._keyed = hashlib.blake2s(key=secret, digest_size=_DIGEST_BYTES)

    def of_client(self, client: str) -> int:
        """The key of a client, its kind kept."""
        if len(client) == _IDENTITY_LENGTH:
            try:
                key = int(client, KINDS)
            except ValueError:
                pass
            else:
                # Below, one of the characters was no digit (`_`, a blank, a sign) or the letter a 0 or 1.
                if key >= _LOWEST:
                    return key
        letter = client[:1]
        kind = int(letter, KINDS) if letter in KIND_LETTERS.values() else OTHER_KIND
        return int.from_bytes(self._digest(client), "little") >> KIND_SHIFT | kind << _KEY_KIND_SHIFT

    def of_text(self, text: str) -> str:
        """The key of any text: itself, or its hash."""
        if len(text) <= MAX_PLAIN_TEXT and text.isascii():
            return text
        return f"/#{_network_of_text(text):09x}/{self._digest(text).hex()}"

    def _digest(self, text: str) -> bytes:
        state = self._keyed.copy()
        state.update(text.encode("utf-8", "surrogatepass"))
        return state.digest()
