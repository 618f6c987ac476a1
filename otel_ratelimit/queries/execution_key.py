"""The key of an execution, under which a cache would hold its result: a keyed hash, which cannot be reversed.

BLAKE2b (RFC 7693) with the database's secret, 128 bits: at 10⁷ different keys the chance that any two are
equal is 1.5e-25. Without the secret, trying e-mail addresses could find the hash of `WHERE email = '...'`.
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
        started: hashes of contexts, for callers to whom a call of `key` costs too much: copy one, and add the
            text as sent.
    """

    __slots__ = ("_given", "_secret", "started")

    def __init__(self, secret: bytes) -> None:
        self._given = SecretKey(secret)
        self._secret = SecretKey(secret if len(secret) <= _SECRET_BYTES else hashlib.blake2b(secret).digest())
        self.started: dict[bytes, hashlib.blake2b] = {}

    def has(self, secret: bytes) -> bool:
        """Whether these are the keys under `secret`."""
        return self._given == secret

    def key(self, context: bytes, sent: bytes) -> bytes:
        """The key of the text `sent` in `context`: `KEY_BYTES` bytes."""
        state = (self.started.get(context) or self.start(context)).copy()
        state.update(sent)
        return state.digest()

    def start(self, context: bytes) -> hashlib.blake2b:
        """The hash of `context`, which is put into `started`."""
        state = hashlib.blake2b(key=self._secret.reveal(), digest_size=KEY_BYTES)
        # With its length, so that no other pair of context and text makes the same bytes.
        state.update(len(context).to_bytes(8, "big") + context)
        if len(self.started) >= _MAX_CONTEXTS:
            self.started.clear()
        self.started[context] = state
        return state
