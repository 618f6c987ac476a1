"""The API as a Flask blueprint, which does not change the application around it.

Every request takes the same steps: services in force, access, parameters, endpoint, answer. Errors on the way
are answered here, so that no error handler of the application sees them and none has to be installed.
Requests that no endpoint takes (another path or method) have a route of their own: a blueprint cannot answer
404 and 405 otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from flask import Blueprint, Response, request
from pydantic import RootModel
from werkzeug.routing import Map, Rule

from otel_ratelimit.core.errors import (
    DatabaseError,
    DatabaseTimeoutError,
    SchemaMissingError,
    StorageUnavailableError,
)
from otel_ratelimit.web.api.access import AccessCheck
from otel_ratelimit.web.api.direct_blueprint import direct_blueprint
from otel_ratelimit.web.api.endpoints import ENDPOINTS, Endpoint
from otel_ratelimit.web.api.openapi import JSON, document
from otel_ratelimit.web.api.parameters import NoParameters, parse
from otel_ratelimit.web.api.problems import NO_STORE, ProblemError, problem_response, unavailable
from otel_ratelimit.web.api.services import ApiServices
from otel_ratelimit.web.route_plans import KNOWN_METHODS, OWN_ENDPOINTS

_logger = logging.getLogger(__name__)

BLUEPRINT_NAME: Final = OWN_ENDPOINTS.removesuffix(".")
OTHER_ENDPOINT: Final = f"{OWN_ENDPOINTS}other"
"""The endpoint for requests that no other endpoint takes: another path or method."""
URL_PREFIX: Final = "/api/rate-limit"
DATABASE_RETRY_SECONDS: Final = 5.0

CurrentServices = Callable[[], ApiServices | None]


class DocumentAnswer(RootModel[dict[str, Any]]):
    """An OpenAPI 3.1 document."""


def api_blueprint(current: CurrentServices) -> Blueprint:
    """The blueprint of `/api/rate-limit/*`.

    Args:
        current: called in each request; None if rate limits are not attached to the application any more,
            which is answered with 404.
    """
    blueprint = direct_blueprint(BLUEPRINT_NAME, __name__, URL_PREFIX)
    access_check = AccessCheck(current)
    endpoints = all_endpoints()
    for endpoint in endpoints:
        blueprint.add_url_rule(
            endpoint.path,
            endpoint.name,
            _view(endpoint, current, access_check),
            methods=[endpoint.method],
            # Flask's own answer to OPTIONS would count the route for everything else.
            provide_automatic_options=False,
        )
    other = _other_view(endpoints, current, access_check)
    for path in ("/<path:rest>", "/"):
        blueprint.add_url_rule(
            path,
            "other",
            other,
            methods=sorted(KNOWN_METHODS),
            provide_automatic_options=False,
            strict_slashes=False,
        )
    return blueprint


class ApiRoute(NamedTuple):
    """A route of the API, for serving it without the application's map."""

    rule: Rule
    view: Callable[..., Response]


class ApiRoutes:
    """The same routes and views as the blueprint's.

    Args:
        current: as for the blueprint.
    """

    def __init__(self, current: CurrentServices) -> None:
        access_check = AccessCheck(current)
        endpoints = all_endpoints()
        self._routes: dict[tuple[str, str], ApiRoute] = {}
        for endpoint in endpoints:
            rule = Rule(
                URL_PREFIX + endpoint.path, endpoint=OWN_ENDPOINTS + endpoint.name, methods=[endpoint.method]
            )
            route = ApiRoute(rule, _view(endpoint, current, access_check))
            for method in ("GET", "HEAD") if endpoint.method == "GET" else (endpoint.method,):
                self._routes[endpoint.path, method] = route
        other = Rule(f"{URL_PREFIX}/<path:rest>", endpoint=OTHER_ENDPOINT, methods=sorted(KNOWN_METHODS))
        self._other = ApiRoute(other, _other_view(endpoints, current, access_check))
        # Only a rule that is in a map can be printed.
        Map([self._other.rule, *{id(route): route.rule for route in self._routes.values()}.values()])

    def find(self, path: str, method: str) -> tuple[ApiRoute, dict[str, str]]:
        """The route for this path below the prefix and this method, with the arguments of its view."""
        route = self._routes.get((path, method))
        return (self._other, {"rest": path.removeprefix("/")}) if route is None else (route, {})


