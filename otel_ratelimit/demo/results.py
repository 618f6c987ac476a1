"""The results of a run of the demo: the application's metrics, compared with what its clients saw."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

from otel_ratelimit.cache_advice.daily_report import DailyCacheReport
from otel_ratelimit.core import names
from otel_ratelimit.core.decision import REFUSING, DecisionKind
from otel_ratelimit.demo.analytics_api import StoredAnswers
from otel_ratelimit.demo.client_reports import ClientReport, Refusal, Tally
from otel_ratelimit.demo.received_telemetry import Point, Span, Telemetry
from otel_ratelimit.demo.repeated_queries import QueriesFound

REQUEST_DURATION: Final = "http.server.request.duration"
"""A metric of the OpenTelemetry Flask instrumentation."""


@dataclass(slots=True)
class TierDecisions:
    """Decisions of one tier."""

    tier: str
    allowed: int = 0
    blocked: int = 0
    shadow_blocked: int = 0
    exempt: int = 0
    error: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.allowed + self.blocked + self.shadow_blocked + self.exempt + self.error


@dataclass(frozen=True, slots=True)
class DecidingLimit:
    """A limit that refused, and where."""

    limit: str
    method: str
    route: str
    blocked: int


@dataclass(frozen=True, slots=True)
class PersonaResult:
    """The experience of one kind of client."""

    persona: str
    clients: int
    answered: int
    limited: int
    failed: int
    broken: int
    endpoints: tuple[Tally, ...]
    """Those on which it was limited, the most refusals first."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The counter store at the end."""

    size_bytes: int
    capacity_bytes: int
    keys: int


@dataclass(frozen=True, slots=True)
class Overhead:
    """Times in seconds; None where nothing was reported."""

    check_p50: float | None
    check_p99: float | None
    request_p50: float | None
    """A whole request in the application, as OpenTelemetry's Flask instrumentation measured it."""


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Whether the application and the clients counted the same."""

    answered: int
    """Answers that clients got, the demo's own look at /health included."""
    decisions: int
    limited: int
    """Answers 429."""
    blocked: int
    """Decisions `blocked`."""
    broken: int
    """Requests that got no answer; the application may have counted them."""

    @property
    def agrees(self) -> bool:
        """Whether both counted exactly the same."""
        return self.answered == self.decisions and self.limited == self.blocked

    def explain(self) -> str:
        """A sentence that explains a difference; empty if there is none."""
        if self.agrees:
            return ""
        if self.decisions == 0:
            return "the application reported no decision, so it was not rate limited"
        missing = self.answered - self.decisions
        if missing > 0:
            return (
                f"{missing} answers are not in the metrics yet; the application exports them once a second,"
                " and a worker that is killed loses its last second"
            )
        if missing < 0 and self.broken:
            return f"{self.broken} requests got no answer, but {-missing} of them had been counted"
        return "the application and its clients counted differently, which is a bug: please report it"


@dataclass(frozen=True, slots=True)
class DemoResults:
    """Everything that is shown at the end."""

    duration_seconds: float
    workers: int
    reconciliation: Reconciliation
    tiers: tuple[TierDecisions, ...]
    limits: tuple[DecidingLimit, ...]
    clients: tuple[PersonaResult, ...]
    memory: Memory
    overhead: Overhead
    refusal: Refusal | None
    span: Span | None
    span_is_exemplar: bool
    """Whether an exemplar of a metric points to the span's trace."""
    stored: StoredAnswers | None = None
    """The API's answers from PostgreSQL."""
    queries: QueriesFound | None = None
    """The query log's records of the run."""
    cache: DailyCacheReport | None = None
    """Whether a cache would pay for these queries."""

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            **asdict(self),
            "cache": self.cache.model_dump(mode="json") if self.cache is not None else None,
            "reconciliation": {
                **asdict(self.reconciliation),
                "agrees": self.reconciliation.agrees,
                "explanation": self.reconciliation.explain(),
            },
        }


