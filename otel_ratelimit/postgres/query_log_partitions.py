"""The partitions of `query_logs`, one for each day of UTC: created in advance, dropped when they are too old.

Rows of a day without a partition go to the default partition. They are moved, and the new partition attached,
in one transaction; writers wait only for the end of it.

PostgreSQL's documentation, "Table Partitioning": ATTACH PARTITION locks less than CREATE ... PARTITION OF.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Final

from psycopg2 import sql

from otel_ratelimit.core.errors import DatabaseBusyError
from otel_ratelimit.core.sentences import counted
from otel_ratelimit.postgres.aged_tables import SCHEMA
from otel_ratelimit.postgres.maintenance_session import MaintenanceSession
from otel_ratelimit.postgres.sql_files import statements

_PREFIX: Final = "query_logs_"
_DEFAULT: Final = "query_logs_default"


class QueryLogPartitions:
    """The partitions, during one maintenance run.

    Args:
        session: of the run.

    Attributes:
        postponed: partitions that could be neither created nor dropped, because `query_logs` was in use.
    """

    def __init__(self, session: MaintenanceSession) -> None:
        self.postponed: list[str] = []
        self._session = session
        self._sql = statements("query_log_partitions")

    def days(self) -> list[date]:
        """The days that have a partition; creates the default partition if it is missing.

        Raises:
            DatabaseError: the partitions cannot be read.
        """
        rows = self._session.run(self._sql["partitions"]).rows
        if (_DEFAULT,) not in rows:
            self._session.attempt(_DEFAULT, self._create_default, None)
        return [day for (name,) in rows if (day := _day(name)) is not None]

    def create(
        self, days: Collection[date], *, existing: Collection[date], oldest: datetime
    ) -> dict[date, int | None]:
        """Create partitions of `days`, and of older days that have rows in the default partition.

        Args:
            days: the days of the partitions.
            existing: days that have a partition.
            oldest: earlier rows stay in the default partition.

        Returns:
            Day to the number of rows moved, None for a partition that could not be created now.
        """
        nothing: set[date] = set()
        waiting = self._session.attempt(_DEFAULT, partial(self._days_without, oldest, max(days)), nothing)
        return {day: self._create(day) for day in sorted(waiting.union(days).difference(existing))}

    def drop(self, day: date) -> bool:
        """Drop the partition of `day`; whether that was possible now."""
        if self.postponed:
            self._postpone(day)
            return False
        return self._session.attempt(partition_name(day), partial(self._drop, day), default=False)

    def _create_default(self) -> None:
        """Somebody has dropped it: inserts of rows for days without a partition would fail."""
        self._session.run(self._sql["make_default_partition"])
        self._session.report(f"created {_DEFAULT}, which was missing")

    def _days_without(self, oldest: datetime, last: date) -> set[date]:
        period = {"start": oldest, "end": end_of(last)}
        return {day for (day,) in self._session.run(self._sql["days_without_partition"], period).rows}

    def _create(self, day: date) -> int | None:
        if self.postponed:
            self._postpone(day)
            return None
        return self._session.attempt(partition_name(day), partial(self._create_and_fill, day), None)

    def _create_and_fill(self, day: date) -> int | None:
        period = {"start": start_of(day), "end": end_of(day)}
        try:
            with self._session.transaction() as transaction:
                transaction.run(self._for_day(day, "make_partition"), period)
                # Most rows while writers go on, then those that have arrived meanwhile.
                moved = transaction.run(self._for_day(day, "move_rows"), period).touched
                transaction.run(self._sql["hold_writers"])
                moved += transaction.run(self._for_day(day, "move_rows"), period).touched
                transaction.run(self._for_day(day, "attach_partition"), period)
        except DatabaseBusyError:
            self._postpone(day)
            return None
        also = f", moved {counted(moved, 'row')} to it" if moved else ""
        self._session.report(f"created {partition_name(day)}{also}")
        return moved

    def _drop(self, day: date) -> bool:
        try:
            self._session.run(self._for_day(day, "drop_partition"))
        except DatabaseBusyError:
            self._postpone(day)
            return False
        self._session.report(f"dropped {partition_name(day)}")
        return True

    def _postpone(self, day: date) -> None:
        """Leave `day`, and all later ones, to the next run: another attempt would make writers wait again."""
        self.postponed.append(partition_name(day))
        self._session.report(f"postponed {partition_name(day)}: query_logs is in use")

    def _for_day(self, day: date, statement: str) -> sql.Composed:
        partition = sql.Identifier(SCHEMA, partition_name(day))
        return sql.SQL(self._sql[statement]).format(partition=partition)


def partition_name(day: date) -> str:
    """The name of the partition of `day`."""
    return f"{_PREFIX}{day:%Y%m%d}"


def start_of(day: date) -> datetime:
    """The first moment of `day`, UTC."""
    return datetime.combine(day, time(), UTC)


def end_of(day: date) -> datetime:
    """The first moment after `day`, UTC."""
    return start_of(day + timedelta(days=1))


def _day(name: str) -> date | None:
    """The day of a partition; None for the default partition, and for a partition that somebody else made."""
    try:
        day = datetime.strptime(name.removeprefix(_PREFIX), "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None
    return day if partition_name(day) == name else None
