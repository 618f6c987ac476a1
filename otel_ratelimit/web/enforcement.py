"""The parts that the request hooks use: those that follow from the policy, and those that do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from otel_ratelimit.core.clock import Clock
from otel_ratelimit.core.counter_store import CounterStore
from otel_ratelimit.core.decision import DecisionSink
from otel_ratelimit.policy.identity import Identifier
from otel_ratelimit.web.client_source import UserReader
from otel_ratelimit.web.policy_limiter import PolicyLimiter
from otel_ratelimit.web.response_headers import HeaderWriter
from otel_ratelimit.web.route_plans import RoutePlans


@dataclass(slots=True)
class Enforcement:
    """The parts that follow from the policy; replaced as a whole when the policy changes."""

    plans: RoutePlans
    identifier: Identifier
    read_user: UserReader
    headers: HeaderWriter


@dataclass(frozen=True, slots=True)
class Tools:
    """The parts that the hooks need and that a change of the policy does not affect."""

    limiter: PolicyLimiter
    store: CounterStore
    sinks: Sequence[DecisionSink]
    refusal_sinks: Sequence[DecisionSink]
    """Called for refused requests only, so that the others cost nothing."""
    clock: Clock
    timer: Callable[[], float]
    retry_seconds: Callable[[], float]
    """Seconds until the store is tried again, for the 503."""
    shadow: bool
    """Never block, whatever happens."""
