"""What is too old to be kept, and whether it may be deleted now.

Several services may share the tables. Each says how long it wants its rows kept, and its rows go by that.
Rows without a service, and templates, which services share, go by the longest.

What is deleted cannot be had back, so deletion waits where it would be a mistake more often than not:

    the clocks of this host and of the database disagree    until they agree
    rows have been overdue for days, or nothing ran         until it was said on seven days, see `NOTICES`
    a table that says how deletion stands was dropped       until it is there again

Maintenance runs every hour, so the second means that a clock has jumped, a backup was restored, the
application was stopped for days, or a retention was shortened, perhaps by mistake. Notices are for what was
overdue when the first of them was given. Where more of that is found later, they start again; where the clock
leaps meanwhile, what is old only since then gets notices of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple, TypeAlias

from otel_ratelimit.core.sentences import length_of_time
from otel_ratelimit.core.services import MAX_NAMED, UNNAMED
from otel_ratelimit.postgres.connection import Transaction
from otel_ratelimit.postgres.server_clock import TOLERANCE, apart
from otel_ratelimit.postgres.sql_files import statements

OVERDUE: Final = timedelta(days=3)
"""Rows that should have gone longer ago than that, or that are old after nothing ran for so long, are not
deleted without notice. A weekend is shorter."""
NOTICES: Final = 7
"""As often it is said before they are deleted."""
NOTICE_EVERY: Final = timedelta(days=1)
"""Days on which it is said count, not the time that passes: a clock that jumps is one day further."""
FORGET_MARGIN: Final = timedelta(days=2)
"""A service whose last row must have gone so long ago is forgotten."""
SUPERSEDED: Final = timedelta(days=1)
"""A retention that only processes of an earlier deployment had counts so long after the last of them."""

LONGEST: Final = timedelta(days=36_500)
"""What a service may ask for; with more, moments would be before the year 1."""

GO_ON: Final = "otel-ratelimit db maintain --delete-anyway"

Held: TypeAlias = Literal["", "clocks", "overdue", "dropped"]
Amounts: TypeAlias = Mapping[str, Mapping[str, int] | None]
"""Table to service to how much of it is too old; None for a table that could not be looked at."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How long rows are to be kept, as whoever runs maintenance has it."""

    retention: timedelta
    service: str | None = None
    """Whose rows; None: those of services that have said nothing themselves."""
    overrides: bool = False
    """Whether it counts instead of what processes of the service have said."""


class OldQueries(NamedTuple):
    """Queries of a service that are too old, while those of others may not be."""

    service: str
    since: datetime
    """Older ones have gone."""
    before: datetime


