"""One Decision to three instruments and the server span.

Attributes are bounded by the application's routes and the policy, whatever clients send: route
template, known method, tier, outcome, limit. The identity goes to the span only, as a hash.
Exemplars need nothing special: points are recorded while the server span is current.
"""

from __future__ import annotations

from typing import Any, Final

from opentelemetry.metrics import Meter
from opentelemetry.trace import get_current_span

from otel_ratelimit import names
from otel_ratelimit.events import Decision, Outcome

UTILIZATION_BOUNDARIES: Final = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 0.999)
"""Shares of a limit; the last boundary keeps "used up" apart."""
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
"""From an in-process hit (microseconds) to a remote store's time-out."""

_REFUSING: Final = frozenset({Outcome.BLOCKED, Outcome.SHADOW_BLOCKED})


class DecisionTelemetry:
    """A `DecisionSink` that records metrics and writes span attributes."""

    _MOST_ATTRIBUTE_SETS = 10_000

    def __init__(self, meter: Meter) -> None:
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
            description="Requests keyed by address because the wanted key could not be had.",
        )
        self._known: dict[tuple[str, str, str, Outcome, str], _AttributeSets] = {}

    def __call__(self, decision: Decision) -> None:
        """Record the decision; on the request's thread, with the server span current."""
        plan, outcome = decision.plan, decision.outcome
        limit = decision.window.text if outcome in _REFUSING and decision.tightest >= 0 else ""  # type: ignore[union-attr]
        key = (plan.route, plan.method, plan.tier, outcome, limit)
        sets = self._known.get(key)
        if sets is None:
            sets = self._remember(key)
        self._requests.add(1, sets.request)
        if decision.states:
            self._utilization.record(decision.utilization, sets.route)
        if outcome is not Outcome.EXEMPT:
            self._duration.record(decision.duration, sets.check)
        identity = decision.identity
        if identity is not None and identity.fallback:
            self._fallbacks.add(1, {names.KEY: str(plan.key), names.ERROR_TYPE: identity.fallback})
        span = get_current_span()
        if span.is_recording():
            span.set_attributes(self._on_span(decision))

    def _remember(self, key: tuple[str, str, str, Outcome, str]) -> _AttributeSets:
        if len(self._known) >= self._MOST_ATTRIBUTE_SETS:
            self._known = {}
        sets = self._known[key] = _AttributeSets(*key)
        return sets

    @staticmethod
    def _on_span(decision: Decision) -> dict[str, Any]:
        attributes: dict[str, Any] = {
            names.TIER: decision.plan.tier,
            names.DECISION: decision.outcome.value,
        }
        if decision.tightest >= 0:
            attributes[names.LIMIT] = decision.windows[decision.tightest].text
            attributes[names.REMAINING] = decision.states[decision.tightest].remaining
        if decision.identity is not None:
            attributes[names.CLIENT] = decision.identity.key
        if decision.error_type:
            attributes[names.ERROR_TYPE] = decision.error_type
        return attributes


class _AttributeSets:
    """The attribute sets of one kind of decision, built once."""

    __slots__ = ("check", "request", "route")

    def __init__(self, route: str, method: str, tier: str, outcome: Outcome, limit: str) -> None:
        self.request = {
            names.HTTP_ROUTE: route,
            names.HTTP_REQUEST_METHOD: method,
            names.TIER: tier,
            names.DECISION: outcome.value,
        }
        if limit:
            self.request[names.LIMIT] = limit
        self.route = {names.HTTP_ROUTE: route, names.TIER: tier}
        self.check = {names.TIER: tier, names.DECISION: outcome.value}
