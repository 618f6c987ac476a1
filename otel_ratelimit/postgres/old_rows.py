"""Finds and deletes rows that are older than the retentions in force, in small transactions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import partial
from typing import Final

from psycopg2 import sql

from otel_ratelimit.core.sentences import counted
from otel_ratelimit.postgres.aged_tables import AGED_TABLES, QUERY_TABLES, AgedTable
from otel_ratelimit.postgres.batch_tables import BATCHES_KEPT
from otel_ratelimit.postgres.maintenance_session import MaintenanceSession
from otel_ratelimit.postgres.query_log_partitions import end_of, start_of
from otel_ratelimit.postgres.query_retention import QueriesByService
from otel_ratelimit.postgres.retention import OldQueries, Retentions
from otel_ratelimit.postgres.sql_files import statements

CHUNK_ROWS: Final = 10_000
"""Rows deleted in one transaction."""
_BATCHES: Final = "ingested_batches"


class OldRows:
    """The rows that are too old, except those in partitions of the query log.

    Args:
        session: of the maintenance run.
        kept: the retentions in force.
        days: that have a partition of the query log.
    """

    def __init__(self, session: MaintenanceSession, kept: Retentions, days: list[date]) -> None:
        self._session = session
        self._kept = kept
        self._days = days
        self._sql = statements("old_rows")
        self._by_service = QueriesByService(session, [start_of(day) for day in days])

    def oldest_before(self, moment: datetime) -> dict[str, datetime]:
        """The oldest row of each table that has rows too old at `moment`, partitions included."""
        parameters = self._kept.parameters(moment)
        oldest: dict[str, datetime] = {}
        for table in AGED_TABLES:
            at = self._session.attempt(table.name, partial(self._oldest, table, parameters), None)
            if at is not None:
                oldest[table.name] = at
        days = [start_of(day) for day in self._days if end_of(day) <= moment - self._kept.longest]
        if days:
            oldest["query_logs"] = min(days[0], oldest.get("query_logs", days[0]))
        for table in QUERY_TABLES:
            for old in self._kept.old_queries(moment):
                at = self._session.attempt(table.name, partial(self._by_service.oldest, table, old), None)
                if at is not None:
                    oldest[table.name] = min(at.astimezone(UTC), oldest.get(table.name, at))
        return oldest

    def delete(self, now: datetime) -> dict[str, int]:
        """Delete the rows that are too old at `now`; table to the number of rows."""
        parameters = self._kept.parameters(now)
        deleted: dict[str, int] = {}
        for table in AGED_TABLES:
            delete = partial(self._delete, table.name, table.fill(self._sql[table.delete]), parameters)
            deleted[table.name] = self._session.attempt(table.name, delete, 0)
        batches = {"before": now - BATCHES_KEPT}
        delete = partial(self._delete, _BATCHES, self._sql["delete_batches"], batches)
        deleted[_BATCHES] = self._session.attempt(_BATCHES, delete, 0)
        for old in self._kept.old_queries(now):
            self._delete_of_service(old, deleted)
        return deleted

    def _oldest(self, table: AgedTable, parameters: Mapping[str, object]) -> datetime | None:
        statement = table.fill(self._sql[table.oldest])
        found: datetime | None = self._session.run(statement, parameters).rows[0][0]
        return found and found.astimezone(UTC)

    def _delete(self, table: str, statement: str | sql.Composed, parameters: Mapping[str, object]) -> int:
        total, chunk = 0, {**parameters, "chunk": CHUNK_ROWS}
        while True:
            deleted = self._session.run(statement, chunk).touched
            total += deleted
            if deleted:
                self._session.report(f"deleted {counted(total, 'row')} of {table}")
            if deleted < CHUNK_ROWS:
                return total

    def _delete_of_service(self, old: OldQueries, deleted: dict[str, int]) -> None:
        found = {
            table.name: self._session.attempt(table.name, partial(self._by_service.delete, table, old), None)
            for table in QUERY_TABLES
        }
        for table, rows in found.items():
            deleted[table] += rows or 0
        if None not in found.values():
            self._by_service.done(old)
