"""The rows that the recorder writes to the database.

Violation    a refusal: client, endpoint and limit; equal refusals share one row with a count
UsageRow     one minute of one endpoint, method, tier, decision and limit, summed up
Batch        rows that are written together, once
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from otel_ratelimit.core.decision import DecisionKind

OTHER_LIMITS: Final = "<other>"
"""Endpoint, method, tier and limit of violations that are summed up because there are too many of these."""
REFUSED_PERCENT: Final = 101
"""In histograms of use: this limit refused the request."""


@dataclass(frozen=True, slots=True)
class Violation:
    """Requests of one client at one endpoint that one limit refused: a row of `rate_limit_analytics`."""

    occurred_at: float
    """Unix time of the first request, seconds."""
    last_at: float
    """Unix time of the last request, seconds."""
    endpoint: str
    """Route template; `<unmatched>` if no route matched."""
    method: str
    client: str
    """The whole address; the writer may mask or hash it."""
    user_id: str | None
    tier: str
    limit_text: str
    """As `limits` prints it: `10 per 1 minute`."""
    limit_value: int
    limit_seconds: int
    current_count: int
    """Units used when the limit refused; the highest value so far."""
    user_agent: str | None
    trace_id: str | None
    """32 hex digits."""
    shadow: bool
    """Whether the request was allowed nevertheless."""
    n: int = 1


@dataclass(frozen=True, slots=True)
class UsageRow:
    """A row of `rate_limit_usage`."""

    minute: int
    """Unix time at which the minute began, seconds."""
    endpoint: str
    method: str
    tier: str
    decision: DecisionKind
    limit_text: str
    """Empty if no limit was measured; `limit_value` and `limit_seconds` are 0 then."""
    limit_value: int
    limit_seconds: int
    requests: int
    """Requests that this limit decided, or for which it was the tightest limit."""
    utilization: Mapping[int, int]
    """From percent of the limit used after a request, rounded up (to 100, or `REFUSED_PERCENT`), to
    requests."""
    clients: Mapping[int, int]
    """From the same percents to requests that were the first of their client in its window to reach them."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that are written together; by its `id` the database recognises a batch that is sent twice."""

    id: UUID
    violations: tuple[Violation, ...]
    usage: tuple[UsageRow, ...]

    @property
    def recorded(self) -> int:
        """How many violations the batch stands for."""
        return sum(violation.n for violation in self.violations)


class BatchWriter(Protocol):
    """Writes batches to the database."""

    def write(self, batch: Batch) -> None:
        """Write the whole batch or nothing; a batch that was written before is not written again.

        Raises:
            DatabaseError: the batch was not written, or it is not known whether it was.
        """

    def close(self) -> None:
        """Close the connection."""
