"""Deletes queries by the retention of the service that ran them, where others keep theirs longer.

No index leads to the rows of one service. So what is too old is looked for between two moments, in the order
of time that each table has: since the last run, usually an hour. Up to when that was done is kept with the
service's retention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Final

from otel_ratelimit.postgres.connection import Transaction
from otel_ratelimit.postgres.retention import OldQueries
from otel_ratelimit.postgres.sql_files import statements

TABLES: Final = ("table_writes", "query_totals", "query_repeats", "query_logs")
LOOK: Final = timedelta(days=1)
"""As much is looked through by one statement: a partition of the query log, or two."""
DELETE: Final = timedelta(minutes=10)
"""As much is deleted in one transaction."""


class QueriesByService:
    """Finds and deletes the queries of one service at a time.

    Args:
        transaction: makes one.
        report: told what has been done, a sentence at a time.
        days: beginnings of those that have a partition of the query log.
    """

    def __init__(
        self,
        transaction: Callable[[], AbstractContextManager[Transaction]],
        report: Callable[[str], None],
        days: Sequence[datetime],
    ) -> None:
        self._transaction = transaction
        self._report = report
        self._days = list(days)
        self._sql = {**statements("retention"), **statements("maintenance")}

    def oldest(self, table: str, old: OldQueries) -> datetime | None:
        """When the first of the old ones was; None where there is none.

        Raises:
            DatabaseError: it cannot be read.
        """
        return next((day.since for day in self._days_with(table, old)), None)

    def delete(self, table: str, old: OldQueries) -> int:
        """Delete the old ones of a table; how many there were.

        Raises:
            DatabaseError: it was refused; what was deleted before stays so.
        """
        total = 0
        for day in self._days_with(table, old):
            deleted = sum(self._delete(table, part) for part in _parts(day))
            self._report(f"deleted {deleted} rows of {table} of the service {old.service}")
            total += deleted
        return total

    def done(self, old: OldQueries) -> None:
        """Note that the old ones of all tables have gone.

        Raises:
            DatabaseError: it was refused.
        """
        with self._transaction() as transaction:
            transaction.run(self._sql["queries_deleted"], old._asdict())

    def _days_with(self, table: str, old: OldQueries) -> Iterator[OldQueries]:
        """Stretches of a day at most that begin with a row of the service, the earliest first."""
        at = old.since
        # Where nobody has a row nothing is looked for: a retention may be a hundred years.
        while (begins := self._moment(f"next_{table}", old._replace(since=at))) is not None:
            at = min(begins + LOOK, old.before)
            first = self._moment(f"oldest_{table}_of_service", OldQueries(old.service, begins, at))
            if first is not None:
                yield OldQueries(old.service, first, at)

    def _moment(self, statement: str, old: OldQueries) -> datetime | None:
        with self._transaction() as transaction:
            rows = transaction.run(self._sql[statement], {**old._asdict(), "days": self._days}).rows
        found: datetime | None = rows[0][0]
        return found

    def _delete(self, table: str, old: OldQueries) -> int:
        with self._transaction() as transaction:
            return transaction.run(self._sql[f"delete_{table}_of_service"], old._asdict()).touched


def _parts(day: OldQueries) -> Iterator[OldQueries]:
    since = day.since
    while since < day.before:
        until = min(since + DELETE, day.before)
        yield OldQueries(day.service, since, until)
        since = until
