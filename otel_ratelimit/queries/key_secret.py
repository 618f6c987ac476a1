"""The secret of the keys, which is in the database: when it is read, and what happens when it changes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from otel_ratelimit.core.deadline import is_over
from otel_ratelimit.core.errors import DatabaseError
from otel_ratelimit.queries.execution_key import ExecutionKeys

_logger = logging.getLogger(__name__)

SECRET_RETRY_SECONDS: Final = 5.0
SECRET_SECONDS: Final = 60.0
"""How long a secret is used before the database is asked whether there is a newer one."""
KEY_REPLACED: Final = (
    "the secret in otel_ratelimit.hash_keys was deleted or replaced: queries are hashed with the new one from"
    " now on, and repeats of queries from before are not recognised"
)


class KeySecret:
    """Reads the secret from time to time.

    Args:
        read: returns the secret; may ask the database; raises `DatabaseError`.
        monotonic: seconds.
    """

    def __init__(self, read: Callable[[], bytes], monotonic: Callable[[], float]) -> None:
        self._read = read
        self._monotonic = monotonic
        self._read_at = 0.0

    def newer(self, keys: ExecutionKeys | None) -> ExecutionKeys | None:
        """Keys under the secret if it is time to read it and it is not that of `keys`; otherwise None."""
        now = self._monotonic()
        if now < self._read_at:
            return None
        try:
            secret = self._read()
        except DatabaseError as error:
            if not is_over():  # otherwise a deadline cut it short, which says nothing about the next time
                self._read_at = now + SECRET_RETRY_SECONDS
            _logger.debug("the secret of the query log's keys cannot be read: %s", error)
            return None
        self._read_at = now + SECRET_SECONDS
        if keys is not None:
            if keys.has(secret):
                return None
            _logger.warning(KEY_REPLACED)
        return ExecutionKeys(secret)
