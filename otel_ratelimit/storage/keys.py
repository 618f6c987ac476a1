"""From a client's key, or from any text, to the integer a counter is stored under.

`Identity.key` is a letter for the kind of client and 32 hexadecimal digits, a keyed 128-bit hash already.
All of its characters are digits in base 32, so the whole of it reads as one number of 165 bits: no
hash, no copy, nothing lost, 48 bytes where the text takes 96. (Case does not count, as in all hexadecimal.)

Any other text (the keys that `limits` builds, of any length and content) is hashed by BLAKE2s
(RFC 7693) under a key made anew in each process, so that nobody can prepare two texts that collide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from otel_ratelimit.events import KIND_LETTERS

KIND_SHIFT: Final = 160
KINDS: Final = 32
"""A key's top five bits are its kind: a digit in base 32."""
OTHER_KIND: Final = 1
"""Kind of a text that does not begin with a letter of `KIND_LETTERS`."""
KIND_NAMES: Final[Mapping[int, str]] = MappingProxyType(
    {int(letter, KINDS): kind for kind, letter in KIND_LETTERS.items()}
)
LIVE_BITS: Final = tuple(bit for bit in range(30) if bit % 5 != 4)
"""Low bits of a key that are as likely 0 as 1; every fifth is not, a hexadecimal digit being below 16."""

_IDENTITY_LENGTH: Final = 33
_LOWEST: Final = (OTHER_KIND + 1) << KIND_SHIFT
_DIGEST_BYTES: Final = KIND_SHIFT // 8
_OTHER: Final = OTHER_KIND << KIND_SHIFT


class Keys:
    """Makes keys; `secret` keys the hash of free text (1 to 32 bytes)."""

    def __init__(self, secret: bytes) -> None:
        self._copy: Callable[[], hashlib._Hash] = hashlib.blake2s(key=secret, digest_size=_DIGEST_BYTES).copy

    def of_text(self, text: str) -> int:
        """The key of any text."""
        state = self._copy()
        state.update(text.encode("utf-8", "surrogatepass"))
        return int.from_bytes(state.digest(), "little") | _OTHER

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
        return self.of_text(client) ^ _OTHER | kind << KIND_SHIFT
