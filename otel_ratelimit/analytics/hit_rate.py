"""Hit rate: the share of requests that ran into a limit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from otel_ratelimit.analytics.reader import RequestTotal
from otel_ratelimit.core.decision import DecisionKind


@dataclass(frozen=True, slots=True)
class HitRate:
    """The requests of one endpoint, by decision."""

    endpoint: str
    """Empty for all endpoints together."""
    allowed: int = 0
    blocked: int = 0
    shadow_blocked: int = 0
    exempt: int = 0
    errors: int = 0

    @property
    def requests(self) -> int:
        """All requests."""
        return self.limited + self.exempt + self.errors

    @property
    def limited(self) -> int:
        """Requests that were checked against a limit."""
        return self.allowed + self.blocked + self.shadow_blocked

    @property
    def refused(self) -> int:
        """Requests that a limit refused, or would have refused if it were not in shadow."""
        return self.blocked + self.shadow_blocked

    @property
    def hit_rate(self) -> float:
        """Share of `limited` that was refused; 0.0 if there are no such requests."""
        return self.refused / self.limited if self.limited else 0.0


def hit_rates(totals: Iterable[RequestTotal]) -> list[HitRate]:
    """Hit rates by endpoint; most refusals first."""
    by_endpoint: dict[str, list[RequestTotal]] = {}
    for total in totals:
        by_endpoint.setdefault(total.endpoint, []).append(total)
    rates = [_rate(endpoint, found) for endpoint, found in by_endpoint.items()]
    return sorted(rates, key=lambda rate: (-rate.refused, -rate.requests, rate.endpoint))


def overall_hit_rate(totals: Iterable[RequestTotal]) -> HitRate:
    """The hit rate of all endpoints together."""
    return _rate("", list(totals))


def _rate(endpoint: str, totals: list[RequestTotal]) -> HitRate:
    def count(kind: DecisionKind) -> int:
        return sum(total.requests for total in totals if total.decision is kind)

    return HitRate(
        endpoint,
        allowed=count(DecisionKind.ALLOWED),
        blocked=count(DecisionKind.BLOCKED),
        shadow_blocked=count(DecisionKind.SHADOW_BLOCKED),
        exempt=count(DecisionKind.EXEMPT),
        errors=count(DecisionKind.ERROR),
    )
