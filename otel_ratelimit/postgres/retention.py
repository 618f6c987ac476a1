"""How long rows are kept.

Several services may share the tables. Each announces how long it keeps its rows, and its rows are deleted by
that. Rows without a service, and templates, which services share, are kept as long as the longest retention.

`deletion_hold` says when nothing is deleted although it is too old.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from otel_ratelimit.core.sentences import length_of_time
from otel_ratelimit.core.services import MAX_NAMED, UNNAMED
from otel_ratelimit.postgres.connection import Transaction
from otel_ratelimit.postgres.sql_files import statements

FORGET_MARGIN: Final = timedelta(days=2)
"""A service is forgotten so long after its last row had to be deleted."""
SUPERSEDED: Final = timedelta(days=1)
"""A retention of an earlier deployment counts for so long after its last announcement."""
MAX_RETENTION: Final = timedelta(days=36_500)
"""A longer one would lead to moments before the year 1."""


@dataclass(frozen=True, slots=True)
class RetentionRequest:
    """How long rows are to be kept, as the caller of maintenance requests it."""

    retention: timedelta
    service: str | None = None
    """The service of the rows; None for services that have announced no retention."""
    overrides: bool = False
    """Whether it replaces what processes of the service have announced; else the longer one counts."""


class OldQueries(NamedTuple):
    """Queries of a service that are too old, while those of other services may not be."""

    service: str
    since: datetime
    """Older ones have been deleted."""
    before: datetime


@dataclass(frozen=True, slots=True)
class Retentions:
    """The retentions in force."""

    by_service: Mapping[str, timedelta]
    longest: timedelta
    """For rows without a service, or of a service that nobody runs any more."""
    queries_deleted_before: Mapping[str, datetime] = field(default_factory=dict)
    """For services whose queries were deleted by their own retention: the end of the deleted period."""

    def parameters(self, now: datetime) -> dict[str, object]:
        """The parameters of statements about rows that are too old at `now`."""
        return {
            "services": list(self.by_service),
            "cutoffs": [now - kept for kept in self.by_service.values()],
            "before": now - self.longest,
        }

    def old_queries(self, now: datetime) -> list[OldQueries]:
        """The queries that are too old at `now`, of services with a shorter retention than others."""
        # The longest retention drops partitions of whole days.
        first = now - self.longest - timedelta(days=1)
        found = []
        for name, kept in self.by_service.items():
            before = now - kept
            since = self.queries_deleted_before.get(name, first)
            if since > before:  # a clock was ahead, or the retention is longer now
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


def announce_retention(transaction: Transaction, request: RetentionRequest) -> None:
    """Announce to other processes how long the rows of this process's service are kept."""
    parameters = {"service": request.service, "retention": request.retention}
    if request.service is not None:
        transaction.run(statements("retention")["seen_in_the_future"], parameters)
    transaction.run(statements("retention")["announce"], parameters)


def load_retentions(transaction: Transaction, request: RetentionRequest) -> Retentions:
    """The retentions in force: for each service the longest that its processes have announced."""
    rows = transaction.run(statements("retention")["retentions"]).rows
    found = {service: min(kept, MAX_RETENTION) for service, kept, _ in rows}
    marks = {service: before.astimezone(UTC) for service, _, before in rows if before is not None}
    if request.service is not None:
        said = timedelta() if request.overrides else found.get(request.service, timedelta())
        found[request.service] = max(min(request.retention, MAX_RETENTION), said)
        return Retentions(found, max(found.values()), marks)
    # It is for services that have announced none, such as those of a version that does not announce.
    return Retentions(found, max([min(request.retention, MAX_RETENTION), *found.values()]), marks)


def forget_services(transaction: Transaction, now: datetime) -> None:
    """Remove the retentions of services whose rows have all been deleted."""
    margins = {
        "now": now,
        "longest": MAX_RETENTION,
        "margin": FORGET_MARGIN,
        "superseded": SUPERSEDED,
    }
    transaction.run(statements("retention")["forget"], margins)
