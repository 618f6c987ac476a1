"""How much is too old, so that notices of one thing are not taken for notices of another."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Final, Protocol, TypeVar

from otel_ratelimit.postgres.connection import Transaction
from otel_ratelimit.postgres.retention import Amounts, Retentions
from otel_ratelimit.postgres.sql_files import statements

T = TypeVar("T")

_COUNTED: Final = (
    "rate_limit_analytics",
    "rate_limit_usage",
    "table_writes",
    "query_totals",
    "query_repeats",
    "query_logs",
    "query_templates",
    "partitions",
)


class Attempt(Protocol):
    """Answers `default` where the database refuses something of a table, and notes that."""

    def __call__(self, what: str, act: Callable[[], T], default: T) -> T:
        """What `act` answers of the table `what`, or `default`."""


class OverdueRows:
    """Rows that are too old, by table and service.

    Args:
        transaction: makes one, in which to count.
        attempt: counts, unless the table is missing or too busy.
        kept: the retentions in force.
        days: that have a partition.
    """

    def __init__(
        self,
        transaction: Callable[[], AbstractContextManager[Transaction]],
        attempt: Attempt,
        kept: Retentions,
        days: list[date],
    ) -> None:
        self._transaction = transaction
        self._attempt = attempt
        self._kept = kept
        self._days = days

    def amounts(self, moment: datetime) -> Amounts:
        """What is too old at `moment`: rows, and the bytes of partitions."""
        asked = self._kept.parameters(moment)
        cutoffs = [moment - kept for kept in self._kept.by_service.values()]
        latest = max([moment - self._kept.longest, *cutoffs])
        last_day = latest - timedelta(days=1)
        asked["latest"] = latest
        asked["partitions"] = [
            f"query_logs_{day:%Y%m%d}" for day in self._days if datetime.combine(day, time(), UTC) <= last_day
        ]
        return {table: self._attempt(table, partial(self._count, table, asked), None) for table in _COUNTED}

    def _count(self, table: str, asked: dict[str, object]) -> dict[str, int] | None:
        with self._transaction() as transaction:
            rows = transaction.run(statements("retention")[f"amount_{table}"], asked).rows
        return {str(service): int(amount) for service, amount in rows if amount}
