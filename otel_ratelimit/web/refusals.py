"""How a refused request is answered: by the application's error handler where it has one, else by us.

`@app.errorhandler` functions are called with `QuotaExceededError` (429) and `LimitsUnavailableError` (503).
A handler is looked up as Flask does it (by status and by class, the blueprint's first), with one difference:
a handler for `Exception` is not asked. It is written for the application's own faults, and would answer a
refusal with 500.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from flask import Flask, Request, Response, request
from flask_limiter import RateLimitExceeded
from limits import RateLimitItem
from limits import parse as parse_limit
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from otel_ratelimit.core.decision import Decision
from otel_ratelimit.web.cors import add_cors_headers
from otel_ratelimit.web.plans import OWN_ENDPOINTS
from otel_ratelimit.web.response_headers import retry_after_seconds, usable_headers
from otel_ratelimit.web.responses import NO_STORE, quota_exceeded, quota_name, unavailable

REFUSED_KEY: Final = "otel_ratelimit.refused"
"""Where a refused request's error stands in its WSGI environment."""

_RAISED_KEY: Final = "otel_ratelimit.raised"
"""Where the error stands that a declared limit raised, perhaps within a view."""

Report = Callable[[str, Exception], None]
Handler = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class ExceededLimit:
    """The limit that refused, with what handlers read of Flask-Limiter's own (`error.limit`)."""

    limit: RateLimitItem
    error_message: None = None


class QuotaExceededError(RateLimitExceeded):
    """429: a limit of the policy, or one that the application declared, refused the request.

    It is a `flask_limiter.RateLimitExceeded` and so a `werkzeug.exceptions.TooManyRequests`: handlers for
    either are called with it.
    """

    limits: tuple[str, ...]
    """Each limit that refused: `4 per 1 minute`."""
    policies: tuple[str, ...]
    """Their names, as in the `RateLimit` header: `4-per-minute`."""
    retry_after: int
    """Whole seconds; waiting that long is enough."""

    @classmethod
    def of_policy(cls, decision: Decision) -> QuotaExceededError:
        """The error for a decision that blocks."""
        refusing = [
            window
            for window, state in zip(decision.windows, decision.states, strict=True)
            if not window.shadow and state.exceeded
        ]
        window = decision.window or refusing[0]
        error = cls(ExceededLimit(parse_limit(window.text)))  # type: ignore[arg-type]  # what handlers read of one
        error._set(
            [window.text for window in refusing], [window.name for window in refusing], decision.retry_after
        )
        return error

    @classmethod
    def of_declared(cls, exceeded: RateLimitExceeded, full_for: float = 0.0) -> QuotaExceededError:
        """The error in place of Flask-Limiter's, with the same limit, description and response.

        Args:
            exceeded: Flask-Limiter's.
            full_for: seconds for which the policy's own limits have no room.
        """
        given = exceeded.response if isinstance(exceeded.response, Response) else None
        error = cls(exceeded.limit, given)
        item = exceeded.limit.limit
        seconds = float(item.get_expiry())
        if given is not None:
            wait = given.headers.get("Retry-After", "")
            seconds = float(wait) if wait.isdecimal() else seconds
        description = error.description
        error._set([str(item)], [quota_name(str(item))], max(seconds, full_for))
        error.description = description
        return error

    def _set(self, limits: Sequence[str], policies: Sequence[str], seconds: float) -> None:
        self.limits, self.policies = tuple(limits), tuple(policies)
        self.description = " and ".join(limits)
        self.retry_after = retry_after_seconds(seconds)

    def problem(self) -> Response:
        """The response where the application has none of its own."""
        return quota_exceeded(self.limits, self.policies, self.retry_after)

    def get_response(self, environ: Any = None, scope: Any = None) -> Response:  # noqa: ARG002 - werkzeug's signature
        """The response of Flask-Limiter's `on_breach` if there is one, else the problem document."""
        return self.response if isinstance(self.response, Response) else self.problem()


class LimitsUnavailableError(ServiceUnavailable):
    """503: the counter store does not answer, and the limits fail closed."""

    retry_after: int
    """Whole seconds until the store is tried again."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            "Rate limits cannot be checked at the moment.", retry_after=retry_after_seconds(seconds)
        )

    def problem(self) -> Response:
        """The response where the application has none of its own."""
        return unavailable(self.retry_after)

    def get_response(self, environ: Any = None, scope: Any = None) -> Response:  # noqa: ARG002 - werkzeug's signature
        """The problem document."""
        return self.problem()


RefusalError = QuotaExceededError | LimitsUnavailableError


class Refusals:
    """Answers refused requests of one application.

    Args:
        app: the application.
        report: told of what the application's own code does wrong on the way.
    """

    def __init__(self, app: Flask, report: Report) -> None:
        self._app = app
        self._report = report

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
        except Exception as failure:  # noqa: BLE001 - the refusal stands without them
            self._report("adding Flask-CORS's headers to a refusal", failure)
        return response

    def _from_application(self, blueprints: Sequence[str], error: RefusalError) -> Response | None:
        handler = application_handler(self._app, type(error), blueprints, other_than=self.handle)
        try:
            if handler is None:
                # What a limit's own `on_breach` answers is the application's too.
                response = error.get_response()
            else:
                response = self._app.make_response(self._app.ensure_sync(handler)(error))
            _say_when_to_retry(response, error)
        except Exception as failure:  # noqa: BLE001 - the application's code; the refusal stands
            self._report("the application's error handler for a refused request", failure)
            return None
        return response


def declared_refusal(
    current: Request, exceeded: RateLimitExceeded, full_for: float = 0.0
) -> QuotaExceededError:
    """The error to raise in place of Flask-Limiter's, for a limit that the application declared."""
    error = current.environ[_RAISED_KEY] = QuotaExceededError.of_declared(exceeded, full_for)
    return error


def complete_declared_refusal(environ: Mapping[str, Any], response: Response) -> None:
    """Add what a refusal needs where Flask called a handler of the application by itself."""
    error: QuotaExceededError | None = environ.get(_RAISED_KEY)
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
    """The application's handler for an error of this kind; none that is written for every `Exception`."""
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
