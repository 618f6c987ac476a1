"""Counts the rows that are too old, so that a notice about some rows is not taken for one about others."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import partial
from typing import Final

from psycopg2 import sql

from otel_ratelimit.postgres.aged_tables import AGED_TABLES
from otel_ratelimit.postgres.deletion_hold import Amounts
from otel_ratelimit.postgres.maintenance_session import MaintenanceSession
from otel_ratelimit.postgres.query_log_partitions import partition_name, start_of
from otel_ratelimit.postgres.retention import Retentions
from otel_ratelimit.postgres.sql_files import statements

_PARTITIONS: Final = "partitions"


class OverdueRows:
    """Rows that are too old, by table and service.

    Args:
        session: of the maintenance run.
        kept: the retentions in force.
        days: that have a partition of the query log.
    """

    def __init__(self, session: MaintenanceSession, kept: Retentions, days: list[date]) -> None:
        self._session = session
        self._kept = kept
        self._days = days

    def amounts(self, moment: datetime) -> Amounts:
        """The rows that are too old at `moment`, and the bytes of partitions that are."""
        parameters = self._kept.parameters(moment)
        cutoffs = [moment - kept for kept in self._kept.by_service.values()]
        latest = max([moment - self._kept.longest, *cutoffs])
        last_day = latest - timedelta(days=1)
        parameters["latest"] = latest
        parameters[_PARTITIONS] = [partition_name(day) for day in self._days if start_of(day) <= last_day]
        named = statements("old_rows")
        counts: dict[str, str | sql.Composed] = {
            table.name: table.fill(named[table.count]) for table in AGED_TABLES
        }
        counts[_PARTITIONS] = named["partition_bytes"]
        return {
            table: self._session.attempt(table, partial(self._count, statement, parameters), None)
            for table, statement in counts.items()
        }

    def _count(self, statement: str | sql.Composed, parameters: dict[str, object]) -> dict[str, int] | None:
        rows = self._session.run(statement, parameters).rows
        return {str(service): int(amount) for service, amount in rows if amount}
