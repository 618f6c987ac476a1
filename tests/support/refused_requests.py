"""Decisions that refuse, as the limiter makes them, and spans to make them in."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags, use_span

from otel_ratelimit.core.counter_store import WindowState
from otel_ratelimit.core.decision import Decision, DecisionKind
from otel_ratelimit.core.identity import Identity
from otel_ratelimit.core.route_plan import KeySpec, RoutePlan, Strategy, Window


def refused(
    address: str = "198.51.100.7",
    *,
    user: str | None = None,
    route: str = "/thing",
    limit: str = "5 per 1 minute",
    **more: Any,
) -> Decision:
    """A decision that refuses a request of that client."""
    given = {
        "method": "GET",
        "tier": "default",
        "prefix": f"a|{route}|60|",
        "shadow": False,
        "key": "",
        **more,
    }
    window = Window(given["prefix"], 5, 60, Strategy.FIXED_WINDOW, given["shadow"], limit, "x")
    plan = RoutePlan(
        "thing", given["method"], route, given["tier"], False, KeySpec("ip"), (window,), 1, "closed", ""
    )
    return Decision(
        kind=DecisionKind.SHADOW_BLOCKED if given["shadow"] else DecisionKind.BLOCKED,
        plan=plan,
        windows=(window,),
        states=(WindowState(5, 0, 30.0, 30.0),),
        identity=Identity(given["key"] or f"i{address}{user}", "ip", address, user),
        tightest=0,
        at=1_700_000_000.0,
        duration=1e-6,
    )


def span(trace: int = 1, *, sampled: bool = True) -> AbstractContextManager[Span]:
    """A request of that trace."""
    return use_span(NonRecordingSpan(SpanContext(trace, 2, is_remote=False, trace_flags=TraceFlags(sampled))))
