"""Routes by their two names: the route template, and Flask's name of the endpoint.

Figures are stored by route template (`/api/jobs/<int:id>`), counters by endpoint (`jobs.detail`).
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

from flask import Flask, has_request_context, request

Matched: TypeAlias = Literal["route", "flask_endpoint"]
ROUTE: Final = "route"
FLASK_ENDPOINT: Final = "flask_endpoint"


class NamedRoutes(NamedTuple):
    """The routes that a name stands for."""

    routes: tuple[str, ...]
    """Route templates, in the order in which the application has them."""
    matched: Matched
    """The kind of name."""


def routes_named(app: Flask | None, name: str) -> NamedRoutes:
    """The routes that `name` stands for.

    A name that begins with a slash is a route template, even if the application no longer has it. So is a
    name that no endpoint has: applications may record violations under names of their own.

    Args:
        app: the application with the endpoints; None has none.
        name: a route template, or the name of an endpoint.
    """
    rules = () if app is None or name.startswith("/") else routes_of(app, name)
    return NamedRoutes(rules, FLASK_ENDPOINT) if rules else NamedRoutes((name,), ROUTE)


def routes_of(app: Flask, endpoint: str) -> tuple[str, ...]:
    """The route templates of a Flask endpoint, each once; none if there is no such endpoint."""
    try:
        rules = list(app.url_map.iter_rules(endpoint))
    except KeyError:
        return ()
    return tuple(dict.fromkeys(rule.rule for rule in rules))


def route_template(app: Flask, name: str) -> str:
    """The route that `name` stands for; for an endpoint with several, the route of the current request."""
    routes, matched = routes_named(app, name)
    if matched == FLASK_ENDPOINT and has_request_context() and request.endpoint == name and request.url_rule:
        return request.url_rule.rule
    return routes[0]
