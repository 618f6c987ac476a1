"""Writes batches of violations and usage: one statement, one round trip, once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from otel_ratelimit.identity.privacy import AddressStyle, address_keeper
from otel_ratelimit.postgres.connection import Database
from otel_ratelimit.postgres.secrets import shared_secret
from otel_ratelimit.postgres.statements import statements
from otel_ratelimit.postgres.text import storable
from otel_ratelimit.records import Batch, UsageRow, Violation


class PostgresBatchWriter:
    """A `BatchWriter` into `rate_limit_analytics` and `rate_limit_usage`.

    Args:
        database: where to.
        service: `service.name` of the application; asked for when the first batch is written.
        addresses: what of a client's address is kept.
        hash_key: secret of hashed addresses; empty means the database's own, made when there is none.
    """

    def __init__(
        self,
        database: Database,
        service: Callable[[], str],
        addresses: AddressStyle = "whole",
        hash_key: bytes = b"",
    ) -> None:
        self._database = database
        self._service = service
        self._addresses = addresses
        self._hash_key = hash_key
        self._keep: Callable[[str], str] | None = None
        self._sql = statements("recorder")

    def write(self, batch: Batch) -> None:
        """Write `batch`, whole or not at all; one that was written before is not written again.

        Raises:
            DatabaseError: it could not be written, or it is not known whether it was.
        """
        if self._keep is None:
            self._keep = address_keeper(self._addresses, self._secret())
        keep = self._keep
        parameters = {
            "id": str(batch.id),
            "service": storable(self._service()),
            "violations": _json(_violation(violation, keep) for violation in batch.violations),
            "usage": _json(_usage(row) for row in batch.usage),
        }
        self._database.rows(self._sql["write_batch"], parameters)

    def close(self) -> None:
        """Give up the connection."""
        self._database.close()

    def _secret(self) -> bytes:
        if self._hash_key or self._addresses != "hashed":
            return self._hash_key
        return shared_secret(self._database)


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


def _json(rows: Iterable[dict[str, Any]]) -> str:
    return json.dumps(list(rows), separators=(",", ":"))


def _optional(text: str | None) -> str | None:
    return None if text is None else storable(text)