@dataclass(frozen=True, slots=True)
class Retentions:
    """Which rows go at a moment."""

    by_service: Mapping[str, timedelta]
    longest: timedelta
    """For rows without a service, or of a service that nobody runs any more."""
    queries_deleted_before: Mapping[str, datetime] = field(default_factory=dict)
    """Of services whose queries were deleted by their own retention: up to when."""

    def parameters(self, now: datetime) -> dict[str, object]:
        """Of statements that look for rows that are too old at `now`."""
        return {
            "services": list(self.by_service),
            "cutoffs": [now - kept for kept in self.by_service.values()],
            "before": now - self.longest,
        }

    def old_queries(self, now: datetime) -> list[OldQueries]:
        """What is too old at `now` of services that keep their queries for less long than others do."""
        # By the longest, the query log goes a day at a time.
        first = now - self.longest - timedelta(days=1)
        found = []
        for name, kept in self.by_service.items():
            before = now - kept
            since = self.queries_deleted_before.get(name, first)
            if since > before:  # a clock was ahead, or they are kept for longer now
                since = first
            if name and kept < self.longest and since < before:
                found.append(OldQueries(name, max(since, first), before))
        return found

    def __str__(self) -> str:
        said = [
            f"{service or UNNAMED} {length_of_time(kept.total_seconds())}"
            for service, kept in sorted(self.by_service.items())
        ]
        more = len(said) - MAX_NAMED
        shown = ", ".join(said[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
        return shown or length_of_time(self.longest.total_seconds())


@dataclass(frozen=True, slots=True)
class Hold:
    """Why nothing is deleted; falsy where something is."""

    kind: Held = ""
    sentence: str = ""
    notices: int = 0
    """How often it was said, this time included."""

    def __bool__(self) -> bool:
        return bool(self.kind)


def announce(transaction: Transaction, wish: Wish) -> None:
    """Let the other processes know how long the rows of this one's service are kept."""
    parameters = {"service": wish.service, "retention": wish.retention}
    if wish.service is not None:
        transaction.run(statements("retention")["seen_in_the_future"], parameters)
    transaction.run(statements("retention")["announce"], parameters)


def retentions(transaction: Transaction, wish: Wish) -> Retentions:
    """Those in force: of each service the longest that its processes have said."""
    rows = transaction.run(statements("retention")["retentions"]).rows
    found = {service: min(kept, LONGEST) for service, kept, _ in rows}
    marks = {service: before.astimezone(UTC) for service, _, before in rows if before is not None}
    if wish.service is not None:
        said = timedelta() if wish.overrides else found.get(wish.service, timedelta())
        found[wish.service] = max(min(wish.retention, LONGEST), said)
        return Retentions(found, max(found.values()), marks)
    # It is that of services that have said nothing: perhaps those of a version that does not.
    return Retentions(found, max([min(wish.retention, LONGEST), *found.values()]), marks)


def clocks_apart(host: datetime, database: datetime) -> Hold:
    """A hold where the two clocks are too far apart for anybody to know what is old."""
    difference = host - database
    if abs(difference) <= TOLERANCE:
        return Hold()
    return Hold(
        "clocks",
        f"the clock of this host says {_moment(host)} and that of the database {_moment(database)},"
        f" {apart(difference)} apart; set the wrong one right, and old rows are deleted again. If the"
        f" database's is right, `{GO_ON}` deletes once",
    )


def dropped(tables: list[str]) -> Hold:
    """A hold where these tables, which say how deletion stands, are not there any more."""
    named = " and ".join(f"otel_ratelimit.{table}" for table in tables)
    return Hold(
        "dropped",
        f"without {named} nobody knows what may be deleted; restore what was dropped, and it goes on",
    )


@dataclass(frozen=True, slots=True)
class State:
    """What earlier runs have left."""

    last_run_at: datetime | None = None
    """By the database's clock."""
    notices: int = 0
    last_notice_at: datetime | None = None
    overdue_since: datetime | None = None
    """When the first of the notices was given."""
    overdue_at: datetime | None = None
    """They are for rows that are too old at this moment."""
    overdue: Amounts = field(default_factory=dict)
    """How much was too old when the first was given."""

    def set_back(self, now: datetime) -> timedelta:
        """As far the database's clock is behind what it was at the last run; zero where it is not."""
        if self.last_run_at is None or self.last_run_at - now <= TOLERANCE:
            return timedelta()
        return self.last_run_at - now

    def is_unusual(self, now: datetime) -> bool:
        """Whether rows that are old by now may not be.

        Nothing ran for days, or nobody knows when something ran last, or a notice was given.
        """
        if self.set_back(now):
            return False  # the clock was wrong before; what was said then is over
        return self.notices > 0 or self.last_run_at is None or now - self.last_run_at > OVERDUE

    def at(self, now: datetime) -> Notices:
        """The notices that count at `now`."""
        if not self.notices or self.set_back(now) or self.overdue_since is None or self.overdue_at is None:
            return Notices(now, now)
        passed = now - (self.last_run_at or now)
        # By as much as the clock leaps, rows have not become older.
        until = self.overdue_at + passed if passed <= OVERDUE else self.overdue_at
        since, until = self.overdue_since, max(until, self.overdue_since)
        return Notices(since, until, self.notices, self.last_notice_at, self.overdue)


@dataclass(frozen=True, slots=True)
class Notices:
    """How often it was said that rows are overdue, and which."""

    since: datetime
    """When it was said first."""
    until: datetime
    """Rows that are too old at this moment are meant."""
    count: int = 0
    last_at: datetime | None = None
    overdue: Amounts = field(default_factory=dict)
    """How much was too old at `since`."""

    def is_due(self, now: datetime) -> bool:
        """Whether it is to be said again, or was said often enough."""
        return not self.count or self.last_at is None or abs(now - self.last_at) >= NOTICE_EVERY

    def have_ended(self, now: datetime) -> bool:
        """Whether it was said often enough."""
        return self.count >= NOTICES and self.is_due(now)

    def given(self, now: datetime, overdue: Amounts) -> Notices:
        """With one more."""
        return replace(
            self, count=self.count + 1, last_at=now, overdue=self.overdue if self.count else overdue
        )


def is_more(before: Amounts, now: Amounts) -> bool:
    """Whether more is too old than before, or it is not known any more."""
    for table, services in now.items():
        known = before.get(table)
        if services is None:
            if known is not None:
                return True
        elif any(amount > (known or {}).get(service, 0) for service, amount in services.items()):
            return True
    return False


def state(transaction: Transaction) -> State:
    """How deletion stands."""
    rows = transaction.run(statements("retention")["state"]).rows
    return State(*rows[0]) if rows else State()


def overdue_hold(
    transaction: Transaction,
    now: datetime,
    oldest: Mapping[str, datetime],
    kept: Retentions,
    notices: Notices,
) -> Hold:
    """A hold because of overdue rows; keeps that it was said.

    Args:
        transaction: in which the count is kept.
        now: by the database's clock.
        oldest: of the tables that have overdue rows, the oldest.
        kept: the retentions in force.
        notices: given, this one included.
    """
    given = {
        "now": now,
        "notices": notices.count,
        "last": notices.last_at,
        "since": notices.since,
        "at": notices.until,
        "overdue": json.dumps(notices.overdue),
    }
    transaction.run(statements("retention")["held"], given)
    return Hold(
        "overdue",
        f"rows since {_moment(min(oldest.values()))} ({', '.join(sorted(oldest))}) should have been deleted"
        " before, or nothing ran for days: a clock may have jumped, a backup may have been restored, or a"
        f" retention may be shorter by mistake. In force: {kept}. They are deleted after {NOTICES} days on"
        f" which this was said (this is day {notices.count}), or now by `{GO_ON}`; to keep them, raise"
        " [analytics] retention",
        notices.count,
    )


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M UTC}"
