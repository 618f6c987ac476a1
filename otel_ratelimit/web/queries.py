"""The request that the current thread serves, for whoever runs queries in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from flask import has_request_context, request

from otel_ratelimit.names import UNMATCHED_ROUTE
from otel_ratelimit.querylog.requests import RequestQueries
from otel_ratelimit.web.extension import DECISION_KEY

_QUERIES_KEY: Final = "otel_ratelimit.queries"
_SPAN_KEY: Final = "opentelemetry-flask.span_key"
"""Where OpenTelemetry's Flask instrumentation keeps the request's span."""


@dataclass(slots=True)
class ServedRequest:
    """A request, its span if there is one, and what it has run."""

    queries: RequestQueries
    span: Any


def served_request() -> ServedRequest | None:
    """The current request; None outside of one."""
    if not has_request_context():
        return None
    environ = request._get_current_object().environ  # type: ignore[attr-defined]  # noqa: SLF001 - werkzeug's documented way
    served: ServedRequest | None = environ.get(_QUERIES_KEY)
    if served is None:
        served = environ[_QUERIES_KEY] = ServedRequest(
            RequestQueries(_route(environ)), environ.get(_SPAN_KEY)
        )
    return served


def _route(environ: dict[str, Any]) -> str:
    decision = environ.get(DECISION_KEY)
    if decision is not None:
        route: str = decision.plan.route
        return route
    return request.url_rule.rule if request.url_rule is not None else UNMATCHED_ROUTE
