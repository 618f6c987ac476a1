"""Combines the policy's Decision on a request with the application's own limits.

An application's own limiter stays as it is, and is observed through Flask-Limiter's public `current_limits`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from flask import Flask
from flask_limiter import Limiter, RequestLimit

from otel_ratelimit.core.counter_store import WindowState
from otel_ratelimit.core.decision import Decision, DecisionKind
from otel_ratelimit.core.names import APPLICATION_TIER
from otel_ratelimit.core.route_plan import RoutePlan, Strategy, Window, quota_name
from otel_ratelimit.web.policy_limiter import PolicyLimiter

_logger = logging.getLogger(__name__)

EXTENSION: Final = "limiter"
"""Flask-Limiter's place in `app.extensions`: a set of limiters."""
_SHORTEST_WAIT: Final = 0.001
"""Seconds: a limit that refused has some time to go, else it would not have refused."""


def other_limiters(app: Flask, ours: Limiter) -> list[Limiter]:
    """The limiters that the application set up itself."""
    return [limiter for limiter in app.extensions.get(EXTENSION, ()) if limiter is not ours]


class Observed(NamedTuple):
    """The Decision on a request that the application's own limits checked too."""

    decision: Decision
    """For telemetry and records."""
    for_headers: Decision | None
    """For the headers; None if a state is not known."""


def observe(
    ours: PolicyLimiter | None, others: Sequence[Limiter], decision: Decision, *, shadow: bool
) -> Observed:
    """The one decision on a request that the policy and the application's own limits both saw.

    The request is refused if either refused it. If the policy exempts it, the application's limits decide.
    The store is asked at most once for the state of a limit that refused; the states of other limits are used
    only if they are known, or kept in this process.

    Args:
        ours: the limiter that `RateLimit` offers, if something declared on it was checked.
        others: the application's own limiters.
        decision: the policy's.
        shadow: whether limits are only observed; then headers do not show the application's own limiters.
    """
    if decision.kind is DecisionKind.BLOCKED:
        return Observed(decision, decision)
    own = Limiter.current_limits.fget  # type: ignore[attr-defined]  # a property
    declared: list[RequestLimit] = list(own(ours)) if ours is not None else []
    evaluated = declared + [limit for limiter in others for limit in own(limiter)]
    if not evaluated:
        return Observed(decision, decision)
    breached = [index for index, limit in enumerate(evaluated) if limit.breached]
    if not breached and decision.kind is not DecisionKind.EXEMPT:
        return Observed(decision, decision)
    ask = breached or (range(len(declared)) if ours is not None and ours.in_process else ())
    known = {
        index: state
        for index in ask
        if (state := _state(evaluated[index], decision.at if index < len(declared) else time.time()))
    }
    windows = tuple(_window(limit) for limit in evaluated)
    states = tuple(known.get(index) or _unknown(limit) for index, limit in enumerate(evaluated))
    if breached:
        tightest = max(breached, key=lambda index: states[index].retry_after)
        is_known = len(known) == len(breached) and not (shadow and breached[0] >= len(declared))
    else:
        tightest = min(known, key=lambda index: states[index].remaining / windows[index].amount, default=-1)
        is_known = 0 < len(known) == len(evaluated)
    observed = decision._replace(
        kind=DecisionKind.BLOCKED if breached else DecisionKind.ALLOWED,
        plan=_application_plan(decision.plan, windows),
        windows=windows,
        states=states,
        tightest=tightest,
    )
    return Observed(observed, _with_full_windows(observed, decision) if is_known else None)


def _with_full_windows(observed: Decision, policy: Decision) -> Decision:
    """A refusal by the application's limits, with the policy's windows that are full added to it.

    The policy has counted the request and would refuse the next one: it is not enough to wait for the limits
    that refused.
    """
    if observed.kind is not DecisionKind.BLOCKED or not policy.full:
        return observed
    states = [policy.states[index] for index in policy.full]
    combined = observed._replace(
        windows=(*observed.windows, *(policy.windows[index] for index in policy.full)),
        states=(*observed.states, *(state._replace(retry_after=state.reset_after) for state in states)),
    )
    return combined._replace(
        tightest=max(range(len(combined.states)), key=lambda index: combined.states[index].retry_after)
    )


def _state(limit: RequestLimit, now: float) -> WindowState | None:
    """How much of a limit is left, and until when; None if its storage fails."""
    try:
        reset, remaining = limit.window
    except Exception:
        # The storage of another limiter, with errors of its own.
        _logger.debug("the state of the limit %s cannot be read", limit.limit, exc_info=True)
        return None
    amount = limit.limit.amount
    # The check was a moment before the count.
    wait = min(max(reset - now, 0.0), float(limit.limit.get_expiry()))
    remaining = min(max(remaining, 0), amount)
    if not limit.breached:
        return WindowState(amount - remaining, remaining, wait, 0.0)
    return WindowState(amount - remaining, remaining, wait, max(wait, _SHORTEST_WAIT))


def _unknown(limit: RequestLimit) -> WindowState:
    amount = limit.limit.amount
    return WindowState(amount, 0, 0.0, 0.0) if limit.breached else WindowState(0, amount, 0.0, 0.0)


def _window(limit: RequestLimit) -> Window:
    item = limit.limit
    text = str(item)
    return Window(
        prefix="",
        amount=item.amount,
        seconds=item.get_expiry(),
        strategy=Strategy.FIXED_WINDOW,
        shadow=False,
        text=text,
        name=quota_name(text),
    )


def _application_plan(plan: RoutePlan, windows: Sequence[Window]) -> RoutePlan:
    return RoutePlan(
        endpoint=plan.endpoint,
        method=plan.method,
        route=plan.route,
        tier=APPLICATION_TIER,
        exempt=False,
        key=plan.key,
        windows=tuple(windows),
        cost=1,
        on_error=plan.on_error,
        source="the application's own limiter",
    )
