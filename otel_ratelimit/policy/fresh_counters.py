"""Which limits count from zero when one policy takes the place of another.

A counter is identified by its prefix (application, scope, window, strategy) and by the client's key. So a
window starts from zero if the route had no window with its prefix before, and all windows do if the route's
`key` changes. Each client then has the whole limit once more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from otel_ratelimit.core.names import OTHER_METHOD
from otel_ratelimit.core.route_plan import RoutePlan, Window
from otel_ratelimit.policy.model import Policy
from otel_ratelimit.policy.resolve import PolicyResolver
from otel_ratelimit.policy.route_pattern import RoutePattern

_EVERY_OTHER: Final = "/(every other route)"
_MAX_LISTED: Final = 10


class FreshCounter(NamedTuple):
    """One limit of a route that starts from zero."""

    method: str
    route: str
    limit: str
    reason: str

    def __str__(self) -> str:
        method = "*" if self.method == OTHER_METHOD else self.method
        return f"{method} {self.route}: {self.limit} starts from zero: {self.reason}"


def fresh_counters(before: Iterable[RoutePlan], after: Iterable[RoutePlan]) -> list[FreshCounter]:
    """The limits that start from zero, in the order of `after`, without those of new routes."""
    former = {(plan.endpoint, plan.method, plan.route): plan for plan in before}
    found: dict[FreshCounter, None] = {}
    for plan in after:
        old = former.get((plan.endpoint, plan.method, plan.route))
        if old is None:
            continue
        known = {window.prefix for window in old.windows}
        for window in plan.windows:
            if window.prefix not in known or plan.key != old.key:
                reason = _reason(old, plan, window)
                found[FreshCounter(plan.method, plan.route, window.text, reason)] = None
    return list(found)


def fresh_between(before: Policy, after: Policy) -> list[FreshCounter]:
    """The limits that start from zero, for the routes that rules name, without knowing the application."""
    patterns = [RoutePattern.parse(rule.match) for policy in (after, before) for rule in policy.routes]
    routes = [
        (each.target, method)
        for each in patterns
        for method in sorted(each.methods - {"HEAD"}) or [OTHER_METHOD]
    ]
    return fresh_counters(
        *(_plans(policy, [*routes, (_EVERY_OTHER, OTHER_METHOD)]) for policy in (before, after))
    )


def _plans(policy: Policy, routes: list[tuple[str, str]]) -> list[RoutePlan]:
    resolver = PolicyResolver(policy, "app", shadow=False)
    return [resolver.plan(route, method, route) for route, method in routes] + [resolver.unmatched("GET")]


def listed(fresh: list[FreshCounter]) -> str:
    """The first of them, one on each line, and how many more there are."""
    lines = [f"  {counter}" for counter in fresh[:_MAX_LISTED]]
    if len(fresh) > _MAX_LISTED:
        lines.append(f"  and {len(fresh) - _MAX_LISTED:,} more")
    return "\n".join(lines)


def _reason(old: RoutePlan, plan: RoutePlan, new: Window) -> str:
    if not old.windows:
        return "there was no limit"
    if plan.key != old.key:
        return f"clients are now distinguished by {plan.key}, before by {old.key}"
    same = [window for window in old.windows if window.seconds == new.seconds]
    if not same:
        return "there was no window of this length"
    if all(window.strategy != new.strategy for window in same):
        return f"the strategy was {same[0].strategy}"
    if any(window.shadow != new.shadow for window in same):
        return "it is enforced now" if not new.shadow else "it only observes now"
    return "what shares its counter has changed"
