"""Finds tables that somebody has dropped after a migration created them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Final

from otel_ratelimit.core.errors import SchemaMissingError
from otel_ratelimit.postgres.connection import Transaction
from otel_ratelimit.postgres.sql_files import statements

_MADE_BY: Final = {
    "ingested_batches": "0001",
    "rate_limit_analytics": "0001",
    "rate_limit_usage": "0001",
    "query_logs": "0002",
    "query_templates": "0002",
    "table_writes": "0002",
    "query_totals": "0004",
    "query_repeats": "0004",
    "maintenance_state": "0006",
    "service_retention": "0006",
}
"""Table to the number of the migration that creates it."""


class DroppedTables:
    """The dropped tables of a database.

    Args:
        transaction: makes the transaction that looks for them.
    """

    def __init__(self, transaction: Callable[[], AbstractContextManager[Transaction]]) -> None:
        self._transaction = transaction
        self._found: frozenset[str] | None = None

    def has(self, table: str) -> bool:
        """Whether a migration created this table and somebody has dropped it.

        Raises:
            DatabaseError: the database cannot be used.
        """
        if self._found is None:
            asked = {"tables": list(_MADE_BY), "steps": list(_MADE_BY.values())}
            self._found = frozenset()
            # Without the table of versions it is unknown what was created; the caller has the server's error.
            with suppress(SchemaMissingError), self._transaction() as transaction:
                rows = transaction.run(statements("batch_tables")["dropped_tables"], asked).rows
                self._found = frozenset(str(name) for (name,) in rows)
        return table in self._found

    @staticmethod
    def remedy(table: str) -> str:
        """The remedy for a dropped table."""
        return (
            f"the table otel_ratelimit.{table} was dropped; restore it with its indexes and grants, see"
            " docs/schema.md"
        )
