"""Rows that are read back from the database for the analyses, and the protocol of their reader.

All periods are half open and in UTC. Endpoints are route templates (`/api/jobs/<int:id>`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from otel_ratelimit.core.decision import DecisionKind
from otel_ratelimit.core.periods import Period

GroupBy: TypeAlias = Literal["endpoint", "client", "user", "tier", "hour", "day"]
"""`endpoint` groups by route template, `client` by address as it is kept."""
GroupName: TypeAlias = Literal["endpoint", "client", "ip", "user", "tier", "hour", "day"]
"""As users write it: `ip` means `client`."""


def group_named(name: GroupName) -> GroupBy:
    """The grouping that a name stands for."""
    return "client" if name == "ip" else name


Endpoints: TypeAlias = str | tuple[str, ...] | None
"""A route template, several of them, or all."""


class Scope(NamedTuple):
    """The part of a period to read; None means everything."""

    endpoint: Endpoints = None
    service: str | None = None


EVERYTHING: Final = Scope()


@dataclass(frozen=True, slots=True)
class ViolationGroup:
    """Violations that have the same endpoint, client, user, tier, hour or day."""

    key: str
    """ISO 8601 in UTC for hour and day; empty for requests without a user."""
    violations: int
    """Requests that were refused or, in shadow, would have been refused."""
    shadow: int
    """How many of these were allowed, because the limit is in shadow."""
    clients: int
    """Number of different clients; `<other>` counts as one."""
    endpoints: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class ViolationPage:
    """Some of the groups: most violations first; hours and days in order of time."""

    groups: Sequence[ViolationGroup]
    total_groups: int
    total_violations: int
    """Over all groups, not only those of this page."""


@dataclass(frozen=True, slots=True)
class RequestTotal:
    """Number of requests with the same endpoint, method, tier and decision."""

    endpoint: str
    method: str
    tier: str
    decision: DecisionKind
    requests: int


@dataclass(frozen=True, slots=True)
class LimitUse:
    """How far one limit of one endpoint was used: the histograms of `rate_limit_usage`, summed.

    Their keys are percent of the limit used after a request, rounded up: 0 to 100, or 101
    (`REFUSED_PERCENT`) if the limit refused. `requests` counts all requests; `clients` counts those that were
    the first of their client in its window to reach that percent.
    """

    endpoint: str
    method: str
    tier: str
    limit_text: str
    limit_value: int
    limit_seconds: int
    requests: Mapping[int, int]
    clients: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Excess:
    """How far, and how often, clients went beyond a limit: evidence for a higher limit."""

    endpoint: str
    method: str
    tier: str
    limit_text: str
    limit_value: int
    limit_seconds: int
    refused: int
    """Refused requests of one client in one window of the limit."""
    client_windows: int
    """Number of client windows with exactly that many refusals."""


class AnalyticsReader(Protocol):
    """Reads the rows. Each method raises `DatabaseError` if they cannot be read."""

    def services(self, period: Period | None = None) -> list[str]:
        """Services that recorded anything in the period, or ever; sorted by name."""

    def violations(
        self,
        period: Period,
        group_by: GroupBy,
        scope: Scope = EVERYTHING,
        *,
        limit: int = 50,
        offset: int = 0,
    ) -> ViolationPage:
        """Violations of the period, grouped."""

    def requests(self, period: Period, scope: Scope = EVERYTHING) -> list[RequestTotal]:
        """Requests of the period by endpoint, method, tier and decision."""

    def limits(self, period: Period, scope: Scope = EVERYTHING) -> list[LimitUse]:
        """How far each limit was used in the period."""

    def excess(self, period: Period, scope: Scope = EVERYTHING) -> list[Excess]:
        """How far clients went beyond each limit in the period."""
