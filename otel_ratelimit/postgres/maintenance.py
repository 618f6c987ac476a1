"""Keeps the tables in order: partitions for the days to come, and nothing older than it should be.

`query_logs` has a partition a day, so that a day is forgotten by dropping a table rather than by deleting
millions of rows. A day's rows go to the default partition if its own is not there yet; they are moved, and
the partition attached, in one transaction, of which writers wait for the end only. Everything else is deleted
in small transactions. Where a table is too busy, that part is put off to the next time; where one is missing,
the others are looked after all the same.

Days and ages are those of the database's clock; `retention` says what is too old, and when deletion waits.

PostgreSQL's documentation, "Table Partitioning": ATTACH PARTITION locks less than CREATE ... PARTITION OF.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Final, TypeVar

from psycopg2 import sql

from otel_ratelimit.core.errors import DatabaseBusyError, DatabaseError, SchemaMissingError
from otel_ratelimit.core.sentences import counted
from otel_ratelimit.postgres import retention as too_old
from otel_ratelimit.postgres.advisory_lock import try_advisory_lock
from otel_ratelimit.postgres.connection import Database, Session, Transaction
from otel_ratelimit.postgres.dropped_tables import DroppedTables
from otel_ratelimit.postgres.overdue_rows import OverdueRows
from otel_ratelimit.postgres.query_retention import TABLES as QUERY_TABLES
from otel_ratelimit.postgres.query_retention import QueriesByService
from otel_ratelimit.postgres.retention import Hold, Notices, OldQueries, Retentions, State, Wish
from otel_ratelimit.postgres.sql_files import statements

T = TypeVar("T")

LOCK: Final = 0x6F74_656C_726C_0002
"""Key of the advisory lock; the letters are `otelrl`."""
BATCHES_KEPT: Final = timedelta(days=1)
"""How long a batch may be on its way and still be known when it comes a second time."""
CHUNK_ROWS: Final = 10_000
"""As many are deleted in one transaction."""
PATIENCE_SECONDS: Final = 60.0
"""How long one transaction may take."""
_PREFIX: Final = "query_logs_"
_DEFAULT: Final = "query_logs_default"
_RETENTIONS: Final = "service_retention"
_STATE: Final = "maintenance_state"
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
    hold: Hold = field(default_factory=Hold)
    """Why no old row was deleted; falsy where that was done."""
    failures: tuple[str, ...] = ()
    """What could not be done, and what the database said; the rest was done."""
    retention_seconds: Mapping[str, float] = field(default_factory=dict)
    """Service to how long its rows are kept, as far as services have said so."""
    clock_set_back: timedelta = timedelta()
    """As far the database's clock is behind what it was at the last run."""


def maintain(  # noqa: PLR0913 - an operator's choices, each given by name
    database: Database,
    *,
    now: datetime,
    retention: timedelta,
    service: str | None = None,
    announce: bool = False,
    override: bool = False,
    delete_anyway: bool = False,
    days_ahead: int = 3,
    patience_seconds: float = PATIENCE_SECONDS,
    report: Callable[[str], None] = lambda _: None,
) -> MaintenanceReport:
    """Make the partitions of today and `days_ahead` days, and delete what is too old.

    Args:
        database: where, and whose clock says what is old.
        now: by this host's clock, aware; only compared with the database's. Days are those of UTC.
        retention: how long rows are kept, more than nothing.
        service: whose rows; None: those of services that have not said themselves how long.
        announce: whether a process of the service says so, and others are to respect it from now on; else it
            is for this run.
        override: whether it counts instead of what processes of the service have said; else the longer does.
        delete_anyway: also where the clocks disagree or rows have been overdue for days.
        days_ahead: partitions made in advance, days.
        patience_seconds: how long to wait for one transaction, which may be to move a day's rows.
        report: told what has been done, a sentence at a time.

    Raises:
        DatabaseError: no connection, or tables of this version are missing; what was done before stays done.
        ValueError: `now` is naive, or the other figures make no sense.
    """
    if now.tzinfo is None:
        raise ValueError(f"{now} has no time zone; give an aware time, such as datetime.now(UTC)")
    if retention <= timedelta() or days_ahead < 0:
        raise ValueError(f"retention {retention} must be positive, and days_ahead {days_ahead} not negative")
    wish = Wish(retention, service, overrides=override)
    if announce:
        with database.session() as session:
            _Run(session, patience_seconds, report).announce(wish)
    with try_advisory_lock(database, LOCK, patience_seconds) as is_locked:
        if not is_locked:
            return MaintenanceReport(skipped=True, rows_deleted={})
        with database.session() as session:
            run = _Run(session, patience_seconds, report)
            return run.all(now, wish, days_ahead, delete_anyway=delete_anyway)


def announced_services(database: Database) -> list[str]:
    """The services whose processes have said how long their rows are kept, by name.

    Raises:
        DatabaseError: the database cannot be used, or the tables are missing.
    """
    return [name for name, *_ in database.rows(statements("retention")["retentions"])]


