"""Writes batches of violations and usage: each once, with one statement and one round trip."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from otel_ratelimit.analytics.records import Batch, UsageRow, Violation
from otel_ratelimit.core.clock import unix_time
from otel_ratelimit.core.errors import DatabaseError
from otel_ratelimit.core.secret import SecretKey
from otel_ratelimit.policy.identity.address_masking import AddressStyle, address_keeper
from otel_ratelimit.postgres.batch_tables import BatchTables, Part
from otel_ratelimit.postgres.connection import Database
from otel_ratelimit.postgres.hash_key import shared_secret
from otel_ratelimit.postgres.storable_text import json_rows, storable

_logger = logging.getLogger(__name__)

_PARTS: Final = (
    Part("rate_limit_analytics", "0001", "violations"),
    Part("rate_limit_usage", "0001", "requests of the usage"),
)
_MAX_SECRETS: Final = 3
"""How often the secret may change while one batch is written."""
KEY_REPLACED: Final = (
    "the secret in otel_ratelimit.hash_keys was deleted or replaced: clients are hashed with the new one from"
    " now on, so their hashes change"
)


class PostgresAnalyticsWriter:
    """A `BatchWriter` into `rate_limit_analytics` and `rate_limit_usage`.

    Args:
        database: the database.
        service: returns `service.name` of the application; called for each batch.
        addresses: which part of a client's address is kept.
        hash_key: key of hashed addresses; empty for the database's own, which is created if missing.
        host_clock: Unix time of the clock that stamps decisions, seconds.
    """

    def __init__(
        self,
        database: Database,
        service: Callable[[], str],
        addresses: AddressStyle = "whole",
        hash_key: bytes | SecretKey = b"",
        host_clock: Callable[[], float] = unix_time,
    ) -> None:
        self._database = database
        self._service = service
        self._addresses = addresses
        self._hash_key = SecretKey.of(hash_key)
        self._secret: SecretKey | None = None
        self._tables = BatchTables(
            database, "analytics_writer", _PARTS, what="analytics", host_clock=host_clock
        )

    def write(self, batch: Batch) -> None:
        """Write `batch` completely or not at all; a batch that was written before is not written again.

        Raises:
            PartWrittenError: everything was written except the rows of tables that were dropped.
            DatabaseError: it could not be written, or it is unknown whether it was.
        """
        if self._hash_key or self._addresses != "hashed":
            self._write(batch, address_keeper(self._addresses, self._hash_key), None)
            return
        for _ in range(_MAX_SECRETS):
            if self._secret is None:
                self._secret = SecretKey(shared_secret(self._database))
            if self._write(batch, address_keeper(self._addresses, self._secret), self._secret):
                return
            # Nothing was written with it: other processes use another secret by now.
            self._secret = None
            _logger.warning(KEY_REPLACED)
        raise DatabaseError("the secret in otel_ratelimit.hash_keys keeps changing")

    def close(self) -> None:
        """Log losses that are not logged yet, and close the connections."""
        self._tables.close()
        self._database.close()

    def _write(self, batch: Batch, keep: Callable[[str], str], secret: SecretKey | None) -> bool:
        parameters = {
            "id": str(batch.id),
            "service": storable(self._service()),
            "violations": json_rows(_violation(violation, keep) for violation in batch.violations),
            "usage": json_rows(_usage(row) for row in batch.usage),
        }
        amounts = {
            "rate_limit_analytics": batch.recorded,
            "rate_limit_usage": sum(row.requests for row in batch.usage),
        }
        return self._tables.write(parameters, amounts, None if secret is None else secret.reveal())


def _violation(violation: Violation, keep: Callable[[str], str]) -> dict[str, Any]:
    return {
        "occurred_at": violation.occurred_at,
        "last_at": violation.last_at,
        "endpoint": storable(violation.endpoint),
        "method": storable(violation.method),
        "client": keep(storable(violation.client)),
        "user_id": _optional(violation.user_id),
        "tier": storable(violation.tier),
        "limit_text": storable(violation.limit_text),
        "limit_value": violation.limit_value,
        "limit_seconds": violation.limit_seconds,
        "current_count": violation.current_count,
        "user_agent": _optional(violation.user_agent),
        "trace_id": _optional(violation.trace_id),
        "shadow": violation.shadow,
        "n": violation.n,
    }


def _usage(row: UsageRow) -> dict[str, Any]:
    percents = sorted(row.utilization)
    return {
        "minute": row.minute,
        "endpoint": storable(row.endpoint),
        "method": storable(row.method),
        "tier": storable(row.tier),
        "decision": row.decision.value,
        "limit_text": storable(row.limit_text),
        "limit_value": row.limit_value,
        "limit_seconds": row.limit_seconds,
        "requests": row.requests,
        "utilization": percents,
        "utilization_n": [row.utilization[percent] for percent in percents],
        "clients_n": [row.clients.get(percent, 0) for percent in percents],
    }


def _optional(text: str | None) -> str | None:
    return None if text is None else storable(text)
