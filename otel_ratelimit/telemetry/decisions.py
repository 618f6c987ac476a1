"""Decisions as metrics and span attributes, with as few calls of instruments as possible.

A call of an instrument costs about six microseconds, as much as deciding. So

    requests     refusals are counted at once, with their exemplar; what was let through is summed here and
                 handed to the counter when metrics are collected (`flush`), not a request later
    utilization  recorded for every request: its distribution is what is wanted
    duration     recorded for one request in `DURATION_SAMPLE`, and for each that was not simply let through

Attributes are bounded by the application's routes and the policy, whatever clients send: route
template, known method, tier, kind, limit. The identity goes to the span only, as a hash.
"""

from __future__ import annotations

import threading
from itertools import count
from typing import Any, Final

from opentelemetry.metrics import Meter
from opentelemetry.trace import get_current_span

from otel_ratelimit.core import names
from otel_ratelimit.core.clock import Clock, unix_time
from otel_ratelimit.core.decision import REFUSING, Decision, DecisionKind
from otel_ratelimit.core.lifecycle import at_fork
from otel_ratelimit.telemetry.limited_clients import LimitedClients
from otel_ratelimit.telemetry.shared_gauges import Gauge, observe

UTILIZATION_BOUNDARIES: Final = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 0.999)
"""Shares of a limit; above the last boundary the limit is used up."""
CHECK_DURATION_BOUNDARIES_SECONDS: Final = (
    0.000005,
    0.00001,
    0.000025,
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.1,
    0.25,
    1.0,
)
"""From a check in this process (microseconds) to the timeout of a remote store."""

DURATION_SAMPLE: Final = 8
"""One in so many requests that were let through has the duration of its check recorded."""


class DecisionTelemetry:
    """A `DecisionSink` that records metrics and writes span attributes."""

    def __init__(self, meter: Meter, clock: Clock = unix_time) -> None:
        self._requests = meter.create_counter(
            names.REQUESTS, unit="{request}", description="Requests by what the rate limiter decided."
        )
        self._utilization = meter.create_histogram(
            names.UTILIZATION,
            unit="1",
            description="Share of the tightest limit that a client had used, after the request.",
            explicit_bucket_boundaries_advisory=UTILIZATION_BOUNDARIES,
        )
        self._duration = meter.create_histogram(
            names.CHECK_DURATION,
            unit="s",
            description="How long the check of a request's limits took.",
            explicit_bucket_boundaries_advisory=CHECK_DURATION_BOUNDARIES_SECONDS,
        )
        self._fallbacks = meter.create_counter(
            names.KEY_FALLBACKS,
            unit="{request}",
            description="Requests keyed by address because the configured key was not available.",
        )
        self._limited = LimitedClients(clock)
        observe(
            meter,
            Gauge(
                names.CLIENT_LIMITED,
                "s",
                "How long the client refused longest has been refused without a pause.",
                max,
            ),
            self._limited.readings,
        )
        self._known: dict[tuple[str, str, str, DecisionKind, str], _Series] = {}
        self._flushing = threading.Lock()
        at_fork(in_child=self.forget)

    def __call__(self, decision: Decision) -> None:
        """Record the decision; on the request's thread, with the server span current."""
        plan, kind = decision.plan, decision.kind
        identity = decision.identity
        if kind is DecisionKind.BLOCKED and identity is not None:
            self._limited.refused(identity.key, decision.at)
        detail = "" if kind is DecisionKind.ALLOWED else self._detail(decision)
        key = (plan.route, plan.method, plan.tier, kind, detail)
        series = self._known.get(key)
        if series is None:
            series = self._remember(key)
        hits = next(series.hits)
        if series.at_once:
            self._flush(series)
        if decision.states:
            self._utilization.record(decision.utilization, series.route)
        if kind is not DecisionKind.EXEMPT and (series.at_once or hits % DURATION_SAMPLE == 0):
            self._duration.record(decision.duration, series.check)
        if identity is not None and identity.fallback:
            self._fallbacks.add(1, {names.KEY: str(plan.key), names.ERROR_TYPE: identity.fallback})
        span = get_current_span()
        if span.is_recording():
            span.set_attributes(self._on_span(decision))

    @staticmethod
    def _detail(decision: Decision) -> str:
        """The last attribute of a series: the limit that refused, or what a failure led to."""
        if decision.kind is DecisionKind.ERROR:
            return "closed" if decision.fails_closed else "open"
        if decision.kind not in REFUSING or decision.tightest < 0:
            return ""
        return decision.windows[decision.tightest].text

    def flush(self) -> None:
        """Hand to the counter what has been summed; called when metrics are collected, and at exit."""
        for series in list(self._known.values()):
            self._flush(series)

    def close(self) -> None:
        """Hand over what is left, and report no client from now on."""
        self.flush()
        self._limited.retire()

    def _flush(self, series: _Series) -> None:
        with self._flushing:
            new = series.take()
        if new:
            self._requests.add(new, series.request)

    def _remember(self, key: tuple[str, str, str, DecisionKind, str]) -> _Series:
        # Bounded by the application's routes and the policy. Never emptied, because counts would be lost.
        return self._known.setdefault(key, _Series(*key))

    def forget(self) -> None:
        """Drop what is not flushed: in a forked child it is the parent's to report."""
        self._flushing = threading.Lock()
        self._limited.clear()
        for series in self._known.values():
            series.take()

    @staticmethod
    def _on_span(decision: Decision) -> dict[str, Any]:
        attributes: dict[str, Any] = {
            names.TIER: decision.plan.tier,
            names.DECISION: decision.kind.value,
        }
        if decision.tightest >= 0:
            attributes[names.LIMIT] = decision.windows[decision.tightest].text
            attributes[names.REMAINING] = decision.states[decision.tightest].remaining
        if decision.identity is not None:
            attributes[names.CLIENT] = decision.identity.key
        if decision.error_type:
            attributes[names.ERROR_TYPE] = decision.error_type
        return attributes


class _Series:
    """One series of the counter: its attribute sets, built once, and hits not yet handed over.

    `hits` is stepped without a lock: one step of `itertools.count` is one indivisible operation.
    """

    __slots__ = ("_read", "_taken", "at_once", "check", "hits", "request", "route")

    def __init__(self, route: str, method: str, tier: str, kind: DecisionKind, detail: str) -> None:
        self.hits = count()
        self._taken = 0
        self._read = 0
        self.at_once = kind not in {DecisionKind.ALLOWED, DecisionKind.EXEMPT}
        self.request = {
            names.HTTP_ROUTE: route,
            names.HTTP_REQUEST_METHOD: method,
            names.TIER: tier,
            names.DECISION: kind.value,
        }
        if detail:
            self.request[names.ON_ERROR if kind is DecisionKind.ERROR else names.LIMIT] = detail
        self.route = {names.HTTP_ROUTE: route, names.TIER: tier}
        self.check = {names.TIER: tier, names.DECISION: kind.value}

    def take(self) -> int:
        """Hits since the last call; one caller at a time."""
        # Reading steps the count as well, so the reads so far are taken off.
        hits = next(self.hits) - self._read
        self._read += 1
        new = hits - self._taken
        self._taken = hits
        return new
