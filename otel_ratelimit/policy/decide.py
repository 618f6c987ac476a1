"""From a plan and an identity to one Decision. Pure but for the store it is given.

    plan (which limits) + identity (who) ─► store.take (all or none) ─► Decision

The store is asked once. What it cannot answer is decided by the plan's `on_error`.
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
    """Take `plan.cost` from all `windows` for `identity`, or from none, and say what came of it.

    Args:
        plan: the route's plan.
        windows: the plan's windows, scaled if the client has an override.
        identity: who asks.
        store: where the counters live; it may raise StorageUnavailableError and nothing else.
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
    """What the store's answer means, and the index of the window to speak of.

    That is the window which keeps the client waiting longest when one refused, else the one with
    the smallest share left.
    """
    states = taken.states
    if not taken.allowed:
        return DecisionKind.BLOCKED, _longest_wait(windows, states, shadow=False)
    # The common case first: nothing refused, so only the least room left is wanted.
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
