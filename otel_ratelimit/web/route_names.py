"""Routes by the two names that people have for them: the route template, and Flask's name of the endpoint.

Figures are kept by route template (`/api/jobs/<int:id>`), counters by endpoint (`jobs.detail`).
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

from flask import Flask, has_request_context, request

Matched: TypeAlias = Literal["route", "flask_endpoint"]
ROUTE: Final = "route"
FLASK_ENDPOINT: Final = "flask_endpoint"


class NamedRoutes(NamedTuple):
    """What a name stands for."""

    routes: tuple[str, ...]
    """Route templates, in the order in which the application has them."""
    matched: Matched
    """What the name was taken for."""


def routes_named(app: Flask | None, name: str) -> NamedRoutes:
    """The routes that `name` stands for.

    Whatever begins with a slash is a route template, whether or not the application has it still. So is what
    no endpoint is called: applications may record violations under names of their own.

    Args:
        app: whose endpoints count; None knows of none.
        name: a route template, or the name of an endpoint.
    """
    rules = () if app is None or name.startswith("/") else routes_of(app, name)
    return NamedRoutes(rules, FLASK_ENDPOINT) if rules else NamedRoutes((name,), ROUTE)


def routes_of(app: Flask, endpoint: str) -> tuple[str, ...]:
    """The route templates of a Flask endpoint, each once; none where there is no such endpoint."""
    try:
        rules = list(app.url_map.iter_rules(endpoint))
    except KeyError:
        return ()
    return tuple(dict.fromkeys(rule.rule for rule in rules))


def route_template(app: Flask, name: str) -> str:
    """The one route that `name` stands for; of an endpoint with several, that of the current request."""
    routes, matched = routes_named(app, name)
    if matched == FLASK_ENDPOINT and has_request_context() and request.endpoint == name and request.url_rule:
        return request.url_rule.rule
    return routes[0]
