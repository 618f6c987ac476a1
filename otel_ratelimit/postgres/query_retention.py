"""Deletes queries by the retention of the service that ran them, while other services keep theirs longer.

There is no index of the rows of one service. So old rows are looked for between two moments, in the order of
time that each table has: since the last run, usually an hour. The end of that period is stored with the
service's retention.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from psycopg2 import sql

from otel_ratelimit.postgres.aged_tables import AgedTable
from otel_ratelimit.postgres.maintenance_session import MaintenanceSession
from otel_ratelimit.postgres.retention import OldQueries
from otel_ratelimit.postgres.sql_files import statements

LOOK: Final = timedelta(days=1)
"""The period that one statement looks through: one or two partitions of the query log."""
DELETE: Final = timedelta(minutes=10)
"""The period whose rows are deleted in one transaction."""


class QueriesByService:
    """Finds and deletes the queries of one service at a time.

    Args:
        session: of the maintenance run.
        days: the first moments of the days that have a partition of the query log.
    """

    def __init__(self, session: MaintenanceSession, days: Sequence[datetime]) -> None:
        self._session = session
        self._days = list(days)
        self._sql = statements("query_retention")

    def oldest(self, table: AgedTable, old: OldQueries) -> datetime | None:
        """When the first of the old queries ran; None if there are none.

        Raises:
            DatabaseError: the table cannot be read.
        """
        return next((day.since for day in self._days_with(table, old)), None)

    def delete(self, table: AgedTable, old: OldQueries) -> int:
        """Delete the old queries of a table; the number of rows.

        Raises:
            DatabaseError: a deletion failed; earlier ones stay.
        """
        total = 0
        for day in self._days_with(table, old):
            deleted = sum(self._delete(table, part) for part in _parts(day))
            self._session.report(f"deleted {deleted} rows of {table.name} of the service {old.service}")
            total += deleted
        return total

    def done(self, old: OldQueries) -> None:
        """Note that the old queries of all tables have been deleted.

        Raises:
            DatabaseError: that cannot be written.
        """
        self._session.run(statements("retention")["queries_deleted"], old._asdict())

    def _days_with(self, table: AgedTable, old: OldQueries) -> Iterator[OldQueries]:
        """Periods of at most one day that begin with a row of the service, the earliest first."""
        following = self._sql["next_query_logs" if table.name == "query_logs" else "next"]
        oldest = self._sql["oldest_of_service"]
        at = old.since
        # Periods without rows are skipped: a retention may be a hundred years.
        while (begins := self._moment(table.fill(following), old._replace(since=at))) is not None:
            at = min(begins + LOOK, old.before)
            first = self._moment(table.fill(oldest), OldQueries(old.service, begins, at))
            if first is not None:
                yield OldQueries(old.service, first, at)

    def _moment(self, statement: sql.Composed, old: OldQueries) -> datetime | None:
        rows = self._session.run(statement, {**old._asdict(), "days": self._days}).rows
        found: datetime | None = rows[0][0]
        return found

    def _delete(self, table: AgedTable, old: OldQueries) -> int:
        return self._session.run(table.fill(self._sql["delete_of_service"]), old._asdict()).touched


def _parts(day: OldQueries) -> Iterator[OldQueries]:
    since = day.since
    while since < day.before:
        until = min(since + DELETE, day.before)
        yield OldQueries(day.service, since, until)
        since = until