class _Run:
    """One run, while the lock is held."""

    def __init__(self, session: Session, patience_seconds: float, report: Callable[[str], None]) -> None:
        self._session = session
        self._patience_seconds = patience_seconds
        self._report = report
        self._sql = statements("maintenance")
        self._sql_too_old = statements("retention")
        self._dropped = DroppedTables(self._transaction)
        self._by_service = QueriesByService(self._transaction, report, ())
        self._postponed: list[str] = []
        self._failures: dict[str, dict[str, None]] = {}

    def announce(self, wish: Wish) -> None:
        # A table that is missing stops the run, or is said by it.
        with suppress(SchemaMissingError), self._transaction() as transaction:
            too_old.announce(transaction, wish)

    def all(self, host: datetime, wish: Wish, days_ahead: int, *, delete_anyway: bool) -> MaintenanceReport:
        with self._transaction() as transaction:
            now: datetime = transaction.run(self._sql["clock"]).rows[0][0].astimezone(UTC)
        known = self._read(_RETENTIONS, partial(too_old.retentions, wish=wish))
        kept = known or Retentions({}, wish.retention)
        found = self._read(_STATE, too_old.state)
        state = found or State()
        there = self._partitions()
        self._by_service = QueriesByService(self._transaction, self._report, [_start(day) for day in there])
        cutoff = now - kept.longest
        hold, until = Hold(), now
        unknown = [table for table, read in ((_RETENTIONS, known), (_STATE, found)) if read is None]
        if known is None or (unknown and not delete_anyway):
            hold = self._dropped_hold(unknown)
        elif not delete_anyway:
            hold = too_old.clocks_apart(host, now)
            if not hold:
                hold, until = self._overdue(now, kept, there, state)
        dropped: list[date] = []
        deleted: dict[str, int] = {}
        if not hold:
            # Before rows are moved: those that are too old need not be.
            dropped = [day for day in there if _end(day) <= until - kept.longest and self._drop(day)]
            deleted = self._delete_old(until, kept)
        wanted = {now.date() + timedelta(days=ahead) for ahead in range(days_ahead + 1)}
        last = now.date() + timedelta(days=days_ahead)
        none: set[date] = set()
        waiting = self._try(_DEFAULT, partial(self._days_without_partition, cutoff, last), none)
        moved = {day: self._create(day) for day in sorted((wanted | waiting) - set(there))}
        return MaintenanceReport(
            partitions_created=tuple(_name(day) for day, rows in moved.items() if rows is not None),
            partitions_dropped=tuple(map(_name, dropped)),
            rows_moved=sum(rows for rows in moved.values() if rows is not None),
            rows_deleted=deleted,
            postponed=tuple(self._postponed),
            hold=hold,
            failures=tuple(f"{', '.join(what)}: {error}" for error, what in self._failures.items()),
            retention_seconds={name: time.total_seconds() for name, time in kept.by_service.items()},
            clock_set_back=state.set_back(now),
        )

    def _read(self, table: str, read: Callable[[Transaction], T]) -> T | None:
        """What `table` says of deletion; None where it was dropped, which is noted."""
        try:
            with self._transaction() as transaction:
                return read(transaction)
        except SchemaMissingError as error:
            if not self._dropped.has(table):
                raise
            self._note(table, error)
            return None

    def _dropped_hold(self, unknown: list[str]) -> Hold:
        if _RETENTIONS in unknown:
            # When it is there again, it does not hold what services have said before.
            self._try(_STATE, partial(self._run, "not_looked_through"), None)
        return too_old.dropped(unknown)

    def _overdue(
        self, now: datetime, kept: Retentions, there: list[date], state: State
    ) -> tuple[Hold, datetime]:
        """Whether rows are too old in a way that is not usual; else, up to which moment old rows go."""
        oldest = self._oldest_before(now - too_old.OVERDUE, kept, there)
        if not oldest and state.is_unusual(now):
            oldest = self._oldest_before(now, kept, there)
        if not oldest:
            return Hold(), now
        notices, rows = state.at(now), OverdueRows(self._transaction, self._try, kept, there)
        if notices.is_due(now):
            overdue = rows.amounts(notices.since)
            if notices.count and too_old.is_more(notices.overdue, overdue):
                notices, overdue = Notices(now, now), rows.amounts(now)
            if notices.have_ended(now):
                return Hold(), notices.until
            notices = notices.given(now, overdue)
        with self._transaction() as transaction:
            return too_old.overdue_hold(transaction, now, oldest, kept, notices), now

    def _oldest_before(self, moment: datetime, kept: Retentions, there: list[date]) -> dict[str, datetime]:
        """Of the tables that have rows too old at `moment`, the oldest."""
        asked = kept.parameters(moment)
        found = {table: self._try(table, partial(self._oldest, table, asked), None) for table in _AGED}
        oldest = {table: at for table, at in found.items() if at is not None}
        days = [_start(day) for day in there if _end(day) <= moment - kept.longest]
        if days:
            oldest["query_logs"] = min(days[0], oldest.get("query_logs", days[0]))
        for table in QUERY_TABLES:
            for old in kept.old_queries(moment):
                at = self._try(table, partial(self._by_service.oldest, table, old), None)
                if at is not None:
                    oldest[table] = min(at.astimezone(UTC), oldest.get(table, at))
        return oldest

    def _oldest(self, table: str, asked: Mapping[str, object]) -> datetime | None:
        with self._transaction() as transaction:
            found: datetime | None = transaction.run(self._sql_too_old[f"oldest_{table}"], asked).rows[0][0]
        return found and found.astimezone(UTC)

    def _delete_old(self, now: datetime, kept: Retentions) -> dict[str, int]:
        asked = kept.parameters(now)
        deleted = {table: self._try(table, partial(self._delete, table, asked), 0) for table in _AGED}
        batches = {"before": now - BATCHES_KEPT}
        table = "ingested_batches"
        deleted[table] = self._try(table, partial(self._delete, table, batches), 0)
        for old in kept.old_queries(now):
            self._delete_of_service(old, deleted)
        margins = {
            "now": now,
            "longest": too_old.LONGEST,
            "margin": too_old.FORGET_MARGIN,
            "superseded": too_old.SUPERSEDED,
        }
        self._try(_RETENTIONS, partial(self._run, "forget", margins), None)
        self._try(_STATE, partial(self._run, "looked_through", margins), None)
        return deleted

    def _run(self, statement: str, parameters: Mapping[str, object] | None = None) -> None:
        with self._transaction() as transaction:
            transaction.run(self._sql_too_old[statement], parameters)

    def _delete_of_service(self, old: OldQueries, deleted: dict[str, int]) -> None:
        found = {
            table: self._try(table, partial(self._by_service.delete, table, old), None)
            for table in QUERY_TABLES
        }
        for table, rows in found.items():
            deleted[table] += rows or 0
        if None not in found.values():
            self._by_service.done(old)

    def _partitions(self) -> list[date]:
        with self._transaction() as transaction:
            rows = transaction.run(self._sql["partitions"]).rows
        if (_DEFAULT,) not in rows:
            self._try(_DEFAULT, self._make_default, None)
        return [day for (name,) in rows if (day := _day(name)) is not None]

    def _make_default(self) -> None:
        """Somebody has dropped it: rows of days without a partition would be refused."""
        with self._transaction() as transaction:
            transaction.run(self._sql["make_default_partition"])
        self._report(f"made {_DEFAULT}, which was missing")

    def _days_without_partition(self, first: datetime, last: date) -> set[date]:
        period = {"start": first, "end": _end(last)}
        with self._transaction() as transaction:
            return {day for (day,) in transaction.run(self._sql["days_without_partition"], period).rows}

    def _create(self, day: date) -> int | None:
        """Rows moved; None if it could not be made now."""
        if self._postponed:
            self._postpone(day)
            return None
        return self._try(_name(day), partial(self._make, day), None)

    def _make(self, day: date) -> int | None:
        period = {"start": _start(day), "end": _end(day)}
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
        self._report(f"made {_name(day)}" + (f", moved {counted(moved, 'row')} to it" if moved else ""))
        return moved

    def _drop(self, day: date) -> bool:
        if self._postponed:
            self._postpone(day)
            return False
        return self._try(_name(day), partial(self._remove, day), default=False)

    def _remove(self, day: date) -> bool:
        try:
            with self._transaction() as transaction:
                transaction.run(self._on(day, "drop_partition"))
        except DatabaseBusyError:
            self._postpone(day)
            return False
        self._report(f"dropped {_name(day)}")
        return True

    def _delete(self, table: str, asked: Mapping[str, object]) -> int:
        total, chunk = 0, {**asked, "chunk": CHUNK_ROWS}
        while True:
            with self._transaction() as transaction:
                deleted = transaction.run(self._sql[f"delete_{table}"], chunk).touched
            total += deleted
            if deleted:
                self._report(f"deleted {counted(total, 'row')} of {table}")
            if deleted < CHUNK_ROWS:
                return total

    def _try(self, what: str, act: Callable[[], T], default: T) -> T:
        """What `act` answers; where the database refuses it, that is noted, and the rest goes on."""
        try:
            return act()
        except DatabaseError as error:
            if not self._session.is_open:
                raise
            self._note(what, error)
            return default

    def _note(self, what: str, error: DatabaseError) -> None:
        said = str(error)
        if isinstance(error, SchemaMissingError) and self._dropped.has(what):
            said = self._dropped.remedy(what)
        self._failures.setdefault(said, {})[what] = None

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


def _end(day: date) -> datetime:
    return _start(day + timedelta(days=1))


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
