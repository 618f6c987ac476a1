"""Keeps the tables in order: partitions for the days to come, and nothing older than it should be.

`query_logs` has a partition a day, so that a day is forgotten by dropping a table rather than by deleting
millions of rows. A day's rows go to the default partition if its own is not there yet; they are moved, and
the partition attached, in one transaction, of which writers wait for the end only. Everything else is deleted
in small transactions. Where a table is too busy, that part is put off to the next time.

PostgreSQL's documentation, "Table Partitioning": ATTACH PARTITION locks less than CREATE ... PARTITION OF.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from psycopg2 import sql

from otel_ratelimit.errors import DatabaseBusyError
from otel_ratelimit.postgres.connection import Database, Session, Transaction
from otel_ratelimit.postgres.locks import alone
from otel_ratelimit.postgres.statements import statements

LOCK: Final = 0x6F74_656C_726C_0002
"""Key of the advisory lock; the letters are `otelrl`."""
BATCHES_KEPT: Final = timedelta(days=1)
"""How long a batch may be on its way and still be known when it comes a second time."""
CHUNK_ROWS: Final = 10_000
"""As many are deleted in one transaction."""
PATIENCE_SECONDS: Final = 60.0
"""How long one transaction may take."""
_PREFIX: Final = "query_logs_"
_AGED: Final = (
    "rate_limit_analytics",
    "rate_limit_usage",
    "table_writes",
    "query_totals",
    "query_repeats",
    "query_logs",
    "query_templates",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceReport:
    """What one run did."""

    skipped: bool = False
    """Another process is at it; nothing was done."""
    partitions_created: tuple[str, ...] = ()
    partitions_dropped: tuple[str, ...] = ()
    rows_moved: int = 0
    """From the default partition to their day's."""
    rows_deleted: Mapping[str, int]
    """Table to rows, dropped partitions not counted."""
    postponed: tuple[str, ...] = ()
    """Partitions that could be neither made nor dropped, because their table was in use; no row is lost."""


def maintain(  # noqa: PLR0913 - an operator's choices, each given by name
    database: Database,
    *,
    now: datetime,
    retention: timedelta,
    days_ahead: int = 3,
    patience_seconds: float = PATIENCE_SECONDS,
    report: Callable[[str], None] = lambda _: None,
) -> MaintenanceReport:
    """Make the partitions of today and `days_ahead` days, and delete what is older than `retention`.

    Args:
        database: where.
        now: aware; days are those of UTC.
        retention: how long rows are kept, more than nothing.
        days_ahead: partitions made in advance, days.
        patience_seconds: how long to wait for one transaction, which may be to move a day's rows.
        report: told what has been done, a sentence at a time.

    Raises:
        DatabaseError: no connection, or the database refused something; what was done before stays done.
        ValueError: `now` is naive, or the other figures make no sense.
    """
    if now.tzinfo is None:
        raise ValueError(f"{now} has no time zone; give an aware time, such as datetime.now(UTC)")
    if retention <= timedelta() or days_ahead < 0:
        raise ValueError(f"retention {retention} must be positive, and days_ahead {days_ahead} not negative")
    with alone(database, LOCK, patience_seconds) as is_alone:
        if not is_alone:
            return MaintenanceReport(skipped=True, rows_deleted={})
        with database.session() as session:
            return _Run(session, now.astimezone(UTC), retention, patience_seconds, report).all(days_ahead)


