"""How a log line shows a client's address: as the analytics store it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import Final

from otel_ratelimit.core.errors import DatabaseError
from otel_ratelimit.core.secret import SecretKey
from otel_ratelimit.policy.identity.address_masking import AddressStyle, address_keeper

_logger = logging.getLogger(__name__)

_KEY_BYTES: Final = 32


class ShownAddresses:
    """Turns addresses into the text that may be shown.

    Args:
        style: `[analytics] client_addresses`.
        hash_key: secret of hashed addresses; empty if none was set.
        shared_key: reads the database's secret, so that a hash in the log is the one in the tables; raises
            DatabaseError. None without a database.
    """

    def __init__(
        self,
        style: AddressStyle,
        hash_key: bytes | SecretKey = b"",
        shared_key: Callable[[], bytes] | None = None,
    ) -> None:
        self._style = style
        # An unkeyed hash can be guessed, so a process without a secret generates one.
        self._key = SecretKey.of(hash_key or secrets.token_bytes(_KEY_BYTES))
        self._shared_key = None if hash_key or style != "hashed" else shared_key

    def keeper(self, *, may_wait: bool = True) -> Callable[[str], str]:
        """A function from an address to the text that is shown.

        Args:
            may_wait: whether the database may be asked; otherwise the key of the last call is used.
        """
        if self._shared_key is not None and may_wait:
            try:
                self._key = SecretKey(self._shared_key())
            except DatabaseError as error:
                _logger.debug("the key of hashed addresses cannot be read from the database: %s", error)
        return address_keeper(self._style, self._key)
