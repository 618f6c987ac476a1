"""The request that the current thread serves, for the queries that it runs."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any, Final

import flask

from otel_ratelimit.core.names import UNMATCHED_ROUTE
from otel_ratelimit.queries.request_queries import RequestQueries
from otel_ratelimit.web.current_decision import DECISION_KEY

_QUERIES_KEY: Final = "otel_ratelimit.queries"
_SPAN_KEY: Final = "opentelemetry-flask.span_key"
"""The key under which OpenTelemetry's Flask instrumentation keeps the request's span."""


class ServedRequest(RequestQueries):
    """A request, its span if there is one, and the queries that it has run."""

    __slots__ = ("span",)

    def __init__(self, endpoint: str, trace_id: int, span: Any) -> None:
        super().__init__(endpoint, trace_id)
        self.span = span


def request_finder(trace_id: Callable[[], int]) -> Callable[[], ServedRequest | None]:
    """A function that returns the request that the current thread serves; None outside of one.

    Args:
        trace_id: returns the trace of the current span; called once in a request.
    """
    # Flask's public function takes a microsecond, with every query. It is the fallback for the private one.
    current = getattr(flask.globals, "_cv_request", None)
    if not isinstance(current, ContextVar):
        return partial(_found_publicly, trace_id)
    get = current.get

    def found() -> ServedRequest | None:
        context = get(None)
        if context is None:
            return None
        environ = context.request.environ
        return environ.get(_QUERIES_KEY) or _begun(environ, trace_id)

    return found


def _found_publicly(trace_id: Callable[[], int]) -> ServedRequest | None:
    if not flask.has_request_context():
        return None
    environ = flask.request.environ
    return environ.get(_QUERIES_KEY) or _begun(environ, trace_id)


def _begun(environ: dict[str, Any], trace_id: Callable[[], int]) -> ServedRequest:
    served = ServedRequest(_route(environ), trace_id(), environ.get(_SPAN_KEY))
    environ[_QUERIES_KEY] = served
    return served


def _route(environ: dict[str, Any]) -> str:
    decision = environ.get(DECISION_KEY)
    if decision is not None:
        route: str = decision.plan.route
        return route
    rule = flask.request.url_rule
    return rule.rule if rule is not None else UNMATCHED_ROUTE
