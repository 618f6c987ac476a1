"""From a plan and an identity to one Decision; the only side effect is the call of the store.

    plan (which limits) + identity (who) ─► store.take (all or none) ─► Decision

The store is called once. If it fails, the plan's `on_error` says what happens to the request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from otel_ratelimit.core.clock import Clock
from otel_ratelimit.core.counter_store import CounterStore, Taken, WindowState
from otel_ratelimit.core.decision import Decision, DecisionKind
from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.core.identity import Identity
from otel_ratelimit.core.route_plan import RoutePlan, Window


def exempted(plan: RoutePlan, now: float, identity: Identity | None = None) -> Decision:
    """The decision on a request that no limit applies to."""
    return Decision(DecisionKind.EXEMPT, plan, (), (), identity, -1, now, 0.0)


def decide(
    plan: RoutePlan,
    windows: tuple[Window, ...],
    identity: Identity,
    store: CounterStore,
    *,
    clock: Clock,
    timer: Callable[[], float],
) -> Decision:
    """Count `plan.cost` in all `windows` for `identity`, or in none, and return the decision.

    Args:
        plan: the route's plan.
        windows: the plan's windows, scaled if the client has an override.
        identity: the client.
        store: the counter store; it may only raise StorageUnavailableError.
        clock: Unix time in seconds.
        timer: monotonic seconds, for the decision's `duration`.
    """
    started = timer()
    now = clock()
    try:
        taken = store.take(windows, identity.key, plan.cost, now)
    except StorageUnavailableError as error:
        return Decision(
            DecisionKind.ERROR, plan, windows, (), identity, -1, now, timer() - started, error.error_type
        )
    kind, tightest = judge(windows, taken)
    return Decision(kind, plan, windows, taken.states, identity, tightest, now, timer() - started)


def judge(windows: Sequence[Window], taken: Taken) -> tuple[DecisionKind, int]:
    """The meaning of the store's answer, and the index of the window to report.

    That is the window with the longest wait if a window refused, otherwise the window with the smallest share
    left.
    """
    states = taken.states
    if not taken.allowed:
        return DecisionKind.BLOCKED, _longest_wait(windows, states, shadow=False)
    # The common case first: no window refused, so only the smallest share left is needed.
    tightest, least = -1, 2.0
    refused = False
    for index, state in enumerate(states):
        if state.retry_after > 0.0:
            refused = True
        share_left = state.remaining / windows[index].amount
        if share_left < least:
            tightest, least = index, share_left
    if refused:
        return DecisionKind.SHADOW_BLOCKED, _longest_wait(windows, states, shadow=True)
    return DecisionKind.ALLOWED, tightest


def _longest_wait(windows: Sequence[Window], states: Sequence[WindowState], *, shadow: bool) -> int:
    index, longest = -1, 0.0
    for i, state in enumerate(states):
        if windows[i].shadow is shadow and state.retry_after > longest:
            index, longest = i, state.retry_after
    return index
