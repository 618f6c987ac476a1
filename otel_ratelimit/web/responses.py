"""What the client is told: headers on every governed response, and the 429 and 503 bodies.

`RateLimit` and `RateLimit-Policy` follow draft-ietf-httpapi-ratelimit-headers-11 (structured
fields, RFC 9651); problem bodies RFC 9457 with that draft's problem types; a 429 is never cached
(RFC 6585). The draft's revision shows nowhere but here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import ceil
from typing import Final, NamedTuple

from flask import Response

from otel_ratelimit.events import Decision, Outcome, Window

PROBLEM_JSON: Final = "application/problem+json"
QUOTA_EXCEEDED: Final = "https://iana.org/assignments/http-problem-types#quota-exceeded"
REDUCED_CAPACITY: Final = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"

TOO_MANY_REQUESTS: Final = 429
SERVICE_UNAVAILABLE: Final = 503
NO_STORE: Final = "no-store"


class _Parts(NamedTuple):
    """What does not change between requests under the same windows."""

    windows: tuple[Window, ...]
    policy: str
    names: tuple[str, ...]
    told: tuple[int, ...]
    """Indexes of the windows that the client may know of."""


class HeaderWriter:
    """Renders the rate-limit headers of a decision.

    The unchanging parts are kept by the identity of the windows, because hashing them by value
    costs more than writing them anew.
    """

    _MOST_PARTS = 4096

    def __init__(self) -> None:
        self._parts: dict[int, _Parts] = {}

    def headers(self, decision: Decision) -> list[tuple[str, str]]:
        """The headers for a response under `decision`; empty where no enforced limit was counted.

        `t` of a refusing window is the time until it takes such a request again, so that
        `Retry-After` is never earlier than any `t` sent with it. Windows in shadow are not the
        client's business.
        """
        states = decision.states
        if not states:
            return []
        windows = decision.windows
        parts = self._parts.get(id(windows)) or self._remember(windows)
        told = parts.told
        if not told:
            return []
        names = parts.names
        if decision.outcome is Outcome.BLOCKED:
            quotas = [
                f"{names[i]};r={states[i].remaining};t={ceil(states[i].retry_after)}"
                for i in told
                if states[i].retry_after > 0.0
            ]
        else:
            quotas = [f"{names[i]};r={states[i].remaining};t={ceil(states[i].reset_after)}" for i in told]
        tightest = decision.tightest if decision.tightest in told else told[0]
        state = states[tightest]
        reset = ceil(decision.at + (state.retry_after or state.reset_after))
        return [
            ("RateLimit-Policy", parts.policy),
            ("RateLimit", ", ".join(quotas)),
            ("X-RateLimit-Limit", str(windows[tightest].amount)),
            ("X-RateLimit-Remaining", str(state.remaining)),
            ("X-RateLimit-Reset", str(reset)),
        ]

    def _remember(self, windows: tuple[Window, ...]) -> _Parts:
        told = tuple(i for i, window in enumerate(windows) if not window.shadow)
        names = tuple(f'"{window.name}"' for window in windows)
        policy = ", ".join(f"{names[i]};q={windows[i].amount};w={windows[i].seconds}" for i in told)
        if len(self._parts) >= self._MOST_PARTS:
            self._parts = {}
        # Holding `windows` keeps its id from being given to another.
        parts = self._parts[id(windows)] = _Parts(windows, policy, names, told)
        return parts


def retry_after_seconds(seconds: float) -> int:
    """`Retry-After` in whole seconds: waiting that long is enough. At least one."""
    return max(1, ceil(seconds))


def quota_exceeded(limits: Sequence[str], policies: Sequence[str], wait: int) -> Response:
    """The 429: it says which quota, and when to come back.

    Args:
        limits: each that refused, as `limits` prints it.
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


def quota_name(limit: str) -> str:
    """The name of a limit that the application declared: `4 per 1 minute` is `4-per-minute`."""
    return limit.replace(" per 1 ", "-per-").replace(" ", "-")


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
