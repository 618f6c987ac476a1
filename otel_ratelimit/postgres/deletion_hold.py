"""When rows that are too old are not deleted, because that would more often be a mistake than not.

Deleted rows cannot be restored, so deletion is on hold while

    the clocks of this host and of the database disagree    until they agree
    rows have been overdue for days, or nothing ran         until seven daily notices, see `NOTICES`
    a table that maintenance needs was dropped              until it exists again

Maintenance runs every hour, so the second case means that a clock jumped, a backup was restored, the
application was stopped for days, or a retention was shortened, perhaps by mistake. Notices are about the rows
that were overdue when the first one was given. If more is found later, they start again; if the clock jumps
meanwhile, rows that are old only since then get notices of their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from otel_ratelimit.postgres.connection import Transaction
from otel_ratelimit.postgres.retention import Retentions
from otel_ratelimit.postgres.server_clock import TOLERANCE, apart
from otel_ratelimit.postgres.sql_files import statements

OVERDUE: Final = timedelta(days=3)
"""Rows that had to be deleted longer ago, or that are old after a pause of maintenance longer than this, are
not deleted without notice. A weekend is shorter."""
NOTICES: Final = 7
"""The number of notices before they are deleted."""
NOTICE_EVERY: Final = timedelta(days=1)
"""Notices are counted and not the time that passes: a clock that jumps adds one notice."""
GO_ON: Final = "otel-ratelimit db maintain --delete-anyway"

Held: TypeAlias = Literal["", "clocks", "overdue", "dropped"]
Amounts: TypeAlias = Mapping[str, Mapping[str, int] | None]
"""Table to service to how much of it is too old; None for a table that could not be read."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Why nothing is deleted; falsy where old rows are deleted."""

    kind: Held = ""
    sentence: str = ""
    notices: int = 0
    """The number of notices given, this one included."""

    def __bool__(self) -> bool:
        return bool(self.kind)


def clocks_apart(host: datetime, database: datetime) -> Hold:
    """A hold if the two clocks are too far apart to know what is old."""
    difference = host - database
    if abs(difference) <= TOLERANCE:
        return Hold()
    return Hold(
        "clocks",
        f"the clock of this host says {_moment(host)} and that of the database {_moment(database)},"
        f" {apart(difference)} apart; correct the wrong clock, and old rows are deleted again. If the"
        f" database's clock is right, `{GO_ON}` deletes once",
    )


def tables_dropped(tables: list[str]) -> Hold:
    """A hold if tables that maintenance needs to know what it may delete were dropped."""
    named = " and ".join(f"otel_ratelimit.{table}" for table in tables)
    return Hold(
        "dropped",
        f"without {named} it is unknown which rows may be deleted; restore what was dropped",
    )


@dataclass(frozen=True, slots=True)
class MaintenanceState:
    """The state that earlier runs have stored."""

    last_run_at: datetime | None = None
    """By the database's clock."""
    notices: int = 0
    last_notice_at: datetime | None = None
    overdue_since: datetime | None = None
    """When the first notice was given."""
    overdue_at: datetime | None = None
    """The notices are about rows that are too old at this moment."""
    overdue: Amounts = field(default_factory=dict)
    """How much was too old when the first notice was given."""

    def set_back(self, now: datetime) -> timedelta:
        """How far the database's clock is behind its time at the last run; zero if it is not."""
        if self.last_run_at is None or self.last_run_at - now <= TOLERANCE:
            return timedelta()
        return self.last_run_at - now

    def is_unusual(self, now: datetime) -> bool:
        """Whether rows that look too old may not be.

        No maintenance ran for days, or the last run is unknown, or a notice was given.
        """
        if self.set_back(now):
            return False  # the clock was wrong before, and so were its notices
        return self.notices > 0 or self.last_run_at is None or now - self.last_run_at > OVERDUE

    def at(self, now: datetime) -> Notices:
        """The notices that count at `now`."""
        if not self.notices or self.set_back(now) or self.overdue_since is None or self.overdue_at is None:
            return Notices(now, now)
        passed = now - (self.last_run_at or now)
        # If the clock jumped, rows have not become older by as much.
        until = self.overdue_at + passed if passed <= OVERDUE else self.overdue_at
        since, until = self.overdue_since, max(until, self.overdue_since)
        return Notices(since, until, self.notices, self.last_notice_at, self.overdue)


@dataclass(frozen=True, slots=True)
class Notices:
    """The notices that rows are overdue, and which rows they are about."""

    since: datetime
    """When the first notice was given."""
    until: datetime
    """The notices are about rows that are too old at this moment."""
    count: int = 0
    last_at: datetime | None = None
    overdue: Amounts = field(default_factory=dict)
    """How much was too old at `since`."""

    def is_due(self, now: datetime) -> bool:
        """Whether the next notice is due, or the deletion after the last one."""
        return not self.count or self.last_at is None or abs(now - self.last_at) >= NOTICE_EVERY

    def have_ended(self, now: datetime) -> bool:
        """Whether enough notices were given."""
        return self.count >= NOTICES and self.is_due(now)

    def given(self, now: datetime, overdue: Amounts) -> Notices:
        """These notices and one more."""
        return replace(
            self, count=self.count + 1, last_at=now, overdue=self.overdue if self.count else overdue
        )


def is_more(before: Amounts, now: Amounts) -> bool:
    """Whether more is too old than before, or the amount is no longer known."""
    for table, services in now.items():
        known = before.get(table)
        if services is None:
            if known is not None:
                return True
        elif any(amount > (known or {}).get(service, 0) for service, amount in services.items()):
            return True
    return False


def load_state(transaction: Transaction) -> MaintenanceState:
    """Read what earlier runs have stored."""
    rows = transaction.run(statements("deletion_hold")["state"]).rows
    return MaintenanceState(*rows[0]) if rows else MaintenanceState()


def overdue_hold(
    transaction: Transaction,
    now: datetime,
    oldest: Mapping[str, datetime],
    kept: Retentions,
    notices: Notices,
) -> Hold:
    """A hold because of overdue rows; stores the notice.

    Args:
        transaction: stores the notices.
        now: by the database's clock.
        oldest: table to its oldest overdue row.
        kept: the retentions in force.
        notices: those given, this one included.
    """
    given = {
        "now": now,
        "notices": notices.count,
        "last": notices.last_at,
        "since": notices.since,
        "at": notices.until,
        "overdue": json.dumps(notices.overdue),
    }
    transaction.run(statements("deletion_hold")["save_notices"], given)
    return Hold(
        "overdue",
        f"rows since {_moment(min(oldest.values()))} ({', '.join(sorted(oldest))}) should have been deleted"
        " before, or no maintenance ran for days: a clock may have jumped, a backup may have been restored,"
        f" or a retention may be shorter by mistake. In force: {kept}. They are deleted after {NOTICES} daily"
        f" notices (this is notice {notices.count}), or now by `{GO_ON}`; to keep them, raise [analytics]"
        " retention",
        notices.count,
    )


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M UTC}"
