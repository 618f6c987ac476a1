"""Answers refused requests: by the application's error handler if it has one, else by our own response.

A handler is looked up as Flask does it (by status and by class, the blueprint's first), with one difference:
a handler for `Exception` is not called. It is written for the application's own faults, and would answer a
refusal with 500.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from flask import Flask, Request, Response, request
from werkzeug.exceptions import HTTPException

from otel_ratelimit.web.cors_headers import add_cors_headers
from otel_ratelimit.web.fault_logger import FaultLogger
from otel_ratelimit.web.refusal_errors import RAISED_KEY, QuotaExceededError, RefusalError
from otel_ratelimit.web.refusal_responses import NO_STORE
from otel_ratelimit.web.response_headers import usable_headers
from otel_ratelimit.web.route_plans import OWN_ENDPOINTS

REFUSED_KEY: Final = "otel_ratelimit.refused"
"""Key in a refused request's WSGI environment: its error."""

Handler = Callable[[Any], Any]


class Refusals:
    """Answers refused requests of one application.

    Args:
        app: the application.
        fault_logger: logs what the application's own code does wrong on the way.
    """

    def __init__(self, app: Flask, fault_logger: FaultLogger) -> None:
        self._app = app
        self._fault_logger = fault_logger

    def handle(self, error: RefusalError) -> Response:
        """The handler of both errors, for those that are raised within a view."""
        return self.answer(request, error)

    def answer(self, current: Request, error: RefusalError) -> Response:
        """The response that refuses the request."""
        current.environ[REFUSED_KEY] = error
        endpoint = current.endpoint or ""
        if endpoint.startswith(OWN_ENDPOINTS):
            return error.get_response()
        response = self._from_application(current.blueprints, error)
        if response is None:
            response = error.problem()
        try:
            add_cors_headers(response, self._app, self._app.view_functions.get(endpoint))
        except Exception:
            # The refusal stands without these headers.
            self._fault_logger.exception("adding Flask-CORS's headers to a refusal")
        return response

    def _from_application(self, blueprints: Sequence[str], error: RefusalError) -> Response | None:
        handler = application_handler(self._app, type(error), blueprints, other_than=self.handle)
        try:
            if handler is None:
                # The answer of a limit's own `on_breach` is the application's too.
                response = error.get_response()
            else:
                response = self._app.make_response(self._app.ensure_sync(handler)(error))
            _say_when_to_retry(response, error)
        except Exception:
            # The application's code; the refusal stands.
            self._fault_logger.exception("the application's error handler for a refused request")
            return None
        return response


def complete_declared_refusal(environ: Mapping[str, Any], response: Response) -> None:
    """Add what a refusal needs where Flask called a handler of the application by itself."""
    error: QuotaExceededError | None = environ.get(RAISED_KEY)
    # Below 400 a view may have caught the error and answered something else.
    if error is not None and response.status_code >= HTTPStatus.BAD_REQUEST:
        _say_when_to_retry(response, error)


def _say_when_to_retry(response: Response, error: RefusalError) -> None:
    headers = usable_headers(response)
    headers.setdefault("Retry-After", str(error.retry_after))
    # A shared cache that kept a refusal would refuse everybody (RFC 6585, section 4).
    headers["Cache-Control"] = NO_STORE


def application_handler(
    app: Flask, kind: type[HTTPException], blueprints: Sequence[str], other_than: Handler
) -> Handler | None:
    """The application's handler for an error of this kind; one for every `Exception` is ignored."""
    for code in (kind.code, None):
        for name in (*blueprints, None):
            handlers = app.error_handler_spec.get(name, {}).get(code)
            for cls in kind.__mro__ if handlers else ():
                if cls is Exception:
                    break
                handler: Handler | None = handlers.get(cls)  # type: ignore[union-attr]  # not None here
                if handler is not None and handler != other_than:
                    return handler
    return None
