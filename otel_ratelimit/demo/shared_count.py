"""Whether the workers of the server have one count: what each of them decided about one client's limit.

The scraper is the only client of its route, and opens a connection for each request, so that any worker may
get it. All workers together must let through as many of its requests as the limit allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from otel_ratelimit.core import names
from otel_ratelimit.core.decision import DecisionKind
from otel_ratelimit.demo.received_telemetry import Point

WORKERS: Final = 2
"""How many workers there are if nobody says otherwise: enough to show that they have one count."""
TIER: Final = "scraping"
"""The tier of the route below in the demo's policy."""
METHOD: Final = "POST"
ROUTE: Final = "/api/scrape"


@dataclass(frozen=True, slots=True)
class WorkerDecisions:
    """The decisions of one worker process."""

    requests: int
    """All of its requests."""
    allowed: int
    """Requests of the route that it let through."""
    blocked: int
    """Requests of the route that it refused."""


@dataclass(frozen=True, slots=True)
class SharedCount:
    """The decisions of all workers about the scraper's requests."""

    route: str
    limit: str
    """As the policy writes it: `5/hour`."""
    amount: int
    """Requests that the limit allows."""
    workers: tuple[WorkerDecisions, ...]
    """Those that served a request, the busiest first."""

    @property
    def allowed(self) -> int:
        """Requests of the route that all workers let through."""
        return sum(worker.allowed for worker in self.workers)

    @property
    def blocked(self) -> int:
        """Requests of the route that all workers refused."""
        return sum(worker.blocked for worker in self.workers)

    def explain(self) -> str:
        """One or two sentences that say whether the workers have one count."""
        servers = f"{len(self.workers)} workers" if len(self.workers) > 1 else "One worker"
        found = (
            f"{servers} let through {self.allowed} of the scraper's {self.allowed + self.blocked} requests"
        )
        if self.allowed > self.amount:
            return (
                f"{found}, and the limit is {self.limit}: they do not share their counters."
                " The log of the application says why."
            )
        if self.allowed < self.amount:
            return f"{found}; it sent fewer than its limit allows, {self.limit}."
        return f"{found}: exactly its limit, {self.limit}."


def shared_count(by_instance: Mapping[str, Iterable[Point]], limits: str, amount: int) -> SharedCount:
    """Compare the workers' decisions with the limit.

    Args:
        by_instance: the metric `otel_ratelimit.requests` of each worker.
        limits: the limits of the tier, as the policy writes them; the first one is the tightest.
        amount: requests that the first limit allows.
    """
    workers = [_decisions(list(points)) for points in by_instance.values()]
    served = sorted((worker for worker in workers if worker.requests), key=lambda worker: -worker.requests)
    return SharedCount(f"{METHOD} {ROUTE}", limits.partition(";")[0].strip(), amount, tuple(served))


def _decisions(points: list[Point]) -> WorkerDecisions:
    of_route = [
        point
        for point in points
        if point.attributes.get(names.HTTP_ROUTE) == ROUTE
        and point.attributes.get(names.HTTP_REQUEST_METHOD) == METHOD
    ]
    return WorkerDecisions(
        requests=_sum(points),
        allowed=_sum(_of_kind(of_route, DecisionKind.ALLOWED)),
        blocked=_sum(_of_kind(of_route, DecisionKind.BLOCKED)),
    )


def _of_kind(points: Iterable[Point], kind: DecisionKind) -> list[Point]:
    return [point for point in points if point.attributes.get(names.DECISION) == kind]


def _sum(points: Iterable[Point]) -> int:
    return int(sum(point.value for point in points))
