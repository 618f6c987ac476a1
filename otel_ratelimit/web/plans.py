"""Which plan governs a request: resolved at the first request of a route, then looked up.

Keyed on the route's template and endpoint, never on the raw path, so that case, double slashes,
encoding and query strings make no difference, and the table cannot grow beyond what the
application has registered times the known methods.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, NamedTuple, Protocol

from flask import Blueprint, Flask, Request
from werkzeug.routing import Rule

from otel_ratelimit.events import ClientOverride, RoutePlan, Window
from otel_ratelimit.names import APPLICATION_TIER, OTHER_METHOD
from otel_ratelimit.policy import DEFAULT_SOURCE, PolicyResolver

KNOWN_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"}
)

OWN_ENDPOINTS: Final = "_otel_ratelimit_api."
"""What the endpoints of our own HTTP API begin with: its blueprint's name."""


class DeclaredLimits(Protocol):
    """What the application declared itself, with decorators on our limiter."""

    def exempts(self, app: Flask, endpoint: str) -> bool:
        """Whether it exempted the endpoint or its blueprint."""

    def overrides_defaults(self, app: Flask, endpoint: str) -> bool:
        """Whether a limit on the view stands in place of the default ones."""


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
        if rule is None:
            plan = self._unmatched.get(method)
            if plan is None:
                plan = self._unmatched[method] = self.resolver.unmatched(method)
            return plan
        key = (rule.rule, rule.endpoint, method)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._resolve(rule, method)
        return plan

    def windows_for(self, plan: RoutePlan, override: ClientOverride) -> tuple[Window, ...]:
        """The plan's windows as they are for a client with an override."""
        key = (id(plan), override)
        found = self._scaled.get(key)
        if found is None:
            # The plan is kept with its windows so that its id stays its own.
            found = self._scaled[key] = (plan, self.resolver.scaled(plan.windows, override))
        return found[1]

    def all(self) -> Iterator[PlannedRoute]:
        """Every route and method that the application has registered now.

        HEAD is left out, being planned as GET, and so is Flask's own answer to OPTIONS.
        """
        for rule in self._app.url_map.iter_rules():
            own = {"HEAD", "OPTIONS"} if _answers_options_itself(rule) else {"HEAD"}
            for method in sorted((rule.methods or {"GET"}) - own):
                yield PlannedRoute(rule, method, self._resolve(rule, method))

    def governing(self) -> Iterator[RoutePlan]:
        """The plans of all routes and methods, and that of what matches no route."""
        yield from (planned.plan for planned in self.all())
        yield self.resolver.unmatched("GET")

    def _resolve(self, rule: Rule, method: str) -> RoutePlan:
        if method == "OPTIONS" and _answers_options_itself(rule):
            plan = self.resolver.preflight(rule.endpoint, rule.rule)
        else:
            routes = [each.rule for each in self._app.url_map.iter_rules(rule.endpoint)]
            plan = self.resolver.plan(rule.endpoint, method, rule.rule, routes)
        if plan.source == DEFAULT_SOURCE and rule.endpoint.startswith(OWN_ENDPOINTS):
            return self.resolver.own_api(rule.endpoint, method, rule.rule)
        if plan.exempt:
            return plan
        if self._is_static(rule.endpoint):
            return replace(plan, exempt=True, windows=(), tier="", source="static files")
        if self._declared.exempts(self._app, rule.endpoint):
            return replace(plan, exempt=True, windows=(), tier="", source="exempted by the application")
        if plan.source == DEFAULT_SOURCE and self._declared.overrides_defaults(self._app, rule.endpoint):
            return replace(
                plan, exempt=True, windows=(), tier=APPLICATION_TIER, source="declared on the view"
            )
        return plan

    def _is_static(self, endpoint: str) -> bool:
        """Whether this is Flask's own static view; a view that is merely named so is not."""
        if endpoint.rpartition(".")[2] != "static":
            return False
        view = self._app.view_functions.get(endpoint)
        function = getattr(view, "__func__", view)
        if getattr(function, "__module__", "") == "flask.app":
            return endpoint == "static"
        return function in {Flask.send_static_file, Blueprint.send_static_file}


def _answers_options_itself(rule: Rule) -> bool:
    """Whether Flask, and not a view, answers OPTIONS on this route."""
    return bool(getattr(rule, "provide_automatic_options", False))
