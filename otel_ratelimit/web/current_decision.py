"""The Decision on the current request: where it is kept until the sinks have it, and who may change it."""

from __future__ import annotations

from typing import Final

from flask import request

from otel_ratelimit.core.decision import Decision, DecisionKind
from otel_ratelimit.core.errors import StorageUnavailableError

DECISION_KEY: Final = "otel_ratelimit.decision"
"""The key in the request's WSGI environment."""


def current_decision() -> Decision | None:
    """The Decision on the current request; None before it is made."""
    found: Decision | None = request.environ.get(DECISION_KEY)
    return found


def let_through(error: StorageUnavailableError) -> bool:
    """Whether `on_error` serves the request although a declared limit could not be checked.

    If so, the error becomes the request's Decision.
    """
    decision = current_decision()
    if decision is None or decision.plan.on_error == "closed":
        return False
    request.environ[DECISION_KEY] = decision._replace(kind=DecisionKind.ERROR, error_type=error.error_type)
    return True
