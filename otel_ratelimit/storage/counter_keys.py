"""The key of a counter in the bounded store, the shard that it chooses, and the network that it belongs to.

There are two kinds of key. Each is small, and its size is bounded whatever the client sends:

*Client keys* (`Identity.key`): a letter for the kind of client and 32 hexadecimal digits, already keyed
hashes: 6 digits of the client's network, 26 of the client. All its characters are digits in base 32, so the
key is read as one number of 165 bits. That needs no hash, loses nothing, and takes 48 bytes where the text
takes 96. (Case is ignored, as always in hexadecimal.) The first 7 digits are the number of the network, which
is different for each kind of client; the last 5 digits choose the shard. Any other text in that place is
hashed, and all such texts belong to one network.

*Text keys* (those that `limits` builds): short ASCII texts are kept as they are, which is quickest; others
are hashed. The hash is BLAKE2s (RFC 7693) of 160 bits, with a secret that each process makes for itself, so
that nobody can prepare two texts that collide, or a text that equals the hash of another. The network of such
a key is that of the address, or of the client key, in second place (`LIMITER/192.0.2.1/...`); all other texts
belong to one network.
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
"""The top five bits of a client key are its kind: one digit in base 32."""
OTHER_KIND: Final = 1
"""The kind of a key that does not begin with a letter of `KIND_LETTERS`."""
OTHER_KIND_NAME: Final = "other"
KIND_NAMES: Final[Mapping[int, str]] = MappingProxyType(
    {int(letter, KINDS): kind for kind, letter in KIND_LETTERS.items()}
)
MAX_PLAIN_TEXT: Final = 80
"""Longer text keys are hashed."""
TEXT_SHARD_SHIFT: Final = 12
"""A shard's dict uses the low bits of a hash, so higher bits must choose the shard."""

KIND_SHIFT: Final = 5 * NETWORK_DIGITS
"""The top bits of a network's number are the kind of client."""

_IDENTITY_LENGTH: Final = 33
_NETWORK_SHIFT: Final = 5 * (_IDENTITY_LENGTH - 1 - NETWORK_DIGITS)
_KEY_KIND_SHIFT: Final = _NETWORK_SHIFT + KIND_SHIFT
_LOWEST: Final = (OTHER_KIND + 1) << _KEY_KIND_SHIFT
_CLIENT_KEY_BYTES: Final = rounded(_LOWEST.__sizeof__())
"""CPython stores any number of 161 to 165 bits in six of its digits, so all keys have this size."""
_DIGEST_BYTES: Final = _KEY_KIND_SHIFT // 8
_NO_NETWORK: Final = OTHER_KIND << KIND_SHIFT
_NETWORK_MASK: Final = (1 << KIND_SHIFT) - 1
_match_network: Final = re.compile(
    r"/#([0-9a-f]{9})/"  # the network's number in a key that was hashed
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
    """The properties of keys that a table needs."""

    masks: tuple[int, ...]
    """masks[n] selects the first n bits of a shard's index."""
    shard_index: Callable[[Any, int], int]
    """(key, mask): the index of the key's shard."""
    size: Callable[[Any], int]
    """Bytes the key takes."""
    fixed_size: bool
    """Whether all keys take the same number of bytes."""
    network: Callable[[Any], int]
    """The number of the client's network, whose top bits are the kind of client (`KIND_SHIFT`)."""
    limit: Callable[[str], str]
    """The limit that a text key names, where a table counts several limits."""
    overflow_bytes: int
    """Bytes that an overflow bucket takes."""


def _masks(bits: list[int]) -> tuple[int, ...]:
    return (0, *accumulate((1 << bit for bit in bits), int.__or__))


def _network_of_text(text: str) -> int:
    found = _match_network(text)
    if found is None:
        return _NO_NETWORK
    if found.lastindex == 1:
        return int(found[1], 16)
    # Python keys the hash of a text with a secret of the process, and forked children share that secret.
    return _NO_NETWORK | hash(found[found.lastindex or 0]) & _NETWORK_MASK


def network_of(client: str) -> int:
    """The number of the sender's network, where the client's key does not contain it; otherwise 0."""
    return client.network if isinstance(client, ClientKey) else 0


def kind_of(key: int) -> int:
    """The kind of client that a client key counts: a digit in base 32, see `KIND_NAMES`."""
    return key >> _KEY_KIND_SHIFT


def limit_of(text: str) -> str:
    """The limit at the end of a key that `limits` built (`10/1/minute`); empty if it names no limit."""
    tail = "/".join(text[-_MAX_LIMIT - 1 :].rsplit("/", 3)[1:])
    return tail if _LIMIT.fullmatch(tail) else ""


# Every fifth bit of a client key is 0, because a hexadecimal digit is below 16.
CLIENT_KEYS: Final = KeyForm(
    masks=_masks([5 * digit + bit for digit in range(5) for bit in range(4)]),
    shard_index=int.__and__,
    size=lambda _key: _CLIENT_KEY_BYTES,
    fixed_size=True,
    network=lambda key: key >> _NETWORK_SHIFT,
    limit=lambda _text: "",
    overflow_bytes=OVERFLOW_BYTES,
)
TEXT_KEYS: Final = KeyForm(
    masks=_masks(list(range(20))),
    shard_index=lambda key, mask: hash(key) >> TEXT_SHARD_SHIFT & mask,
    size=lambda key: key.__sizeof__() + 15 & -16,  # `rounded`, without the call
    fixed_size=False,
    network=_network_of_text,
    limit=limit_of,
    overflow_bytes=OVERFLOW_TEXT_BYTES,
)


class CounterKeys:
    """Makes counter keys; `secret` is the key of the hash (at most 32 bytes)."""

    def __init__(self, secret: bytes) -> None:
        self._keyed = hashlib.blake2s(key=secret, digest_size=_DIGEST_BYTES)

    def of_client(self, client: str) -> int:
        """The counter key of a client, with its kind."""
        if len(client) == _IDENTITY_LENGTH:
            try:
                key = int(client, KINDS)
            except ValueError:
                pass
            else:
                # A lower number means that a character was not a digit (`_`, a blank, a sign), or that the
                # letter was 0 or 1.
                if key >= _LOWEST:
                    return key
        letter = client[:1]
        kind = int(letter, KINDS) if letter in KIND_LETTERS.values() else OTHER_KIND
        return int.from_bytes(self._digest(client), "little") >> KIND_SHIFT | kind << _KEY_KIND_SHIFT

    def of_text(self, text: str) -> str:
        """The counter key of any text: the text itself, or its hash."""
        if len(text) <= MAX_PLAIN_TEXT and text.isascii():
            return text
        return f"/#{_network_of_text(text):09x}/{self._digest(text).hex()}"

    def _digest(self, text: str) -> bytes:
        state = self._keyed.copy()
        state.update(text.encode("utf-8", "surrogatepass"))
        return state.digest()
