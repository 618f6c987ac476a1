"""Preflights of browsers: `OPTIONS` requests that ask whether another request may be sent.

A preflight has a counter of its own in the policy (`PolicyResolver.preflight`), so that it does not use up
the limits of the real request. A limit that the application declared may have one counter for all methods.
Therefore it does not count a preflight that the policy has counted.
"""

from __future__ import annotations

from collections.abc import Mapping

from otel_ratelimit.core.decision import Decision, DecisionKind


def is_counted_by_policy_alone(environ: Mapping[str, object], decision: Decision) -> bool:
    """Whether a request is a preflight (Fetch Standard, CORS-preflight request) that the policy has counted.

    Args:
        environ: the request's WSGI environment.
        decision: the decision on the request.
    """
    return (
        environ.get("REQUEST_METHOD") == "OPTIONS"
        and "HTTP_ORIGIN" in environ
        and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
        and decision.kind is not DecisionKind.EXEMPT
    )
