"""What is kept of decisions, on its way from the recorder to the database and back.

Violation    a refusal: who, where, which limit; equal ones share one with a count
UsageRow     one minute of one endpoint, method, tier, decision and limit, summed up
Batch        what is written in one step, once
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from otel_ratelimit.core.decision import DecisionKind

OTHER_LIMITS: Final = "<other>"
"""Endpoint, method, tier and limit of violations beyond what is told apart by these."""
REFUSED_PERCENT: Final = 101
"""The share of a limit used that stands for: this limit refused the request."""


@dataclass(frozen=True, slots=True)
class Violation:
    """Requests that one limit refused one client at one endpoint. A row of `rate_limit_analytics`."""

    occurred_at: float
    """Unix time of the first, seconds."""
    last_at: float
    """Unix time of the last, seconds."""
    endpoint: str
    """Route template; `<unmatched>` where none matched."""
    method: str
    client: str
    """The address, whole; what becomes of it is the writer's business."""
    user_id: str | None
    tier: str
    limit_text: str
    """As `limits` prints it: `10 per 1 minute`."""
    limit_value: int
    limit_seconds: int
    current_count: int
    """Units used when it refused; the highest seen."""
    user_agent: str | None
    trace_id: str | None
    """32 hex digits."""
    shadow: bool
    """Whether the request was let through all the same."""
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
    """Empty where no limit was measured; `limit_value` and `limit_seconds` are 0 then."""
    limit_value: int
    limit_seconds: int
    requests: int
    """Requests that this limit decided or was the tightest of."""
    utilization: Mapping[int, int]
    """Percent of the limit used after a request, rounded up (0 to 100, `REFUSED_PERCENT`) to requests."""
    clients: Mapping[int, int]
    """The same percents to requests that were the first of their client in its window to reach it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that are written together; `id` lets the database know one that is sent twice."""

    id: UUID
    violations: tuple[Violation, ...]
    usage: tuple[UsageRow, ...]

    @property
    def recorded(self) -> int:
        """How many violations the batch stands for."""
        return sum(violation.n for violation in self.violations)


class BatchWriter(Protocol):
    """Where batches go."""

    def write(self, batch: Batch) -> None:
        """Write `batch`, whole or not at all; a batch written before is not written again.

        Raises:
            DatabaseError: it could not be written, or it is not known whether it was.
        """

    def close(self) -> None:
        """Give up the connection."""
