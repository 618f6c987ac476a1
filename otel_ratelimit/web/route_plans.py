"""Finds the plan for a request: resolved at the first request of a route, then looked up.

Plans are keyed by the route's template and endpoint, never by the raw path. So case, double slashes, encoding
and query strings make no difference, and there are at most as many plans as registered routes times known
methods.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple, Protocol

from flask import Flask, Request
from werkzeug.routing import Rule

from otel_ratelimit.core.names import APPLICATION_TIER, OTHER_METHOD
from otel_ratelimit.core.route_plan import ClientOverride, RoutePlan, Window
from otel_ratelimit.policy import DEFAULT_SOURCE, PREFLIGHT_SOURCE, PolicyResolver
from otel_ratelimit.web.routing_redirects import redirect_target
from otel_ratelimit.web.static_files import has_file, static_owner

KNOWN_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"}
)

OWN_ENDPOINTS: Final = "_otel_ratelimit_api."
"""Prefix of the endpoints of our own HTTP API: its blueprint's name."""

STATIC_SOURCE: Final = "static files"
"""`RoutePlan.source` of Flask's own static views: exempt for files that exist."""
_READING: Final = frozenset({"GET", "HEAD"})


class DeclaredLimits(Protocol):
    """The limits that the application declared itself, with decorators on our limiter."""

    def exempts(self, app: Flask, endpoint: str) -> bool:
        """Whether the application exempted the endpoint or its blueprint."""

    def may_stand_in(self, app: Flask, endpoint: str, method: str) -> bool:
        """Whether limits are declared for this route and method that override the default ones."""


class PlannedRoute(NamedTuple):
    """A route of the application with the plan for one of its methods."""

    rule: Rule
    method: str
    plan: RoutePlan


class RoutePlans:
    """The plans of one application under one policy. A new policy means a new `RoutePlans`."""

    def __init__(self, app: Flask, resolver: PolicyResolver, declared: DeclaredLimits) -> None:
        self._app = app
        self.resolver = resolver
        self._declared = declared
        self._plans: dict[tuple[str, str, str], RoutePlan] = {}
        self._unmatched: dict[str, RoutePlan] = {}
        self._scaled: dict[tuple[int, ClientOverride], tuple[RoutePlan, tuple[Window, ...]]] = {}

    def find(self, request: Request) -> RoutePlan:
        """The plan for this request, whether or not it matched a route."""
        rule = request.url_rule
        method = request.method
        if method not in KNOWN_METHODS:
            method = OTHER_METHOD
        arguments: Mapping[str, Any] | None = request.view_args
        if rule is None:
            target = redirect_target(self._app, request) if request.routing_exception is not None else None
            if target is None:
                return self._unmatched_plan(method)
            rule, arguments = target
        plan = self._plans.get((rule.rule, rule.endpoint, method)) or self._plan(rule, method)
        if plan.exempt and plan.source == STATIC_SOURCE and not self._has_file(rule, arguments):
            return self._unmatched_plan(method)
        return plan

    def _plan(self, rule: Rule, method: str) -> RoutePlan:
        plan = self._plans[rule.rule, rule.endpoint, method] = self._resolve(rule, method)
        return plan

    def _unmatched_plan(self, method: str) -> RoutePlan:
        plan = self._unmatched.get(method)
        if plan is None:
            plan = self._unmatched[method] = self.resolver.unmatched(method)
        return plan

    def _has_file(self, rule: Rule, arguments: Mapping[str, Any] | None) -> bool:
        owner = static_owner(self._app, rule.endpoint)
        return owner is not None and has_file(owner, arguments)

    def windows_for(self, plan: RoutePlan, override: ClientOverride) -> tuple[Window, ...]:
        """The plan's windows for a client with an override."""
        key = (id(plan), override)
        found = self._scaled.get(key)
        if found is None:
            # The plan is kept with its windows, so that no other object gets its id.
            found = self._scaled[key] = (plan, self.resolver.scaled(plan.windows, override))
        return found[1]

    def all(self) -> Iterator[PlannedRoute]:
        """Every route and method that the application has registered now.

        HEAD is left out, because it has the plan of GET, and so is Flask's own answer to OPTIONS.
        """
        for rule in self._app.url_map.iter_rules():
            own = {"HEAD", "OPTIONS"} if _answers_options_itself(rule) else {"HEAD"}
            for method in sorted((rule.methods or {"GET"}) - own):
                yield PlannedRoute(rule, method, self._resolve(rule, method))

    def governing(self) -> Iterator[RoutePlan]:
        """The plans of all routes and methods, and the plan of requests that match no route."""
        yield from (planned.plan for planned in self.all())
        yield self.resolver.unmatched("GET")

    def _routes_of(self, endpoint: str) -> list[str]:
        try:
            return [each.rule for each in self._app.url_map.iter_rules(endpoint)]
        except KeyError:  # a route of the API, which may be missing in the application's map
            return []

    def _resolve(self, rule: Rule, method: str) -> RoutePlan:
        routes = self._routes_of(rule.endpoint)
        if method == "OPTIONS":
            by_flask = _answers_options_itself(rule)
            plan = self.resolver.preflight(rule.endpoint, rule.rule, routes, by_flask=by_flask)
        else:
            plan = self.resolver.plan(rule.endpoint, method, rule.rule, routes)
        if rule.endpoint.startswith(OWN_ENDPOINTS) and plan.source in {DEFAULT_SOURCE, PREFLIGHT_SOURCE}:
            return self.resolver.own_api(rule.endpoint, method, rule.rule)
        if plan.exempt:
            return plan
        if method in _READING and static_owner(self._app, rule.endpoint) is not None:
            return replace(plan, exempt=True, windows=(), tier="", source=STATIC_SOURCE)
        if self._declared.exempts(self._app, rule.endpoint):
            return replace(plan, exempt=True, windows=(), tier="", source="exempted by the application")
        if plan.source == DEFAULT_SOURCE and self._declared.may_stand_in(self._app, rule.endpoint, method):
            return replace(
                plan,
                exempt=True,
                windows=(),
                tier=APPLICATION_TIER,
                source="declared on the view",
                otherwise=plan,
            )
        return plan


def _answers_options_itself(rule: Rule) -> bool:
    """Whether Flask, and not a view, answers OPTIONS on this route."""
    return bool(getattr(rule, "provide_automatic_options", False))
