"""One run of maintenance: creates partitions for the coming days, and deletes rows that are too old.

`query_logs` has a partition for each day, so that a day is deleted by dropping a table and not by deleting
millions of rows (`query_log_partitions`). All other rows are deleted in small transactions (`old_rows`). Work
that a busy table prevents is postponed to the next run; if a table is missing, the others are maintained
anyway.

Days and ages are those of the database's clock; `retention` says what is too old, and `deletion_hold` when
deletion waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from otel_ratelimit.core.errors import SchemaMissingError
from otel_ratelimit.postgres import deletion_hold
from otel_ratelimit.postgres.advisory_lock import try_advisory_lock
from otel_ratelimit.postgres.connection import Database, Transaction
from otel_ratelimit.postgres.deletion_hold import Hold, MaintenanceState, Notices
from otel_ratelimit.postgres.maintenance_session import MaintenanceSession
from otel_ratelimit.postgres.old_rows import OldRows
from otel_ratelimit.postgres.overdue_rows import OverdueRows
from otel_ratelimit.postgres.query_log_partitions import QueryLogPartitions, end_of, partition_name
from otel_ratelimit.postgres.retention import (
    RetentionRequest,
    Retentions,
    announce_retention,
    forget_services,
    load_retentions,
)
from otel_ratelimit.postgres.sql_files import statements

T = TypeVar("T")

LOCK: Final = 0x6F74_656C_726C_0002
"""Key of the advisory lock; the letters are `otelrl`."""
PATIENCE_SECONDS: Final = 60.0
"""The limit of one transaction."""
_RETENTIONS: Final = "service_retention"
_STATE: Final = "maintenance_state"


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceReport:
    """The result of one run."""

    skipped: bool = False
    """Another process is running maintenance; nothing was done."""
    partitions_created: tuple[str, ...] = ()
    partitions_dropped: tuple[str, ...] = ()
    rows_moved: int = 0
    """Rows moved from the default partition to the partition of their day."""
    rows_deleted: Mapping[str, int]
    """Table to the number of rows; dropped partitions do not count."""
    postponed: tuple[str, ...] = ()
    """Partitions that could be neither created nor dropped, because `query_logs` was in use."""
    hold: Hold = field(default_factory=Hold)
    """Why no old row was deleted; falsy if old rows were deleted."""
    failures: tuple[str, ...] = ()
    """Steps that failed, with the error of the database; everything else was done."""
    retention_seconds: Mapping[str, float] = field(default_factory=dict)
    """Service to how long its rows are kept, for services that have announced it."""
    clock_set_back: timedelta = timedelta()
    """How far the database's clock is behind its time at the last run."""


def maintain(
    database: Database,
    request: RetentionRequest,
    *,
    now: datetime,
    announce: bool = False,
    delete_anyway: bool = False,
    days_ahead: int = 3,
    patience_seconds: float = PATIENCE_SECONDS,
    report: Callable[[str], None] = lambda _: None,
) -> MaintenanceReport:
    """Create the partitions of today and of `days_ahead` days, and delete what is too old.

    Args:
        database: the database; its clock says what is old.
        request: how long rows are kept, more than nothing.
        now: by this host's clock, aware; only compared with the database's clock. Days are those of UTC.
        announce: whether a process of the service makes the request, which others must respect from now on;
            otherwise it holds for this run only.
        delete_anyway: delete also if the clocks disagree or rows have been overdue for days.
        days_ahead: number of days for which partitions are created in advance.
        patience_seconds: the limit of one transaction, which may have to move the rows of a day.
        report: called with a sentence for each thing that was done.

    Raises:
        DatabaseError: no connection, or tables of this version are missing; what was done before stays done.
        ValueError: `now` is naive, or another argument is out of range.
    """
    if now.tzinfo is None:
        raise ValueError(f"{now} has no time zone; give an aware time, such as datetime.now(UTC)")
    if request.retention <= timedelta() or days_ahead < 0:
        raise ValueError(
            f"retention {request.retention} must be positive, and days_ahead {days_ahead} not negative"
        )
    if announce:
        with database.session() as session:
            _announce(MaintenanceSession(session, patience_seconds, report), request)
    with try_advisory_lock(database, LOCK, patience_seconds) as is_locked:
        if not is_locked:
            return MaintenanceReport(skipped=True, rows_deleted={})
        with database.session() as session:
            run = _Run(MaintenanceSession(session, patience_seconds, report), request)
            return run.all(now, days_ahead, delete_anyway=delete_anyway)


