"""The limits that an application declares itself, route by route, for `otel-ratelimit routes`.

They are read from the limiters without a request. If only a request could answer (`exempt_when`, a limit from
a callable), the text says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from flask import Flask
from flask_limiter import ExemptionScope, Limit, Limiter
from limits import parse_many

from otel_ratelimit.web.declared_limits import blueprint_of, limits_of, name_of
from otel_ratelimit.web.flask_limiter_decisions import EXTENSION
from otel_ratelimit.web.flask_limiter_internals import application_limits as limits_of_application
from otel_ratelimit.web.flask_limiter_internals import default_limits
from otel_ratelimit.web.policy_limiter import PolicyLimiter

DECORATOR = "decorator"
"""`ApplicationLimit.source` of limits that are declared on our limiter."""
OWN_LIMITER = "own limiter"
"""`ApplicationLimit.source` of limits of a Flask-Limiter that the application set up itself."""


@dataclass(frozen=True, slots=True)
class ApplicationLimit:
    """One limit that the application declared, for one route and method."""

    text: str
    """The limit as `limits` prints it, or what is wrong with it."""
    source: str
    where: str
    """`view`, `method`, `blueprint`, `default` or `application`."""
    readable: bool = True

    def __str__(self) -> str:
        return f"{self.text} ({self.source}, {self.where})"


def application_limits(app: Flask, ours: Limiter, endpoint: str, method: str) -> list[ApplicationLimit]:
    """The application's own limits on this route and method: from decorators, and from its own limiters."""
    found: list[ApplicationLimit] = []
    if isinstance(ours, PolicyLimiter):
        found += _read(ours.declared.declared_for(app, endpoint, method), DECORATOR, method)
    for limiter in app.extensions.get(EXTENSION, ()):
        if limiter is not ours and limiter.enabled and limiter.initialized:
            found += _read(_own(limiter, app, endpoint, method), OWN_LIMITER, method)
    return found


def _own(limiter: Limiter, app: Flask, endpoint: str, method: str) -> Iterator[tuple[str, Limit]]:
    """The limits that a limiter has for a route, as Flask-Limiter combines them."""
    manager = limiter.limit_manager
    if endpoint.rpartition(".")[2] == "static":
        return
    view = app.view_functions.get(endpoint)
    scope = (
        manager.exemption_scope(app, endpoint, blueprint_of(app, endpoint))
        if name_of(view)
        else ExemptionScope.NONE
    )
    declared = list(limits_of(manager, app, endpoint, method))
    yield from declared
    overridden = any(
        limit.override_defaults and (not limit.methods or method.lower() in limit.methods)
        for _, limit in declared
    )
    if not overridden and not scope & ExemptionScope.DEFAULT:
        for limit in default_limits(manager):
            yield "default", limit
    if not scope & ExemptionScope.APPLICATION:
        for limit in limits_of_application(manager):
            yield "application", limit


def _read(declared: Iterable[tuple[str, Limit]], source: str, method: str) -> Iterator[ApplicationLimit]:
    for where, limit in declared:
        if limit.methods and not _covers(limit.methods, method, counts_head=source == DECORATOR):
            continue
        condition = ", unless exempted at the request" if limit.exempt_when is not None else ""
        if callable(limit.limit_provider):
            yield ApplicationLimit(f"computed at each request{condition}", source, where)
            continue
        try:
            items = parse_many(limit.limit_provider)
        except ValueError as error:
            yield ApplicationLimit(f"not a limit: {error}", source, where, readable=False)
            continue
        for item in items:
            yield ApplicationLimit(f"{item}{condition}", source, where)


def _covers(methods: Iterable[str], method: str, *, counts_head: bool) -> bool:
    known = {each.lower() for each in methods}
    return method.lower() in known or (counts_head and method == "HEAD" and "get" in known)
