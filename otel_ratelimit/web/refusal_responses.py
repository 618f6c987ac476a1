"""The responses to refused requests: 429 and 503. Rate-limit headers are in `response_headers`.

Problem bodies follow RFC 9457, with the problem types of draft-ietf-httpapi-ratelimit-headers; a 429
is never cached (RFC 6585).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from flask import Response

from otel_ratelimit.web.response_headers import retry_after_seconds

PROBLEM_JSON: Final = "application/problem+json"
QUOTA_EXCEEDED: Final = "https://iana.org/assignments/http-problem-types#quota-exceeded"
REDUCED_CAPACITY: Final = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"

TOO_MANY_REQUESTS: Final = 429
SERVICE_UNAVAILABLE: Final = 503
NO_STORE: Final = "no-store"


def quota_exceeded(limits: Sequence[str], policies: Sequence[str], wait: int) -> Response:
    """The 429: it names the quotas that refused, and says when to come back.

    Args:
        limits: each limit that refused, as `limits` prints it.
        policies: their names.
        wait: whole seconds.
    """
    return _problem(
        TOO_MANY_REQUESTS,
        wait,
        {
            "type": QUOTA_EXCEEDED,
            "title": "Request cannot be satisfied as assigned quota has been exceeded",
            "status": TOO_MANY_REQUESTS,
            "detail": f"The limit is {' and '.join(limits)}. Retry in {wait} s.",
            "violated-policies": list(policies),
        },
    )


def unavailable(seconds: float) -> Response:
    """The 503 while the counter store is out of reach and the route's `on_error` is `closed`."""
    wait = retry_after_seconds(seconds)
    return _problem(
        SERVICE_UNAVAILABLE,
        wait,
        {
            "type": REDUCED_CAPACITY,
            "title": "Request cannot be satisfied due to temporary server capacity constraints",
            "status": SERVICE_UNAVAILABLE,
            "detail": f"Rate limits cannot be checked at the moment. Retry in {wait} s.",
        },
    )


def _problem(status: int, wait: int, body: dict[str, object]) -> Response:
    response = Response(json.dumps(body, separators=(",", ":")), status=status, mimetype=PROBLEM_JSON)
    response.headers["Retry-After"] = str(wait)
    response.headers["Cache-Control"] = NO_STORE
    return response