def announced_services(database: Database) -> list[str]:
    """The services whose processes have announced how long their rows are kept, by name.

    Raises:
        DatabaseError: the database cannot be used, or the tables are missing.
    """
    return [name for name, *_ in database.rows(statements("retention")["retentions"])]


def _announce(session: MaintenanceSession, request: RetentionRequest) -> None:
    # A missing table stops the run itself, or is reported by it.
    with suppress(SchemaMissingError), session.transaction() as transaction:
        announce_retention(transaction, request)


class _Run:
    """One run, while the lock is held."""

    def __init__(self, session: MaintenanceSession, request: RetentionRequest) -> None:
        self._session = session
        self._request = request

    def all(self, host: datetime, days_ahead: int, *, delete_anyway: bool) -> MaintenanceReport:
        now: datetime = self._session.run(statements("maintenance")["clock"]).rows[0][0].astimezone(UTC)
        known = self._read(_RETENTIONS, partial(load_retentions, request=self._request))
        found = self._read(_STATE, deletion_hold.load_state)
        kept, state = known or Retentions({}, self._request.retention), found or MaintenanceState()
        partitions = QueryLogPartitions(self._session)
        days = partitions.days()
        old = OldRows(self._session, kept, days)
        unknown = [table for table, read in ((_RETENTIONS, known), (_STATE, found)) if read is None]
        hold, until = Hold(), now
        if known is None or (unknown and not delete_anyway):
            hold = self._tables_dropped(unknown)
        elif not delete_anyway:
            hold = deletion_hold.clocks_apart(host, now)
            if not hold:
                hold, until = self._overdue(now, kept, state, old, OverdueRows(self._session, kept, days))
        dropped: list[date] = []
        deleted: dict[str, int] = {}
        if not hold:
            # Before rows are moved, because rows that are too old need not be moved.
            dropped = [day for day in days if end_of(day) <= until - kept.longest and partitions.drop(day)]
            deleted = old.delete(until)
            self._note_deletion(until)
        ahead = [now.date() + timedelta(days=day) for day in range(days_ahead + 1)]
        moved = partitions.create(ahead, existing=days, oldest=now - kept.longest)
        return MaintenanceReport(
            partitions_created=tuple(partition_name(day) for day, rows in moved.items() if rows is not None),
            partitions_dropped=tuple(map(partition_name, dropped)),
            rows_moved=sum(rows for rows in moved.values() if rows is not None),
            rows_deleted=deleted,
            postponed=tuple(partitions.postponed),
            hold=hold,
            failures=self._session.failures,
            retention_seconds={name: time.total_seconds() for name, time in kept.by_service.items()},
            clock_set_back=state.set_back(now),
        )

    def _read(self, table: str, read: Callable[[Transaction], T]) -> T | None:
        """Information in `table` about deletion; None if it was dropped, which is noted as a failure."""
        try:
            with self._session.transaction() as transaction:
                return read(transaction)
        except SchemaMissingError as error:
            if not self._session.was_dropped(table):
                raise
            self._session.note_failure(table, error)
            return None

    def _tables_dropped(self, unknown: list[str]) -> Hold:
        if _RETENTIONS in unknown:
            # When it exists again, it does not hold what services announced before.
            forget = statements("deletion_hold")["forget_state"]
            self._session.attempt(_STATE, partial(self._session.run, forget), None)
        return deletion_hold.tables_dropped(unknown)

    def _overdue(
        self, now: datetime, kept: Retentions, state: MaintenanceState, old: OldRows, rows: OverdueRows
    ) -> tuple[Hold, datetime]:
        """A hold if rows are overdue in an unusual way; else no hold, and the moment up to which rows go."""
        oldest = old.oldest_before(now - deletion_hold.OVERDUE)
        if not oldest and state.is_unusual(now):
            oldest = old.oldest_before(now)
        if not oldest:
            return Hold(), now
        notices = state.at(now)
        if notices.is_due(now):
            overdue = rows.amounts(notices.since)
            if notices.count and deletion_hold.is_more(notices.overdue, overdue):
                notices, overdue = Notices(now, now), rows.amounts(now)
            if notices.have_ended(now):
                return Hold(), notices.until
            notices = notices.given(now, overdue)
        with self._session.transaction() as transaction:
            return deletion_hold.overdue_hold(transaction, now, oldest, kept, notices), now

    def _note_deletion(self, until: datetime) -> None:
        self._session.attempt(_RETENTIONS, partial(self._forget_services, until), None)
        deleted = partial(self._session.run, statements("deletion_hold")["deleted"], {"now": until})
        self._session.attempt(_STATE, deleted, None)

    def _forget_services(self, until: datetime) -> None:
        with self._session.transaction() as transaction:
            forget_services(transaction, until)
