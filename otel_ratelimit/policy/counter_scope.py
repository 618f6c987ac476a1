"""Which routes share a counter: the scope in a window's prefix, made of routes and methods, not of names.

So counters go on when a tier gets another name, when a `match` is spelt differently, when rules change their
order, and when a route moves from the default tier to a rule. The rules of one endpoint have different scopes
by the methods that they apply to (and by the routes, if the endpoint has several routes):

    users.list:            everything that no other rule applies to
    users.list:POST,PUT    what one rule, or all rules of one tier, apply to
    *:rule=GET /api/**     scope = "rule": the rule's `match` in one spelling
    *:tier=/api/upload     scope = "tier": the first of its rules' matches, in alphabetical order
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from otel_ratelimit.core.names import OTHER_METHOD
from otel_ratelimit.policy.model import RouteRule
from otel_ratelimit.policy.route_pattern import METHODS, RoutePattern, canonical_path

_METHODS: Final = (*sorted(METHODS - {"HEAD"}), OTHER_METHOD)
_CACHED_ENDPOINTS: Final = 1024


class CounterScopes:
    """The scopes of one policy.

    Args:
        rules: the rules in the order in which they are tried.
        default_tier: the tier of everything that no rule applies to.
    """

    def __init__(self, rules: Sequence[tuple[RoutePattern, RouteRule]], default_tier: str) -> None:
        self._rules = rules
        self._default_tier = default_tier
        self._tiers: dict[str, str] = {}
        for pattern, rule in rules:
            if rule.scope == "tier" and rule.tier is not None:
                first = self._tiers.get(rule.tier, pattern.canonical)
                self._tiers[rule.tier] = min(first, pattern.canonical)
        self._decided = lru_cache(_CACHED_ENDPOINTS)(self._decide)

    def of(self, endpoint: str, method: str, route: str, routes: Sequence[str], index: int | None) -> str:
        """The scope of a route to which the rule with that index applies, or no rule.

        `routes` are the templates of all routes of the endpoint.
        """
        pattern, rule = self._rules[index] if index is not None else (None, None)
        if pattern is not None and rule is not None and rule.scope == "rule":
            return f"*:rule={escape_endpoint(pattern.canonical)}"
        if rule is not None and rule.scope == "tier":
            return f"*:tier={escape_endpoint(self._tiers[rule.tier or ''])}"
        known = tuple(sorted({canonical_path(each) for each in (*routes, route)}))
        apart = method if rule is not None and rule.scope == "method" else None
        name = _name_of(self._decided(endpoint, known), known, self._budget(index), apart)
        return f"{escape_endpoint(endpoint)}:{escape_endpoint(name)}"

    def _budget(self, index: int | None) -> Hashable:
        """A value that is equal for rules whose limits are counted together."""
        if index is None:
            return self._default_tier, "endpoint"
        rule = self._rules[index][1]
        if rule.tier is None or rule.scope in {"rule", "tier"}:
            return index
        return rule.tier, rule.scope

    def _decide(self, endpoint: str, routes: tuple[str, ...]) -> Mapping[tuple[str, str], Hashable]:
        """The budget of each route and method of an endpoint."""
        found: dict[tuple[str, str], Hashable] = {}
        for route in routes:
            rules = [
                (pattern, index)
                for index, (pattern, _) in enumerate(self._rules)
                if pattern.matches_endpoint(endpoint, route)
            ]
            for method in _METHODS:
                index = next((index for pattern, index in rules if pattern.matches_method(method)), None)
                found[route, method] = self._budget(index)
        return found


def _name_of(
    decided: Mapping[tuple[str, str], Hashable], routes: tuple[str, ...], budget: Hashable, apart: str | None
) -> str:
    """The methods that the budget is for, and also the routes if it is not for all routes of the endpoint."""
    names: dict[str, str] = {}
    for route in routes:
        methods = [method for method in _METHODS if decided[route, method] == budget]
        if apart is not None:
            names[route] = apart if apart in methods else _NOTHING
        elif OTHER_METHOD in methods:
            names[route] = ""
        else:
            names[route] = ",".join(methods) or _NOTHING
    if len(set(names.values())) == 1 or not names[routes[0]]:
        # The remaining methods of the first route have no name, so that a rule for another route changes
        # nothing.
        return names[routes[0]]
    return ",".join(
        f"{route.replace(',', '%2C')} {name}".rstrip() for route, name in names.items() if name != _NOTHING
    )


_NOTHING: Final = "-"


def escape(text: str) -> str:
    """`text` with the separators of a prefix escaped."""
    return text.replace("%", "%25").replace("|", "%7C")


def escape_endpoint(endpoint: str) -> str:
    """The same, with the colon escaped that ends the name of an endpoint."""
    return escape(endpoint).replace(":", "%3A")
