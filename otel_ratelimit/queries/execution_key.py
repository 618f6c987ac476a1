"""What a cache would hold an execution under: a keyed hash, from which nothing can be read back.

BLAKE2b (RFC 7693) with the database's secret, 128 bits: at 10⁷ different keys the chance that any two are
equal is 1.5e-25. Without the secret a hash of `WHERE email = '...'` could be found by trying e-mail
addresses.
"""

from __future__ import annotations

import hashlib
from typing import Final

from otel_ratelimit.core.secret import SecretKey

KEY_BYTES: Final = 16
_MAX_CONTEXTS: Final = 1024
_SECRET_BYTES: Final = hashlib.blake2b.MAX_KEY_SIZE


class ExecutionKeys:
    """Keys under one secret.

    Args:
        secret: shared by all processes that write to one database, at least 16 bytes.

    Attributes:
        begun: hashes of contexts, for whoever cannot afford a call of `key`: copy one, add what was sent.
    """

    __slots__ = ("_given", "_secret", "begun")

    def __init__(self, secret: bytes) -> None:
        self._given = SecretKey(secret)
        self._secret = SecretKey(secret if len(secret) <= _SECRET_BYTES else hashlib.blake2b(secret).digest())
        self.begun: dict[bytes, hashlib.blake2b] = {}

    def has(self, secret: bytes) -> bool:
        """Whether these are the keys under `secret`."""
        return self._given == secret

    def key(self, context: bytes, sent: bytes) -> bytes:
        """The key of `sent`, asked in `context`: `KEY_BYTES` bytes."""
        state = (self.begun.get(context) or self.begin(context)).copy()
        state.update(sent)
        return state.digest()

    def begin(self, context: bytes) -> hashlib.blake2b:
        """The hash of `context`, put into `begun`."""
        state = hashlib.blake2b(key=self._secret.reveal(), digest_size=KEY_BYTES)
        # With its length, so that no other context and text are the same bytes.
        state.update(len(context).to_bytes(8, "big") + context)
        if len(self.begun) >= _MAX_CONTEXTS:
            self.begun.clear()
        self.begun[context] = state
        return state