def summarise(telemetry: Telemetry, clients: ClientReport, *, probes: int, workers: int) -> DemoResults:
    """Combine both sides; `probes` is the number of answers that the demo itself requested."""
    requests = telemetry.points(names.REQUESTS)
    span, is_exemplar = _span_to_show(telemetry)
    return DemoResults(
        duration_seconds=round(clients.elapsed, 1),
        workers=workers,
        reconciliation=reconcile(requests, clients, probes),
        tiers=decisions_by_tier(requests),
        limits=deciding_limits(requests),
        clients=tuple(_personas(clients)),
        memory=Memory(
            size_bytes=int(telemetry.total(names.STORAGE_SIZE)),
            capacity_bytes=int(telemetry.total(names.STORAGE_CAPACITY)),
            keys=int(telemetry.total(names.STORAGE_KEYS)),
        ),
        overhead=_overhead(telemetry),
        refusal=clients.refusal,
        span=span,
        span_is_exemplar=is_exemplar,
    )


def reconcile(requests: Iterable[Point], clients: ClientReport, probes: int) -> Reconciliation:
    """Compare answers with decisions."""
    requests = list(requests)
    return Reconciliation(
        answered=clients.answered + probes,
        decisions=int(sum(point.value for point in requests)),
        limited=clients.limited,
        blocked=int(
            sum(p.value for p in requests if p.attributes.get(names.DECISION) == DecisionKind.BLOCKED)
        ),
        broken=clients.broken,
    )


def decisions_by_tier(requests: Iterable[Point]) -> tuple[TierDecisions, ...]:
    """Decisions by tier; the tiers with the most refusals come first."""
    tiers: dict[str, TierDecisions] = {}
    for point in requests:
        kind = point.attributes.get(names.DECISION, "")
        tier = point.attributes.get(names.TIER, "")
        name = tier if kind != DecisionKind.EXEMPT else "(exempt)"
        decisions = tiers.setdefault(name, TierDecisions(name))
        setattr(decisions, kind, getattr(decisions, kind) + int(point.value))
    return tuple(sorted(tiers.values(), key=lambda t: (-t.blocked - t.shadow_blocked, -t.total, t.tier)))


def deciding_limits(requests: Iterable[Point]) -> tuple[DecidingLimit, ...]:
    """Which limit refused on which route, the most refusals first."""
    counts: dict[tuple[str, str, str], int] = defaultdict(int)
    for point in requests:
        found = point.attributes
        if found.get(names.DECISION) in REFUSING:
            key = (found.get(names.LIMIT, "?"), found[names.HTTP_REQUEST_METHOD], found[names.HTTP_ROUTE])
            counts[key] += int(point.value)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(DecidingLimit(*key, blocked) for key, blocked in ordered)


def _personas(clients: ClientReport) -> Iterable[PersonaResult]:
    for persona, count in clients.people.items():
        mine = [tally for tally in clients.tallies if tally.persona == persona]
        limited = sorted((t for t in mine if t.limited), key=lambda t: (-t.limited, t.endpoint))
        yield PersonaResult(
            persona=persona,
            clients=count,
            answered=sum(tally.answered for tally in mine),
            limited=sum(tally.limited for tally in mine),
            failed=sum(tally.failed for tally in mine),
            broken=sum(tally.broken for tally in mine),
            endpoints=tuple(limited),
        )


def _overhead(telemetry: Telemetry) -> Overhead:
    check = telemetry.histogram(names.CHECK_DURATION)
    request = telemetry.histogram(REQUEST_DURATION)
    return Overhead(
        check_p50=check.quantile(0.5) if check else None,
        check_p99=check.quantile(0.99) if check else None,
        request_p50=request.quantile(0.5) if request else None,
    )


def _span_to_show(telemetry: Telemetry) -> tuple[Span | None, bool]:
    """The span of a refused request; preferably one that an exemplar of a metric points to."""
    spans = [span for span in telemetry.spans() if names.DECISION in span.attributes]
    refused = [span for span in spans if span.attributes[names.DECISION] in REFUSING]
    examples = telemetry.exemplars(names.REQUESTS)
    exemplary = [span for span in refused if span.trace_id in examples]
    for choice in (exemplary, refused, spans):
        if choice:
            return choice[-1], choice is exemplary
    return None, False