class _Run:
    """One run, while the lock is held."""

    def __init__(
        self,
        session: Session,
        now: datetime,
        retention: timedelta,
        patience_seconds: float,
        report: Callable[[str], None],
    ) -> None:
        self._session = session
        self._patience_seconds = patience_seconds
        self._now = now
        self._cutoff = now - retention
        self._report = report
        self._sql = statements("maintenance")
        self._postponed: list[str] = []

    def all(self, days_ahead: int) -> MaintenanceReport:
        last = self._now.date() + timedelta(days=days_ahead)
        there = self._partitions()
        # Before rows are moved: what is too old need not be.
        dropped = [
            day for day in there if _start(day + timedelta(days=1)) <= self._cutoff and self._drop(day)
        ]
        deleted = {table: self._delete(table, self._cutoff) for table in _AGED}
        deleted["ingested_batches"] = self._delete("ingested_batches", self._now - BATCHES_KEPT)
        wanted = {self._now.date() + timedelta(days=ahead) for ahead in range(days_ahead + 1)}
        wanted |= self._days_without_partition(last)
        moved = {day: self._create(day) for day in sorted(wanted - set(there))}
        return MaintenanceReport(
            partitions_created=tuple(_name(day) for day, rows in moved.items() if rows is not None),
            partitions_dropped=tuple(map(_name, dropped)),
            rows_moved=sum(rows for rows in moved.values() if rows is not None),
            rows_deleted=deleted,
            postponed=tuple(self._postponed),
        )

    def _partitions(self) -> list[date]:
        with self._transaction() as transaction:
            rows = transaction.run(self._sql["partitions"]).rows
        return [day for (name,) in rows if (day := _day(name)) is not None]

    def _days_without_partition(self, last: date) -> set[date]:
        period = {"start": self._cutoff, "end": _start(last + timedelta(days=1))}
        with self._transaction() as transaction:
            return {day for (day,) in transaction.run(self._sql["days_without_partition"], period).rows}

    def _create(self, day: date) -> int | None:
        """Rows moved; None if it could not be made now."""
        if self._postponed:
            self._postpone(day)
            return None
        period = {"start": _start(day), "end": _start(day + timedelta(days=1))}
        try:
            with self._transaction() as transaction:
                transaction.run(self._on(day, "make_partition"), period)
                # Most rows while writers go on, then those that have arrived meanwhile.
                moved = transaction.run(self._on(day, "move_rows"), period).touched
                transaction.run(self._sql["hold_writers"])
                moved += transaction.run(self._on(day, "move_rows"), period).touched
                transaction.run(self._on(day, "attach_partition"), period)
        except DatabaseBusyError:
            self._postpone(day)
            return None
        self._report(f"made {_name(day)}" + (f", moved {moved} rows to it" if moved else ""))
        return moved

    def _drop(self, day: date) -> bool:
        if self._postponed:
            self._postpone(day)
            return False
        try:
            with self._transaction() as transaction:
                transaction.run(self._on(day, "drop_partition"))
        except DatabaseBusyError:
            self._postpone(day)
            return False
        self._report(f"dropped {_name(day)}")
        return True

    def _delete(self, table: str, before: datetime) -> int:
        total, chunk = 0, {"before": before, "chunk": CHUNK_ROWS}
        while True:
            with self._transaction() as transaction:
                deleted = transaction.run(self._sql[f"delete_{table}"], chunk).touched
            total += deleted
            if deleted:
                self._report(f"deleted {total} rows of {table}")
            if deleted < CHUNK_ROWS:
                return total

    def _postpone(self, day: date) -> None:
        """Leave `day`, and all after it, to the next time: whoever tries again makes writers wait again."""
        self._postponed.append(_name(day))
        self._report(f"{_name(day)} is put off: query_logs is in use")

    def _on(self, day: date, statement: str) -> sql.Composed:
        return sql.SQL(self._sql[statement]).format(partition=sql.Identifier("otel_ratelimit", _name(day)))

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        with self._session.transaction(self._patience_seconds) as transaction:
            # The server gives up as well.
            transaction.run(self._sql["begin"], {"milliseconds": int(self._patience_seconds * 1000)})
            yield transaction


def _name(day: date) -> str:
    return f"{_PREFIX}{day:%Y%m%d}"


def _day(name: str) -> date | None:
    """None for a partition that is not one of a day: the default one, or somebody else's."""
    try:
        day = datetime.strptime(name.removeprefix(_PREFIX), "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None
    return day if _name(day) == name else None


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