def all_endpoints() -> tuple[Endpoint, ...]:
    """All endpoints, including the one for the OpenAPI document."""
    described: list[Endpoint] = [*ENDPOINTS]
    described.append(
        Endpoint(
            name="openapi",
            method="GET",
            path="/openapi.json",
            access="read",
            summary="This description",
            description="OpenAPI 3.1.",
            parameters=NoParameters,
            answer=DocumentAnswer,
            handle=lambda _services, _asked: DocumentAnswer(
                document(described, URL_PREFIX, request.script_root)
            ),
        )
    )
    return tuple(described)


def _view(endpoint: Endpoint, current: CurrentServices, access_check: AccessCheck) -> Callable[[], Response]:
    def found(services: ApiServices) -> Response:
        asked = parse(endpoint.parameters, request.query_string)
        answer = endpoint.handle(services, asked)
        response = Response(answer.model_dump_json(by_alias=True), mimetype=JSON)
        response.headers["Cache-Control"] = NO_STORE
        return response

    def allowed(services: ApiServices) -> Response:
        return access_check.check(services, endpoint.access, lambda: found(services))

    def view() -> Response:
        return _answered(current, allowed)

    # An application that lists its views may read their names and descriptions.
    view.__name__ = view.__qualname__ = endpoint.name
    view.__doc__ = endpoint.summary
    return view


def _other_view(
    endpoints: tuple[Endpoint, ...], current: CurrentServices, access_check: AccessCheck
) -> Callable[..., Response]:
    methods: dict[str, list[str]] = {}
    for endpoint in endpoints:
        own = ["GET", "HEAD"] if endpoint.method == "GET" else [endpoint.method]
        methods.setdefault(endpoint.path, ["OPTIONS"]).extend(own)
    allows = {path: ", ".join(sorted(known)) for path, known in methods.items()}

    def other(rest: str = "") -> Response:
        """Answer requests that no other endpoint of the rate-limit API takes."""
        allow = allows.get(f"/{rest}")

        def allowed(services: ApiServices) -> Response:
            if allow is not None and request.method == "OPTIONS":
                # A browser asks this without a token, before it sends one.
                return _options(allow)
            return access_check.check(services, "read", lambda: _refused(allow))

        return _answered(current, allowed)

    return other


def _options(allow: str) -> Response:
    response = Response(status=HTTPStatus.NO_CONTENT, headers={"Allow": allow, "Cache-Control": NO_STORE})
    del response.headers["Content-Type"]
    return response


def _refused(allow: str | None) -> Response:
    if allow is None:
        return _not_found(f"There is no such endpoint; {URL_PREFIX}/openapi.json lists all endpoints.")
    detail = f"{request.method} is not allowed here; {allow} are."
    problem = ProblemError(HTTPStatus.METHOD_NOT_ALLOWED, detail, headers={"Allow": allow})
    return problem_response(problem)


def _not_found(detail: str) -> Response:
    return problem_response(ProblemError(HTTPStatus.NOT_FOUND, detail))


def _answered(current: CurrentServices, answer: Callable[[ApiServices], Response]) -> Response:
    """The response of `answer`; if it fails in any way, a problem document in its place."""
    services = None
    try:
        services = current()
        if services is None:
            return _not_found("Rate limits are not attached to this application.")
        return answer(services)
    except ProblemError as problem:
        return problem_response(problem)
    except StorageUnavailableError as error:
        detail = f"The counter store does not answer ({error.error_type})."
        return problem_response(unavailable(detail, services.retry_seconds() if services else 0.0))
    except DatabaseError as error:
        # The message may name hosts and users: it is for the log only.
        _logger.warning("the rate-limit API cannot read analytics: %s", error)
        return problem_response(unavailable(_database_problem(error), DATABASE_RETRY_SECONDS))
    except Exception:
        _logger.exception("the rate-limit API failed to answer %s %s", request.method, request.path)
        detail = "The rate-limit API failed; the application's log says why."
        return problem_response(ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, detail))


def _database_problem(error: DatabaseError) -> str:
    if isinstance(error, SchemaMissingError):
        what = "The analytics database is missing tables that this version needs"
        return f"{what}: run `otel-ratelimit db upgrade`."
    if isinstance(error, DatabaseTimeoutError):
        return "The analytics database took too long; ask for a shorter date_range, or one endpoint."
    return "The analytics database cannot be used at the moment; the application's log says why."
