"""The errors of a refused request, for the application's error handlers: 429 and 503.

`@app.errorhandler` functions are called with `QuotaExceededError` (429) and `LimitsUnavailableError` (503);
`error_handlers` finds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from flask import Request, Response
from flask_limiter import RateLimitExceeded
from limits import RateLimitItem
from limits import parse as parse_limit
from werkzeug.exceptions import ServiceUnavailable

from otel_ratelimit.core.decision import Decision
from otel_ratelimit.core.route_plan import quota_name
from otel_ratelimit.web.refusal_responses import quota_exceeded, unavailable
from otel_ratelimit.web.response_headers import retry_after_seconds

RAISED_KEY: Final = "otel_ratelimit.raised"
"""Key in a request's WSGI environment: the error that a declared limit raised, perhaps within a view."""


@dataclass(frozen=True, slots=True)
class ExceededLimit:
    """The limit that refused; handlers read these attributes of Flask-Limiter's `error.limit`."""

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
    def from_policy(cls, decision: Decision) -> QuotaExceededError:
        """The error for a decision that blocks."""
        refusing = [
            window
            for window, state in zip(decision.windows, decision.states, strict=True)
            if not window.shadow and state.exceeded
        ]
        window = decision.windows[decision.tightest] if decision.tightest >= 0 else refusing[0]
        error = cls(ExceededLimit(parse_limit(window.text)))  # type: ignore[arg-type]  # what handlers read of one
        error._set(
            [window.text for window in refusing], [window.name for window in refusing], decision.retry_after
        )
        return error

    @classmethod
    def from_declared(cls, exceeded: RateLimitExceeded, wait: float, full_for: float) -> QuotaExceededError:
        """The error in place of Flask-Limiter's, with the same limit, description and response.

        Args:
            exceeded: Flask-Limiter's error; with a response if the limit has an `on_breach` of its own.
            wait: seconds until the limit takes such a request again.
            full_for: seconds until the policy's own limits have room again.
        """
        given = exceeded.response if isinstance(exceeded.response, Response) else None
        error = cls(exceeded.limit, given)
        item = exceeded.limit.limit
        if given is not None:
            said = given.headers.get("Retry-After", "")
            wait = float(said) if said.isdecimal() else float(item.get_expiry())
        description = error.description
        error._set([str(item)], [quota_name(str(item))], max(wait, full_for))
        error.description = description
        return error

    def _set(self, limits: Sequence[str], policies: Sequence[str], seconds: float) -> None:
        self.limits, self.policies = tuple(limits), tuple(policies)
        self.description = " and ".join(limits)
        self.retry_after = retry_after_seconds(seconds)

    def problem(self) -> Response:
        """The response where the application has none of its own."""
        return quota_exceeded(self.limits, self.policies, self.retry_after)

    def get_response(self, *_environ_and_scope: Any, **_named: Any) -> Response:
        """The response of the limit's `on_breach` if there is one, else the problem document."""
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

    def get_response(self, *_environ_and_scope: Any, **_named: Any) -> Response:
        """The problem document."""
        return self.problem()


RefusalError = QuotaExceededError | LimitsUnavailableError


def declared_refusal(
    current: Request, exceeded: RateLimitExceeded, wait: float, full_for: float
) -> QuotaExceededError:
    """The error to raise in place of Flask-Limiter's, for a limit that the application declared."""
    error = current.environ[RAISED_KEY] = QuotaExceededError.from_declared(exceeded, wait, full_for)
    return error
