"""The plan of each route: its limits, key and failure mode, resolved once and not for each request."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

from limits import RateLimitItem

from otel_ratelimit.core.identity import Identity
from otel_ratelimit.core.names import API_TIER, OTHER_METHOD, UNMATCHED_ROUTE
from otel_ratelimit.core.route_plan import (
    ClientOverride,
    KeySpec,
    RoutePlan,
    Strategy,
    Window,
    quota_name,
)
from otel_ratelimit.policy.counter_scope import CounterScopes, escape, escape_endpoint
from otel_ratelimit.policy.defaults import API_LIMITS
from otel_ratelimit.policy.limit_notation import parse_limits
from otel_ratelimit.policy.model import Policy, parse_key, parse_network
from otel_ratelimit.policy.route_pattern import METHODS, RoutePattern

DEFAULT_SOURCE: Final = "default_tier"
"""`RoutePlan.source` of a route that no rule matches."""
UNMATCHED_SOURCE: Final = "unmatched"
PREFLIGHT_SOURCE: Final = "preflight"
OWN_API_SOURCE: Final = "rate-limit API"
CUSTOM_TIER: Final = "custom"
"""Tier of a rule that has limits of its own."""

_CACHED_CLIENTS: Final = 4096


class PolicyResolver:
    """Answers which plan of one policy applies to a route, and which exception to a client.

    Args:
        policy: the policy.
        namespace: keeps the counters of several applications in one store apart.
        shadow: every limit only observes, whatever the policy says.
    """

    def __init__(self, policy: Policy, namespace: str, *, shadow: bool) -> None:
        self._policy = policy
        self._namespace = escape(namespace)
        self._shadow = shadow
        self._exempt = tuple(RoutePattern.parse(text) for text in policy.exempt)
        self._rules = tuple((RoutePattern.parse(rule.match), rule) for rule in policy.routes)
        self._scopes = CounterScopes(self._rules, policy.default_tier)
        self._users: dict[str, ClientOverride] = {}
        self._networks: list[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ClientOverride]] = []
        self._read_clients()
        self.has_clients = bool(policy.clients)
        self.policy_hash = policy_hash(policy)
        self._network_of = lru_cache(_CACHED_CLIENTS)(self._find_network)

    def plan(self, endpoint: str, method: str, route: str, routes: Sequence[str] = ()) -> RoutePlan:
        """The plan for one method of a route; HEAD is planned as GET.

        `routes` are the templates of all routes of the endpoint, which share its counters.
        """
        method = _planned_method(method)
        exempt = self._exempt_plan_of(endpoint, method, route)
        if exempt is not None:
            return exempt
        for index, (pattern, _) in enumerate(self._rules):
            if pattern.matches(endpoint, method, route):
                return self._rule_plan(endpoint, method, route, routes, index)
        scope = self._scopes.of(endpoint, method, route, routes, None)
        return self._default_plan(endpoint, method, route, scope, DEFAULT_SOURCE)

    def unmatched(self, method: str) -> RoutePlan:
        """The plan for requests that match no route: one bucket for all of them."""
        table = self._policy.unmatched
        tier = table.tier or (CUSTOM_TIER if table.limits else self._policy.default_tier)
        limits = table.limits or self._policy.tiers[tier]
        shadows = frozenset(parse_limits(limits)) if table.shadow else frozenset()
        return RoutePlan(
            endpoint="",
            method=_planned_method(method),
            route=UNMATCHED_ROUTE,
            tier=tier,
            exempt=False,
            key=self._policy.key_spec,
            windows=self._windows(limits, UNMATCHED_ROUTE, self._policy.default_strategy, shadows),
            cost=1,
            on_error=self._policy.on_error,
            source=UNMATCHED_SOURCE,
        )

    def preflight(
        self, endpoint: str, route: str, routes: Sequence[str] = (), *, by_flask: bool = True
    ) -> RoutePlan:
        """The plan for OPTIONS, with a counter of its own, because browsers send it without being asked.

        Its limits are those of the first matching rule that names OPTIONS. If a view answers, and so may do
        work, a matching rule need not name it. Otherwise they are those of the default tier.

        Args:
            endpoint: Flask's endpoint.
            route: the route's template.
            routes: the templates of all routes of the endpoint.
            by_flask: whether Flask answers the request, and not a view.
        """
        exempt = self._exempt_plan_of(endpoint, "OPTIONS", route)
        if exempt is not None:
            return exempt
        for index, (pattern, _) in enumerate(self._rules):
            if not pattern.matches(endpoint, "OPTIONS", route) or (by_flask and not pattern.methods):
                continue
            plan = self._rule_plan(endpoint, "OPTIONS", route, routes, index)
            return replace(plan, windows=tuple(_of_options(window) for window in plan.windows))
        scope = f"{escape_endpoint(endpoint)}:preflight"
        return self._default_plan(endpoint, "OPTIONS", route, scope, PREFLIGHT_SOURCE)

    def own_api(self, endpoint: str, method: str, route: str) -> RoutePlan:
        """The plan for our own HTTP API if no rule names it; it is enforced even in shadow mode.

        Otherwise somebody could guess its tokens at any speed. It limits no route of the application.
        """
        scope = "*:api:preflight" if method == "OPTIONS" else "*:api"
        windows = self._windows(API_LIMITS, scope, Strategy.FIXED_WINDOW, frozenset())
        return RoutePlan(
            endpoint=endpoint,
            method=_planned_method(method),
            route=route,
            tier=API_TIER,
            exempt=False,
            key=KeySpec("ip"),
            windows=tuple(replace(window, shadow=False) for window in windows),
            cost=1,
            on_error="open",
            source=OWN_API_SOURCE,
        )

    def client(self, identity: Identity) -> ClientOverride | None:
        """The policy's exception for this client, if any."""
        if identity.user is not None and identity.user in self._users:
            return self._users[identity.user]
        return self._network_of(identity.address) if self._networks else None

    def scaled(self, windows: tuple[Window, ...], override: ClientOverride) -> tuple[Window, ...]:
        """The windows for a client with an override; the counters are the same."""
        return tuple(
            _with_amount(window, max(1, round(window.amount * override.multiply))) for window in windows
        )

    def unused_rules(self, routes: list[tuple[str, str, str]]) -> list[str]:
        """Rules that apply to none of `routes`, which are given as endpoint, method and route template."""
        used = {self.plan(*route).source for route in routes}
        # Flask answers OPTIONS for every route, and a rule may name OPTIONS.
        used |= {self.preflight(endpoint, route).source for endpoint, _method, route in routes}
        origins = [self._policy.origin(f"routes[{index}]") for index in range(len(self._rules))]
        return [origin for origin in origins if origin not in used]

    def _rule_plan(
        self, endpoint: str, method: str, route: str, routes: Sequence[str], index: int
    ) -> RoutePlan:
        rule = self._rules[index][1]
        scope = self._scopes.of(endpoint, method, route, routes, index)
        tier = rule.tier or CUSTOM_TIER
        limits = rule.limits or self._policy.tiers[tier]
        strategy = Strategy(rule.strategy or self._policy.strategy)
        shadows = frozenset(parse_limits(limits)) if rule.shadow is True else frozenset()
        if isinstance(rule.shadow, str):
            shadows = frozenset(parse_limits(rule.shadow))
        return RoutePlan(
            endpoint=endpoint,
            method=method,
            route=route,
            tier=tier,
            exempt=False,
            key=parse_key(rule.key or self._policy.key),
            windows=self._windows(limits, scope, strategy, shadows),
            cost=rule.cost,
            on_error=rule.on_error or self._policy.on_error,
            source=self._policy.origin(f"routes[{index}]"),
        )

    def _default_plan(self, endpoint: str, method: str, route: str, scope: str, source: str) -> RoutePlan:
        tier = self._policy.default_tier
        return RoutePlan(
            endpoint=endpoint,
            method=method,
            route=route,
            tier=tier,
            exempt=False,
            key=self._policy.key_spec,
            windows=self._windows(
                self._policy.tiers[tier], scope, self._policy.default_strategy, frozenset()
            ),
            cost=1,
            on_error=self._policy.on_error,
            source=source,
        )

    def _exempt_plan_of(self, endpoint: str, method: str, route: str) -> RoutePlan | None:
        for index, pattern in enumerate(self._exempt):
            if pattern.matches(endpoint, method, route):
                key, on_error = KeySpec("ip"), self._policy.on_error
                source = self._policy.origin(f"exempt[{index}]")
                return RoutePlan(endpoint, method, route, "", True, key, (), 0, on_error, source)
        return None

    def _windows(
        self, limits: str, scope: str, strategy: Strategy, shadows: frozenset[RateLimitItem]
    ) -> tuple[Window, ...]:
        def counted(item: RateLimitItem) -> str:
            # A limit that only observes has its own counter, so that it does not use up an enforced limit.
            return f"{scope}:shadow" if item in shadows else scope

        return tuple(
            Window(
                prefix=f"{self._namespace}|{counted(item)}|{item.get_expiry()}|{strategy}|",
                amount=item.amount,
                seconds=item.get_expiry(),
                strategy=strategy,
                shadow=self._shadow or item in shadows,
                text=str(item),
                name=quota_name(str(item)),
            )
            for item in parse_limits(limits)
        )

    def _read_clients(self) -> None:
        for index, rule in enumerate(self._policy.clients):
            override = ClientOverride(rule.multiply, rule.exempt, self._policy.origin(f"clients[{index}]"))
            kind, _, argument = rule.match.partition(":")
            if kind == "user":
                self._users[argument] = override
            else:
                self._networks.append((parse_network(argument), override))

    def _find_network(self, address: str) -> ClientOverride | None:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return None
        for network, override in self._networks:
            if parsed.version == network.version and parsed in network:
                return override
        return None


def policy_hash(policy: Policy) -> str:
    """Twelve hexadecimal digits that change with every change of the policy."""
    content = json.dumps(policy.model_dump(mode="json", by_alias=True), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _planned_method(method: str) -> str:
    if method == "HEAD":
        return "GET"
    return method if method in METHODS else OTHER_METHOD


def _of_options(window: Window) -> Window:
    """The same window with a counter that only OPTIONS uses."""
    namespace, scope, rest = window.prefix.split("|", 2)
    return replace(window, prefix=f"{namespace}|{scope}:preflight|{rest}")


def _with_amount(window: Window, amount: int) -> Window:
    _, _, rest = window.text.partition(" ")
    text = f"{amount} {rest}"
    return replace(window, amount=amount, text=text, name=quota_name(text))
